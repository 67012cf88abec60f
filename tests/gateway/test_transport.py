"""The eager transport on socket pairs: order, bounds, pauses, endings. TLS over it is in test_tls."""

from __future__ import annotations

import gc
import random
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import IHalfCloseableDescriptor, ITCPTransport, ITransport

from hoopproxy.gateway import transport as module
from hoopproxy.gateway.ending import FLUSH_SECONDS, LINGER_SECONDS
from hoopproxy.gateway.stock import uniform
from hoopproxy.gateway.transport import HIGH_WATER, LOW_WATER, READ_BYTES
from tests.producer import Producer

from .turns import HalfSeen, Seen, Turned, adopt, raw_pair, take, turned


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as made:
        yield made


def test_write_sends_before_it_returns(reactor: Turned) -> None:
    """The whole point: no turn of the reactor between a write and the wire."""
    ours, theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    transport.write(b"now")
    assert take(theirs) == b"now"
    assert (transport.sent, transport.buffered) == (3, 0)
    assert transport not in reactor.getWriters()


def test_it_gives_what_twisted_promises(reactor: Turned) -> None:
    """Endpoints and third parties look for these."""
    ours, theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    for interface in (ITransport, ITCPTransport, IHalfCloseableDescriptor):
        assert interface.providedBy(transport)
    with pytest.raises(TypeError):
        transport.write("text")
    with pytest.raises(RuntimeError, match="start_tls"):
        transport.startTLS(None)
    transport.write(b"")
    assert take(theirs) is None


def test_what_the_kernel_does_not_take_waits_and_goes_in_order(reactor: Turned) -> None:
    """A short send must neither lose, repeat nor reorder a byte."""
    ours, theirs = raw_pair(4096)
    transport = adopt(reactor, ours, Seen())
    pieces = [bytes([index % 251]) * (index * 37 % 5000) for index in range(300)]
    for piece in pieces:
        transport.write(piece)
    assert transport.buffered > 0
    assert transport.sent + transport.buffered == sum(map(len, pieces))
    got = bytearray()
    reactor.until(lambda: (got.extend(take(theirs, 777) or b""), len(got) == sum(map(len, pieces)))[1])
    assert bytes(got) == b"".join(pieces)
    assert (transport.buffered, transport.sent) == (0, len(got))
    reactor.turn()
    assert transport not in reactor.getWriters()


def test_queued_data_is_kept_as_references_not_copies(reactor: Turned) -> None:
    """Concatenating a queue is quadratic, and doubles the memory of a slow reader's session."""
    ours, theirs = raw_pair(4096)
    transport = adopt(reactor, ours, Seen())
    transport.write(bytes(300_000))
    block = bytes(1_000_000)
    gc.collect()
    tracemalloc.start()
    for _ in range(50):
        transport.write(block)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert transport.buffered > 50_000_000
    assert used < 100_000
    theirs.close()


def test_one_read_is_one_object_and_is_counted(reactor: Turned) -> None:
    """Everybody downstream shares that one object."""
    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    theirs.send(b"a" * 100)
    theirs.send(b"b" * 100)
    reactor.turn()
    assert seen.chunks == [b"a" * 100 + b"b" * 100]
    assert type(seen.chunks[0]) is bytes
    assert transport.received == 200


def test_the_shared_buffer_never_leaves_the_read(reactor: Turned) -> None:
    """Two sessions read through one buffer; a slow writer still holds the first one's bytes."""
    (ours1, theirs1), (ours2, theirs2) = raw_pair(), raw_pair()
    (out, slow) = raw_pair(4096)
    target = adopt(reactor, out, Seen())
    first, second = Seen(), Seen()
    first.react = target.write
    adopt(reactor, ours1, first)
    adopt(reactor, ours2, second)
    message = random.Random(1).randbytes(200_000)
    sent = 0
    while sent < len(message):
        sent += theirs1.send(message[sent : sent + 50_000])
        reactor.turn()
        theirs2.send(b"\xee" * 50_000)
        reactor.turn()
    got = bytearray()
    reactor.until(lambda: (got.extend(take(slow, 1000) or b""), len(got) == len(message))[1])
    assert bytes(got) == message == first.data
    assert set(second.data) == {0xEE}


def test_one_connection_that_floods_does_not_starve_another(reactor: Turned) -> None:
    """At most one buffer's worth is read from each in a turn."""
    (ours1, theirs1), (ours2, theirs2) = raw_pair(4_000_000), raw_pair()
    first, second = Seen(), Seen()
    adopt(reactor, ours1, first)
    adopt(reactor, ours2, second)
    while True:
        try:
            theirs1.send(bytes(65536))
        except BlockingIOError:
            break
    theirs2.send(b"me too")
    reactor.turn()
    assert second.data == b"me too"
    assert max(map(len, first.chunks)) <= READ_BYTES
    assert len(first.chunks) <= 1


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_interleaving_of_short_sends_and_reads_keeps_every_byte(data: st.DataObject) -> None:
    """Both directions, small kernel buffers, pauses at any moment."""
    with turned() as reactor:
        ours, theirs = raw_pair(2304)
        seen = Seen()
        transport = adopt(reactor, ours, seen)
        out, got, said = bytearray(), bytearray(), bytearray()
        for step in data.draw(st.lists(st.sampled_from("wWrsSpu."), max_size=60)):
            if step in "wW":
                piece = random.Random(len(out)).randbytes(1 if step == "w" else 9000)
                out += piece
                transport.write(piece)
            elif step == "r":
                got += take(theirs, 700) or b""
            elif step in "sS":
                piece = random.Random(len(said)).randbytes(1 if step == "s" else 5000)
                with suppress(BlockingIOError):
                    said += piece[: theirs.send(piece)]
            elif step == "p":
                transport.pauseProducing()
                before = len(seen.data)
                reactor.turn()
                assert len(seen.data) == before
            elif step == "u":
                transport.resumeProducing()
            else:
                reactor.turn()
            assert transport.sent + transport.buffered == len(out)
            assert transport.received == len(seen.data)
        transport.resumeProducing()
        reactor.until(
            lambda: (got.extend(take(theirs) or b""), len(got) == len(out) and len(seen.data) == len(said))[1]
        )
        assert (bytes(got), seen.data) == (bytes(out), bytes(said))
        theirs.close()


def test_a_producer_is_paused_at_high_water_and_resumed_at_low(reactor: Turned) -> None:
    """A slow reader costs HIGH_WATER and what the producer had in hand, not more."""
    ours, theirs = raw_pair(4096)
    transport = adopt(reactor, ours, Seen())
    producer = Producer()
    transport.registerProducer(producer, True)
    while transport.buffered <= HIGH_WATER:
        assert producer.calls == []
        transport.write(bytes(8000))
    assert producer.calls == ["pause"]
    transport.write(bytes(8000))
    assert producer.calls == ["pause"]
    while producer.calls == ["pause"]:
        take(theirs, 4000)
        reactor.turn()
    assert producer.calls == ["pause", "resume"]
    assert transport.buffered <= LOW_WATER


def test_a_producer_registered_over_a_full_buffer_is_paused_at_once(reactor: Turned) -> None:
    """Otherwise it would learn of the full buffer only by making it fuller."""
    ours, _theirs = raw_pair(4096)
    transport = adopt(reactor, ours, Seen())
    transport.write(bytes(300_000))
    producer = Producer()
    transport.registerProducer(producer, True)
    assert producer.calls == ["pause"]
    with pytest.raises(RuntimeError):
        transport.registerProducer(Producer(), True)


def test_a_pull_producer_is_asked_until_it_is_done(reactor: Turned) -> None:
    """Twisted's own file senders are of this kind."""
    ours, theirs = raw_pair()
    transport = adopt(reactor, ours, Seen())
    left = [b"a", b"b", b"c"]

    class Pull(Producer):
        def resumeProducing(self) -> None:
            if left:
                transport.write(left.pop(0))
            else:
                transport.unregisterProducer()

    transport.registerProducer(Pull(), False)
    reactor.turn(6)
    assert take(theirs) == b"abc"
    assert transport not in reactor.getWriters()


def test_a_slow_reader_of_a_fast_source_costs_bounded_memory(reactor: Turned) -> None:
    """A relay of two: the source is paused long before its data fills this process."""
    (ours_in, source), (ours_out, slow) = raw_pair(100_000), raw_pair(4096)
    inward, outward = Seen(), Seen()
    reading = adopt(reactor, ours_in, inward)
    writing = adopt(reactor, ours_out, outward)
    inward.react = writing.write
    writing.registerProducer(reading, True)
    most = 0
    for _ in range(300):
        with suppress(BlockingIOError):
            source.send(bytes(65536))
        reactor.turn()
        most = max(most, writing.buffered)
    assert HIGH_WATER < most <= HIGH_WATER + READ_BYTES
    take(slow)


# Endings


def test_lose_connection_sends_what_is_buffered_first(reactor: Turned) -> None:
    """A refusal's words must arrive before the end."""
    ours, theirs = raw_pair(4096)
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    transport.write(b"x" * 100_000)
    transport.loseConnection()
    transport.write(b"too late")
    got = bytearray()
    reactor.until(lambda: (got.extend(take(theirs) or b""), len(got) == 100_000)[1])
    reactor.turn(2)
    assert take(theirs) == b""
    assert seen.lost is None  # the peer hasn't closed yet
    theirs.close()
    reactor.turn(2)
    assert seen.lost == "ConnectionDone"
    assert bytes(got) == b"x" * 100_000


@pytest.mark.parametrize("streaming_paused", [True, False])
def test_lose_connection_closes_with_a_producer_still_registered(
    reactor: Turned, streaming_paused: bool
) -> None:
    """Twisted's never would, and the session would leak."""
    ours, theirs = raw_pair(4096)
    seen, producer = Seen(), Producer()
    transport = adopt(reactor, ours, seen)
    transport.registerProducer(producer, True)
    if streaming_paused:
        transport.write(bytes(100_000))
    transport.loseConnection()
    reactor.until(lambda: take(theirs) == b"")
    theirs.close()
    reactor.turn(3)
    assert seen.lost == "ConnectionDone"
    assert producer.calls[-1] == "stop"
    assert "resume" not in producer.calls


def test_bytes_that_come_after_lose_connection_are_read_away_and_counted(reactor: Turned) -> None:
    """Unread bytes at close turn the end into a reset, and the peer loses our last words."""
    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    theirs.send(b"pipelined")
    transport.write(b"FATAL")
    transport.loseConnection()
    reactor.turn(2)
    theirs.send(b" and more")
    reactor.turn(2)
    assert (seen.data, transport.received, transport.discarded) == (b"", 0, 18)
    assert take(theirs) == b"FATAL"
    theirs.close()
    reactor.turn(2)
    assert seen.lost == "ConnectionDone"


def test_a_peer_that_never_closes_is_closed_after_the_linger_time(reactor: Turned) -> None:
    """Half-open connections must not pile up."""
    ours, _theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    transport.loseConnection()
    reactor.turn(2)
    reactor.pass_time(LINGER_SECONDS - 0.1)
    assert seen.lost is None
    reactor.pass_time(0.2)
    assert seen.lost == "ConnectionDone"


def test_a_peer_that_never_reads_is_cut_off_after_the_flush_time(reactor: Turned) -> None:
    """Otherwise it would hold its buffer and its place for ever."""
    ours, _theirs = raw_pair(4096)
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    transport.write(bytes(500_000))
    transport.loseConnection()
    reactor.pass_time(FLUSH_SECONDS + 1)
    assert seen.lost == "ConnectionAborted"
    assert transport.buffered > 0  # never left, and is not counted as sent
    assert transport.sent + transport.buffered == 500_000


def test_a_peer_that_floods_a_closing_connection_is_closed(
    reactor: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lingering is for the peer's sake, not for its use."""
    monkeypatch.setattr(module, "LINGER_BYTES", 10_000)
    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    transport.loseConnection()
    reactor.turn(2)
    theirs.send(bytes(20_000))
    reactor.turn(2)
    assert seen.lost == "ConnectionDone"


def test_the_peers_end_is_reported_and_closes_a_protocol_without_half_close(reactor: Turned) -> None:
    """Zero bytes read is the end, not an empty message."""
    ours, theirs = raw_pair()
    seen = Seen()
    adopt(reactor, ours, seen)
    theirs.send(b"last")
    theirs.close()
    reactor.turn(3)
    assert (seen.data, seen.lost) == (b"last", "ConnectionDone")
    assert b"" not in seen.chunks


def test_half_close_by_the_peer_leaves_our_direction_open(reactor: Turned) -> None:
    """A client that says all it has to say and shuts down still wants its answers."""
    ours, theirs = raw_pair()
    seen = HalfSeen()
    transport = adopt(reactor, ours, seen)
    theirs.send(b"question")
    theirs.shutdown(socket.SHUT_WR)
    reactor.turn(3)
    assert (seen.data, seen.log) == (b"question", ["read ended"])
    transport.write(b"answer")
    assert take(theirs) == b"answer"
    transport.pauseProducing()
    transport.resumeProducing()
    reactor.turn(3)
    assert seen.log == ["read ended"]  # the end is said once
    transport.loseConnection()
    reactor.turn(2)
    assert (seen.lost, take(theirs)) == ("ConnectionDone", b"")


def test_half_close_by_us_waits_for_the_buffer_and_leaves_theirs_open(reactor: Turned) -> None:
    """The end of a stream must not overtake its data."""
    ours, theirs = raw_pair(4096)
    seen = HalfSeen()
    transport = adopt(reactor, ours, seen)
    transport.write(bytes(50_000))
    transport.loseWriteConnection()
    transport.write(b"not any more")
    got = bytearray()
    reactor.until(lambda: (got.extend(take(theirs) or b""), "write ended" in seen.log)[1])
    reactor.until(lambda: take(theirs) == b"" or got.extend(b""))
    theirs.send(b"reply")
    reactor.turn(2)
    assert seen.data == b"reply"
    theirs.close()
    reactor.turn(2)
    assert seen.log == ["write ended", "read ended"]
    transport.loseConnection()
    reactor.turn(2)
    assert seen.lost == "ConnectionDone"


def test_a_write_to_a_dead_peer_reports_in_the_next_turn_never_inside_write(reactor: Turned) -> None:
    """A protocol that loses its transport in the middle of a write is a protocol with a hole."""
    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    theirs.close()
    transport.write(b"into the void")
    transport.write(b"again")
    assert seen.log == []
    reactor.turn(2)
    assert len(seen.log) == 1
    assert transport.sent == 0


def test_a_write_to_a_dead_peer_still_delivers_its_last_words(reactor: Turned) -> None:
    """A server that says why before it goes must be heard, and be on record."""
    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    theirs.send(b"FATAL: terminating connection")
    theirs.close()
    transport.write(b"SELECT 1")
    reactor.turn(2)
    assert seen.data == b"FATAL: terminating connection"
    assert seen.lost is not None


def test_a_dead_peer_is_noticed_while_a_queue_waits(reactor: Turned) -> None:
    """The queue's bytes never left, and the totals say so."""
    ours, theirs = raw_pair(4096)
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    transport.write(bytes(200_000))
    transport.pauseProducing()
    theirs.close()
    reactor.turn(4)
    assert seen.lost == "ConnectionLost"
    assert transport.sent + transport.buffered == 200_000


@pytest.mark.parametrize("ending", ["peer", "abort", "lose", "flush"])
@pytest.mark.parametrize("size", [1, 40_000, 400_000])
def test_what_was_written_is_sent_or_unsent_when_the_connection_is_lost(
    reactor: Turned, ending: str, size: int
) -> None:
    """The session's end balances its totals from these two."""
    ours, theirs = raw_pair(4096)
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    transport.write(bytes(size))
    if ending == "abort":
        transport.abortConnection()
    elif ending in {"lose", "flush"}:
        transport.loseConnection()
    if ending != "flush":
        theirs.close()
    transport.write(bytes(size))
    reactor.turn(4)
    reactor.pass_time(FLUSH_SECONDS + 1)
    transport.write(bytes(size))
    reactor.turn(4)
    assert seen.lost is not None
    assert transport.sent + transport.unsent == 3 * size


def test_abort_is_reported_in_the_next_turn_and_delivers_nothing_more(reactor: Turned) -> None:
    """Abort is the answer to a violation: not one more byte is looked at."""
    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    theirs.send(b"more")
    transport.abortConnection()
    transport.write(b"nothing")
    transport.resumeProducing()
    assert seen.log == []
    reactor.turn(3)
    assert (seen.data, seen.lost) == (b"", "ConnectionAborted")
    with pytest.raises(ConnectionResetError):
        take(theirs)


def test_closing_again_in_any_order_is_harmless(reactor: Turned) -> None:
    """Both legs of a session close each other."""
    for first, second in [("loseConnection", "abortConnection"), ("abortConnection", "loseConnection")]:
        ours, theirs = raw_pair()
        seen = Seen()
        transport = adopt(reactor, ours, seen)
        getattr(transport, first)()
        getattr(transport, second)()
        transport.loseWriteConnection()
        theirs.close()
        reactor.turn(4)
        transport.loseConnection()
        transport.abortConnection()
        transport.write(b"x")
        reactor.turn(2)
        assert len(seen.log) == 1


def test_no_data_comes_while_paused_even_in_the_round_that_paused(reactor: Turned) -> None:
    """An event that was already fetched must not slip through a pause."""
    pairs = [raw_pair(), raw_pair()]
    protocols = [Seen(), Seen()]
    transports = [adopt(reactor, ours, seen) for (ours, _), seen in zip(pairs, protocols, strict=True)]
    protocols[0].react = lambda _: transports[1].pauseProducing()
    protocols[1].react = lambda _: transports[0].pauseProducing()
    for transport, (_, theirs) in zip(transports, pairs, strict=True):
        transport.startWriting()  # so that both stay registered when they are paused
        theirs.send(b"x")
    reactor.turn(1)
    assert [seen.data for seen in protocols].count(b"x") == 1


def test_peek_leaves_the_bytes_where_they_are(reactor: Turned) -> None:
    """Direct TLS is told by its first byte, before anything is read."""
    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    assert transport.peek() is None
    theirs.send(b"\x16\x03\x01")
    assert transport.peek() == b"\x16"
    assert transport.peek(3) == b"\x16\x03\x01"
    assert transport.received == 0
    reactor.turn()
    assert seen.data == b"\x16\x03\x01"


def test_a_protocols_bug_costs_its_own_connection_only(reactor: Turned) -> None:
    """One bad session must not stop the others."""
    (ours1, theirs1), (ours2, theirs2) = raw_pair(), raw_pair()
    bad, good = Seen(), Seen()

    def fail(data: bytes) -> None:
        raise ZeroDivisionError

    bad.react = fail
    adopt(reactor, ours1, bad)
    adopt(reactor, ours2, good)
    theirs1.send(b"x")
    theirs2.send(b"y")
    reactor.turn(2)
    assert bad.lost == "ZeroDivisionError"
    assert (good.data, good.lost) == (b"y", None)


def test_a_connection_is_freed_when_it_is_lost(reactor: Turned) -> None:
    """A cycle would keep a session's memory until the collector comes by."""
    import weakref

    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    watch = weakref.ref(transport)
    theirs.close()
    reactor.turn(2)
    gc.disable()
    try:
        seen.transport = None
        seen.reason = None
        del transport
        assert watch() is None
    finally:
        gc.enable()


def test_the_uniform_wrapper_steps_out_of_the_way_of_an_eager_transport(reactor: Turned) -> None:
    """Not one call more per chunk than without it."""
    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, uniform(seen, reactor))
    assert transport.protocol is seen
    assert seen.transport is transport
    theirs.send(b"x")
    reactor.turn()
    theirs.close()
    reactor.turn(2)
    assert (seen.data, seen.lost) == (b"x", "ConnectionDone")


def test_file_descriptors_are_not_passed(reactor: Turned) -> None:
    """A gateway hands on bytes; what a peer sends beside them is dropped by the kernel."""
    import array

    ours, theirs = raw_pair()
    seen = Seen()
    transport = adopt(reactor, ours, seen)
    with pytest.raises(NotImplementedError):
        transport.sendFileDescriptor(0)
    theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
    reactor.turn()
    assert seen.data == b"x"
