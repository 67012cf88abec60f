"""A slim reactor that a test turns by hand, socket pairs, and protocols that remember what they saw.

No port is opened, nothing sleeps: time is a :class:`twisted.internet.task.Clock`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from zope.interface import implementer

from hoopproxy.gateway.slim import SlimEPollReactor
from tests.ending import at_end


class Turned(SlimEPollReactor):
    """A reactor that does one round when it is told to."""

    def __init__(self) -> None:
        self.known: WeakSet[Any] = WeakSet()
        super().__init__()
        self.clock = Clock()
        self.seconds = self.clock.seconds

    def addReader(self, reader: Any) -> None:
        self.known.add(reader)  # it may not read when the test ends, and is open all the same
        super().addReader(reader)

    def turn(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            self.runUntilCurrent()
            self.doIteration(0)

    def until(self, true: Callable[[], Any], rounds: int = 20_000) -> None:
        for _ in range(rounds):
            if true():
                return
            self.turn()
        raise AssertionError("it never happened")

    def pass_time(self, seconds: float) -> None:
        self.turn()
        self.clock.advance(seconds)
        self.turn(3)


@contextmanager
def turned() -> Iterator[Turned]:
    reactor = Turned()
    try:
        yield reactor
    finally:
        reactor.removeAll()
        for selectable in reactor.known:
            handle = getattr(selectable, "socket", None)
            if handle is not None:
                handle.close()
        reactor._poller.close()
        os.close(reactor.waker.i)
        os.close(reactor.waker.o)


class Seen(Protocol):
    """Remembers everything in one list."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.chunks: list[bytes] = []
        self.react: Callable[[bytes], None] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.chunks.append(data)
        if self.react is not None:
            self.react(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.log.append(("lost", reason.type.__name__))
        self.reason = reason

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def lost(self) -> str | None:
        return self.log[-1][1] if self.log and self.log[-1][0] == "lost" else None


@implementer(IHalfCloseableProtocol)
class HalfSeen(Seen):
    """Goes on when the peer's direction has ended."""

    def readConnectionLost(self) -> None:
        self.log.append("read ended")

    def writeConnectionLost(self) -> None:
        self.log.append("write ended")


def adopt(reactor: Any, sock: socket.socket, protocol: Any) -> Any:
    """An eager transport over a connected socket; closes ``sock`` itself."""
    sock.setblocking(False)
    factory = Factory.forProtocol(lambda: protocol)
    factory.noisy = False
    transport = reactor.adoptStreamConnection(sock.fileno(), sock.family, factory)
    sock.close()
    return transport


def raw_pair(send_buffer: int | None = None) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    at_end(ours.close)
    at_end(theirs.close)
    if send_buffer is not None:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    theirs.setblocking(False)
    return ours, theirs


def take(sock: socket.socket, size: int = 65536) -> bytes | None:
    """What is there now; ``None`` if nothing is; ``b""`` at the end."""
    try:
        return sock.recv(size)
    except BlockingIOError:
        return None
