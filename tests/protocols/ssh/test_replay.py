"""Recorded chunks back to what a session showed: lines, and a terminal's course."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import HoopproxyError
from hoopproxy.protocols.ssh.packets import boolean, packet, string, uint32
from hoopproxy.protocols.ssh.plugin import SSHProtocol
from hoopproxy.protocols.ssh.recorded import Said, said
from hoopproxy.protocols.ssh.replay import replay, terminal
from tests.protocols.ssh.recording import Chunk, Recording


@pytest.fixture
def recording() -> Recording:
    made = Recording()
    made.login()
    made.opened(0, 7)
    made.pty(7)
    made.asks(7, "shell")
    made.data(1, 0, b"$ ")
    made.data(0, 7, b"ls", filled=True)
    made.data(1, 0, b"\x1b]52;c;aGk=\x07\x1b[31mls\x1b[0m")
    made.data(0, 7, b"\r")
    made.data(1, 0, b"\r\nout\x1b[6n\r\n$ ")
    made.asks(7, "window-change", *(uint32(each) for each in (100, 30, 0, 0)))
    made.data(1, 0, b"vi\r\n\x1b[?1049hfull\r\nscreen\x1b[?1049l$ exit\r\n")
    made.opened(1, 8)
    made.asks(8, "exec", string("id -u"))
    made.data(0, 8, b"input\n")
    made.data(1, 1, b"0\n")
    made.say(1, packet(95, uint32(1), uint32(1), string("a warning\n")))
    made.say(1, packet(98, uint32(1), string("exit-status"), boolean(False), uint32(3)))
    made.say(1, packet(97, uint32(0)), packet(97, uint32(1)))
    return made


def texts(chunks: list[Chunk], events: tuple[Mapping[str, Any], ...] = ()) -> list[str]:
    return ["".join(text for _, text in line) for line in replay([*chunks, *events])]


def test_a_session_is_told_by_channel_with_output_and_errors_apart(recording: Recording) -> None:
    """An auditor reads what was on the screen, and which command wrote what."""
    assert texts(recording.chunks) == [
        "0| shell, terminal 80x24",
        "0| $ ls",
        "0| out",
        "0| [the terminal is 100x30 now]",
        "0| $ vi",
        "0| [full screen]",
        "0| [end of full screen]",
        "0| $ exit",
        "1| exec id -u",
        "1| > input",
        "1| 0",
        "1| ! a warning",
        "1| exit 3",
    ]


def test_a_terminal_has_its_sizes_its_output_and_what_was_kept_of_its_input(recording: Recording) -> None:
    """What asciicast is made of."""
    course = list(terminal(recording.chunks))
    assert [(what, data) for what, _, data in course if what != "o"] == [
        ("r", b"80x24"),
        ("i", b"\r"),
        ("r", b"100x30"),
    ]
    assert b"".join(data for what, _, data in course if what == "o").startswith(b"$ \x1b]52")
    assert [mono for _, mono, _ in course] == sorted(mono for _, mono, _ in course)
    assert list(terminal(recording.chunks, "1")) == []


def test_a_terminal_that_was_refused_is_none_to_be_shown(recording: Recording) -> None:
    """The client asked for it and for its program at once; the target gave none, and the program ran without."""
    recording.chunks.clear()
    recording.at = [0, 0]
    recording.opened(0, 7)
    recording.pty(7)
    recording.asks(7, "exec", string("id"))
    recording.say(1, packet(100, uint32(0)), packet(99, uint32(0)))
    recording.data(1, 0, b"uid=0\n")
    recording.opened(1, 8)
    recording.pty(8)
    recording.asks(8, "shell")
    recording.say(1, packet(99, uint32(1)), packet(99, uint32(1)))
    assert texts(recording.chunks) == [
        "0| exec id, terminal 80x24",
        "0| [the terminal was refused]",
        "0| uid=0",
        "1| shell, terminal 80x24",
    ]
    assert [(what, data) for what, _, data in terminal(recording.chunks)] == [("r", b"80x24")]
    assert list(terminal(recording.chunks, "0")) == []
    recording.data(1, 1, b"$ ")
    assert [(what, data) for what, _, data in terminal(recording.chunks)] == [("r", b"80x24"), ("o", b"$ ")]


def test_a_connection_is_told_with_its_ends_and_bytes() -> None:
    """Where from, where to, and how much went."""
    ends = {"origin": {"host": "10.0.0.7", "port": 4242}, "destination": {"host": "db", "port": 5432}}
    opened = {"kind": "forward.opened", "event": {"type": "direct-tcpip", **ends}}
    closed = {"kind": "forward.closed", "event": {"sent": 4, "received": 0}}
    socket = {
        "kind": "forward.opened",
        "event": {"type": "x", "origin": {}, "destination": {"path": "/run/s"}},
    }
    assert texts([], (opened, closed, socket)) == [
        "-- forward opened: direct-tcpip, from 10.0.0.7:4242, to db:5432",
        "-- forward closed: bytes sent: 4, bytes received: 0",
        "-- forward opened: x, to /run/s",
    ]


def test_one_channel_is_told_alone(recording: Recording) -> None:
    """What others said meanwhile, and what is of no channel, is left out; a number that is used again is another."""
    recording.opened(1, 8)
    recording.pty(8)
    recording.asks(8, "exec", string("top"))
    recording.data(1, 1, b"load\r\n")
    event = {"kind": "command.observed", "event": {"text": "ls"}}

    def told(channel: str) -> list[str]:
        lines = replay([*recording.chunks, event], channel=channel)
        return ["".join(text for _, text in line) for line in lines]

    assert told("1") == ["1| exec id -u", "1| > input", "1| 0", "1| ! a warning", "1| exit 3"]
    assert told("1.2") == ["1.2| exec top, terminal 80x24", "1.2| load"]
    assert told("9") == []
    assert [data for what, _, data in terminal(recording.chunks, "1.2") if what == "o"] == [b"load\r\n"]
    assert list(terminal(recording.chunks, "1")) == []


def test_reading_goes_on_behind_a_gap(recording: Recording) -> None:
    """A best-effort target may lack some chunks."""
    lines = texts([each for number, each in enumerate(recording.chunks) if number != 8])
    assert "[bytes are missing in the recording here]" in lines
    assert lines[-1] == "1| exit 3"


@given(st.data())
def test_any_split_of_the_chunks_says_the_same(draw: st.DataObject) -> None:
    """Recorders may cut where they like."""
    made = Recording()
    made.opened(3, 4)
    made.pty(4)
    made.data(1, 3, b"one\r\n")
    made.data(0, 4, b"secret", filled=True)
    cut: list[Chunk] = []
    for each in made.chunks:
        at = draw.draw(st.integers(0, len(each.data)))
        for start, end in ((0, at), (at, len(each.data))):
            spans = tuple(
                (max(a, start) - start, min(a + n, end) - max(a, start), r) for a, n, r in each.redactions
            )
            spans = tuple(span for span in spans if span[1] > 0)
            cut.append(Chunk(each.direction, each.offset + start, each.mono, each.data[start:end], spans))
    whole = [(each.what, each.data, each.hidden) for each in said(made.chunks) if isinstance(each, Said)]
    assert [(each.what, each.data, each.hidden) for each in said(cut) if isinstance(each, Said)] == whole
    assert whole[-1] == ("data", b"******", ((0, 6),))


@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=40)), max_size=10))
def test_garbage_is_no_harm(parts: list[tuple[int, bytes]]) -> None:
    """A recording may be of a peer that said anything."""
    made = Recording()
    made.opened(0, 0)
    for direction, data in parts:
        made.add(direction, data)
    texts(made.chunks)
    list(terminal(made.chunks))


def test_packets_are_not_for_ssh() -> None:
    """An analyser would find noise; the sentence says what to take instead."""
    with pytest.raises(HoopproxyError, match="pcapng is not for SSH"):
        SSHProtocol().wire([])
