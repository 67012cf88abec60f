"""A leg's SSH transport: versions, packets, key exchanges; payloads up and down. RFC 4253, strict key exchange.

It stands between a connection and a stream. The connection's bytes are packets; the stream gets, and gives, what
they carry: each payload behind its length, those of type 1 (disconnect) and from 50 on. The rest of the protocol
ends here. :class:`~hoopproxy.protocols.ssh.transport.server.ServerLayer` and
:class:`~hoopproxy.protocols.ssh.transport.client.ClientLayer` are its two sides.

An idle layer keeps its ciphers, its session id and some counters: what a key exchange needs is made for it, and
goes with it.
"""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IProtocol, IReactorTime
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.inert import inert
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.protocols.ssh.transport.adapter import Adapter
from hoopproxy.protocols.ssh.transport.algorithms import (
    STRICT,
    Agreed,
    Offer,
    agree,
    parse_kexinit,
)
from hoopproxy.protocols.ssh.transport.broken import (
    CONNECTION_LOST,
    KEY_EXCHANGE_FAILED,
    PROTOCOL_ERROR,
    VERSION_NOT_SUPPORTED,
    TransportBroken,
)
from hoopproxy.protocols.ssh.transport.ciphers import SLACK, Opener, Sealer, opener, sealer
from hoopproxy.protocols.ssh.transport.hostkey import fingerprint
from hoopproxy.protocols.ssh.transport.kex import ClientExchange, Hello, Keys, ServerExchange
from hoopproxy.protocols.ssh.transport.limits import (
    BANNER_BYTES,
    BANNER_LINES,
    DROPPED_MESSAGES,
    KEXINIT_BYTES,
    PACKET_BYTES,
    REKEY_APART_BYTES,
    REKEY_APART_SECONDS,
    REKEY_BYTES,
    REKEY_PACKETS,
    REKEY_SECONDS,
    REKEY_WAIT_SECONDS,
    VERSION_BYTES,
)

if TYPE_CHECKING:
    from hoopproxy.gateway.connection import Transport

__all__ = ["OUR_VERSION", "Layer"]

OUR_VERSION: Final = b"SSH-2.0-hoopproxy"
"""Our version line, without its end. It says nothing of what could be attacked."""

_DISCONNECT, _IGNORE, _UNIMPLEMENTED, _DEBUG = 1, 2, 3, 4
_KEXINIT, _NEWKEYS = 20, 21
_FIRST_UP = 50
_UINT32: Final = Struct(">I")

_SLICE: Final = 262_144
"""Bytes of a chunk that are opened at once."""
# What a chunk opens to, for all layers of the process; it is copied out before anybody else runs.
_PLAIN: Final = memoryview(bytearray(_SLICE + 2 * PACKET_BYTES + SLACK))


class _Negotiation:
    """What is known only while a key exchange runs. ``sent``: our NEWKEYS was; ``ignore``: the next message of the
    exchange, which the peer guessed wrongly."""

    __slots__ = (
        "agreed",
        "deadline",
        "exchange",
        "ignore",
        "kexinit",
        "keys",
        "offer",
        "sent",
        "their_kexinit",
    )

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.kexinit = offer.payload()
        self.their_kexinit: bytes | None = None
        self.agreed: Agreed | None = None
        self.exchange: ServerExchange | ClientExchange | None = None
        self.keys: Keys | None = None
        self.sent = False
        self.ignore = False
        self.deadline: IDelayedCall | None = None


@implementer(IProtocol, IHalfCloseableProtocol)
class Layer:
    """What both sides have in common.

    :param stream: gets the payloads: ``makeConnection`` once, with an :class:`Adapter`, when the log-in may begin;
        ``dataReceived``, ``readConnectionLost``; and ``connectionLost`` once in any case, with the
        :class:`TransportBroken` for its reason where the peer's bytes were the cause.
    :param secured: called with the leg's name and what was agreed on, before ``stream.makeConnection``.
    :param clock: for the age of keys and the deadline of later key exchanges; by default the connection's
        reactor. The deadline of the first one is whose connection it is.

    :ivar rekey_bytes: REKEY_BYTES; the tests have less. :ivar dropped: bytes of messages that mean nothing.
    """

    __slots__ = (
        "_adapter",
        "_agreed_at",
        "_broken",
        "_clock",
        "_dropped",
        "_first",
        "_host_key",
        "_negotiation",
        "_opener",
        "_over",
        "_sealer",
        "_secured",
        "_seen",
        "_session_id",
        "_stream",
        "_strict",
        "_tail",
        "_their_version",
        "_up",
        "below",
        "dropped",
        "rekey_bytes",
    )

    leg = ""
    we_are_client = False

    def __init__(
        self, stream: Any, secured: Callable[[str, Secured], None], clock: IReactorTime | None = None
    ) -> None:
        self._stream, self._secured, self._clock = stream, secured, clock
        self._adapter: Adapter | None = None
        self._tail: bytearray | None = None
        self._their_version = b""
        self._opener = Opener(limit=KEXINIT_BYTES)
        self._sealer = Sealer()
        self._negotiation: _Negotiation | None = None
        self._session_id: bytes | None = None
        self._host_key = b""
        self._strict = False
        self._first = True  # the first key exchange is not finished
        self._seen = 0  # packets received before the first key exchange was finished
        self._up: list[bytes] | None = None
        self._agreed_at = 0.0
        self._over = False
        self._broken: TransportBroken | None = None
        self._dropped = 0
        self.dropped = 0
        self.rekey_bytes = REKEY_BYTES

    # --- what the sides do ---------------------------------------------------------------------------

    def _offer(self) -> Offer:
        """What we offer now."""
        raise NotImplementedError

    def _exchange(self, agreed: Agreed, hello: Hello) -> ServerExchange | ClientExchange:
        """Our half of a key exchange."""
        raise NotImplementedError

    def _service(self, kind: int, payload: bytes) -> None:
        """A message about services or extensions (5 to 7)."""
        raise NotImplementedError

    def _keyed(self) -> None:
        """Our NEWKEYS of the first key exchange was just sent."""

    def _ready(self, agreed: Agreed) -> None:
        """The first key exchange is finished."""

    def _failed(self, problem: BaseException) -> None:
        """The connection ends before the stream began."""

    # --- a protocol over the connection --------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        self.below: Transport = transport
        if self._clock is None:
            self._clock = getattr(transport, "reactor", None)
        self._negotiation = begun = _Negotiation(self._offer())
        # In one segment: who waits for our version alone gets it, and who doesn't saves a round trip.
        transport.write(OUR_VERSION + b"\r\n" + self._sealer.seal(begun.kexinit))

    def connectionMade(self) -> None:
        """Everything was done when the connection was given."""

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        try:
            self._received(data)
        except TransportBroken as problem:
            self._break(problem)

    def readConnectionLost(self) -> None:
        adapter = self._adapter
        if adapter is None or self._over or self._negotiation is not None:
            # Nothing can come of this any more.
            self.below.loseConnection()
            return
        adapter.read_ended(truncated=self._tail is not None)

    def writeConnectionLost(self) -> None:
        """We ended our direction ourselves."""

    def connectionLost(self, reason: Failure = Failure(CONNECTION_DONE)) -> None:  # noqa: B008  # Twisted's default
        self._over = True
        self._forget_negotiation()
        self._tail = None
        broken: BaseException | None = self._broken
        if self._adapter is None:
            self._failed(
                broken or TransportBroken(CONNECTION_LOST, "it closed the connection during the key exchange")
            )
        else:
            self._adapter.lost()
        self._stream.connectionLost(Failure(broken) if broken is not None else reason)

    # --- receiving -----------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        whole: bytes | bytearray = data
        tail, self._tail = self._tail, None
        if tail is not None:
            tail += data
            if len(tail) < self._opener.need and self._their_version:
                self._tail = tail
                return
            whole = tail
        at = 0
        if not self._their_version:
            at = self._version(whole)
            if at < 0:
                self._tail = bytearray(whole)
                return
        view, end = memoryview(whole), len(whole)
        while at < end and not self._over:
            # However much a transport gives at once, the buffer's size is known.
            stop = min(end, at + max(_SLICE, self._opener.need))
            at += self._open(view[at:stop])
            if stop == end:
                break
        if at < end and not self._over:
            self._tail = bytearray(view[at:])
        self._aged()

    def _open(self, view: memoryview) -> int:
        """Open the packets of one stretch of bytes, and give the stream what is for it.

        :return: how many bytes that took; the others are the beginning of a packet.
        """
        at = to = 0
        out = _PLAIN
        self._up = up = []
        try:
            while not self._over:
                current = self._opener
                size = current.open(view, at, out, to)
                if size < 0:
                    break
                at += current.whole
                kind = out[to + 4]
                if kind >= _FIRST_UP:
                    if self._negotiation is not None or self._adapter is None:
                        self._check_place()
                    to += 4 + size
                    continue
                # Others may use the shared buffer before this returns.
                if to:
                    up.append(out[:to].tobytes())
                payload, to = out[to + 4 : to + 4 + size].tobytes(), 0
                self._control(kind, payload)
        finally:
            if to:
                up.append(out[:to].tobytes())
            self._up = None
            if up and self._adapter is not None:
                self._adapter.payloads(up[0] if len(up) == 1 else b"".join(up))
        return at

    def _check_place(self) -> None:
        """Whether messages from 50 on may come now.

        :raises TransportBroken: they may not.
        """
        if self._adapter is None:
            raise TransportBroken(PROTOCOL_ERROR, "a message before the service that it belongs to")
        if self._negotiation is not None and self._negotiation.their_kexinit is not None:
            raise TransportBroken(PROTOCOL_ERROR, "another message in the middle of a key exchange")

    def _version(self, data: bytes | bytearray) -> int:
        """Look for the peer's version line (RFC 4253 s.4.2).

        :return: where the packets begin, or -1: it isn't there yet.
        """
        at = 0
        for lines in range(BANNER_LINES + 1):
            end = data.find(b"\n", at, at + BANNER_BYTES)
            line = bytes(data[at : end if end >= 0 else at + BANNER_BYTES])
            if line.startswith(b"SSH-"):
                if len(line) >= VERSION_BYTES:
                    raise TransportBroken(
                        PROTOCOL_ERROR, f"its version line is longer than {VERSION_BYTES} bytes"
                    )
                if end < 0:
                    return -1
                line = line.removesuffix(b"\r")
                if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")) or b"\0" in line:
                    raise TransportBroken(VERSION_NOT_SUPPORTED, f"it speaks another version: {_shown(line)}")
                self._their_version = line
                return end + 1
            if not self.we_are_client and not b"SSH-".startswith(line):
                raise TransportBroken(PROTOCOL_ERROR, "what it sent first is no SSH version line")
            if end < 0:
                if len(data) > BANNER_BYTES:
                    break
                return -1
            if lines == BANNER_LINES or end >= BANNER_BYTES:
                break
            at = end + 1
        raise TransportBroken(
            PROTOCOL_ERROR,
            f"no version line within {BANNER_LINES} lines and {BANNER_BYTES:,} bytes",
        )

    def _control(self, kind: int, payload: bytes) -> None:
        """A message that the transport itself takes."""
        negotiation = self._negotiation
        if self._first:
            self._seen += 1
        if kind == _DISCONNECT:
            self._disconnected(payload)
        elif kind == _KEXINIT:
            self._kexinit(payload)
        elif kind == _NEWKEYS:
            self._newkeys(payload)
        elif 30 <= kind < _FIRST_UP:
            if negotiation is None or negotiation.exchange is None:
                raise TransportBroken(PROTOCOL_ERROR, f"message {kind} outside of a key exchange")
            if negotiation.ignore:
                negotiation.ignore = False
                return
            negotiation.exchange.received(payload)
            self._take_keys()
        elif self._first and (self._strict or not _IGNORE <= kind <= _DEBUG):
            raise TransportBroken(PROTOCOL_ERROR, f"message {kind} in the first key exchange")
        elif _IGNORE <= kind <= _DEBUG:
            self._drop(payload)
        elif negotiation is not None and negotiation.their_kexinit is not None:
            raise TransportBroken(PROTOCOL_ERROR, f"message {kind} in the middle of a key exchange")
        elif 5 <= kind <= 7:
            self._service(kind, payload)
        else:
            self._drop(payload)
            sequence = (self._opener.sequence - 1) & 0xFFFF_FFFF
            self._say(bytes((_UNIMPLEMENTED,)) + _UINT32.pack(sequence))

    def _drop(self, payload: bytes) -> None:
        self._dropped += 1
        self.dropped += len(payload)
        if self._dropped > (DROPPED_MESSAGES if self._adapter is not None else 64):
            raise TransportBroken(PROTOCOL_ERROR, "a flood of messages that mean nothing")

    def _disconnected(self, payload: bytes) -> None:
        """The peer says that it leaves. Nothing that it sends after this counts."""
        self._over = True
        if self._adapter is not None and self._up is not None:
            self._up.append(_UINT32.pack(len(payload)) + payload)
            return
        text = ""
        if len(payload) >= 9:
            size = _UINT32.unpack_from(payload, 5)[0]
            text = payload[9 : 9 + min(size, 255)].decode("utf-8", "replace")
        said = f": {inert(text)}" if text else ""
        self._broken = TransportBroken(CONNECTION_LOST, f"it disconnected{said}")
        self._failed(self._broken)
        self.below.loseConnection()

    # --- key exchanges -------------------------------------------------------------------------------

    def _begin(self) -> _Negotiation:
        """Say our offer."""
        self._negotiation = begun = _Negotiation(self._offer())
        if not self._first and self._clock is not None:
            begun.deadline = self._clock.callLater(REKEY_WAIT_SECONDS, self._late)
        if self._adapter is not None:
            self._adapter.hold()
        self._say(begun.kexinit)
        return begun

    def _late(self) -> None:
        if self._negotiation is not None:
            self._negotiation.deadline = None
        self._break(
            TransportBroken(
                KEY_EXCHANGE_FAILED, f"it didn't finish a key exchange within {REKEY_WAIT_SECONDS:g} s"
            )
        )

    def rekey(self) -> None:
        """Ask the peer for new keys, unless that is under way."""
        if self._negotiation is None and not self._over:
            self._begin()

    def _aged(self) -> None:
        """Look whether the keys are used up; after a chunk was received or written."""
        adapter = self._adapter
        if self._negotiation is not None or adapter is None or self._over:
            return
        if adapter.since_rekey < self.rekey_bytes and self._packets() < REKEY_PACKETS:
            clock = self._clock
            if clock is None or clock.seconds() - self._agreed_at < REKEY_SECONDS:
                return
        # A reader that has paused would have to keep what comes until the peer answers: it has its turn first.
        if not adapter.paused:
            self._begin()

    def _packets(self) -> int:
        return max(self._opener.sequence, self._sealer.sequence)

    def _kexinit(self, payload: bytes) -> None:
        negotiation = self._negotiation
        if negotiation is None:
            self._check_pace()
            negotiation = self._begin()
        if negotiation.their_kexinit is not None:
            raise TransportBroken(PROTOCOL_ERROR, "a second KEXINIT in a key exchange")
        theirs = parse_kexinit(payload)
        if self._first:
            self._strict = STRICT[self.we_are_client] in theirs.kex
            if self._strict and self._seen != 1:
                raise TransportBroken(
                    PROTOCOL_ERROR, "strict key exchange: KEXINIT was not the first message"
                )
            self._peer_offer(theirs)
        negotiation.their_kexinit = payload
        negotiation.agreed = agreed = agree(negotiation.offer, theirs, we_are_client=self.we_are_client)
        negotiation.ignore = agreed.wrong_guess
        negotiation.exchange = self._exchange(
            agreed,
            Hello(
                our_version=OUR_VERSION,
                their_version=self._their_version,
                our_kexinit=negotiation.kexinit,
                their_kexinit=payload,
            ),
        )

    def _check_pace(self) -> None:
        """A key exchange that the peer begins.

        :raises TransportBroken: there was one just now.
        """
        if self._adapter is None:
            raise TransportBroken(PROTOCOL_ERROR, "another key exchange before the log-in")
        if (
            self._clock is not None
            and self._clock.seconds() - self._agreed_at < REKEY_APART_SECONDS
            and self._adapter.since_rekey < REKEY_APART_BYTES
        ):
            raise TransportBroken(PROTOCOL_ERROR, "one key exchange after the other")

    def _peer_offer(self, theirs: Offer) -> None:
        """The peer's first offer."""

    def _take_keys(self) -> None:
        """If the exchange has its result: say NEWKEYS, and seal with the new keys from here on."""
        negotiation = self._negotiation
        if negotiation is None or negotiation.exchange is None or negotiation.exchange.keys is None:
            return
        keys, agreed = negotiation.exchange.keys, negotiation.agreed
        assert agreed is not None
        negotiation.keys, negotiation.exchange = keys, None
        if self._session_id is None:
            self._session_id = keys.session_id
        self._host_key = keys.host_key
        self._say(bytes((_NEWKEYS,)))
        derived = keys.derived
        sequence = 0 if self._strict else self._sealer.sequence
        if self.we_are_client:
            self._sealer = sealer(
                agreed.cipher_up, agreed.mac_up, derived[0], derived[2], derived[4], sequence
            )
        else:
            self._sealer = sealer(
                agreed.cipher_down, agreed.mac_down, derived[1], derived[3], derived[5], sequence
            )
        negotiation.sent = True
        if self._first:
            self._keyed()
        elif self._adapter is not None:
            self._adapter.release()

    def _newkeys(self, payload: bytes) -> None:
        negotiation = self._negotiation
        if negotiation is None or negotiation.keys is None or negotiation.agreed is None or len(payload) != 1:
            raise TransportBroken(PROTOCOL_ERROR, "NEWKEYS has no place here")
        agreed, derived = negotiation.agreed, negotiation.keys.derived
        sequence = 0 if self._strict else self._opener.sequence
        if self.we_are_client:
            self._opener = opener(
                agreed.cipher_down, agreed.mac_down, derived[1], derived[3], derived[5], sequence
            )
        else:
            self._opener = opener(
                agreed.cipher_up, agreed.mac_up, derived[0], derived[2], derived[4], sequence
            )
        self._forget_negotiation()
        self._dropped = 0
        if self._clock is not None:
            self._agreed_at = self._clock.seconds()
        if self._first:
            self._first = False
            self._ready(agreed)
        if self._adapter is not None:
            self._adapter.rekeyed()

    def _forget_negotiation(self) -> None:
        negotiation, self._negotiation = self._negotiation, None
        if negotiation is not None and negotiation.deadline is not None:
            negotiation.deadline.cancel()

    def _start(self, agreed: Agreed, extensions: Mapping[str, bytes]) -> Secured:
        """Tell what was agreed on, and give the stream its connection."""
        facts = Secured(
            session_id=self._session_id or b"",
            peer_version=_shown(self._their_version),
            kex=agreed.kex,
            cipher=agreed.cipher,
            mac=agreed.mac,
            host_key_algorithm=agreed.host_key,
            host_key_fingerprint=fingerprint(self._host_key),
            strict_kex=self._strict,
            ext=extensions,
        )
        self._secured(self.leg, facts)
        self._adapter = adapter = Adapter(self, self.below, self._stream)
        self._stream.makeConnection(adapter)
        return facts

    # --- sending -------------------------------------------------------------------------------------

    def _say(self, payload: bytes) -> None:
        """Send a message of the transport's own."""
        self.below.write(self._sealer.seal(payload))

    def seal(self, payload: bytes | memoryview) -> bytes:
        """The packet of a payload of the stream."""
        return self._sealer.seal(payload)

    def used(self) -> None:
        """The stream has written something."""
        self._aged()

    @property
    def exchanging(self) -> bool:
        """Whether a key exchange runs, for which the connection must be read."""
        return self._negotiation is not None

    def soon(self, action: Callable[[], None]) -> None:
        """Do that in the reactor's next turn."""
        if self._clock is None:
            action()
        else:
            self._clock.callLater(0, action)

    # --- ends ----------------------------------------------------------------------------------------

    def _break(self, problem: TransportBroken) -> None:
        """The peer's bytes make no sense: say so in its words, and close."""
        if self._over:
            return
        self._over = True
        self._broken = problem
        self._forget_negotiation()
        self._tail = None
        said = problem.reason.encode("utf-8", "replace")[:1_024]
        self._say(
            bytes((_DISCONNECT,))
            + _UINT32.pack(problem.code)
            + _UINT32.pack(len(said))
            + said
            + _UINT32.pack(0)
        )
        if self._adapter is None:
            self._failed(problem)
        self.below.loseConnection()


def _shown(line: bytes) -> str:
    """A version line as text that controls nothing."""
    return inert(line.decode("utf-8", "replace"))
