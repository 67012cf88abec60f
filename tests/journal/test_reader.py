"""Readers: nothing that isn't durable, nothing twice, nothing unpacked in vain, no damage passed over."""

from __future__ import annotations

import os

import pytest

from hoopproxy.errors import Damaged
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import HEADER_SIZE
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record, chunk_of
from hoopproxy.journal.segment import SegmentReader

from .support import SESSION, STATE, bodies, opened, records

TINY = JournalOptions(reserve_bytes=0, segment_bytes=900)


def test_a_live_journal_shows_what_is_durable_and_nothing_else() -> None:
    """A sink that delivers what a power cut then undoes would report what never happened."""
    files = MemoryFiles()
    journal = opened(files)
    seen: list[list[bytes]] = []

    def look(operation: str, name: str) -> None:
        if operation == "fdatasync":  # the blocks are in the file, and not durable
            seen.append(bodies(files))

    journal.append_event(b"one")
    journal.commit_now()
    files.fail = look
    journal.append_event(b"two")
    journal.commit_now()
    assert seen == [[b"one"]]
    assert bodies(files) == [b"one", b"two"]


def test_a_reader_at_the_tail_goes_on_when_there_is_more() -> None:
    """Following is iterating again: across segments, each record once."""
    files = MemoryFiles()
    journal = opened(files, TINY)
    reader = JournalReader(journals(STATE, files)[0])
    seen: list[bytes] = []
    written = []
    for number in range(25):
        assert list(reader) == []
        body = b"%d " % number * 40
        journal.append_event(body)
        written.append(body)
        assert list(reader) == []
        journal.commit_now()
        seen += [record.body for record in reader]
    assert seen == written
    assert len(journal.folder.segments()) > 3
    journal.stop()
    assert list(reader) == []
    again = opened(files, TINY)
    again.append_event(b"next writer")
    again.commit_now()
    assert [record.body for record in reader] == [b"next writer"]
    assert reader.position == 27


def test_a_reader_that_stopped_in_the_middle_goes_on_there() -> None:
    """A generator that was dropped must not lose or repeat a record."""
    files = MemoryFiles()
    journal = opened(files)
    for number in range(10):
        journal.append_event(b"%d" % number)
    journal.commit_now()
    reader = JournalReader(journal.folder)
    first: list[Record] = []
    for record in reader:
        first.append(record)
        if record.jseq == 4:
            break
    assert [record.jseq for record in [*first, *reader]] == list(range(1, 11))


def test_nothing_is_given_twice_when_a_segment_failed_half_way() -> None:
    """The abandoned segment may hold the same records: the next one's first number is where it ends."""
    files = MemoryFiles()
    journal = opened(files)
    journal.append_event(b"a")
    journal.commit_now()
    failing = [28]
    files.fail = lambda did, name: failing.pop() if did == "fdatasync" and failing else None
    files.capacity = None
    journal.append_event(b"b")
    files.fail = lambda did, name: 5 if did == "fdatasync" and name.startswith("000000000001") else None
    journal.commit_now()
    journal.append_event(b"c")
    journal.commit_now()
    assert bodies(files) == [b"a", b"b", b"c"]
    files.crash()
    assert bodies(files) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("since", [1, 2, 13, 25, 26])
def test_reading_from_a_number_on(since: int) -> None:
    """A cursor is a number."""
    files = MemoryFiles()
    journal = opened(files, TINY)
    for _ in range(25):
        journal.append_event(os.urandom(100))
        journal.commit_now()
    assert [record.jseq for record in records(files, since=since)] == list(range(since, 26))


def test_reading_from_a_time_on() -> None:
    """``audit --since`` must not read years."""
    files = MemoryFiles()
    now = [100]
    journal = opened(files, TINY, wall=lambda: now[0])
    for _ in range(20):
        now[0] += 10
        journal.append_event(os.urandom(200))
        journal.commit_now()
    assert [record.time for record in records(files, since_time=250)] == list(range(250, 301, 10))


def test_one_sessions_records_are_found_without_unpacking_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """``audit show SESSION`` over a long journal."""
    files = MemoryFiles()
    journal = opened(files)
    keys = [journal.open_key(bytes([number]) * 16) for number in range(5)]
    for number in range(50):
        journal.append_chunk(keys[number % 5], bytes([number % 5]) * 16, 0, 0, number, 0, b"%d" % number)
        journal.commit_now()
    unpacked = []
    real = SegmentReader.entries

    def entries(self: SegmentReader, offset: int, block: object) -> object:
        unpacked.append(offset)
        return real(self, offset, block)  # type: ignore[arg-type]

    monkeypatch.setattr(SegmentReader, "entries", entries)
    with JournalReader(journal.folder) as reader:
        wanted = reader.keys_of(b"\3" * 16)
    found = records(files, keys=wanted)
    assert [chunk_of(record).offset for record in found] == list(range(3, 50, 5))
    assert len(unpacked) == 10


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("which", [0, 5])
def test_damage_is_raised_where_it_is(live: bool, which: int) -> None:
    """Never passed over in silence, not even by a reader that is far behind."""
    files = MemoryFiles()
    journal = opened(files, TINY)
    for _ in range(25):
        journal.append_event(os.urandom(100))
        journal.commit_now()
    path = journal.folder.segment(journal.folder.segments()[which])
    data = bytearray(files.content(path))
    data[HEADER_SIZE + 200] ^= 1
    files.replace(path, bytes(data))
    if not live:
        files.crash()
    with pytest.raises(Damaged) as caught:
        records(files)
    assert caught.value.path == str(path)


def test_a_torn_tail_at_rest_is_the_end() -> None:
    """Looking at a crashed gateway's journal must work before anybody restarts it."""
    files = MemoryFiles()
    journal = opened(files)
    journal.append_event(b"one")
    journal.commit_now()
    path = journal.folder.segment(1)
    files.crash()
    data = files.content(path)
    end = data.rindex(b"one") + 3
    files.replace(path, data[:end] + b"\x89HPB garbage that never was acknowledged" + bytes(100))
    assert bodies(files) == [b"one"]


def test_what_a_reader_shows_at_rest_was_synced_first() -> None:
    """After kill -9 the page cache may hold more than the disk."""
    files = MemoryFiles()
    journal = opened(files)
    journal.append_event(b"one")
    journal.commit_now()
    files.crash()
    files.log.clear()
    assert bodies(files) == [b"one"]
    assert ("fdatasync", journal.folder.segment(1).name) in files.log


def test_a_reader_changes_nothing_and_needs_no_lock() -> None:
    """The auditor's copy may be read-only."""
    files = MemoryFiles()
    journal = opened(files)
    journal.append_event(b"x")
    journal.commit_now()
    files.log.clear()
    bodies(files)
    assert {did for did, _ in files.log} <= {"fdatasync"}
    assert Folder.acquire(STATE, files).id != journal.folder.id


def test_a_chunk_is_only_made_of_a_chunk() -> None:
    """Reading an event's JSON as a chunk would give offsets out of nowhere."""
    with pytest.raises(ValueError, match="not a chunk"):
        chunk_of(Record(jseq=1, kind=1, flags=0, key_id=0, body=SESSION * 4))


def test_a_reader_goes_on_from_wherever_it_is_told_to() -> None:
    """By number, with a place that is right, shortly before, in another segment, or none at all any more."""
    files = MemoryFiles()
    journal = opened(files, TINY)
    written = [b"%d " % number * 40 for number in range(25)]
    for body in written:
        journal.append_event(body)
        journal.commit_now()
    (folder,) = journals(STATE, files)
    every = list(JournalReader(folder))
    assert len({record.segment for record in every}) > 3
    with JournalReader(folder) as reader:
        for wanted in (1, 7, 25):
            for place in (None, *((each.segment, each.offset) for each in every), (1, 5), (99, 0)):
                reader.seek(wanted, None, place)
                assert [record.body for record in reader] == written[wanted - 1 :], (wanted, place)
