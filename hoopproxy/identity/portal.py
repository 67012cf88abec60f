"""The one Portal: checkers in file order, the Realm, and an attempt to log in across its rounds.

``twisted.cred`` keeps one checker for each interface of credentials; here that one is a :class:`_Chain`
over the configured ones. Rounds stay outside it: a challenge leaves the cred Portal as an exception, so that
the Realm never sees anybody who isn't through.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import LoginFailed as CredLoginFailed
from twisted.cred.error import UnhandledCredentials
from twisted.cred.portal import IRealm
from twisted.cred.portal import Portal as CredPortal
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from hoopproxy.errors import LoginFailed
from hoopproxy.events import Identity
from hoopproxy.identity.attempt import Attempt, Challenged
from hoopproxy.identity.checking import IExplaining, IHashing, IKnowing, IOffered
from hoopproxy.identity.hashes import Hashes
from hoopproxy.identity.prompted import PromptedPassword
from hoopproxy.identity.throttle import Throttle
from hoopproxy.wire.login import (
    Admitted,
    Challenge,
    ICertificate,
    IKeyboard,
    IKeyOffer,
    IPassword,
    IPublicKey,
    IScram,
)
from hoopproxy.wire.names import check_identity

__all__ = ["IIdentity", "Portal", "Realm"]


class IIdentity(Interface):
    """The avatar aspect that the Realm gives: an :class:`hoopproxy.events.Identity` inside ``Admitted``."""


@implementer(IRealm)
class Realm:
    """Turns what a checker vouches for into the avatar, or refuses it.

    :param wall: the time of day in seconds, for identities that expire.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall

    def requestAvatar(
        self, avatarId: object, mind: object, *interfaces: object
    ) -> tuple[type[Interface], object, Callable[[], None]]:
        if IIdentity not in interfaces:
            raise NotImplementedError("this realm has identities only")
        admitted = avatarId if isinstance(avatarId, Admitted) else None
        if admitted is None or check_identity(admitted.identity.id) is not None:
            raise LoginFailed("identity")
        expires = admitted.identity.expires
        if expires is not None and expires <= self._wall():
            raise LoginFailed("expired")
        return IIdentity, admitted, _no_logout


def _no_logout() -> None:
    """An identity holds nothing open: the session that carries it ends by itself."""


class Portal:
    """Who may come in. One for the whole gateway.

    :param checkers: in file order.
    :param clock: the reactor, or a ``Clock`` in tests. :param wall: the time of day in seconds.
    :param hashes: where costly checks run; signatures where it says ``checks``, if it does.
    :param throttle: caps and delays; ``None``: none.
    """

    def __init__(
        self,
        checkers: Iterable[ICredentialsChecker],
        *,
        clock: IReactorTime,
        hashes: Hashes,
        throttle: Throttle | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._checkers = tuple(checkers)
        self._clock, self._throttle = clock, throttle
        self._checks: Hashes | None = getattr(hashes, "checks", None) or hashes
        self._cred = CredPortal(Realm(wall))
        offered: dict[Any, list[ICredentialsChecker]] = {}
        for checker in self._checkers:
            if IHashing.providedBy(checker):
                checker.hash_with(hashes)
            for interface in checker.credentialInterfaces:
                if interface is IKeyOffer:
                    raise TypeError("a checker takes keys that are offered for keys that are proven")
                offered.setdefault(interface, []).append(checker)
        if IPassword in offered and IKeyboard not in offered:
            # Only where no checker has questions of its own: a password must not stand in for a second factor.
            offered[IKeyboard] = [PromptedPassword(_Chain(offered[IPassword]))]
        for interface, members in offered.items():
            self._cred.registerChecker(_Chain(members), interface)

    def attempt(self, address: str = "") -> Attempt:
        """A new log-in from this address (text; empty when there is none)."""
        return Attempt(
            self._round, clock=self._clock, throttle=self._throttle, address=address, hashes=self._checks
        )

    def login_method(self, user: str) -> str:
        """``"scram"`` or ``"password"``: what to ask for where the server chooses.

        The first checker that knows the user says; for a name that none knows, the first that can say makes a
        stable choice. Checkers that can't say take passwords.
        """
        asking = [each for each in self._checkers if {IPassword, IScram} & set(each.credentialInterfaces)]
        knowing = [checker for checker in asking if IKnowing.providedBy(checker)]
        for checker in knowing:
            if checker.knows_user(user):
                return str(checker.login_method(user))
        if knowing and len(knowing) == len(asking):
            return str(knowing[0].login_method(user))
        return "password"

    def would_accept(self, offer: Any) -> bool:
        """Whether a key that is offered would be an identity if it were proven. Nothing is counted."""
        return any(
            IOffered.providedBy(checker) and checker.would_accept(offer) is True for checker in self._checkers
        )

    def why_not(self, offer: Any) -> str:
        """Why none of the checkers would accept a key that is offered: what one that knows it says, if one does."""
        said = [str(checker.why_not(offer)) for checker in self._checkers if IExplaining.providedBy(checker)]
        return next((cause for cause in said if cause not in ("", "unknown")), "unknown")

    def methods(self) -> tuple[str, ...]:
        """Which methods any checker takes: the names in a listener's ``login``."""
        known = {
            IScram: "scram",
            IPassword: "password",
            ICertificate: "certificate",
            IPublicKey: "publickey",
            IKeyboard: "keyboard-interactive",
        }
        return tuple(name for interface, name in known.items() if interface in self._cred.checkers)

    def _round(self, credentials: Any) -> Deferred[Admitted]:
        found: Deferred[Any] = self._cred.login(credentials, None, IIdentity)
        return found.addCallback(lambda avatar: avatar[1])


@implementer(ICredentialsChecker)
class _Chain:
    """Several checkers for one interface, as one."""

    log = Logger()

    def __init__(self, checkers: Sequence[ICredentialsChecker]) -> None:
        self._checkers = tuple(checkers)
        self.credentialInterfaces = ()

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        continues = getattr(credentials, "continues", None)
        if isinstance(continues, _Continues):
            # A further round goes to the checker that asked for it, with what it wanted remembered.
            return self._ask(continues.checker, evolve(credentials, continues=continues.state))
        return self._try(credentials, self._checkers, None)

    def _try(
        self, credentials: Any, left: Sequence[ICredentialsChecker], worker: ICredentialsChecker | None
    ) -> Deferred[Any]:
        """Ask the first of ``left`` that may decide; ``worker`` does equal work when nobody does."""
        for position, checker in enumerate(left):
            if not IKnowing.providedBy(checker):
                return self._ask(checker, credentials).addErrback(
                    self._next, credentials, left[position + 1 :], worker
                )
            if checker.knows(credentials):
                return self._ask(checker, credentials)
            worker = worker or checker
        if worker is None:
            return fail(LoginFailed("unknown"))
        return self._ask(worker, credentials)

    def _next(
        self,
        failure: Failure,
        credentials: Any,
        left: Sequence[ICredentialsChecker],
        worker: ICredentialsChecker | None,
    ) -> Any:
        if isinstance(failure.value, LoginFailed) and failure.value.cause == "unknown":
            return self._try(credentials, left, worker)
        return failure

    def _ask(self, checker: ICredentialsChecker, credentials: Any) -> Deferred[Any]:
        answer: Deferred[Any] = maybeDeferred(checker.requestAvatarId, credentials)
        answer.addErrback(self._failed, checker)
        return answer.addCallback(self._vouched, checker)

    def _vouched(self, answer: object, checker: ICredentialsChecker) -> Admitted:
        if isinstance(answer, Challenge):
            raise Challenged(evolve(answer, state=_Continues(checker, answer.state)))
        if isinstance(answer, Identity):
            return Admitted(identity=answer)
        if isinstance(answer, Admitted):
            return answer
        if isinstance(answer, (bytes, str)) and answer:
            # A stock checker of twisted.cred: a name and nothing else, so no groups either.
            name = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
            return Admitted(identity=Identity(id=name, issuer=type(checker).__name__, method="password"))
        raise LoginFailed("unknown")

    def _failed(self, failure: Failure, checker: ICredentialsChecker) -> None:
        """One kind of failure, whatever a checker raised. The text of an unexpected one may hold a secret."""
        problem = failure.value
        if isinstance(problem, LoginFailed):
            raise problem
        if isinstance(problem, (CredLoginFailed, UnhandledCredentials)):
            raise LoginFailed("unknown")
        self.log.error(
            "the checker {checker} failed with {kind}, so the log-in is refused",
            checker=type(checker).__name__,
            kind=type(problem).__name__,
        )
        raise LoginFailed("error")


@frozen(repr=False)
class _Continues:
    """Where a further round goes, and what that checker wanted remembered."""

    checker: ICredentialsChecker
    state: object
