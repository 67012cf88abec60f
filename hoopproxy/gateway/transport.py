"""The eager transport: a socket that sends when it is told to, not in the reactor's next turn.

:class:`EagerConnection` is mixed over Twisted's own TCP and UNIX transports (see
:mod:`hoopproxy.gateway.sockets`), so connecting, accepting, addresses and interfaces are Twisted's,
and everything between the socket and the protocol is here:

* ``write`` tries to send at once; what the kernel doesn't take is kept as references and gathered.
* one read fills a buffer that all connections share, and the protocol gets one ``bytes`` of it. One
  read a turn: a connection that floods us gets its turn like any other.
* TLS is a :class:`~hoopproxy.gateway.tls_stream.TLSStream` between the two.

:class:`Transport` is what a relay may count on; :mod:`hoopproxy.gateway.stock` gives the same over
any other Twisted transport.
"""

# Twisted's transports are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Protocol, cast

from twisted.internet import error, tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IAddress, IDelayedCall, IPullProducer, IPushProducer, IReactorTime
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure

from hoopproxy.gateway.tls import ClientTLS, ServerTLS, TLSFacts, TLSFailed
from hoopproxy.gateway.tls_stream import MAX_FEED, TLSStream

__all__ = ["EagerConnection", "Outcome", "Transport"]

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
FLUSH_SECONDS = 60.0
"""After ``loseConnection``: a peer that doesn't take what is buffered in this time is cut off."""
LINGER_SECONDS = 2.0
"""After our end of stream was sent: how long the peer's own end is awaited. Closing earlier, with
unread bytes in the kernel, would send a reset, and the peer would lose our last words."""
LINGER_BYTES = 4_194_304
"""Bytes that are thrown away while waiting for it."""
LAST_READS = 16
"""Reads that are still made when a write finds the connection broken: the peer's last words."""

Outcome = Callable[[TLSFacts | TLSFailed], None]

# One for the whole process. Its bytes are copied out before any other code runs, so no two
# connections meet in it.
_CHUNK = memoryview(bytearray(READ_BYTES))


class Transport(Protocol):
    """What a session may ask of a connection, whatever it is made of.

    :ivar received: plaintext bytes handed to the protocol so far (after TLS).
    :ivar sent: plaintext bytes that left this process so far. What was written is ``sent`` plus what is
        buffered; what was buffered when the connection was lost never left.
    :ivar discarded: bytes that came after ``loseConnection`` and went to nobody.
    :ivar truncated: the peer's TLS stream ended without its close_notify.
    """

    received: int
    sent: int
    discarded: int
    truncated: bool

    @property
    def buffered(self) -> int:
        """Bytes that wait in this process to be sent; with TLS, their ciphertext."""

    def write(self, data: bytes) -> None:
        """Send ``data`` now or, in order, when it is possible. Nothing after ``loseConnection``.

        Never calls the protocol back before it returns: a connection found broken is reported from the
        reactor's next turn. It may pause the registered producer.
        """

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Like one ``write`` of all of it."""

    def registerProducer(self, producer: IPushProducer | IPullProducer, streaming: bool) -> None:
        """Twisted's: ``producer`` is paused over HIGH_WATER buffered bytes and resumed at LOW_WATER."""

    def unregisterProducer(self) -> None:
        """Twisted's."""

    def pauseProducing(self) -> None:
        """Stop reading; no ``dataReceived`` until ``resumeProducing``."""

    def resumeProducing(self) -> None:
        """Read on."""

    def loseConnection(self) -> None:
        """Send what is buffered, then end the stream, then close. A registered producer doesn't delay it.

        ``connectionLost`` follows when the peer has closed too, at once if it has already, and after
        LINGER_SECONDS in any case.
        """

    def loseWriteConnection(self) -> None:
        """Send what is buffered, then end our direction only (with TLS: close_notify first)."""

    def abortConnection(self) -> None:
        """Close now, by a reset; ``connectionLost`` comes in the reactor's next turn."""

    def getPeer(self) -> IAddress:
        """Twisted's."""

    def getHost(self) -> IAddress:
        """Twisted's."""

    def peek(self, count: int = 1) -> bytes | None:
        """Bytes that wait in the kernel, left there; ``None`` when there are none or it can't be told."""

    def start_tls(
        self,
        settings: ServerTLS | ClientTLS,
        done: Outcome,
        *,
        already: bytes = b"",
        seconds: float = 10.0,
        clock: IReactorTime | None = None,
    ) -> None:
        """Go on in TLS: as server with :class:`ServerTLS`, as client with :class:`ClientTLS`.

        What was written before goes out before it, in plaintext. Bytes that arrived after the plaintext
        agreement to start TLS must be refused by the caller (CVE-2021-23214); only where the first byte
        told that this *is* TLS, they are ``already``, and stop counting as ``received``.

        :param done: called exactly once, never before this returns: with the facts (then data flows),
            or with the failure, whose text is a sentence; then the connection is closing already.
        :param seconds: deadline of the handshake, by ``clock`` (default: the reactor).
        :raises RuntimeError: TLS was started before, or the connection is closed.
        """

    def tls_facts(self) -> TLSFacts | None:
        """The facts of the finished handshake, ``truncated`` as it is now; ``None`` without TLS."""

    def channel_binding(self, kind: str = "tls-server-end-point") -> bytes | None:
        """Channel binding data (RFC 5929), or ``None`` where there is none."""


class EagerConnection(tcp.Connection):
    """The :class:`Transport` that owns its socket. See the module's docstring."""

    received = 0
    sent = 0
    discarded = 0
    truncated = False
    buffered = 0

    # Declared for Twisted's untyped bases.
    connected: int
    disconnecting: int
    producer: Any
    reactor: Any
    _writeDisconnecting: bool

    # Class-level defaults: an idle connection pays for none of them.
    _send: Callable[[bytes | memoryview], int]
    _recv_into: Callable[..., int]
    _queue: deque[bytes | memoryview] | None = None
    # With TLS: the plaintext bytes to count as sent when the queue's piece of the same place has gone.
    _credits: deque[int] | None = None
    _writable = False
    _paused = False
    _ended = False  # the peer's end of stream was read
    _unusual = False  # what is read is not simply for the protocol
    _broken = False
    _closing: IDelayedCall | None = None
    _tls: TLSStream | None = None
    _facts: TLSFacts | None = None
    _done: Outcome | None = None
    _deadline: IDelayedCall | None = None
    _failure: TLSFailed | None = None
    _held_writes: list[bytes] | None = None
    _held_plain = b""

    def _opened(self) -> None:
        """The socket is connected and about to get its protocol."""
        self._send, self._recv_into = self.socket.send, self.socket.recv_into
        self._writable = True

    # Sending

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError("data must be bytes")
        if not data or not self._writable:
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
                    self._break()
                    return
                gone = 0
            if gone == size:
                self.sent += plain
                if self.producer is not None and not self.streamingProducer:
                    self.startWriting()
                return
            data = memoryview(data)[gone:]
            if self._tls is None:
                self.sent += gone
            else:
                self._credits = deque((plain,))
            self._queue = deque((data,))
            self.buffered = size - gone
            self.startWriting()
        else:
            queue.append(data)
            if self._credits is not None:
                self._credits.append(plain)
            self.buffered += size
        if self.buffered > HIGH_WATER and self.producer is not None:
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
                self.startWriting()
            elif self.buffered > HIGH_WATER:
                self._pause_producer()

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
                if self.buffered <= LOW_WATER and self.producer is not None and self.producerPaused:
                    self._resume_producer()
                return None
        return self._drained()

    def _gone(self, count: int) -> None:
        """The kernel took ``count`` raw bytes from the front of the queue."""
        queue, credits = self._queue, self._credits
        if queue is None:
            return
        self.buffered -= count
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
        self._writable = False
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
        try:
            count = self._recv_into(_CHUNK, HANDSHAKE_BYTES if self._done is not None else 0)
        except OSError as problem:
            if problem.errno == errno.EAGAIN:
                return None
            self.truncated = self._tls is not None
            return CONNECTION_LOST
        if not count:
            return self._end_of_stream()
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
        if tls is None:
            return None
        if not tls.secure:
            tls.feed(_CHUNK[:count])
            return self._shake()
        return self._deliver(tls, tls.decrypt(_CHUNK[:count]))

    def _deliver(self, tls: TLSStream, plain: bytes) -> Any:
        """Hand out what was decrypted, then act on what TLS itself said."""
        if self._held_plain:
            plain, self._held_plain = self._held_plain + plain, b""
        if plain:
            self.received += len(plain)
            self.protocol.dataReceived(plain)
            if not self.connected or self.disconnecting:
                return None
        reply = tls.ciphertext()
        if reply:
            self._push(reply, 0)
        if tls.failure is not None:
            self._failure = tls.failure
            return CONNECTION_LOST
        if tls.ended and not self._ended:
            self._ended = True
            return CONNECTION_DONE
        return None

    def _end_of_stream(self) -> Any:
        self._ended = True
        if self._tls is not None and self._tls.secure and not self._tls.ended:
            self.truncated = True
        return CONNECTION_DONE

    def readConnectionLost(self, reason: Failure) -> None:
        self._ended = True
        if self.disconnecting or self._done is not None:
            self.connectionLost(reason)
        else:
            super().readConnectionLost(reason)

    def pauseProducing(self) -> None:
        self._paused = True
        if self.connected and not self.disconnecting:
            self.stopReading()

    def resumeProducing(self) -> None:
        self._paused = False
        if self.connected and not self.disconnecting and not self._ended:
            self.startReading()
            if self._held_plain:
                self.reactor.callLater(0, self._deliver_held)

    def _deliver_held(self) -> None:
        if self._held_plain and self._tls is not None and self.connected and not self._paused:
            self._act(self._deliver(self._tls, b""))

    def _act(self, why: Any) -> None:
        """Outside ``doRead``: what the reactor does with what ``doRead`` returns."""
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

    # Closing

    def loseConnection(self) -> None:
        if not self.connected or self.disconnecting:
            return
        self.stopReading()
        if self._tls is not None and self._writable:
            self._flush_held()
            self._say(self._tls.close())
        self.disconnecting = 1
        self._writable = False
        if self._broken:
            return
        if self.buffered:
            self._closing = self.reactor.callLater(FLUSH_SECONDS, self.abortConnection)
        self.startWriting()

    def loseWriteConnection(self) -> None:
        if not self.connected or self.disconnecting or self._writeDisconnecting or self._broken:
            return
        if self._tls is not None:
            self._flush_held()
            self._say(self._tls.close())
        self._writable = False
        self._writeDisconnecting = True
        self.startWriting()

    def _say(self, ciphertext: bytes) -> None:
        if ciphertext:
            self._push(ciphertext, 0)

    def _end_stream(self) -> Any:
        """After ``loseConnection``, all sent: end our direction and wait for the peer to end its own."""
        self.stopWriting()
        if self._ended:
            return CONNECTION_DONE
        try:
            self.socket.shutdown(socket.SHUT_WR)
            count = self._recv_into(_CHUNK)
        except BlockingIOError:
            count = -1
        except OSError:
            return CONNECTION_DONE
        if not count:
            return CONNECTION_DONE
        self.discarded += max(count, 0)
        self._unusual = True
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._closing = self.reactor.callLater(LINGER_SECONDS, self._waited)
        self.startReading()
        return None

    def _waited(self) -> None:
        if self.connected:
            self.connectionLost(Failure(CONNECTION_DONE))

    def abortConnection(self) -> None:
        self._writable = False
        super().abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        if not hasattr(self, "socket"):
            return
        self._writable = False
        self._queue = self._credits = self._held_writes = None
        self._held_plain = b""
        for timer in (self._closing, self._deadline):
            if timer is not None and timer.active():
                timer.cancel()
        self._closing = self._deadline = None
        if self._done is not None:
            self._failure = TLSFailed("closed", "the connection was closed during the TLS handshake")
            done, self._done = self._done, None
            done(self._failure)
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

    def start_tls(
        self,
        settings: ServerTLS | ClientTLS,
        done: Outcome,
        *,
        already: bytes = b"",
        seconds: float = 10.0,
        clock: IReactorTime | None = None,
    ) -> None:
        if self._tls is not None:
            raise RuntimeError("TLS was started before")
        if not self.connected or self.disconnecting or not self._writable:
            raise RuntimeError("the connection is closed")
        timer = cast(IReactorTime, self.reactor) if clock is None else clock
        self._tls = tls = TLSStream(settings)
        if self._queue is not None:
            self._credits = deque(len(piece) for piece in self._queue)
        self._unusual = True
        self._done = done
        self._deadline = timer.callLater(seconds, self._late, seconds)
        if already:
            self.received -= len(already)
            tls.feed(already)
            # In the reactor's next turn, so that nobody is called back from here.
            self.reactor.callLater(0, self._shake_later)
        elif isinstance(settings, ClientTLS):
            # Only the hello goes out; without the peer's bytes nothing can be finished.
            self._shake()

    def _shake_later(self) -> None:
        if self._done is not None and self.connected and not self.disconnecting:
            self._act(self._shake())

    def _shake(self) -> Any:
        """Go on with the handshake."""
        tls = self._tls
        if tls is None:
            return None
        outcome: TLSFacts | TLSFailed | None
        try:
            outcome = tls.handshake()
        except TLSFailed as problem:
            outcome = problem
        self._say(tls.ciphertext())
        if outcome is None:
            return None
        self._settle(outcome)
        if isinstance(outcome, TLSFailed) or not self.connected or self.disconnecting:
            return None
        # Application data may have come in the same segment as the end of the handshake.
        plain = tls.decrypt(b"")
        if self._paused and plain:
            self._held_plain = plain
            return None
        return self._deliver(tls, plain)

    def _settle(self, outcome: TLSFacts | TLSFailed) -> None:
        """The handshake is over, one way or the other: say so, once."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        done, self._done, self._deadline = self._done, None, None
        if isinstance(outcome, TLSFailed):
            self._failure = outcome
            self._held_writes = None
            self.loseConnection()  # after the alert, which is queued or gone
        else:
            self._facts = outcome
            self._flush_held()
        if done is not None:
            done(outcome)

    def _late(self, seconds: float) -> None:
        if self._done is not None:
            self._settle(TLSFailed("timeout", f"the TLS handshake took more than {seconds:g} seconds"))

    def _write_secure(self, data: bytes) -> None:
        tls = self._tls
        if tls is None or not tls.secure:
            self._held_writes = [*(self._held_writes or ()), data]
            self.buffered += len(data)
            return
        ciphertext = tls.encrypt(data)
        if ciphertext:
            self._push(ciphertext, len(data))

    def _flush_held(self) -> None:
        held, self._held_writes = self._held_writes, None
        for data in held or ():
            self.buffered -= len(data)
            self._write_secure(data)

    def tls_facts(self) -> TLSFacts | None:
        if self._facts is None or not self.truncated:
            return self._facts
        from attrs import evolve

        return evolve(self._facts, truncated=True)

    def channel_binding(self, kind: str = "tls-server-end-point") -> bytes | None:
        return None if self._tls is None else self._tls.channel_binding(kind)
