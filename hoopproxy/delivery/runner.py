"""One sink: its batches, its failures, its quota, its place.

A sink that is down is tried again with growing pauses and holds up nobody else. It is told of once. If it is
required it waits for ever, and its quota stops new commands; if not, it is moved past the oldest segments once
it is past its quota, and hears first what it did not get.
"""

# Twisted's Deferreds are partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
import orjson
from twisted.internet.defer import Deferred

from hoopproxy.config.model import Sink
from hoopproxy.delivery.attached import Attached
from hoopproxy.delivery.backoff import Backoff
from hoopproxy.delivery.call import Nonsense, TooLate
from hoopproxy.delivery.consumer import Taken
from hoopproxy.delivery.cursors import Cursor, CursorFile
from hoopproxy.delivery.faults import Moved, kind_of
from hoopproxy.delivery.gaps import Gap
from hoopproxy.delivery.lag import Lag
from hoopproxy.delivery.selection import MAX_EVENT_BYTES, Selection, batches
from hoopproxy.delivery.stream import Stream
from hoopproxy.delivery.surroundings import Surroundings
from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditCursorDamaged, AuditSinkFailed, AuditSinkRecovered
from hoopproxy.export.bounds import LEAST
from hoopproxy.journal.folder import journals
from hoopproxy.journal.watermark import read_mark
from hoopproxy.sinks import Delivery

__all__ = ["Interrupted", "SinkRunner"]

SAVE_SECONDS: Final = 0.9
"""Between two writes of the cursor: two syncs each, on the disk that the sessions wait for."""
FAILURES_TOLD: Final = 3
"""Failures in a row before it is an event: a lost connection that comes back at once is not worth two."""


class Interrupted(HoopproxyError):
    """The process ends; what was under way comes again."""


class SinkRunner:
    """A :class:`~hoopproxy.delivery.consumer.Consumer` that hands what it takes to a sink.

    :param pause: seconds before the first attempt. :param wall: Unix time in seconds.
    """

    def __init__(
        self,
        sink: Sink,
        plugin: Any,
        around: Surroundings,
        *,
        backoff: Backoff | None = None,
        pause: float = 0.0,
        wall: Any = time.time,
    ) -> None:
        """Raises ``OSError``, and ``NoFormat``."""
        self.sink, self._around = sink, around
        self.name, self.holds = f"sink-{sink.name}", sink.required
        self.format = sink.format or str(plugin.default_format)
        self._clock, self._wall = around.reactor, wall
        self._began = wall() - self._clock.seconds()
        self._backoff = backoff or Backoff()
        fits = getattr(plugin, "event_bytes", None)
        most = MAX_EVENT_BYTES if fits is None else max(LEAST, fits(sink.options))
        self._selection = Selection(sink, self.format, most)
        self._attached = Attached(sink, plugin, around, pause)
        around.folder("cursors")
        self._file = CursorFile(around.cursors / self.name, around.files)
        self._gaps: list[Gap] = []
        self._saved, self._cursor = Cursor(), Cursor()
        self._saved_at = self._clock.seconds()
        self._open_cursor()
        self._is_torn = False  # a batch is half done: what is folded is ahead of the place
        self._move: dict[bytes, int] | None = None
        self._interrupted = False
        self._failing_since: float | None = None
        self._is_told = False
        self._lag = Lag()
        self.error = ""
        self.delivered = 0
        self.gaps_told = 0
        self.is_over = False
        """Past its quota."""

    # -- the place

    def _open_cursor(self) -> None:
        found = self._file.read()
        if found.damage:
            resumed = "the copy before it" if found.cursor is not None else "the oldest record"
            self._around.tell(f"the cursor of {self.name} is damaged ({found.damage}); from {resumed}")
            self._around.emit(AuditCursorDamaged(consumer=self.name, why=found.damage, resumed=resumed))
            if found.cursor is None:
                self._file.keep_aside()
        if found.cursor is not None:
            self._cursor = self._saved = found.cursor
            self._restore(found.cursor.state)
        elif not found.damage:
            self._cursor = self._first()
            self._file.write(self._cursor)
            self._saved = self._cursor

    def _first(self) -> Cursor:
        """Where ``from`` says, in the journals that are there; those to come are wanted whole."""
        start = self.sink.from_
        if start == "oldest":
            return Cursor()
        ends = {
            folder.id: read_mark(folder.files, folder.watermark).jseq + 1
            for folder in journals(self._around.state, self._around.files)
        }
        if isinstance(start, int) and ends:
            newest = max(ends)  # their ids are made so that later ones sort later
            ends[newest] = min(start, ends[newest])
        return Cursor(ends)

    def _restore(self, state: bytes) -> None:
        if not state:
            return
        try:
            said = orjson.loads(self._around.kept.open(self.name, state))
            gaps = [Gap.from_json(each) for each in said["gaps"]]
            self._selection.restore(said["joins"])
        except (HoopproxyError, ValueError, KeyError, TypeError, AttributeError) as problem:
            why = f"what was open can't be read: {kind_of(problem)}"
            self._around.tell(f"{self.name}: {why}")
            self._around.emit(
                AuditCursorDamaged(consumer=self.name, why=why, resumed="its place, without what was open")
            )
            return
        self._gaps = gaps

    def _state(self) -> bytes:
        joins = self._selection.state()
        if not joins and not self._gaps:
            return b""
        return orjson.dumps({"gaps": [gap.as_json() for gap in self._gaps], "joins": joins})

    def position(self, journal: bytes) -> int:
        """See ``Consumer``: the place that is durable."""
        return self._saved.positions.get(journal, 1)

    @property
    def _is_save_due(self) -> bool:
        return bool(self._clock.seconds() - self._saved_at >= SAVE_SECONDS)

    def _save(self) -> None:
        """Raises ``OSError``."""
        cursor = Cursor(self._cursor.positions, self._state())
        self._saved_at = self._clock.seconds()
        if cursor != self._saved:
            kept = self._around.kept.seal(self.name, cursor.state)
            self._file.write(attrs.evolve(cursor, state=kept))
            self._saved = cursor

    def _try_save(self) -> bool:
        """What can't be saved comes again after a restart, so that is no reason to stop."""
        try:
            self._save()
        except OSError as problem:
            self._around.tell(f"the cursor of {self.name} can't be written: {kind_of(problem)}")
            return False
        return True

    # -- records

    def take(self, journal: bytes, records: Sequence[Taken]) -> Deferred[None]:
        """See ``Consumer``. Fails only when it is interrupted, or goes on elsewhere."""
        return Deferred.fromCoroutine(self._take(journal, records))

    async def _take(self, journal: bytes, records: Sequence[Taken]) -> None:
        self._look_for_gap(journal, records)
        self._is_torn = True
        made = self._selection.take(records)
        self._look_for_failures()
        await self._deliver(made)
        last = records[-1].jseq
        self._cursor = self._cursor.at(journal, last + 1)
        self._is_torn = False
        self._around.acknowledged(self.sink.name, journal, last)
        if self._is_save_due:
            self._try_save()

    def _look_for_gap(self, journal: bytes, records: Sequence[Taken]) -> None:
        wanted, first = self._cursor.positions.get(journal, 1), records[0].jseq
        event = records[0].event
        if first <= wanted or (event is not None and event.get("kind") == "audit.gap"):
            return
        why = "the journal no longer has them, or not whole"
        self._note_gap(journal, wanted, first - 1, why)

    def _look_for_failures(self) -> None:
        """What no line could be made of is a gap of one record: told, and in nobody's way."""
        for journal, jseq, problem in self._selection.failures():
            why = f"the event can't be said as {self.format} ({problem})"
            self._around.tell(f"{self.name}: record {jseq}: {why}")
            self._around.emit(self._note_gap(journal, jseq, jseq, why).event(self.name))

    def _note_gap(self, journal: bytes, first: int, last: int, why: str) -> Gap:
        gap = Gap(
            journal=str(uuid.UUID(bytes=journal)),
            first=first,
            last=last,
            why=why,
            since=int(self._wall()),
        )
        self._gaps.append(gap)
        return gap

    async def _deliver(self, deliveries: Iterable[Delivery]) -> None:
        if self._gaps:
            gaps = list(self._gaps)
            told = [delivery for gap in gaps for delivery in self._told(gap)]
            for batch in batches(told, self.sink.batch_events, self.sink.batch_bytes):
                await self._deliver_batch(batch)
            self.gaps_told += len(gaps)
            del self._gaps[: len(gaps)]
        for batch in batches(deliveries, self.sink.batch_events, self.sink.batch_bytes):
            await self._deliver_batch(batch)

    def _told(self, gap: Gap) -> list[Delivery]:
        try:
            return [self._selection.told(gap.told(self.name, self._around.node))]
        except (
            Exception
        ) as problem:  # it is in the trail all the same; a mapper's fault must not stop the rest
            self._around.tell(f"{self.name} can't be told of a gap: {kind_of(problem)}")
            return []

    async def _deliver_batch(self, batch: list[Delivery]) -> None:
        """Until it is accepted. Raises ``Interrupted`` or ``Moved``."""
        while True:
            self._look_up()
            try:
                await self._attached.deliver(batch)
            except Interrupted:
                raise
            except Moved:
                await self._attached.detach()  # it may still be at work on what it need not have any more
            except (Exception, SystemExit) as problem:
                await self._failed(problem)
            else:
                self.delivered += len(batch)
                self._well()
                return

    def _look_up(self) -> None:
        """Whether this is to go on at all."""
        if self._interrupted:
            raise Interrupted("the process ends")
        if self._move is not None:
            self._carry_out_move(self._move)
            raise Moved("past its quota")

    def interrupt(self) -> None:
        """The process is about to end: let go of what is under way."""
        self._interrupted = True
        self._attached.release(Interrupted("the process ends"))

    # -- failures

    async def _failed(self, problem: BaseException) -> None:
        self.error = kind_of(problem)
        if self._failing_since is None:
            self._failing_since = self._clock.seconds()
        if isinstance(problem, (TooLate, Nonsense)):
            await self._attached.detach()
        pause = self._backoff.pause()
        if self._backoff.failures >= FAILURES_TOLD and not self._is_told:
            self._is_told = True
            self._around.tell(f"{self.name} fails: {self.error}")
            self._around.emit(
                AuditSinkFailed(
                    sink=self.sink.name,
                    error=self.error,
                    records=self._lag.records,
                    bytes=self._lag.bytes,
                    required=self.sink.required,
                )
            )
        await self._attached.sleep(pause)

    def _well(self) -> None:
        self._backoff.reset()
        since, self._failing_since = self._failing_since, None
        if since is None:
            return
        if self._is_told:
            self._is_told = False
            seconds = round(self._clock.seconds() - since)
            self._around.tell(f"{self.name} takes records again, after {seconds} s")
            self._around.emit(
                AuditSinkRecovered(sink=self.sink.name, seconds=seconds, records=self._lag.records)
            )
        self.error = ""

    # -- the quota

    def judge(self, lag: Lag, streams: Mapping[bytes, Stream]) -> None:
        """Look at how far it is behind, about once a second."""
        self._lag = lag
        sink = self.sink
        seconds = lag.seconds(self._unstepped())
        self.is_over = (0 < sink.quota_bytes < lag.bytes) or (0 < sink.quota_seconds < seconds)
        if self.is_over and not sink.required and self._move is None:
            places = {
                journal: stream.within(sink.quota_bytes // 2, int(self._oldest_ns(sink.quota_seconds / 2)))
                for journal, stream in streams.items()
            }
            self._move = {
                journal: place
                for journal, place in places.items()
                if place > self._cursor.positions.get(journal, 1)
            }
            if not self._move:
                self._move = None
            elif self._failing_since is not None:
                self._attached.release(Moved("past its quota"))

    def _oldest_ns(self, seconds: float) -> float:
        return (self._unstepped() - seconds) * 1e9 if self.sink.quota_seconds else 0.0

    def _unstepped(self) -> float:
        """The time of day, or what it would be if nobody had set the clock forth: by that no record waits longer."""
        unstepped: float = min(self._wall(), self._began + self._clock.seconds())
        return unstepped

    def _carry_out_move(self, places: Mapping[bytes, int]) -> None:
        self._move = None
        why = f"the sink {self.sink.name} was past its quota"
        for journal, place in places.items():
            first = self._cursor.positions.get(journal, 1)
            if place > first:
                gap = self._note_gap(journal, first, place - 1, why)
                self._cursor = self._cursor.at(journal, place)
                self._around.emit(gap.event(self.name))
        if not self._try_save():
            self._saved = Cursor(self._cursor.positions, self._state())  # it goes on from there all the same

    # -- time

    def tick(self) -> Deferred[None]:
        """See ``Consumer``."""
        return Deferred.fromCoroutine(self._tick())

    async def _tick(self) -> None:
        due = list(self._selection.due(self._clock.seconds()))
        self._look_for_failures()
        if due or self._gaps:
            self._is_torn = True
            await self._deliver(due)
            self._is_torn = False
        if self._is_save_due:
            self._try_save()

    def reopen(self) -> None:
        """SIGHUP: files may have been moved away."""
        self._attached.reopen()

    def stop(self) -> Deferred[None]:
        """See ``Consumer``."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._interrupted = True
        await self._attached.detach()
        if not self._is_torn:
            self._try_save()

    def status(self) -> dict[str, Any]:
        """Facts for who asks."""
        state = "failing" if self._is_told else "ok" if self._failing_since is None else "retrying"
        error = self.error
        if self._attached.is_put_off:
            state, error = "failing", "it blocked the process that reads the trail, and waits"
        return {
            "type": self.sink.type,
            "format": self.format,
            "required": self.sink.required,
            "acknowledges": self._attached.acknowledges,
            "state": "over quota" if self.is_over else state,
            "error": error,
            "delivered": self.delivered,
            "gaps": self.gaps_told + len(self._gaps),
            "quota_bytes": self.sink.quota_bytes,
            "quota_seconds": self.sink.quota_seconds,
        }
