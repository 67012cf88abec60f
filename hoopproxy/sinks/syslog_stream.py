"""One connection to a syslog receiver over TCP or TLS, and what can be known of it: what the peer's kernel has."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from hoopproxy.errors import HoopproxyError

__all__ = ["Link", "LinkFactory", "unacknowledged"]

_FIRST_LOOK: Final = 0.001  # seconds; the peer's kernel answers within a round trip
_SELDOM: Final = 0.1
_PROBATION: Final = 1.0
"""Seconds that a connection must live before anything is sent on it. In TLS 1.3 a receiver judges our certificate when
for us the handshake is over: what was sent at once would count as taken, and be gone."""
_CLOSE_SECONDS: Final = 3.0  # less than a sink is given to stop: the window is saved after
_KEEPALIVE_SECONDS: Final = 30
_KEEPALIVE_TRIES: Final = 3


def unacknowledged(transport: Any) -> int:
    """Bytes that the peer's kernel has not acknowledged (SIOCOUTQ). 0 where there is no such thing to ask."""
    handle = transport.getHandle()
    if not isinstance(handle, socket.socket):
        return 0
    return int(struct.unpack("i", fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)))[0])


class Link(Protocol):
    """A connection. ``opened`` fires with it once it may be used: the receiver proved who it is, and took us.

    :param reactor: for time. :param lost: called once, with why, unless :meth:`close` was.
    :param unacked: tells what of the raw transport is still on its way.
    """

    def __init__(
        self,
        reactor: Any,
        lost: Callable[[Failure], None],
        *,
        tls: bool,
        unacked: Callable[[Any], int] = unacknowledged,
    ) -> None:
        # One of both: Twisted's endpoints pass on one only.
        directlyProvides(self, IHandshakeListener if tls else IHalfCloseableProtocol)
        self.opened: Deferred[Link] = Deferred()
        self._reactor, self._lost, self._tls, self._unacked = reactor, lost, tls, unacked
        self._sending: Deferred[None] | None = None
        self._closing: Deferred[bool] | None = None
        self._timer: Any = None
        self._is_open = self._is_written = self._is_closing = False

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent on it."""
        return self._is_open and not self._is_closing

    # what Twisted calls

    @property
    def _raw(self) -> Any:
        """The TCP transport, below TLS."""
        return getattr(self.transport, "transport", self.transport) if self._tls else self.transport

    def connectionMade(self) -> None:
        raw: Any = self._raw
        with contextlib.suppress(AttributeError):
            raw.setTcpKeepAlive(1)
        handle = raw.getHandle() if hasattr(raw, "getHandle") else None
        if isinstance(handle, socket.socket) and handle.family != socket.AF_UNIX:
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
            handle.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_SECONDS // _KEEPALIVE_TRIES
            )
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_TRIES)
        if not self._tls:
            self._open()

    def handshakeCompleted(self) -> None:
        self._open()

    def _open(self) -> None:
        self._timer = self._reactor.callLater(_PROBATION, self._prove)

    def _prove(self) -> None:
        self._timer = None
        self._is_open = True
        self.opened.callback(self)

    def dataReceived(self, data: bytes) -> None:
        """A receiver has nothing to say. It is read all the same: closing over unread bytes is a reset."""

    def readConnectionLost(self) -> None:
        """The receiver reads no more: it said so while we close, or it goes away."""
        transport: Any = self.transport
        if self._is_closing:
            self._closed(True)
            transport.loseConnection()
        else:
            transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Our own doing."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        was_open, self._is_open = self._is_open, False
        self._cancel()
        if self._closing is not None:
            self._closed(self._tls and isinstance(reason.value, ConnectionDone))
        if not was_open:
            if not self.opened.called:
                self.opened.errback(reason)
            return
        if self._sending is not None:
            sending, self._sending = self._sending, None
            sending.errback(HoopproxyError("the receiver closed the connection"))
        if not self._is_closing:
            self._lost(reason)

    # producing

    def resumeProducing(self) -> None:
        """The raw transport has nothing left to give to the kernel."""
        if self._is_written and self._sending is not None:
            # At once: with a producer the transport would not close, not even when the receiver says goodbye.
            self._is_written = False
            self._raw.unregisterProducer()
            self._timer = self._reactor.callLater(_FIRST_LOOK, self._look, 2 * _FIRST_LOOK)

    def stopProducing(self) -> None:
        """The connection is lost, as :meth:`connectionLost` will say."""
        self._is_written = False

    def _look(self, again: float) -> None:
        self._timer = None
        if self._sending is None:
            return
        if self._unacked(self._raw):
            self._timer = self._reactor.callLater(again, self._look, min(again * 2, _SELDOM))
            return
        sending, self._sending = self._sending, None
        sending.callback(None)

    # what the sink asks

    def send(self, data: bytes) -> Deferred[None]:
        """Write; fires when the receiver's kernel has acknowledged every byte. One at a time."""
        assert self._sending is None
        transport: Any = self.transport
        sending: Deferred[None] = Deferred()
        self._sending, self._is_written = sending, False
        self._raw.registerProducer(self, False)
        self._is_written = (
            True  # registering asks for more at once; from here on, asking means that all is gone
        )
        transport.write(data)
        return sending

    def abort(self) -> None:
        """Close now, whatever is on its way."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def close(self) -> Deferred[bool]:
        """Say goodbye in order (TLS close_notify, or FIN) and wait for the receiver's, some seconds.

        :return: whether it answered. Without that, closing could reset the connection over what it had not read.
        """
        if not self._is_open:
            self.abort()
            done: Deferred[bool] = Deferred()
            done.callback(False)
            return done
        closing: Deferred[bool] = Deferred()
        self._closing, self._is_closing = closing, True
        transport: Any = self.transport
        if self._is_written:
            self._raw.unregisterProducer()
        self._cancel()
        self._timer = self._reactor.callLater(_CLOSE_SECONDS, self.abort)
        if self._tls:
            transport.loseConnection()
        else:
            transport.loseWriteConnection()
        return closing

    def _closed(self, answered: bool) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            closing.callback(answered)

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


class LinkFactory(Factory):
    """Makes the one link of an attempt."""

    noisy = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def buildProtocol(self, address: object) -> Link:
        return self._link
