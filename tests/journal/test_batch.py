"""Columns: what goes in record by record comes out record by record, however it is cut and whoever interrupts."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.journal.batch import WIDTH, Batch, cuts
from hoopproxy.journal.chunks import CLIENT_LEG, Streams, encode_header, place
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import decode_records, encode_records
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import chunk_of
from hoopproxy.journal.writer import Journal

from .support import SESSION

RECORD = st.tuples(
    st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=40), st.binary(max_size=400)
)


@given(st.lists(RECORD, min_size=1, max_size=40), st.integers(1, 1000))
def test_a_batch_in_runs_is_the_same_records(
    records: list[tuple[int, int, bytes, bytes]], limit: int
) -> None:
    """A column that slips by one would give every record its neighbour's body."""
    flat = [
        entry
        for code, key, head, tail in records
        for entry in (code, key, len(head) + len(tail), None, head, tail)
    ]
    assert len(flat) == WIDTH * len(records)
    batch = Batch(list(flat))
    found = []
    for run in batch.runs(limit):
        assert len(run) == 1 or sum(run.lengths) <= limit
        found += decode_records(encode_records(run.codes, run.keys, run.lengths, run.pieces), len(run))
    assert found == [(code & 255, code >> 8, key, head + tail) for code, key, head, tail in records]


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(0, 100), st.integers(1, 10))
def test_cuts_leave_nothing_out_and_always_go_on(lengths: list[int], limit: int, many: int) -> None:
    """A record over the limit is a stretch of its own, not an endless loop."""
    stretches = list(cuts(lengths, limit, many))
    assert [index for start, stop in stretches for index in range(start, stop)] == list(range(len(lengths)))
    for start, stop in stretches:
        assert stop - start <= many
        assert stop - start == 1 or sum(lengths[start:stop]) <= limit


def test_a_chunks_header_is_the_same_however_it_is_made() -> None:
    """The short cut for a stream without redactions must be the format's header; and it is bounded."""
    for direction in (0, 1):
        streams = Streams()
        for number in range(5000):
            session = number.to_bytes(16, "big")
            assert place(streams[session, direction], number, 2**64 - 1) == encode_header(
                session, CLIENT_LEG, direction, number, 2**64 - 1
            )
        assert len(streams) < 5000


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads are switched as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_no_record_is_torn_between_the_threads(tmp_path: Path) -> None:
    """The writer takes while the reactor's thread appends: whole records, in order, none twice."""
    journal = Journal(Folder.acquire(tmp_path), options=JournalOptions(reserve_bytes=0))
    journal.start()
    key = journal.open_key(SESSION)
    last = threading.Event()
    for number in range(0, 6000, 2):
        journal.append_event(b"event %d" % number, key)
        journal.append_chunk(key, SESSION, 0, 1, number + 1, 0, b"chunk %d" % (number + 1))
        journal.commit_now()
    journal.when_durable(6000, last.set)
    journal.commit_now()
    assert last.wait(30)
    stopped = threading.Event()
    journal.stop(lambda reason: stopped.set())
    assert stopped.wait(10)
    with JournalReader(journals(tmp_path)[0]) as reader:
        found = list(reader)
    assert [record.jseq for record in found] == list(range(1, 6001))
    assert [record.body for record in found[::2]] == [b"event %d" % number for number in range(0, 6000, 2)]
    chunks = [chunk_of(record) for record in found[1::2]]
    assert [chunk.offset for chunk in chunks] == list(range(1, 6000, 2))
    assert [chunk.data for chunk in chunks] == [b"chunk %d" % number for number in range(1, 6000, 2)]
