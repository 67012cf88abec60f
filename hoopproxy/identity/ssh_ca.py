"""OpenSSH certificates of people, by the authorities that sign them: ``type = "ssh-ca"``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hoopproxy.errors import ConfigError, LoginFailed
from hoopproxy.events import Identity
from hoopproxy.identity.public_keys import PublicKeyChecker
from hoopproxy.identity.users import UsersFile
from hoopproxy.identity.watched import Watched
from hoopproxy.protocols.ssh.certs import (
    FOREVER,
    USER,
    Certificate,
    is_certificate,
    read_certificate,
    source_problem,
    trouble,
)
from hoopproxy.protocols.ssh.keys import BadKey, read_public, read_public_text
from hoopproxy.protocols.ssh.krl import Revoked, read_revoked
from hoopproxy.protocols.ssh.restrictions import Restrictions
from hoopproxy.wire.login import Admitted, KeyOffer, PublicKey

__all__ = ["AuthorityChecker", "authorities_file", "revoked_file"]


def authorities_file(path: Path) -> Watched[frozenset[bytes]]:
    """A file of the public keys of authorities, one a line. :raises ConfigError: it can't be used."""
    return Watched(path, _authorities)


def _authorities(data: bytes, source: str) -> frozenset[bytes]:
    found: set[bytes] = set()
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            found.add(read_public(read_public_text(text)).blob)
        except BadKey as problem:
            raise ConfigError([f"{source}:{number}: {problem}"]) from None
    if not found:
        raise ConfigError([f"{source}: holds no public key"])
    return frozenset(found)


def revoked_file(path: Path) -> Watched[Revoked]:
    """A revocation list. Whenever it can't be read nobody comes in by what it is about.

    :raises ConfigError: it can't be read now.
    """
    return Watched(path, lambda data, _: read_revoked(data), strict=True)


class AuthorityChecker(PublicKeyChecker):
    """Whose certificate it is: one of a user, signed by one of the authorities, with the identity as a principal.

    :param principals: for an identity, the principals that may be it; ``None``: each principal is the identity of the
        same name. The other parameters are those of :class:`hoopproxy.identity.ssh_keys.KeyChecker`.
    """

    def __init__(
        self,
        authorities: Sequence[Watched[frozenset[bytes]]],
        *,
        clock: Callable[[], float],
        principals: Mapping[str, Sequence[str]] | None = None,
        groups: tuple[str, ...] = (),
        users: UsersFile | None = None,
        revoked: Watched[Revoked] | None = None,
        require: tuple[str, ...] = (),
        issuer: str = "ssh-ca",
    ) -> None:
        super().__init__(users)
        self._authorities, self._clock, self._principals = tuple(authorities), clock, principals
        self._groups, self._revoked = groups, revoked
        self._require, self._issuer = require, issuer

    def knows(self, credentials: Any) -> bool:
        certificate = self._read(credentials)
        return certificate is not None and self._signed(certificate)

    def _admitted(self, credentials: PublicKey) -> Admitted:
        certificate, groups = self._good(credentials)
        if "verify-required" in certificate.critical and not credentials.verified:
            raise LoginFailed("not verified")
        ends = certificate.valid_before
        identity = Identity(
            id=credentials.user,
            issuer=self._issuer,
            method="certificate",
            factors=("certificate",),
            groups=tuple(sorted({*self._groups, *groups})),
            expires=None if ends == FOREVER or ends >= 2**53 else ends,
        )
        try:
            command = certificate.option("force-command")
        except BadKey:
            raise LoginFailed("malformed") from None
        restrictions = Restrictions.of_extensions(certificate.extensions, command)
        return Admitted(identity=identity, data=restrictions.data, needs=self._require)

    @staticmethod
    def _read(credentials: PublicKey | KeyOffer) -> Certificate | None:
        if not is_certificate(credentials.algorithm):
            return None
        try:
            return read_certificate(credentials.blob)
        except BadKey:
            return None

    def _signed(self, certificate: Certificate) -> bool:
        return any(certificate.authority.blob in each.look() for each in self._authorities)

    def _good(self, credentials: PublicKey | KeyOffer) -> tuple[Certificate, tuple[str, ...]]:
        certificate = self._read(credentials)
        if certificate is None:
            raise LoginFailed("unknown")
        if not self._signed(certificate):
            raise LoginFailed("authority")
        named: tuple[str, ...] = (credentials.user,)
        if self._principals is not None:
            named = tuple(self._principals.get(credentials.user, ()))
        why = trouble(certificate, USER, named, self._clock())
        if why is not None:
            raise LoginFailed(why)
        try:
            networks = certificate.option("source-address")
            if networks is not None and source_problem(networks, credentials.address) is not None:
                raise LoginFailed("address")
            certificate.option("force-command")
            if self._revoked is not None and self._revoked.look().certificate(certificate):
                raise LoginFailed("revoked")
        except BadKey:
            raise LoginFailed("malformed") from None
        except ConfigError:
            raise LoginFailed("no revocation list") from None
        return certificate, self._listed(credentials.user)
