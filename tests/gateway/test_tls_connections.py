"""TLS on running connections, of our own transport and over any other: order, ends, pauses, counts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from twisted.internet.testing import StringTransport

from hoopproxy.gateway.clear import AT_ONCE
from hoopproxy.gateway.stock import StockConnection, uniform
from hoopproxy.gateway.tls import TLSFacts, TLSFailed
from hoopproxy.gateway.tls_stream import TLSStream
from tests.producer import Producer

from .tls_ends import CLIENT, SERVER, client
from .turns import HalfSeen, Seen, Turned, adopt, raw_pair, take, turned


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as made:
        yield made


Outcomes = list[Any]


def eager_ends(reactor: Turned, protocols: tuple[Any, Any] | None = None) -> list[tuple[Any, Any]]:
    ours, theirs = socket.socketpair()
    seen = protocols or (Seen(), Seen())
    return [(adopt(reactor, end, one), one) for end, one in zip((ours, theirs), seen, strict=True)]


def stock_ends(reactor: Turned, protocols: tuple[Any, Any] | None = None) -> list[tuple[Any, Any]]:
    """Two stock connections over transports that are not ours."""
    from twisted.internet import unix
    from twisted.internet.protocol import Factory

    ends = []
    for end, one in zip(socket.socketpair(), protocols or (Seen(), Seen()), strict=True):
        end.setblocking(False)
        wrapper = uniform(one, reactor)
        unix.Server._fromConnectedSocket(end.fileno(), Factory.forProtocol(lambda w=wrapper: w), reactor)
        end.close()
        assert isinstance(one.transport, StockConnection)
        ends.append((one.transport, one))
    return ends


KINDS = {"eager": eager_ends, "stock": stock_ends}

kinds = pytest.mark.parametrize("kind", KINDS)


def secured(
    reactor: Turned, kind: str, protocols: tuple[Any, Any] | None = None, **more: Any
) -> list[tuple[Any, Any]]:
    """Two joined ends after their handshake: server, client."""
    ends = KINDS[kind](reactor, protocols)
    outcomes: Outcomes = []
    ends[0][0].start_tls(more.get("server", SERVER), outcomes.append)
    ends[1][0].start_tls(more.get("client", CLIENT), outcomes.append)
    assert outcomes == []
    reactor.until(lambda: len(outcomes) == 2)
    assert all(isinstance(outcome, TLSFacts) for outcome in outcomes), outcomes
    return ends


@kinds
def test_both_connections_speak_tls_and_count_plaintext(reactor: Turned, kind: str) -> None:
    """The counters are the trail's, so they count what was said, not what it was wrapped in."""
    (server_side, heard), (client_side, answered) = secured(reactor, kind)
    client_side.write(b"question")
    reactor.until(lambda: heard.data == b"question")
    server_side.write(bytes(300_000))
    reactor.until(lambda: len(answered.data) == 300_000)
    assert (client_side.sent, server_side.received) == (8, 8)
    assert (server_side.sent, client_side.received) == (300_000, 300_000)
    assert server_side.tls_facts().sni == "db.example"
    assert server_side.channel_binding() == client_side.channel_binding() is not None
    assert server_side.buffered == 0


@kinds
def test_an_orderly_end_is_not_truncated_and_a_cut_is(reactor: Turned, kind: str) -> None:
    """A stream cut by somebody in between looks like an end, and the trail must tell them apart."""
    (server_side, heard), (client_side, _) = secured(reactor, kind)
    client_side.write(b"bye")
    client_side.loseConnection()
    reactor.until(lambda: heard.lost)
    assert (heard.data, server_side.truncated) == (b"bye", False)
    (server_side, heard), (client_side, _) = secured(reactor, kind)
    below = client_side if kind == "eager" else client_side._below
    below.socket.shutdown(socket.SHUT_RDWR)
    reactor.until(lambda: heard.lost)
    assert server_side.truncated is True
    assert server_side.tls_facts().truncated is True


@kinds
def test_tls_half_close_both_ways(reactor: Turned, kind: str) -> None:
    """The end of one direction leaves the other running, over TLS too."""
    (server_side, heard), (client_side, answered) = secured(reactor, kind, (HalfSeen(), HalfSeen()))
    client_side.write(b"all I have to say")
    client_side.loseWriteConnection()
    client_side.write(b"not this")
    reactor.until(lambda: "read ended" in heard.log)
    assert heard.data == b"all I have to say"
    server_side.write(b"an answer" * 10_000)
    server_side.loseWriteConnection()
    reactor.until(lambda: "read ended" in answered.log)
    assert answered.data == b"an answer" * 10_000
    assert (server_side.truncated, client_side.truncated) == (False, False)


@kinds
def test_what_is_written_during_the_handshake_goes_out_after_it_encrypted(reactor: Turned, kind: str) -> None:
    """Never in plaintext, never before."""
    (server_side, _), (client_side, answered) = KINDS[kind](reactor)
    outcomes: Outcomes = []
    server_side.start_tls(SERVER, outcomes.append)
    server_side.write(b"early")
    assert (server_side.buffered, server_side.sent) == (5, 0)
    client_side.start_tls(CLIENT, outcomes.append)
    reactor.until(lambda: answered.data == b"early")
    assert (server_side.buffered, server_side.sent) == (0, 5)


@kinds
def test_plaintext_buffered_before_tls_goes_out_before_it(reactor: Turned, kind: str) -> None:
    """PostgreSQL's S is the last plaintext byte, even on a full socket."""
    (server_side, _), (client_side, answered) = KINDS[kind](reactor)
    server_side.write(b"p" * 1_000_000 + b"S")
    outcomes: Outcomes = []
    server_side.start_tls(SERVER, outcomes.append)

    def go_on(data: bytes) -> None:
        if data.endswith(b"S"):
            client_side.start_tls(CLIENT, outcomes.append)

    answered.react = go_on
    reactor.until(lambda: len(outcomes) == 2)
    assert len(answered.data) == 1_000_001 == server_side.sent
    server_side.write(b"x" * 1_000_000)
    reactor.until(lambda: len(answered.data) == 2_000_001)
    reactor.turn(2)
    assert server_side.sent == 2_000_001


@kinds
def test_a_failed_handshake_says_so_once_and_closes(reactor: Turned, kind: str) -> None:
    """With the sentence as the reason of the loss, and our alert sent."""
    (server_side, heard), (client_side, answered) = KINDS[kind](reactor)
    outcomes: list[tuple[str, Any]] = []
    server_side.start_tls(SERVER, lambda outcome: outcomes.append(("server", outcome)))
    client_side.start_tls(client("other.example"), lambda outcome: outcomes.append(("client", outcome)))
    reactor.until(lambda: heard.lost and answered.lost)
    said = [outcome for who, outcome in outcomes if who == "client"]
    assert [type(outcome) for outcome in said] == [TLSFailed]
    assert "not for other.example" in said[0].sentence
    assert answered.reason.value is said[0]
    assert (heard.data, answered.data) == (b"", b"")
    assert len(outcomes) == 2
    assert client_side.tls_facts() is None


@kinds
def test_a_peer_that_dies_in_the_handshake_is_a_failure_once(reactor: Turned, kind: str) -> None:
    """After nothing, and after half a hello."""
    for said in (b"", TLSStream(CLIENT).close() + b"\x16\x03\x01\x02"):
        (server_side, heard), (client_side, _) = KINDS[kind](reactor)
        outcomes: Outcomes = []
        server_side.start_tls(SERVER, outcomes.append)
        client_side.write(said)
        reactor.turn(3)
        client_side.abortConnection()
        reactor.until(lambda heard=heard: heard.lost)
        assert [outcome.code for outcome in outcomes] == ["closed"]
        assert "by the peer" in outcomes[0].sentence or "the peer closed" in outcomes[0].sentence


@kinds
def test_a_handshake_has_a_deadline(reactor: Turned, kind: str) -> None:
    """A slow hello costs a place before log-in."""
    (server_side, heard), (client_side, _) = KINDS[kind](reactor)
    outcomes: Outcomes = []
    server_side.start_tls(SERVER, outcomes.append, seconds=5)
    client_side.write(b"\x16\x03\x01")
    reactor.pass_time(4.9)
    assert outcomes == []
    reactor.pass_time(0.2)
    assert [outcome.code for outcome in outcomes] == ["timeout"]
    assert "5 seconds" in outcomes[0].sentence
    reactor.pass_time(3)
    reactor.until(lambda: heard.lost)
    assert len(outcomes) == 1


@kinds
def test_the_deadline_is_gone_when_the_handshake_is_done(reactor: Turned, kind: str) -> None:
    """An idle session has no timer."""
    secured(reactor, kind)
    assert [call for call in reactor.getDelayedCalls() if call.active()] == []


@kinds
def test_plaintext_in_place_of_a_handshake_closes_without_delivering_it(reactor: Turned, kind: str) -> None:
    """CVE-2021-23214 and its kin."""
    (server_side, heard), (client_side, answered) = KINDS[kind](reactor)
    outcomes: Outcomes = []
    server_side.start_tls(SERVER, outcomes.append)
    client_side.write(b"Q\x00\x00\x00\x0dSELECT 1\x00")
    reactor.until(lambda: outcomes)
    assert outcomes[0].code == "plaintext"
    reactor.pass_time(3)
    assert heard.data == b""
    assert (answered.data, server_side.received) == (b"", 0)
    assert heard.lost == "TLSFailed"


@kinds
def test_bytes_read_already_begin_the_handshake_and_stop_counting(reactor: Turned, kind: str) -> None:
    """Direct TLS, told by the first byte of what was received."""
    (server_side, heard), (client_side, _) = KINDS[kind](reactor)
    outcomes: Outcomes = []

    def direct(data: bytes) -> None:
        heard.react = None
        heard.chunks.clear()
        assert data[:1] == b"\x16"
        server_side.start_tls(SERVER, outcomes.append, already=data)
        assert outcomes == []

    heard.react = direct
    client_side.start_tls(CLIENT, outcomes.append)
    reactor.until(lambda: len(outcomes) == 2)
    client_side.write(b"hi")
    reactor.until(lambda: heard.data == b"hi")
    assert server_side.received == 2


@kinds
def test_data_in_the_handshakes_last_segment_waits_for_a_pause_to_end(reactor: Turned, kind: str) -> None:
    """The session pauses in `done` to open its target; nothing is lost and nothing comes early."""
    (server_side, heard), (client_side, _) = KINDS[kind](reactor)
    server_side.start_tls(SERVER, lambda _: server_side.pauseProducing())
    # TLS 1.3: the client may send right behind its Finished, in the same segment.
    client_side.start_tls(CLIENT, lambda _: None)
    client_side.write(b"pipelined")
    reactor.turn(30)
    assert server_side.tls_facts() is not None
    assert heard.data == b""
    server_side.resumeProducing()
    reactor.until(lambda: heard.data == b"pipelined")


@kinds
def test_a_handshake_runs_while_reading_is_paused(reactor: Turned, kind: str) -> None:
    """The pause is for data; a paused handshake would only run into its deadline."""
    (server_side, heard), (client_side, _) = KINDS[kind](reactor)
    server_side.pauseProducing()
    outcomes: Outcomes = []
    server_side.start_tls(SERVER, outcomes.append)
    client_side.start_tls(CLIENT, outcomes.append)
    reactor.until(lambda: len(outcomes) == 2)
    client_side.write(b"data")
    reactor.turn(5)
    assert heard.data == b""
    server_side.resumeProducing()
    reactor.until(lambda: heard.data == b"data")


@kinds
def test_tls_cannot_be_started_twice_or_on_a_closed_connection(reactor: Turned, kind: str) -> None:
    """A second SSLRequest inside TLS is the caller's to refuse; here it is an error."""
    (server_side, _), _ = secured(reactor, kind)
    with pytest.raises(RuntimeError, match="before"):
        server_side.start_tls(SERVER, lambda _: None)
    (other, _), _ = KINDS[kind](reactor)
    other.loseConnection()
    with pytest.raises(RuntimeError, match="closed"):
        other.start_tls(SERVER, lambda _: None)


@kinds
def test_a_forged_record_ends_the_connection_with_the_sentence(reactor: Turned, kind: str) -> None:
    """And is nothing that a protocol ever sees."""
    (_, heard), (client_side, _) = secured(reactor, kind)
    client_side.write(b"good")
    client_side._push(b"\x17\x03\x03\x00\x20" + bytes(32), 0)
    reactor.until(lambda: heard.lost)
    assert (heard.data, heard.lost) == (b"good", "TLSFailed")


@kinds
def test_a_slow_reader_over_tls_pauses_the_producer(reactor: Turned, kind: str) -> None:
    """Back-pressure counts what waits, encrypted or not."""
    (server_side, _), (client_side, answered) = secured(reactor, kind)
    client_side.pauseProducing()
    producer = Producer()
    server_side.registerProducer(producer, True)
    total = 0
    while "pause" not in producer.calls:
        server_side.write(bytes(50_000))
        total += 50_000
        reactor.turn()
        assert total < 20_000_000
    assert server_side.buffered > 0 or kind == "stock"
    client_side.resumeProducing()
    reactor.until(lambda: len(answered.data) == total)
    reactor.turn(3)
    assert producer.calls[-1] == "resume"
    assert server_side.sent == total


def test_a_handshake_byte_by_byte_over_the_eager_transport(reactor: Turned) -> None:
    """Every state of the handshake is a moment in which bytes run out."""
    ours, theirs = raw_pair()
    heard = Seen()
    transport = adopt(reactor, ours, heard)
    outcomes: Outcomes = []
    transport.start_tls(SERVER, outcomes.append)
    far = TLSStream(CLIENT)
    far.handshake()
    out = far.ciphertext()
    while not far.secure or not outcomes or out:
        theirs.send(out[:1])
        out = out[1:]
        reactor.turn()
        back = take(theirs)
        if back:
            for byte in back:
                if not far.secure:
                    far.feed(bytes([byte]))
                    far.handshake()
                    out += far.ciphertext()
    for byte in far.encrypt(b"in pieces") + far.close():
        theirs.send(bytes([byte]))
        reactor.turn()
    assert heard.data == b"in pieces"
    reactor.turn(2)
    assert transport.truncated is False


@pytest.mark.parametrize("moment", ["handshake", "secure"])
def test_over_tls_too_what_was_written_is_sent_or_unsent(reactor: Turned, moment: str) -> None:
    """Plaintext bytes, though ciphertext is what waits; a record that left in part did not leave."""
    if moment == "secure":
        (server_side, heard), (client_side, _) = secured(reactor, "eager")
    else:
        (server_side, heard), (client_side, _) = eager_ends(reactor)
        server_side.start_tls(SERVER, lambda _: None)
    client_side.pauseProducing()
    for _ in range(20):
        server_side.write(bytes(70_000))
    assert server_side.buffered > 0
    client_side.abortConnection()
    reactor.until(lambda: heard.lost)
    server_side.write(b"late")
    assert server_side.sent + server_side.unsent == 20 * 70_000 + 4
    assert (server_side.sent > 0) == (moment == "secure")


LONG = bytes(range(256)) * (5 << 12)
"""Five times what is encrypted at once."""


@kinds
def test_what_is_long_arrives_whole_and_in_order_and_its_end_is_no_truncation(
    reactor: Turned, kind: str
) -> None:
    """What is written behind it, and TLS's own last word, come behind it."""
    (server_side, heard), (client_side, _) = secured(reactor, kind)
    client_side.write(LONG)
    client_side.write(b"and this")
    client_side.write(LONG)
    client_side.loseConnection()
    client_side.write(b"not this")
    reactor.until(lambda: heard.lost)
    assert heard.data == LONG + b"and this" + LONG
    assert server_side.truncated is False
    assert (client_side.sent, client_side.unsent) == (2 * len(LONG) + 8, 8)


def test_what_is_long_half_closes_behind_itself(reactor: Turned) -> None:
    (server_side, heard), (client_side, answered) = secured(reactor, "eager", (HalfSeen(), HalfSeen()))
    client_side.write(LONG)
    client_side.loseWriteConnection()
    reactor.until(lambda: "read ended" in heard.log)
    assert heard.data == LONG
    server_side.write(b"an answer")
    reactor.until(lambda: answered.data == b"an answer")
    assert (server_side.truncated, client_side.truncated) == (False, False)


def test_no_turn_encrypts_more_than_its_part(reactor: Turned) -> None:
    """Counted, not timed: whatever is written, and however fast the peer reads, others have their turns meanwhile."""
    (_, heard), (client_side, _) = secured(reactor, "eager")
    encrypt, sizes = TLSStream.encrypt, [0]

    def counted(stream: TLSStream, data: bytes) -> bytes:
        sizes[-1] += len(data)
        return encrypt(stream, data)

    producer = Producer()
    client_side.registerProducer(producer, True)
    with patch.object(TLSStream, "encrypt", counted):
        client_side.write(LONG)
        assert producer.calls == ["pause"]
        while len(heard.data) < len(LONG):
            assert (client_side.buffered == 0) == (sum(sizes) == len(LONG) and client_side._queue is None)
            sizes.append(0)
            reactor.turn()
    assert max(sizes) <= AT_ONCE
    assert sum(sizes) == len(LONG)
    reactor.turn(3)
    assert producer.calls == ["pause", "resume"]


def test_what_is_long_and_cut_off_is_sent_or_unsent(reactor: Turned) -> None:
    """To the byte: the end of a session is held against it."""
    (_, heard), (client_side, _) = secured(reactor, "eager")
    heard.transport.pauseProducing()
    client_side.write(LONG)
    client_side.write(b"and this")
    reactor.turn(5)
    assert client_side.buffered > len(LONG) // 2
    client_side.abortConnection()
    reactor.turn(3)
    assert client_side.sent + client_side.unsent == len(LONG) + 8


def test_a_reset_in_a_secure_session_is_a_truncation(reactor: Turned) -> None:
    """RST, not FIN."""
    (server_side, heard), (client_side, _) = secured(reactor, "eager")
    server_side.write(b"unread")
    client_side.pauseProducing()
    client_side.abortConnection()
    reactor.until(lambda: heard.lost)
    assert server_side.truncated


def test_a_stock_connection_takes_any_transport(reactor: Turned) -> None:
    """Nothing assumes an address, a socket or half-close below."""

    class Bare(StringTransport):
        def abortConnection(self) -> None:
            self.loseConnection()

    below, seen = Bare(), Seen()
    wrapper = uniform(seen, reactor)
    wrapper.makeConnection(below)
    transport: Any = seen.transport
    assert transport.getPeer() == below.getPeer()
    assert transport.peek() is None
    wrapper.dataReceived(b"in")
    transport.writeSequence([b"o", b"ut"])
    assert (seen.data, below.value(), transport.received, transport.sent) == (b"in", b"out", 2, 3)
    producer = Producer()
    transport.registerProducer(producer, True)
    below.producer.pauseProducing()
    transport.write(b"12345")
    assert (producer.calls, transport.buffered) == (["pause"], 5)
    below.producer.resumeProducing()
    assert (producer.calls, transport.buffered) == (["pause", "resume"], 0)
    transport.loseWriteConnection()
    assert below.disconnecting
    wrapper.dataReceived(b"late")
    assert (seen.data, transport.discarded) == (b"in", 4)
