"""A leg's SSH transport: versions, packets, key exchanges; payloads up and down. RFC 4253.

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

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IReactorTime
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.inert import inert
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.protocols.ssh.transport.adapter import Adapter
from hoopproxy.protocols.ssh.transport.algorithms import Agreed
from hoopproxy.protocols.ssh.transport.broken import (
    BY_APPLICATION,
    CONNECTION_LOST,
    PROTOCOL_ERROR,
    TransportBroken,
)
from hoopproxy.protocols.ssh.transport.hostkey import fingerprint
from hoopproxy.protocols.ssh.transport.keying import Keying
from hoopproxy.protocols.ssh.transport.limits import (
    DROPPED_FIRST,
    DROPPED_MESSAGES,
    PACKET_BYTES,
    SAID_BYTES,
)
from hoopproxy.protocols.ssh.transport.packet import BULK, FIRST_UP, SLACK, seal_all
from hoopproxy.protocols.ssh.transport.version import OUR_VERSION, find_version, shown

__all__ = ["Layer"]

_DISCONNECT, _IGNORE, _UNIMPLEMENTED, _DEBUG = 1, 2, 3, 4
_KEXINIT, _NEWKEYS = 20, 21
_UINT32: Final = Struct(">I")

_SLICE: Final = 524_288
"""Bytes of a chunk that are opened at once."""
# What a chunk opens to, for all layers of the process; it is copied out before anybody else runs.
_PLAIN: Final = memoryview(bytearray(_SLICE + 2 * PACKET_BYTES + SLACK))


@implementer(IProtocol, IHalfCloseableProtocol)
class Layer(Keying):
    """What both sides have in common.

    :param stream: gets the payloads: ``makeConnection`` once, with an :class:`Adapter`, when the log-in may begin;
        ``dataReceived``, ``readConnectionLost``; and ``connectionLost`` once in any case, with the
        :class:`TransportBroken` for its reason where what the peer sent was no SSH.
    :param secured: called with the leg's name and what was agreed on, before ``stream.makeConnection``.
    :param clock: for the age of keys and the deadline of later key exchanges; by default the connection's
        reactor. The deadline of the first one is whose connection it is.

    :ivar dropped: bytes of messages that mean nothing and went to nobody.
    """

    __slots__ = ("_broken", "_over", "_secured", "_stream", "_tail", "_to", "_up", "dropped")

    leg = ""

    def __init__(
        self, stream: Any, secured: Callable[[str, Secured], None], clock: IReactorTime | None = None
    ) -> None:
        super().__init__(clock)
        self._stream, self._secured = stream, secured
        self._tail: bytearray | None = None
        self._up: list[bytes] | None = None  # while a chunk is opened: what is for the stream so far, ...
        self._to = 0  # ... and how much of the shared buffer is
        self._over = False
        self._broken: TransportBroken | None = None
        self.dropped = 0

    # --- what the sides do ---------------------------------------------------------------------------

    def _service(self, kind: int, payload: bytes) -> None:
        """A message about services or extensions (5 to 7)."""
        raise NotImplementedError

    def _failed(self, problem: BaseException) -> None:
        """The connection ends before the stream began."""

    # --- a protocol over the connection --------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        self.below = transport
        transport.lend()
        if self._clock is None:
            self._clock = getattr(transport, "reactor", None)
        self._begin_first(OUR_VERSION + b"\r\n")

    def connectionMade(self) -> None:
        """Everything was done when the connection was given."""

    def dataReceived(self, data: bytes | memoryview) -> None:
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
        else:
            adapter.read_ended(truncated=self._tail is not None)

    def writeConnectionLost(self) -> None:
        """We ended our direction ourselves."""

    def connectionLost(self, reason: Failure = Failure(CONNECTION_DONE)) -> None:  # noqa: B008  # Twisted's default
        self._over = True
        self._forget_negotiation()
        self._tail = None
        broken = self._broken
        if self._adapter is None:
            self._failed(
                broken or TransportBroken(CONNECTION_LOST, "it closed the connection during the key exchange")
            )
        else:
            self._adapter.lost()
        if broken is not None:
            goes = broken.code in (CONNECTION_LOST, BY_APPLICATION)
            reason = Failure(ConnectionLost(broken.reason) if goes else broken)
        self._stream.connectionLost(reason)

    def end(self, sentence: str) -> None:
        """The session is over before the stream began: say why, and close."""
        if self._adapter is None and hasattr(self, "below"):
            self._break(TransportBroken(BY_APPLICATION, sentence))

    # --- receiving -----------------------------------------------------------------------------------

    def _received(self, data: bytes | memoryview) -> None:
        """Open what came, and give the stream what is for it, in one piece."""
        self._up = up = []
        self._to = 0
        try:
            self._take(data)
        finally:
            if self._to:
                up.append(_PLAIN[: self._to].tobytes())
            self._up = None
            if up and self._adapter is not None:
                self._adapter.payloads(up[0] if len(up) == 1 else b"".join(up))
        if not self._over:
            self.used()

    def _take(self, data: bytes | memoryview) -> None:
        view, at, end = memoryview(data), 0, len(data)
        tail, self._tail = self._tail, None
        if not self._their_version:
            whole = bytes(data) if tail is None else bytes(tail) + data
            found = find_version(whole, banner=self.we_are_client)
            if found is None:
                self._tail = bytearray(whole)
                return
            self._their_version, at = found
            view, end = memoryview(whole), len(whole)
        elif tail is not None:
            at = self._complete(tail, view)
        while at < end and not self._over:
            # However much a transport gives at once, the buffer's size is known.
            stop = min(end, at + max(_SLICE, self._opener.need))
            at += self._open(view[at:stop])
            if stop == end:
                break
        if at < end and not self._over:
            self._tail = bytearray(view[at:])

    def _complete(self, tail: bytearray, view: memoryview) -> int:
        """Open the packet that an earlier chunk began.

        :return: how much of ``view`` belongs to it.
        """
        at = 0
        while True:
            missing = self._opener.need - len(tail)
            if missing > len(view) - at:
                tail += view[at:]
                self._tail = tail
                return len(view)
            tail += view[at : at + missing]
            at += missing
            if self._open(memoryview(tail)) or self._over:
                return at

    def _open(self, view: memoryview) -> int:
        """Open the packets of one stretch of bytes, at most as large as a slice or a packet.

        :return: how many bytes that took; the others are the beginning of a packet.
        """
        at, out, size = 0, _PLAIN, 0
        if self._to + len(view) + SLACK > len(out):
            self._flush()
        while not self._over:
            current = self._opener
            if self._negotiation is None and self._adapter is not None:
                try:
                    size = current.open_many(view, at, out, self._to)
                finally:
                    at, self._to = current.at, current.to
            else:
                size = current.open(view, at, out, self._to)
                at += current.whole if size >= 0 else 0
            if size < 0:
                break
            payload = out[self._to + 4 : self._to + 4 + size]
            kind = payload[0]
            if kind >= FIRST_UP:
                self._check_place()
                self._to += 4 + size
                continue
            told = payload.tobytes()
            # Others may use the shared buffer before this returns.
            self._flush()
            self._control(kind, told)
        return at

    def _flush(self) -> None:
        """Keep what was opened apart from the shared buffer."""
        if self._to and self._up is not None:
            self._up.append(_PLAIN[: self._to].tobytes())
        self._to = 0

    def _check_place(self) -> None:
        """Whether messages from 50 on may come now.

        :raises TransportBroken: they may not.
        """
        if self._adapter is None:
            raise TransportBroken(PROTOCOL_ERROR, "a message before the service that it belongs to")
        if self._negotiation is not None and self._negotiation.their_kexinit is not None:
            raise TransportBroken(PROTOCOL_ERROR, "another message in the middle of a key exchange")

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
        elif kind >= 30:
            self._exchange_message(kind, payload)
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
        if self._dropped > (DROPPED_FIRST if self._adapter is None else DROPPED_MESSAGES):
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
            text = payload[9 : 9 + min(size, SAID_BYTES)].decode("utf-8", "replace")
        said = f": {inert(text)}" if text else ""
        self._broken = TransportBroken(CONNECTION_LOST, f"it disconnected{said}")
        self._failed(self._broken)
        self.below.loseConnection()

    # --- the stream ----------------------------------------------------------------------------------

    def _start(self, agreed: Agreed, extensions: Mapping[str, bytes]) -> Secured:
        """Tell what was agreed on, and give the stream its connection."""
        facts = Secured(
            session_id=self._session_id or b"",
            peer_version=shown(self._their_version),
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

    def send(self, payloads: Sequence[memoryview], size: int) -> None:
        """Send payloads of the stream, of ``size`` bytes together.

        :raises ValueError: one is too large; none was sent.
        """
        if size < BULK:
            seal = self._sealer.seal
            self.below.write(b"".join([seal(payload) for payload in payloads]))
        else:
            seal_all(self._sealer, payloads, size, self.below.write_lent)

    def _break(self, problem: TransportBroken) -> None:
        """What the peer does makes no sense: say so in its words, and close."""
        if self._over:
            return
        self._over = True
        self._broken = problem
        self._forget_negotiation()
        self._tail = None
        said = problem.reason.encode("utf-8", "replace")[:SAID_BYTES]
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
