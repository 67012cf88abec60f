"""What is lent for the time of a call: reads that cost no copy, writes from a buffer that is used again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.gateway.inside import Channel
from hoopproxy.gateway.lending import LENT_BYTES
from hoopproxy.gateway.stock import StockConnection
from hoopproxy.gateway.transport import READ_BYTES
from tests.producer import Producer

from .turns import Seen, Turned, adopt, raw_pair, take, turned


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as made:
        yield made


class Borrower(Seen):
    """Asks to be lent what arrives, and copies it as it must."""

    def __init__(self) -> None:
        super().__init__()
        self.views: list[memoryview] = []

    def connectionMade(self) -> None:
        self.transport.lend()  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        assert isinstance(data, memoryview), "a copy was made"
        self.views.append(data)
        super().dataReceived(bytes(data))


def lent(transport: object, data: bytes) -> None:
    """Write from a buffer that holds something else as soon as that returns."""
    buffer = bytearray(data)
    transport.write_lent(memoryview(buffer))  # type: ignore[attr-defined]
    buffer[:] = b"\xee" * len(buffer)


def test_what_arrives_is_lent_and_counted(reactor: Turned) -> None:
    """The saving is that no object is made; the counters are those of any read."""
    ours, theirs = raw_pair()
    seen = Borrower()
    transport = adopt(reactor, ours, seen)
    theirs.send(b"a" * 100)
    reactor.turn()
    theirs.send(b"b" * 50)
    reactor.turn()
    assert seen.chunks == [b"a" * 100, b"b" * 50]
    assert transport.received == 150
    assert seen.views[0][:50] == b"b" * 50, "both were read into one buffer"


def test_a_read_that_is_lent_takes_more_and_only_that_one(reactor: Turned) -> None:
    """A turn costs much beside what is in it; who copies what it read stays with smaller ones."""
    (ours, theirs), (usual, others) = raw_pair(4_000_000), raw_pair(4_000_000)
    borrower, plain = Borrower(), Seen()
    adopt(reactor, ours, borrower)
    adopt(reactor, usual, plain)
    for end in (theirs, others):
        with suppress(BlockingIOError):
            while True:
                end.send(bytes(65_536))
    reactor.turn()
    assert [len(each) for each in borrower.chunks] == [LENT_BYTES]
    assert [len(each) for each in plain.chunks] == [READ_BYTES]


def test_what_comes_after_the_end_is_still_read_away(reactor: Turned) -> None:
    """A closed connection gives its protocol nothing, lent or not."""
    ours, theirs = raw_pair()
    seen = Borrower()
    transport = adopt(reactor, ours, seen)
    transport.loseConnection()
    reactor.turn(2)
    theirs.send(b"late")
    reactor.turn(2)
    assert (seen.chunks, transport.received, transport.discarded) == ([], 0, 4)


def test_a_buffer_that_is_lent_goes_at_once(reactor: Turned) -> None:
    """As a write does, and nothing of it is kept."""
    ours, theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    lent(transport, b"now")
    assert take(theirs) == b"now"
    assert (transport.sent, transport.buffered) == (3, 0)


def test_too_much_at_once_slows_the_producer(reactor: Turned) -> None:
    """What the kernel doesn't take waits in memory, which is bounded by this."""
    ours, _ = raw_pair(4_096)
    transport = adopt(reactor, ours, Seen())
    producer = Producer()
    transport.registerProducer(producer, True)
    lent(transport, bytes(300_000))
    assert transport.buffered > 0
    assert producer.calls == ["pause"]


@pytest.mark.parametrize("how", ["gone", "closing"])
def test_what_never_left_is_counted(reactor: Turned, how: str) -> None:
    """The totals of a session's end balance by it."""
    ours, theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    if how == "gone":
        theirs.close()
    else:
        transport.loseConnection()
    lent(transport, bytes(1_000))
    assert (transport.sent, transport.unsent) == (0, 1_000)


@given(st.lists(st.sampled_from("wlLrt"), max_size=60))
@settings(max_examples=50, deadline=None)
def test_any_order_of_writes_and_loans_keeps_every_byte(steps: list[str]) -> None:
    """With a kernel that takes a piece of one, all of another and nothing of a third."""
    with turned() as reactor:
        ours, theirs = raw_pair(2_304)
        transport = adopt(reactor, ours, Seen())
        out, got = bytearray(), bytearray()
        for step in steps:
            if step in "wlL":
                piece = random.Random(len(out)).randbytes(9_000 if step == "L" else 100)
                out += piece
                (transport.write if step == "w" else lambda data: lent(transport, data))(piece)
            elif step == "r":
                got += take(theirs, 700) or b""
            else:
                reactor.turn()
            assert transport.sent + transport.buffered == len(out)
        reactor.until(lambda: (got.extend(take(theirs) or b""), len(got) == len(out))[1])
        assert bytes(got) == bytes(out)
        theirs.close()


@pytest.mark.parametrize("kind", [StockConnection, Channel])
def test_connections_that_own_no_socket_take_loans_too(kind: type) -> None:
    """A layer asks no connection what it is made of."""
    written: list[bytes] = []

    class Recording(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            """Only what is written matters here."""

        def write(self, data: bytes) -> None:
            written.append(data)

    connection = Recording()
    connection.lend()
    lent(connection, b"as any other")
    assert written == [b"as any other"]
