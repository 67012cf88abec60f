"""How an eager connection ends in order: what is buffered, our end of stream, then the peer's.

A mixin of :class:`~hoopproxy.gateway.transport.EagerConnection`, apart because every way to close a
socket early loses somebody's last words.
"""

# Twisted's transports are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from hoopproxy.gateway.secure import Securing

__all__ = ["FLUSH_SECONDS", "LINGER_BYTES", "LINGER_SECONDS", "Ending"]

FLUSH_SECONDS = 60.0
"""After ``loseConnection``: a peer that doesn't take what is buffered in this time is cut off."""
LINGER_SECONDS = 2.0
"""After our end of stream was sent: how long the peer's own end is awaited. Closing earlier, with
unread bytes in the kernel, would send a reset, and the peer would lose our last words."""
LINGER_BYTES = 4_194_304
"""Bytes that are thrown away while waiting for it."""


class Ending(Securing):
    """Adds ``loseConnection`` and ``loseWriteConnection`` to a connection that owns its socket."""

    discarded = 0

    # The host's.
    socket: socket.socket
    _queue: deque[bytes | memoryview] | None
    _writeDisconnecting: bool

    # Class-level defaults: an idle connection pays for none of them.
    _writable = False
    _broken = False
    _deaf = False  # paused, and no handshake that must be read
    _ended = False  # the peer's end of stream was read
    _unusual = False  # what is read is not simply for the protocol
    _read_limit = 0  # bytes of one read; 0: the whole buffer
    _closing: IDelayedCall | None = None
    _clear: deque[memoryview] | None = None  # to be encrypted: see Clear

    # Twisted's, by the host: declared only, so that nothing here stands before them.
    if TYPE_CHECKING:

        def startReading(self) -> None: ...
        def stopReading(self) -> None: ...
        def startWriting(self) -> None: ...
        def stopWriting(self) -> None: ...
        def abortConnection(self) -> None: ...
        def connectionLost(self, reason: Failure) -> None: ...

    def loseConnection(self) -> None:
        if not self.connected or self.disconnecting or self._aborting:
            return
        self.stopReading()
        self._say_goodbye()
        self.disconnecting = 1
        self._deaf = False
        if self._broken:
            return
        if self._queue is None and self._clear is None:
            self.reactor.callLater(0, self._end_soon)
        else:
            self._closing = self.reactor.callLater(FLUSH_SECONDS, self.abortConnection)

    def loseWriteConnection(self) -> None:
        if not self.connected or self.disconnecting or self._writeDisconnecting or self._broken:
            return
        self._say_goodbye()
        self._writeDisconnecting = True
        self.startWriting()

    def _say_goodbye(self) -> None:
        """Nothing is written after this but TLS's own last word."""
        self._recall()
        if self._tls is not None and self._writable and not self._broken:
            if self._tls.secure:
                self._flush_held()
            self._say(self._tls.close())
        self._writable = self._plain = False

    def _end_soon(self) -> None:
        if self.connected and not self._aborting:
            why = self._end_stream()
            if why is not None:
                self.connectionLost(Failure(why))

    def _end_stream(self) -> Any:
        """After ``loseConnection``, all sent: end our direction and wait for the peer to end its own.

        :return: ``None`` while it is awaited, else why the connection ends now.
        """
        self.stopWriting()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        if self._ended:
            return CONNECTION_DONE
        try:
            self.socket.shutdown(socket.SHUT_WR)
            count = len(self.socket.recv(65_536))
        except BlockingIOError:
            pass
        except OSError:
            return CONNECTION_DONE
        else:
            if not count:
                return CONNECTION_DONE
            self.discarded += count
        self._unusual, self._read_limit = True, 0
        self._closing = self.reactor.callLater(LINGER_SECONDS, self._waited)
        self.startReading()
        return None

    def _waited(self) -> None:
        if self.connected:
            self.connectionLost(Failure(CONNECTION_DONE))
