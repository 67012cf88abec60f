"""What a stream's connection counts, and how it ends: the contract of gateway.connection.Transport in stream bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import IProtocol, IPushProducer
from zope.interface import classImplementsOnly

from tests.producer import Producer

from .house import Pair, Stream, frame


class Bare(Stream):
    """A protocol that knows no half-closed connections."""


classImplementsOnly(Bare, IProtocol)
ONE = frame(b"\x50" * 100)


def test_many_payloads_are_one_write_below_and_one_read_above() -> None:
    """A system call for each packet would be most of what a session costs."""
    pair = Pair().start()
    before = pair.server_wire.writes
    pair.up.transport.writeSequence([ONE * 20, ONE])
    assert pair.server_wire.writes == before + 1
    pair.run()
    assert pair.down.chunks == [ONE * 21]


@pytest.mark.parametrize("data", [ONE[:-1], ONE + b"\0", ONE + b"\0\0\0\0", b"\0\0\0\0" + ONE, b"\0\0\0"])
def test_what_is_no_whole_payloads_is_refused(data: bytes) -> None:
    """A bug above must not become a packet of something else."""
    pair = Pair().start()
    with pytest.raises(ValueError, match="not whole framed payloads"):
        pair.up.transport.write(data)
    pair.run()
    assert pair.down.chunks == []


def test_nothing_is_nothing() -> None:
    """An empty write is legal, and no packet."""
    pair = Pair().start()
    pair.up.transport.write(b"")
    pair.run()
    assert pair.down.chunks == []
    assert pair.up.transport.sent == 0


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 3_000)), max_size=20), st.booleans())
def test_sent_and_unsent_are_exact_whenever_the_connection_ends(
    writes: list[tuple[int, int]], rekey: bool
) -> None:
    """Promise 1 is kept by these counters: each payload written has left, waits, or never left."""
    pair = Pair().start()
    adapter = pair.up.transport
    written = 0
    for number, (size, moved) in enumerate(writes):
        if rekey and number == len(writes) // 2:
            pair.server.rekey()
        adapter.write(frame(b"\x50" * size))
        written += 4 + size
        pair.step(pair.server_wire, pair.client_wire, moved or 1)
        assert adapter.sent + adapter.unsent <= written
        assert adapter.sent >= pair.down.transport.received, "what has arrived has left"
        assert adapter.buffered > 0 or adapter.sent == written
    pair.server_wire.lose()
    assert adapter.sent + adapter.unsent == written
    assert adapter.sent == pair.down.transport.received


def test_a_packet_that_left_in_part_has_not_left() -> None:
    """Nobody can open it."""
    pair = Pair().start()
    pair.up.transport.write(ONE)
    pair.up.transport.write(ONE)
    pair.step(pair.server_wire, pair.client_wire, 150)
    assert pair.up.transport.sent == len(ONE)
    assert pair.up.transport.buffered > 0
    pair.server_wire.lose()
    assert (pair.up.transport.sent, pair.up.transport.unsent) == (len(ONE), len(ONE))


def test_what_is_written_to_a_broken_connection_never_left() -> None:
    """The connection below says so by its own count."""
    pair = Pair().start()
    pair.server_wire.broken = True
    pair.up.transport.write(ONE)
    assert (pair.up.transport.sent, pair.up.transport.unsent) == (0, len(ONE))


def test_after_loseConnection_nothing_is_sent_and_what_comes_is_counted() -> None:
    """`discarded` is what the peer said to nobody."""
    pair = Pair().start()
    pair.up.transport.write(ONE)
    pair.up.transport.loseConnection()
    pair.up.transport.loseConnection()
    pair.up.transport.write(ONE)
    assert pair.up.transport.unsent == len(ONE)
    pair.down.transport.write(ONE)
    pair.run()
    assert pair.down.chunks == [ONE]
    assert pair.up.chunks == []
    assert pair.up.transport.discarded > len(ONE)
    assert pair.up.said == ["made", "lost"]


def test_a_half_close_ends_our_direction_only() -> None:
    """The peer's last words still come."""
    pair = Pair().start()
    pair.up.transport.loseWriteConnection()
    pair.up.transport.loseWriteConnection()
    pair.up.transport.write(ONE)
    pair.run()
    assert pair.down.said == ["made", "end"]
    assert pair.down.chunks == []
    assert pair.up.transport.unsent == len(ONE)
    pair.down.transport.write(ONE)
    pair.run()
    assert pair.up.chunks == [ONE]
    assert not pair.down.transport.truncated


def test_a_stream_that_ends_within_a_packet_is_truncated() -> None:
    """Whoever reads the record must know that the last message was cut."""
    pair = Pair().start()
    pair.down.transport.write(ONE)
    data = bytes(pair.client_wire.waits)
    pair.client_wire.waits.clear()
    pair.server.dataReceived(data[:-1])
    pair.server.readConnectionLost()
    assert pair.up.transport.truncated
    assert pair.up.said == ["made", "end"]
    assert pair.up.chunks == []


def test_a_stream_that_knows_no_half_close_is_closed() -> None:
    """As Twisted's own transports do."""

    pair = Pair()
    pair.up = Bare("server's")
    pair.server._stream = pair.up
    pair.start()
    pair.server.readConnectionLost()
    assert pair.up.said == ["made"]
    assert pair.server_wire.closing


def test_the_end_waits_for_what_a_paused_reader_has_not_had() -> None:
    """The end of a stream may not overtake its data."""
    pair = Pair().start()
    pair.clock.advance(10)
    pair.server.rekey()
    pair.up.transport.pauseProducing()
    pair.down.transport.write(ONE)
    pair.run()
    pair.server.readConnectionLost()
    assert pair.up.said == ["made"]
    pair.up.transport.resumeProducing()
    pair.run()
    assert pair.up.chunks == [ONE]
    assert pair.up.said == ["made", "end"]


def test_abort_is_at_once() -> None:
    """A reset: what waits never leaves."""
    pair = Pair().start()
    pair.up.transport.write(ONE)
    pair.up.transport.abortConnection()
    assert pair.up.said == ["made"], "never from within the call"
    pair.clock.advance(0)
    assert pair.up.said == ["made", "lost"]
    assert pair.up.transport.unsent == len(ONE)
    pair.up.transport.write(ONE)
    pair.up.transport.loseConnection()
    assert pair.up.transport.unsent == 2 * len(ONE)


def test_a_producer_is_told_what_the_connection_below_says() -> None:
    """Back-pressure goes through the layer."""
    pair = Pair().start()
    producer = Producer()
    pair.up.transport.registerProducer(producer, True)
    with pytest.raises(RuntimeError):
        pair.up.transport.registerProducer(Producer(), True)
    pair.server_wire.stuck = True
    pair.up.transport.write(frame(bytes((80,)) * 70_000))
    assert producer.calls == ["pause"]
    pair.server_wire.stuck = False
    pair.run()
    assert producer.calls == ["pause", "resume"]
    pair.up.transport.unregisterProducer()
    assert pair.server_wire.producer is None
    pair.up.transport.unregisterProducer()


def test_two_reasons_to_wait_are_one_pause() -> None:
    """A key exchange and a full connection: resumed when the last has gone, and only once."""
    pair = Pair().start()
    producer = Producer()
    pair.clock.advance(10)
    pair.up.transport.registerProducer(producer, True)
    pair.server.rekey()
    for _ in range(3):
        pair.up.transport.write(frame(bytes((80,)) * 60_000))
    assert producer.calls == ["pause"]
    pair.step(pair.server_wire, pair.client_wire, 100_000)
    pair.step(pair.client_wire, pair.server_wire, 100_000)
    pair.step(pair.server_wire, pair.client_wire, 100_000)
    pair.step(pair.client_wire, pair.server_wire, 100_000)
    pair.run()
    assert producer.calls in (["pause", "resume"], ["pause", "resume", "pause", "resume"])
    assert producer.calls[-1] == "resume"


def test_a_producer_hears_that_the_connection_is_gone() -> None:
    """Twisted's own: `stopProducing`, also for one that comes too late."""
    pair = Pair().start()
    pair.server_wire.lose()
    late = Producer()
    pair.up.transport.registerProducer(late, True)
    assert late.calls == ["stop"]


def test_it_says_where_it_is_connected_and_is_no_tls() -> None:
    """What a session asks of any connection."""
    pair = Pair().start()
    adapter: Any = pair.up.transport
    assert (adapter.getPeer(), adapter.getHost()) == ("peer", "host")
    assert adapter.peek() is None
    assert adapter.tls_facts() is None
    assert adapter.channel_binding() is None
    with pytest.raises(RuntimeError, match="already"):
        adapter.start_tls(None, None)
    assert IPushProducer.providedBy(adapter)
    adapter.stopProducing()
    assert pair.server_wire.closing
