"""Starting after a crash: what is kept, what is cut, what is refused, what was open."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoopproxy.errors import Damaged
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import HEADER_SIZE, Kind, UnsupportedFormat
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.recovery import Recovered
from hoopproxy.journal.segment import SegmentReader
from hoopproxy.journal.watermark import PAGE
from hoopproxy.journal.writer import Journal

from .support import SESSION, SMALL, STATE, bodies, event, last_segment, opened, records
from .test_format import resealed


def crashed(count: int = 3, options: JournalOptions = SMALL) -> tuple[MemoryFiles, Folder]:
    """A journal of one record a commit whose process was killed."""
    files = MemoryFiles()
    journal = opened(files, options)
    for number in range(count):
        journal.append_event(b"record %d " % number * 20)
        journal.commit_now()
    files.crash()
    return files, journal.folder


def restarted(files: MemoryFiles, accept_loss: bool = False) -> tuple[Recovered, Journal]:
    journal = Journal(Folder.acquire(STATE, files), options=SMALL, threaded=False)
    return journal.start(accept_loss), journal


def blocks(files: MemoryFiles, folder: Folder) -> list[tuple[int, int]]:
    """Offset and end of each block of the last segment."""
    segment = SegmentReader(files, last_segment(files, folder))
    found, at = [], HEADER_SIZE
    while block := segment.block_at(at):
        found.append((at, at + block.size))
        at += block.size
    return found


def without_watermark(files: MemoryFiles, folder: Folder) -> None:
    """A power cut took the watermark's page back to zeros."""
    files.replace(folder.watermark, bytes(PAGE))


def changed(files: MemoryFiles, path: Path, at: int, data: bytes) -> None:
    old = files.content(path)
    files.replace(path, old[:at] + data + old[at + len(data) :])


def test_after_a_kill_everything_acknowledged_is_there_and_numbers_go_on() -> None:
    """kill -9 loses nothing."""
    files, _ = crashed()
    recovered, journal = restarted(files)
    assert (recovered.clean, recovered.next_jseq, recovered.truncated_bytes) == (False, 4, 0)
    journal.append_event(b"four")
    journal.commit_now()
    assert [record.jseq for record in records(files)] == [1, 2, 3, 4]


@pytest.mark.parametrize("keep", [1, 4, 51, 52, 70])
def test_a_torn_tail_is_cut(keep: int) -> None:
    """A batch that was never acknowledged may be there in part; it goes, and nothing else does."""
    files, folder = crashed()
    path = last_segment(files, folder)
    start, _ = blocks(files, folder)[-1]
    without_watermark(files, folder)
    data = files.content(path)
    files.replace(path, data[: start + keep] + bytes(len(data) - start - keep))
    recovered, _ = restarted(files)
    assert recovered.next_jseq == 3
    assert recovered.truncated_bytes > 0
    assert len(bodies(files)) == 2


def test_a_torn_tail_in_pieces_is_cut_even_if_later_blocks_are_whole() -> None:
    """Of one unacknowledged batch the disk may have kept the second block and not the first."""
    files = MemoryFiles()
    journal = opened(files, JournalOptions(reserve_bytes=0, block_bytes=100))
    journal.append_event(b"kept")
    journal.commit_now()
    for number in range(5):
        journal.append_event(b"%d" % number * 90)
    journal.commit_now()
    files.crash()
    folder = journal.folder
    without_watermark(files, folder)
    changed(files, last_segment(files, folder), blocks(files, folder)[2][0], bytes(50))
    recovered, _ = restarted(files)
    assert recovered.next_jseq == 2
    assert bodies(files) == [b"kept"]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_damage_before_the_last_commit_refuses_to_start(which: int) -> None:
    """The next block proves that this one was acknowledged, though the watermark is lost."""
    files, folder = crashed()
    without_watermark(files, folder)
    start, _ = blocks(files, folder)[which]
    path = last_segment(files, folder)
    changed(files, path, start + 20, b"\xff\xff\xff")
    before = files.content(path)
    with pytest.raises(Damaged) as caught:
        restarted(files)
    assert (caught.value.path, caught.value.offset) == (str(path), start)
    assert files.content(path) == before, "a refusal changes nothing"


def test_damage_in_the_last_batch_is_told_from_a_torn_tail_by_the_watermark() -> None:
    """After kill -9 the watermark is exact."""
    files, folder = crashed()
    _, end = blocks(files, folder)[-1]
    changed(files, last_segment(files, folder), end - 1, b"\x00")
    with pytest.raises(Damaged, match="record 3, which was durable"):
        restarted(files)


@pytest.mark.parametrize("at", ["block", "middle", "header"])
def test_a_cut_tail_is_damage(at: str) -> None:
    """Somebody shortened the file: the watermark knows better."""
    files, folder = crashed()
    path = last_segment(files, folder)
    start, _ = blocks(files, folder)[-1]
    files.replace(
        path, files.content(path)[: {"block": start, "middle": start + 50, "header": HEADER_SIZE}[at]]
    )
    with pytest.raises(Damaged):
        restarted(files)


def test_a_missing_last_segment_is_damage() -> None:
    """The watermark names it."""
    files, folder = crashed(20, JournalOptions(reserve_bytes=0, segment_bytes=600))
    del files._files[last_segment(files, folder)]
    with pytest.raises(Damaged):
        restarted(files)


def test_a_missing_segment_in_the_middle_is_damage() -> None:
    """The chain of numbers shows it."""
    files, folder = crashed(20, JournalOptions(reserve_bytes=0, segment_bytes=600))
    del files._files[folder.segment(folder.segments()[2])]
    with pytest.raises(Damaged, match="missing"):
        restarted(files)


def test_a_segment_in_the_middle_that_lost_its_end_is_told_and_stops_nobody() -> None:
    """Half a copy looks whole from its headers, and whoever starts on it would hear of it when it is read, or never."""
    files, folder = crashed(20, JournalOptions(reserve_bytes=0, segment_bytes=600))
    path = folder.segment(folder.segments()[2])
    whole = files.content(path)
    told: list[str] = []
    for size, heard in ((len(whole), 0), (len(whole) - 1, 1), (HEADER_SIZE + 20, 2)):
        files.replace(path, whole[:size])
        journal = Journal(Folder.acquire(STATE, files), options=SMALL, threaded=False, on_alarm=told.append)
        journal.start()
        journal.append_event(b"goes on")
        journal.commit_now()
        assert len(told) == heard
        files.crash()
    assert (
        f"{path}: damaged at byte {HEADER_SIZE + 20}: it ends here, and had {len(whole)} bytes when"
        in told[1]
    )


def test_segments_that_retention_took_from_the_front_are_not_missed() -> None:
    """The oldest that is there may continue one that isn't."""
    files, folder = crashed(20, JournalOptions(reserve_bytes=0, segment_bytes=600))
    del files._files[folder.segment(folder.segments()[0])]
    recovered, _ = restarted(files)
    assert recovered.next_jseq == 21


def test_a_damaged_segment_header_is_damage_and_an_unfinished_one_is_not() -> None:
    """Power went while a segment was being made: nothing can be in it."""
    files, folder = crashed()
    files.replace(folder.segment(99), b"HOOPJ" + bytes(3000))
    recovered, journal = restarted(files)
    assert recovered.next_jseq == 4
    journal.append_event(b"goes on")
    journal.commit_now()
    files.crash()
    changed(files, folder.segment(folder.segments()[0]), 40, b"\xff")
    with pytest.raises(Damaged, match="header"):
        restarted(files)


def test_a_newer_journal_is_refused_and_untouched() -> None:
    """Downgrading must not lose anything."""
    files, folder = crashed()
    path = last_segment(files, folder)
    head = bytearray(files.content(path)[:HEADER_SIZE])
    head[8] = 2
    files.replace(path, resealed(bytes(head)) + files.content(path)[HEADER_SIZE:])
    before = files.content(path)
    with pytest.raises(UnsupportedFormat, match="use a newer one"):
        restarted(files)
    assert files.content(path) == before


def test_what_was_open_is_found() -> None:
    """The gateway then writes session.interrupted and command.unfinished, with the right seq."""
    files = MemoryFiles()
    journal = opened(files)
    key = journal.open_key(SESSION)
    journal.append_event(event("session.start", session="s1", seq=1), key, opens=SESSION)
    journal.append_event(event("command.requested", session="s1", op="o1", seq=2), key, opens=b"o1")
    journal.append_event(event("command.completed", session="s1", op="o1", seq=3), key, closes=b"o1")
    journal.append_event(event("command.requested", session="s1", op="o2", seq=4), key, opens=b"o2")
    journal.commit_now()
    files.crash()
    recovered, again = restarted(files)
    assert [each["session"] for each in recovered.open_sessions] == ["s1"]
    assert [each["op"] for each in recovered.open_commands] == ["o2"]
    assert recovered.last_seqs == {"s1": 4}
    assert recovered.keys == {"s1": key}
    again.append_event(event("command.unfinished", session="s1", op="o2", seq=5), key, closes=b"o2")
    again.append_event(event("session.interrupted", session="s1", seq=6), key, closes=SESSION)
    again.commit_now()
    files.crash()
    third, _ = restarted(files)
    assert (third.open_sessions, third.open_commands) == ([], [])


def test_what_was_open_is_found_though_it_began_many_segments_ago() -> None:
    """Each segment starts with what is open: a scan never goes further back than the last one."""
    files = MemoryFiles()
    journal = opened(files, JournalOptions(reserve_bytes=0, segment_bytes=1500))
    key = journal.open_key(SESSION)
    journal.append_event(event("session.start", session="s1", seq=1), key, opens=SESSION)
    journal.append_event(event("command.requested", session="s1", op="o1", seq=2), key, opens=b"o1")
    for number in range(30):
        journal.append_chunk(key, SESSION, 0, 0, number, 0, bytes(range(200)))
        journal.commit_now()
    assert len(journal.folder.segments()) > 3
    files.crash()
    for number in journal.folder.segments()[:-1]:  # bodies of older segments aren't even looked at
        changed(files, journal.folder.segment(number), HEADER_SIZE + 100, b"\xff" * 50)
    recovered, _ = restarted(files)
    assert [each["session"] for each in recovered.open_sessions] == ["s1"]
    assert [each["op"] for each in recovered.open_commands] == ["o1"]
    # and once more, from a segment in which nothing was written yet
    files.crash()
    recovered, _ = restarted(files)
    assert recovered.last_seqs == {"s1": 2}


def test_a_stop_with_something_open_is_not_clean() -> None:
    """Else the next start would not close it."""
    files = MemoryFiles()
    journal = opened(files)
    journal.append_event(event("session.start"), journal.open_key(SESSION), opens=SESSION)
    journal.stop()
    recovered, _ = restarted(files)
    assert not recovered.clean
    assert len(recovered.open_sessions) == 1


def stopped(count: int = 5) -> tuple[MemoryFiles, Folder]:
    """The same, stopped in order."""
    files = MemoryFiles()
    journal = opened(files)
    for number in range(count):
        journal.append_event(b"record %d " % number * 20)
        journal.commit_now()
    journal.stop()
    return files, journal.folder


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("where", ["mark", "header", "keys", "payload", "end"])
def test_damage_before_an_end_in_order_is_refused_too(number: int, where: str) -> None:
    """Every record there was acknowledged: the gateway started as if nothing were wrong, where it was stopped in
    order."""
    files, folder = stopped()
    path = last_segment(files, folder)
    start, end = blocks(files, folder)[number]  # 0 is the state
    at = {"mark": start, "header": start + 20, "keys": start + 50, "payload": start + 80, "end": end - 1}[
        where
    ]
    before = files.content(path)
    changed(files, path, at, bytes([before[at] ^ 0x10]))
    damaged = files.content(path)
    with pytest.raises(Damaged) as found:
        restarted(files)
    assert found.value.offset == start
    assert files.content(path) == damaged, "and nothing was changed"


def test_a_journal_that_was_stopped_in_order_is_continued_behind_damage() -> None:
    """As one that was not."""
    files, folder = stopped()
    start, _ = blocks(files, folder)[3]
    changed(files, last_segment(files, folder), start + 80, b"\xff" * 9)
    recovered, journal = restarted(files, accept_loss=True)
    assert recovered.lost is not None
    assert (recovered.lost.offset, recovered.lost.first, recovered.next_jseq) == (start, 3, 6)
    journal.append_event(b"after")
    journal.commit_now()
    assert [record.jseq for record in records(files)] == [1, 2, 6, 7]
    journal.stop()
    assert restarted(files)[0].clean


def test_an_end_in_order_without_damage_is_just_gone_on_from() -> None:
    """With the records of the segment folded or compressed, of several segments, and with none at all."""
    for count in (0, 1, 40):
        files, _ = stopped(count)
        for _ in range(3):
            recovered, journal = restarted(files)
            assert (recovered.clean, recovered.next_jseq) == (True, count + 1)
            journal.stop()


def test_accepted_loss_leaves_the_evidence_and_says_what_is_gone() -> None:
    """The damaged file stays; a gap says what nobody can read any more; numbers are not used twice."""
    files, folder = crashed(5)
    path = last_segment(files, folder)
    start, _ = blocks(files, folder)[3]  # after STATE: record 3
    changed(files, path, start + 30, b"\xff" * 9)
    before = files.content(path)
    recovered, journal = restarted(files, accept_loss=True)
    assert recovered.lost is not None
    assert (recovered.lost.offset, recovered.lost.first, recovered.next_jseq) == (start, 3, 6)
    assert files.content(path) == before
    journal.append_event(b"after")
    journal.commit_now()
    found = records(files)
    assert [record.jseq for record in found] == [1, 2, 6, 7]
    assert found[2].kind == Kind.GAP
    assert b'"first":3,"last":5' in found[2].body


def test_a_recovered_journal_is_made_durable_before_it_is_believed() -> None:
    """A block that only the page cache had must not be lost later, when readers have seen it."""
    files, folder = crashed()
    files.log.clear()
    restarted(files)
    assert ("fsync", folder.segment(1).name) in files.log


@pytest.mark.parametrize("cut", range(0, 900, 37))
def test_a_journal_cut_anywhere_is_either_refused_or_a_prefix(cut: int) -> None:
    """Without the watermark every cut is a torn tail; what is left is a prefix, never anything else."""
    files, folder = crashed(4)
    without_watermark(files, folder)
    path = last_segment(files, folder)
    whole = bodies(files)
    files.replace(path, files.content(path)[: HEADER_SIZE + cut])
    recovered, journal = restarted(files)
    with JournalReader(journal.folder) as reader:
        left = [record.body for record in reader]
    assert left == whole[: recovered.next_jseq - 1]
