"""A session: who came in, what policy gives them, and the answers to what the exchange asks.

Identity and grant are bound once. The session owns no bytes: those are the relay's and the exchange's.
"""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import uuid
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.errors import JournalRefused, LoginFailed
from hoopproxy.events import (
    ClientFacts,
    CommandCancelRequested,
    Event,
    Identity,
    LoginSucceeded,
    SessionFailed,
    SessionRefused,
    SessionViolation,
    TargetFacts,
)
from hoopproxy.events import LoginFailed as LoginFailedEvent
from hoopproxy.gateway.cancel import deliver, plain_steps
from hoopproxy.gateway.faults import INTERNAL, described
from hoopproxy.gateway.relay import Owner, Relay
from hoopproxy.gateway.shared import Entrance, Settings, Shared, Upstream
from hoopproxy.gateway.upgrade import client_side, target_side
from hoopproxy.gateway.upstream import Dialling, Unreachable
from hoopproxy.identity.attempt import Attempt
from hoopproxy.interfaces import ISession
from hoopproxy.policy.roles import Grant
from hoopproxy.policy.rules import decider
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import (
    Cancel,
    Command,
    Connect,
    Connected,
    Decide,
    LoggedIn,
    Login,
    Refusal,
    StartTLS,
    TLSStarted,
    Verdict,
)
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.exchange import Admission
from hoopproxy.wire.login import Admitted, Challenge, IPassword, IScram
from hoopproxy.wire.recorder import Recorder, outcome_and_parent, said
from hoopproxy.wire.spool import MakeFile

__all__ = ["Session"]


@implementer(ISession)
class Session(Owner):
    """One client's connection.

    :param facts: where it came from.
    """

    log = Logger()

    def __init__(self, shared: Shared, settings: Settings, entrance: Entrance, facts: ClientFacts) -> None:
        self._shared, self._settings, self._entrance, self.facts = shared, settings, entrance, facts
        config = entrance.config
        self.id = shared.ids.next()
        self.listener = config.name
        self.options = config.options
        self.targets = config.targets
        self.tls = None if entrance.tls is None else "required" if entrance.tls.required else "offered"
        self.login_methods = config.login
        self.insecure_cleartext = config.insecure_cleartext
        self.limits = settings.limits
        state = settings.config.gateway.state
        self.spool: MakeFile | None = lambda: cast(BinaryIO, TemporaryFile(dir=state))
        self.began = shared.clock.seconds()
        self.identity: Identity | None = None
        self.grant: Grant | None = None
        self.recorder = Recorder(
            shared.journal,
            shared.ids,
            shared.times,
            node=shared.node,
            session=uuid.UUID(self.id).bytes,
            session_text=self.id,
            protocol=entrance.plugin.name,
            decoder=entrance.plugin.version,
        )
        self.recorder.bind(client=facts)
        self._relay: Relay | None = None
        self._upstream: Upstream | None = None
        self._attempt: Attempt | None = None
        self._dialling: Dialling | None = None
        self._pending: Deferred[Verdict] | None = None
        self._over = self._let_in = False
        self._keys: list[bytes] = []
        self._held = 0
        self._seen, self._active = -1, self.began
        seconds = settings.limits["login_seconds"]
        self._deadline: IDelayedCall | None = (
            shared.clock.callLater(seconds, self._late, "log-in") if seconds else None
        )
        shared.sessions[self.id] = self
        shared.rounds.wake()

    @property
    def short(self) -> str:
        """The end of the id: what the target's own logs say. Unique in this process."""
        return self.id[-8:]

    @property
    def started(self) -> bool:
        """Whether the target is ready for commands, or was."""
        return self._relay is not None and self._relay.exchange.started

    @property
    def commands(self) -> int:
        """Commands requested so far."""
        return 0 if self._relay is None else self._relay.exchange.commands

    @property
    def denied(self) -> int:
        """Commands denied so far."""
        return 0 if self._relay is None else self._relay.exchange.denied

    # --- ISession ------------------------------------------------------------------------------------

    def login_method(self, user: str) -> str:
        """What to ask this user for, of what the listener accepts."""
        if "scram" not in self.login_methods:
            return "password"
        if "password" not in self.login_methods:
            return "scram"
        return self._settings.portal.login_method(user)

    def relay(
        self, client_codec: Codec, server_codec: Codec, conversation: Conversation
    ) -> tuple[Protocol, Protocol]:
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
        self._shared.figures.add(self._shared.figures.refusals, refusal.code)
        relay = self._relay
        if relay is None:
            return
        try:
            relay.exchange.refuse(refusal)
        except Exception as problem:
            relay.failed(problem)

    def abort(self) -> None:
        """End this session without a word: its time for words is over."""
        if self._relay is not None:
            self._relay.abort()

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
            answer = _journal_refusal(refused)
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
        if isinstance(question, Connect):
            return self._connect(question)
        if isinstance(question, StartTLS):
            return self._start_tls(question)
        if isinstance(question, Decide):
            return self._pending
        if isinstance(question, Cancel):
            return self._shared.cancels.show(question.key, self.facts.addr)
        raise TypeError("a question that nobody answers")

    def _deliver(self, answer: object, token: int) -> None:
        # Always from a later turn: answers given at once would nest without end.
        self._shared.clock.callLater(0, self._give, answer, token)

    def _give(self, answer: object, token: int) -> None:
        if self._relay is not None and not self._over:
            self._relay.answer(token, answer)

    def _failure(self, problem: Any) -> Refusal:
        found = problem.value if isinstance(problem, Failure) else problem
        if isinstance(found, JournalRefused):
            return _journal_refusal(found)
        self._shared.figures.failures += 1
        self.log.error(
            "session {session}: a question failed: {what}", session=self.id, what=described(problem)
        )
        return Refusal("internal", INTERNAL)

    # --- log-in --------------------------------------------------------------------------------------

    def _login(self, login: Login) -> object:
        if self.identity is not None:
            return Refusal("violation", "a second log-in in one session")
        refused = self._shared.journal.refusal_for_new_sessions
        if refused is not None:
            return _journal_refusal(refused)
        credentials: Any = login.credentials
        method = _method(credentials)
        if method not in self.login_methods:
            return self._not_logged_in(Failure(LoginFailed("method")), method, credentials)
        if self._attempt is None:
            self._attempt = self._settings.portal.attempt(self.facts.addr)
        answer: Deferred[Any] = self._attempt.login(credentials)
        answer.addCallbacks(
            self._logged_in,
            self._not_logged_in,
            callbackArgs=(credentials,),
            errbackArgs=(method, credentials),
        )
        return answer

    def _logged_in(self, answer: Admitted | Challenge, credentials: Any) -> object:
        if isinstance(answer, Challenge):
            return answer
        if self._over:
            return None
        self._attempt = None
        shared, identity = self._shared, answer.identity
        self.recorder.tick()
        self.recorder.bind(identity=identity)
        self.recorder.open()
        self.identity = identity
        event = LoginSucceeded(
            method=identity.method, name=str(getattr(credentials, "user", "")), listener=self.listener
        )
        self.recorder.event(event, outcome="success")
        counts = shared.figures.logins
        counts["success", identity.method] = counts.get(("success", identity.method), 0) + 1
        refusal = shared.crowd.name(identity.id)
        if refusal is not None:
            return self._refused(refusal)
        self._let_in = True
        shared.crowd.pre_login.leave()
        self._restart_deadline("connecting to the target")
        return LoggedIn(identity, answer.data)

    def _not_logged_in(self, failure: Failure, method: str, credentials: Any) -> Refusal:
        problem = failure.value
        if not isinstance(problem, LoginFailed):
            return self._failure(failure)
        self._attempt = None
        shared, name = self._shared, str(getattr(credentials, "user", ""))
        counts = shared.figures.logins
        counts[problem.cause, method] = counts.get((problem.cause, method), 0) + 1
        if shared.reports.failed(self.facts.addr, problem.cause, name):
            event = LoginFailedEvent(method=method, name=name, listener=self.listener, cause=problem.cause)
            self._tell(event)
        return Refusal("login", "the log-in was refused")

    def _tell(self, event: Any, reason: str | None = None) -> None:
        """An event about a stranger: it opens no session on record."""
        self._shared.voice.say(
            event, outcome="failure", reason=reason, client=self.facts, protocol=self._entrance.plugin.name
        )
        self._shared.journal.commit_soon()

    # --- admission -----------------------------------------------------------------------------------

    def _connect(self, asked: Connect) -> object:
        if self.identity is None or self.grant is not None:
            return Refusal("violation", "there is nobody to connect, or they are connected already")
        target = self._target(asked.target)
        if isinstance(target, Refusal):
            return self._refused(target, asked)
        answer = self._settings.policy.admit(
            self.identity, self.listener, target, asked.account, asked.database
        )
        if isinstance(answer, Deferred):
            return answer.addCallback(self._admitted, asked)
        return self._admitted(answer, asked)

    def _target(self, named: str | None) -> str | Refusal:
        """The target that the client named, by user name or by TLS server name, or the only one."""
        sni = self.facts.tls.sni if self.facts.tls is not None else None
        meant = sni if sni in self.targets else None
        if named is None:
            if meant is not None:
                return meant
            if len(self.targets) == 1:
                return self.targets[0]
            return Refusal("authorization", "this listener has several targets; name one (user=target)")
        if meant is not None and meant != named:
            return Refusal("authorization", "the user name and the TLS server name name different targets")
        if named not in self.targets:
            who = self.identity.id if self.identity is not None else "this log-in"
            return Refusal("authorization", f"no role gives {who} the target {named}")
        return named

    def _admitted(self, answer: object, asked: Connect) -> object:
        if self._over:
            return None
        if isinstance(answer, Refusal):
            return self._refused(answer, asked)
        if not isinstance(answer, Grant) or self._relay is None:
            raise TypeError("policy gave neither a grant nor a refusal")
        upstream = self._settings.upstreams.get(answer.target)
        account = None if upstream is None else upstream.config.accounts.get(answer.account)
        if upstream is None or (account is None and upstream.config.accounts):
            return self._refused(Refusal("authorization", "the target has no such account"), asked)
        config, journal = upstream.config, self._settings.config.journal
        self.grant, self._upstream = answer, upstream
        self.recorder.tick()
        self.recorder.bind(
            target=TargetFacts(name=config.name, labels=dict(config.labels), account=answer.account)
        )
        self._relay.exchange.admit(
            Admission(
                decide=self._decider(answer),
                mode=config.mode,
                record=config.record,
                role=answer.role,
                listener=self.listener,
                max_lag_bytes=journal.max_lag_bytes,
                max_lag_ns=journal.max_lag_ms * 1_000_000,
            )
        )
        self._dialling = Dialling(upstream, self._relay.server, self._shared.resolve, self._shared.clock)
        dialled = self._dialling.dial(None if account is None else account.password)
        return dialled.addCallbacks(
            self._connected,
            self._unreachable,
            callbackArgs=(answer, upstream, "" if account is None else account.user),
        )

    def _connected(self, password: bytes | None, grant: Grant, upstream: Upstream, user: str) -> Connected:
        self._dialling = None
        return Connected(
            target=grant.target,
            account=grant.account,
            user=user,
            password=password,
            role=grant.role,
            tls=upstream.tls is not None,
            options=upstream.config.options,
            session=self.short,
        )

    def _unreachable(self, failure: Failure) -> Refusal:
        self._dialling = None
        problem = failure.value
        if not isinstance(problem, Unreachable):
            return self._failure(failure)
        return self._failed("connect", "connect", problem.sentence)

    def _failed(self, stage: str, code: str, sentence: str) -> Refusal:
        """The target can't be had: on record with the cause, to the client without it."""
        if not self._over and self._relay is not None and self._relay.exchange.closing is None:
            event_id = self._record(SessionFailed(listener=self.listener, stage=stage), "failure", sentence)
            name = self.grant.target if self.grant is not None else ""
            self.log.warn(
                "session {session}: target {target}: {sentence}",
                session=self.id,
                target=name,
                sentence=sentence,
            )
            self._shared.figures.add(self._shared.figures.refusals, code)
            return Refusal(code, f"the target {name} can't be reached", event=event_id)
        return Refusal(code, "the session is over")

    def _refused(self, refusal: Refusal, asked: Connect | None = None) -> Refusal:
        """An identity asked for what it doesn't get: on record, with an id to ask the auditor about."""
        self._shared.figures.add(self._shared.figures.refusals, refusal.code)
        event = SessionRefused(
            listener=self.listener,
            code=refusal.code,
            target=asked.target if asked is not None else None,
            account=asked.account if asked is not None else None,
            database=asked.database if asked is not None else None,
        )
        return attrs.evolve(refusal, event=self._record(event, "denied", refusal.sentence))

    def _record(self, event: Event, outcome: str, reason: str) -> str:
        """An event of this session that says why it comes to nothing; returns its id."""
        recorder = self.recorder
        recorder.tick()
        event_id = recorder.new_id()
        recorder.emit(
            event.kind.encode(),
            event.body(),
            more=outcome_and_parent(outcome, None),
            reason=said(reason),
            id=event_id,
            reserve=True,
        )
        return event_id.decode()

    # --- verdicts ------------------------------------------------------------------------------------

    def _decider(self, grant: Grant) -> Callable[[Decide], Verdict | None]:
        if getattr(self._settings.policy, "prepared", False):
            return decider(grant)
        return self._decide_or_wait

    def _decide_or_wait(self, decide: Decide) -> Verdict | None:
        """What a policy plugin says; ``None`` while it thinks, for the exchange to ask."""
        try:
            answer = self._settings.policy.decide(self.grant, decide)
        except Exception as problem:
            return Verdict(False, (), self._failure(problem))
        if isinstance(answer, Verdict):
            return answer
        if not isinstance(answer, Deferred):
            return Verdict(False, (), self._failure(TypeError("policy gave no verdict")))
        found: list[object] = []
        answer.addCallbacks(self._verdict, lambda failure: Verdict(False, (), self._failure(failure)))
        answer.addCallback(found.append)
        if found:
            return cast(Verdict, found[0])
        self._pending = answer.addCallback(lambda _: cast(Verdict, found[0]))
        return None

    @staticmethod
    def _verdict(answer: object) -> Verdict:
        if not isinstance(answer, Verdict):
            raise TypeError("policy gave no verdict")
        return answer

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
        if self._shared.reports.failed(self.facts.addr, "tls"):
            self._tell(LoginFailedEvent(listener=self.listener, cause="tls"), sentence)
        return Refusal("tls", sentence)

    def _target_tls_failed(self, failure: Failure) -> Refusal:
        return self._failed("tls", "tls", _sentence(failure))

    # --- cancel --------------------------------------------------------------------------------------

    def register_cancel(self, key: bytes, request: bytes) -> None:
        """Remember a key of this session."""
        if self._shared.cancels.register(key, self, request):
            self._keys.append(key)
        else:
            self.log.warn("session {session}: a cancel key can't be remembered", session=self.id)

    def cancel_requested(self, from_addr: str, request: bytes) -> Deferred[None]:
        """Somebody showed a key of this session: put that on record, then pass the request on."""
        upstream = self._upstream
        forwards = upstream is not None and self._shared.journal.refusal is None
        self.recorder.tick()
        self.recorder.event(
            CommandCancelRequested(from_addr=from_addr, forwarded=forwards),
            outcome="success" if forwards else "failure",
        )
        self._shared.journal.commit_soon()
        if upstream is None or not forwards:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        self._shared.figures.cancels += 1
        steps = getattr(upstream.plugin, "cancel_conversation", plain_steps)
        return deliver(
            upstream.endpoint, steps(request, upstream.tls is not None), upstream.tls, self._shared.clock
        )

    # --- time and memory -----------------------------------------------------------------------------

    def _restart_deadline(self, what: str) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
            self._deadline = self._shared.clock.callLater(self.limits["login_seconds"], self._late, what)

    def _late(self, what: str) -> None:
        if not self.started and not self._over:
            seconds = self.limits["login_seconds"]
            self.refuse(Refusal("deadline", f"{what} took more than login_seconds ({seconds} s)"))

    def look(self, now: float) -> None:
        """See whether a limit of time or memory is reached. Called every few seconds."""
        relay = self._relay
        if relay is None or self._over:
            return
        self.watch_held()
        moved = relay.moved
        if moved != self._seen:
            self._seen, self._active = moved, now
        if not self.started or relay.exchange.closing is not None:
            return
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
        held = self._relay.exchange.held
        change, self._held = held - self._held, held
        if change:
            refusal = self._shared.crowd.hold(change)
            if refusal is not None:
                self.refuse(refusal)

    # --- the end -------------------------------------------------------------------------------------

    def closing(self, cause: str) -> None:
        """The exchange has ended: what is under way isn't wanted any more."""
        dialling, self._dialling = self._dialling, None
        if dialling is not None:
            dialling.give_up()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.abandon()
        if self._pending is not None:
            self._pending.cancel()

    def gone(self) -> None:
        """Both connections are gone, and the end is on record."""
        if self._over:
            return
        self._over = True
        shared = self._shared
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        for key in self._keys:
            shared.cancels.forget(key)
        shared.crowd.hold(-self._held)
        self._held = 0
        shared.crowd.leave(self.listener, self.facts.addr)
        if not self._let_in:
            shared.crowd.pre_login.leave()
        elif self.identity is not None:
            shared.crowd.unname(self.identity.id)
        self._report_violation()
        if self._relay is not None and self.identity is not None:
            self._sum_up(self._relay)
        shared.sessions.pop(self.id, None)
        if shared.emptied is not None and not shared.sessions:
            shared.emptied()

    def _report_violation(self) -> None:
        """What a stranger did wrong: counted, and the first of an address on record."""
        found = None if self._relay is None else self._relay.exchange.violation
        if found is not None and self.identity is None:
            peer, at, reason = found
            if self._shared.reports.failed(self.facts.addr, "violation"):
                self._tell(SessionViolation(peer=peer, at=at), reason)

    def _sum_up(self, relay: Relay) -> None:
        figures = self._shared.figures
        figures.add(figures.ended, self.listener)
        figures.commands += relay.exchange.commands
        figures.denied += relay.exchange.denied
        received, sent = relay.client_bytes
        figures.bytes_in += received
        figures.bytes_out += sent


def _method(credentials: object) -> str:
    if IPassword.providedBy(credentials):
        return "password"
    return "scram" if IScram.providedBy(credentials) else "certificate"


def _journal_refusal(refused: JournalRefused) -> Refusal:
    return Refusal("journal_full" if refused.code == "full" else "journal_failed", refused.sentence)


def _sentence(failure: Failure) -> str:
    return str(getattr(failure.value, "sentence", "TLS failed"))
