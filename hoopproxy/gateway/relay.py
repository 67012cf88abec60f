"""The relay: two connections and the exchange between them. Bytes in, bytes out, and when to stop reading.

It decides nothing. What arrives goes straight to the exchange; what the exchange says goes straight to the
transport's ``write``. Reading from a leg stops for named reasons, which add up, and goes on when the last
of them is gone.
"""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from hoopproxy.errors import ProtocolViolation
from hoopproxy.gateway.connection import Transport
from hoopproxy.gateway.errand import Errand
from hoopproxy.gateway.faults import INTERNAL, described
from hoopproxy.gateway.inside import Channel
from hoopproxy.gateway.leg import Leg
from hoopproxy.gateway.owner import Owner
from hoopproxy.interfaces import ILayers, IRelay
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import Command, FromInside, Refusal, TLSStarted, ToInside
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.exchange import DurableJournal, Exchange
from hoopproxy.wire.recorder import Recorder

if TYPE_CHECKING:
    from hoopproxy.gateway.figures import Figures

__all__ = ["FINISH_SECONDS", "GOODBYE_SECONDS", "Relay"]

FINISH_SECONDS = 5.0
"""How long a target may take to finish its message, before a client that is to be told of the end isn't."""
GOODBYE_SECONDS = 30.0
"""How long a peer may take to read what was sent before its connection was to be closed."""
UNDER_WAY = 1 << 20
"""Bytes on their way to a target that count as sent: reading stops long before there are so many of a stream, but not
within a message."""


@implementer(IRelay)
class Relay:
    """Joins two connections to an exchange.

    :param owner: answers the questions. :param clock: for the deadline of a goodbye.
    :param figures: pauses are counted there, by reason.
    """

    __slots__ = (
        "_cause",
        "_client",
        "_client_layer",
        "_clock",
        "_figures",
        "_goodbye",
        "_inside",
        "_layers",
        "_over",
        "_target",
        "before",
        "exchange",
        "owner",
        "tls",
        "to_client",
        "to_server",
    )

    log = Logger()

    def __init__(
        self,
        client_codec: Codec,
        server_codec: Codec,
        conversation: Conversation,
        *,
        owner: Owner,
        recorder: Recorder,
        journal: DurableJournal,
        clock: IReactorTime,
        figures: Figures,
        layers: ILayers | None = None,
    ) -> None:
        self.owner, self._clock, self._figures = owner, clock, figures
        self._layers = layers
        self.exchange = exchange = Exchange(
            client_codec, server_codec, conversation, relay=self, recorder=recorder, journal=journal
        )
        self._client = Leg("client", self, exchange.client_received)
        self._target = Leg("target", self, exchange.server_received)
        self.to_client: Callable[[bytes], None] = self._nowhere
        self.to_server: Callable[[bytes], None] = self._nowhere
        self.tls: TLSStarted | None = None
        """The client's leg began with TLS: what that established."""
        self.before = 0
        """Bytes that the client's transport had received for somebody else (a PROXY header)."""
        self._cause: str | None = None
        self._goodbye: IDelayedCall | None = None
        self._over = False
        self._inside: dict[int, Channel] | None = None
        self._client_layer: Any = None
        if layers is not None:
            self._client_layer = layers.client(self._client)
            self.to_client = self._unheard

    @property
    def client(self) -> IProtocol:
        """The client-facing end."""
        return self._client if self._layers is None else cast(IProtocol, self._client_layer)

    @property
    def server(self) -> IProtocol:
        """The target-facing end of the stream. What a connection is given is :meth:`facing`."""
        return self._target

    def facing(self, target: str, options: Mapping[str, object]) -> IProtocol:
        """What a connection to ``target`` is given."""
        layers = self._layers
        return (
            self._target if layers is None else cast(IProtocol, layers.target(self._target, target, options))
        )

    # --- what the connections say --------------------------------------------------------------------

    def connected(self, leg: Leg, transport: Transport) -> None:
        """A connection is there."""
        leg.transport = transport
        leg.received, leg.sent = transport.received, transport.sent
        if self._cause is not None or self._over:
            transport.abortConnection()
            return
        if leg is self._client:
            leg.received = self.before
            self.to_client = transport.write
            transport.registerProducer(cast(Any, leg), True)
            self._guarded(self.exchange.open, self.tls)
        else:
            self.to_server = transport.write
            transport.registerProducer(cast(Any, leg), True)
        if leg.why:
            transport.pauseProducing()

    def read_ended(self, leg: Leg) -> None:
        """A peer sent its last byte; it may still read."""
        leg.ended = True
        exchange = self.exchange
        self._guarded(exchange.client_lost if leg is self._client else exchange.server_lost)
        if exchange.closing is not None or exchange.finishing:
            self._close_in_time()
            return
        # A conversation that didn't close knows half-closed connections: the other peer is told.
        other = self._target if leg is self._client else self._client
        other.half_close = True
        self._half_close()

    def _half_close(self) -> None:
        """End our direction of a leg whose other peer has ended its own, once nothing waits for the disk."""
        client, target = self._client, self._target
        if client.half_close and client.transport is not None:
            client.half_close = False
            client.transport.loseWriteConnection()
        if target.half_close and target.transport is not None:
            if self.exchange.waits:
                self.to_server = self._to_server_then_half_close
            else:
                target.half_close = False
                target.transport.loseWriteConnection()

    def _to_server_then_half_close(self, data: bytes) -> None:
        self.transport("target").write(data)
        self._half_close()

    def lost(self, leg: Leg, violation: ProtocolViolation | None = None) -> None:
        """A connection is gone in both directions.

        :param violation: what a layer couldn't make sense of, and closed it for.
        """
        if leg.lost or (leg is self._target and leg.transport is None):
            return  # of a target whose stream never began, whoever dials hears why
        leg.lost = True
        exchange = self.exchange
        if violation is not None:
            leg.ended = True
            self._guarded(exchange.broken, leg is self._client, violation)
        elif not leg.ended:
            leg.ended = True
            self._guarded(exchange.client_lost if leg is self._client else exchange.server_lost)
        if exchange.closing is None and not (exchange.ended or exchange.finishing):
            exchange.closing = f"{leg.name} closed"
        if self._cause is None:
            # What waits for the disk may still go to the target; but not for ever.
            self._close_in_time()
            if not exchange.waits:
                self.close(exchange.closing or "closed")
        self._if_gone()

    def failed(self, problem: BaseException) -> None:
        """Something of ours raised what nobody expected: this session ends, the others don't notice."""
        self._figures.failures += 1
        self.log.error("a session ended by a failure: {what}", what=described(problem))
        try:
            self.exchange.refuse(Refusal("internal", INTERNAL))
        except Exception as again:
            self.log.error("and so did its refusal: {what}", what=described(again))
        if self.exchange.closing is None:
            self.exchange.closing = "internal"
        self.close(self.exchange.closing)

    def _guarded(self, action: Callable[..., None], *arguments: object) -> None:
        try:
            action(*arguments)
        except Exception as problem:
            self.failed(problem)

    # --- what the exchange says (IRelay) -------------------------------------------------------------

    def _unheard(self, data: bytes) -> None:
        """Words before the stream began: the layer says in its own way that it is over."""

    def _nowhere(self, data: bytes) -> None:
        raise RuntimeError("there is no connection to write to")

    def entrust(self, data: bytes) -> Errand | None:
        """Lend another thread the way to the target for ``data``; ``None``: write it when it is time."""
        return self.transport("target").entrust(data)

    def pause(self, leg: str, why: str) -> None:
        """Stop reading from a leg for one more reason."""
        found = self._client if leg == "client" else self._target
        reasons = found.why
        if reasons is None:
            reasons = found.why = set()
        if why in reasons:
            return
        reasons.add(why)
        pauses = self._figures.pauses
        pauses[why] = pauses.get(why, 0) + 1
        if len(reasons) == 1 and found.transport is not None and not found.lost:
            found.transport.pauseProducing()

    def resume(self, leg: str, why: str) -> None:
        """Take that reason back; read on when it was the last."""
        found = self._client if leg == "client" else self._target
        reasons = found.why
        if not reasons or why not in reasons:
            return
        reasons.discard(why)
        if not reasons:
            found.why = None
            if found.transport is not None and not found.lost:
                found.transport.resumeProducing()

    def ask(self, question: Command, token: int) -> None:
        """Put a question to the session."""
        self.owner.ask(question, token)

    def turn(self, callback: Callable[[], None]) -> bool:
        """Whether something long may be read now; if not, call back when it may."""
        return self.owner.turn(partial(self._guarded, callback))

    def answer(self, token: int, answer: object) -> None:
        """Give the exchange an answer. Never call it from within :meth:`ask`."""
        self._guarded(self.exchange.answer, token, answer)
        self._half_close()

    def register_cancel(self, key: bytes, request: bytes) -> None:
        """Remember a cancel key for this session."""
        self.owner.register_cancel(key, request)

    def finishing(self) -> None:
        """The session ends with the message that the target is sending, or in FINISH_SECONDS."""
        if self._goodbye is None and self._cause is None:
            self._goodbye = self._clock.callLater(FINISH_SECONDS, self._unfinished)

    def _unfinished(self) -> None:
        self._goodbye = None
        self._guarded(self.exchange.unfinished)

    # --- sessions inside this one --------------------------------------------------------------------

    def inside(self, number: int, protocol: Any) -> None:
        """A session inside this one: ``protocol`` gets its connection once something is told to it."""
        transport = self.transport("client")
        channel = Channel(
            number, protocol, self._from_inside, self._clock, transport.getPeer(), transport.getHost()
        )
        self._inside = {**(self._inside or {}), number: channel}

    def to_inside(self, told: ToInside) -> None:
        """Tell it something."""
        channels = self._inside or {}
        channel = channels.get(told.number)
        if channel is not None:
            channel.told(told)
            if told.over:
                self._inside = {
                    number: each for number, each in channels.items() if each is not channel
                } or None

    def _from_inside(self, told: FromInside) -> None:
        if told.over and self._inside is not None:
            self._inside = {n: each for n, each in self._inside.items() if n != told.number} or None
        self._guarded(self.exchange.inside, told)

    def _end_inside(self) -> None:
        channels, self._inside = self._inside, None
        for channel in (channels or {}).values():
            channel.outside_is_over()

    def close(self, cause: str) -> None:
        """Send what was written, then close both connections, in at most GOODBYE_SECONDS."""
        if self._cause is not None:
            return
        self._cause = cause
        self._end_inside()
        self.owner.closing(cause)
        for leg in (self._client, self._target):
            transport = leg.transport
            if transport is not None and not leg.lost:
                transport.unregisterProducer()
                transport.loseConnection()
        self._forget_goodbye()
        if self._client_layer is not None and self._client.transport is None:
            self._client_layer.end(cause)
        self._close_in_time()
        # Nobody may be left to say that it is gone.
        self._clock.callLater(0, self._if_gone)

    # --- what the session asks -----------------------------------------------------------------------

    def transport(self, leg: str) -> Transport:
        """The connection of a leg that is connected."""
        found = (self._client if leg == "client" else self._target).transport
        if found is None:
            raise RuntimeError("this leg is not connected")
        return found

    @property
    def held(self) -> int:
        """Bytes in memory that wait for something: for more of them, for their record, or for a target that takes none.

        Of the last only what is more than a stream keeps under way.
        """
        target = self._target.transport
        return self.exchange.held + (0 if target is None else max(0, target.buffered - UNDER_WAY))

    @property
    def moved(self) -> int:
        """Bytes that all directions moved so far: it changes when anything happens."""
        legs = (self._client.transport, self._target.transport)
        return sum(each.received + each.sent for each in legs if each is not None)

    @property
    def client_bytes(self) -> tuple[int, int]:
        """Bytes received from and sent to the client."""
        counts = self._client.counts()
        return counts.received, counts.sent

    def rest(self) -> None:
        """Nothing has passed for some seconds: what can be made again need not lie about."""
        self._guarded(self.exchange.rest)

    # --- the ends ------------------------------------------------------------------------------------

    def _close_in_time(self) -> None:
        if self._goodbye is None and not self._over:
            self._goodbye = self._clock.callLater(GOODBYE_SECONDS, self.abort)

    def _forget_goodbye(self) -> None:
        if self._goodbye is not None and self._goodbye.active():
            self._goodbye.cancel()
        self._goodbye = None

    def abort(self) -> None:
        """Close both connections without waiting for anybody."""
        if self._over:
            return
        if self.exchange.closing is None:
            self.exchange.closing = "aborted"
        if self._cause is None:
            self._cause = self.exchange.closing
            self._end_inside()
            self.owner.closing(self._cause)
        for leg in (self._client, self._target):
            if leg.transport is not None and not leg.lost:
                leg.transport.abortConnection()
        if self._client_layer is not None and self._client.transport is None:
            self._client_layer.end("aborted")
        self._if_gone()

    def _if_gone(self) -> None:
        legs = (self._client, self._target)
        if self._over or any(leg.transport is not None and not leg.lost for leg in legs):
            return
        if self._cause is None and not self._client.lost:
            return  # the client has not connected yet
        if self._cause is None:
            return  # what waits for the disk goes first; a deadline is set
        self._over = True
        self._forget_goodbye()
        try:
            self.exchange.closed(self._client.counts(), self._target.counts())
        except Exception as problem:
            self._figures.failures += 1
            self.log.error("the end of a session is not on record: {what}", what=described(problem))
        self.owner.gone()
