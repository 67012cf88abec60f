"""``hoopproxy audit replay``: from the command line; what a result looks like is tested with the protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.cli.audit.paint import painted
from hoopproxy.cli.audit.replay import paced, shown
from hoopproxy.events import canonical
from hoopproxy.inert import inert
from hoopproxy.journal.chunks import Chunk
from hoopproxy.reading.answers import EventLine
from tests.cli.trail import Trail


def audit(*words: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path)


def test_a_session_is_replayed_with_its_rows_inert(trail: Trail) -> None:
    """The rows are the target's, and as hostile as they like."""
    session = trail.session()
    evil = "\x1b]52;c;aGk=\x07\x9b6n\u202e\u2028\0\r\n".encode()
    session.selects("SELECT evil", ("e", "\x1b[31mname"), (evil, b"\xff\xfe"))
    session.end()
    result = audit("replay", "last", "--state", trail.state)
    assert result.exit_code == 0
    assert all(line == inert(line) for line in result.stdout.splitlines())
    assert "shop=> SELECT evil" in result.stdout
    assert "\\x1b]52;c;aGk=\\x07\\x9b6n\\u202e\\u2028\\x00\\r\\n" in result.stdout


def test_a_column_is_as_wide_as_asked(trail: Trail) -> None:
    """Cut on a terminal, whole in a file."""
    session = trail.session()
    session.selects("SELECT wide", ("w",), (b"x" * 500,))
    assert "x" * 500 in audit("replay", "last", "--state", trail.state).stdout
    cut = audit("replay", "last", "--state", trail.state, "--cell", 20).stdout
    assert "x" * 19 + "\u2026" in cut
    assert "x" * 20 not in cut


def test_json_has_the_events_and_the_bytes(trail: Trail) -> None:
    """The raw material, for whoever has a better decoder."""
    session = trail.session()
    session.selects("SELECT 1", ("a",), (b"1",))
    session.end()
    lines = [
        json.loads(line)
        for line in audit("replay", "last", "--state", trail.state, "--json").stdout.splitlines()
    ]
    chunks = [line for line in lines if line.get("answer") == "chunk"]
    assert {line["kind"] for line in lines if "kind" in line} >= {
        "session.start",
        "command.result",
        "session.end",
    }
    assert {(each["leg"], each["direction"]) for each in chunks} >= {(0, 0), (0, 1)}
    assert "secret-of-alice" not in "".join(each["data"] for each in chunks)


def line_of(kind: str, mono: int = 0, **said: Any) -> EventLine:
    event = {"kind": kind, "mono": mono, "event": said, "protocol": "tin-can"}
    return EventLine(canonical(event), event)


def test_pauses_are_those_of_the_session_faster_and_bounded() -> None:
    """A night without a command is not replayed as a night."""
    slept: list[float] = []
    events = [line_of("command.requested", second * 10**9) for second in (1, 3, 3, 3600)]
    assert list(paced(events, 2.0, 5.0, slept.append)) == events
    assert slept == [1.0, 5.0]


def test_an_unknown_protocol_is_a_transcript_with_what_was_redacted_left_out() -> None:
    """A protocol's author need not write a replayer to be readable."""
    data = b"USER alice\nPASS ******\n\x1b[2J\n"
    chunk = Chunk(
        session=bytes(16), leg=0, direction=0, offset=0, mono=0, data=data, redactions=((16, 6, 1),)
    )
    binary = Chunk(session=bytes(16), leg=0, direction=1, offset=0, mono=0, data=bytes(range(200, 240)))
    other_leg = Chunk(session=bytes(16), leg=1, direction=0, offset=0, mono=0, data=b"upstream")
    lines = [
        painted(line, False) for line in shown([line_of("session.note", what="hi"), chunk, binary, other_leg])
    ]
    text = "\n".join(lines)
    assert "   > USER alice" in lines
    assert "   > [redacted 6 bytes]" in lines
    assert "c8 c9 ca" in text
    assert "\\x1b[2J" in text
    assert "***" not in text
    assert "upstream" not in text


def test_a_session_without_any_event_is_replayed_as_nothing() -> None:
    """There is nothing to say."""
    assert list(shown([])) == []
