"""What tests open and don't close themselves (a gateway that "crashed" closes nothing), given back when they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["at_end", "ending"]

_stacks: list[ExitStack] = []


def at_end(close: Callable[[], object]) -> None:
    """Call this when the test ends, or the module whose fixture is being made. Outside of pytest: never."""
    if _stacks:
        _stacks[-1].callback(close)


@contextmanager
def ending() -> Iterator[None]:
    """What is said by :func:`at_end` inside is called at its end, the last first, whatever one of them raises."""
    with ExitStack() as stack:
        _stacks.append(stack)
        try:
            yield
        finally:
            _stacks.remove(stack)
