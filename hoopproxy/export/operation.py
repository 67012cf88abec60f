"""What is exported as one: the records of an operation, folded. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "FOLDED",
    "NOTHING",
    "NO_BEGINNING",
    "NO_END",
    "NO_ROOM",
    "STARTED",
    "UNKNOWN",
    "Operation",
    "Record",
    "alone",
    "outcome_of",
]

Record: TypeAlias = Mapping[str, Any]
"""A canonical event as it is in the journal (docs/events.md), parsed."""

_ENDS = ("command.completed", "command.skipped", "command.unfinished")

FOLDED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "command.requested": _ENDS,
        "command.result": _ENDS,
        "transfer.opened": ("transfer.completed", "command.unfinished"),
        "forward.opened": ("forward.closed", "command.unfinished"),
    }
)
"""Kinds that are exported as part of another, and of which: the record that closes the same ``op``.

One of them stands for itself only where the end is not there: see :class:`~hoopproxy.export.join.Join`.
"""

STARTED = "started"
"""The outcome of an operation whose end was not seen yet."""

UNKNOWN = "unknown"
"""The outcome of an operation whose end is not on record."""

NO_ROOM = "no_room"
"""Mark: exported before its end, because the join was full. What follows comes marked ``no_beginning``."""

NO_BEGINNING = "no_beginning"
"""Mark: the record that opened this operation was not there to join with."""

NO_END = "no_end"
"""Mark: the session ended, and the end of this operation was not among its records."""

_SAID = {"command.skipped": "skipped", "command.unfinished": "unfinished"}
_OPEN = frozenset({STARTED, UNKNOWN})
NOTHING: Mapping[str, str] = MappingProxyType({})
"""No facts of a session."""


class Operation(NamedTuple):
    """The records of one operation in the order of the journal, and what came of it.

    ``outcome``: ``success``, ``failure``, ``denied``, ``skipped``, ``unfinished``, ``started`` (no end yet),
    ``unknown`` (no end will come), or empty where the kind has none. ``mark``: empty, or why this is not the
    whole operation. ``facts`` of the session, where its beginning was read: ``database``, ``application``.
    """

    records: tuple[Record, ...]
    outcome: str = ""
    mark: str = ""
    facts: Mapping[str, str] = NOTHING

    @property
    def main(self) -> Record:
        """The record that this is called by: the last one; the first where there is no end."""
        return self.records[0 if self.outcome in _OPEN else -1]

    @property
    def kind(self) -> str:
        """The kind of :attr:`main`."""
        return str(self.main["kind"])

    @property
    def id(self) -> str:
        """The id of :attr:`main`: the same operation, exported again, has the same."""
        return str(self.main.get("id", ""))


def alone(event: Record, facts: Mapping[str, str] = NOTHING) -> Operation:
    """A record as an operation of its own."""
    return Operation((event,), outcome_of(event), "", facts)


def outcome_of(end: Record) -> str:
    """The outcome of the operation that a record ends."""
    return _SAID.get(end["kind"]) or str(end.get("outcome", ""))
