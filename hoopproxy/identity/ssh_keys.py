"""Public keys of people, from a file: ``type = "ssh-keys"``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoopproxy.errors import ConfigError, LoginFailed
from hoopproxy.events import Identity
from hoopproxy.identity.public_keys import PublicKeyChecker
from hoopproxy.identity.users import UsersFile, text_of
from hoopproxy.identity.watched import Watched
from hoopproxy.protocols.ssh.authorized import AuthorizedKey, AuthorizedKeys, parse_authorized
from hoopproxy.protocols.ssh.krl import Revoked
from hoopproxy.wire.login import Admitted, KeyOffer, PublicKey

__all__ = ["KeyChecker", "keys_file"]


def keys_file(path: Path) -> Watched[AuthorizedKeys]:
    """The file of keys. :raises ConfigError: it can't be used."""
    return Watched(path, _parse)


def _parse(data: bytes, source: str) -> AuthorizedKeys:
    return parse_authorized(text_of(data, source), source)


class KeyChecker(PublicKeyChecker):
    """Whose key it is, by a file of keys with their identities (:mod:`hoopproxy.protocols.ssh.authorized`).

    :param groups: of everybody who comes this way. :param users: a users file; given, the identity must be in it, and
        its groups there are added. :param revoked: keys that are good no more. :param require: methods that must prove
        the identity, too. :param clock: the time of day in seconds.
    """

    def __init__(
        self,
        keys: Watched[AuthorizedKeys],
        *,
        clock: Callable[[], float],
        groups: tuple[str, ...] = (),
        users: UsersFile | None = None,
        revoked: Watched[Revoked] | None = None,
        require: tuple[str, ...] = (),
        issuer: str = "ssh-keys",
    ) -> None:
        super().__init__(users)
        self._keys, self._clock, self._groups = keys, clock, groups
        self._revoked, self._require, self._issuer = revoked, require, issuer

    def knows(self, credentials: Any) -> bool:
        return self._line(credentials) is not None

    def _admitted(self, credentials: PublicKey) -> Admitted:
        line = self._good(credentials)
        if line.verified and not credentials.verified:
            raise LoginFailed("not verified")
        groups = {*self._groups, *line.groups, *self._listed(line.identity)}
        identity = Identity(
            id=line.identity,
            issuer=self._issuer,
            method="publickey",
            factors=("publickey",),
            groups=tuple(sorted(groups)),
            expires=line.expires,
        )
        return Admitted(identity=identity, data=line.restrictions.data, needs=self._require)

    def _line(self, credentials: PublicKey | KeyOffer) -> AuthorizedKey | None:
        lines = self._keys.look().get(credentials.user, ())
        return next((line for line in lines if line.key.blob == credentials.blob), None)

    def _good(self, credentials: PublicKey | KeyOffer) -> AuthorizedKey:
        line = self._line(credentials)
        if line is None:
            raise LoginFailed("unknown")
        now = self._clock()
        if line.expires is not None and now >= line.expires:
            raise LoginFailed("expired")
        if not line.allows(credentials.address, now):
            raise LoginFailed("address")
        try:
            revoked = self._revoked is not None and self._revoked.look().key(line.key.blob)
        except ConfigError:
            raise LoginFailed("no revocation list") from None
        if revoked:
            raise LoginFailed("revoked")
        self._listed(line.identity)
        return line
