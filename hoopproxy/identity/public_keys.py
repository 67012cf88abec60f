"""What the checkers of public keys share, whether it is the key itself or an authority that is known."""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from hoopproxy.errors import LoginFailed
from hoopproxy.identity.checking import IExplaining, IKnowing
from hoopproxy.identity.users import UsersFile
from hoopproxy.wire.login import Admitted, IPublicKey, KeyOffer, PublicKey

__all__ = ["PublicKeyChecker"]


@implementer(ICredentialsChecker, IKnowing, IExplaining)
class PublicKeyChecker:
    """Checks a proof by a private key; a subclass says which public halves are good, and whose they are.

    :param users: a users file; given, the identity must be in it, and its groups there are added.
    """

    credentialInterfaces = (IPublicKey,)

    def __init__(self, users: UsersFile | None) -> None:
        self._users = users

    # IKnowing, IExplaining

    def knows(self, credentials: Any) -> bool:
        """Whether this checker has heard of what was shown, good or not."""
        raise NotImplementedError

    def knows_user(self, name: str) -> bool:
        return False  # no secret that a method which asks for one could check

    def login_method(self, name: str) -> str:
        return "password"

    def would_accept(self, offer: object) -> bool:
        return not self.why_not(offer)

    def why_not(self, offer: object) -> str:
        """Why an offered key would not do, for the trail; "" when it would."""
        if not isinstance(offer, KeyOffer):
            return "method"
        try:
            self._good(offer)
        except LoginFailed as failure:
            return failure.cause
        return ""

    # ICredentialsChecker

    def requestAvatarId(self, credentials: object) -> Deferred[Any]:
        try:
            if not isinstance(credentials, PublicKey) or not credentials.proven:
                raise LoginFailed("method")
            return succeed(self._admitted(credentials))
        except LoginFailed as failure:
            return fail(failure)

    # what a subclass says

    def _good(self, credentials: PublicKey | KeyOffer) -> object:
        """What is known of it. :raises LoginFailed: it is not good now, or not from there."""
        raise NotImplementedError

    def _admitted(self, credentials: PublicKey) -> Admitted:
        """Who it is. :raises LoginFailed: as :meth:`_good`, and where the proof is not of the kind that it must be."""
        raise NotImplementedError

    def _listed(self, name: str) -> tuple[str, ...]:
        """Somebody's groups in the users file. :raises LoginFailed: there is one, without them in it."""
        if self._users is None:
            return ()
        user = self._users.users().get(name)
        if user is None:
            raise LoginFailed("unknown")
        return user.groups
