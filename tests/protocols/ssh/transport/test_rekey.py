"""New keys in a running connection: begun by either side or both, while data goes both ways."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.protocols.ssh.transport import adapter as adapter_module
from hoopproxy.protocols.ssh.transport.limits import (
    HIGH_WATER,
    REKEY_APART_SECONDS,
    REKEY_HASTY,
    REKEY_SECONDS,
    REKEY_WAIT_SECONDS,
)
from tests.producer import Producer

from .house import Pair, frame


class Counting(Pair):
    """Counts the key exchanges that the server's layer finished."""

    def start(self) -> Counting:
        super().start()
        self.clock.advance(2 * REKEY_APART_SECONDS)
        self.exchanges = 0
        take = self.up.transport.rekeyed

        class Adapter(type(self.up.transport)):  # type: ignore[misc]
            __slots__ = ()

            def rekeyed(inner) -> None:
                self.exchanges += 1
                take()

        self.up.transport.__class__ = Adapter
        return self


def payload(number: int, size: int) -> bytes:
    return bytes((94,)) + number.to_bytes(4, "big") + bytes(size)


@pytest.mark.parametrize("who", ["server", "client", "both"])
def test_either_side_begins_and_nothing_is_lost_or_reordered(who: str) -> None:
    """A long transfer rekeys many times; one byte lost or out of order would end it, or worse, not end it."""
    pair = Counting().start()
    session = pair.facts["client"].session_id
    if who != "client":
        pair.server.rekey_bytes = 150_000
    if who != "server":
        pair.client.rekey_bytes = 170_000
    chance = random.Random(7)
    up = [payload(number, chance.choice((0, 1, 100, 32_000))) for number in range(300)]
    down = [payload(number, chance.choice((0, 1, 100, 32_000))) for number in range(300)]
    for one, other in zip(up, down, strict=True):
        pair.down.transport.write(frame(one))
        pair.up.transport.write(frame(other))
        for _ in range(chance.randrange(4)):
            pair.step(pair.client_wire, pair.server_wire, chance.choice((7, 1_000, 50_000)))
            pair.step(pair.server_wire, pair.client_wire, chance.choice((7, 1_000, 50_000)))
    pair.run()
    assert pair.up.payloads == up
    assert pair.down.payloads == down
    assert pair.exchanges > 10
    assert pair.server._session_id == pair.client._session_id == session
    assert pair.server._negotiation is pair.client._negotiation is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["up", "down", "rekey up", "rekey down", "move", "pause up", "pause down", "go"]),
            st.integers(1, 70_000),
        ),
        max_size=60,
    )
)
def test_whatever_happens_around_it_everything_arrives_in_order(steps: list[tuple[str, int]]) -> None:
    """Writes, pauses, key exchanges and segments in any order: what was written is what arrives."""
    pair = Counting().start()
    up: list[bytes] = []
    down: list[bytes] = []
    for number, (what, size) in enumerate(steps):
        if what == "up":
            up.append(payload(number, size))
            pair.down.transport.write(frame(up[-1]))
        elif what == "down":
            down.append(payload(number, size))
            pair.up.transport.write(frame(down[-1]))
        elif what == "rekey up":
            pair.client.rekey()
        elif what == "rekey down":
            pair.server.rekey()
        elif what == "pause up":
            pair.up.transport.pauseProducing()
        elif what == "pause down":
            pair.down.transport.pauseProducing()
        elif what == "go":
            pair.up.transport.resumeProducing()
            pair.down.transport.resumeProducing()
        else:
            pair.clock.advance(REKEY_APART_SECONDS)
            pair.step(pair.client_wire, pair.server_wire, size)
            pair.step(pair.server_wire, pair.client_wire, size)
    pair.clock.advance(REKEY_APART_SECONDS)
    pair.up.transport.resumeProducing()
    pair.down.transport.resumeProducing()
    pair.run()
    assert pair.up.reason is None
    assert pair.up.payloads == up
    assert pair.down.payloads == down
    assert pair.up.transport.sent == pair.down.transport.received
    assert pair.down.transport.sent == pair.up.transport.received


def test_what_is_written_meanwhile_waits_with_back_pressure() -> None:
    """Without it a fast target fills the memory while a slow client agrees on keys."""
    pair = Counting().start()
    producer = Producer()
    pair.up.transport.registerProducer(producer, True)
    pair.server.rekey()
    before = pair.server_wire.writes
    pair.up.transport.write(frame(payload(1, HIGH_WATER // 2)))
    assert producer.calls == []
    pair.up.transport.write(frame(payload(2, HIGH_WATER // 2)))
    pair.up.transport.write(frame(payload(3, 10)))
    assert producer.calls == ["pause"]
    assert pair.server_wire.writes == before
    assert pair.up.transport.buffered >= HIGH_WATER
    pair.run()
    assert producer.calls == ["pause", "resume"]
    assert [each[4] for each in pair.down.payloads] == [1, 2, 3]
    assert pair.up.transport.buffered == 0


def test_a_paused_reader_does_not_stop_a_key_exchange() -> None:
    """Paused for what waits, the answer to the key exchange would never be read, and what waits would wait on."""
    pair = Counting().start()
    pair.server.rekey()
    pair.up.transport.pauseProducing()
    pair.down.transport.write(frame(payload(1, 5_000)))
    pair.up.transport.write(frame(payload(2, 5_000)))
    pair.run()
    assert pair.exchanges == 1
    assert pair.down.payloads == [payload(2, 5_000)]
    assert not pair.server_wire.reading
    assert pair.up.payloads == []
    assert pair.up.transport.received == 0
    pair.up.transport.resumeProducing()
    assert pair.up.payloads == [], "a reader is never called from its own call"
    pair.run()
    assert pair.up.payloads == [payload(1, 5_000)]
    assert pair.up.transport.received == pair.down.transport.sent


def test_what_waits_for_a_paused_reader_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that floods instead of answering would fill the memory."""
    monkeypatch.setattr(adapter_module, "HELD_BYTES", 100_000)
    pair = Counting().start()
    pair.server.rekey()
    pair.server_wire.stuck = True  # the client never hears of it
    pair.up.transport.pauseProducing()
    for number in range(30):
        pair.down.transport.write(frame(payload(number, 10_000)))
    pair.run()
    assert pair.server_wire.closing
    pair.server_wire.stuck = False
    pair.run()
    assert "more than 100,000 bytes instead of its part of a key exchange" in str(pair.up.reason)


def test_a_paused_reader_has_its_turn_before_we_begin() -> None:
    """We begin when nothing would have to be kept for a reader that doesn't read."""
    pair = Counting().start()
    pair.server.rekey_bytes = 1_000
    pair.up.transport.pauseProducing()
    pair.up.transport.write(frame(payload(1, 5_000)))
    assert not pair.server.exchanging
    pair.up.transport.resumeProducing()
    pair.up.transport.write(frame(payload(1, 5_000)))
    assert pair.server.exchanging


def test_a_peer_that_never_answers_is_cut_off() -> None:
    """Else what was written waits for ever, and the session with it."""
    pair = Counting().start()
    pair.server.rekey()
    pair.up.transport.write(frame(payload(1, 100)))
    pair.server_wire.stuck = True
    pair.run()
    pair.clock.advance(REKEY_WAIT_SECONDS)
    assert pair.server_wire.closing
    pair.server_wire.stuck = False
    pair.run()
    assert "didn't finish a key exchange within 60 s" in str(pair.up.reason)
    assert pair.up.transport.sent == 0
    assert pair.up.transport.unsent == len(frame(payload(1, 100)))


def test_keys_of_an_hour_are_replaced_when_something_passes_and_an_idle_one_has_no_timer() -> None:
    """A thousand idle sessions must not wake the process."""
    pair = Counting().start()
    pair.clock.advance(REKEY_SECONDS)
    pair.run()
    assert pair.exchanges == 0
    assert pair.clock.getDelayedCalls() == []
    pair.up.transport.write(frame(payload(1, 10)))
    pair.run()
    assert pair.exchanges == 1
    assert pair.clock.getDelayedCalls() == []
    assert pair.down.payloads == [payload(1, 10)]


def test_closing_waits_for_what_waits() -> None:
    """The last words before a close were written; a key exchange must not swallow them."""
    pair = Counting().start()
    pair.server.rekey()
    pair.up.transport.write(frame(payload(1, 10)))
    pair.up.transport.loseConnection()
    assert not pair.server_wire.closing
    pair.run()
    assert pair.down.payloads == [payload(1, 10)]
    assert pair.up.said == ["made", "lost"]


def test_half_closing_waits_for_what_waits() -> None:
    """As closing does."""
    pair = Counting().start()
    pair.server.rekey()
    pair.up.transport.write(frame(payload(1, 10)))
    pair.up.transport.loseWriteConnection()
    pair.run()
    assert pair.down.payloads == [payload(1, 10)]
    assert pair.down.said == ["made", "end"]


def test_key_exchanges_one_after_the_other_are_refused() -> None:
    """Each costs a millisecond of the processor that all sessions share."""
    pair = Counting().start()
    for _ in range(1 + REKEY_HASTY):
        pair.client.rekey()
        pair.run()
    assert pair.exchanges == 1 + REKEY_HASTY
    pair.client.rekey()
    pair.run()
    assert "one key exchange after the other" in str(pair.up.reason)


def test_strict_key_exchange_begins_to_count_again_each_time() -> None:
    """OpenSSH does, and would see a wrong MAC otherwise; without it, neither side may."""
    pair = Counting().start()
    for _ in range(300):
        pair.up.transport.write(frame(payload(1, 10)))
    pair.run()
    before = pair.server._sealer.sequence
    pair.server.rekey()
    pair.run()
    assert before > 300
    assert pair.server._sealer.sequence < 5


def test_the_state_of_a_key_exchange_goes_with_it() -> None:
    """Offers, secrets and conch's objects of a thousand idle sessions are memory for nothing."""
    pair = Pair().start()
    for layer in (pair.server, pair.client):
        assert layer._negotiation is None
        assert layer._tail is None
        assert not hasattr(layer, "__dict__")
    assert not hasattr(pair.up.transport, "__dict__")
