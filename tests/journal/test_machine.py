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
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keyring import READER_KEY
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
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
        assert all(record.body == self.accepted[record.jseq] for record in found)
        assert len(found) >= self.acknowledged, "something acknowledged is gone"
        assert self.cursor <= self.journal.next_jseq, "a cursor is ahead of its journal"
        kept = [record.body for record in found[: len(self.delivered)]]
        assert self.delivered == kept, "something was delivered that isn't written"

    @invariant()
    def readers_see_what_is_durable(self) -> None:
        assert self.journal.durable >= self.acknowledged
        shown = records(self.files)
        assert len(shown) == self.journal.durable
        assert all(record.body == self.accepted[record.jseq] for record in shown)


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


def test_the_machine_notices_a_sync_that_is_left_out() -> None:
    """Remove the fdatasync and this must be red."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 (Damaged, AssertionError, or a group of both)
        lives(LivesOnALyingDisk, 300, derandomize=True, database=None, phases=[Phase.generate])
    assert isinstance(caught.value, (AssertionError, Damaged, ExceptionGroup)), caught.value
