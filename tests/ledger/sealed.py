"""A gateway's journal and the ledger that seals it, both in the test's hands; time stands still until told."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from twisted.internet.defer import Deferred

from hoopproxy.events import Event
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import (
    REWRITTEN,
    BlockType,
    Compression,
    Kind,
    SegmentHeader,
    encode_block,
    encode_records,
)
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.vault import Sealing
from hoopproxy.journal.writer import Journal
from hoopproxy.ledger.folder import LedgerFolder, ledgers_root
from hoopproxy.ledger.report import Report
from hoopproxy.ledger.sealer import Sealer
from hoopproxy.ledger.verify import Said, Verification
from hoopproxy.sealing.consumer import Ledger
from tests.cli.trail import T0, Trail
from tests.ending import at_end


class Given:
    """As the follower hands a record on."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @property
    def event(self) -> Any:
        return orjson.loads(self.record.body) if self.record.kind == Kind.EVENT else None


def done(deferred: Deferred[Any] | None) -> None:
    """It has fired, and did not fail."""
    if deferred is not None:
        failures: list[Any] = []
        deferred.addErrback(failures.append)
        assert deferred.called
        if failures:
            failures[0].raiseException()


def encrypted(state: Path) -> Trail:
    """A trail of which the state directory opens the events, and ``auditor.txt`` in it the recordings."""
    pyrage = pytest.importorskip("pyrage")
    auditor = pyrage.x25519.Identity.generate()
    trail = Trail(state)
    sealed_from_now(trail, str(auditor.to_public()))
    (state / "reader-key").write_bytes(bytes(32))
    (state / "auditor.txt").write_text(f"{auditor}\n")
    return trail


def sealed_from_now(trail: Trail, recipient: str) -> None:
    """The trail's journal goes on under another writer, which encrypts."""
    trail.journal.stop()
    trail.folder = type(trail.folder).acquire(trail.state)
    trail.journal = Journal(
        trail.folder,
        clock=lambda: trail.now,
        wall=lambda: trail.now,
        threaded=False,
        options=JournalOptions(reserve_bytes=0),
        sealing=Sealing((recipient,), bytes(32)),
    )
    trail.journal.start()


class House:
    """``said`` are the events of the ledger; each goes into the journal as the gateway's writer puts it there."""

    def __init__(self, state: Path, trail: Trail | None = None) -> None:
        self.state = state
        self.trail = trail or Trail(state)
        self.said: list[Event] = []
        self.seconds = 1000.0
        self.base = "gw1.example"
        self.epoch_seconds = 1e9
        self.ledger = self.started()
        self.given = 0
        self.batch = 10_000

    def started(self) -> Ledger:
        """The ledger of a process that has just begun."""
        ledger = Ledger(
            self.state,
            self._emit,
            origin=self.base,
            epoch_seconds=self.epoch_seconds,
            now=lambda: T0 / 1e9 + self.seconds,
            monotonic=lambda: self.seconds,
            sleep=lambda seconds: None,
        )
        at_end(partial(ledger._close, None))  # not stop(), which signs
        return ledger

    def restart(self) -> None:
        """Another process takes over; the old one had no time to say goodbye."""
        self.ledger = self.started()

    def _emit(self, event: Event) -> None:
        self.said.append(event)
        self.trail.say(event)

    @property
    def folder(self) -> Folder:
        return self.trail.folder

    @property
    def store(self) -> LedgerFolder:
        return LedgerFolder(ledgers_root(self.state) / self.folder.path.name)

    @property
    def sealer(self) -> Sealer:
        return self.ledger.sealer(self.folder.id)

    def follow(self, batch: int = 0) -> None:
        """Everything that is durable, to the ledger, so many records at a time: no leaf has more."""
        batch = batch or self.batch
        self.trail.journal.commit_now()
        assert self.ledger.position(self.folder.id) is not None
        with JournalReader(self.folder, since=self.sealer.next_jseq) as reader:
            records = [Given(record) for record in reader]
        for at in range(0, len(records), batch):
            done(self.ledger.take(self.folder.id, records[at : at + batch]))

    def pass_time(self, seconds: float) -> None:
        """So much later, the follower ticks."""
        self.seconds += seconds
        self.trail.now += int(seconds * 1e9)
        done(self.ledger.tick())

    def work(self, commands: int = 3, who: str = "alice") -> None:
        """Somebody does something, and it is sealed."""
        session = self.trail.session(who)
        for number in range(commands):
            session.selects(f"SELECT {number}", ("n",), (b"1",))
        session.end()
        self.follow()
        self.pass_time(1)

    def work_at_once(self, commands: int) -> None:
        """The same in one commit, as if the disk had been at work: one block, and leaves of many records."""
        session = self.trail.session("alice")
        self.trail.journal._working = True
        for number in range(commands):
            session.selects(f"SELECT {number}", ("n",), (b"1",))
        self.trail.journal._working = False
        session.end()
        self.follow()
        self.pass_time(1)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.said]

    def verified(
        self, *, pins: Sequence[Any] = (), kept: Sequence[bytes] = (), known: Sequence[str] = ()
    ) -> Report:
        """What ``audit verify`` finds."""
        self.trail.journal.commit_now()
        said = [Said(note, f"kept {n}") for n, note in enumerate(kept)]
        verification = Verification(pins, said, known=known)
        verification.journal(self.folder, self.store)
        (report,) = verification.finish()
        return report

    def records(self) -> list[Record]:
        with JournalReader(self.folder) as reader:
            return list(reader)

    def copied(self, to: Path) -> Path:
        """A backup of the state directory."""
        shutil.copytree(self.state, to, ignore=shutil.ignore_patterns("*.sock"))
        return to


def edited(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Change a file as somebody would who owns the machine."""
    path.write_bytes(edit(path.read_bytes()))


def rewritten_segment(
    folder: Folder,
    change: Callable[[int, bytes], bytes | None],
    swap: int = 0,
    stubs: frozenset[int] = frozenset(),
    by: int = 0,
    segment: int = 0,
) -> None:
    """Write the only segment again with other bodies (``None``: without the record), every checksum in order.

    :param swap: this record and the next change places. :param stubs: these become stubs, as event ``by`` ordered.
    :param segment: which one, if there are more; then no record is left out.
    """
    number = segment or folder.segments()[0]
    assert segment or len(folder.segments()) == 1
    with JournalReader(folder) as reader:
        records = [record for record in reader if record.segment == number]
    said = [(each.kind, each.flags, each.key_id, change(each.jseq, each.body)) for each in records]
    if swap:
        said[swap - 1], said[swap] = said[swap], said[swap - 1]
    kept = [
        (Kind.STUB if jseq in stubs else kind, flags, key_id, body)
        for jseq, (kind, flags, key_id, body) in enumerate(said, records[0].jseq)
        if body is not None
    ]
    path = folder.segment(number)
    header = attrs.evolve(SegmentHeader.decode(path.read_bytes()), rewritten_by=by)
    header = attrs.evolve(header, flags=header.flags & ~REWRITTEN | (REWRITTEN if stubs else 0))
    raw = encode_records(
        [kind | flags << 8 for kind, flags, _, _ in kept],
        [key_id for _, _, key_id, _ in kept],
        [len(body) for _, _, _, body in kept],
        [body for _, _, _, body in kept],
    )
    block = encode_block(
        BlockType.RECORDS,
        raw,
        compression=Compression.NONE,
        raw=len(raw),
        seed=header.seed,
        keys={key_id for _, _, key_id, _ in kept},
        count=len(kept),
        first=records[0].jseq,
        durable=0,
        time=T0,
    )
    path.write_bytes(header.encode() + block + raw)
    folder.watermark.unlink(missing_ok=True)
