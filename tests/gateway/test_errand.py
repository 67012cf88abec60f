"""Bytes that another thread sends: once or not at all, in order, and never on a socket that is not theirs any more."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from random import Random
from typing import Any

import pytest
import trustme

from hoopproxy.gateway.errand import Errand
from hoopproxy.gateway.stock import uniform
from hoopproxy.gateway.tls import ClientTLS
from tests.producer import Producer

from .turns import Seen, Turned, adopt, raw_pair, take, turned


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as made:
        yield made


def elsewhere(work: Callable[[], object]) -> None:
    """On another thread, to its end."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_what_is_carried_is_sent_at_once_and_counts_when_it_is_settled(reactor: Turned) -> None:
    """The transport is as after a write, and writes on."""
    ours, theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    errand = transport.entrust(b"one")
    elsewhere(errand.carry)
    assert take(theirs) == b"one"
    assert errand.settle()
    assert (transport.sent, transport.unsent, transport.buffered) == (3, 0, 0)
    transport.write(b"two")
    assert take(theirs) == b"two"
    assert transport.entrust(b"three") is not None


def test_what_is_settled_before_is_never_sent(reactor: Turned) -> None:
    """Whoever is late finds nothing to do; and once is once."""
    ours, theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    errand = transport.entrust(b"one")
    assert not errand.settle()
    elsewhere(errand.carry)
    assert take(theirs) is None
    assert not errand.settle()
    transport.write(b"two")
    again = transport.entrust(b"three")
    elsewhere(again.carry)
    elsewhere(again.carry)
    assert again.settle()
    assert again.settle()
    assert take(theirs) == b"twothree"
    assert transport.sent == 8


def test_a_write_settles_it_first(reactor: Turned) -> None:
    """What was carried went before; what wasn't is its owner's again, who knows by the answer."""
    ours, theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    errand = transport.entrust(b"one")
    elsewhere(errand.carry)
    transport.write(b"two")
    assert errand.settle()
    other = transport.entrust(b"three")
    transport.write(b"four")
    assert not other.settle()
    elsewhere(other.carry)
    assert take(theirs) == b"onetwofour"
    assert transport.sent == 10


ENDS: dict[str, Callable[[Any], object]] = {
    "loseConnection": lambda transport: transport.loseConnection(),
    "loseWriteConnection": lambda transport: transport.loseWriteConnection(),
    "abortConnection": lambda transport: transport.abortConnection(),
    "connectionLost": lambda transport: transport._act(OSError("gone")),
}


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_whatever_ends_the_connection_settles_it_first(
    reactor: Turned, end: Callable[[Any], object], carried: bool
) -> None:
    """A descriptor that is closed may be another connection's a moment later."""
    ours, _theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    errand = transport.entrust(b"secret")
    if carried:
        elsewhere(errand.carry)
    end(transport)
    sent: list[bytes] = []
    errand._send = lambda data: (sent.append(data), len(data))[1]
    elsewhere(errand.carry)
    reactor.turn(3)
    elsewhere(errand.carry)
    assert sent == []
    assert errand.settle() is carried
    assert (transport.sent, transport.unsent) == ((6, 0) if carried else (0, 0))


@pytest.mark.parametrize("carried", [True, False])
def test_tls_begins_after_it_and_nothing_goes_past_tls(reactor: Turned, carried: bool) -> None:
    """Neither by the other thread, nor by a transport that takes itself for a plain one again."""
    ours, theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    errand = transport.entrust(b"before")
    if carried:
        elsewhere(errand.carry)
    ca = trustme.CA().cert_pem.bytes()
    transport.start_tls(ClientTLS(name="db.example", ca=ca), lambda outcome: None, clock=reactor)
    elsewhere(errand.carry)
    assert errand.settle() is carried
    transport.write(b"secret")
    assert transport.entrust(b"secret") is None
    got = take(theirs)
    assert got is not None
    assert got.startswith(b"before\x16\x03" if carried else b"\x16\x03")
    assert b"secret" not in got
    transport.abortConnection()
    reactor.turn(2)


def test_what_the_kernel_does_not_take_follows_in_order(reactor: Turned) -> None:
    """Of a large piece only the beginning is gone; the rest waits, and what is written later comes behind it."""
    ours, theirs = raw_pair(4096)
    transport = adopt(reactor, ours, Seen())
    data = Random(1).randbytes(300_000)
    errand = transport.entrust(data)
    elsewhere(errand.carry)
    assert errand.settle()
    assert 0 < transport.sent < len(data)
    assert transport.sent + transport.buffered == len(data)
    assert transport.entrust(b"no") is None
    transport.write(b"end")
    got = bytearray()
    reactor.until(lambda: (got.extend(take(theirs, 50_000) or b""), len(got) == len(data) + 3)[1])
    assert bytes(got) == data + b"end"
    reactor.turn()
    assert transport.entrust(b"yes") is not None


def test_a_full_kernel_and_a_broken_connection_are_the_transports_affair(reactor: Turned) -> None:
    """What the other thread could not send is said again as a write."""
    ours, theirs = raw_pair(4096)
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    while ours_has_room(transport):
        pass
    errand = transport.entrust(b"late")
    elsewhere(errand.carry)
    assert errand.settle()
    assert transport.buffered == 4
    theirs.close()
    reactor.until(lambda: seen.lost)
    assert transport.unsent == 4
    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    theirs.close()
    errand = transport.entrust(b"nobody")
    elsewhere(errand.carry)
    assert errand.settle()
    reactor.until(lambda: seen.lost)
    assert (transport.sent, transport.unsent) == (0, 6)


def ours_has_room(transport: Any) -> bool:
    """Fill what the kernel takes, past the transport."""
    try:
        transport.socket.send(bytes(65_536))
    except BlockingIOError:
        return False
    return True


def test_only_a_plain_transport_with_nothing_to_do_lends_its_socket(reactor: Turned) -> None:
    """Not while bytes wait, not for a producer that must be asked, not twice, not over another's socket."""
    ours, _theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    assert transport.entrust(memoryview(b"x")) is None
    errand = transport.entrust(b"x")
    assert transport.entrust(b"y") is None
    errand.settle()
    transport.registerProducer(Producer(), False)
    assert transport.entrust(b"x") is None
    other = Seen()
    uniform(other, reactor).makeConnection(Others())
    assert other.transport.entrust(b"x") is None  # type: ignore[union-attr]


class Others:
    """A transport that somebody else made."""

    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def write(self, data: bytes) -> None: ...


def test_in_a_race_all_bytes_arrive_in_order_and_once() -> None:
    """Two threads at their worst: one carries as fast as it can, the other settles, writes and closes as it likes. What
    a peer got is exactly what its transport's owner believes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    orders: SimpleQueue[Errand | None] = SimpleQueue()

    def carry() -> None:
        while (errand := orders.get()) is not None:
            errand.carry()

    carrier = threading.Thread(target=carry)
    carrier.start()
    try:
        with turned() as reactor:
            for seed in range(60):
                race(Random(seed), reactor, orders.put)
    finally:
        orders.put(None)
        carrier.join(10)
        sys.setswitchinterval(before)
    assert not carrier.is_alive()


def race(random: Random, reactor: Turned, order: Callable[[Errand], None]) -> None:
    """One connection's life; its descriptor is most likely the last one's."""
    ours, theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    expected, carried = bytearray(), 0
    for number in range(random.randint(1, 40)):
        data = b"%d;" % number
        errand = transport.entrust(data)
        assert errand is not None
        order(errand)
        for _ in range(random.choice((0, 0, 1, 30, 300))):
            pass
        if number == 39 or random.random() < 0.02:
            transport.abortConnection() if random.random() < 0.5 else transport.loseConnection()
            if errand.settle():
                expected += data
                carried += 1
            break
        if random.random() < 0.3:
            transport.write(b"w;")
            expected += data * errand.settle() + b"w;"
            carried += errand.settle()
        elif errand.settle():
            expected += data
            carried += 1
        else:
            transport.write(data)
            expected += data
    got = bytearray()
    theirs.settimeout(0)
    while True:
        try:
            piece = theirs.recv(65_536)
        except (BlockingIOError, ConnectionResetError):
            break
        if not piece:
            break
        got += piece
    assert bytes(got) == bytes(expected)
    assert transport.sent + transport.unsent == len(expected)
    transport.abortConnection()
    reactor.turn(2)
    theirs.close()
