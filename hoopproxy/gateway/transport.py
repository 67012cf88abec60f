"""The eager transport: a socket that sends when it is told to, not in the reactor's next turn.

:class:`EagerConnection` is mixed over Twisted's own TCP and UNIX transports (see
:mod:`hoopproxy.gateway.sockets`), so connecting, accepting, addresses and interfaces are Twisted's,
and everything between the socket and the protocol is here:

* ``write`` tries to send at once; what the kernel doesn't take is kept as references and gathered.
* one read fills a buffer that all connections share, and the protocol gets one ``bytes`` of it, or is lent it.
  One read a turn: a connection that floods us gets its turn like any other.
* TLS is a :class:`~hoopproxy.gateway.tls_stream.TLSStream` between the two.

What a relay may count on is :class:`hoopproxy.gateway.connection.Transport`.
"""

# Twisted's transports are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from twisted.internet import error, tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure

from hoopproxy.gateway.clear import Clear
from hoopproxy.gateway.ending import LINGER_BYTES, Ending
from hoopproxy.gateway.errand import Entrusting
from hoopproxy.gateway.lending import LENT_BYTES, Lending
from hoopproxy.gateway.secure import Securing
from hoopproxy.gateway.tls_stream import MAX_FEED

__all__ = ["EagerConnection"]

READ_BYTES = MAX_FEED
"""Bytes that one read takes at most."""
HANDSHAKE_BYTES = 16_384
"""Bytes that one read takes at most while a TLS handshake runs: nobody is trusted with more memory yet."""
HIGH_WATER = 65_536
"""Buffered bytes above which a registered producer is paused."""
LOW_WATER = 16_384
"""Buffered bytes at which it is resumed."""
GATHER = 64
"""Pieces that one sendmsg takes at most; the kernel's own limit is 1,024."""
LAST_READS = 16
"""Reads that are still made when a write finds the connection broken: the peer's last words."""

# One for the whole process. Its bytes are copied out, or were dealt with, before it is read into again, so no two
# connections meet in it.
_CHUNK = memoryview(bytearray(LENT_BYTES))


class EagerConnection(Entrusting, Clear, Ending, Securing, Lending, tcp.Connection):
    """The :class:`~hoopproxy.gateway.connection.Transport` that owns its socket."""

    sent = 0

    # Declared for Twisted's untyped bases.
    connected: int
    disconnecting: int
    producer: Any
    reactor: Any
    protocol: Any
    _aborting: bool
    _writeDisconnecting: bool

    # Class-level defaults: an idle connection pays for none of them.
    _send: Callable[[bytes | memoryview], int]
    _recv_into: Callable[..., int]
    _queue: deque[bytes | memoryview] | None = None
    # With TLS: the plaintext bytes to count as sent when the queue's piece of the same place has gone.
    _credits: deque[int] | None = None
    _queued = 0
    # Whether a write is a send and nothing else: writable, in plaintext, nothing queued, nobody to be asked for more,
    # nothing entrusted to another thread.
    _plain = False

    @property
    def buffered(self) -> int:
        return self._queued + self._held_bytes + self._clear_bytes

    def _opened(self) -> None:
        """The socket is connected and about to get its protocol."""
        self._send, self._recv_into = self.socket.send, self.socket.recv_into
        self._writable = self._plain = True
        # Asked for at every read: an attribute of its own is found in a tenth of the time of a class's default.
        self._deaf = self._unusual = False
        self._read_limit = READ_BYTES

    # Sending

    def write(self, data: bytes) -> None:
        if self._plain and data.__class__ is bytes:
            size = len(data)
            try:
                gone = self._send(data)
            except OSError:
                gone = -1  # said again, and dealt with, below
            if gone == size:
                self.sent += size
                return
            if gone > 0:
                self._push_rest(memoryview(data)[gone:], gone, size)
                return
        if not isinstance(data, bytes):
            raise TypeError("data must be bytes")
        self._recall()
        if not data or not self._writable:
            self.unsent += len(data)
            return
        if self._tls is not None:
            self._write_secure(data)
        else:
            self._push(data, len(data))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def _push(self, data: bytes | memoryview, plain: int) -> None:
        """Send or queue raw bytes that stand for ``plain`` plaintext bytes."""
        size = len(data)
        queue = self._queue
        if queue is None:
            try:
                gone = self._send(data)
            except OSError as problem:
                if problem.errno not in (errno.EAGAIN, errno.ENOBUFS):
                    self.unsent += plain
                    self._break()
                    return
                gone = 0
            if gone == size:
                self.sent += plain
                if self.producer is not None and not self.streamingProducer:
                    self.startWriting()
                return
            self._push_rest(memoryview(data)[gone:], gone, plain)
            return
        queue.append(data)
        if self._credits is not None:
            self._credits.append(plain)
        self._queued += size
        self._heed_high_water()

    def _push_rest(self, rest: memoryview, gone: int, plain: int) -> None:
        """The kernel took only ``gone`` bytes: keep the others until it has room."""
        self._plain = False
        if self._tls is None:
            self.sent += gone
        else:
            self._credits = deque((plain,))
        self._queue = deque((rest,))
        self._queued = len(rest)
        self.startWriting()
        self._heed_high_water()

    def _heed_high_water(self) -> None:
        if self._queued + self._clear_bytes > HIGH_WATER and self.producer is not None:
            self._pause_producer()

    def _pause_producer(self) -> None:
        if self.streamingProducer and not self.producerPaused:
            self.producerPaused = True
            self.producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        # Not Twisted's TLS-aware one: TLS is below the buffer here.
        FileDescriptor.registerProducer(self, producer, streaming)
        self.producerPaused = False
        if self.producer is not None:
            if not streaming:
                self._plain = False
                self.startWriting()
            elif self._queued + self._clear_bytes > HIGH_WATER:
                self._pause_producer()

    @property
    def _usual_producer(self) -> bool:
        """Whether nobody must be asked for more after each write."""
        return self.producer is None or self.streamingProducer

    def unregisterProducer(self) -> None:
        self.producer = None

    def doWrite(self) -> Any:
        queue = self._queue
        if queue is not None:
            try:
                if len(queue) == 1:
                    gone = self._send(queue[0])
                else:
                    gone = self.socket.sendmsg(list(islice(queue, GATHER)))
            except OSError as problem:
                if problem.errno not in (errno.EAGAIN, errno.ENOBUFS):
                    self._break()
                return None
            self._gone(gone)
            if self._queue is not None:
                if (
                    self._queued + self._clear_bytes <= LOW_WATER
                    and self.producer is not None
                    and self.producerPaused
                ):
                    self._resume_producer()
                return None
        if self._clear is not None:
            self._encrypt()
            return None
        return self._drained()

    def _gone(self, count: int) -> None:
        """The kernel took ``count`` raw bytes from the front of the queue."""
        queue, credits = self._queue, self._credits
        if queue is None:
            return
        self._queued -= count
        if credits is None:
            self.sent += count
        while count:
            piece = queue[0]
            size = len(piece)
            if size > count:
                queue[0] = memoryview(piece)[count:]
                break
            queue.popleft()
            if credits is not None:
                self.sent += credits.popleft()
            count -= size
        if not queue:
            self._queue = self._credits = None
            self._plain = self._writable and self._tls is None and self._usual_producer

    def _resume_producer(self) -> None:
        if not self.disconnecting:
            self.producerPaused = False
            self.producer.resumeProducing()

    def _drained(self) -> Any:
        """Nothing is buffered: what waited for that."""
        if self.disconnecting:
            return self._end_stream()
        if self.producer is not None and not self.streamingProducer:
            self.producer.resumeProducing()
            return None
        self.stopWriting()
        if self._writeDisconnecting and not self._writeDisconnected:
            self._writeDisconnected = True
            return self._closeWriteConnection()
        if self.producer is not None and self.producerPaused:
            self._resume_producer()
        return None

    def _break(self) -> None:
        """A write found the connection broken. Said in the reactor's next turn, never inside ``write``."""
        if self._broken:
            return
        self._broken = True
        self._writable = self._plain = False
        self.stopWriting()
        self.reactor.callLater(0, self._broken_off)

    def _broken_off(self) -> None:
        """Deliver the peer's last words if they may be read now, then let go."""
        try:
            for _ in range(LAST_READS):
                before = self.received
                if not self.connected or self._paused or self.disconnecting or self.doRead() is not None:
                    break
                if self.received == before:
                    break
        finally:
            if self.connected:
                self.connectionLost(Failure(CONNECTION_LOST))

    # Receiving

    def doRead(self) -> Any:
        if self._deaf:  # paused by an earlier event of this same round
            return None
        try:
            count = self._recv_into(_CHUNK, self._read_limit)
        except OSError as problem:
            if problem.errno == errno.EAGAIN:
                return None
            self._note_end()
            return CONNECTION_LOST
        if not count:
            return CONNECTION_DONE
        if self._unusual:
            return self._read_unusual(count)
        data = _CHUNK[:count].tobytes()
        self.received += count
        self.protocol.dataReceived(data)
        return None

    def _read_unusual(self, count: int) -> Any:
        if self.disconnecting:
            self.discarded += count
            return CONNECTION_DONE if self.discarded > LINGER_BYTES else None
        tls = self._tls
        if tls is None:  # lent: see Lending
            self.received += count
            self.protocol.dataReceived(_CHUNK[:count])
            return None
        if not tls.secure:
            tls.feed(_CHUNK[:count])
            return self._shake()
        return self._deliver(tls, tls.decrypt(_CHUNK[:count]))

    def readConnectionLost(self, reason: Failure) -> None:
        self._ended = True
        if self.disconnecting or self._done is not None:
            self.connectionLost(reason)
        else:
            self._note_end()
            super().readConnectionLost(reason)

    def pauseProducing(self) -> None:
        self._paused = True
        if self.connected and not self.disconnecting and self._done is None:
            self._deaf = True
            self.stopReading()

    def resumeProducing(self) -> None:
        self._paused = self._deaf = False
        if self.connected and not self.disconnecting and not self._ended and not self._aborting:
            self.startReading()
            if self._held_plain:
                self.reactor.callLater(0, self._deliver_held)

    def _act(self, why: Any) -> None:
        if why is not None and self.connected:
            self.stopReading()
            if why is CONNECTION_DONE:
                self.readConnectionLost(Failure(CONNECTION_DONE))
            else:
                self.connectionLost(Failure(why))

    def peek(self, count: int = 1) -> bytes | None:
        try:
            return self.socket.recv(count, socket.MSG_PEEK) or None
        except OSError:
            return None

    # Closing: see Ending for the orderly ways

    def abortConnection(self) -> None:
        self._recall()
        self._writable = self._plain = False
        super().abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        if not hasattr(self, "socket"):
            return
        self._recall()
        self._writable = self._plain = False
        if self._queue is not None:
            self.unsent += self._queued if self._credits is None else sum(self._credits)
        self._queue = self._credits = None
        self._drop_clear()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._closing = None
        self._cut_off(by_peer=not self.disconnecting and not self._aborting)
        if self._failure is not None and not reason.check(error.ConnectionAborted):
            reason = Failure(self._failure)
        try:
            super().connectionLost(reason)
        finally:
            self.__dict__.pop("_send", None)
            self.__dict__.pop("_recv_into", None)

    # TLS

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        raise RuntimeError("use start_tls: this transport has its own TLS")

    def _handshaking(self, running: bool) -> None:
        self._unusual = True
        if running:
            if self._queue is not None and self._credits is None:
                self._credits = deque(len(piece) for piece in self._queue)
            self._deaf, self._read_limit = False, HANDSHAKE_BYTES
            self.startReading()
        else:
            self._deaf, self._read_limit = self._paused, READ_BYTES
            if self._paused:
                self.stopReading()
