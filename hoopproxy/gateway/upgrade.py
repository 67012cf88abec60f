"""Taking a leg of a session into TLS, and what the trail and the conversation get to know of it."""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from hoopproxy import events
from hoopproxy.errors import LoginFailed
from hoopproxy.gateway.alike import alike
from hoopproxy.gateway.connection import Transport
from hoopproxy.gateway.tls import ClientTLS, ServerTLS, TLSFacts, TLSFailed
from hoopproxy.identity.certificate import read_certificate
from hoopproxy.wire.commands import TLSStarted

__all__ = ["SNI_MAX", "client_side", "said", "started", "target_side"]

SNI_MAX = 255
"""Characters of a server name that are kept: it is the client's text."""


def said(facts: TLSFacts) -> events.TLSFacts:
    """The facts of a handshake as the trail has them."""
    peer = facts.peer
    return events.TLSFacts(
        version=facts.version,
        cipher=facts.cipher,
        alpn=facts.alpn,
        sni=facts.sni[:SNI_MAX] if facts.sni else None,
        subject=None if peer is None else peer.subject,
        sans=() if peer is None else peer.names,
        fingerprint=None if peer is None else peer.fingerprint,
    )


def started(leg: str, transport: Transport, facts: TLSFacts) -> TLSStarted:
    """What a conversation gets to know. A client's certificate only if it was verified and can be read."""
    certificate = None
    peer = facts.peer
    if leg == "client" and peer is not None and peer.verified:
        try:
            certificate = read_certificate(peer.der)
        except LoginFailed:
            certificate = None
    return TLSStarted(leg, alike(said(facts)), transport.channel_binding(), certificate)


def client_side(transport: Transport, tls: ServerTLS, clock: IReactorTime) -> Deferred[TLSStarted]:
    """We are the server. Fails with ``TLSFailed``; then the connection is closing."""
    return _upgrade("client", transport, tls, clock)


def target_side(transport: Transport, tls: ClientTLS, clock: IReactorTime) -> Deferred[TLSStarted]:
    """We are the client. Fails with ``TLSFailed``; then the connection is closing."""
    return _upgrade("target", transport, tls, clock)


def _upgrade(
    leg: str, transport: Transport, tls: ServerTLS | ClientTLS, clock: IReactorTime
) -> Deferred[TLSStarted]:
    result: Deferred[TLSStarted] = Deferred()

    def done(outcome: TLSFacts | TLSFailed) -> None:
        if isinstance(outcome, TLSFailed):
            result.errback(Failure(outcome))
        else:
            result.callback(started(leg, transport, outcome))

    try:
        transport.start_tls(tls, done, clock=clock)
    except RuntimeError:
        result.errback(Failure(TLSFailed("closed", "the connection was closed before TLS began")))
    return result
