"""The catalogue of kinds: every class of event is entered here under its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from hoopproxy.events.values import canonical

__all__ = ["CATALOGUE", "CLOSING", "OPENING", "OUTCOMES", "Event", "catalogued"]


OPENING = frozenset({"command.requested", "transfer.opened", "forward.opened"})
"""Kinds that open an operation: on record before its bytes go on, and closed by a record of the same ``op``."""


CLOSING = frozenset(
    {
        "command.completed",
        "command.denied",
        "command.skipped",
        "command.unfinished",
        "transfer.completed",
        "forward.closed",
    }
)
"""Kinds that close the operation that they belong to."""


OUTCOMES = ("success", "failure", "denied", "skipped", "unknown")
"""All that an envelope's ``outcome`` may say, where it says anything. ``skipped``: the target discarded it;
``unknown``: the end was not seen."""


class Event:
    """Base of every event. ``kind`` is its name in the catalogue; fixed in the source, never built."""

    __slots__ = ()
    kind: ClassVar[str]

    def body(self) -> bytes:
        """The canonical JSON of the event's own fields."""
        return canonical(self)


CATALOGUE: dict[str, type[Event]] = {}
"""Every kind, and the class whose docstring and fields define it."""


_E = TypeVar("_E", bound=type[Event])


def catalogued(kind: str) -> Callable[[_E], _E]:
    """Class decorator: enter an event class into :data:`CATALOGUE`. Plugins may add kinds of their own.

    :raises ValueError: if the kind is taken, or is not ``family.name`` in lower case.
    """

    def enter(cls: _E) -> _E:
        family, _, name = kind.partition(".")
        if not (family.isidentifier() and name.isidentifier() and kind == kind.lower()):
            raise ValueError(f"{kind!r} is not of the form family.name")
        if kind in CATALOGUE and CATALOGUE[kind].__qualname__ != cls.__qualname__:
            raise ValueError(f"{kind!r} is in the catalogue already")
        cls.kind = kind
        CATALOGUE[kind] = cls
        return cls

    return enter
