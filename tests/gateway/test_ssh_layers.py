"""SSH's layers over the gateway's own transports: counters, back-pressure and ends with real sockets below."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from hoopproxy.gateway.stock import uniform
from hoopproxy.protocols.ssh.transport import ClientLayer, ServerLayer
from tests.protocols.ssh.transport.house import Stream, frame, host_key

from .turns import Turned, adopt, turned


class Ends:
    """A server's and a client's layer with a socket pair between them."""

    def __init__(self, reactor: Turned) -> None:
        self.reactor = reactor
        self.up, self.down = Stream("server's"), Stream("client's")
        self.server = ServerLayer(self.up, (host_key(),), lambda leg, facts: None)
        self.client = ClientLayer(self.down, lambda algorithm, blob: None, lambda leg, facts: None)
        self.client.ready.addErrback(lambda failure: None)
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        self.server_wire: Any = adopt(reactor, ours, uniform(self.server, reactor))
        self.client_wire: Any = adopt(reactor, theirs, uniform(self.client, reactor))
        reactor.until(lambda: self.up.transport and self.down.transport)


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as made:
        yield made


class Holding:
    """A producer that heeds what it is told."""

    def __init__(self) -> None:
        self.paused = False
        self.pauses = 0

    def pauseProducing(self) -> None:
        assert not self.paused
        self.paused = True
        self.pauses += 1

    def resumeProducing(self) -> None:
        assert self.paused
        self.paused = False

    def stopProducing(self) -> None:
        self.paused = True


def test_a_long_transfer_both_ways_with_new_keys_and_back_pressure(reactor: Turned) -> None:
    """Kernel buffers that fill, keys that change, readers that pause: all of it arrives, and all of it is counted."""
    ends = Ends(reactor)
    reactor.pass_time(2)
    ends.server.rekey_bytes, ends.client.rekey_bytes = 700_000, 900_000
    chance = random.Random(3)
    sides: list[tuple[Any, Holding, list[bytes]]] = []
    for stream in (ends.up, ends.down):
        holding = Holding()
        stream.transport.registerProducer(holding, True)
        sides.append((stream, holding, []))
    for number in range(400):
        for stream, holding, said in sides:
            if not holding.paused:
                payload = bytes((94,)) + number.to_bytes(4, "big") + bytes(chance.choice((1, 200, 32_768)))
                said.append(payload)
                stream.transport.write(frame(payload))
            if chance.random() < 0.1:
                stream.transport.pauseProducing()
            elif chance.random() < 0.5:
                stream.transport.resumeProducing()
        reactor.turn()
    for stream, _, _ in sides:
        stream.transport.resumeProducing()
    wanted = sum(len(frame(payload)) for _, _, said in sides for payload in said)
    reactor.until(lambda: ends.up.transport.received + ends.down.transport.received == wanted)
    assert ends.up.payloads == sides[1][2]
    assert ends.down.payloads == sides[0][2]
    assert ends.up.transport.sent == ends.down.transport.received
    assert ends.down.transport.sent == ends.up.transport.received
    assert ends.up.transport.buffered == 0
    assert any(holding.pauses for _, holding, _ in sides)
    assert ends.up.reason is None


def test_what_was_not_read_when_it_broke_is_counted_as_unsent(reactor: Turned) -> None:
    """What the kernel took has left; the rest never did."""
    ends = Ends(reactor)
    ends.down.transport.pauseProducing()
    one = frame(b"\x5e" * 30_000)
    for _ in range(40):
        ends.up.transport.write(one)
    reactor.turn(3)
    adapter = ends.up.transport
    assert 0 < adapter.sent < 40 * len(one)
    assert adapter.sent % len(one) == 0
    ends.client_wire.abortConnection()
    reactor.until(lambda: "lost" in ends.up.said)
    assert adapter.sent + adapter.unsent == 40 * len(one)


def test_the_last_words_arrive_and_then_the_end(reactor: Turned) -> None:
    """A refusal is written and the connection closed at once: the peer must read it."""
    ends = Ends(reactor)
    one = frame(b"\x5e" * 30_000)
    for _ in range(20):
        ends.up.transport.write(one)
    ends.up.transport.loseConnection()
    reactor.until(lambda: "end" in ends.down.said or "lost" in ends.down.said)
    assert ends.down.data == one * 20
    ends.down.transport.loseConnection()
    reactor.until(lambda: "lost" in ends.up.said and "lost" in ends.down.said)
    assert ends.up.transport.sent == 20 * len(one)


def test_a_half_closed_client_still_reads(reactor: Turned) -> None:
    """As with every other protocol."""
    ends = Ends(reactor)
    ends.down.transport.loseWriteConnection()
    reactor.until(lambda: "end" in ends.up.said)
    ends.up.transport.write(frame(b"\x5elast"))
    reactor.until(lambda: ends.down.chunks)
    assert ends.down.payloads == [b"\x5elast"]


def test_a_peer_that_breaks_the_rules_is_told_and_closed(reactor: Turned) -> None:
    """The DISCONNECT gets out before the end."""
    ends = Ends(reactor)
    ends.client._say(b"\x15")
    reactor.until(lambda: "lost" in ends.up.said)
    assert "NEWKEYS has no place here" in str(ends.up.reason)
    assert b"NEWKEYS has no place here" in ends.down.data
