"""A session that the gateway ends in the middle of a result: the client hears why, and nothing that is half ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hoopproxy.errors import JournalRefused
from hoopproxy.testing import Player
from hoopproxy.wire.commands import Refusal
from hoopproxy.wire.turn import FINISH_BYTES

from .joined import assert_accounted
from .model import split_messages
from .talk import bind, columns, complete, execute, logged_in, m, parse, query, ready, row

KILLED = Refusal("killed", "an administrator ended this session")
FULL = JournalRefused("full", "the journal's disk is full")
ROW = row(b"x" * 100)
BEHIND = complete("SELECT 1") + ready()

End = Callable[[Player], None]


def kill(player: Player) -> None:
    player.exchange.refuse(KILLED)


def break_the_protocol(player: Player) -> None:
    player.client(b"?\0\0\0\4")


def half_sent(sent: bytes = ROW[:50], mode: str = "bounded") -> Player:
    """A query whose row the client has half of."""
    player = logged_in(mode=mode)
    player.client(query("SELECT 1"))
    player.target(columns("a") + sent)
    return player


def heard(player: Player) -> list[tuple[str, bytes]]:
    """All that the client was sent; what doesn't end with a whole message is an error here."""
    return split_messages(bytes(player.relay.client))


def says(player: Player, code: str) -> bool:
    return any(kind == "E" and b"C" + code.encode() + b"\0" in body for kind, body in heard(player))


@pytest.mark.parametrize(("end", "code"), [(kill, "57P01"), (break_the_protocol, "08P01")])
@pytest.mark.parametrize("step", [1, 13, 49, 1000])
def test_the_words_come_behind_the_row_that_the_client_has_half_of(end: End, code: str, step: int) -> None:
    """Inside it they would be taken for its contents; without them a client only sees that the connection closed."""
    player = half_sent()
    before = bytes(player.relay.client)
    end(player)
    assert bytes(player.relay.client) == before
    assert player.relay.closed is None
    assert player.relay.finishes
    rest = ROW[50:] + BEHIND
    for at in range(0, len(rest), step):
        player.target(rest[at : at + step])
    assert bytes(player.relay.client[len(before) :]).startswith(ROW[50:])
    assert [kind for kind, _ in heard(player)][-2:] == ["D", "E"]
    assert says(player, code)
    assert player.relay.closed is not None
    player.end()
    assert_accounted(player)
    recorded, seen = player.journal.stream(0, 1), bytes(player.relay.client)
    assert len(recorded) == len(seen)
    assert recorded[len(before) :] == seen[len(before) :], "the recording is what the client saw"


@pytest.mark.parametrize("mode", ["bounded", "strict"])
@pytest.mark.parametrize("cut", [1, 10, 50, len(ROW), len(ROW) + 3, len(ROW + BEHIND)])
def test_the_journal_refuses_in_the_middle_of_a_row(mode: str, cut: int) -> None:
    """A full disk: the end of the row has room in the space kept for endings, and the client is told why."""
    player = half_sent(ROW[:10], mode)
    player.journal.refusal = FULL
    rest = (ROW + BEHIND)[10:]
    for part in (rest[:cut], rest[cut:]):
        if part:
            player.target(part)
    assert [kind for kind, _ in heard(player)][-1] == "E"
    assert says(player, "53100")
    end = player.end()
    assert end is not None
    assert end["event"]["balanced"]
    assert ROW in player.journal.stream(0, 1), "what the client saw of the row is in the recording"


def test_nothing_goes_on_that_no_space_at_all_is_left_for() -> None:
    """No record, no byte of the target's: then the connection closes without a word."""
    player = half_sent()
    player.journal.refusal, player.journal.reserve = FULL, False
    before = bytes(player.relay.client)
    player.target(ROW[50:] + BEHIND)
    assert bytes(player.relay.client) == before
    assert player.relay.closed is not None


@pytest.mark.parametrize(
    ("left", "waits"), [(FINISH_BYTES, True), (FINISH_BYTES + 1, False), (300 << 20, False)]
)
def test_a_message_that_is_far_from_its_end_is_not_finished(left: int, waits: bool) -> None:
    """A session that was told to end must not run on for as long as a gigabyte takes."""
    player = half_sent(b"D" + (left + 50 - 1).to_bytes(4, "big") + bytes(45))
    before = bytes(player.relay.client)
    kill(player)
    assert (player.relay.closed is None) == waits
    assert bytes(player.relay.client) == before


def test_a_target_that_stops_in_the_middle_is_not_waited_for_for_ever() -> None:
    """Its time is the relay's to measure; a target, or a client, that is gone will not come to its end."""
    ends: list[End] = [
        lambda player: player.exchange.unfinished(),
        lambda player: player.exchange.server_lost(),
        lambda player: player.exchange.client_lost(),
    ]
    for end in ends:
        player = half_sent()
        kill(player)
        before = bytes(player.relay.client)
        end(player)
        assert player.relay.closed == "killed"
        player.target(ROW[50:])
        assert bytes(player.relay.client) == before
        player.end()
        assert_accounted(player)


def test_a_target_that_breaks_the_protocol_gets_nothing_more_through() -> None:
    """What it sent last is not to be believed, so neither is its length."""
    player = half_sent()
    player.target(ROW[50:] + b"?\0\0\0\4")
    assert says(player, "08P01")
    player.end()
    assert_accounted(player)


def test_a_target_that_closes_inside_a_row_ends_the_session_at_once() -> None:
    """The rest of it will not come."""
    player = half_sent()
    player.exchange.server_lost()
    assert player.relay.closed is not None
    assert not player.relay.finishes


def test_words_between_two_messages_come_at_once() -> None:
    """Nothing is to be finished there."""
    player = logged_in(mode="bounded")
    player.client(parse("SELECT 1") + bind() + execute())
    player.target(m("1") + m("2") + ROW)
    kill(player)
    assert says(player, "57P01")
    assert player.relay.closed == "killed"
    player.end()
    assert_accounted(player)


def test_what_was_not_recorded_and_not_sent_is_on_record_as_that() -> None:
    """Decoded means: in the recording. The rest of a chunk that the journal refused is not."""
    player = half_sent()
    player.journal.refusal, player.journal.reserve = FULL, False
    player.target(ROW[50:] + BEHIND)
    player.journal.refusal = None
    end = player.end()
    assert end is not None
    assert end["event"]["balanced"]
    assert end["event"]["target"]["opaque"] == len(ROW[50:] + BEHIND)
