"""The same connection over any other Twisted transport: other reactors, wrapping endpoints, plugins.

Slower than the eager one and with less to see (what waits below belongs to the other transport), but
with the same calls, counters, TLS and facts. Nothing here knows an address or a socket.
"""

# Twisted's transports are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, ITransport
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from hoopproxy.gateway.secure import Securing
from hoopproxy.gateway.tls_stream import MAX_FEED
from hoopproxy.gateway.transport import EagerConnection

__all__ = ["StockConnection", "uniform"]


def uniform(protocol: Any, reactor: Any) -> Protocol:
    """Wrap ``protocol`` so that its ``transport`` is always a
    :class:`~hoopproxy.gateway.connection.Transport`.

    Over the eager transport the wrapper steps out of the way when the connection is made, and so do the
    wrappers of Twisted's endpoints: bytes go from the socket to ``protocol`` without passing through
    them. To be returned by ``buildProtocol``, for accepted and for dialled connections.

    :param protocol: an ``IProtocol``; ``IHalfCloseableProtocol`` is honoured.
    :param reactor: an ``IReactorTime``, for deadlines over other transports.
    """
    return _Uniform(protocol, reactor)


class _Uniform(Protocol):
    def __init__(self, inner: Any, reactor: Any) -> None:
        self._inner, self._reactor = inner, reactor
        self._stock: StockConnection | None = None
        if IHalfCloseableProtocol.providedBy(inner):
            directlyProvides(self, IHalfCloseableProtocol)

    def makeConnection(self, transport: Any) -> None:
        if isinstance(transport, EagerConnection):
            transport.protocol = self._inner
            self._inner.makeConnection(transport)
        else:
            self._stock = StockConnection(transport, self._inner, self._reactor)
            self._inner.makeConnection(self._stock)

    def dataReceived(self, data: bytes) -> None:
        if self._stock is not None:
            self._stock.data_received(data)
        else:
            self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = Failure(CONNECTION_DONE)) -> None:  # noqa: B008  # Twisted's default
        if self._stock is not None:
            self._stock.connection_lost(reason)
        else:
            self._inner.connectionLost(reason)

    def readConnectionLost(self) -> None:
        if self._stock is not None:
            self._stock.read_connection_lost()
        else:
            self._inner.readConnectionLost()

    def writeConnectionLost(self) -> None:
        self._inner.writeConnectionLost()


class _Brake:
    """Told by the transport below when it has too much; tells the producer registered above."""

    def __init__(self, connection: StockConnection) -> None:
        self._connection = connection

    def pauseProducing(self) -> None:
        self._connection.below_is_full(True)

    def resumeProducing(self) -> None:
        self._connection.below_is_full(False)

    def stopProducing(self) -> None:
        self._connection.below_is_full(True)


class StockConnection(Securing):
    """A :class:`~hoopproxy.gateway.connection.Transport` over somebody else's ``ITransport``.

    ``sent`` counts what was handed to it; ``buffered`` is what was written since it said that it is
    full, 0 while it has not. It can end one direction only where it is a plain Twisted connection;
    elsewhere ``loseWriteConnection`` ends both.
    """

    sent = 0
    discarded = 0

    def __init__(self, below: ITransport, protocol: Any, reactor: Any) -> None:
        self._below: Any = below
        self.protocol = protocol
        self.reactor = reactor
        self.connected, self.disconnecting = 1, 0
        self._full = False
        self._waiting = 0
        self._writable = True
        self.producer: Any = None
        self._streaming = True
        below.registerProducer(_Brake(self), True)  # type: ignore[attr-defined]  # an IConsumer, as Twisted's are

    @property
    def buffered(self) -> int:
        return self._waiting + self._held_bytes

    def getPeer(self) -> IAddress:
        return self._below.getPeer()  # type: ignore[no-any-return]

    def getHost(self) -> IAddress:
        return self._below.getHost()  # type: ignore[no-any-return]

    def peek(self, count: int = 1) -> bytes | None:
        return None

    # Sending

    def entrust(self, data: bytes) -> None:
        return None

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError("data must be bytes")
        if not data or not self._writable:
            self.unsent += len(data)
            return
        if self._tls is not None:
            self._write_secure(data)
        else:
            self._push(data, len(data))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def write_lent(self, view: memoryview) -> None:
        self.write(view.tobytes())

    def lend(self) -> None:
        """Nothing is copied here that would not be with it."""

    def _push(self, data: bytes, plain: int) -> None:
        self._below.write(data)
        self.sent += plain
        if self._full:
            self._waiting += len(data)

    def below_is_full(self, full: bool) -> None:
        """The transport below has too much to send, or has room again."""
        self._full = full
        if not full:
            self._waiting = 0
        if self.producer is None or self.disconnecting:
            return
        if not full:
            self.producer.resumeProducing()
        elif self._streaming:
            self.producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError("a producer is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self.producer, self._streaming = producer, streaming
        if self._full and streaming:
            producer.pauseProducing()
        elif not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    # Receiving

    def data_received(self, data: bytes) -> None:
        """Bytes from below."""
        tls = self._tls
        if self.disconnecting or not self.connected:
            self.discarded += len(data)
        elif tls is None:
            self.received += len(data)
            self.protocol.dataReceived(data)
        elif not tls.secure:
            tls.feed(data)
            self._act(self._shake())
        else:
            for start in range(0, len(data), MAX_FEED):
                self._act(self._deliver(tls, tls.decrypt(data[start : start + MAX_FEED])))

    def _act(self, why: Any) -> None:
        if why is None or not self.connected or self.disconnecting:
            return
        if why is CONNECTION_DONE:
            self.read_connection_lost()
        else:
            self.abortConnection()

    def read_connection_lost(self) -> None:
        """The peer's stream has ended."""
        self._note_end()
        half = IHalfCloseableProtocol(self.protocol, None)
        if half is not None and self._done is None:
            half.readConnectionLost()
        else:
            self.loseConnection()

    def pauseProducing(self) -> None:
        self._paused = True
        if self._done is None:
            self._below.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        if self.connected and not self.disconnecting:
            self._below.resumeProducing()
            if self._held_plain:
                self.reactor.callLater(0, self._deliver_held)

    def _handshaking(self, running: bool) -> None:
        if self._paused:
            if running:
                self._below.resumeProducing()
            else:
                self._below.pauseProducing()

    # Closing

    def loseConnection(self) -> None:
        if not self.connected or self.disconnecting:
            return
        self._say_goodbye()
        self.disconnecting = 1
        self._below.unregisterProducer()  # with one registered, Twisted's transports may never close
        if self._paused:
            self._below.resumeProducing()  # and paused ones may not see the peer's end
        self._below.loseConnection()

    def loseWriteConnection(self) -> None:
        if not isinstance(self._below, tcp.Connection):
            self.loseConnection()
        elif self._writable and self.connected:
            self._say_goodbye()
            self._below.loseWriteConnection()

    def _say_goodbye(self) -> None:
        if self._tls is not None and self._writable:
            if self._tls.secure:
                self._flush_held()
            self._say(self._tls.close())
        self._writable = False

    def stopProducing(self) -> None:
        self.loseConnection()

    def abortConnection(self) -> None:
        if not self.connected:
            return
        self._writable, self._aborting, self.disconnecting = False, True, 1
        self._below.unregisterProducer()
        getattr(self._below, "abortConnection", self._below.loseConnection)()

    def connection_lost(self, reason: Failure) -> None:
        """The connection below is gone."""
        if not self.connected:
            return
        by_peer = not self.disconnecting
        self.connected, self._writable = 0, False
        self._cut_off(by_peer)
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(reason if self._failure is None else Failure(self._failure))
