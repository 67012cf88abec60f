"""The reader of the trail that ships it: a segment once the writer has begun the next one.

Its place is the first record that is not in the archive, so retention keeps what is not there yet. It wants the records
only to hear that a segment is over.
"""

# Twisted's Deferreds are partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred

from hoopproxy.archive.shipping import Shipping
from hoopproxy.archive.store import Store
from hoopproxy.delivery.consumer import Emit, Taken
from hoopproxy.delivery.cursors import Cursor, CursorFile
from hoopproxy.delivery.faults import kind_of
from hoopproxy.delivery.lag import Lag
from hoopproxy.events import AuditSinkFailed, AuditSinkRecovered
from hoopproxy.journal.files import Files, RealFiles
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.ledger.folder import ledgers_root

__all__ = ["FAILURES_TOLD", "NAME", "Archive"]

NAME: Final = "archive"
FAILURES_TOLD: Final = 3
"""Failures in a row before it is an event, as of a sink."""

LOOK_SECONDS: Final = 60.0
"""Between two looks for what no record tells: a journal that ended, keys that were erased, the ledger's files."""


class Archive:
    """A :class:`~hoopproxy.delivery.consumer.Consumer`.

    :param make_store: makes the store; may fail, and is then asked again. :param cursor: where its place is kept.
    :param clock: ``IReactorTime``.
    :param in_thread: runs what blocks; gives something to await. :param emit: gives an event to the gateway.
    """

    name = NAME

    def __init__(
        self,
        state: Path,
        make_store: Callable[[], Awaitable[Store]],
        cursor: CursorFile,
        *,
        node: str,
        clock: Any,
        in_thread: Callable[..., Awaitable[Any]],
        emit: Emit = lambda _: None,
        files: Files | None = None,
    ) -> None:
        """Raises ``OSError``."""
        self._state, self._make_store, self._file, self._node = state, make_store, cursor, node
        self._clock, self._in_thread = clock, in_thread
        self._files = files or RealFiles()
        self._cursor = cursor.read().cursor or Cursor()
        self._segments: dict[bytes, int] = {}  # of each journal the segment that its last record was in
        self._shipping: Shipping | None = None
        self._interrupted = threading.Event()
        self._looked: float | None = None
        self._emit, self._lag = emit, Lag()
        self._failures, self._failing_since = 0, 0.0
        self._where = ""

    def position(self, journal: bytes) -> int:
        """See ``Consumer``."""
        return self._cursor.positions.get(journal, 1)

    def take(self, journal: bytes, records: Sequence[Taken]) -> Deferred[None] | None:
        """See ``Consumer``. Ships when a record is of another segment than those before."""
        last = records[-1].record.segment
        before = self._segments.get(journal, records[0].record.segment)
        if last == before:
            self._segments[journal] = last
            return None
        return Deferred.fromCoroutine(self._told(self._moved_on(journal, last)))

    async def _moved_on(self, journal: bytes, segment: int) -> None:
        await self._ship([folder for folder in self._folders() if folder.id == journal])
        self._segments[journal] = segment

    def tick(self) -> Deferred[None] | None:
        """See ``Consumer``."""
        now = self._clock.seconds()
        if self._looked is not None and now - self._looked < LOOK_SECONDS:
            return None
        return Deferred.fromCoroutine(self._told(self._look(now)))

    async def _look(self, now: float) -> None:
        folders = self._folders()
        await self._ship(folders)
        shipping = await self._ready()
        await self._in_thread(self._keys, shipping, [each for each in folders if self.position(each.id) > 1])
        self._looked = now

    async def _told(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it; that it fails, and that it is over, are events."""
        try:
            await work
        except Exception as error:
            self._failures += 1
            if self._failures == 1:
                self._failing_since = self._clock.seconds()
            if self._failures == FAILURES_TOLD:
                self._emit(
                    AuditSinkFailed(
                        sink=NAME,
                        error=kind_of(error),
                        records=self._lag.records,
                        bytes=self._lag.bytes,
                        required=True,
                    )
                )
            raise
        if self._failures >= FAILURES_TOLD:
            seconds = round(self._clock.seconds() - self._failing_since)
            self._emit(AuditSinkRecovered(sink=NAME, seconds=seconds, records=self._lag.records))
        self._failures = 0

    def judge(self, lag: Lag, streams: object) -> None:
        """How far it is behind, about once a second."""
        self._lag = lag

    def _keys(self, shipping: Shipping, folders: Sequence[Folder]) -> None:
        for folder in folders:
            shipping.keys(folder)

    def _ledgers(self, shipping: Shipping, folders: Sequence[Folder]) -> None:
        for folder in folders:
            shipping.must_be_ours(folder)
        root, journals_here = ledgers_root(self._state), {folder.path.name for folder in folders}
        for name in self._files.names(root):
            # One that was given up has a number behind the journal's id.
            if name.partition(".")[0] in journals_here and (root / name).is_dir():
                shipping.ledger(root / name)

    def _folders(self) -> list[Folder]:
        return journals(self._state, self._files)

    async def _ready(self) -> Shipping:
        if self._shipping is None:
            store = await self._make_store()
            self._where = store.where
            self._shipping = Shipping(store, self._node, lambda: not self._interrupted.is_set())
        return self._shipping

    async def _ship(self, folders: Sequence[Folder]) -> None:
        try:
            shipping = await self._ready()
            # The ledgers first: a checkpoint that a segment tells of is one of a tree that is there.
            await self._in_thread(self._ledgers, shipping, folders)
            for folder in folders:
                position = self.position(folder.id)
                reached = await self._in_thread(shipping.journal, folder, position)
                if reached != position:
                    cursor = self._cursor.at(folder.id, reached)
                    await self._in_thread(self._file.write, cursor)
                    self._cursor = cursor
        except BaseException:
            self._shipping = None  # with whatever secrets it was made of: they may be new ones now
            raise

    def reopen(self) -> None:
        """SIGHUP: another store with the next thing to do."""
        self._shipping = None

    def interrupt(self) -> None:
        """The process ends: no further segment is begun. What is half there is not there, and comes again."""
        self._interrupted.set()

    def status(self) -> Mapping[str, object]:
        """For ``hoopproxy audit sinks``."""
        return {"to": self._where} if self._where else {}

    def stop(self) -> None:
        """See ``Consumer``. Its place is saved whenever it moves."""
        self._interrupted.set()
