"""The eager transport on real loopback TCP: what socket pairs can't show."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory

from hoopproxy.gateway.stock import uniform
from hoopproxy.gateway.transport import EagerConnection
from tests.gateway.test_tls import CLIENT, SERVER
from tests.gateway.turns import HalfSeen, Seen, Turned, turned

pytestmark = pytest.mark.live


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as made:
        yield made


def listen(reactor: Turned, address: str, protocol: Any) -> Any:
    """A port of the system's choice on a loopback address, by its endpoint string."""
    kind = "tcp6" if ":" in address else "tcp"
    escaped = address.replace(":", r"\:")
    made: list[Any] = []
    endpoint = serverFromString(reactor, f"{kind}:0:interface={escaped}")
    endpoint.listen(Factory.forProtocol(lambda: uniform(protocol, reactor))).addCallback(made.append)
    return made[0]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_endpoint_strings_give_eager_tcp_with_addresses_and_no_delay(reactor: Turned, address: str) -> None:
    """IPv4 and IPv6, both ends."""
    heard, answered = Seen(), Seen()
    port = listen(reactor, address, heard)
    host = address.replace(":", r"\:")
    number = port.getHost().port
    clientFromString(reactor, f"tcp:{host}:{number}").connect(
        Factory.forProtocol(lambda: uniform(answered, reactor))
    )
    reactor.until(lambda: heard.connected and answered.connected)
    for seen in (heard, answered):
        assert isinstance(seen.transport, EagerConnection)
        assert seen.transport.getTcpNoDelay()
        assert seen.transport.protocol is seen
    assert answered.transport.getPeer() == heard.transport.getHost() == port.getHost()
    assert heard.transport.getPeer() == answered.transport.getHost()
    outcomes: list[Any] = []
    heard.transport.start_tls(SERVER, outcomes.append)
    answered.transport.start_tls(CLIENT, outcomes.append)
    reactor.until(lambda: len(outcomes) == 2)
    answered.transport.write(bytes(3_000_000))
    answered.transport.loseConnection()
    reactor.until(lambda: heard.lost and answered.lost)
    assert len(heard.data) == 3_000_000
    assert not heard.transport.truncated
    port.stopListening()
    reactor.turn(2)


class Caring(Factory):
    """Somebody else's factory, with something to do when its last connection is over."""

    stopped = 0

    def stopFactory(self) -> None:
        self.stopped += 1


@pytest.mark.parametrize("kind", [Factory, Caring])
def test_a_dialled_connection_keeps_nothing_of_how_it_was_dialled(
    reactor: Turned, kind: type[Factory]
) -> None:
    """An idle session would keep a connector, two factories and a Deferred; but who waits for the end is told."""
    heard, answered = HalfSeen(), HalfSeen()
    port = listen(reactor, "127.0.0.1", heard)
    factory = kind()
    factory.buildProtocol = lambda _: uniform(answered, reactor)  # type: ignore[method-assign]
    endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{port.getHost().port}")
    endpoint.connect(factory)
    reactor.until(lambda: heard.connected and answered.connected)
    transport = answered.transport
    assert hasattr(transport.connector, "factory") == (kind is Caring)
    assert getattr(factory, "stopped", 0) == 0
    assert transport.fileno() == transport.socket.fileno()
    assert "127.0.0.1" in repr(heard.transport)
    assert heard.transport.logPrefix() == "EagerTCPServer"
    heard.transport.loseConnection()
    answered.transport.loseConnection()
    reactor.until(lambda: heard.lost and answered.lost)
    assert transport.fileno() == -1
    assert getattr(factory, "stopped", 1) == 1
    port.stopListening()
    reactor.turn(2)


def test_a_reset_is_a_loss_not_an_end(reactor: Turned) -> None:
    """A client that dies is told from one that leaves."""
    seen = HalfSeen()
    port = listen(reactor, "127.0.0.1", seen)
    peer = socket.create_connection(("127.0.0.1", port.getHost().port))
    reactor.until(lambda: seen.connected)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    reactor.until(lambda: seen.lost)
    assert seen.log == [("lost", "ConnectionLost")]
    port.stopListening()
    reactor.turn(2)


def test_our_last_words_arrive_though_the_peer_has_sent_more_than_we_read(reactor: Turned) -> None:
    """Closing over unread bytes resets the connection, and the refusal with it."""
    seen = Seen()
    port = listen(reactor, "127.0.0.1", seen)
    peer = socket.create_connection(("127.0.0.1", port.getHost().port))
    reactor.until(lambda: seen.connected)
    seen.transport.pauseProducing()
    peer.sendall(b"SELECT 1;" * 10_000)
    reactor.turn(3)
    seen.transport.write(b"FATAL: you may not")
    seen.transport.loseConnection()
    reactor.turn(3)
    peer.sendall(b"SELECT 1;" * 10_000)
    reactor.turn(3)
    peer.settimeout(5)
    assert peer.recv(1000) == b"FATAL: you may not"
    assert peer.recv(1000) == b""
    peer.close()
    reactor.until(lambda: seen.lost)
    assert seen.lost == "ConnectionDone"
    assert seen.transport.received + seen.transport.discarded == 180_000
    port.stopListening()
    reactor.turn(2)


def test_a_handed_over_tcp_listener_is_eager(reactor: Turned) -> None:
    """`systemd:domain=INET:index=0` goes this way."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    seen = Seen()
    port = reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, Factory.forProtocol(lambda: seen))
    peer = socket.create_connection(listening.getsockname())
    reactor.until(lambda: seen.connected)
    assert isinstance(seen.transport, EagerConnection)
    peer.close()
    reactor.until(lambda: seen.lost)
    port.stopListening()
    reactor.turn(2)
    listening.close()
