"""What a checker may offer the Portal besides ``ICredentialsChecker``."""

from __future__ import annotations

from zope.interface import Interface

from hoopproxy.identity.hashes import Hashes

__all__ = ["IExplaining", "IHashing", "IKnowing", "IOffered"]

# mypy-zope reads these as interfaces: their methods take no self.


class IKnowing(Interface):
    """A checker that can say, at no cost, whether it would decide about somebody.

    Where several checkers take the same credentials the first that knows the user decides. A checker that
    isn't ``IKnowing`` is asked, and ``LoginFailed("unknown")`` sends the question on.
    """

    def knows(credentials: object) -> bool:
        """Whether these credentials are for a user of this checker, by a method that this user has."""

    def knows_user(name: str) -> bool:
        """Whether this user is here and has any secret to log in with."""

    def login_method(name: str) -> str:
        """``"scram"`` or ``"password"``, also for a name that isn't known: the same at each try."""


class IHashing(Interface):
    """A checker that has costly work to do, and must not do it on the reactor's thread."""

    def hash_with(hashes: Hashes) -> None:
        """Use this :class:`hoopproxy.identity.hashes.Hashes` from now on."""


class IOffered(Interface):
    """A checker of public keys that can say whether one would do, before it is proven."""

    def would_accept(offer: object) -> bool:
        """Whether an ``IKeyOffer`` would be an identity if it were proven. At once, and without side effects."""


class IExplaining(IOffered):
    """One that can also say why not. Of a client that has no key that would do, the trail has nothing else to tell."""

    def why_not(offer: object) -> str:
        """The cause, as of ``LoginFailed``, why an ``IKeyOffer`` would be nobody: ``"unknown"`` where the key isn't
        known here, ``""`` where it would be somebody. At once, and without side effects."""
