"""Admission: which target, by which role, as which account; then the connection, and the verdicts."""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from hoopproxy.config import Account, SecretRef, Target
from hoopproxy.errors import JournalRefused
from hoopproxy.gateway.alike import alike, decider_of
from hoopproxy.gateway.shared import Upstream
from hoopproxy.gateway.upstream import Dialling, Unreachable
from hoopproxy.gateway.visit import Visit
from hoopproxy.policy.roles import Grant
from hoopproxy.policy.rules import start_refused
from hoopproxy.wire.commands import Admit, Connect, Connected, Decide, Granted, Refusal, Verdict
from hoopproxy.wire.exchange import Admission
from hoopproxy.wire.express import MOST

__all__ = ["Admitting"]


class Admitting(Visit):
    """Answers :class:`~hoopproxy.wire.commands.Connect` and :class:`~hoopproxy.wire.commands.Admit`: the grant is bound
    here, once."""

    __slots__ = ()

    def _connect(self, asked: Connect) -> object:
        grant, upstream = self.grant, self._upstream
        if self._undialled and asked == Connect() and grant is not None and upstream is not None:
            self._undialled = self._settled = False
            self._begin_deadline()
            return self._dial(grant, upstream)
        return self._ask_policy(asked, self._dial)

    def _admit(self, asked: Admit) -> object:
        return self._ask_policy(asked, self._await_need)

    def _await_need(self, grant: Grant, upstream: Upstream) -> Granted:
        """It is under way without a target: the limits for sessions hold, no deadline for a connection."""
        self._undialled = self._settled = True
        self._shared.deadlines.end(self)
        return Granted(permits=grant.options or {})

    def _ask_policy(self, asked: Admit | Connect, then: Callable[[Grant, Upstream], object]) -> object:
        if self.identity is None or self.grant is not None:
            return Refusal("violation", "there is nobody to connect, or they are connected already")
        target = self._target(asked.target)
        if isinstance(target, Refusal):
            return self._refused(target, asked)
        asked = attrs.evolve(asked, target=target)  # of a refusal, those who may read of it are to know
        answer = self._settings.policy.admit(
            self.identity, self.listener, target, asked.account, asked.database
        )
        if isinstance(answer, Deferred):
            return answer.addCallback(self._admitted, asked, then)
        return self._admitted(answer, asked, then)

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

    def _admitted(
        self, answer: object, asked: Admit | Connect, then: Callable[[Grant, Upstream], object]
    ) -> object:
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
        refused = start_refused(answer, asked.verbs)
        if refused is not None:
            return self._refused(refused, asked)
        config, journal = upstream.config, self._settings.config.journal
        answer = alike(answer)
        self.grant, self._upstream = answer, upstream
        self.recorder.tick()
        self.recorder.bind(target=upstream.facts(answer.account))
        admission = Admission(
            decide=self._decider(answer),
            mode=config.mode,
            record=config.record,
            role=answer.role,
            listener=self.listener,
            max_lag_bytes=journal.max_lag_bytes,
            max_lag_ns=journal.max_lag_ms * 1_000_000,
            by_kind=self._by_kind(answer),
        )
        if config.durable_at:
            if self._shared.awaiting is None:
                raise JournalRefused(
                    "sink", "nobody here delivers the trail to where this target waits for it"
                )
            self._relay.exchange.journal = self._shared.awaiting(config.durable_at)
        self._relay.exchange.admit(alike(admission))
        return then(answer, upstream)

    def _dial(self, grant: Grant, upstream: Upstream) -> object:
        relay, config = self._relay, upstream.config
        if relay is None:
            raise TypeError("a connection without a relay")
        account = config.accounts.get(grant.account)
        facing = relay.facing(config.name, config.options)
        self._dialling = Dialling(upstream, facing, self._shared.resolve, self._shared.clock)
        since = self._shared.times.text()
        dialled = self._dialling.dial(
            None if account is None else account.password, _secrets(config, account)
        )
        return dialled.addCallbacks(
            self._connected,
            self._unreachable,
            callbackArgs=(grant, upstream, "" if account is None else account.user, since),
        )

    def _connected(
        self, password: bytes | None, grant: Grant, upstream: Upstream, user: str, since: str
    ) -> Connected:
        secrets = {} if self._dialling is None else self._dialling.secrets
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
            since=since,
            secrets=secrets,
            permits=grant.options or {},
        )

    def _unreachable(self, failure: Failure) -> Refusal:
        self._dialling = None
        problem = failure.value
        if not isinstance(problem, Unreachable):
            return self._failure(failure)
        return self._failed("connect", "connect", problem.sentence)

    def _by_kind(self, grant: Grant) -> int:
        """Up to how many bytes :meth:`_decider`'s verdicts depend on a command's verbs alone."""
        if not getattr(self._settings.policy, "prepared", False):
            return 0
        return MOST if grant.max_statement is None else grant.max_statement

    def _decider(self, grant: Grant) -> Callable[[Decide], Verdict | None]:
        if getattr(self._settings.policy, "prepared", False):
            return decider_of(grant)
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
        answer.addCallbacks(self._verdict, self._no_verdict)
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

    def _no_verdict(self, failure: Failure) -> Verdict:
        if failure.check(CancelledError):
            return Verdict(False, (), Refusal("internal", "the session ended before policy decided"))
        return Verdict(False, (), self._failure(failure))


def _secrets(config: Target, account: Account | None) -> dict[str, SecretRef]:
    """What is to be read for a connection besides the account's password, by name."""
    found = {name: refs[0] for name, refs in config.secrets.items() if refs}
    if account is not None and account.key is not None:
        found["key"] = account.key
    return found
