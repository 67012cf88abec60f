"""What a peer may send that is no SSH, or not legal now: a sentence, a DISCONNECT with its number, an end."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from hoopproxy.protocols.ssh.transport import ClientLayer, ServerLayer
from hoopproxy.protocols.ssh.transport.algorithms import (
    CLIENT_KEX,
    EXT_INFO,
    HOST_KEYS,
    KEX_HASHES,
    STRICT,
    Agreed,
    Offer,
    parse_kexinit,
)
from hoopproxy.protocols.ssh.transport.kex import Hello
from hoopproxy.protocols.ssh.transport.limits import (
    BANNER_BYTES,
    BANNER_LINES,
    DROPPED_FIRST,
    SERVICE_REQUESTS,
    VERSION_BYTES,
)
from hoopproxy.protocols.ssh.transport.packet import Opener, Sealer
from hoopproxy.protocols.ssh.transport.server import ServerLayer as Server

from .house import Pair, Stream, Wire, frame, host_key

VERSION = b"SSH-2.0-peer\r\n"


class Alone:
    """One layer, and a peer that the test plays by hand, in the clear."""

    def __init__(self, layer: str = "server") -> None:
        self.clock = Clock()
        self.stream, self.wire = Stream("stream"), Wire(self.clock)
        self.layer: Any
        self.ready: list[Any] = []
        if layer == "server":
            self.layer = ServerLayer(self.stream, (host_key(),), lambda leg, facts: None)
        else:
            self.layer = ClientLayer(self.stream, lambda algorithm, blob: None, lambda leg, facts: None)
            self.layer.ready.addBoth(self.ready.append)
        self.wire.protocol = self.layer
        self.layer.makeConnection(self.wire)
        self.sealer = Sealer()

    def offer(self, *marks: str) -> Alone:
        """Our side of the first offer."""
        kex = ("curve25519-sha256", *marks)
        return self.packet(Offer(kex=kex, host_keys=HOST_KEYS).payload())

    def say(self, data: bytes) -> Alone:
        self.layer.dataReceived(data)
        return self

    def packet(self, payload: bytes) -> Alone:
        return self.say(self.sealer.seal(payload))

    @property
    def ended(self) -> tuple[int, str] | None:
        """The DISCONNECT that the layer sent last in the clear: number and sentence; and that it closes."""
        sent = bytes(self.wire.waits)
        at = sent.index(b"\n") + 1
        opener, out, last = Opener(), memoryview(bytearray(400_000)), None
        view = memoryview(sent)
        while (size := opener.open(view, at, out, 0)) >= 0:
            payload = bytes(out[4 : 4 + size])
            if payload[0] == 1:
                length = int.from_bytes(payload[5:9], "big")
                last = (int.from_bytes(payload[1:5], "big"), payload[9 : 9 + length].decode())
            at += opener.whole
        assert (last is not None) == self.wire.closing
        return last


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"SSH-2.0-" + b"x" * VERSION_BYTES, 2, "longer than 255 bytes"),
        (b"SSH-2.0-" + b"x" * VERSION_BYTES + b"\r\n", 2, "longer than 255 bytes"),
        (b"GET / HTTP/1.1\r\n", 2, "no SSH version line"),
        (b"\x16\x03\x01", 2, "no SSH version line"),
        (b"hello\r\nSSH-2.0-x\r\n", 2, "no SSH version line"),
        (b"SSH-1.5-old\r\n", 8, "another version: SSH-1.5-old"),
        (b"SSH-3.0-\x1b[2Jnew\r\n", 8, "another version: SSH-3.0-\\x1b[2Jnew"),
        (b"SSH-2.0-nul\0\r\n", 8, "another version"),
    ],
)
@pytest.mark.parametrize("split", [1, 3, 1_000])
def test_a_client_that_sends_no_version_line_is_told_so(
    data: bytes, code: int, words: str, split: int
) -> None:
    """A scanner, a browser or an old client ends at its first line, however it is cut."""
    alone = Alone()
    for at in range(0, len(data), split):
        alone.say(data[at : at + split])
    assert alone.ended is not None
    assert alone.ended[0] == code
    assert words in alone.ended[1]


LINES = (b"SSH-2.0-x\r\n", b"SSH-2.0-x\n", b"SSH-1.99-x y z\r\n", b"SSH-2.0-" + b"x" * 245 + b"\r\n")


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("split", [1, 1_000])
def test_the_version_lines_that_there_are_are_taken(line: bytes, split: int) -> None:
    """Old servers end their line with one byte; a client of a hundred versions must get in."""
    alone = Alone()
    for at in range(0, len(line), split):
        alone.say(line[at : at + split])
    assert alone.ended is None
    assert alone.layer._their_version == line.rstrip()


@pytest.mark.parametrize("split", [1, 1_000])
def test_a_servers_banner_is_read_over_and_bounded(split: int) -> None:
    """RFC 4253 lets a server send lines before its version; an endless one must not keep us."""
    alone = Alone("client")
    for data in (b"welcome\r\n" * (BANNER_LINES - 1), b"SSH-2.0-x\r\n"):
        for at in range(0, len(data), split):
            alone.say(data[at : at + split])
    assert alone.ended is None
    endless = Alone("client").say(b"a\n" * (BANNER_LINES + 1))
    assert endless.ended is not None
    assert "no version line within 64 lines" in endless.ended[1]
    long = Alone("client").say(b"a" * BANNER_BYTES)
    assert long.ended is None
    assert long.say(b"a").ended is not None


PLAIN = [
    (b"\x00\x00\x00\x00" + bytes(12), 2, "a packet's length can't be 0"),
    (b"\x00\x00\x00\x05" + bytes(12), 2, "a packet's length can't be 5"),
    (b"\x00\x00\x00\x0d" + bytes(13), 2, "a packet's length can't be 13"),
    (b"\xff\xff\xff\xff", 2, "a packet's length can't be 4,294,967,295"),
    (b"\x00\x01\x00\x04", 2, "a packet's length can't be 65,540"),
    (b"\x00\x00\x00\x0c\x03" + bytes(11), 2, "padding"),
    (b"\x00\x00\x00\x0c\x0b" + bytes(11), 2, "padding"),
    (b"\x00\x00\x00\x0c\xff" + bytes(11), 2, "padding"),
]


@pytest.mark.parametrize(("data", "code", "words"), PLAIN)
@pytest.mark.parametrize("layer", ["server", "client"])
def test_a_malformed_packet_ends_it(data: bytes, code: int, words: str, layer: str) -> None:
    """A length is checked before memory is spent, a padding before it is taken off."""
    alone = Alone(layer).say(VERSION).say(data)
    assert alone.ended is not None
    assert alone.ended[0] == code
    assert words in alone.ended[1]


@pytest.mark.parametrize(
    ("payloads", "words"),
    [
        ([b"\x32none"], "before the service"),
        ([b"\x5a\0\0\0\x07session"], "before the service"),
        ([b"\xff"], "before the service"),
        ([b"\x05\0\0\0\x0cssh-userauth"], "message 5 in the first key exchange"),
        ([b"\x07\0\0\0\0"], "message 7 in the first key exchange"),
        ([b"\x15"], "NEWKEYS has no place here"),
        ([b"\x1e\0\0\0\x20" + bytes(32)], "message 30 outside of a key exchange"),
        ([b"\x14"], "KEXINIT message is malformed"),
        ([b"\x14" + bytes(16) + b"\0\0\0\xff"], "KEXINIT message is malformed"),
        ([b"\x13"], "message 19 in the first key exchange"),
    ],
)
def test_a_message_that_has_no_place_yet_ends_it(payloads: list[bytes], words: str) -> None:
    """Nothing of the log-in may come before there are keys, and no key exchange out of its order."""
    alone = Alone().say(VERSION)
    for payload in payloads:
        alone.packet(payload)
    assert alone.ended is not None
    assert words in alone.ended[1]
    assert alone.stream.said == []


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        (b"\x1f" + bytes(4), 2, "message 31 has no place here"),
        (b"\x15", 2, "NEWKEYS has no place here"),
        (b"\x1e", 3, "message 30 of the key exchange is malformed"),
        (b"\x1e\0\0\0\x04abcd", 3, "message 30 of the key exchange is malformed"),
        (b"\x1e\0\0\0\x20" + bytes(32), 3, "message 30 of the key exchange is malformed"),
        (b"\x32x", 2, "before the service"),
        (b"\x05\0\0\0\x0cssh-userauth", 2, "message 5 in the first key exchange"),
    ],
)
def test_a_key_exchange_takes_its_own_messages_in_order(payload: bytes, code: int, words: str) -> None:
    """An all-zero point would make a shared secret that everybody knows."""
    alone = Alone().say(VERSION).offer().packet(payload)
    assert alone.ended is not None
    assert alone.ended[0] == code
    assert words in alone.ended[1]


def test_a_second_offer_in_a_key_exchange_ends_it() -> None:
    """It would change what is agreed on behind the other's back."""
    alone = Alone().say(VERSION).offer().offer()
    assert alone.ended == (2, "a second KEXINIT in a key exchange")


class Cut:
    """Who sits between the two, on the way to the victim: after the first message it puts in one to be ignored, and
    it takes away the first packet that is sealed."""

    def __init__(self) -> None:
        self.opener = Opener()
        self.version = self.put_in = self.sealed = self.done = False

    def through(self, data: bytes) -> bytes:
        passed, at = bytearray(), 0
        if data and not self.version:
            self.version = True
            at = data.index(b"\n") + 1
            passed += data[:at]
        view, out = memoryview(data), memoryview(bytearray(100_000))
        while at < len(data) and not self.sealed:
            size = self.opener.open(view, at, out, 0)
            assert size > 0
            passed += data[at : at + self.opener.whole]
            at += self.opener.whole
            self.sealed = out[4] == 21
            if not self.put_in:
                self.put_in = True
                passed += Sealer().seal(b"\x02\0\0\0\0")
        if self.sealed and not self.done and at < len(data):
            self.done = True  # there is one so far
            at = len(data)
        return bytes(passed) + data[at:]


class TestStrict:
    """Strict key exchange, and terrapin (CVE-2023-48795)."""

    def test_the_offer_must_be_the_first_message(self) -> None:
        """A message put in before it would shift the numbers that hide a cut prefix."""
        alone = Alone().say(VERSION).packet(b"\x02\0\0\0\0").offer(STRICT[0])
        assert alone.ended == (2, "strict key exchange: KEXINIT was not the first message")

    @pytest.mark.parametrize("kind", [2, 3, 4, 9])
    def test_nothing_else_may_come_before_the_keys(self, kind: int) -> None:
        """As above, after the offer."""
        alone = Alone().say(VERSION).offer(STRICT[0]).packet(bytes((kind, 0, 0, 0, 0)))
        assert alone.ended == (2, f"message {kind} in the first key exchange")

    def test_a_peer_without_it_may_send_what_means_nothing_up_to_a_bound(self) -> None:
        """RFC 4253 allows it at any time."""
        alone = Alone().say(VERSION).offer()
        for _ in range(DROPPED_FIRST):
            alone.packet(b"\x02\0\0\0\0")
        assert alone.ended is None
        assert alone.packet(b"\x02\0\0\0\0").ended == (2, "a flood of messages that mean nothing")

    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize("towards", ["server", "client"])
    @pytest.mark.parametrize(
        "cipher", ["chacha20-poly1305@openssh.com", "aes128-ctr", "aes256-gcm@openssh.com"]
    )
    def test_terrapin_cuts_nothing_off(self, strict: bool, towards: str, cipher: str) -> None:
        """Who sits between them puts an IGNORE in before the keys and takes the first sealed packet away."""

        class Some(ClientLayer):
            def _offer(self) -> Offer:
                whole = super()._offer()
                kex = ("curve25519-sha256", EXT_INFO[0], *((STRICT[0],) if strict else ()))
                return evolve(whole, kex=kex, ciphers_up=(cipher,), ciphers_down=(cipher,))

        pair = Pair(client=Some)
        pair.server.makeConnection(pair.server_wire)
        pair.client.makeConnection(pair.client_wire)
        source, sink = pair.client_wire, pair.server_wire
        if towards == "client":
            source, sink = sink, source
        cut = Cut()
        for number in range(8):
            if number == 7 and not sink.closing:
                source.protocol._say(b"\x02\0\0\0\0")
            for one, other in ((source, sink), (sink, source)):
                data = bytes(one.waits)
                one.waits.clear()
                if one is source:
                    data = cut.through(data)
                if data and not other.closing:
                    other.protocol.dataReceived(data)
        assert cut.done or strict, "the attack was not made"
        victim = pair.up if towards == "server" else pair.down
        assert victim.said == [], "the log-in began without the packet that was taken away"
        assert sink.closing

    @pytest.mark.parametrize("cipher", ["chacha20-poly1305@openssh.com", "aes128-ctr"])
    def test_without_it_what_could_hide_a_cut_is_refused(self, cipher: str) -> None:
        """An old peer still gets in, but not with messages that nobody needs and an attacker does."""

        class Old(ClientLayer):
            def _offer(self) -> Offer:
                whole = super()._offer()
                kex = ("curve25519-sha256", EXT_INFO[0])
                return evolve(whole, kex=kex, ciphers_up=(cipher,), ciphers_down=(cipher,))

        assert Pair(client=Old).start().up.said == ["made"]
        pair = Pair(client=Old)
        pair.server.makeConnection(pair.server_wire)
        pair.client.makeConnection(pair.client_wire)
        pair.client._say(b"\x02\0\0\0\0")
        pair.run()
        assert pair.up.said == ["lost"]
        assert "that could hide that others are missing" in str(pair.up.reason)


def test_a_wrong_guess_is_passed_over_and_a_right_one_is_used() -> None:
    """A client may send its first message ahead (RFC 4253 s.7); wrongly guessed, it is for nobody."""

    class Guessing(ClientLayer):
        def _offer(self) -> Offer:
            return evolve(super()._offer(), guessed=True)

        def _begin_first(self, line: bytes) -> None:
            super()._begin_first(line)
            self._say(b"\x1e\0\0\0\x04junk")

    class Curve(Guessing):
        def _offer(self) -> Offer:
            return evolve(super()._offer(), kex=("ecdh-sha2-nistp256", "curve25519-sha256"))

    assert Pair(client=Curve).start().up.said == ["made"]

    class Right(Guessing):
        def _offer(self) -> Offer:
            return evolve(super()._offer(), kex=("mlkem768x25519-sha256",), host_keys=("ssh-ed25519",))

    pair = Pair(client=Right).start()
    assert "message 30 of the key exchange is malformed" in str(pair.up.reason) or (
        "Invalid C_INIT length" in str(pair.up.reason)
    )


# --- after the keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"\x15", "NEWKEYS has no place here"),
        (b"\x1e" + bytes(40), "message 30 outside of a key exchange"),
        (b"\x06\0\0\0\x0cssh-userauth", "message 6 has no place here"),
        (b"\x05\0\0\0\x0essh-connection", "the service to ask for is ssh-userauth"),
        (b"\x05\0\0\0\x0fssh", "the request for a service is malformed"),
        (b"\x05", "the request for a service is malformed"),
        (b"\x07\0\0\0\x01", "message 7 has no place here"),
    ],
)
def test_a_message_of_the_transport_out_of_place_ends_it(payload: bytes, words: str) -> None:
    """After the log-in began, too."""
    pair = Pair().start()
    pair.client._say(payload)
    pair.run()
    assert words in str(pair.up.reason)
    assert pair.down.payloads[-1][:1] == b"\x01", "the reason is passed on to the stream of the other side"
    assert words.encode() in pair.down.payloads[-1]


def test_requests_for_a_service_are_answered_and_counted() -> None:
    """Each answer is work for a client that does none."""
    heard: list[bytes] = []

    class Listening(ClientLayer):
        def _service(self, kind: int, payload: bytes) -> None:
            if self.ready.called:
                heard.append(payload)
            else:
                super()._service(kind, payload)

    pair = Pair(client=Listening).start()
    for _ in range(SERVICE_REQUESTS - 1):
        pair.client._say(b"\x05\0\0\0\x0cssh-userauth")
    pair.run()
    assert pair.up.said == ["made"]
    assert len(heard) == SERVICE_REQUESTS - 1
    pair.client._say(b"\x05\0\0\0\x0cssh-userauth")
    pair.run()
    assert "too many requests for a service" in str(pair.up.reason)


@pytest.mark.parametrize("kind", [8, 9, 19, 22, 29])
def test_an_unknown_message_is_answered_so(kind: int) -> None:
    """RFC 4253 s.11.4; its number tells the peer which one it was."""
    heard: list[bytes] = []

    class Listening(ClientLayer):
        def _drop(self, payload: bytes) -> None:
            heard.append(payload)

    pair = Pair(client=Listening).start()
    pair.client._say(bytes((kind, 1, 2, 3)))
    pair.run()
    assert pair.up.reason is None
    assert heard == [b"\x03" + (pair.server._opener.sequence - 1).to_bytes(4, "big")]
    assert pair.server.dropped == 4


def test_a_wrong_mac_ends_it_with_its_own_number() -> None:
    """One bit on the way, and what it was in is not believed."""
    for cut in (5, 20, -1):
        pair = Pair().start()
        pair.down.transport.write(frame(b"\x50" * 40))
        pair.client_wire.waits[cut] ^= 1
        pair.run()
        assert "doesn't have the right MAC" in str(pair.up.reason)
        assert pair.up.payloads == []
        said = pair.down.payloads[-1]
        assert said[0] == 1
        assert int.from_bytes(said[1:5], "big") == 5


def test_what_came_before_the_break_is_delivered() -> None:
    """It was authentic, and the record must have it."""
    pair = Pair().start()
    pair.down.transport.write(frame(b"\x50good"))
    pair.down.transport.write(frame(b"\x50bad"))
    pair.client_wire.waits[-1] ^= 1
    pair.run()
    assert pair.up.payloads == [b"\x50good"]


def test_a_flood_of_messages_that_mean_nothing_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in no record and no window holds them back."""
    from hoopproxy.protocols.ssh.transport import layer

    monkeypatch.setattr(layer, "DROPPED_MESSAGES", 100)
    pair = Pair().start()
    for _ in range(100):
        pair.client._say(b"\x02\0\0\0\x01x")
    pair.run()
    assert pair.up.reason is None
    assert pair.up.payloads == []
    pair.client._say(b"\x02\0\0\0\x01x")
    pair.run()
    assert "a flood of messages that mean nothing" in str(pair.up.reason)


def test_a_disconnect_is_passed_on_and_nothing_after_it_counts() -> None:
    """The target's reason is the client's to read."""
    pair = Pair().start()
    bye = b"\x01\0\0\0\x0b\0\0\0\x03bye\0\0\0\0"
    pair.up.transport.write(frame(b"\x50last") + frame(bye) + frame(b"\x50late"))
    pair.run()
    assert pair.down.payloads == [b"\x50last", bye]


def test_a_disconnect_before_the_stream_is_what_failed_it() -> None:
    """`Too many connections` must reach who waits, and control no terminal."""
    alone = Alone("client").say(VERSION)
    alone.packet(b"\x01\0\0\0\x0c\0\0\0\x08too\x1b[2Jmany"[:17] + b"\0\0\0\0")
    assert str(alone.ready[0].value) == "it disconnected: too\\x1b[2Jm"
    alone.wire.lose()
    assert alone.stream.said == ["lost"]
    assert "it disconnected" in str(alone.stream.reason)


@pytest.mark.parametrize("after", [b"", VERSION])
def test_a_peer_that_goes_away_early_is_a_sentence(after: bytes) -> None:
    """`ready` must not be silent: somebody waits for it."""
    alone = Alone("client").say(after) if after else Alone("client")
    alone.layer.readConnectionLost()
    assert alone.wire.closing
    alone.wire.lose()
    assert str(alone.ready[0].value) == "it closed the connection during the key exchange"
    assert alone.stream.said == ["lost"]


def test_ready_can_be_cancelled() -> None:
    """A deadline does: the connection must not stay."""
    alone = Alone("client")
    alone.layer.ready.cancel()
    alone.clock.advance(0)
    assert alone.wire.lost
    assert alone.stream.said == ["lost"]


# --- anything at all ---------------------------------------------------------------------------------


def fed(layer: Any, data: bytes, cuts: list[int]) -> None:
    at = 0
    for cut in cuts:
        layer.dataReceived(data[at : at + cut])
        at += cut
        if at >= len(data):
            return
    layer.dataReceived(data[at:])


CUTS = st.lists(st.integers(1, 60), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["server", "client"]), st.binary(max_size=600), CUTS, st.booleans())
def test_garbage_ends_it_or_waits(layer: str, data: bytes, cuts: list[int], version: bool) -> None:
    """Anything, in any segments, before there are keys."""
    alone = Alone(layer)
    fed(alone.layer, (VERSION if version else b"") + data, cuts)
    assert alone.stream.chunks == []
    assert alone.ended is None or alone.ended[1]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["server", "client"]),
    st.lists(st.binary(min_size=1, max_size=200), max_size=6),
    CUTS,
    st.booleans(),
    st.sampled_from(sorted(KEX_HASHES)),
)
@example("server", [b"\x01"], [], False, "curve25519-sha256")
def test_any_messages_of_a_key_exchange_end_it_or_wait(
    layer: str, payloads: list[bytes], cuts: list[int], strict: bool, kex: str
) -> None:
    """Well-framed messages with any content after an honest offer."""
    alone = Alone(layer).say(VERSION)
    marks = STRICT if strict else ()
    alone.packet(Offer(kex=(kex, *marks), host_keys=HOST_KEYS).payload())
    fed(alone.layer, b"".join(alone.sealer.seal(payload) for payload in payloads), cuts)
    assert alone.stream.chunks == []
    if any(payload[0] == 1 for payload in payloads):
        assert alone.wire.closing  # whoever disconnects, in whatever words, may hear nothing more
    else:
        assert alone.ended is None or alone.ended[1]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([30, 31, 33]), st.binary(max_size=300), st.sampled_from(CLIENT_KEX), st.booleans())
def test_any_content_of_a_reply_ends_it(kind: int, body: bytes, kex: str, framed: bool) -> None:
    """A hostile target's reply: lengths, points, numbers, signatures."""
    alone = Alone("client").say(VERSION)
    alone.packet(Offer(kex=(kex,), host_keys=HOST_KEYS).payload())
    if framed:
        body = frame(body) * 3
    alone.packet(bytes((kind,)) + body)
    assert alone.ended is not None
    assert alone.ended[0] in (2, 3)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), CUTS, st.booleans())
def test_garbage_after_the_keys_ends_it_or_waits(data: bytes, cuts: list[int], up: bool) -> None:
    """Bytes that nobody sealed."""
    pair = Pair().start()
    layer, stream = (pair.server, pair.up) if up else (pair.client, pair.down)
    fed(layer, data, cuts)
    pair.run()
    assert stream.payloads == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=80), max_size=8), CUTS)
def test_any_sealed_messages_end_it_or_are_delivered(payloads: list[bytes], cuts: list[int]) -> None:
    """What a client with good keys sends: what is for the stream arrives as it was."""
    pair = Pair().start()
    for payload in payloads:
        pair.client._say(payload)
    data = bytes(pair.client_wire.waits)
    pair.client_wire.waits.clear()
    fed(pair.server, data, cuts)
    wanted = []
    for payload in payloads:
        if payload[0] >= 50 or payload[0] == 1:
            wanted.append(payload)
        if payload[0] == 1 or 5 <= payload[0] <= 7 or 20 <= payload[0] <= 21 or 30 <= payload[0] <= 49:
            break
    assert pair.up.payloads == wanted


def test_an_offer_can_be_read_and_said_again() -> None:
    """What is parsed is what was meant."""
    offer = Offer(kex=("a", "b"), host_keys=(), guessed=False)
    assert parse_kexinit(offer.payload()) == offer


def test_an_extension_mark_is_no_key_exchange() -> None:
    """RFC 8308 s.2.2: both naming it must not make it what is agreed on."""

    class Marked(Server):
        def _offer(self) -> Offer:
            return Offer(kex=(EXT_INFO[0], EXT_INFO[1], *STRICT), host_keys=("ssh-ed25519",))

    class Same(ClientLayer):
        def _offer(self) -> Offer:
            return Offer(kex=(EXT_INFO[0], EXT_INFO[1], *STRICT), host_keys=("ssh-ed25519",))

    pair = Pair(server=Marked, client=Same).start()
    assert pair.ready == "no common key exchange: it offers nothing; we offer nothing"


def test_a_target_that_lies_about_its_version_has_no_right_signature() -> None:
    """The hash is over what both sides saw: who changes a line on the way is found out."""

    class Lying(ServerLayer):
        def _exchange(self, agreed: Agreed, hello: Hello) -> Any:
            return super()._exchange(agreed, evolve(hello, their_version=b"SSH-2.0-other"))

    assert Pair(server=Lying).start().ready == "its signature is not the host key's"
