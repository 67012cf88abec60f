"""A recording as an analyser would have to see it: whole messages, nothing of the encryption, nothing redacted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoopproxy.journal.chunks import Chunk
from hoopproxy.protocols.postgres.wire import wire
from hoopproxy.reading.answers import EventLine
from hoopproxy.reading.journals import at_rest
from hoopproxy.reading.scope import EVERYTHING
from hoopproxy.reading.sessions import find_session, recording
from tests.cli.trail import Trail
from tests.protocols.postgres.talk import columns, complete, m, query, ready, row


def pieces(trail: Trail) -> Iterator[Any]:
    for piece in recording(find_session(at_rest(trail.state), "last", EVERYTHING), EVERYTHING):
        if isinstance(piece, EventLine):
            yield piece.event
        elif isinstance(piece, Chunk):
            yield piece


def sides(found: list[tuple[int, int, bytes, str]]) -> tuple[bytes, bytes]:
    return tuple(b"".join(data for way, _, data, _ in found if way == each) for each in (0, 1))  # type: ignore[return-value]


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path)


def test_messages_that_were_redacted_whole_are_left_out_and_noted(trail: Trail) -> None:
    """Their fill is no message of any protocol."""
    session = trail.session("alice")
    session.asks("SELECT 1", complete("SELECT 0"))
    session.end()
    found = list(wire(pieces(trail)))
    client, server = sides(found)
    assert client.endswith(query("SELECT 1") + m("X"))
    assert client[4:8] == b"\0\3\0\0"
    assert b"****" not in client + server
    assert server.endswith(complete("SELECT 0") + ready())
    assert any("redacted" in note for *_, note in found)


def test_long_rows_come_whole(trail: Trail) -> None:
    """Of several chunks, and longer than what is looked at in one piece."""
    long = row(b"x" * 3_000_000)
    session = trail.session("alice")
    session.client(query("SELECT long"))
    reply = columns("long") + long + complete("SELECT 1") + ready()
    for at in range(0, len(reply), 70_000):
        session.target(reply[at : at + 70_000])
    session.end()
    _, server = sides(list(wire(pieces(trail))))
    assert server.endswith(reply)


def test_what_is_not_in_the_recording_is_noted_and_the_rest_goes_on_at_a_message(trail: Trail) -> None:
    """A gap in the bytes must not make nonsense of all that follows."""
    session = trail.session("alice")
    for number in range(3):
        session.selects(f"SELECT {number}", ("a",), (b"value" * 100,))
    session.end()
    kept = [
        piece
        for piece in pieces(trail)
        if not (isinstance(piece, Chunk) and piece.direction == 0 and b"SELECT 1" in piece.data)
    ]
    found = list(wire(kept))
    client, _ = sides(found)
    assert query("SELECT 0") in client
    assert query("SELECT 2") in client
    assert b"SELECT 1" not in client
    assert any("not in the recording" in note for *_, note in found)


def test_a_message_that_never_ended_is_left_out(trail: Trail) -> None:
    """Half a message would have the analyser wait for the other half."""
    session = trail.session("alice")
    session.client(query("SELECT 1"))
    session.target(complete("SELECT 0")[:6])
    session.lose()
    found = list(wire(pieces(trail)))
    _, server = sides(found)
    assert not server.endswith(complete("SELECT 0")[:6])
