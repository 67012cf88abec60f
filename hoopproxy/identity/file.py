"""The checker over a users file: passwords, SCRAM verifiers and listed certificates.

Somebody who isn't in the file costs the same work and gets the same answers as somebody who is: such a
name is given a *stand-in*, one of the kinds of line that the file really has, chosen by an HMAC of the name
under the gateway's own secret. So the method asked for, the iteration count, the salt's length and the salt
are the same at each try, and look like those of the others. A kind is chosen by rendezvous (the highest HMAC
wins), so that editing the file changes as few stand-ins as can be.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from hoopproxy.errors import LoginFailed
from hoopproxy.events import Identity
from hoopproxy.identity.certificate import matches_rule, not_after
from hoopproxy.identity.checking import IHashing, IKnowing
from hoopproxy.identity.hashes import Hashes, ScryptHash
from hoopproxy.identity.users import User, UsersFile
from hoopproxy.wire import scram
from hoopproxy.wire.login import (
    Admitted,
    Certificate,
    Challenge,
    ICertificate,
    IPassword,
    IScram,
    Password,
    Scram,
)

__all__ = ["FileChecker"]

Answer = Identity | Admitted | Challenge


@frozen
class _Kind:
    """What can be seen of a line from outside: its costs. The values of a stand-in."""

    scrypt: tuple[int, int, int] | None
    scram: tuple[int, int] | None
    """(iterations, length of the salt)."""


_DEFAULT = _Kind((1 << 15, 8, 1), None)


@implementer(ICredentialsChecker, IKnowing, IHashing)
class FileChecker:
    """See the module. ``requestAvatarId`` answers an Identity, Admitted, Challenge or fails with LoginFailed.

    :param file: the users file.
    :param secret: the gateway's own 32 bytes.
    :param issuer: what identities of this file say of where they come from.
    """

    credentialInterfaces = (IPassword, IScram, ICertificate)

    def __init__(self, file: UsersFile, secret: bytes, issuer: str = "file") -> None:
        self._file = file
        self._secret = secret
        self._issuer = issuer
        self._hashes: Hashes | None = None
        self._kinds: tuple[Mapping[str, User], tuple[_Kind, ...]] = ({}, (_DEFAULT,))

    # IHashing

    def hash_with(self, hashes: Hashes) -> None:
        self._hashes = hashes

    # IKnowing

    def knows(self, credentials: object) -> bool:
        user = self._users().get(getattr(credentials, "user", ""))
        if user is None:
            return False
        if ICertificate.providedBy(credentials):
            return bool(user.certificates)
        if IScram.providedBy(credentials):
            return user.scram is not None
        return user.scrypt is not None or user.scram is not None

    def knows_user(self, name: str) -> bool:
        user = self._users().get(name)
        return user is not None and (user.scrypt is not None or user.scram is not None)

    def login_method(self, name: str) -> str:
        user = self._users().get(name)
        if user is None or (user.scrypt is None and user.scram is None):
            return "scram" if self._stand_in(name).scram is not None else "password"
        return "scram" if user.scram is not None else "password"

    # ICredentialsChecker

    def requestAvatarId(self, credentials: object) -> Deferred[Any]:
        if isinstance(credentials, Password):
            return self._password(credentials)
        try:
            if isinstance(credentials, Scram):
                return succeed(self._scram(credentials))
            if isinstance(credentials, Certificate):
                return succeed(self._certificate(credentials))
        except LoginFailed as failure:
            return fail(failure)
        return fail(LoginFailed("method"))

    # passwords

    def _password(self, credentials: Password) -> Deferred[Answer]:
        if self._hashes is None:
            return fail(LoginFailed("error"))
        user = self._users().get(credentials.user)
        check = self._password_check(user) if user is not None else None
        known = check is not None
        matched = self._hashes.run(
            check or self._password_check_of_nobody(credentials.user), credentials.password
        )

        def decide(matches: bool) -> Answer:
            if user is None or not known:
                raise LoginFailed("unknown")
            if not matches:
                raise LoginFailed("mismatch")
            return self._identity(user, "password")

        return matched.addCallback(decide)

    def _password_check(self, user: User) -> Callable[[bytes], bool] | None:
        if user.scrypt is not None:
            return user.scrypt.matches
        return user.scram.matches if user.scram is not None else None

    def _password_check_of_nobody(self, name: str) -> Callable[[bytes], bool]:
        kind = self._stand_in(name)
        if kind.scrypt is not None:
            n, r, p = kind.scrypt
            return ScryptHash(n=n, r=r, p=p, salt=self._hmac("salt", name)[:16], digest=b"\0" * 32).matches
        return self._verifier_of_nobody(name).matches

    # SCRAM

    def _scram(self, credentials: Scram) -> Answer:
        if isinstance(credentials.continues, _Exchange):
            return self._scram_end(credentials, credentials.continues)
        user = self._users().get(credentials.user)
        verifier = user.scram if user is not None else None
        try:
            waiting = scram.begin(
                credentials.data,
                mechanism=credentials.mechanism,
                binding=credentials.binding,
                verifier=verifier or self._verifier_of_nobody(credentials.user),
            )
        except scram.ScramError as problem:
            raise LoginFailed(problem.cause) from None
        return Challenge(data=waiting.message, state=_Exchange(waiting, user if verifier else None))

    def _scram_end(self, credentials: Scram, exchange: _Exchange) -> Answer:
        try:
            final = scram.finish(exchange.waiting, credentials.data)
        except scram.ScramError as problem:
            if problem.cause == "mismatch" and exchange.user is None:
                raise LoginFailed(self._why_nobody(credentials.user)) from None
            raise LoginFailed(problem.cause) from None
        # The line may have gone, or its verifier changed, while the client was thinking.
        user = self._users().get(credentials.user)
        if user is None or exchange.user is None or user.scram != exchange.user.scram:
            raise LoginFailed("unknown")
        return Admitted(identity=self._identity(user, credentials.mechanism.lower()), data=final)

    def _why_nobody(self, name: str) -> str:
        """For the trail: of somebody whose password can't be asked for so, as outside TLS, no guess was wrong."""
        user = self._users().get(name)
        return "no_verifier" if user is not None and user.scrypt is not None else "unknown"

    def _verifier_of_nobody(self, name: str) -> scram.Verifier:
        iterations, length = self._stand_in(name).scram or (scram.DEFAULT_ITERATIONS, 16)
        salt = self._hmac("salt", name) * (length // 32 + 1)
        key = self._hmac("key", name)
        return scram.Verifier(
            iterations=iterations, salt=salt[:length], stored_key=key, server_key=key, doomed=True
        )

    # certificates

    def _certificate(self, credentials: Certificate) -> Answer:
        user = self._users().get(credentials.user)
        if user is None or not user.certificates:
            raise LoginFailed("unknown")
        if not any(matches_rule(rule, credentials.der) for rule in user.certificates):
            raise LoginFailed("mismatch")
        return evolve(self._identity(user, "certificate"), expires=not_after(credentials.der))

    # who is there, and who stands in

    def _identity(self, user: User, method: str) -> Identity:
        factor = "certificate" if method == "certificate" else "password"
        return Identity(
            id=user.name,
            issuer=self._issuer,
            method=method,
            factors=(factor,),
            groups=tuple(sorted(user.groups)),
        )

    def _users(self) -> Mapping[str, User]:
        return self._file.users()

    def _stand_in(self, name: str) -> _Kind:
        users = self._users()
        if self._kinds[0] is not users:
            self._kinds = (users, _kinds(users))
        return max(self._kinds[1], key=lambda kind: self._hmac("kind", f"{kind}\0{name}"))

    def _hmac(self, purpose: str, text: str) -> bytes:
        message = f"users\0{purpose}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, message, "sha256")


@frozen
class _Exchange:
    """A SCRAM exchange between its rounds; ``user`` is None for nobody."""

    waiting: scram.Waiting
    user: User | None


def _kinds(users: Mapping[str, User]) -> tuple[_Kind, ...]:
    """The kinds of line that can log in with a password, each once."""
    found: dict[_Kind, None] = {}
    for user in users.values():
        costs = (user.scrypt.n, user.scrypt.r, user.scrypt.p) if user.scrypt is not None else None
        verifier = (user.scram.iterations, len(user.scram.salt)) if user.scram is not None else None
        if costs is not None or verifier is not None:
            found[_Kind(costs, verifier)] = None
    return tuple(found) or (_DEFAULT,)
