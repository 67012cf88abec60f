"""The chain of segments: any byte that was changed afterwards breaks it, a lawful rewriting doesn't."""

from __future__ import annotations

import hashlib
import os

import attrs
import pytest

from hoopproxy.errors import Damaged
from hoopproxy.journal.chain import rewritten
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import HEADER_SIZE, REWRITTEN, SegmentHeader
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader

from .support import SMALL, bodies, event, opened

TINY = JournalOptions(reserve_bytes=0, segment_bytes=900)


def written() -> tuple[MemoryFiles, Folder]:
    """A journal of several segments, by two writers: one that was stopped, one that was killed."""
    files = MemoryFiles()
    for _ in range(2):
        journal = opened(files, TINY)
        for _ in range(8):
            journal.append_event(os.urandom(200))
            journal.commit_now()
        if journal.durable == 8:
            journal.stop()
    journal.append_event(b"never durable")
    files.crash()
    opened(files, SMALL)
    return files, journal.folder


def test_the_chain_holds_over_stops_and_kills() -> None:
    """Each way in which one segment follows another."""
    files, folder = written()
    assert len(folder.segments()) > 4
    assert list(rewritten(folder)) == []
    headers = [
        SegmentHeader.decode(files.content(folder.segment(number))[:HEADER_SIZE])
        for number in folder.segments()
    ]
    assert [header.previous_last + 1 for header in headers] == [header.first_jseq for header in headers]
    assert headers[-1].epoch == 3


@pytest.mark.parametrize("at", [HEADER_SIZE - 40, HEADER_SIZE + 10, HEADER_SIZE + 300])
def test_a_changed_byte_breaks_the_chain(at: int) -> None:
    """Even with every CRC mended: that is what the digest is for."""
    files, folder = written()
    path = folder.segment(folder.segments()[1])
    data = bytearray(files.content(path))
    data[at] ^= 1
    if at < HEADER_SIZE:  # of the header, the original's digest: nothing else minds it
        head = attrs.evolve(SegmentHeader.decode(files.content(path)[:HEADER_SIZE]), original=b"\1" * 32)
        data[:HEADER_SIZE] = head.encode()
    files.replace(path, bytes(data))
    with pytest.raises(Damaged, match="other bytes"):
        list(rewritten(folder))


def test_a_rewritten_segment_says_by_which_event_and_keeps_the_chain() -> None:
    """Erasing what the law wants gone must not look like tampering, nor the other way round."""
    files, folder = written()
    number = folder.segments()[1]
    path = folder.segment(number)
    data = files.content(path)
    header = SegmentHeader.decode(data[:HEADER_SIZE])
    following = SegmentHeader.decode(files.content(folder.segment(folder.segments()[2]))[:HEADER_SIZE])
    original = hashlib.sha256(data[: following.previous_size]).digest()
    new = attrs.evolve(header, original=original, rewritten_by=77, flags=REWRITTEN)
    files.replace(path, new.encode() + data[HEADER_SIZE:])
    assert list(rewritten(folder)) == [(number, 77)]
    assert len(bodies(files)) == 16
    files.replace(path, attrs.evolve(new, original=b"x" * 32).encode() + data[HEADER_SIZE:])
    with pytest.raises(Damaged, match="other bytes"):
        list(rewritten(folder))


def test_a_segment_that_failed_is_continued_where_it_was_durable() -> None:
    """What came after the failed sync is in the file, and isn't part of the digest."""
    files = MemoryFiles()
    journal = opened(files)
    journal.append_event(b"one")
    journal.commit_now()
    name = journal.folder.segment(1).name
    files.fail = lambda did, to: 5 if did == "fdatasync" and to == name else None
    journal.append_event(b"two")
    journal.commit_now()
    files.fail = lambda did, to: None
    assert journal.durable == 2
    assert list(rewritten(journal.folder)) == []
    with JournalReader(journal.folder) as reader:
        assert [record.body for record in reader] == [b"one", b"two"]


def test_a_changed_digest_at_the_end_is_damage() -> None:
    """The next writer's header would repeat it."""
    files = MemoryFiles()
    journal = opened(files)
    journal.append_event(event("x"))
    journal.stop()
    path = journal.folder.segment(1)
    data = bytearray(files.content(path))
    data[-1] ^= 1
    files.replace(path, bytes(data))
    with pytest.raises(Damaged):
        opened(files)
