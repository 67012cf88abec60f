"""Random lives of a journal, with crashes: what was acknowledged is there, in order, whatever happens.

The same machine, given a disk whose ``fdatasync`` does nothing, must find that out: a test that
can't fail proves nothing.
"""

from __future__ import annotations

import errno
from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hoopproxy.errors import Damaged, JournalRefused
from hoopproxy.journal.chain import shortened
from hoopproxy.journal.commitments import Stub, commitment
from hoopproxy.journal.erasure import erase_from
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keyring import READER_KEY
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.rewriting import _Copy
from hoopproxy.journal.survey import check
from hoopproxy.journal.upkeep import Upkeep
from hoopproxy.journal.vault import Sealing
from hoopproxy.journal.writer import Journal

from .support import SESSION, STATE, Timers, opened, records

OPTIONS = JournalOptions(reserve_bytes=20_000, segment_bytes=4000, block_bytes=700, batch_bytes=3000)


class Lives(RuleBasedStateMachine):
    """Append, commit, fail, crash, restart. ``accepted`` is by number; ``acknowledged`` the highest told."""

    sealing: Sealing | None = None

    def make_files(self) -> MemoryFiles:
        return MemoryFiles()

    def __init__(self) -> None:
        super().__init__()
        self.files = self.make_files()
        self.accepted: dict[int, bytes] = {}
        self.acknowledged = 0
        self.now = 0
        self.cursor = 1
        self.delivered: list[bytes] = []
        self.journal: Journal
        self.begin()

    def begin(self) -> None:
        self.timers = Timers()
        self.now += 10**9
        self.journal = opened(
            self.files,
            OPTIONS,
            call_later=self.timers,
            wall=lambda: self.now,
            entropy=Random(self.now).randbytes,
            sealing=self.sealing,
        )
        assert not list(shortened(self.journal.folder)), "nothing that a reader is to find is cut off"
        self.key = self.journal.open_key(SESSION)
        self.recovered = self.journal.durable

    @rule(limit=st.integers(1, 6))
    def deliver(self, limit: int) -> None:
        """A consumer with a durable cursor takes a few records, and may die at once: it starts at its cursor."""
        with JournalReader(self.journal.folder, since=self.cursor) as reader:
            for record in islice(reader, limit):
                assert record.jseq == self.cursor, "in order, none left out, none twice"
                assert record.jseq <= self.journal.durable, "delivered before it was durable"
                self.delivered.append(record.body)
                self.cursor = record.jseq + 1

    def learn(self, jseq: int) -> None:
        assert jseq > self.acknowledged or jseq in self.accepted
        self.acknowledged = max(self.acknowledged, jseq)

    @rule(
        sizes=st.lists(st.integers(0, 900), min_size=1, max_size=5), reserve=st.booleans(), seed=st.integers()
    )
    def append(self, sizes: list[int], reserve: bool, seed: int) -> None:
        random = Random(seed)
        for size in sizes:
            body = random.randbytes(size)
            try:
                jseq = self.journal.append(Kind.EVENT, body, self.key, reserve=reserve)
            except JournalRefused:
                return
            assert jseq not in self.accepted
            self.accepted[jseq] = body
            self.journal.when_durable(jseq, lambda jseq=jseq: self.learn(jseq))  # type: ignore[misc]

    @rule()
    def commit(self) -> None:
        self.journal.commit_now()

    @rule()
    def fire(self) -> None:
        self.timers.fire()

    @rule(
        operation=st.sampled_from(["pwrite", "fdatasync", "fsync", "open", "fsync_dir"]),
        after=st.integers(0, 3),
    )
    def break_disk(self, operation: str, after: int) -> None:
        left = [after]

        def fail(did: str, name: str) -> int | None:
            if did == operation and name != "watermark":  # which says less then: that has its own test
                left[0] -= 1
                return errno.EIO if left[0] < 0 else None
            return None

        self.files.fail = fail

    @rule(room=st.integers(0, 30_000))
    def fill_disk(self, room: int) -> None:
        self.files.capacity = self.files.used + room

    @rule()
    def mend_disk(self) -> None:
        self.files.fail = lambda did, name: None
        self.files.capacity = None

    @rule()
    @precondition(lambda self: self.journal.unsynced_bytes)
    def recovers_without_restart(self) -> None:
        self.mend_disk()
        self.timers.fire()
        self.journal.commit_now()
        self.timers.fire()
        assert self.journal.refusal is None
        assert self.journal.durable + 1 == self.journal.next_jseq

    @rule(seed=st.none() | st.integers())
    def crash(self, seed: int | None) -> None:
        """Kill (``None``) or power cut."""
        self.mend_disk()
        self.files.crash(None if seed is None else Random(seed))
        self.begin()
        self.check()
        for jseq in [jseq for jseq in self.accepted if jseq >= self.journal.next_jseq]:
            assert jseq > self.acknowledged
            del self.accepted[jseq]
        self.acknowledged = max(self.acknowledged, self.recovered)  # readers have been shown them

    @rule()
    def stop_cleanly(self) -> None:
        self.mend_disk()
        self.timers.fire()
        self.journal.stop()
        assert self.acknowledged == max(self.accepted, default=0)
        self.begin()
        self.check()

    def check(self) -> None:
        found = records(self.files)
        assert [record.jseq for record in found] == list(range(1, len(found) + 1))
        assert all(map(self.is_as_written, found))
        assert len(found) >= self.acknowledged, "something acknowledged is gone"
        assert self.cursor <= self.journal.next_jseq, "a cursor is ahead of its journal"
        assert len(self.delivered) <= len(found), "something was delivered that isn't written"
        for body, record in zip(self.delivered, found, strict=False):
            assert body == record.body or record.kind == Kind.STUB, "what was delivered isn't what is written"

    def is_as_written(self, record: Record) -> bool:
        return record.body == self.accepted[record.jseq]

    @invariant()
    def readers_see_what_is_durable(self) -> None:
        assert self.journal.durable >= self.acknowledged
        shown = records(self.files)
        assert len(shown) == self.journal.durable
        assert all(map(self.is_as_written, shown))


class LyingFiles(MemoryFiles):
    """``fdatasync`` returns at once, and nothing is on the disk: the mutant."""

    def fdatasync(self, handle: int) -> None:
        self._ask("fdatasync", self._handles[handle][1])


class LivesOnALyingDisk(Lives):
    def make_files(self) -> MemoryFiles:
        return LyingFiles()


class SealedLives(Lives):
    """The same, sealed for somebody whose identity nobody needs here: these are events."""

    sealing = Sealing(("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",), bytes(32))

    def make_files(self) -> MemoryFiles:
        files = MemoryFiles()
        files.replace(STATE / READER_KEY, bytes(32))
        return files


class ErasingLives(Lives):
    """Sessions are erased meanwhile, on whatever disk: a record is what it was, or its stub."""

    def __init__(self) -> None:
        self.salts: dict[int, bytes] = {}
        self.ordered: set[int] = set()
        super().__init__()

    def is_as_written(self, record: Record) -> bool:
        body = self.accepted[record.jseq]
        if record.kind != Kind.STUB:
            return record.body == body
        assert record.key_id in self.ordered, "nobody ordered that"
        expected = commitment(self.salts[record.key_id], record.jseq, Kind.EVENT, body)
        return Stub.decode(record.body) == Stub(Kind.EVENT, len(body), expected)

    @rule(fails=st.none() | st.integers(0, 8))
    @precondition(lambda self: self.accepted)
    def erase(self, fails: int | None) -> None:
        """All of the session that writes; another begins. What follows is in a segment of its own.

        :param fails: so many operations after the order the disk breaks.
        """
        self.mend_disk()
        self.timers.fire()
        self.journal.commit_now()
        self.timers.fire()
        folder, key = self.journal.folder, self.key
        keys = KeyFile.open(self.files, folder.keys, folder.id)
        there = key < keys.count
        if there:
            self.salts.setdefault(key, keys.get(key).salt)
        keys.close()
        if not there:
            return
        self.journal.roll()
        self.key = self.journal.open_key(SESSION)
        self.append([5], True, self.now)
        self.journal.commit_now()
        self.ordered.add(key)
        left_over = [0 if fails is None else fails + 1]

        def fail(did: str, name: str) -> int | None:
            left_over[0] -= 1
            return errno.EIO if left_over[0] == 0 else None

        self.files.fail = fail
        try:
            with Upkeep(folder) as upkeep:
                erase_from(upkeep, frozenset({key}), ordered_by=self.journal.durable)
        except OSError:
            return
        finally:
            self.mend_disk()
        if self.journal.durable + 1 == self.journal.next_jseq:
            left = [record for record in records(self.files) if record.key_id == key]
            assert all(record.kind == Kind.STUB for record in left)

    def check(self) -> None:
        super().check()
        check(self.journal.folder)


def lives(machine: type[Lives], examples: int, **more: Any) -> None:
    settings_ = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
    run_state_machine_as_test(machine, settings=settings_)


def test_acknowledged_records_survive_every_crash_in_order() -> None:
    """Kills, power cuts, full and failing disks, in any order."""
    lives(Lives, 60)


def test_a_sealed_journal_keeps_the_same_promises() -> None:
    """A batch that is written again, or a state, is sealed again: it must open, and be the same."""
    pytest.importorskip("pyrage")
    lives(SealedLives, 20)


def test_erasing_meanwhile_leaves_what_was_written_or_its_stub() -> None:
    """Over kills, power cuts, full and failing disks; the chain of segments holds all the time."""
    lives(ErasingLives, 120)


def test_the_machine_notices_a_segment_that_takes_its_place_before_it_is_synced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Leave the fsync before the rename out, and a power cut takes a whole segment."""
    monkeypatch.setattr(_Copy, "take_place", _place_unsynced)
    with pytest.raises((Damaged, AssertionError)):
        lives(ErasingLives, 400, derandomize=True, database=None, phases=[Phase.generate])


def _place_unsynced(copy: _Copy) -> None:
    copy._files.rename(copy._fresh, copy._path)
    copy._files.fsync_dir(copy._path.parent)


def test_the_machine_notices_a_sync_that_is_left_out() -> None:
    """Remove the fdatasync and this must be red."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 (Damaged, AssertionError, or a group of both)
        lives(LivesOnALyingDisk, 300, derandomize=True, database=None, phases=[Phase.generate])
    assert isinstance(caught.value, (AssertionError, Damaged, ExceptionGroup)), caught.value
