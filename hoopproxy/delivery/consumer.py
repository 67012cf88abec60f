"""What the reader process hands out, and to whom: every sink, the ledger, the index and the archive is a Consumer.

A consumer gets the records of every journal, those of one journal consecutively and in the order of their
numbers, each at least once. It goes at its own pace: nobody waits for another, and no session for any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import orjson
from twisted.internet.defer import Deferred

from hoopproxy.events import Event
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.reader import Record
from hoopproxy.reading.journals import event_of

__all__ = ["Consumer", "Emit", "Taken"]

Emit = Callable[[Event], None]
"""Gives an event to the gateway's writer (never waits, never raises). It comes back as a record of the journal."""

_NOT_LOOKED: Final[Any] = object()
_CHUNK: Final = int(Kind.CHUNK)
_EVENT: Final = int(Kind.EVENT)


class Taken:
    """A record on its way to the consumers, which share it: read it, don't change it.

    :ivar record: as the journal has it. :ivar journal: the journal's id, 16 bytes.
    """

    __slots__ = ("_body", "_event", "_folder", "_session", "_session_of", "record")

    def __init__(self, record: Record, folder: Folder, session_of: Callable[[int], bytes | None]) -> None:
        """:param session_of: key id -> the session's 16 bytes, ``None`` for the gateway's own key."""
        self.record, self._folder, self._session_of = record, folder, session_of
        self._event: Any = _NOT_LOOKED
        self._body = record.body
        self._session: Any = _NOT_LOOKED

    def __repr__(self) -> str:
        return f"<Taken {self._folder.path.name} {self.record.jseq}>"

    @property
    def journal(self) -> bytes:
        return self._folder.id

    @property
    def jseq(self) -> int:
        """The record's number in its journal."""
        return self.record.jseq

    @property
    def event(self) -> Mapping[str, Any] | None:
        """The event that it holds or stands for, parsed once for everybody; ``None``: chunks and the like.

        What a journal lost is an event too, ``audit.gap`` (without an ``id``: it is made on reading).
        """
        event: Mapping[str, Any] | None = self._event
        return self._look() if event is _NOT_LOOKED else event

    @property
    def body(self) -> bytes:
        """The canonical JSON of :attr:`event`; of a record that is none, the record's own bytes."""
        if self._event is _NOT_LOOKED:
            self._look()
        return self._body

    @property
    def session(self) -> bytes | None:
        """The session's 16 bytes, told by the record's key, without parsing; ``None``: the gateway's own."""
        if self._session is _NOT_LOOKED:
            self._session = self._session_of(self.record.key_id)
        found: bytes | None = self._session
        return found

    def _look(self) -> Mapping[str, Any] | None:
        record = self.record
        found: Mapping[str, Any] | None = None
        if record.kind == _EVENT and record.body.startswith(b"{"):
            # By far the most: what the writer made. All else is looked at by whoever knows what it may be.
            try:
                found = orjson.loads(record.body)
            except orjson.JSONDecodeError:
                found = None
        if found is None and record.kind != _CHUNK:
            line = event_of(record, self._folder)
            if line is not None:
                found, self._body = line.event, bytes(line.body)
        self._event = found
        return found


class Consumer(Protocol):
    """Somebody who takes the whole trail. All methods are called on the reader process's reactor thread.

    Work that takes longer than some milliseconds belongs in a thread or in turns, behind a Deferred: the
    others share this one.

    It may have more: ``holds`` (a flag: whether retention waits for it; true unless said), ``interrupt()`` (the
    process ends: let go of what is under way, by failing), ``reopen()`` (SIGHUP), ``status()`` (a mapping of
    facts for ``hoopproxy audit sinks``), ``judge(lag, streams)`` (how far it is behind, about once a second).
    """

    name: str
    """Unique, and a file name: ``ledger``, ``index``, ``sink-siem``."""

    def position(self, journal: bytes) -> int | None:
        """The number of the next record wanted of that journal, for a consumer that keeps its own place
        durably. ``None``: the follower keeps it, in a cursor file; 1 is the first record ever written."""

    def take(self, journal: bytes, records: Sequence[Taken]) -> Deferred[None] | None:
        """Take consecutive records of one journal. ``None`` or a Deferred that fires when they need not come
        again; only then come the next, of whichever journal. If it fails, the same come again after a pause.

        Numbers that are missing before the first are of segments that are gone; who counts on having all
        compares with the last number it had.
        """

    def tick(self) -> Deferred[None] | None:
        """Once after the last batch, about once a second while records come and for some seconds after, and
        every few seconds when all is quiet: what time drives (checkpoints, rotation). Never while ``take`` is
        still at work."""

    def stop(self) -> Deferred[None] | None:
        """The process ends: make durable what is still in memory, give back what is open."""
