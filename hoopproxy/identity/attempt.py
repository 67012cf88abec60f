"""One attempt to log in: its rounds, their order, and how long a failure takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs
from twisted.cred.error import UnhandledCredentials
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError, LoginFailed
from hoopproxy.identity.hashes import Hashes
from hoopproxy.identity.throttle import Throttle
from hoopproxy.wire.login import Admitted, Challenge, PublicKey

__all__ = ["Attempt", "Challenged"]

MAXIMUM_ROUNDS = 20
"""Rounds of one attempt: SCRAM has two, a password with a code and a retry of it five."""


class Challenged(HoopproxyError):
    """Not a failure: another round is needed. Never leaves :meth:`Attempt.login`."""

    def __init__(self, challenge: Challenge) -> None:
        super().__init__("another round is needed")
        self.challenge = challenge


class Attempt:
    """The state of one log-in across rounds. ``Portal.attempt`` makes it; ``login`` once a round.

    The user that the first round names is bound: a later round for another user, or by another mechanism,
    fails the attempt, as does a round too many, one while another is being answered, and any after the end.
    A failure is told no sooner than the failure delay after its round's credentials came, so that its
    time says nothing of its cause; each is counted for the caps.

    :param hashes: where signatures are checked; ``None``: here.
    """

    def __init__(
        self,
        ask: Callable[[object], Deferred[Admitted]],
        *,
        clock: IReactorTime,
        throttle: Throttle | None,
        address: str,
        hashes: Hashes | None = None,
    ) -> None:
        self._hashes = hashes
        self._ask, self._clock, self._throttle, self._address = ask, clock, throttle, address
        self._bound: tuple[object, ...] | None = None
        self._continues: object = None
        self._rounds = 0
        self._state: Literal["ready", "asking", "over"] = "ready"
        self._abandoned = False
        self._timer: IDelayedCall | None = None
        self._cause: str | None = None  # of the failure that the timer tells

    @property
    def user(self) -> str | None:
        """Whom the first round named; ``None`` before it."""
        return None if self._bound is None else str(self._bound[0])

    def login(self, credentials: Any) -> Deferred[Admitted | Challenge]:
        """Try these credentials. Fires an ``Admitted`` or a ``Challenge``; fails with ``LoginFailed`` only.

        Cancelling it abandons the attempt.
        """
        if self._abandoned:
            return fail(LoginFailed("out of order"))
        result: Deferred[Admitted | Challenge] = Deferred(self._cancelled)
        asked: Deferred[Any] = self._begin(credentials)
        asked.addCallbacks(self._admitted, self._not_admitted)
        asked.addBoth(self._tell, result, self._clock.seconds())
        return result

    def _cancelled(self, _: Deferred[Any]) -> None:
        self.abandon()

    def abandon(self) -> str | None:
        """The client went away. An answer still to come is dropped; a failure still to come is counted.

        Returns why what was tried and not answered came to nothing: its failure's cause, or ``"abandoned"`` if
        that isn't known yet. ``None``: nothing was under way.
        """
        cause = self._cause if self._state != "asking" else "abandoned"
        self._abandoned, self._state, self._cause = True, "over", None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        return cause

    def _begin(self, credentials: Any) -> Deferred[Admitted]:
        refused = self._refused(credentials)
        if refused is not None:
            self._state = "over"
            return fail(LoginFailed(refused))
        self._state = "asking"
        self._rounds += 1
        if isinstance(credentials, PublicKey) and credentials.check is not None:
            return self._checked(credentials).addCallback(self._ask_about_key)
        if self._continues is not None:
            credentials = attrs.evolve(credentials, continues=self._continues)
        return self._ask(credentials)

    def _checked(self, credentials: PublicKey) -> Deferred[PublicKey]:
        """Its signature, looked at where hashing is done: sessions must not wait for strangers' keys."""
        if self._hashes is None:
            return maybeDeferred(credentials.checked)
        return maybeDeferred(self._hashes.run, credentials.checked)

    def _ask_about_key(self, credentials: PublicKey) -> Deferred[Admitted]:
        if credentials.proven is not True:
            raise LoginFailed("signature")
        return self._ask(credentials)

    def _refused(self, credentials: Any) -> str | None:
        """Why this round can't even be tried."""
        if self._state != "ready" or getattr(credentials, "continues", None) is not None:
            return "out of order"
        name = getattr(credentials, "user", None)
        if not isinstance(name, str):
            return "method"
        mechanism, binding = getattr(credentials, "mechanism", None), getattr(credentials, "binding", None)
        bound = (name, type(credentials), mechanism, binding)
        if self._bound is None:
            self._bound = bound
            if self._throttle is not None and not self._throttle.allows(self._address, name):
                return "throttled"
        if self._bound != bound:
            return "changed"
        checks = getattr(credentials, "check", None) is not None  # then it is not known yet
        if not checks and getattr(credentials, "proven", True) is not True:
            return "signature"  # so that no checker ever sees a key that isn't proven
        return "rounds" if self._rounds >= MAXIMUM_ROUNDS else None

    def _admitted(self, admitted: Admitted) -> Admitted:
        if self._state != "asking":
            # Another round came while this one was being answered: that ended the attempt.
            raise LoginFailed("out of order")
        self._state = "over"
        if self._throttle is not None:
            self._throttle.succeeded(self._address, self.user or "")
        return admitted

    def _not_admitted(self, failure: Failure) -> Challenge:
        problem = failure.value
        if isinstance(problem, Challenged) and self._state == "asking":
            self._state = "ready"
            self._continues = problem.challenge.state
            return attrs.evolve(problem.challenge, state=None)
        self._state = "over"
        if isinstance(problem, LoginFailed):
            raise problem
        if isinstance(problem, Challenged):
            raise LoginFailed("out of order")
        raise LoginFailed("method" if isinstance(problem, UnhandledCredentials) else "error")

    def _tell(
        self, answer: Admitted | Challenge | Failure, result: Deferred[Admitted | Challenge], started: float
    ) -> None:
        if not isinstance(answer, Failure):
            if not self._abandoned:
                result.callback(answer)
            return
        throttle = self._throttle
        if throttle is not None and self.user is not None and not _is_throttled(answer):
            throttle.failed(self._address, self.user)
        if self._abandoned:
            return
        left = 0.0 if throttle is None else started + throttle.delay - self._clock.seconds()
        if left > 0:
            self._cause = answer.value.cause if isinstance(answer.value, LoginFailed) else "error"
            self._timer = self._clock.callLater(left, self._fail, result, answer)
        else:
            self._fail(result, answer)

    def _fail(self, result: Deferred[Admitted | Challenge], failure: Failure) -> None:
        self._timer = self._cause = None
        result.errback(failure)


def _is_throttled(failure: Failure) -> bool:
    """Refused without having been tried: counting it would keep a full bucket full for ever."""
    return isinstance(failure.value, LoginFailed) and failure.value.cause == "throttled"
