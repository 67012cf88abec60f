"""Listeners: who may come in, what comes before the protocol (PROXY header, TLS), and the session then."""

# Twisted's protocols and failures are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import sys
from typing import Any, cast

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import ClientFacts, SessionRefused, SessionViolation
from hoopproxy.events import LoginFailed as LoginFailedEvent
from hoopproxy.gateway.connection import Transport
from hoopproxy.gateway.faults import INTERNAL, described
from hoopproxy.gateway.proxy_protocol import SIGNATURE, ProxyHeader, ProxyParser
from hoopproxy.gateway.session import Session
from hoopproxy.gateway.shared import Entrance, Shared
from hoopproxy.gateway.stock import uniform
from hoopproxy.gateway.tls import TLSFacts, TLSFailed
from hoopproxy.gateway.upgrade import started
from hoopproxy.wire.commands import Refusal, TLSStarted

__all__ = ["Listener", "peer_facts"]

_HANDSHAKE = 0x16
"""The first byte of a TLS ClientHello's record (RFC 8446 section 5.1)."""
_HEADERS = (SIGNATURE, b"PROXY ")
_MAPPED = "::ffff:"


def peer_facts(address: object) -> ClientFacts:
    """Where a connection comes from: an IP address and port, or a Unix socket."""
    host = getattr(address, "host", None)
    if host is not None:
        return ClientFacts(addr=sys.intern(_plain(str(host))), port=int(getattr(address, "port", 0)))
    return ClientFacts(addr="unix")


def _plain(host: str) -> str:
    """An IPv4 address as such, also where the kernel of a listener on ``::`` says ``::ffff:192.0.2.1``: whoever looks
    for a client, or has a rule about one, looks for one address."""
    return host.removeprefix(_MAPPED) if host.startswith(_MAPPED) and "." in host else host


class Listener(Factory):
    """Makes a session of each accepted connection, by the settings that are in force at that moment."""

    noisy = False
    log = Logger()

    def __init__(self, shared: Shared, name: str) -> None:
        self._shared, self.name = shared, name

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        shared = self._shared
        if shared.draining:
            return None
        entrance = shared.settings.entrances.get(self.name)
        if entrance is None:
            return None  # it is just coming, or going
        shared.figures.add(shared.figures.accepted, self.name)
        facts = peer_facts(addr)
        refusal = shared.crowd.knock()
        if refusal is not None:
            return uniform(self._turned_away(refusal, entrance, facts), shared.clock)
        try:
            if entrance.senders is not None or may_begin_with_tls(entrance):
                return uniform(_Doorway(self, shared, entrance, facts), shared.clock)
            session = self.begin(entrance, facts)
            if isinstance(session, Refusal):
                return uniform(self._turned_away(session, entrance, facts), shared.clock)
            return uniform(self.protocol_of(session, entrance), shared.clock)
        except Exception as problem:
            # A plugin that fails costs this connection, not the listener.
            shared.figures.failures += 1
            self.log.error("listener {name}: no session: {what}", name=self.name, what=described(problem))
            return None

    def begin(self, entrance: Entrance, facts: ClientFacts) -> Session | Refusal:
        """A session, or why there is none; then the place before log-in is given back."""
        refusal = self._shared.crowd.enter(entrance.config.name, facts.addr)
        if refusal is not None:
            self._shared.crowd.pre_login.leave()
            return refusal
        return Session(self._shared, self._shared.settings, entrance, facts)

    def protocol_of(
        self, session: Session, entrance: Entrance, received: int = 0, tls: TLSStarted | None = None
    ) -> Protocol:
        """The protocol that the plugin makes for a session.

        :param received: bytes that the transport received before. :param tls: what it established.
        """
        try:
            pair: tuple[Any, Any] = entrance.plugin.build_pair(session)
        except Exception:
            session.gone()
            raise
        session.arrived(received, tls)
        return cast(Protocol, pair[0])

    def _turned_away(self, refusal: Refusal, entrance: Entrance, facts: ClientFacts) -> Protocol:
        """A protocol that says why and closes. Those that come in floods are counted, not written down."""
        shared = self._shared
        shared.figures.add(shared.figures.refusals, refusal.code)
        if shared.reports.failed(facts.addr, refusal.code, listener=self.name):
            event = SessionRefused(listener=self.name, code=refusal.code)
            self._tell(entrance, facts, event, refusal.sentence)
        return _Goodbye(words(entrance, refusal))

    def _tell(self, entrance: Entrance, facts: ClientFacts, event: Any, reason: str) -> None:
        self._shared.voice.say(
            event, outcome="denied", reason=reason, client=facts, protocol=entrance.plugin.name
        )
        self._shared.journal.commit_soon()

    def turn_away(
        self, transport: Transport, refusal: Refusal, entrance: Entrance, facts: ClientFacts
    ) -> None:
        """The same for a connection that is there already."""
        self._turned_away(refusal, entrance, facts)
        transport.write(words(entrance, refusal))
        transport.loseConnection()

    def violated(self, entrance: Entrance, facts: ClientFacts, reason: str, cause: str) -> None:
        """A stranger sent what isn't legal before there was a session."""
        if self._shared.reports.failed(facts.addr, cause, listener=self.name):
            if cause == "tls":
                self._tell(entrance, facts, LoginFailedEvent(listener=self.name, cause=cause), reason)
            else:
                self._tell(entrance, facts, SessionViolation(peer="client", at=0), reason)


def words(entrance: Entrance, refusal: Refusal) -> bytes:
    """A refusal in the words of the listener's protocol; none when its plugin fails at that."""
    try:
        return bytes(entrance.plugin.refusal(refusal))
    except Exception:
        return b""


def speaks_first(entrance: Entrance) -> bool:
    """Whether the protocol's server speaks first, so that waiting for the client's first byte would be for ever.

    A plugin of such a protocol has ``speaks_first = True``.
    """
    return bool(getattr(entrance.plugin, "speaks_first", False))


def may_begin_with_tls(entrance: Entrance) -> bool:
    """Whether the first byte of a connection tells if it begins with TLS."""
    return entrance.tls is not None and bool(entrance.plugin.alpn) and not speaks_first(entrance)


class _Goodbye(Protocol):
    """Says one thing and closes."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    def connectionMade(self) -> None:
        transport = cast(Transport, self.transport)
        if self._said:
            transport.write(self._said)
        transport.loseConnection()


class _Doorway(Protocol):
    """Reads what may come before the protocol: a PROXY header, then TLS from the first byte on.

    A sender on the allow-list must begin with a PROXY header; from anybody else one is a violation.
    """

    def __init__(self, listener: Listener, shared: Shared, entrance: Entrance, facts: ClientFacts) -> None:
        self._listener, self._shared, self._entrance, self._facts = listener, shared, entrance, facts
        believed = entrance.senders is not None and facts.addr in entrance.senders
        self._proxy = ProxyParser() if believed else None
        self._suspicious = entrance.senders is not None and not believed
        self._held = b""
        self._over = False
        self._deadline: IDelayedCall | None = None

    @property
    def _wire(self) -> Transport:
        return cast(Transport, self.transport)

    def connectionMade(self) -> None:
        if self._proxy is None and speaks_first(self._entrance):
            self._hand_over(b"", None)
            return
        seconds = self._shared.settings.limits["login_seconds"]
        if seconds:
            self._deadline = self._shared.clock.callLater(seconds, self._late)

    def _late(self) -> None:
        self._leave()
        self._wire.abortConnection()

    def _leave(self) -> None:
        """Nothing more is done here, and the place before log-in is free again."""
        if not self._over:
            self._over = True
            self._stop_waiting()
            self._shared.crowd.pre_login.leave()

    def _stop_waiting(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def connectionLost(self, reason: Failure = Failure(CONNECTION_DONE)) -> None:  # noqa: B008  # Twisted's default
        self._leave()

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        try:
            self._read(data)
        except ProtocolViolation as violation:
            self._leave()
            self._listener.violated(self._entrance, self._facts, violation.reason, "proxy")
            self._wire.abortConnection()
        except Exception as problem:
            self._shared.figures.failures += 1
            self._leave()
            self._listener.log.error(
                "listener {name}: a connection failed: {what}",
                name=self._listener.name,
                what=described(problem),
            )
            refusal = Refusal("internal", INTERNAL)
            self._listener.turn_away(self._wire, refusal, self._entrance, self._facts)

    def _read(self, data: bytes) -> None:
        if self._proxy is not None:
            header = self._proxy.feed(data)
            if header is None:
                return
            data, self._proxy = self._proxy.rest, None
            self._believe(header)
        elif self._suspicious and not speaks_first(self._entrance):
            data = self._held = self._held + data
            if any(data.startswith(each) for each in _HEADERS):
                raise ProtocolViolation("a PROXY header from a sender that is not on the list")
            if any(each.startswith(data) for each in _HEADERS):
                return
            self._suspicious = False
        if data or not may_begin_with_tls(self._entrance):
            self._first(data)

    def _believe(self, header: ProxyHeader) -> None:
        if not header.local and header.source is not None:
            self._facts = ClientFacts(
                addr=_plain(header.source) or "unix", port=header.source_port, via_proxy=self._facts.addr
            )

    def _first(self, data: bytes) -> None:
        entrance = self._entrance
        if entrance.tls is not None and may_begin_with_tls(entrance) and data[0] == _HANDSHAKE:
            self._wire.start_tls(entrance.tls, self._secured, already=data, clock=self._shared.clock)
        else:
            self._hand_over(data, None)

    def _secured(self, outcome: TLSFacts | TLSFailed) -> None:
        if self._over:
            return
        if isinstance(outcome, TLSFailed):
            self._leave()
            self._listener.violated(self._entrance, self._facts, outcome.sentence, "tls")
        elif outcome.alpn not in self._entrance.plugin.alpn:
            self._leave()
            self._listener.violated(
                self._entrance, self._facts, "direct TLS without this protocol's ALPN name", "tls"
            )
            self._wire.loseConnection()
        else:
            self._hand_over(b"", started("client", self._wire, outcome))

    def _hand_over(self, rest: bytes, tls: TLSStarted | None) -> None:
        """From here on the connection is the session's."""
        self._over, self._suspicious = True, False
        self._stop_waiting()
        listener, wire = self._listener, self._wire
        session = listener.begin(self._entrance, self._facts)
        if isinstance(session, Refusal):
            listener.turn_away(wire, session, self._entrance, self._facts)
            return
        protocol = listener.protocol_of(session, self._entrance, wire.received - len(rest), tls)
        cast(Any, wire).protocol = protocol
        protocol.makeConnection(cast(Any, wire))
        if rest:
            protocol.dataReceived(rest)
