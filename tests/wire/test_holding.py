"""A frame of the client that can't be met before the target has said something."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.testing import Player
from hoopproxy.wire.commands import HOLD, RELEASE, WITHHOLD
from hoopproxy.wire.conversation import Commands
from hoopproxy.wire.frames import Frame

from .lines import Talk, built


class Waits(Talk):
    """``after N LINE`` is met when the target has said ``free`` N times; ``free`` does not go on."""

    def __init__(self) -> None:
        super().__init__()
        self.free = 0

    def client_frame(self, frame: Frame) -> Commands:
        word, _, rest = (frame.body or b"").partition(b" ")
        if word == b"after" and self.free < int(rest.split()[0]):
            return [HOLD]
        return super().client_frame(frame)

    def server_frame(self, frame: Frame) -> Commands:
        if frame.body == b"free":
            self.free += 1
            return [WITHHOLD, RELEASE]
        return super().server_frame(frame)


def waiting() -> Player:
    client, server, _ = built()
    player = Player((client, server, Waits()))
    player.exchange.open()
    player.client(b"login alice hunter2\n")
    player.target(b"welcome\n")
    return player


def went(player: Player) -> bytes:
    """What the target got after the log-in."""
    return bytes(player.relay.server)[BEFORE:]


BEFORE_CLIENT = len(b"login alice hunter2\n")
BEFORE = len(waiting().relay.server)
SENT = b"get a\nafter 2 b\nget c\nafter 3 d\nget e\n"


@given(st.lists(st.integers(1, 30), max_size=12))
def test_what_is_held_and_what_follows_it_goes_on_in_order_when_it_is_released(cuts: list[int]) -> None:
    """However it is cut: a frame that is shown twice must not be recorded, counted or sent twice."""
    player, left = waiting(), SENT
    for cut in cuts:
        player.client(left[:cut])
        left = left[cut:]
    player.client(left)
    steps = [SENT[:6], SENT[:6], SENT[: SENT.index(b"after 3")], SENT]
    for number, there in enumerate(steps):
        assert went(player) == there, number
        player.target(b"free\n")
    player.end()
    assert player.ended is not None
    assert player.ended["event"]["balanced"]
    assert player.journal.stream(0, 0).endswith(SENT)
    asked = [each["event"]["range"] for each in player.journal.of("command.requested")]
    assert len(asked) == 5
    assert all(one[1] == other[0] for one, other in itertools.pairwise(asked))


def test_the_client_is_not_read_while_its_frame_is_held_and_the_target_is() -> None:
    """So nobody fills the memory, and what is waited for can come."""
    player = waiting()
    player.client(b"after 1 a\n")
    player.client(b"get b\n")
    assert player.relay.paused["client"] == {"question"}
    before = len(player.relay.client)
    player.target(b"one\nfree\n")
    assert player.relay.client[before:] == b"one\n"
    assert player.relay.paused["client"] == set()
    assert went(player) == b"after 1 a\nget b\n"


def test_what_a_client_said_before_it_left_goes_on_when_its_frame_is_released() -> None:
    """Without a gateway the target would have had it all along. Then the session ends as ever."""
    player = waiting()
    player.client(b"get a\nafter 1 b\nget c\n")
    player.exchange.client_lost()
    assert player.relay.closed is None
    assert player.exchange.finishing
    assert player.exchange.waits
    player.target(b"free\n")
    assert went(player) == b"get a\nafter 1 b\nget c\n"
    assert player.relay.closed == "client closed"
    assert not player.exchange.waits
    player.end()
    assert player.ended is not None
    assert player.ended["event"]["balanced"]


def test_a_client_that_left_is_not_waited_for_when_the_target_is_gone_too() -> None:
    """What was held is on record as what never went on."""
    player = waiting()
    player.client(b"after 1 a\n")
    player.exchange.client_lost()
    player.exchange.server_lost()
    assert player.relay.closed == "target closed"
    player.end()
    assert player.ended is not None
    assert player.ended["event"]["balanced"]
    assert went(player) == b""
    (opaque,) = player.journal.of("session.opaque")
    assert opaque["event"]["range"] == [BEFORE_CLIENT, BEFORE_CLIENT + len(b"after 1 a\n")]


def test_a_release_of_nothing_is_nothing() -> None:
    """The target decides when it says such a thing."""
    player = waiting()
    player.target(b"free\n")
    player.client(b"get a\n")
    assert went(player) == b"get a\n"
