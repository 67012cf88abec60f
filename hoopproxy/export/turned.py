"""A command and its whole answer, told in two halves and not yet parsed: what nearly all operations are. Pure.

Whoever hands out records (:mod:`hoopproxy.delivery`) may hand out these in their place; a format that can write them
(:attr:`~hoopproxy.export.formats.Format.turned`) is spared the parsing, all others get the operation that they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from hoopproxy.export.operation import Operation, Record

__all__ = ["Half", "Turned"]


class Half(Protocol):
    """A ``command.requested``, or a ``command.result`` and the ``command.completed`` that follows it at once."""

    @property
    def op(self) -> bytes:
        """The operation's id."""

    @property
    def size(self) -> int:
        """Bytes of its events' canonical JSON."""

    @property
    def like(self) -> Record:
        """An event with the same envelope, all but ``id``, ``op``, ``jseq``, ``seq``, ``time``, ``mono``, ``kind``,
        ``decision``, ``outcome`` and ``event``: the very same object for all halves that have it."""

    @property
    def events(self) -> Sequence[Record]:
        """The events, parsed."""

    @property
    def first_said(self) -> Mapping[str, Any]:
        """The own part (``event``) of the first one, parsed."""

    @property
    def said(self) -> Sequence[bytes]:
        """The own part of each, canonical JSON."""

    @property
    def decided(self) -> bytes:
        """The first one's ``decision``, as it stands in its JSON; empty if there is none."""

    @property
    def last(self) -> tuple[bytes, int, int]:
        """``id``, ``jseq`` and ``seq`` of the last one."""

    @property
    def time(self) -> bytes:
        """Of all of them."""


class Turned(NamedTuple):
    """An operation that succeeded. ``facts`` as of :class:`~hoopproxy.export.operation.Operation`."""

    asked: Half
    answered: Half
    facts: Mapping[str, str]

    def operation(self) -> Operation:
        """The same, parsed."""
        return Operation((*self.asked.events, *self.answered.events), "success", "", self.facts)
