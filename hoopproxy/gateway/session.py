"""A session: who came in, what policy gives them, and the answers to what the exchange asks.

Identity and grant are bound once. The session owns no bytes: those are the relay's and the exchange's.
"""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.errors import JournalRefused
from hoopproxy.events import (
    ClientFacts,
    CommandCancelCompleted,
    CommandCancelRequested,
    SessionViolation,
)
from hoopproxy.events import LoginFailed as LoginFailedEvent
from hoopproxy.gateway.admission import Admitting
from hoopproxy.gateway.around import Around
from hoopproxy.gateway.cancel import deliver, plain_steps
from hoopproxy.gateway.faults import sentence_of
from hoopproxy.gateway.loggingin import LoggingIn
from hoopproxy.gateway.relay import Relay
from hoopproxy.gateway.shared import Entrance, Settings, Shared
from hoopproxy.gateway.upgrade import client_side, target_side
from hoopproxy.interfaces import ILayers, ISession
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import (
    Admit,
    Cancel,
    Command,
    Compute,
    Connect,
    Decide,
    Inside,
    Login,
    Refusal,
    StartTLS,
    TLSStarted,
)
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.inside import Outer
from hoopproxy.wire.verdicts import journal_refusal

__all__ = ["Session"]


@implementer(ISession)
class Session(LoggingIn, Admitting, Around):
    """One client's connection. See :class:`~hoopproxy.gateway.visit.Visit` for its parameters."""

    __slots__ = ()

    def __init__(
        self,
        shared: Shared,
        settings: Settings,
        entrance: Entrance,
        facts: ClientFacts,
        outer: Outer | None = None,
    ) -> None:
        super().__init__(shared, settings, entrance, facts, outer)
        shared.sessions[self.id] = self
        shared.rounds.wake()

    # --- ISession ------------------------------------------------------------------------------------

    def login_method(self, user: str) -> str:
        """What to ask this user for, of what the listener accepts."""
        if "scram" not in self.login_methods:
            return "password"
        if "password" not in self.login_methods:
            return "scram"
        return self._settings.portal.login_method(user)

    def relay(
        self,
        client_codec: Codec,
        server_codec: Codec,
        conversation: Conversation,
        layers: ILayers | None = None,
    ) -> tuple[IProtocol, IProtocol]:
        """The stock pair."""
        shared = self._shared
        self._relay = relay = Relay(
            client_codec,
            server_codec,
            conversation,
            owner=self,
            recorder=self.recorder,
            journal=shared.journal,
            clock=shared.clock,
            figures=shared.figures,
            layers=layers,
        )
        return relay.client, relay.server

    # --- what the listener says ----------------------------------------------------------------------

    def arrived(self, received: int, tls: TLSStarted | None) -> None:
        """The client's connection is about to be given to its protocol.

        :param received: bytes that its transport received for others before. :param tls: it began with TLS.
        """
        if tls is not None:
            self._know_tls(tls)
        if self._relay is not None:
            self._relay.before, self._relay.tls = received, tls

    def refuse(self, refusal: Refusal) -> None:
        """End this session with a sentence in its protocol's own words."""
        relay = self._relay
        if relay is None:
            return
        exchange = relay.exchange
        first = not exchange.ended and exchange.closing is None
        try:
            exchange.refuse(refusal)
            if first and self._keys and exchange.conversation.is_running():
                self._stop_what_runs()
        except Exception as problem:
            relay.failed(problem)

    def _stop_what_runs(self) -> None:
        """A server that ends a session ends its statement, too; one that only loses a client finishes it."""
        with suppress(JournalRefused):  # no record, no action
            self._shared.cancels.end(self._keys)

    def abort(self) -> None:
        """End this session without a word: its time for words is over."""
        if self._relay is not None:
            self._relay.abort()

    @property
    def durable_at(self) -> tuple[str, ...]:
        """The sinks that its commands wait for."""
        return () if self._upstream is None else self._upstream.config.durable_at

    def journal_refuses(self, refused: JournalRefused) -> None:
        """The journal can't write: what waits for its record will not happen."""
        if self._relay is not None:
            try:
                self._relay.exchange.journal_refuses(refused)
            except Exception as problem:
                self._relay.failed(problem)

    # --- questions (Owner) ---------------------------------------------------------------------------

    def ask(self, question: Command, token: int) -> None:
        """Answer later, whatever happens on the way: an error is an answer too."""
        answer: object
        try:
            answer = self._answer_to(question)
        except JournalRefused as refused:
            answer = journal_refusal(refused)
        except Exception as problem:
            answer = self._failure(problem)
        if isinstance(answer, Deferred):
            answer.addErrback(self._failure)
            answer.addCallback(self._deliver, token)
        else:
            self._deliver(answer, token)

    def _answer_to(self, question: Command) -> object:
        if isinstance(question, Login):
            return self._login(question)
        if isinstance(question, Admit):
            return self._admit(question)
        if isinstance(question, Connect):
            return self._connect(question)
        if isinstance(question, StartTLS):
            return self._start_tls(question)
        if isinstance(question, Decide):
            return self._pending
        if isinstance(question, Compute):
            return self._shared.aside.compute(question, self._who, self)
        if isinstance(question, Inside):
            return self._open_inside(question)
        if isinstance(question, Cancel):
            return self._shared.cancels.show(question.key, self.facts.addr)
        raise TypeError("a question that nobody answers")

    @property
    def _who(self) -> str:
        return "" if self.identity is None else self.identity.id

    def turn(self, callback: Callable[[], None]) -> bool:
        """Whether something long of this identity may be read now; if not, call back when it may."""
        return self._shared.aside.turn(callback, self._who, self)

    def _deliver(self, answer: object, token: int) -> None:
        # Always from a later turn: answers given at once would nest without end.
        self._shared.clock.callLater(0, self._give, answer, token)

    def _give(self, answer: object, token: int) -> None:
        if self._relay is not None and not self._over:
            self._relay.answer(token, answer)

    # --- TLS -----------------------------------------------------------------------------------------

    def _start_tls(self, question: StartTLS) -> object:
        relay, clock = self._relay, self._shared.clock
        if relay is None:
            raise TypeError("TLS without a relay")
        if question.leg == "client":
            if self._entrance.tls is None:
                return Refusal("tls", "this listener has no TLS")
            started = client_side(relay.transport("client"), self._entrance.tls, clock)
            return started.addCallbacks(self._know_tls, self._client_tls_failed)
        upstream = self._upstream
        if upstream is None or upstream.tls is None:
            return Refusal("tls", "this target is configured without TLS")
        return target_side(relay.transport("target"), upstream.tls, clock).addErrback(self._target_tls_failed)

    def _know_tls(self, started: TLSStarted) -> TLSStarted:
        self.facts = attrs.evolve(self.facts, tls=started.facts)
        self.recorder.bind(client=self.facts)
        return started

    def _client_tls_failed(self, failure: Failure) -> Refusal:
        sentence = _sentence(failure)
        if self._shared.reports.failed(self.facts.addr, "tls", listener=self.listener):
            self._tell(LoginFailedEvent(listener=self.listener, cause="tls"), sentence)
        return Refusal("tls", sentence)

    def _target_tls_failed(self, failure: Failure) -> Refusal:
        return self._failed("tls", "tls", _sentence(failure))

    # --- cancel --------------------------------------------------------------------------------------

    def register_cancel(self, key: bytes, request: bytes) -> None:
        """Remember a key of this session."""
        if self._shared.cancels.register(key, self, request):
            self._keys += (key,)
        else:
            self.log.warn("session {session}: a cancel key can't be remembered", session=self.id)

    def cancel_requested(self, from_addr: str, request: bytes) -> Deferred[None]:
        """Somebody showed a key of this session, or it is ended: put that on record, pass the request on, record what
        came of it.

        :raises JournalRefused: it can't be recorded; then nothing is passed on.
        """
        recorder, upstream = self.recorder, self._upstream
        recorder.tick()
        asked = CommandCancelRequested(from_addr=from_addr)
        op = recorder.new_id()
        recorder.emit(asked.kind.encode(), asked.body(), op, id=op)
        self._shared.journal.commit_soon()
        if upstream is None:
            return succeed(None)  # keys are the target's, so there is one; a plugin's may be its own
        steps = getattr(upstream.plugin, "cancel_conversation", plain_steps)
        delivered = deliver(
            upstream.endpoint, steps(request, upstream.tls is not None), upstream.tls, self._shared.clock
        )
        return delivered.addBoth(self._cancel_completed, op.decode())

    def _cancel_completed(self, result: Failure | None, op: str) -> Failure | None:
        problem = result.value if isinstance(result, Failure) else None
        failed = problem is not None
        if not failed:
            self._shared.figures.cancels += 1
        if not self._over:
            self.recorder.tick()
            self.recorder.event(
                CommandCancelCompleted(forwarded=not failed),
                op=op,
                outcome="failure" if failed else "success",
                reason=None if problem is None else sentence_of(problem),
                reserve=True,
            )
            self._shared.journal.commit_soon()
        return result

    # --- time and memory -----------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """See whether a limit of time or memory is reached. Called every few seconds."""
        relay = self._relay
        if relay is None or self._over:
            return
        self.watch_held()
        moved = relay.moved
        if moved != self._seen:
            self._seen, self._active, self._rests = moved, now, False
        elif not self._rests:
            self._rests = True
            relay.rest()
        if not self.under_way or relay.exchange.closing is not None:
            return
        self._shared.deadlines.end(self)
        idle, longest = self.limits["idle_seconds"], self.limits["session_seconds"]
        expires = self.identity.expires if self.identity is not None else None
        if idle and now - self._active >= idle:
            self.refuse(Refusal("idle", f"nothing happened for idle_seconds ({idle} s)"))
        elif longest and now - self.began >= longest:
            self.refuse(
                Refusal("lifetime", f"the session is as long as session_seconds allows ({longest} s)")
            )
        elif expires is not None and self._shared.times.wall_ns() >= expires * 1_000_000_000:
            self.refuse(Refusal("lifetime", "the identity has expired; log in again"))

    def watch_held(self) -> None:
        """Compare what this session holds with what all may hold together."""
        if self._relay is None or self._over:
            return
        relay = self._relay
        refusal = self._account.now(relay.held, relay.exchange.spooled, self._who)
        if refusal is not None:
            self.refuse(refusal)

    # --- the end -------------------------------------------------------------------------------------

    def closing(self, cause: str) -> None:
        """The exchange has ended: what is under way isn't wanted any more."""
        dialling, self._dialling = self._dialling, None
        if dialling is not None:
            dialling.give_up()
        self._abandon()
        if self._pending is not None:
            self._pending.cancel()
        self._shared.aside.forget(self)

    def gone(self) -> None:
        """Both connections are gone, and the end is on record."""
        if self._over:
            return
        self._over = True
        shared = self._shared
        shared.deadlines.end(self)
        for key in self._keys:
            shared.cancels.forget(key)
        self._account.close()
        shared.crowd.leave(self.listener, self.facts.addr)
        if not self._let_in:
            shared.crowd.pre_login.leave()
        elif self.identity is not None:
            shared.crowd.unname(self.identity.id)
        self._report_violation()
        self._report_offer()
        if self._relay is not None and self._relay.exchange.refused:  # as its protocol may by itself
            self._count(self._relay.exchange.refused)
        if self._relay is not None and self.identity is not None:
            self._sum_up(self._relay)
        shared.sessions.pop(self.id, None)
        if shared.session_ended is not None:
            shared.session_ended()

    def _report_violation(self) -> None:
        """What a stranger did wrong: counted, and the first of an address on record."""
        found = None if self._relay is None else self._relay.exchange.violation
        if found is not None and self.identity is None:
            peer, at, reason = found
            if self._is_reported("violation"):
                self._tell(SessionViolation(peer=peer, at=at), reason)

    def _sum_up(self, relay: Relay) -> None:
        figures = self._shared.figures
        figures.add(figures.ended, self.listener)
        figures.commands += relay.exchange.commands
        figures.denied += relay.exchange.denied
        received, sent = relay.client_bytes
        figures.bytes_in += received
        figures.bytes_out += sent


def _sentence(failure: Failure) -> str:
    return str(getattr(failure.value, "sentence", "TLS failed"))
