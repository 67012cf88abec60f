"""Two layers joined in memory: no port, time by hand, bytes moved when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.errors import HoopproxyError
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.protocols.ssh.transport import ClientLayer, HostKey, ServerLayer

__all__ = ["Pair", "Stream", "Wire", "frame", "host_key"]


def frame(payload: bytes) -> bytes:
    """A payload as it stands in a stream."""
    return len(payload).to_bytes(4, "big") + payload


@cache
def host_key(kind: str = "ed25519") -> HostKey:
    """A host key of this kind, one for the whole run."""
    if kind == "ed25519":
        return HostKey(ed25519.Ed25519PrivateKey.generate())
    if kind.startswith("rsa"):
        return HostKey(rsa.generate_private_key(65_537, 2_048))
    curve: Any = {"nistp256": ec.SECP256R1, "nistp384": ec.SECP384R1, "nistp521": ec.SECP521R1}[kind]
    return HostKey(ec.generate_private_key(curve()))


class Wire:
    """One end of a connection in memory, as :class:`hoopproxy.gateway.connection.Transport` says.

    What is written waits until :meth:`Pair.run` moves it; ``stuck`` keeps it here.
    """

    truncated = False

    def __init__(self, reactor: Clock) -> None:
        self.reactor = reactor
        self.protocol: Any = None
        self.waits = bytearray()
        self.received = self.sent = self.unsent = self.discarded = 0
        self.reading = True
        self.stuck = self.closing = self.half = self.lost = self.broken = False
        self.producer: Any = None
        self.told_full = False
        self.writes = 0
        self.high = 65_536
        self.lends = False

    @property
    def buffered(self) -> int:
        return len(self.waits)

    def write(self, data: bytes) -> None:
        assert data.__class__ is bytes
        if self.closing or self.half or self.lost or self.broken:
            self.unsent += len(data)
            return
        self.writes += 1
        self.waits += data
        self.heed()

    def write_lent(self, view: memoryview) -> None:
        self.write(view.tobytes())

    def lend(self) -> None:
        self.lends = True

    def give(self, data: bytes) -> None:
        """Hand it to the protocol; what was lent is something else as soon as that returns."""
        if not self.lends:
            self.protocol.dataReceived(data)
            return
        lent = bytearray(data)
        self.protocol.dataReceived(memoryview(lent))
        lent[:] = b"\xee" * len(lent)

    def heed(self) -> None:
        if self.producer is not None:
            if len(self.waits) > self.high and not self.told_full:
                self.told_full = True
                self.producer.pauseProducing()
            elif not self.waits and self.told_full:
                self.told_full = False
                self.producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def loseConnection(self) -> None:
        self.closing = True

    def loseWriteConnection(self) -> None:
        self.half = True

    def abortConnection(self) -> None:
        self.reactor.callLater(0, self.lose)

    def lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.unsent += len(self.waits)
            self.waits.clear()
            self.protocol.connectionLost(Failure(CONNECTION_DONE))

    def getPeer(self) -> Any:
        return "peer"

    def getHost(self) -> Any:
        return "host"


@implementer(IProtocol, IHalfCloseableProtocol)
class Stream:
    """The protocol above a layer: what it was told, in one list."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said: list[str] = []
        self.chunks: list[bytes] = []
        self.transport: Any = None
        self.reason: BaseException | None = None
        self.on_data: Callable[[bytes], None] | None = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.said.append("made")

    def connectionMade(self) -> None:
        raise AssertionError("nobody calls it")

    def dataReceived(self, data: bytes) -> None:
        assert data.__class__ is bytes
        assert self.transport is not None
        assert not self.transport.paused
        self.chunks.append(data)
        if self.on_data is not None:
            self.on_data(data)

    def readConnectionLost(self) -> None:
        self.said.append("end")

    def writeConnectionLost(self) -> None:
        raise AssertionError("nobody calls it")

    def connectionLost(self, reason: Failure) -> None:
        self.said.append("lost")
        self.reason = reason.value

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def payloads(self) -> list[bytes]:
        """What came, payload by payload; each chunk must hold whole ones."""
        found = []
        for chunk in self.chunks:
            at = 0
            while at < len(chunk):
                end = at + 4 + int.from_bytes(chunk[at : at + 4], "big")
                assert end <= len(chunk), "a chunk ends within a payload"
                found.append(chunk[at + 4 : end])
                at = end
        return found


class Pair:
    """A ServerLayer and a ClientLayer, connected.

    :ivar ready: what the client's layer said: the Secured, or the failure's sentence.
    """

    def __init__(
        self,
        keys: Iterable[HostKey] = (),
        verify: Callable[[str, bytes], None] = lambda algorithm, blob: None,
        server: type[ServerLayer] = ServerLayer,
        client: type[ClientLayer] = ClientLayer,
        **options: Any,
    ) -> None:
        self.clock = Clock()
        self.facts: dict[str, Secured] = {}
        self.up, self.down = Stream("server's"), Stream("client's")
        self.server_wire, self.client_wire = Wire(self.clock), Wire(self.clock)
        self.server = server(self.up, tuple(keys) or (host_key(),), self.secured)
        self.client = client(self.down, verify, self.secured, **options)
        self.ready: Secured | str | None = None
        self.client.ready.addCallbacks(self._is_ready, self._is_not)
        self.server_wire.protocol, self.client_wire.protocol = self.server, self.client

    def start(self) -> Pair:
        self.server.makeConnection(self.server_wire)
        self.client.makeConnection(self.client_wire)
        return self.run()

    def _is_ready(self, facts: Secured) -> None:
        self.ready = facts

    def _is_not(self, failure: Failure) -> None:
        failure.trap(HoopproxyError)
        self.ready = str(failure.value)

    def secured(self, leg: str, facts: Secured) -> None:
        self.facts[leg] = facts

    def step(self, source: Wire, sink: Wire, most: int) -> bool:
        """Move bytes from one end to the other."""
        if source.lost or sink.lost or source.stuck:
            return False
        if source.waits and (sink.reading or sink.closing):
            data = bytes(source.waits[:most])
            del source.waits[:most]
            source.sent += len(data)
            if sink.closing:
                sink.discarded += len(data)
            else:
                sink.received += len(data)
                sink.give(data)
            source.heed()
            return True
        if not source.waits and source.half and sink.reading and not sink.closing:
            source.half, source.broken = False, True
            sink.protocol.readConnectionLost()
            return True
        if not source.waits and source.closing:
            source.lose()
            sink.lose()
            return True
        return False

    def run(self, most: int = 262_144) -> Pair:
        """Move everything that moves."""
        for _ in range(2_000_000):
            moved = self.step(self.client_wire, self.server_wire, most)
            moved = self.step(self.server_wire, self.client_wire, most) or moved
            if not moved:
                due = [
                    call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()
                ]
                if not due:
                    return self
            self.clock.advance(0)
        raise AssertionError("it never rests")
