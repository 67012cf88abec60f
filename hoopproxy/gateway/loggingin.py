"""The log-in of a session: its rounds, and what the trail says of how it went."""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hoopproxy.errors import LoginFailed
from hoopproxy.events import LoginFailed as LoginFailedEvent
from hoopproxy.events import LoginSucceeded
from hoopproxy.gateway.alike import alike
from hoopproxy.gateway.visit import Visit
from hoopproxy.identity.proofs import Proofs
from hoopproxy.wire.commands import LoggedIn, Login, Offered, Proven, Refusal
from hoopproxy.wire.login import (
    Admitted,
    Challenge,
    Established,
    IKeyboard,
    IKeyOffer,
    IPassword,
    IPublicKey,
    IScram,
    KeyOffer,
    PublicKey,
)
from hoopproxy.wire.verdicts import journal_refusal

__all__ = ["NAME_MAX", "LoggingIn"]

NAME_MAX = 400
"""Characters of a stranger's name that its event has: more than any name may have. Nobody fills the journal by
failing."""


class LoggingIn(Visit):
    """Answers :class:`~hoopproxy.wire.commands.Login`: the identity is bound here, once."""

    __slots__ = ()

    def _login(self, login: Login) -> object:
        if self.identity is not None:
            return Refusal("violation", "a second log-in in one session")
        refused = self._shared.journal.refusal_for_new_sessions
        if refused is not None:
            return journal_refusal(refused)
        if login.fresh or login.forget:
            self._give_up(login.forget)
        credentials: Any = login.credentials
        if isinstance(credentials, Established):
            return self._known(credentials)
        if getattr(credentials, "address", None) == "":
            credentials = attrs.evolve(credentials, address=self.facts.addr)
        method = _method(credentials)
        if method == "keyboard-interactive":
            known = () if self._proofs is None else self._proofs.methods_of(credentials.user)
            credentials = attrs.evolve(credentials, after=known)
        if method not in self.login_methods:
            return self._not_logged_in(Failure(LoginFailed("method")), method, credentials)
        if IKeyOffer.providedBy(credentials):
            return self._offered(credentials)
        if self._attempt is None:
            self._attempt = self._settings.portal.attempt(self.facts.addr)
        self._tried = method, credentials
        answer: Deferred[Any] = self._attempt.login(credentials)
        answer.addBoth(self._answered)
        answer.addCallback(self._taken, login, method)
        answer.addCallbacks(
            self._logged_in,
            self._not_logged_in,
            callbackArgs=(credentials,),
            errbackArgs=(method, credentials),
        )
        return answer

    def _offered(self, offer: Any) -> Offered:
        """Nobody is anybody by a key that is offered; but of a client that has no better one it is all there was."""
        portal = self._settings.portal
        acceptable = portal.would_accept(offer)
        if not acceptable:
            before = self._turned_down
            if before is None or before[0] == "unknown":
                self._turned_down = portal.why_not(offer), offer
        return Offered(acceptable)

    def _report_offer(self) -> None:
        """A client went without a log-in that failed: none of its keys would do, so it proved none."""
        turned_down, self._turned_down = self._turned_down, None
        if turned_down is not None and self.identity is None:
            cause, offer = turned_down
            self._not_logged_in(Failure(LoginFailed(cause)), "publickey", offer)

    def _known(self, credentials: Established) -> object:
        """Inside another session, who is logged in there is here too, and nobody else."""
        if self.outer is None or credentials.user != self.outer.identity.id:
            return self._not_logged_in(Failure(LoginFailed("mismatch")), "established", credentials)
        return self._logged_in(Admitted(identity=self.outer.identity), credentials)

    def _give_up(self, proofs: bool) -> None:
        """The client asks anew: a round that it was asked for is no more."""
        self._abandon()
        if proofs:
            self._proofs = None

    def _abandon(self) -> None:
        """Nobody waits for the answer any more. What was tried is on record: whoever hangs up before each answer, or
        keeps everybody's waiting until the deadline, would guess unseen."""
        attempt, self._attempt = self._attempt, None
        tried, self._tried = self._tried, None
        cause = None if attempt is None else attempt.abandon()
        if cause is not None and tried is not None:
            self._not_logged_in(Failure(LoginFailed(cause)), *tried)

    def _answered(self, answer: Any) -> Any:
        self._tried = None
        return answer

    def _taken(self, answer: Admitted | Challenge, login: Login, method: str) -> object:
        """Whether this proof is the last that is needed."""
        if isinstance(answer, Challenge):
            return answer
        if self._proofs is None and not answer.needs and set(login.require) <= {method}:
            return answer
        proofs = self._proofs = self._proofs or Proofs()
        needs = proofs.add(method, answer, login.require)
        if isinstance(login.credentials, PublicKey):
            proofs.shown = login.credentials
        assert proofs.identity is not None  # it has just taken one
        if not needs:
            return attrs.evolve(answer, identity=proofs.identity)
        missing = [each for each in needs if each not in self.login_methods]
        if missing:
            raise LoginFailed("method")
        return Proven(needs, answer.data)

    def _logged_in(self, answer: Admitted | Challenge | Proven, credentials: Any) -> object:
        if isinstance(answer, Challenge):
            return answer
        if isinstance(answer, Proven):
            self._attempt = None
            return answer
        if self._over:
            return None
        shown = credentials if isinstance(credentials, PublicKey) else None
        if shown is None and self._proofs is not None:
            shown = self._proofs.shown
        self._attempt = self._proofs = None
        shared, identity = self._shared, alike(answer.identity)
        self.recorder.tick()
        self.recorder.bind(identity=identity)
        self.recorder.open()
        self.identity = identity
        event = LoginSucceeded(
            method=identity.method,
            name=str(getattr(credentials, "user", "")),
            listener=self.listener,
            key=None if shown is None else shown.fingerprint,
            certificate=None if shown is None else shown.certificate,
        )
        self.recorder.event(event, outcome="success")
        counts = shared.figures.logins
        counts["success", identity.method] = counts.get(("success", identity.method), 0) + 1
        refusal = shared.crowd.name(identity.id)
        if refusal is not None:
            return self._refused(refusal)
        self._let_in = True
        shared.crowd.pre_login.leave()
        self._restart_deadline()
        return LoggedIn(identity, answer.data)

    def _not_logged_in(self, failure: Failure, method: str, credentials: Any) -> Refusal:
        problem = failure.value
        if not isinstance(problem, LoginFailed):
            return self._failure(failure)
        self._attempt = self._turned_down = None
        shared, name = self._shared, str(getattr(credentials, "user", ""))[:NAME_MAX]
        counts = shared.figures.logins
        counts[problem.cause, method] = counts.get((problem.cause, method), 0) + 1
        key = credentials.fingerprint if isinstance(credentials, _KEYS) else None
        if self._is_reported(problem.cause, user=name, method=method, key=key or ""):
            event = LoginFailedEvent(
                method=method,
                name=name,
                listener=self.listener,
                cause=problem.cause,
                key=key,
                certificate=credentials.certificate if isinstance(credentials, _KEYS) else None,
            )
            self._tell(event)
        return Refusal("login", "the log-in was refused")


_KEYS = (PublicKey, KeyOffer)
_METHODS = (
    (IPassword, "password"),
    (IScram, "scram"),
    (IPublicKey, "publickey"),
    (IKeyOffer, "publickey"),
    (IKeyboard, "keyboard-interactive"),
)


def _method(credentials: object) -> str:
    return next((name for kind, name in _METHODS if kind.providedBy(credentials)), "certificate")
