"""One consumer's way through all journals: batch after batch, at its own pace, with a cursor that lasts."""

# Twisted's Deferreds are partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from hoopproxy.delivery.backoff import Backoff
from hoopproxy.delivery.consumer import Consumer, Emit
from hoopproxy.delivery.cursors import Cursor, CursorFile
from hoopproxy.delivery.faults import Moved, kind_of
from hoopproxy.delivery.lag import Lag
from hoopproxy.delivery.stream import Batch, Place, Stream, View
from hoopproxy.events import AuditCursorDamaged, AuditGap

__all__ = ["Track"]

Tell = Callable[[str], None]
InThread = Callable[[Callable[[], None]], "Deferred[Any]"]

UNREADABLE_SECONDS: Final = 30.0
_HELD_SECONDS: Final = 0.005
"""Until it is looked again whether somebody further behind has caught up."""


class Track:
    """Hands a consumer what it has not had. One batch is under way at a time, whatever the journal.

    :param clock: ``IReactorTime``.
    :param cursor: where the place is kept for a consumer that doesn't; ``None``: it does.
    :param emit: gives an event to the gateway. :param tell: a sentence for the log.
    :param in_thread: runs what blocks on the disk; gives a Deferred.
    """

    def __init__(
        self,
        consumer: Consumer,
        *,
        clock: Any,
        cursor: CursorFile | None,
        emit: Emit,
        tell: Tell = lambda _: None,
        in_thread: InThread = maybeDeferred,
        backoff: Backoff | None = None,
    ) -> None:
        self.consumer, self._clock, self._file = consumer, clock, cursor
        self._emit, self._tell, self._in_thread = emit, tell, in_thread
        self._backoff = backoff or Backoff()
        self._views: dict[bytes, View] = {}
        self._kept: dict[bytes, int] = {}  # positions that this track keeps, as they are in memory
        self._saved: Cursor = Cursor()
        self._pending: tuple[View, Batch] | None = None
        self._places: dict[bytes, Place] = {}
        self._timer: Any = None
        self._busy = False
        self._saving: Deferred[Any] | None = None
        self._worked = False
        self._tick_is_due = False
        self._stopping: Deferred[None] | None = None
        self._problem = ""
        self._unreadable: dict[bytes, tuple[float, str]] = {}
        self._lost: dict[bytes, Stream] = {}

    # -- life

    @property
    def name(self) -> str:
        """The consumer's."""
        return self.consumer.name

    @property
    def problem(self) -> str:
        """Why it does not get on, in words; empty when it does."""
        return self._problem or next((sentence for _, sentence in self._unreadable.values()), "")

    @property
    def holds(self) -> bool:
        """Whether retention waits for it."""
        return bool(getattr(self.consumer, "holds", True))

    def open(self) -> None:
        """Read the cursor. Raises ``OSError``."""
        if self._file is None:
            return
        found = self._file.read()
        if found.damage:
            resumed = "the copy before it" if found.cursor is not None else "the oldest record"
            self._tell(f"the cursor of {self.name} is damaged ({found.damage}); it goes on from {resumed}")
            self._emit(AuditCursorDamaged(consumer=self.name, why=found.damage, resumed=resumed))
            if found.cursor is None:
                self._file.keep_aside()
        if found.cursor is not None:
            self._saved = found.cursor
            self._kept = dict(found.cursor.positions)

    def add(self, stream: Stream) -> None:
        """A journal is there. A consumer that can't say its place in it is asked again later."""
        journal = stream.folder.id
        try:
            position = self._wanted(stream)
        except Exception as problem:  # its own files may be damaged, and the others have their work to do
            self._lost[journal] = stream
            self._can_not_read(journal, f"its place can't be told: {kind_of(problem)}")
            return
        self._lost.pop(journal, None)
        self._unreadable.pop(journal, None)
        self._views[journal] = View(stream, position, self._damaged)

    def _wanted(self, stream: Stream) -> int:
        journal = stream.folder.id
        position = self.consumer.position(journal)
        if position is None:
            position = self._kept.get(journal, 1)
        if stream.is_live and position > stream.head.jseq + 1:
            why = f"it wants record {position} of a journal that ends at {stream.head.jseq}"
            self._tell(f"the cursor of {self.name} is ahead: {why}; it goes on from the oldest record")
            self._emit(AuditCursorDamaged(consumer=self.name, why=why, resumed="the oldest record"))
            begin_again = getattr(self.consumer, "begin_again", None)
            if begin_again is not None:
                begin_again(journal)
            position = 1
        return position

    def _damaged(self, sentence: str) -> None:
        self._tell(f"{self.name} passes over damage: {sentence}")

    def stop(self) -> Deferred[Any]:
        """Take nothing more; after what is under way, stop the consumer and save its place."""
        if self._stopping is None:
            self._stopping = Deferred()
            self._cancel()
            interrupt = getattr(self.consumer, "interrupt", None)
            if not self._busy:
                self._end()
            elif interrupt is not None:
                interrupt()
        return self._stopping

    def _end(self) -> None:
        assert self._stopping is not None
        stopping = self._stopping
        for view in self._views.values():
            view.close()
        stopped = maybeDeferred(self.consumer.stop)
        stopped.addErrback(self._stop_failed)
        stopped.addCallback(lambda _: self.save())
        stopped.addErrback(self._stop_failed)
        stopped.addBoth(lambda _: stopping.callback(None))

    def _stop_failed(self, failure: Failure) -> None:
        self._tell(f"{self.name} did not stop in order: {kind_of(failure)}")

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- turns

    def go(self) -> None:
        """There may be something to take; cheap when there isn't."""
        if not self._busy and self._timer is None and self._stopping is None:
            self._turn()

    def _later(self, seconds: float) -> None:
        self._timer = self._clock.callLater(seconds, self._again)

    def _again(self) -> None:
        self._timer = None
        self.go()

    def _turn(self) -> None:
        found = self._pending or self._next()
        if found is None:
            if any(view.stream.is_held for view in self._views.values()):
                self._later(_HELD_SECONDS)
            elif self._worked:
                self.tick()  # caught up: what time drives, once
            return
        self._pending = view, batch = found
        self._busy = True
        self._worked = True
        taking = maybeDeferred(self.consumer.take, view.stream.folder.id, batch.records)
        taking.addCallbacks(self._took, self._failed, callbackArgs=(view, batch))
        taking.addErrback(self._failed)

    def _next(self) -> tuple[View, Batch] | None:
        for journal, view in list(self._views.items()):
            batch = self._read(journal, view)
            if batch is not None:
                self._views[journal] = self._views.pop(journal)  # the others first, the next time
                self._places[journal] = batch.place
                return view, batch
        return None

    def _read(self, journal: bytes, view: View) -> Batch | None:
        """One journal that can't be read keeps nobody from the others, and is tried again later."""
        if not self._is_due(journal):
            return None
        try:
            batch = view.read()
            if batch is not None:
                self._look_for_gap(view, batch)
        except Exception as problem:  # damage has many faces
            view.close()
            self._can_not_read(journal, kind_of(problem))
            return None
        self._unreadable.pop(journal, None)
        return batch

    def _is_due(self, journal: bytes) -> bool:
        return journal not in self._unreadable or self._clock.seconds() >= self._unreadable[journal][0]

    def _can_not_read(self, journal: bytes, sentence: str) -> None:
        if sentence != self._unreadable.get(journal, (0.0, ""))[1]:
            self._tell(f"{self.name} can't read a journal: {sentence}")
        self._unreadable[journal] = self._clock.seconds() + UNREADABLE_SECONDS, sentence

    def _look_for_gap(self, view: View, batch: Batch) -> None:
        missing = batch.first - view.position
        if missing > 0 and not _says_gap(batch):
            self._emit(
                AuditGap(
                    why="the journal no longer has them, or not whole",
                    records=missing,
                    bytes=0,
                    consumer=self.name,
                    journal=view.stream.folder.path.name,
                    first=view.position,
                    last=batch.first - 1,
                )
            )

    def _took(self, _: object, view: View, batch: Batch) -> None:
        self._pending = None
        view.position = batch.last + 1
        self._kept[view.stream.folder.id] = view.position
        self._done()
        self._well()

    def _well(self) -> None:
        if self._problem:
            self._tell(f"{self.name} goes on")
        self._problem = ""
        self._backoff.reset()

    def _failed(self, failure: Failure) -> None:
        if failure.check(Moved):
            self._moved()
            self._done()
            return
        problem = kind_of(failure)
        if problem != self._problem and self._stopping is None:
            self._tell(f"{self.name} can't go on: {problem}")
        self._problem = problem
        self._done(self._backoff.pause())

    def _moved(self) -> None:
        self._pending = None
        self._places.clear()
        streams = [view.stream for view in self._views.values()]
        for view in self._views.values():
            view.close()
        self._views.clear()
        for stream in streams:
            self.add(stream)

    def _done(self, pause: float = 0.0) -> None:
        self._busy = False
        if self._stopping is not None:
            self._end()
        elif self._tick_is_due:
            self._later(pause)
            self.tick()
        else:
            self._later(pause)

    # -- time

    def tick(self) -> None:
        """Let the consumer do what time drives; if it is at work, as soon as it isn't."""
        self._tick_is_due = self._busy
        if self._busy or self._stopping is not None:
            return
        for journal, stream in list(self._lost.items()):
            if self._is_due(journal):
                self.add(stream)
        self._worked = False
        self._busy = True
        ticking = maybeDeferred(self.consumer.tick)
        ticking.addErrback(self._tick_failed)
        ticking.addCallback(self._ticked)

    def _tick_failed(self, failure: Failure) -> None:
        if failure.check(Moved):
            self._moved()
            return
        problem = kind_of(failure)
        if problem != self._problem:
            self._tell(f"{self.name} fails: {problem}")
        self._problem = problem

    def _ticked(self, _: object) -> None:
        self._busy = False
        if self._stopping is not None:
            self._end()
            return
        if self._timer is None:
            self.go()

    # -- the place

    def position(self, journal: bytes) -> int:
        """The next number wanted of that journal, as the next start would find it at worst."""
        own = self._own_position(journal)
        return own if own is not None else self._saved.positions.get(journal, 1)

    def _own_position(self, journal: bytes) -> int | None:
        """What the consumer says; ``None`` if it keeps no place, or can't tell it now."""
        try:
            return self.consumer.position(journal)
        except Exception as problem:
            self._can_not_read(journal, f"its place can't be told: {kind_of(problem)}")
            return None

    def save(self) -> Deferred[Any]:
        """Make the place durable if it moved and is kept here. Never fails: what isn't saved comes again."""
        file = self._file
        if self._saving is not None or file is None:
            return succeed(None)
        cursor = Cursor({**self._saved.positions, **self._own_positions()})
        if cursor == self._saved:
            return succeed(None)
        saving: Deferred[Any] = self._in_thread(lambda: file.write(cursor))
        self._saving = saving

        def saved(_: object) -> None:
            self._saving, self._saved = None, cursor

        def failed(failure: Failure) -> None:
            self._saving = None
            self._tell(f"the cursor of {self.name} can't be written: {kind_of(failure)}")

        return saving.addCallbacks(saved, failed)

    def _own_positions(self) -> Mapping[bytes, int]:
        """Also of who keeps its own place, if retention waits for it: that looks at cursors, and nowhere else."""
        found = {}
        for journal in self._views:
            position = self._own_position(journal)
            if position is None:
                position = self._kept.get(journal, 1)
            elif not self.holds:
                continue
            found[journal] = position
        return found

    # -- how far it is

    def lag(self) -> Lag:
        """How far behind it is, over all journals."""
        records = size = 0
        since = 0
        for journal, view in self._views.items():
            behind = view.stream.head.jseq - view.position + 1
            if behind <= 0:
                continue
            records += behind
            place = self._places.get(journal) or view.stream.place_of(view.position)
            if place is not None:
                size += view.stream.bytes_from(place)
                since = min(since or place.time, place.time)
        return Lag(records=records, bytes=size, since=since)

    @property
    def positions(self) -> Mapping[bytes, int]:
        """The next number wanted of each journal, as of now."""
        return {journal: view.position for journal, view in self._views.items()}


def _says_gap(batch: Batch) -> bool:
    """Whether the batch itself begins with what says that records are missing."""
    event = batch.records[0].event
    return event is not None and event.get("kind") == "audit.gap"
