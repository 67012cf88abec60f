"""The journal's own promises: order, durability, refusal, recovery without a restart."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from hoopproxy.errors import JournalRefused
from hoopproxy.journal.batch import Batch
from hoopproxy.journal.blocks import BlockMaker
from hoopproxy.journal.chain import rewritten
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import HEADER_SIZE, Kind, SegmentHeader
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import CommitFacts, JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import chunk_of
from hoopproxy.journal.writer import Journal

from .support import SESSION, SMALL, STATE, Timers, bodies, event, opened, records


def test_records_come_back_in_the_order_of_their_numbers() -> None:
    """Events, chunks, in one piece and in several: the order of appending is the order of the journal."""
    files = MemoryFiles()
    journal = opened(files)
    key = journal.open_key(SESSION)
    numbers = [
        journal.append_event(b"one", key),
        journal.append_chunk(key, SESSION, 1, 0, 7, 8, b"secret--", [(0, 6, 2)]),
        journal.append(Kind.CHECKPOINT, (b"th", b"ree"), flags=5),
    ]
    assert numbers == [1, 2, 3]
    journal.commit_now()
    found = records(files)
    assert [record.jseq for record in found] == numbers
    assert (found[0].body, found[0].key_id, found[2].body, found[2].flags) == (b"one", key, b"three", 5)
    chunk = chunk_of(found[1])
    assert (chunk.leg, chunk.direction, chunk.offset, chunk.mono, chunk.data) == (1, 0, 7, 8, b"secret--")
    assert chunk.redactions == ((0, 6, 2),)


def test_nobody_is_told_before_the_sync_has_returned() -> None:
    """The one promise that strict mode stands on."""
    files = MemoryFiles()
    journal = opened(files)
    seen: list[object] = []
    files.fail = lambda operation, name: seen.append(operation)
    journal.when_durable(journal.append_event(b"x"), lambda: seen.append("told"))
    assert seen == []
    journal.commit_now()
    assert seen == ["pwrite", "fdatasync", "pwrite", "told"], "the last is the watermark"
    assert journal.durable == 1


def test_waiters_are_called_in_order_and_at_once_if_late() -> None:
    """Replies must go out in the order of what they answer."""
    journal = opened(MemoryFiles())
    seen: list[int] = []
    for _ in range(3):
        journal.append_event(b"x")
    for jseq in (2, 3, 1):
        journal.when_durable(jseq, lambda jseq=jseq: seen.append(jseq))  # type: ignore[misc]
    journal.commit_now()
    journal.when_durable(2, lambda: seen.append(99))
    assert seen == [1, 2, 3, 99]


def test_the_batch_timer_is_armed_once_and_only_when_asked() -> None:
    """An idle process costs nothing; a busy one has one timer."""
    timers = Timers()
    journal = opened(MemoryFiles(), call_later=timers)
    journal.append_event(b"x")
    assert timers.waiting == []
    journal.commit_soon()
    journal.commit_soon()
    assert [timer.seconds for timer in timers.waiting] == [0.02]
    timers.fire()
    assert journal.durable == 1
    assert timers.waiting == []


def test_lag_is_told_in_bytes_and_since_when() -> None:
    """Bounded mode pauses by these two."""
    now = [10]
    journal = opened(MemoryFiles(), clock=lambda: now[0])
    assert (journal.unsynced_bytes, journal.oldest_unsynced) == (0, None)
    journal.append_event(b"x" * 10)
    now[0] = 20
    journal.append_event(b"x" * 10)
    assert (journal.unsynced_bytes, journal.oldest_unsynced) == (20, 10)
    journal.commit_now()
    assert (journal.unsynced_bytes, journal.oldest_unsynced) == (0, None)
    now[0] = 30
    journal.append_event(b"y")
    assert journal.oldest_unsynced == 30


def test_a_key_is_durable_before_the_first_record_that_uses_it() -> None:
    """A record without its salt could never be verified."""
    files = MemoryFiles()
    journal = opened(files)
    key = journal.open_key(SESSION)
    journal.append_event(b"x", key)
    files.log.clear()
    journal.commit_now()
    syncs = [name for operation, name in files.log if operation == "fdatasync"]
    assert syncs[0] == "keys"
    with JournalReader(journal.folder) as reader:
        assert reader.keys_of(SESSION) == {key}


def test_segments_follow_one_another_and_the_chain_holds() -> None:
    """Each header has the digest of the bytes that the previous segment was written as."""
    files = MemoryFiles()
    journal = opened(files, JournalOptions(reserve_bytes=0, segment_bytes=2000))
    for number in range(20):
        journal.append_event(os.urandom(300))
        journal.commit_now()
        assert journal.durable == number + 1
    numbers = journal.folder.segments()
    assert len(numbers) > 3
    headers = [SegmentHeader.decode(files.content(journal.folder.segment(n))[:HEADER_SIZE]) for n in numbers]
    assert [header.previous for header in headers] == [0, *numbers[:-1]]
    assert len({header.digest for header in headers}) == len(headers)
    assert [header.previous_last + 1 for header in headers] == [header.first_jseq for header in headers]
    assert list(rewritten(journal.folder)) == []
    assert len(records(files)) == 20


def test_a_large_batch_is_many_blocks_and_a_large_record_one() -> None:
    """A record of any size works; a reader never has to unpack more than a block for a small one."""
    files = MemoryFiles()
    facts: list[CommitFacts] = []
    options = JournalOptions(reserve_bytes=0, block_bytes=1000, max_lag_bytes=1 << 30)
    journal = opened(files, options, on_commit=facts.append)
    sizes = [400, 400, 400, 1, 5_000_000, 10]
    for size in sizes:
        journal.append_event(b"z" * size)
    journal.commit_now()
    assert [len(body) for body in bodies(files)] == sizes
    assert sum(fact.blocks for fact in facts) >= 4
    assert sum(fact.records for fact in facts) == 6


def test_a_full_queue_refuses_as_lagging_until_the_disk_has_caught_up() -> None:
    """Never growing lists: what was accepted stays, what is too much is refused, and it ends by itself."""
    files = MemoryFiles()
    told: list[str] = []
    journal = Journal(
        Folder.acquire(STATE, files),
        options=JournalOptions(reserve_bytes=0, max_lag_bytes=100, max_queue_bytes=200),
        threaded=False,
    )
    journal.start()
    journal.commit_now = lambda: None  # type: ignore[method-assign]  # the disk is stalled
    journal.on_refusal(lambda refusal: told.append(refusal.code))
    journal.on_recovered(lambda: told.append("recovered"))
    for _ in range(2):
        journal.append_event(b"x" * 90)
    with pytest.raises(JournalRefused, match="behind"):
        journal.append_event(b"x" * 90)
    with pytest.raises(JournalRefused):
        journal.append_event(b"x")
    journal.append_event(b"end", reserve=True)
    del journal.commit_now
    journal.commit_now()
    assert journal.refusal is None
    assert told == ["lagging", "recovered"]
    assert [len(body) for body in bodies(files)] == [90, 90, 3]


def test_best_effort_records_give_way_to_one_gap_in_their_place() -> None:
    """The trail says what is missing, how much, and where."""
    files = MemoryFiles()
    journal = opened(files, JournalOptions(reserve_bytes=0, max_lag_bytes=100), wall=lambda: 7)
    stalled = journal.commit_now
    journal.commit_now = lambda: None  # type: ignore[method-assign]
    journal.append_event(b"a" * 90, droppable=True)
    gap = journal.append_event(b"b" * 90, droppable=True)
    assert journal.append_event(b"c" * 90, droppable=True) == gap == 2
    journal.append_event(b"d" * 90)
    journal.commit_now = stalled  # type: ignore[method-assign]
    journal.commit_now()
    found = records(files)
    assert [(record.jseq, record.kind) for record in found] == [(1, 1), (2, Kind.GAP), (3, 1)]
    assert orjson.loads(found[1].body) == {"bytes": 180, "count": 2, "first": 7, "last": 7}


def test_a_gap_at_the_end_is_written_when_there_is_room_again() -> None:
    """Even if nothing comes after what was lost."""
    files = MemoryFiles()
    journal = opened(files, JournalOptions(reserve_bytes=0, max_lag_bytes=100))
    stalled = journal.commit_now
    journal.commit_now = lambda: None  # type: ignore[method-assign]
    journal.append_event(b"a" * 90)
    journal.append_event(b"b" * 90, droppable=True)
    journal.commit_now = stalled  # type: ignore[method-assign]
    journal.commit_now()
    journal.commit_now()
    assert [record.kind for record in records(files)] == [1, Kind.GAP]


def test_on_a_full_disk_endings_still_fit_and_it_recovers_by_itself() -> None:
    """53100 for commands, session.end for everybody, and no restart afterwards."""
    files, timers = MemoryFiles(), Timers()
    journal = opened(files, JournalOptions(reserve_bytes=1 << 16), call_later=timers)
    told: list[str] = []
    journal.on_refusal(lambda refusal: told.append(refusal.code))
    journal.on_recovered(lambda: told.append("recovered"))
    journal.append_event(b"before")
    journal.commit_now()
    files.capacity = files.used + 100
    journal.append_event(os.urandom((1 << 20) + 30_000))  # beyond the zeros that were written ahead
    journal.commit_now()
    assert journal.durable == 2, "the reserve's space was used"
    assert journal.refusal is not None
    assert journal.refusal.code == "full"
    assert journal.refusal_for_new_sessions is not None
    with pytest.raises(JournalRefused, match="full"):
        journal.append_event(b"command")
    journal.append_event(b"session.end", reserve=True)
    journal.commit_now()
    assert journal.durable == 3
    files.capacity = None
    timers.fire()
    assert journal.refusal is None
    assert journal.refusal_for_new_sessions is None
    assert told == ["full", "recovered"]
    assert len(files.content(journal.folder.reserve)) == 1 << 16
    journal.append_event(b"after")
    journal.commit_now()
    assert [body for body in bodies(files) if len(body) < 100] == [b"before", b"session.end", b"after"]


def test_without_a_reserve_what_was_accepted_waits_for_space() -> None:
    """Accepted is never dropped; it becomes durable when the disk has room."""
    files, timers = MemoryFiles(), Timers()
    journal = opened(files, call_later=timers)
    journal.append_event(os.urandom(3 << 20))
    files.capacity = files.used + 10
    journal.commit_now()
    assert journal.durable in (0, 1)
    journal.append_event(os.urandom(3 << 20), reserve=True)
    journal.commit_now()
    assert journal.durable < 2
    assert journal.refusal is not None
    files.capacity = None
    timers.fire()
    assert journal.durable == 2
    assert journal.refusal is None
    assert len(bodies(files)) == 2


def test_little_space_refuses_new_sessions_before_commands() -> None:
    """The first mark."""
    files, timers = MemoryFiles(), Timers()
    journal = opened(files, JournalOptions(reserve_bytes=1 << 20), call_later=timers)
    files.capacity = files.used + (1 << 19)
    for _ in range(3):
        journal.append_event(os.urandom(400_000))
        files.capacity += 400_100
        journal.commit_now()
    assert journal.refusal is None
    assert journal.refusal_for_new_sessions is not None
    assert "new sessions are refused" in journal.refusal_for_new_sessions.sentence


@pytest.mark.parametrize("operation", ["pwrite", "fdatasync"])
def test_after_an_io_error_the_same_records_go_to_a_new_segment(operation: str) -> None:
    """Never again to the same file: the kernel may have dropped the pages and say "fine" next time."""
    files = MemoryFiles()
    alarms: list[str] = []
    journal = opened(files, on_alarm=alarms.append)
    journal.append_event(b"first")
    journal.commit_now()
    failed = journal.folder.segments()[-1]
    name = journal.folder.segment(failed).name
    files.fail = lambda did, to: errno.EIO if did == operation and to == name else None
    number = journal.append_event(b"second")
    journal.commit_now()
    assert journal.durable == number
    assert journal.refusal is None
    assert len(alarms) == 1
    assert "new one" in alarms[0]
    assert journal.folder.segments()[-1] == failed + 1
    assert bodies(files) == [b"first", b"second"]
    after = [each for each in files.log if each[1] == name]
    assert [did for did, _ in after].count("fdatasync") <= 2
    files.crash()
    assert bodies(files) == [b"first", b"second"]
    again = opened(files)
    assert again.next_jseq == 3


def test_when_no_new_segment_works_either_it_refuses_and_keeps_trying() -> None:
    """58030 for commands; nothing that was accepted is lost once the disk is back."""
    files, timers = MemoryFiles(), Timers()
    journal = opened(files, call_later=timers)
    files.fail = lambda did, to: errno.EIO if did in ("fdatasync", "fsync") else None
    journal.append_event(b"waits")
    journal.commit_now()
    assert journal.refusal is not None
    assert journal.refusal.code == "io"
    pauses = []
    for _ in range(8):
        pauses.append(timers.waiting[-1].seconds)
        timers.fire()
    assert pauses == sorted(pauses)
    assert pauses[-1] == 5.0
    assert journal.durable == 0
    files.fail = lambda did, to: None
    timers.fire()
    assert journal.refusal is None
    assert journal.durable == 1
    files.crash()
    assert bodies(files) == [b"waits"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_books_that_were_put_off_are_no_reason_to_take_a_refusal_back(code: int) -> None:
    """The disk has space for them to look at, and still not written what waits: whoever heard of no refusal would
    not try it again, and who waits for the record would wait for ever."""
    files, timers = MemoryFiles(), Timers()
    heard: list[str] = []
    calls: list[Callable[[], None]] = []
    journal = opened(files, call_later=timers, call_from_thread=calls.append)
    journal.on_recovered(lambda: heard.append("recovered"))
    committer = journal._committer
    assert committer is not None
    committer.is_shared = True
    journal.append_event(b"first")
    journal.commit_now()
    assert committer.is_behind
    files.fail = lambda did, to: code if did in ("pwrite", "fdatasync") else None
    number = journal.append_event(b"second")
    journal.when_durable(number, lambda: heard.append("durable"))
    journal.commit_now()
    committer.rest()  # the reactor has been busy for that long
    while calls:
        calls.pop(0)()
    assert journal.refusal is not None
    assert heard == []
    files.fail = lambda did, to: None
    timers.fire()
    while calls:
        calls.pop(0)()
    assert heard == ["durable", "recovered"]
    assert journal.refusal is None
    assert bodies(files) == [b"first", b"second"]


def test_a_failing_key_file_is_written_anew() -> None:
    """The same rule for the keys: after a failed sync another file takes the old one's place."""
    files = MemoryFiles()
    journal = opened(files, call_later=Timers())
    before = journal.open_key(SESSION)
    journal.append_event(b"a", before)
    journal.commit_now()
    files.fail = lambda did, to: errno.EIO if (did, to) == ("fdatasync", "keys") else None
    key = journal.open_key(SESSION)
    journal.append_event(b"b", key)
    journal.commit_now()
    assert journal.durable == 2
    files.fail = lambda did, to: None
    with JournalReader(journal.folder) as reader:
        assert reader.keys_of(SESSION) == {before, key}


def test_a_bug_in_the_writer_refuses_instead_of_going_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail closed: no record, no action."""
    files = MemoryFiles()
    alarms: list[str] = []
    journal = opened(files, on_alarm=alarms.append)
    monkeypatch.setattr(Batch, "runs", lambda self, limit: [][1])
    journal.append_event(b"x")
    journal.commit_now()
    assert journal.refusal is not None
    assert alarms
    assert journal.durable == 0


def test_a_commit_that_broke_off_in_its_midst_leaves_nothing_of_it_in_the_segment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What had been written of it comes again with the next attempt: twice in there it would be damage."""
    files, timers = MemoryFiles(), Timers()
    journal = opened(files, call_later=timers)
    journal.append_event(b"first")
    journal.commit_now()
    blocks, make = 0, BlockMaker.records

    def without_memory(self: BlockMaker, *given: Any) -> tuple[bytes, bytes]:
        nonlocal blocks
        blocks += 1
        if blocks == 3:
            raise MemoryError
        return make(self, *given)

    monkeypatch.setattr(BlockMaker, "records", without_memory)
    long = [random.randbytes(600_000) for random in map(Random, range(3))]
    for body in long:
        last = journal.append_event(body)
    journal.commit_now()
    assert journal.refusal is not None
    assert journal.durable < last
    timers.fire()
    assert journal.refusal is None
    assert journal.durable == last
    assert bodies(files) == [b"first", *long]


def test_records_that_could_not_be_taken_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those behind them would get their numbers, and whoever waits for them would be told that they are durable."""
    files, timers = MemoryFiles(), Timers()
    calls: list[Callable[[], None]] = []
    journal = opened(files, call_later=timers, call_from_thread=calls.append)
    committer = journal._committer
    assert committer is not None
    committer.is_shared = True
    journal.append_event(b"first")
    journal.commit_now()
    with monkeypatch.context() as patch:
        patch.setattr("hoopproxy.journal.committer.Batch", without_memory)
        number = journal.append_event(b"second")
        journal.commit_now()
    committer.rest()
    while calls:
        calls.pop(0)()
    assert journal.refusal is not None, "the books are no reason to take that back"
    timers.fire()
    while calls:
        calls.pop(0)()
    assert journal.refusal is None
    assert journal.durable == number
    assert bodies(files) == [b"first", b"second"]


def test_what_comes_while_the_writer_counts_has_its_age() -> None:
    """In ``bounded`` reading pauses by the age of the oldest record that is not durable: none may be without one."""
    now = 100
    journal = opened(MemoryFiles(), call_later=Timers(), clock=lambda: now)

    class Flat(list[Any]):
        def __len__(self) -> int:
            nonlocal now
            count = super().__len__()
            if now == 100:
                now = 200
                journal.append_event(b"in between")
            return count

    journal._inbox.flat = Flat()
    journal._put = journal._inbox.flat.extend
    journal.append_event(b"first")
    journal.commit_now()
    assert journal.durable == 1
    assert journal.oldest_unsynced == 200


def without_memory(*_: object) -> object:
    raise MemoryError


def test_opening_is_no_recovery() -> None:
    """An operator must not be told of a recovery that followed no trouble."""
    files = MemoryFiles()
    journal = Journal(Folder.acquire(STATE, files), options=SMALL, threaded=False)
    told: list[str] = []
    journal.on_recovered(lambda: told.append("recovered"))
    assert journal.refusal is not None
    journal.start()
    assert journal.refusal is None
    assert told == []


def test_a_clean_stop_says_so_and_the_next_start_scans_nothing() -> None:
    """END is the last thing in the file; the folder is unlocked."""
    files = MemoryFiles()
    journal = opened(files)
    journal.append_event(event("session.start"), opens=SESSION)
    journal.append_event(event("session.end"), closes=SESSION)
    done: list[object] = []
    journal.stop(done.append)
    assert done == [None]
    assert not journal.folder.is_live
    with pytest.raises(JournalRefused, match="closed"):
        journal.append_event(b"late")
    with pytest.raises(JournalRefused, match="closed"):
        journal.append_event(b"late", reserve=True)
    recovered = Journal(Folder.acquire(STATE, files), options=SMALL, threaded=False).start()
    assert (recovered.clean, recovered.next_jseq, recovered.open_sessions) == (True, 3, [])
    assert len(bodies(files)) == 2


def test_a_stop_that_fails_says_why() -> None:
    """Whoever stops the gateway must learn that the last records are not on disk."""
    files = MemoryFiles()
    journal = opened(files)
    files.fail = lambda did, to: errno.EIO if did in ("fdatasync", "fsync", "pwrite") else None
    journal.append_event(b"x")
    done: list[JournalRefused | None] = []
    journal.stop(done.append)
    assert done[0] is not None
    assert done[0].code == "io"
    assert not journal.folder.is_live


def test_a_journal_that_cannot_be_opened_is_refused_at_start() -> None:
    """A sentence, not a traceback."""
    files = MemoryFiles()
    folder = Folder.acquire(STATE, files)
    files.fail = lambda did, to: errno.EROFS if did == "open" else None
    with pytest.raises(JournalRefused, match="can't be opened"):
        Journal(folder, threaded=False).start()


def test_a_callback_may_ask_for_more_and_for_the_stop() -> None:
    """20,000 pipelined commands, each asked for by the answer to the one before: a loop, no recursion."""
    files = MemoryFiles()
    journal = opened(files)
    left = [3000]
    done: list[object] = []

    def again() -> None:
        left[0] -= 1
        if left[0]:
            journal.when_durable(journal.append_event(b"x"), again)
            journal.commit_now()
        else:
            journal.stop(done.append)

    again()
    assert done == [None]
    assert journal.durable == 2999


def test_a_waiter_that_fails_stops_nobody_else() -> None:
    """A bug in one session must not leave the others waiting for ever."""
    journal = opened(MemoryFiles())
    seen: list[int] = []
    journal.append_event(b"x")
    journal.when_durable(1, lambda: [][1])
    journal.when_durable(1, lambda: seen.append(1))
    with pytest.raises(IndexError):
        journal.commit_now()
    assert seen == [1]


def test_a_reserve_that_the_last_writer_left_serves_the_next() -> None:
    """Started on a full disk after a crash, endings must still fit."""
    files = MemoryFiles()
    options = JournalOptions(reserve_bytes=1 << 16)
    journal = opened(files, options)
    files.crash()
    files.capacity = files.used + (1 << 20) + 5000
    again = opened(files, options)
    again.append_event(os.urandom((1 << 20) + 30_000), reserve=True)
    again.commit_now()
    assert again.durable == 1
    again.stop()
    assert not files.exists(journal.folder.reserve)


def test_the_thread_works_as_the_tests_without_it_do(tmp_path: Path) -> None:
    """Real files, a real thread, many batches under way: order, durability, and a clean stop."""
    journal = Journal(Folder.acquire(tmp_path), options=JournalOptions(reserve_bytes=1 << 16))
    journal.start()
    key = journal.open_key(SESSION)
    last = threading.Event()
    order: list[int] = []
    for number in range(500):
        jseq = journal.append_event(b"%d" % number, key)
        journal.when_durable(jseq, lambda jseq=jseq: order.append(jseq))  # type: ignore[misc]
        if number % 7 == 0:
            journal.commit_now()
    journal.when_durable(500, last.set)
    journal.commit_now()
    assert last.wait(10)
    assert order == list(range(1, 501))
    stopped = threading.Event()
    journal.stop(lambda reason: stopped.set() if reason is None else None)
    assert stopped.wait(10)
    with JournalReader(journals(tmp_path)[0]) as reader:
        assert [record.body for record in reader] == [b"%d" % number for number in range(500)]


def test_a_watermark_that_cannot_be_written_stops_nobody_and_is_said_once() -> None:
    """It is then too low, and readers come later; what is durable is durable all the same."""
    files, alarms = MemoryFiles(), []
    journal = opened(files, on_alarm=alarms.append)
    files.fail = lambda operation, name: errno.EIO if (operation, name) == ("pwrite", "watermark") else None
    for number in (1, 2):
        journal.append_event(b"%d" % number)
        journal.commit_now()
    assert journal.durable == 2
    assert bodies(files) == []
    assert len(alarms) == 1
    assert "watermark" in alarms[0]
    files.fail = lambda operation, name: None
    journal.append_event(b"3")
    journal.commit_now()
    assert bodies(files) == [b"1", b"2", b"3"]


def test_while_held_commands_are_refused_and_records_are_taken() -> None:
    """A required sink is past its quota: what runs is on record to its end, and nothing new begins, by whichever
    way."""
    journal = opened(MemoryFiles())
    journal.hold(JournalRefused("sink", "a required sink is past its quota"))
    assert journal.refusal is not None
    assert journal.refusal_for_new_sessions is not None
    assert journal.append_turn(2, 0, 10, (), (), b"x", 1) == 0
    assert journal.append_event(event("session.note")) == 1
    journal.commit_now()
    assert journal.durable == 1
    assert journal.append_turn(2, 0, 10, (), (), b"x", 1) == 0, "after a commit, too"
    journal.append_event(b"x" * (2 << 20))
    assert journal.append_turn(2, 0, 10, (), (), b"x", 1) == 0, "after a large one, too"
    journal.hold(None)
    assert journal.refusal is None
    assert journal.refusal_for_new_sessions is None


def carried(files: MemoryFiles, **more: Any) -> tuple[Journal, list[str]]:
    """A journal with a thread, and what happened in its order."""
    log: list[str] = []
    real = files.fdatasync

    def fdatasync(handle: int) -> None:
        real(handle)
        log.append("synced")

    files.fdatasync = fdatasync  # type: ignore[method-assign]
    journal = Journal(
        Folder.acquire(STATE, files), options=SMALL, call_from_thread=lambda function: None, **more
    )
    journal.start()
    return journal, log


def test_an_errand_is_carried_by_the_writer_once_its_record_is_durable() -> None:
    """After the sync, before the reactor's thread hears of it, and never for a record of a later commit."""
    files = MemoryFiles()
    journal, log = carried(files)
    assert journal.carries
    done = threading.Event()

    def carry() -> None:
        log.append(threading.current_thread().name)
        done.set()

    jseq = journal.append_event(b"x")
    journal.carry(jseq, carry)
    journal.carry(jseq + 1, lambda: log.append("early"))
    journal.commit_now()
    assert done.wait(10)
    assert journal.durable < jseq
    journal.stop()
    assert journal.ended(10)
    assert log[:2] == ["synced", "journal"]
    assert "early" not in log


def test_a_disk_that_refuses_carries_nothing() -> None:
    """And an errand that breaks is its own affair."""
    files = MemoryFiles()
    journal, log = carried(files)
    files.fail = lambda operation, name: errno.EIO if operation == "fdatasync" else None
    refused = threading.Event()
    committer = journal._committer
    assert committer is not None
    journal.carry(journal.append_event(b"x"), lambda: log.append("carried"))
    committer._notify = refused.set
    journal.commit_now()
    assert refused.wait(10)
    assert log == []
    files.fail = lambda operation, name: None
    done = threading.Event()
    jseq = journal.append_event(b"y")
    journal.carry(jseq, lambda: [][1])
    journal.carry(jseq, done.set)
    journal.commit_now()
    assert done.wait(10)
    assert log[:2] == ["synced", "carried"]
    journal.stop()
    assert journal.ended(10)


def test_in_a_crowd_nothing_is_carried() -> None:
    """Two threads that send would hand the interpreter to and fro."""
    journal, _ = carried(MemoryFiles())
    journal._inbox.enough = 4
    assert not journal.carries
    journal.stop()
    assert journal.ended(10)
    assert not opened(MemoryFiles()).carries
