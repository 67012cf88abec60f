"""A one-time code at a keyboard, after a key or a password: ``type = "totp"``."""

from __future__ import annotations

import hmac
import time
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

__all__ = ["DRIFT", "DRIFT_MOST", "FACTOR", "PROMPT", "CodeChecker", "Shown"]

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


class Shown:
    """Which codes of a file were shown to this process, good and wrong. A checker that takes another one's place has it
    from that one: whoever causes a reload must not make a used code good again, nor get new guesses.

    :param began: seconds of a clock that nobody sets: what was used before that nobody knows any more.
    """

    def __init__(self, began: float) -> None:
        self.began = began
        self._used: dict[str, int] = {}
        self._wrong: dict[str, tuple[float, float]] = {}  # how many, when: the bucket leaks

    def is_used(self, user: str, step: int, since: int) -> bool:
        """Whether this code, or a later one, was shown before; ``since``: the step in which :attr:`began` was."""
        return step <= self._used.get(user, since)

    def use(self, user: str, step: int) -> None:
        """A good one."""
        self._used[user] = step

    def wrong(self, user: str, now: float) -> float:
        """How many wrong ones count at this moment. ``now``: seconds of a clock that nobody sets."""
        level, at = self._wrong.get(user, (0.0, now))
        return max(0.0, level - (now - at) / WRONG_SECONDS)

    def count(self, user: str, now: float) -> None:
        """One more that is wrong."""
        self._wrong[user] = (self.wrong(user, now) + 1.0, now)


@implementer(ICredentialsChecker, IKnowing)
class CodeChecker:
    """Asks for a code, and vouches for who proved themselves by something else before in the same log-in.

    A code is good once. Which were used is known to this process only, so none is good that was shown before it began:
    after a start of the gateway the next one is.

    :param file: who has which secret.
    :param secret: the gateway's own 32 bytes: whoever has no secret costs the same work.
    :param clock: the time of day in seconds.
    :param drift: steps (:data:`DRIFT`).
    :param shown: what the file's last checker was shown; ``None``: there was none.
    :param monotonic: seconds, by which wrong codes are forgotten, and by which it is known how long this has gone on: a
        gateway that was started with a clock ahead must not refuse everybody's codes until that time has come.
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
        shown: Shown | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file, self._secret, self._clock, self._monotonic = file, secret, clock, monotonic
        self._drift, self._issuer = drift, issuer
        self.shown = shown or Shown(monotonic())

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
        known, shown, now = self._file.look().get(user), self.shown, self._monotonic()
        allowed = known is None or shown.wrong(user, now) <= WRONG_MOST - 1
        secret = known or TotpSecret(hmac.digest(self._secret, f"totp\0{user}".encode(), "sha256"))
        step = secret.step_of(given, self._step(), self._drift)
        if known is None:
            raise LoginFailed("unknown")
        if not allowed:
            raise LoginFailed("throttled")
        if step is None or shown.is_used(user, step, self._step(now - shown.began)):
            shown.count(user, now)
            raise LoginFailed("mismatch" if step is None else "used")
        shown.use(user, step)

    def _step(self, ago: float = 0.0) -> int:
        """Of so many seconds ago, by the time of day as it is now."""
        return int((self._clock() - ago) // PERIOD)
