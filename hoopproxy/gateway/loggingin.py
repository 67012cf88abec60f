"""The log-in of a session: its rounds, and what the trail says of how it went."""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hoopproxy.errors import LoginFailed
from hoopproxy.events import LoginFailed as LoginFailedEvent
from hoopproxy.events import LoginSucceeded
from hoopproxy.gateway.alike import alike
from hoopproxy.gateway.visit import Visit, journal_refusal
from hoopproxy.wire.commands import LoggedIn, Login, Refusal
from hoopproxy.wire.login import Admitted, Challenge, IPassword, IScram

__all__ = ["LoggingIn"]


class LoggingIn(Visit):
    """Answers :class:`~hoopproxy.wire.commands.Login`: the identity is bound here, once."""

    __slots__ = ()

    def _login(self, login: Login) -> object:
        if self.identity is not None:
            return Refusal("violation", "a second log-in in one session")
        refused = self._shared.journal.refusal_for_new_sessions
        if refused is not None:
            return journal_refusal(refused)
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
        shared, identity = self._shared, alike(answer.identity)
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
        self._restart_deadline()
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


def _method(credentials: object) -> str:
    if IPassword.providedBy(credentials):
        return "password"
    return "scram" if IScram.providedBy(credentials) else "certificate"
