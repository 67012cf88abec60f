"""How long those in front wait for those behind: a moment each, and less and less for one who is always late. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["Patience"]

_SECONDS: Final = 0.2
_PART: Final = 0.5


class Patience:
    """A fifth of a second to begin with; what was waited is gone, and half of the time that passes is added again.

    :param monotonic: seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._left, self._at = _SECONDS, monotonic()
        self._is_waiting = False

    def go_on(self) -> None:
        """Nobody has to be waited for."""
        self._pass(self._monotonic())
        self._is_waiting = False

    def wait(self) -> bool:
        """Somebody should be waited for; whether there is patience left for it."""
        self._pass(self._monotonic())
        self._is_waiting = self._left > 0
        return self._is_waiting

    def _pass(self, now: float) -> None:
        passed, self._at = now - self._at, now
        if self._is_waiting:
            # No more than that on credit: the process may have been paused, or nobody was there to go on.
            self._left = max(self._left - passed, -_SECONDS)
        else:
            self._left = min(_SECONDS, self._left + passed * _PART)
