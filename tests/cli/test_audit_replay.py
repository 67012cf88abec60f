"""``hoopproxy audit replay``: from the command line; what a result looks like is tested with the protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.cli.audit import replay as replaying
from hoopproxy.cli.audit.paint import painted
from hoopproxy.cli.audit.replay import paced, shown
from hoopproxy.events import canonical
from hoopproxy.inert import inert
from hoopproxy.journal.chunks import Chunk
from hoopproxy.protocols.ssh.packets import uint32
from hoopproxy.reading.answers import EventLine
from tests.cli.trail import Trail
from tests.index.ssh import SSHPlayed


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


# --- channels and terminals --------------------------------------------------------------------------------


@pytest.fixture
def shell(trail: Trail) -> SSHPlayed:
    """A terminal in channel 0, a program in channel 1."""
    session = SSHPlayed(trail)
    session.data(1, 0, b"$ \x1b[31mls\x1b[0m\x1b]52;c;aGk=\x07\r\n")
    session.data(1, 1, b"program\n")
    session.now += 9_000_000_000
    session.asks(7, "window-change", *(uint32(each) for each in (100, 30, 0, 0)))
    session.data(1, 0, b"later\x1bP$qm\x1b\\\xc2\x9b6n\r\n")
    session.end()
    return session


def test_a_channel_and_a_time_are_chosen(trail: Trail, shell: SSHPlayed) -> None:
    """As `audit show` and a search name them."""

    def replayed(*words: object) -> list[str]:
        return audit("replay", shell.id, "--state", trail.state, *words).stdout.splitlines()

    assert replayed("--channel", "1") == ["1| program"]
    assert replayed("--channel", "0", "--from", "5") == [
        "0| [the terminal is 100x30 now]",
        "0| later\\x9b6n",
    ]
    assert "0| $ ls" in replayed("--channel", "0")
    missing = audit("replay", shell.id, "--state", trail.state, "--channel", "7")
    assert missing.exit_code == 1
    assert "nothing was said in a channel 7" in missing.stderr


def test_a_protocol_without_channels_has_none_to_choose(trail: Trail) -> None:
    """PostgreSQL's sessions are one conversation."""
    session = trail.session()
    session.end()
    refused = audit("replay", "last", "--state", trail.state, "--channel", "0")
    assert refused.exit_code == 1
    assert "--channel is for SSH" in refused.stderr


def test_a_terminal_is_looked_for_without_losing_what_comes_before(shell: SSHPlayed) -> None:
    """A session that turns out to have none is told from its beginning."""
    start = EventLine(b"{}", {"kind": "session.start", "mono": 0, "event": {}, "protocol": "ssh"})
    pieces = [as_chunk(each) for each in shell.chunks]
    course, rest = replaying._terminal_of(iter([pieces[0], start, *pieces[1:]]), None)
    assert course is not None
    assert next(iter(course))[0] == "r"
    course, rest = replaying._terminal_of(iter([pieces[0], start, *pieces[1:]]), "1")
    assert course is None
    assert list(rest) == [pieces[0], start, *pieces[1:]]


def test_a_long_session_without_a_terminal_is_not_held_in_memory(
    shell: SSHPlayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for in the beginning only."""
    monkeypatch.setattr(replaying, "_LOOKED_AT", 2500)
    start = EventLine(b"{}", {"kind": "session.start", "mono": 0, "event": {}, "protocol": "ssh"})
    pieces = [start, *(as_chunk(each) for each in shell.chunks)]
    course, rest = replaying._terminal_of(iter(pieces), None)
    assert course is None
    assert list(rest) == pieces


def as_chunk(each: Any) -> Chunk:
    return Chunk(
        session=bytes(16),
        leg=0,
        direction=each.direction,
        offset=each.offset,
        mono=each.mono,
        data=each.data,
        redactions=each.redactions,
    )


@pytest.mark.parametrize("form", ["asciicast", "asciicast-v3"])
def test_an_asciicast_is_of_the_channel_that_is_asked_for(trail: Trail, shell: SSHPlayed, form: str) -> None:
    """With its sizes, and without what acts on whoever plays it."""

    def exported(*words: object) -> Result:
        return audit("export", shell.id, "--state", trail.state, "--format", form, *words)

    header, *lines = [json.loads(line) for line in exported("--channel", "0").stdout.splitlines()]
    size = (
        (header["term"]["cols"], header["term"]["rows"])
        if "term" in header
        else (header["width"], header["height"])
    )
    assert size == (80, 24)
    assert [data for _, what, data in lines if what == "r"] == ["80x24", "100x30"]
    output = "".join(data for _, what, data in lines if what == "o")
    assert "\x1b[31mls\x1b[0m" in output
    assert "later" in output
    for bad in ("\x1b]52", "\x1bP", "\x9b", "aGk="):
        assert bad not in output
    assert [json.loads(line) for line in exported().stdout.splitlines()][1:] == lines
    none = exported("--channel", "1")
    assert none.exit_code == 1
    assert "none was asked for in its channel 1" in none.stderr
    other = audit("export", shell.id, "--state", trail.state, "--format", "jsonl", "--channel", "0")
    assert other.exit_code == 2
