"""Replay: recorded bytes as psql would have shown them, whatever way they were cut, and in flat memory."""

from __future__ import annotations

import hashlib
import struct
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.protocols.postgres.recorded import Message, Recorded
from hoopproxy.protocols.postgres.replay import replay
from hoopproxy.reading.answers import EventLine, Question
from hoopproxy.reading.ask import ask
from hoopproxy.reading.journals import at_rest
from hoopproxy.reading.scope import EVERYTHING
from tests.cli.trail import Played, Trail
from tests.protocols.postgres.talk import (
    BOUND,
    PARSED,
    SUSPENDED,
    SYNC,
    bind,
    columns,
    complete,
    describe,
    error,
    execute,
    m,
    parse,
    query,
    ready,
    refuse,
    row,
)


def pieces(trail: Trail) -> Iterator[Any]:
    for piece in ask(lambda: at_rest(trail.state), Question(action="replay", session="last"), EVERYTHING):
        yield piece.event if isinstance(piece, EventLine) else piece


def shown(trail: Trail, **options: Any) -> list[str]:
    """The lines, without times and without the first."""
    lines = ["".join(text for _, text in line) for line in replay(pieces(trail), **options)]
    return [line for line in lines[1:] if not line.startswith(("Time:", "-- the session ended")) and line]


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path)


@pytest.fixture
def session(trail: Trail) -> Played:
    return trail.session(decide=refuse("DROP"))


def int_columns(*names: str, form: int = 0) -> bytes:
    body = struct.pack(">H", len(names))
    for name in names:
        body += name.encode() + b"\0" + struct.pack(">IhIhih", 0, 0, 23, 4, -1, form)
    return m("T", body)


def test_a_query_and_its_rows_look_as_in_psql(trail: Trail, session: Played) -> None:
    """The shape that everybody can read."""
    session.selects("SELECT a,\n b FROM t", ("a", "b"), (b"1", b"one"), (b"2", b"two"))
    assert shown(trail) == [
        "shop=> SELECT a,",
        "shop->  b FROM t",
        " a |  b",
        "---+-----",
        " 1 | one",
        " 2 | two",
        "(2 rows)",
    ]


def test_several_results_of_one_query_stay_apart(trail: Trail, session: Played) -> None:
    """Each table has its own columns."""
    first = columns("a") + row(b"1") + complete("SELECT 1")
    second = complete("INSERT 0 3") + columns("b") + complete("SELECT 0")
    session.asks("SELECT 1; INSERT; SELECT 2", first, second)
    assert shown(trail) == [
        "shop=> SELECT 1; INSERT; SELECT 2",
        " a",
        "---",
        " 1",
        "(1 row)",
        "INSERT 0 3",
        " b",
        "---",
        "(0 rows)",
    ]


def test_a_prepared_statement_has_the_columns_of_its_describe_and_the_formats_of_its_bind(
    trail: Trail, session: Played
) -> None:
    """The row description came long before the rows, and said nothing of their format."""
    session.client(parse("SELECT n FROM t WHERE n > $1", "st", (23,)) + describe("S", "st") + SYNC)
    session.target(PARSED + m("t", struct.pack(">HI", 1, 23)) + int_columns("n") + ready())
    binary = m("B", bind(b"7", statement="st")[5:-2] + struct.pack(">HH", 1, 1))
    session.client(binary + execute() + SYNC)
    session.target(BOUND + row(struct.pack(">i", 258)) + complete("SELECT 1") + ready())
    session.client(bind(b"8", statement="st") + execute() + SYNC)
    session.target(BOUND + complete("SELECT 0") + ready())
    heading = ["shop=> SELECT n FROM t WHERE n > $1"]
    assert shown(trail) == [
        *heading,
        "-- $1 = '7'",
        "  n",
        "-----",
        " 258",
        "(1 row)",
        *heading,
        "-- $1 = '8'",
        " n",
        "---",
        "(0 rows)",
    ]


def test_pipelined_commands_are_shown_each_with_its_own_result(trail: Trail, session: Played) -> None:
    """All were requested before the first was answered, and the answers came in one piece."""
    for number in range(3):
        session.client(parse(f"SELECT {number}") + bind() + describe() + execute())
    session.client(SYNC)
    reply = b"".join(
        PARSED + BOUND + columns("c") + row(b"%d" % number) + complete("SELECT 1") for number in range(3)
    )
    session.target(reply + ready())
    lines = shown(trail)
    assert [line for line in lines if line.startswith("shop")] == [f"shop=> SELECT {n}" for n in range(3)]
    assert lines == [
        line for n in range(3) for line in (f"shop=> SELECT {n}", " c", "---", f" {n}", "(1 row)")
    ]


def test_an_error_in_a_pipeline_does_not_move_later_tables(trail: Trail, session: Played) -> None:
    """The target discards up to Sync; so does whoever reads the recording."""
    session.client(
        parse("SELECT x") + bind() + describe() + execute() + parse("SELECT y") + bind() + execute() + SYNC
    )
    session.target(PARSED + BOUND + columns("x") + error("22012", "division by zero") + ready())
    session.client(parse("SELECT z") + bind() + describe() + execute() + SYNC)
    session.target(PARSED + BOUND + columns("z") + row(b"26") + complete("SELECT 1") + ready())
    assert shown(trail) == [
        "shop=> SELECT x",
        "ERROR:  division by zero (22012)",
        "shop=> SELECT y",
        "-- not run: " + _because(trail),
        "shop=> SELECT z",
        " z",
        "----",
        " 26",
        "(1 row)",
    ]


def _because(trail: Trail) -> str:
    (skipped,) = [
        each for each in pieces(trail) if isinstance(each, Mapping) and each["kind"] == "command.skipped"
    ]
    return str(skipped["event"]["because"])


def test_a_suspended_portal_shows_each_fetch(trail: Trail, session: Played) -> None:
    """Rows come in several results."""
    session.client(parse("SELECT n") + bind() + describe() + execute(rows=1) + execute(rows=1) + SYNC)
    session.target(PARSED + BOUND + columns("n") + row(b"1") + SUSPENDED + row(b"2") + SUSPENDED + ready())
    lines = shown(trail)
    assert [line for line in lines if line in (" 1", " 2")] == [" 1", " 2"]
    assert lines.count("-- more rows could be fetched") == 2
    assert lines.count(" n") == 2


def test_copy_data_are_lines_in_both_directions(trail: Trail, session: Played) -> None:
    """However the messages cut them."""
    session.client(query("COPY t FROM STDIN"))
    session.target(m("G", b"\0" + struct.pack(">HHH", 2, 0, 0)))
    session.client(m("d", b"1\tone\n2\tt") + m("d", b"wo\n3\tthree") + m("c"))
    session.target(complete("COPY 3") + ready())
    out = m("H", b"\0" + struct.pack(">HH", 1, 0)) + m("d", b"4\tfour\n") + m("d", b"5\tfive\n") + m("c")
    session.asks("COPY t TO STDOUT", out, complete("COPY 2"))
    assert shown(trail) == [
        "shop=> COPY t FROM STDIN",
        "1\tone",
        "2\ttwo",
        "3\tthree",
        "COPY 3",
        "shop=> COPY t TO STDOUT",
        "4\tfour",
        "5\tfive",
        "COPY 2",
    ]


def test_binary_copy_is_counted_and_not_poured_out(trail: Trail, session: Played) -> None:
    """It is no text."""
    out = (
        m("H", b"\1" + struct.pack(">HH", 1, 1)) + m("d", b"PGCOPY\n\xff\r\n\0") + m("c") + complete("COPY 1")
    )
    session.asks("COPY t TO STDOUT (FORMAT binary)", out)
    assert shown(trail)[1:] == ["[11 bytes of binary COPY data]", "COPY 1"]


def test_refusals_errors_and_notices_are_in_their_places(trail: Trail, session: Played) -> None:
    """What did not happen is as much of a record."""
    session.client(query("DROP TABLE people"))
    session.asks("SELECT boom", error("42P01", 'relation "boom" does not exist', H="Try another."))
    session.target(m("A", struct.pack(">i", 4711) + b"news\0it's\0"))
    session.asks("DO $$x$$", m("N", b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0"), complete("DO"))
    assert shown(trail) == [
        "shop=> DROP TABLE people",
        "ERROR:  the role test refuses DROP (policy; refused by the gateway)",
        "shop=> SELECT boom",
        'ERROR:  relation "boom" does not exist (42P01)',
        "HINT:  Try another.",
        "Asynchronous notification 'news' with payload 'it''s'",
        "shop=> DO $$x$$",
        "NOTICE:  hello (00000)",
        "DO",
    ]


def test_what_was_redacted_is_shown_as_redacted(trail: Trail, session: Played) -> None:
    """Neither the secret nor its filling passes for what was said."""
    session.asks("ALTER USER x PASSWORD 'geheim'", complete("ALTER ROLE"))
    text = "\n".join(shown(trail))
    assert "geheim" not in text
    assert "[redacted 6 bytes]" in text


def test_a_redacted_value_in_a_row_is_marked() -> None:
    """Asterisks could be data."""
    from hoopproxy.journal.chunks import Chunk

    data = columns("a", "b") + row(b"***", b"***") + complete("SELECT 1")
    at = len(columns("a", "b")) + 5 + 2 + 4
    chunk = Chunk(
        session=bytes(16), leg=0, direction=1, offset=0, mono=0, data=data, redactions=((at, 3, 4),)
    )
    said = {"text": "SELECT", "range": [0, 5], "verb": "SELECT"}
    result = {"index": 0, "tag": "SELECT 1", "rows": 1, "bytes": len(data), "range": [0, len(data)]}
    told = replay(
        [
            {"kind": "command.requested", "op": "1", "event": said},
            {"kind": "command.result", "op": "1", "event": result},
            chunk,
        ]
    )
    assert " [redacted 3 bytes] | ***" in ["".join(text for _, text in line) for line in told]


@pytest.mark.parametrize("record", ["requests", "metadata"])
def test_a_recording_without_results_says_so_and_shows_what_the_events_know(
    trail: Trail, record: str
) -> None:
    """Silence would look like an empty result."""
    session = trail.session(record=record)
    session.selects("SELECT 1", ("a",), (b"1",))
    session.client(query("COPY t FROM STDIN"))
    session.target(m("G", b"\0" + struct.pack(">HH", 1, 0)))
    session.client(m("d", b"one\n") + m("c"))
    session.target(complete("COPY 1") + ready())
    session.end()
    lines = shown(trail)
    assert "not in the recording" in lines[0]
    assert "SELECT 1 (1 rows, not recorded)" in lines
    copied = ["one"] if record == "requests" else []
    assert lines[lines.index("shop=> COPY t FROM STDIN") + 1 :] == [*copied, "COPY 1 (1 rows, not recorded)"]


def test_a_result_that_never_ended_is_shown_as_far_as_it_came(trail: Trail, session: Played) -> None:
    """The client or the gateway went away in the middle."""
    session.client(query("SELECT slow"))
    session.target(columns("s") + row(b"one") + row(b"two"))
    session.lose()
    lines = shown(trail)
    assert lines[:5] == ["shop=> SELECT slow", "  s", "-----", " one", " two"]
    assert any("the end was not seen" in line for line in lines)


def test_a_session_that_runs_is_shown_as_far_as_it_is(trail: Trail, session: Played) -> None:
    """Without an end of anything."""
    session.client(query("SELECT slow"))
    session.target(columns("s") + row(b"one"))
    trail.journal.commit_now()
    assert shown(trail)[:4] == ["shop=> SELECT slow", "  s", "-----", " one"]


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_the_same_recording_is_shown_however_it_was_cut(cuts: list[int]) -> None:
    """Chunks are what the network made of it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        trail = Trail(Path(folder))
        session = trail.session()
        session.selects("SELECT 1", ("a",), (b"1",), (b"2",))
        session.asks("COPY t TO STDOUT", m("H", b"\0\0\0") + m("d", b"x\ny\n") + m("c"), complete("COPY 2"))
        session.end()
        whole = list(pieces(trail))
        trail.stop()
    cut: list[Any] = []
    number = 0
    for piece in whole:
        if isinstance(piece, Mapping):
            cut.append(piece)
            continue
        at = 0
        while at < len(piece.data):
            size = cuts[number % len(cuts)]
            number += 1
            part = piece.data[at : at + size]
            marks = [
                (max(start - at, 0), min(start + length - at, len(part)) - max(start - at, 0), why)
                for start, length, why in piece.redactions
            ]
            kept = tuple(mark for mark in marks if mark[1] > 0)
            cut.append(attrs.evolve(piece, data=part, offset=piece.offset + at, redactions=kept))
            at += size
    assert list(replay(cut)) == list(replay(whole))


def test_a_value_of_many_megabytes_is_replayed_flat(trail: Trail, session: Played) -> None:
    """A 300 MiB value must not become 300 MiB of memory; here 24, sent in pieces of 64 KiB."""
    size, piece = 24 << 20, b"v" * 65536
    session.client(query("SELECT big"))
    session.target(columns("b", "n") + b"D" + struct.pack(">iHi", 4 + 2 + 4 + size + 4 + 1, 2, size))
    for _ in range(size // len(piece)):
        session.target(piece)
        trail.journal.commit_now()
    session.target(struct.pack(">i", 1) + b"7" + complete("SELECT 1") + ready())
    session.end()
    tracemalloc.start()
    lines = shown(trail, cell_width=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    digest = hashlib.sha256(b"v" * size).hexdigest()
    assert any(digest in line and f"{size} bytes" in line and line.rstrip().endswith("| 7") for line in lines)
    assert peak < 12 << 20, f"{peak >> 20} MiB"


def test_many_rows_are_replayed_flat(trail: Trail, session: Played) -> None:
    """The widths come of the first rows; none of the others waits."""
    many = row(b"r" * 1000) * 1000
    session.client(query("SELECT many"))
    session.target(columns("r"))
    for _ in range(16):
        session.target(many)
        trail.journal.commit_now()
    session.target(complete("SELECT 16000") + ready())
    session.end()
    tracemalloc.start()
    count = sum(1 for _ in replay(pieces(trail), cell_width=0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count > 16000
    assert peak < 12 << 20, f"{peak >> 20} MiB"


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300), cut=st.integers(1, 300), offset=st.integers(0, 5))
def test_garbage_in_a_recording_ends_in_lines_and_never_in_an_error(
    data: bytes, cut: int, offset: int
) -> None:
    """A reader believes nothing of what it reads."""
    from hoopproxy.journal.chunks import Chunk

    said = {"text": {"b64": "//8="}, "range": [0, 5], "verb": "?", "parameters": [None, {"hex": "00"}, 5]}
    result = {"index": 0, "rows": 1, "bytes": 9, "range": [offset, offset + len(data)]}
    events: list[Any] = [
        {"kind": "session.start", "event": {"record": "full"}},
        {"kind": "command.requested", "op": "1", "event": said},
        {"kind": "command.result", "op": "1", "event": result},
    ]
    for direction in (0, 1):
        for at, part in ((0, data[:cut]), (cut + offset, data[cut:])):
            events.append(Chunk(session=bytes(16), leg=0, direction=direction, offset=at, mono=0, data=part))
    events.append({"kind": "command.completed", "op": "1", "event": {}})
    assert len(list(replay(events))) > 1


def test_after_a_gap_the_next_result_is_read_again() -> None:
    """Its range says where a message begins."""
    stream = Recorded()
    stream.feed(0, b"D\0\0\1\0half", ())
    stream.feed(500, b"unreadable" + complete("SELECT 1"), ())
    assert list(stream.messages(1000)) == []
    assert stream.missing > 0
    stream.resume(510)
    (found,) = stream.messages(1000)
    assert (found.kind, found.body) == (ord("C"), b"SELECT 1\0")


def test_a_message_that_was_redacted_whole_is_stepped_over() -> None:
    """Its header is filled, too: a log-in exchange, the start of every recording."""
    stream = Recorded()
    stream.feed(0, b"*" * 20, ((0, 20, 1),))
    stream.feed(20, b"*" * 5 + ready(), ((0, 5, 1),))
    kinds = [message.kind for message in stream.messages(100)]
    assert kinds == [0, ord("Z")]


def test_the_answer_to_a_request_for_tls_is_one_byte() -> None:
    """It looks like the kind of a message."""
    stream = Recorded()
    stream.single = 2
    stream.feed(0, b"N", ())
    stream.feed(1, b"S" + m("S", b"a\0b\0"), ())
    assert [(each.kind, each.end - each.start) for each in stream.messages(100)] == [
        (ord("N"), 1),
        (ord("S"), 1),
        (ord("S"), 9),
    ]


def test_a_long_message_comes_in_pieces_that_add_up() -> None:
    """For whatever is as long as it likes: rows and COPY data."""
    stream, found = Recorded(), bytearray()
    data = m("d", b"x" * (3 << 20))
    last: Message | None = None
    for at in range(0, len(data), 100_001):
        stream.feed(at, data[at : at + 100_001], ())
        for last in stream.messages(len(data)):
            found += last.body
    assert last is not None
    assert last.last
    assert bytes(found) == data[5:]
