"""The consumer that seals every journal: ``state/trail/ledger/<journal-id>/``."""

# Twisted's locks are partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred, succeed
from twisted.logger import Logger

from hoopproxy.events import Event
from hoopproxy.journal.files import Files, RealFiles
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.handed import HandedTurn, entries_of
from hoopproxy.journal.record import Entry, Record
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.folder import LedgerFolder, ledgers_root
from hoopproxy.ledger.sealer import Sealer
from hoopproxy.sealing.outside import Outside

__all__ = ["QUIET", "Ledger", "is_quiet"]

T = TypeVar("T")

QUIET: Final = frozenset(
    {
        "audit.checkpoint",
        "audit.epoch",
        "audit.witnessed",
        "audit.witness_failed",
        "audit.timestamped",
    }
)
"""Kinds that the ledger causes itself: sealing them at once would cause more of them, for ever."""

_TICK_SECONDS: Final = 0.6
"""Where nobody keeps the time (``later``), a tick that comes a little early is better than one that is late."""


class Given(Protocol):
    """Of what a consumer is handed, what is looked at here."""

    @property
    def record(self) -> Record: ...

    @property
    def event(self) -> Any: ...


def is_quiet(event: Any) -> bool:
    """Whether the event is the ledger's own doing, or the gateway's hourly sign of life."""
    kind = event.get("kind")
    if kind == "gateway.clock":
        return bool(event.get("event", {}).get("why") == "hour")
    return kind in QUIET


class Ledger:
    """See :class:`hoopproxy.delivery.consumer.Consumer`.

    :param emit: gives an event to the gateway's writer. :param origin: what each log's name begins with.
    :param epoch_seconds: how long one key signs.
    :param in_thread: as ``deferToThread``: where the disk is waited for.
    :param later: as ``callLater``: a checkpoint is signed when its second is over, and not with the next tick.
    :param outside: who is shown the checkpoints.
    """

    name = "ledger"
    log = Logger()

    def __init__(
        self,
        state: Path,
        emit: Callable[[Event], None],
        *,
        origin: str,
        epoch_seconds: float = 86400.0,
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]] = lambda work: maybeDeferred(work),
        later: Callable[..., Any] | None = None,
        outside: Outside | None = None,
        files: Files | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._state, self._emit = state, emit
        self._origin, self._epoch_seconds = origin, epoch_seconds
        self._in_thread, self._outside = in_thread, outside
        self._files = files or RealFiles()
        self._now, self._monotonic, self._sleep = now, monotonic, sleep
        self._later, self._timers = later, dict[Sealer, Any]()
        self._lock = DeferredLock()  # a tree is not added to while a thread signs it
        self._sealers: dict[bytes, Sealer] = {}
        self._said: list[Event] = []  # by whichever thread; passed on from the reactor's

    # -- as a consumer

    def position(self, journal: bytes) -> int | None:
        """How far the tree is signed. :raises OSError: it can't be opened."""
        found = self.sealer(journal).durable_jseq
        self._pass_on()
        return found

    def take(self, journal: bytes, records: Sequence[Given]) -> Deferred[None] | None:
        """Put the records into the tree; when a checkpoint is due, wait until it is on the disk."""
        return self._lock.run(self._take, journal, records)

    def tick(self) -> Deferred[None] | None:
        """Sign what waits long enough."""
        return self._lock.run(self._seal_due, _TICK_SECONDS)

    def stop(self) -> Deferred[None] | None:
        """Sign what is in memory, and close."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._outside is not None:
            self._outside.stop()
        done: Deferred[Any] = self._lock.run(self._seal_due, 0.0)
        return done.addBoth(self._close)

    # -- inside

    def sealer(self, journal: bytes) -> Sealer:
        """That of a journal, opened when it is first asked for."""
        found = self._sealers.get(journal)
        if found is None:
            folder = _folder(self._state, journal, self._files)
            ledger = LedgerFolder(ledgers_root(self._state) / folder.path.name, self._files)
            found = self._sealers[journal] = Sealer(
                ledger,
                folder,
                base=self._origin,
                epoch_seconds=self._epoch_seconds,
                tell=self._said.append,
                now=self._now,
                monotonic=self._monotonic,
                sleep=self._sleep,
            )
        return found

    def _take(self, journal: bytes, records: Sequence[Given]) -> Any:
        sealer = self.sealer(journal)
        entries, traffic = self._read(records)
        sealer.take(entries, traffic)
        if sealer.is_due():
            return self._seal(sealer)
        wait = sealer.wait()
        if self._later is not None and wait is not None and sealer not in self._timers:
            self._timers[sealer] = self._later(wait, self._in_time, sealer)
        return None

    def _in_time(self, sealer: Sealer) -> None:
        """A checkpoint's second is over. What fails here, the next tick tries again, and tells."""
        self._timers.pop(sealer, None)
        done: Deferred[Any] = self._lock.run(self._seal_if_due, sealer)
        done.addErrback(lambda failure: self.log.failure("a checkpoint could not be signed in time", failure))

    def _seal_if_due(self, sealer: Sealer) -> Any:
        return self._seal(sealer) if sealer.is_due(_TICK_SECONDS) else None

    def _seal_due(self, interval: float) -> Deferred[None]:
        return self._seal_all([each for each in self._sealers.values() if each.is_due(interval)])

    def _read(self, records: Sequence[Given]) -> tuple[list[Entry], int]:
        """What the journal has, and how many records of it are traffic."""
        entries: list[Entry] = []
        traffic = 0
        for given in entries_of(records):
            if isinstance(given, HandedTurn):
                entries.append(given)
                traffic += 1 + len(given.lines)
                continue
            record = given.record
            entries.append(record)
            traffic += 1
            if record.key_id or record.kind != Kind.EVENT:
                continue  # a session's
            event = given.event
            if event is not None and is_quiet(event):
                traffic -= 1
                if event["kind"] == "audit.checkpoint":
                    self._told(event.get("event"))
        return entries, traffic

    def _told(self, said: Any) -> None:
        for sealer in self._sealers.values():
            if isinstance(said, dict) and said.get("journal") == sealer.journal.path.name:
                sealer.told(said)

    def _seal(self, sealer: Sealer) -> Deferred[None]:
        done: Deferred[Any] = self._in_thread(sealer.seal)
        return done.addBoth(self._after, sealer)

    def _after(self, result: Any, sealer: Sealer) -> Any:
        self._pass_on()
        if isinstance(result, Checkpoint):
            if self._outside is not None:
                self._outside.sealed(sealer, result)
            return None
        return result

    def _seal_all(self, sealers: Sequence[Sealer]) -> Deferred[None]:
        done: Deferred[Any] = succeed(None)
        for sealer in sealers:
            done.addCallback(self._seal_next, sealer)
        return done

    def _seal_next(self, _: object, sealer: Sealer) -> Deferred[None]:
        return self._seal(sealer)

    def _pass_on(self) -> None:
        said, self._said[:] = self._said[:], []
        for event in said:
            self._emit(event)

    def _close(self, result: Any) -> Any:
        for sealer in self._sealers.values():
            sealer.close()
        self._sealers.clear()
        return result


def _folder(state: Path, journal: bytes, files: Files) -> Folder:
    return Folder(state / "journals" / str(uuid.UUID(bytes=journal)), files)
