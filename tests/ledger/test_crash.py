"""Power cuts at every operation: what was signed once is what the tree says for ever, under one origin."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hoopproxy.events import AuditCheckpoint, Event
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.writer import Journal
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.folder import LedgerFolder, ledgers_root
from hoopproxy.ledger.merkle import tree_hash
from hoopproxy.ledger.note import Note
from hoopproxy.ledger.sealer import Sealer
from hoopproxy.ledger.verify import Said, Verification
from tests.journal.support import SMALL, STATE, event, opened


class PowerCut(Exception):
    """The machine stops here."""


class Machine:
    """A journal and its ledger on one disk that loses what was not synced."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.files = MemoryFiles()
        self.heads: list[AuditCheckpoint] = []
        self.seconds = 0.0
        self.countdown = 0
        self.numbers = itertools.count(1)
        self.journal: Journal = opened(self.files)
        self.folder = journals(STATE, self.files)[0]

    def append(self, count: int) -> None:
        for _ in range(count):
            number = next(self.numbers)
            self.journal.append_event(event("command.requested", op=f"op{number}", seq=number))
        self.journal.commit_now()

    def tell(self, said: Event) -> None:
        if isinstance(said, AuditCheckpoint):
            self.heads.append(said)

    def sealer(self) -> Sealer:
        return Sealer(
            LedgerFolder(ledgers_root(STATE) / self.folder.path.name, self.files),
            self.folder,
            base="gw",
            epoch_seconds=40,
            tell=self.tell,
            now=lambda: 1_700_000_000 + self.seconds,
            monotonic=lambda: self.seconds,
            sleep=lambda seconds: None,
        )

    def records(self, since: int) -> list[Record]:
        with JournalReader(self.folder, since=since) as reader:
            return list(reader)

    def cut_after(self, operations: int) -> None:
        """Stop the machine in the middle of the ledger's work."""
        self.countdown = operations

        def fail(operation: str, name: str) -> int | None:
            self.countdown -= 1
            if self.countdown < 0:
                raise PowerCut
            return None

        self.files.fail = fail

    def power_cut(self) -> None:
        self.files.fail = lambda operation, name: None
        self.files.crash(self.random)
        self.journal = Journal(Folder.acquire(STATE, self.files), options=SMALL, threaded=False)
        self.journal.start()


def lived(machine: Machine, rounds: int) -> int:
    """Seal, and lose power somewhere, again and again; returns how often it did."""
    cuts = 0
    for _ in range(rounds):
        machine.append(machine.random.randrange(1, 300))
        machine.cut_after(machine.random.randrange(1, 45))
        try:
            sealer = machine.sealer()
            for _ in range(3):
                machine.seconds += 7
                sealer.take(machine.records(sealer.next_jseq), 1)
                sealer.seal()
        except PowerCut:
            cuts += 1
        machine.power_cut()
    return cuts


@pytest.mark.parametrize("seed", range(12))
def test_no_power_cut_makes_two_roots_of_one_size(seed: int) -> None:
    """Tiles before the checkpoint, the checkpoint before anybody hears of it: turn that round and this is red."""
    machine = Machine(seed)
    cuts = lived(machine, 12)
    assert cuts
    sealer = machine.sealer()
    sealer.take(machine.records(sealer.next_jseq), 1)
    sealer.seal()
    roots: dict[tuple[str, int], str] = {}
    for head in machine.heads:
        assert roots.setdefault((head.origin, head.size), head.root) == head.root
    epochs = sealer.epochs
    assert {epoch.why for epoch in epochs.all} <= {"first", "rotation"}, (
        "no power cut is taken for a restored backup"
    )
    tiles = sealer.tiles()
    for head in machine.heads:
        said = Note.parse(head.note.encode())
        assert epochs.signer(Checkpoint.of(said), said).number == head.epoch
        assert tree_hash(head.size, tiles.hash_of) == Checkpoint.of(said).root
    report = verified(machine, [Said(head.note.encode(), "kept") for head in machine.heads])
    assert report.problem is None
    assert report.checked == report.sealed == len(machine.records(1))


def test_a_ledger_that_cannot_be_opened_leaves_nothing_open() -> None:
    """While the disk is full the ledger is tried again and again: a file each time would be all of them one day."""
    machine = Machine(1)
    machine.append(20)
    sealer = machine.sealer()
    sealer.take(machine.records(1), 1)
    sealer.seal()
    sealer.close()
    machine.files.unlink(sealer.ledger.path / "epochs" / "000001.key")
    before = machine.files.opened
    machine.files.fail = lambda operation, name: errno.ENOSPC if operation == "pwrite" else None
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            machine.sealer()
    assert machine.files.opened == before
    machine.files.fail = lambda operation, name: None
    assert machine.sealer().epochs.last.why == "key-lost"


def verified(machine: Machine, kept: list[Said]) -> Any:
    verification = Verification(kept=kept)
    verification.journal(
        machine.folder, LedgerFolder(ledgers_root(STATE) / machine.folder.path.name, machine.files)
    )
    (report,) = verification.finish()
    return report


def test_the_power_cuts_lose_something() -> None:
    """A disk that loses nothing would prove nothing."""
    files = MemoryFiles()
    folder = LedgerFolder(Path("/l"), files)
    files.fail = lambda operation, name: 5 if operation == "fsync" else None
    with pytest.raises(OSError, match="error"):
        folder.write_tiles([(f"tile/0/{number:03d}", bytes(8192)) for number in range(20)])
    files.fail = lambda operation, name: None
    files.crash(Random(1))
    left = [folder.read_or_none(f"tile/0/{number:03d}") for number in range(20)]
    assert any(each != bytes(8192) for each in left)
