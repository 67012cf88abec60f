"""A one-time code at a keyboard, after a key or a password: ``type = "totp"``."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Final

from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from hoopproxy.errors import LoginFailed
from hoopproxy.events import Identity
from hoopproxy.identity.checking import IKnowing
from hoopproxy.identity.totp import PERIOD, TotpSecret, TotpSecrets
from hoopproxy.identity.watched import Watched
from hoopproxy.wire.login import Challenge, IKeyboard, Keyboard, Prompts

__all__ = ["DRIFT", "DRIFT_MOST", "FACTOR", "PROMPT", "CodeChecker"]

PROMPT: Final = "Code: "

FACTOR: Final = "totp"
"""In ``identity.factors``."""

DRIFT: Final = 1
"""Steps before and after the present one whose codes are good: RFC 6238 s.5.2 recommends one, for slow fingers."""

DRIFT_MOST: Final = 4
"""Steps: each one more is one more code that a guess may hit."""

WRONG_MOST: Final = 10
"""Wrong codes of one user that are taken at once."""

WRONG_SECONDS: Final = 600.0
"""Seconds until one more is: about 150 a day, of which one in 2,000 days hits (three codes of a million are good)."""


@implementer(ICredentialsChecker, IKnowing)
class CodeChecker:
    """Asks for a code, and vouches for who proved themselves by something else before in the same log-in.

    A code is good once. Which were used is known to this object only, so none is good that was shown before it was
    made: after a start of the gateway the next one is.

    :param file: who has which secret.
    :param secret: the gateway's own 32 bytes: whoever has no secret costs the same work.
    :param clock: the time of day in seconds.
    :param drift: steps (:data:`DRIFT`).
    """

    credentialInterfaces = (IKeyboard,)

    def __init__(
        self,
        file: Watched[TotpSecrets],
        secret: bytes,
        *,
        clock: Callable[[], float],
        drift: int = DRIFT,
        issuer: str = "totp",
    ) -> None:
        self._file, self._secret, self._clock = file, secret, clock
        self._drift, self._issuer = drift, issuer
        self._since = self._step()
        self._used: dict[str, int] = {}
        self._wrong: dict[str, tuple[float, float]] = {}  # how many, when: the bucket leaks

    # IKnowing

    def knows(self, credentials: Any) -> bool:
        return credentials.user in self._file.look()

    def knows_user(self, name: str) -> bool:
        return False  # no secret that a method which asks for a password could check

    def login_method(self, name: str) -> str:
        return "password"

    # ICredentialsChecker

    def requestAvatarId(self, credentials: object) -> Deferred[Any]:
        try:
            return succeed(self._answer(credentials))
        except LoginFailed as failure:
            return fail(failure)

    def _answer(self, credentials: object) -> Identity | Challenge:
        if not isinstance(credentials, Keyboard):
            raise LoginFailed("method")
        if not credentials.after:
            raise LoginFailed("second factor alone")
        if credentials.continues is None:
            return Challenge(data=Prompts(prompts=((PROMPT, False),)).data, partial=(FACTOR,), state=PROMPT)
        if len(credentials.responses) != 1:
            raise LoginFailed("malformed")
        self._check(credentials.user, credentials.responses[0].replace(b" ", b""))
        return Identity(id=credentials.user, issuer=self._issuer, method=FACTOR, factors=(FACTOR,))

    def _check(self, user: str, given: bytes) -> None:
        """:raises LoginFailed: it is none of this user's codes, or was one before."""
        known = self._file.look().get(user)
        allowed = known is None or self._may_try(user)
        secret = known or TotpSecret(hmac.digest(self._secret, f"totp\0{user}".encode(), "sha256"))
        step = secret.step_of(given, self._step(), self._drift)
        if known is None:
            raise LoginFailed("unknown")
        if not allowed:
            raise LoginFailed("throttled")
        if step is None or step <= self._used.get(user, self._since):
            self._count(user)
            raise LoginFailed("mismatch" if step is None else "used")
        self._used[user] = step

    def _step(self) -> int:
        return int(self._clock() // PERIOD)

    def _level(self, user: str) -> float:
        level, at = self._wrong.get(user, (0.0, 0.0))
        return max(0.0, level - (self._clock() - at) / WRONG_SECONDS)

    def _may_try(self, user: str) -> bool:
        return self._level(user) <= WRONG_MOST - 1

    def _count(self, user: str) -> None:
        self._wrong[user] = (self._level(user) + 1.0, self._clock())
