"""Turns are written folded, and read as the records that they stand for."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import canonical
from hoopproxy.journal.batch import TURN, WIDTH, Batch, Folded
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import CLOSES, OPENS, Compression, Kind, decode_records, encode_records
from hoopproxy.journal.inbox import Inbox
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import chunk_of
from hoopproxy.journal.segment import SegmentReader
from hoopproxy.journal.state import OpenState
from hoopproxy.journal.turns import Told, fold, operation, told, unfold
from hoopproxy.journal.writer import Journal

from .support import SMALL, STATE, Timers, event, opened, records
from .turns import PREFIX, SECOND, answer, ask, envelope, session

STEPS = st.lists(st.sampled_from(["turn 1", "turn 2", "event", "chunk", "commit"]), max_size=40)


def play(journal: Journal, steps: list[str]) -> dict[int, bool]:
    """Two sessions take turns (ask, answer, ask, ...) among other records; which of them wait for an answer."""
    keys = {number: journal.open_key(session(number)) for number in (1, 2)}
    seqs, asked = {1: 0, 2: 0}, {1: False, 2: False}
    for at, step in enumerate(steps):
        if step.startswith("turn"):
            number = int(step[-1])
            seqs[number] += 1
            (answer if asked[number] else ask)(journal, keys[number], number, 10 * at, seqs[number])
            seqs[number] += asked[number]
            asked[number] = not asked[number]
        elif step == "event":
            journal.append_event(event("gateway.clock", seq=at))
        elif step == "chunk":
            journal.append_chunk(keys[1], session(1), 1, 1, at, at, b"other leg", [(0, 5, 1)])
        else:
            journal.commit_now()
    journal.commit_now()
    return asked


@given(STEPS)
def test_a_reader_finds_the_records_that_were_told(steps: list[str]) -> None:
    """Each turn is a chunk and its events, canonical, numbered without a gap, in the order of the appends."""
    files = MemoryFiles()
    journal = opened(files, call_later=Timers())
    asked = play(journal, steps)
    found = records(files)
    assert [record.jseq for record in found] == list(range(1, journal.next_jseq))
    events = [json.loads(each.body) for each in found if each.kind == Kind.EVENT]
    told = [one for one in events if one["kind"].startswith("command.")]
    for one, record in zip(events, [each for each in found if each.kind == Kind.EVENT], strict=True):
        assert canonical(one) == record.body
        if one in told:
            assert one["jseq"] == record.jseq
            outcome = one["kind"].split(".")[1]
            assert record.flags == {"requested": OPENS, "result": 0, "completed": CLOSES}[outcome]
    for number in (1, 2):
        mine = [one for one in told if one["session"] == f"0000000{number}"]
        assert [one["seq"] for one in mine] == list(range(1, len(mine) + 1))
        assert len({one["id"] for one in mine}) == len(mine)
        requests = [one["op"] for one in mine if one["kind"] == "command.requested"]
        ends = [one["op"] for one in mine if one["kind"] == "command.completed"]
        assert requests[: len(ends)] == ends
        assert len(requests) - len(ends) == asked[number]
    chunks = [chunk_of(record) for record in found if record.kind == Kind.CHUNK]
    for each in chunks:
        assert each.data in (b"other leg", b"C\0\0\0\x0dSELECT 1\0") or each.data.startswith(b"Q")


@given(STEPS)
def test_what_a_crash_left_open_is_found_in_turns_too(steps: list[str]) -> None:
    """By what the writer was told (the STATE block of a second segment) and by what recovery reads."""
    for options in (SMALL, JournalOptions(reserve_bytes=0, segment_bytes=400)):
        files = MemoryFiles()
        asked = play(opened(files, options, call_later=Timers()), steps)
        files.crash()
        again = Journal(Folder.acquire(STATE, files), options=options, threaded=False)
        found = again.start()
        open_ops = {each["op"] for each in found.open_commands}
        assert len(open_ops) == sum(asked.values())


@given(STEPS)
def test_folded_and_unfolded_batches_say_the_same(steps: list[str]) -> None:
    """Where records are sealed one by one the turns are unfolded first: no record may differ."""
    taken: list[list[Any]] = []
    files = MemoryFiles()
    journal = opened(files, call_later=Timers())
    real = Inbox.first

    def first(inbox: Inbox, count: int) -> list[Any]:
        found = real(inbox, count)
        taken.append(list(found))
        return found

    with mock.patch.object(Inbox, "first", first):
        play(journal, steps)
    folded_state, unfolded_state = OpenState(), OpenState()
    for flat in taken:
        if not flat:
            continue
        batch = Batch(list(flat))
        plain = batch.unfolded()
        assert len(plain) == len(batch)
        (run,) = list(batch.runs(1 << 30))
        (expected,) = list(plain.runs(1 << 30))
        raw = encode_records(expected.codes, expected.keys, expected.lengths, expected.pieces)
        if isinstance(run, Folded):
            assert unfold(fold(run.entries, run.envelopes)) == raw
            assert len(run) == len(expected)
        folded_state.apply(batch.books())
        unfolded_state.apply(plain.books())
    assert sorted(each["op"] for each in folded_state.commands) == sorted(
        each["op"] for each in unfolded_state.commands
    )


def test_blocks_with_turns_are_folded_and_small() -> None:
    """A guard, and the reason for it all: ten commands in a block, at a tenth of their size."""
    files = MemoryFiles()
    journal = opened(files, call_later=Timers())
    play(journal, ["turn 1"] * 20)
    folder = Folder.acquire(STATE, files) if not journal.folder.is_locked else journal.folder
    segment = SegmentReader(files, folder.segment(1))
    kinds, offset = [], 192
    while (block := segment.block_at(offset)) is not None:
        kinds.append(block.compression)
        if block.compression is Compression.FOLDED:
            assert block.count == 50
            assert block.size < 2000 < sum(len(each.body) for each in records(files)) / 5
        offset += block.size
    segment.close()
    assert Compression.FOLDED in kinds


def test_a_reader_of_one_session_skips_blocks_without_it() -> None:
    """The block's list of key ids is that of its turns, too."""
    files = MemoryFiles()
    journal = opened(files, call_later=Timers())
    key, other = journal.open_key(session(1)), journal.open_key(session(2))
    ask(journal, key, 1, 0, 1)
    journal.commit_now()
    ask(journal, other, 2, 0, 1)
    journal.commit_now()
    with JournalReader(journal.folder, keys=frozenset({other})) as reader:
        assert [record.jseq for record in reader] == [3, 4]


def entry(**changes: Any) -> bytes:
    """A folded payload with one ask, changed."""
    turn: list[Any] = [0, 0, 5000, 2, 1, 7, b"p-", 4000, b"s.", b"", b'{"text":"%b"}', [b"x"]]
    for place, value in changes.items():
        turn[int(place[1:])] = value
    return msgspec.msgpack.encode([1, [[1, list(envelope(1))]], [[1, turn, b"Q"]]])


def test_a_folded_payload_is_read() -> None:
    """The guard of the next test: unchanged it is fine."""
    assert [kind for kind, *_ in decode_records(unfold(entry()), 2)] == [Kind.CHUNK, Kind.EVENT]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([2, [], []]),
        msgspec.msgpack.encode([1, []]),
        msgspec.msgpack.encode([1, [], [[1, [0] * 12, b"Q"]]]),
        msgspec.msgpack.encode({"a": 1}),
        entry(_10=b'{"text":"%999999999d"}'),
        entry(_10=b'{"text":"%*d"}'),
        entry(_10=b'{"text":"%r"}'),
        entry(_10=7),
        entry(_2=b"now"),
        entry(_11=[]),
        entry(_0=7),
    ],
)
def test_garbage_in_a_folded_block_is_damage_and_nothing_worse(payload: bytes) -> None:
    """A verifier reads what somebody else wrote: no crash, no memory, no endless loop."""
    with pytest.raises(ValueError, match=r"fold|form"):
        unfold(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(payload: bytes) -> None:
    """Nothing but ValueError comes of garbage."""
    with contextlib.suppress(ValueError):
        unfold(payload)


def test_a_turns_operation_is_that_of_its_events() -> None:
    """State and events must speak of the same operation."""
    files = MemoryFiles()
    journal = opened(files, call_later=Timers())
    key = journal.open_key(session(1))
    ask(journal, key, 1, 0, 1)
    flat = list(journal._inbox.flat)
    assert flat[0] == TURN
    assert len(flat) == WIDTH
    asked = operation(flat[4])
    answer(journal, key, 1, 0, 2)
    assert operation(journal._inbox.flat[WIDTH + 4]) == asked
    journal.commit_now()
    ops = {json.loads(each.body)["op"] for each in records(files) if each.kind == Kind.EVENT}
    assert ops == {asked.decode()}


def test_each_request_of_a_session_has_its_own_decision() -> None:
    """What is kept of a session's lines is kept by the decision, and of few."""
    decisions = [b'"decision":{"effect":"allow","rules":["%d"]},' % number for number in range(30)]
    turns = [
        (0, 0, 5000, 2 * at + 2, at, at, PREFIX, 4000, SECOND, decision, b"{}", ())
        for at, decision in enumerate(decisions * 2)
    ]
    payload = fold([(1, turn, b"Q") for turn in turns], {1: envelope(1)})
    for found, decision in zip(told(payload, 2 * len(turns)), decisions * 2, strict=True):
        assert isinstance(found, Told)
        assert decision in found.lines[0]
        assert canonical(json.loads(found.lines[0])) == found.lines[0]
