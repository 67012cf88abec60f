"""What the reader process hands out, and to whom: every sink, the ledger, the index and the archive is a Consumer.

A consumer gets the records of every journal, those of one journal consecutively and in the order of their
numbers, each at least once. It goes at its own pace: nobody waits for another, and no session for any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, SupportsIndex, TypeAlias, overload

import orjson
from twisted.internet.defer import Deferred

from hoopproxy.events import Event
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.handed import HandedTurn
from hoopproxy.journal.record import Record, records_of
from hoopproxy.reading.journals import event_of

__all__ = ["Consumer", "Emit", "Entry", "Records", "Taken", "TakenTurn"]

Emit = Callable[[Event], None]
"""Gives an event to the gateway's writer (never waits, never raises). It comes back as a record of the journal."""

_NOT_LOOKED: Final[Any] = object()
_LIKES_KEPT: Final = 4096  # sessions; one takes about 4 KB
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


class TakenTurn(HandedTurn):
    """A turn on its way to the consumers, which share it. It is a :class:`~hoopproxy.export.turned.Half`.

    :ivar of: the journal's folder, and what tells the session of a key (:class:`Taken`); set by who hands it out.
    """

    __slots__ = ("_taken", "of")
    of: tuple[Folder, Callable[[int], bytes | None]]
    _taken: list[Taken]

    @property
    def journal(self) -> bytes:
        """The journal's id, 16 bytes."""
        return self.of[0].id

    def taken(self) -> list[Taken]:
        """Its records, the same ones for everybody."""
        try:
            return self._taken
        except AttributeError:  # the first who asks
            folder, session_of = self.of
            found = self._taken = [Taken(record, folder, session_of) for record in records_of(self)]
            return found

    # -- as half of an operation

    @property
    def like(self) -> Mapping[str, Any]:
        envelope = self.envelope
        kept = _likes.get(id(envelope))
        if kept is not None and kept[0] is envelope:
            return kept[1]
        if len(_likes) >= _LIKES_KEPT:
            _likes.clear()
        event = orjson.loads(self.lines[0])
        _likes[id(envelope)] = envelope, event
        return event  # type: ignore[no-any-return]

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        return [taken.event for taken in self.taken()[1:] if taken.event is not None]


_likes: dict[int, tuple[Any, Mapping[str, Any]]] = {}
"""An event of each envelope, told by the very object, which is held here so that no other can be taken for it."""

Entry: TypeAlias = Taken | TakenTurn


class Records(Sequence[Taken]):
    """Consecutive records, of which some are still told as turns; each becomes records when somebody looks."""

    __slots__ = ("entries",)

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __len__(self) -> int:
        return sum([len(each) if isinstance(each, TakenTurn) else 1 for each in self.entries])

    def __iter__(self) -> Iterator[Taken]:
        for each in self.entries:
            if isinstance(each, TakenTurn):
                yield from each.taken()
            else:
                yield each

    @overload
    def __getitem__(self, index: SupportsIndex) -> Taken: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Taken]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Taken | Sequence[Taken]:
        if index == 0 or index == -1:  # what is asked for of every batch
            each = self.entries[0 if index == 0 else -1]
            return each.taken()[0 if index == 0 else -1] if isinstance(each, TakenTurn) else each
        return list(self)[index]


class Consumer(Protocol):
    """Somebody who takes the whole trail. All methods are called on the reader process's reactor thread.

    Work that takes longer than some milliseconds belongs in a thread or in turns, behind a Deferred: the
    others share this one.

    It may have more: ``holds`` (a flag: whether retention waits for it; true unless said), ``interrupt()`` (the
    process ends: let go of what is under way, by failing), ``reopen()`` (SIGHUP), ``status()`` (a mapping of
    facts for ``hoopproxy audit sinks``), ``judge(lag, streams)`` (how far it is behind, about once a second),
    ``begin_again(journal)`` (the journal ends before its place: what it has is of what was there before).
    """

    name: str
    """Unique, and a file name: ``ledger``, ``index``, ``sink-siem``."""

    def position(self, journal: bytes) -> int | None:
        """The number of the next record wanted of that journal, for a consumer that keeps its own place
        durably. ``None``: the follower keeps it, in a cursor file; 1 is the first record ever written."""

    def take(self, journal: bytes, records: Sequence[Taken]) -> Deferred[None] | None:
        """Take consecutive records of one journal; :func:`~hoopproxy.journal.handed.entries_of` tells which of them
        were written as one turn. ``None`` or a Deferred that fires when they need not come again; only then come the
        next, of whichever journal. If it fails, the same come again after a pause.

        Numbers that are missing before the first are of segments that are gone; who counts on having all
        compares with the last number it had.
        """

    def tick(self) -> Deferred[None] | None:
        """Once after the last batch, about once a second while records come and for some seconds after, and
        every few seconds when all is quiet: what time drives (checkpoints, rotation). Never while ``take`` is
        still at work."""

    def stop(self) -> Deferred[None] | None:
        """The process ends: make durable what is still in memory, give back what is open."""
