"""What is recorded is the target's to say, of the log-in as well: it is kept until the target is known."""

from __future__ import annotations

import pytest

from hoopproxy.errors import JournalRefused
from hoopproxy.wire.commands import Connect, Refusal

from .lines import fresh, started


@pytest.mark.parametrize(
    ("record", "seen"),
    [
        ("full", {(0, 0), (0, 1), (1, 0), (1, 1)}),
        ("requests", {(0, 0), (1, 0)}),
        ("metadata", set()),
    ],
)
def test_each_mode_records_its_directions_from_the_first_byte_on(
    record: str, seen: set[tuple[int, int]]
) -> None:
    """``metadata`` is chosen where payload may not be kept; the log-in is payload."""
    player = started(record=record)
    player.client(b"say hello\nget a\n")
    player.target(b"answer\n")
    player.end()
    journal = player.journal
    assert {(chunk.leg, chunk.direction) for chunk in journal.chunks} == seen
    if (0, 0) in seen:
        assert journal.stream(0, 0) == b"login alice ********say hello\nget a\n"
    assert player.ended is not None
    assert player.ended["event"]["balanced"]
    assert player.ended["event"]["client"]["received"] == player.received["client"]


def test_a_log_in_that_leads_to_no_target_is_on_record() -> None:
    """No target says that it may not be."""
    player = fresh(record="metadata", answers={Connect: Refusal("authorization", "no role gives it")})
    player.client(b"login alice hunter2\n")
    assert player.relay.closed is not None
    player.end()
    assert player.journal.stream(0, 0) == b"login alice ********"
    assert b"bye" in player.journal.stream(0, 1)


def test_a_log_in_that_cannot_be_recorded_admits_nobody() -> None:
    """No record, no session; and the bytes are counted as what nobody can read."""
    player = fresh()
    player.journal.refusal = JournalRefused("full", "no space")
    player.client(b"login alice hunter2\n")
    assert player.exchange.admission is None
    assert player.relay.closed is not None
    player.end()
    assert player.ended is not None
    assert player.ended["event"]["balanced"]
    assert player.ended["event"]["client"]["opaque"] == len(b"login alice ")
    assert player.relay.server == b""
