"""A password asked for at a keyboard: keyboard-interactive over whatever checks passwords."""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from hoopproxy.errors import LoginFailed
from hoopproxy.wire.login import Challenge, IKeyboard, Keyboard, Password, Prompts

__all__ = ["PROMPT", "PromptedPassword"]

PROMPT = "Password: "


@implementer(ICredentialsChecker)
class PromptedPassword:
    """Asks one hidden question, and gives the answer to ``passwords`` as a password.

    :param passwords: a checker of passwords.
    """

    credentialInterfaces = (IKeyboard,)

    def __init__(self, passwords: ICredentialsChecker) -> None:
        self._passwords = passwords

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        if not isinstance(credentials, Keyboard):
            return fail(LoginFailed("method"))
        if credentials.continues is None:
            asked = Prompts(prompts=((PROMPT, False),))
            return succeed(Challenge(data=asked.data, state=PROMPT))
        if len(credentials.responses) != 1:
            return fail(LoginFailed("malformed"))
        answer: Deferred[Any] = self._passwords.requestAvatarId(
            Password(user=credentials.user, password=credentials.responses[0])
        )
        return answer
