"""One of the two connections of a relay."""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.errors import ProtocolViolation
from hoopproxy.gateway.connection import Transport
from hoopproxy.wire.exchange import Counts

if TYPE_CHECKING:
    from hoopproxy.gateway.relay import Relay

__all__ = ["BULK_BYTES", "Leg"]

BULK_BYTES = 16_384
"""A read of at least this size may have filled memory, so the owner is told to look."""


@implementer(IProtocol, IHalfCloseableProtocol)
class Leg:
    """One connection: its Twisted protocol, its transport, where its counters began, and why it isn't read.

    It is also registered as its transport's producer: told when that has too much to send.
    """

    __slots__ = (
        "_received",
        "_relay",
        "ended",
        "half_close",
        "lost",
        "name",
        "received",
        "sent",
        "transport",
        "why",
    )

    def __init__(self, name: str, relay: Relay, received: Callable[[bytes], None]) -> None:
        self.name, self._relay, self._received = name, relay, received
        self.transport: Transport | None = None
        self.received = self.sent = 0
        self.why: set[str] | None = None
        self.ended = self.lost = self.half_close = False

    def counts(self) -> Counts:
        transport = self.transport
        if transport is None:
            return Counts()
        return Counts(
            received=transport.received - self.received,
            sent=transport.sent - self.sent,
            unsent=transport.unsent,
        )

    # --- a protocol ----------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        self._relay.connected(self, transport)

    def connectionMade(self) -> None:
        """Everything was done when the connection was given."""

    def dataReceived(self, data: bytes) -> None:
        try:
            self._received(data)
        except Exception as problem:
            self._relay.failed(problem)
        if len(data) >= BULK_BYTES:
            self._relay.owner.watch_held()

    def readConnectionLost(self) -> None:
        self._relay.read_ended(self)

    def writeConnectionLost(self) -> None:
        """We ended our direction ourselves."""

    def connectionLost(self, reason: Failure = Failure(CONNECTION_DONE)) -> None:  # noqa: B008  # Twisted's default
        problem = reason.value
        self._relay.lost(self, problem if isinstance(problem, ProtocolViolation) else None)

    # --- a producer ----------------------------------------------------------------------------------

    @property
    def _slowed(self) -> tuple[str, ...]:
        """Whose bytes fill this connection. A client that doesn't read gets no more: neither rows nor answers
        to what it keeps asking."""
        return ("target", "client") if self.name == "client" else ("client",)

    def pauseProducing(self) -> None:
        for leg in self._slowed:
            self._relay.pause(leg, "peer")

    def resumeProducing(self) -> None:
        for leg in self._slowed:
            self._relay.resume(leg, "peer")

    def stopProducing(self) -> None:
        """The connection is gone; ``connectionLost`` says so too."""
