"""A connection that is a channel of another session: :class:`hoopproxy.gateway.connection.Transport` over it.

What is written goes out as far as the channel's window has room; what came in is given to the protocol when it reads,
and only then does the window open again. All of it happens in turns of the reactor's own: the session outside is never
called while it is told something.
"""

# Twisted's failures and protocols are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import attrs
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IReactorTime
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from hoopproxy.config import Listener
from hoopproxy.gateway.shared import Entrance
from hoopproxy.gateway.transport import HIGH_WATER, LOW_WATER
from hoopproxy.wire.commands import FromInside, ToInside

__all__ = ["Channel", "entrance_inside"]


def entrance_inside(outside: Entrance, plugin: Any, target: str) -> Entrance:
    """A way in for a session inside one of ``outside``: to that target only, by the log-in that was done outside.

    What the listener says for its own protocol holds where it is the same one.
    """
    config, same = outside.config, plugin.name == outside.plugin.name
    inside: Listener = attrs.evolve(
        config,
        protocol=plugin.name,
        targets=(target,),
        login=("established",),
        tls=None,
        options=config.options if same else {},
        secrets=config.secrets if same else {},
    )
    return Entrance(config=inside, plugin=plugin, secrets=outside.secrets if same else {})


class Channel:
    """The connection of a session inside another.

    :param tell: says something to the session outside; called from the reactor only.
    :param peer: where the client outside is.
    """

    def __init__(
        self,
        number: int,
        protocol: Any,
        tell: Callable[[FromInside], None],
        clock: IReactorTime,
        peer: IAddress,
        host: IAddress,
    ) -> None:
        self.reactor = clock
        self.received = self.sent = self.unsent = self.discarded = 0
        self.truncated = False
        self._number, self._protocol, self._tell = number, protocol, tell
        self._peer, self._host = peer, host
        self._begun = self._lost = False
        self._turn: IDelayedCall | None = None
        # Towards the protocol inside.
        self._inbox: list[bytes] = []
        self._their_end = self._told_end = self._over = self._paused = False
        # Towards the client.
        self._queue: deque[bytes] = deque()
        self.buffered = self._room = 0
        self._closing = self._our_end = self._said_end = self._aborted = False
        self._producer: Any = None
        self._full = False

    # --- what the session outside says ---------------------------------------------------------------

    def told(self, command: ToInside) -> None:
        """Keep it for the next turn."""
        if command.data:
            self._inbox.append(command.data)
        self._room += command.room
        self._their_end = self._their_end or command.eof
        self._over = self._over or command.over
        self._soon()

    def outside_is_over(self) -> None:
        """The session outside ends: nothing goes either way any more."""
        self._over = True
        self._soon()

    def _soon(self) -> None:
        if self._turn is None and not self._lost:
            self._turn = self.reactor.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self._lost:
            return
        if not self._begun:
            self._begun = True
            if self._over:  # it was refused
                self._protocol.makeConnection(self)
                self._lose(CONNECTION_DONE)
                return
            self._protocol.makeConnection(self)
        taken = self._deliver()
        data, eof = self._outgoing()
        ends = self._aborted or (self._closing and not self._queue)
        if data or taken or eof or (ends and not self._over):
            self._tell(FromInside(self._number, data, taken, eof, ends))
        if self._over or ends:
            self._lose(ConnectionAborted() if self._aborted else CONNECTION_DONE)
        elif self._full and self.buffered <= LOW_WATER and self._producer is not None:
            self._full = False
            self._producer.resumeProducing()

    def _deliver(self) -> int:
        """Give the protocol what came. Returns how much of the window is free again."""
        taken = 0
        if self._inbox and (self._closing or self._aborted):
            size = sum(map(len, self._inbox))
            self._inbox.clear()
            self.discarded += size
            return size
        if self._inbox and not self._paused:
            data = b"".join(self._inbox)
            self._inbox.clear()
            taken = len(data)
            self.received += taken
            self._protocol.dataReceived(data)
        if self._their_end and not self._told_end and not self._inbox and not self._closing:
            self._told_end = True
            if IHalfCloseableProtocol.providedBy(self._protocol):
                self._protocol.readConnectionLost()
            else:
                self.loseConnection()
        return taken

    def _outgoing(self) -> tuple[bytes, bool]:
        """What may go now, and whether that is the last of it."""
        pieces = []
        while self._queue and self._room and not self._aborted:
            piece = self._queue.popleft()
            if len(piece) > self._room:
                self._queue.appendleft(piece[self._room :])
                piece = piece[: self._room]
            self._room -= len(piece)
            pieces.append(piece)
        data = b"".join(pieces)
        self.buffered -= len(data)
        self.sent += len(data)
        eof = (
            (self._our_end or self._closing) and not self._queue and not self._said_end and not self._aborted
        )
        self._said_end = self._said_end or eof
        return data, eof

    def _lose(self, reason: Any) -> None:
        self._lost = True
        self.unsent += self.buffered
        self.discarded += sum(map(len, self._inbox))
        self.buffered = 0
        self._queue.clear()
        self._inbox.clear()
        self._producer = None
        self._protocol.connectionLost(Failure(reason))

    # --- a transport ---------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._lost or self._closing or self._our_end or self._aborted or self._over:
            self.unsent += len(data)
        elif data:
            self._queue.append(data)
            self.buffered += len(data)
            self._soon()
            if self.buffered > HIGH_WATER and self._producer is not None and not self._full:
                self._full = True
                self._producer.pauseProducing()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def write_lent(self, view: memoryview) -> None:
        self.write(view.tobytes())

    def lend(self) -> None:
        """Nothing is copied here that would not be with it."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if not streaming:
            raise RuntimeError("only producers that are paused and resumed")
        self._producer, self._full = producer, False

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._inbox or self._their_end:
            self._soon()

    def loseConnection(self) -> None:
        self._closing = True
        self._soon()

    def loseWriteConnection(self) -> None:
        self._our_end = True
        self._soon()

    def abortConnection(self) -> None:
        self._aborted = True
        self._soon()

    def getPeer(self) -> IAddress:
        return self._peer

    def getHost(self) -> IAddress:
        return self._host

    def peek(self, count: int = 1) -> bytes | None:
        return b"".join(self._inbox)[:count] or None

    def start_tls(self, *arguments: Any, **options: Any) -> NoReturn:
        raise RuntimeError("there is no TLS inside of a channel")

    def tls_facts(self) -> None:
        return None

    def channel_binding(self, kind: str = "tls-server-end-point") -> bytes | None:
        return None
