"""What a session may ask of a connection, whatever the connection is made of.

Two things give it: :class:`hoopproxy.gateway.transport.EagerConnection`, which owns its socket, and
:class:`hoopproxy.gateway.stock.StockConnection`, over any other Twisted transport.
:func:`hoopproxy.gateway.stock.uniform` sees to it that a protocol always gets one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.interfaces import IAddress, IPullProducer, IPushProducer, IReactorTime

from hoopproxy.gateway.errand import Errand
from hoopproxy.gateway.tls import ClientTLS, ServerTLS, TLSFacts, TLSFailed

__all__ = ["Outcome", "Transport"]

Outcome = Callable[[TLSFacts | TLSFailed], None]
"""Told once how a TLS handshake ended."""


class Transport(Protocol):
    """What a session may ask of a connection, whatever it is made of.

    :ivar received: plaintext bytes handed to the protocol so far (after TLS).
    :ivar sent: plaintext bytes that left this process so far. What was written is ``sent`` plus what is
        buffered; what was buffered when the connection was lost never left.
    :ivar unsent: plaintext bytes that were written and never left, because the connection was closing, broken
        or lost. Once it is lost, what was written is ``sent`` plus ``unsent``.
    :ivar discarded: bytes that came after ``loseConnection`` and went to nobody.
    :ivar truncated: the peer's TLS stream ended without its close_notify.
    """

    received: int
    sent: int
    unsent: int
    discarded: int
    truncated: bool

    @property
    def buffered(self) -> int:
        """Bytes that wait in this process to be sent; with TLS, their ciphertext where there is one already."""

    def write(self, data: bytes) -> None:
        """Send ``data`` now or, in order, when it is possible. Nothing after ``loseConnection``.

        Never calls the protocol back before it returns: a connection found broken is reported from the
        reactor's next turn. It may pause the registered producer.
        """

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Like one ``write`` of all of it."""

    def entrust(self, data: bytes) -> Errand | None:
        """Have another thread send ``data``, in place of a :meth:`write`, if that can be done; ``None``: it can't.

        What is written before the errand is settled, and whatever ends the connection, settles it first.
        """

    def write_lent(self, view: memoryview) -> None:
        """As :meth:`write`, of bytes that are the caller's again once this returns: what must wait is copied."""

    def lend(self) -> None:
        """Give the protocol what arrives as a ``memoryview`` that is good until it returns, where that saves a copy.

        For a protocol whose connection is in plaintext to its end.
        """

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
