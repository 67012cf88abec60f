"""What a stream is given for its connection: :class:`hoopproxy.gateway.connection.Transport` in stream bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NoReturn

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPushProducer
from zope.interface import implementer

from hoopproxy.protocols.ssh.transport.broken import PROTOCOL_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.limits import HELD_BYTES, HIGH_WATER

if TYPE_CHECKING:
    from hoopproxy.gateway.connection import Transport
    from hoopproxy.protocols.ssh.transport.layer import Layer

__all__ = ["Adapter"]

_UINT32: Final = Struct(">I")


@implementer(IPushProducer)
class Adapter:
    """The connection of a stream of framed payloads.

    ``write`` takes whole payloads, each behind its length, one or many. While our side of a key exchange runs they
    wait, in order, and count as ``buffered``; over HIGH_WATER of them the registered producer is paused. A stream
    that has paused gets nothing, also while the connection below must be read for a key exchange.

    The counters are in stream bytes: ``sent`` counts a write when the last byte of its packets has left this process.
    ``buffered`` has the packets that wait below, as they are, and the payloads that wait here.
    ``discarded`` has what came after ``loseConnection``: payloads that were opened, and what the connection below
    didn't read.
    """

    __slots__ = (
        "_below",
        "_closing",
        "_credits",
        "_discarded",
        "_ended",
        "_full",
        "_gone",
        "_held",
        "_held_bytes",
        "_inbox",
        "_inbox_bytes",
        "_layer",
        "_lost",
        "_mark",
        "_producer",
        "_slowed",
        "_stream",
        "_streaming",
        "_written",
        "_wrote_all",
        "paused",
        "received",
        "truncated",
        "unsent",
    )

    def __init__(self, layer: Layer, below: Transport, stream: Any) -> None:
        self._layer, self._below, self._stream = layer, below, stream
        self.received = 0
        self.unsent = 0
        self.truncated = False
        self.paused = False
        self._discarded = 0
        self._written = 0  # stream bytes whose packets were given to the connection below
        self._gone = 0  # of these, how many have left, as far as was looked
        self._credits: deque[tuple[int, int]] | None = None  # (below's sent at which, stream bytes) have left
        self._held: list[bytes] | None = None
        self._held_bytes = 0
        self._inbox: list[bytes] | None = None
        self._inbox_bytes = 0
        self._mark = 0
        self._producer: Any = None
        self._streaming = True
        self._full = self._slowed = False
        self._closing = False
        self._ended = self._lost = self._wrote_all = False

    # --- counters ------------------------------------------------------------------------------------

    @property
    def sent(self) -> int:
        if self._credits:
            self._settle(self._below.sent)
        return self._gone

    @property
    def buffered(self) -> int:
        return self._below.buffered + self._held_bytes

    @property
    def discarded(self) -> int:
        return self._discarded + self._below.discarded

    @property
    def since_rekey(self) -> int:
        """Stream bytes in both directions since :meth:`rekeyed`."""
        return self.received + self._written - self._mark

    def _settle(self, below_sent: int) -> None:
        credits = self._credits
        while credits and credits[0][0] <= below_sent:
            self._gone += credits.popleft()[1]
        if not credits:
            self._credits = None

    # --- sending -------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not data:
            return
        if self._closing or self._wrote_all or self._lost:
            self.unsent += len(data)
        elif self._held is not None:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > HIGH_WATER:
                self._heed(slowed=True)
        else:
            self._send(data)
            self._layer.used()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def _send(self, data: bytes) -> None:
        below, size = self._below, len(data)
        before = below.unsent
        self._seal(data, size)
        if below.unsent != before:
            self.unsent += size
            return
        self._written += size
        waits = below.buffered
        if not waits and self._credits is None:
            self._gone += size
            return
        sent = below.sent
        if self._credits is None:
            self._credits = deque()
        self._credits.append((sent + waits, size))
        self._settle(sent)

    def _seal(self, data: bytes, size: int) -> None:
        """Send the packets of one or many framed payloads.

        :raises ValueError: ``data`` is not whole framed payloads.
        """
        view = memoryview(data)
        if size > 4 and _UINT32.unpack_from(data)[0] == size - 4:
            self._layer.send((view[4:],), size)
            return
        # Looked at whole before any of it is sealed: a sealed packet that isn't sent would end the connection.
        payloads, at = [], 0
        while at < size:
            end = at + 4 + (_UINT32.unpack_from(data, at)[0] if size - at > 4 else 0)
            if end > size or end == at + 4:
                raise ValueError("not whole framed payloads")
            payloads.append(view[at + 4 : end])
            at = end
        self._layer.send(payloads, size)

    def hold(self) -> None:
        """A key exchange begins: what is written waits."""
        if self._held is None:
            self._held = []
        if self.paused:
            self._below.resumeProducing()

    def release(self) -> None:
        """Our new keys are in use: what waited goes."""
        held, self._held = self._held, None
        self._held_bytes = 0
        if held:
            self._send(b"".join(held))
        self._heed(slowed=False)
        self._close_below()

    def rekeyed(self) -> None:
        """The key exchange is over."""
        self._mark = self.received + self._written
        if self.paused and not self._closing:
            self._below.pauseProducing()

    # --- receiving -----------------------------------------------------------------------------------

    def payloads(self, chunk: bytes) -> None:
        """Framed payloads that the peer sent.

        :raises TransportBroken: more than may wait for a paused reader.
        """
        if self._closing:
            self._discarded += len(chunk)
        elif self.paused or self._inbox is not None:
            if self._inbox is None:
                self._inbox = []
            self._inbox.append(chunk)
            self._inbox_bytes += len(chunk)
            if self._inbox_bytes > HELD_BYTES:
                raise TransportBroken(
                    PROTOCOL_ERROR, f"more than {HELD_BYTES:,} bytes instead of its part of a key exchange"
                )
        else:
            self.received += len(chunk)
            self._stream.dataReceived(chunk)

    def read_ended(self, truncated: bool) -> None:
        """The peer's stream has ended, in the middle of a packet or not."""
        self.truncated = self.truncated or truncated
        self._ended = True
        if self._inbox is None:
            self._tell_end()

    def _tell_end(self) -> None:
        half = IHalfCloseableProtocol(self._stream, None)
        if half is not None:
            half.readConnectionLost()
        else:
            self.loseConnection()

    def _deliver(self) -> None:
        """What waited for a reader that goes on."""
        if self.paused or self._inbox is None or self._lost:
            return
        inbox, self._inbox, self._inbox_bytes = self._inbox, None, 0
        chunk = b"".join(inbox)
        if self._closing:
            self._discarded += len(chunk)
            return
        self.received += len(chunk)
        self._stream.dataReceived(chunk)
        if self._ended:
            self._tell_end()

    def pauseProducing(self) -> None:
        self.paused = True
        # A key exchange must be read; what comes before its end waits here.
        if not self._layer.exchanging:
            self._below.pauseProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        self._below.resumeProducing()
        if self._inbox is not None:
            self._layer.soon(self._deliver)

    # --- producers -----------------------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if self._lost:
            producer.stopProducing()
            return
        self._producer, self._streaming = producer, streaming
        self._full = False
        self._below.registerProducer(_Brake(self), streaming)
        if self._slowed and streaming:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        if self._producer is not None:
            self._producer = None
            self._below.unregisterProducer()

    def _heed(self, *, slowed: bool | None = None, full: bool | None = None) -> None:
        """The registered producer has to wait while there is a reason: a key exchange, or the connection."""
        before = self._slowed or self._full
        if slowed is not None:
            self._slowed = slowed
        if full is not None:
            self._full = full
        now = self._slowed or self._full
        producer = self._producer
        if producer is None or self._closing:
            return
        if now and not before and self._streaming:
            producer.pauseProducing()
        elif not now and (before or not self._streaming):
            producer.resumeProducing()

    # --- ends ----------------------------------------------------------------------------------------

    def loseConnection(self) -> None:
        if self._closing or self._lost:
            return
        self._closing = True
        self._close_when_sent()

    def loseWriteConnection(self) -> None:
        if self._closing or self._wrote_all or self._lost:
            return
        self._wrote_all = True
        self._close_when_sent()

    def _close_when_sent(self) -> None:
        if not self._held:
            self._close_below()

    def _close_below(self) -> None:
        if self._closing:
            self._below.loseConnection()
        elif self._wrote_all:
            self._below.loseWriteConnection()

    def stopProducing(self) -> None:
        self.loseConnection()

    def abortConnection(self) -> None:
        self._closing = True
        self._below.abortConnection()

    def lost(self) -> None:
        """The connection below is gone."""
        self._lost = True
        self._settle(self._below.sent)
        if self._credits is not None:
            self.unsent += sum(size for _, size in self._credits)
            self._credits = None
        self.unsent += self._held_bytes
        self._held, self._held_bytes = None, 0
        self._discarded += self._inbox_bytes
        self._inbox, self._inbox_bytes = None, 0

    # --- what else a connection is asked -------------------------------------------------------------

    def getPeer(self) -> IAddress:
        return self._below.getPeer()

    def getHost(self) -> IAddress:
        return self._below.getHost()

    def peek(self, count: int = 1) -> bytes | None:
        """Nothing that waits in the kernel is of the stream."""
        return None

    def start_tls(self, *arguments: object, **options: object) -> NoReturn:
        raise RuntimeError("SSH secures this connection already")

    def tls_facts(self) -> None:
        return None

    def channel_binding(self, kind: str = "tls-server-end-point") -> bytes | None:
        return None


@implementer(IPushProducer)
class _Brake:
    """Told by the connection below when it has too much; tells the producer registered above."""

    __slots__ = ("_adapter",)

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def pauseProducing(self) -> None:
        self._adapter._heed(full=True)

    def resumeProducing(self) -> None:
        self._adapter._heed(full=False)

    def stopProducing(self) -> None:
        producer = self._adapter._producer
        self._adapter._producer = None
        if producer is not None:
            producer.stopProducing()
