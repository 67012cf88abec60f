"""A command and its whole answer, told in two halves and not yet parsed: what nearly all operations are. Pure.

Whoever hands out records (:mod:`hoopproxy.delivery`) may hand out these in their place; a format that can write them
(:attr:`~hoopproxy.export.formats.Format.turned`) is spared the parsing, all others get the operation that they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from hoopproxy.events.forms import Asking, Ending
from hoopproxy.export.operation import Operation, Record

__all__ = ["Half", "Turned"]


class Half(Protocol):
    """A ``command.requested``, or a ``command.result`` and the ``command.completed`` that follows it at once.

    ``op`` is the operation's id; ``lines`` are the events, canonical JSON, and ``said`` is the own part (``event``) of
    each; ``decided`` the first one's ``decision``, as it stands there, empty if there is none; ``said_time`` the
    ``time`` of all of them; ``fields`` what the form of the last one's own part is filled with. ``envelope`` is the
    very same object for halves that have the same, all but what :attr:`like` may differ in.
    """

    op: bytes
    decided: bytes
    lines: tuple[bytes, ...]
    said: tuple[bytes, ...]
    said_time: bytes
    fields: Sequence[Any]
    envelope: Sequence[Any]

    @property
    def asking(self) -> Asking | None:
        """(of a request) What is known of its form; ``None``: nothing."""

    @property
    def ending(self) -> Ending | None:
        """(of an answer) What is known of its end's form; ``None``: nothing."""

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
    def last(self) -> tuple[bytes, int, int]:
        """``id``, ``jseq`` and ``seq`` of the last one."""


class Turned(NamedTuple):
    """An operation that succeeded. ``facts`` as of :class:`~hoopproxy.export.operation.Operation`."""

    asked: Half
    answered: Half
    facts: Mapping[str, str]

    def operation(self) -> Operation:
        """The same, parsed."""
        return Operation((*self.asked.events, *self.answered.events), "success", "", self.facts)
