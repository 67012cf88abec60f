"""Client certificates: what TLS has verified, mapped to an identity.

Decisions read the certificate itself, never a rendering of it: in a rendered subject, a name may hold what
looks like another name.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

from attrs import evolve
from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from hoopproxy.errors import LoginFailed
from hoopproxy.events import Identity
from hoopproxy.identity.users import User, UsersFile
from hoopproxy.wire.login import Certificate, ICertificate

__all__ = [
    "MAPS",
    "CertificateChecker",
    "matches_rule",
    "names_of",
    "not_after",
    "read_certificate",
]

MAPS = ("cn", "san:email", "san:dns", "san:uri")
"""Where in a certificate the identity can be."""


def read_certificate(der: bytes, user: str = "") -> Certificate:
    """The credentials value for a certificate that TLS has verified; ``user`` can be set later (evolve).

    :raises LoginFailed: it can't be parsed.
    """
    certificate = _load(der)
    sans = [f"{kind}:{value}" for kind in ("email", "dns", "uri") for value in names_of(der, f"san:{kind}")]
    return Certificate(
        user=user,
        der=der,
        subject=certificate.subject.rfc4514_string(),
        sans=tuple(sans),
        fingerprint=hashlib.sha256(der).hexdigest(),
    )


def names_of(der: bytes, where: str) -> tuple[str, ...]:
    """The names that a certificate has at one of :data:`MAPS`. A subject with two CNs has none."""
    certificate = _load(der)
    if where == "cn":
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return (str(found[0].value),) if len(found) == 1 else ()
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    kinds: dict[str, type[x509.RFC822Name | x509.DNSName | x509.UniformResourceIdentifier]] = {
        "san:email": x509.RFC822Name,
        "san:dns": x509.DNSName,
        "san:uri": x509.UniformResourceIdentifier,
    }
    return tuple(names.get_values_for_type(kinds[where]))


def matches_rule(rule: str, der: bytes) -> bool:
    """Does a certificate match ``cn:x``, ``san:email:x``, ``san:dns:x``, ``san:uri:x`` or ``sha256:hex``?"""
    if rule.startswith("sha256:"):
        return hashlib.sha256(der).hexdigest() == rule.removeprefix("sha256:")
    for where in MAPS:
        if rule.startswith(where + ":"):
            return rule.removeprefix(where + ":") in names_of(der, where)
    return False


def not_after(der: bytes) -> int:
    """When the certificate expires, Unix seconds."""
    return int(_load(der).not_valid_after_utc.timestamp())


@functools.lru_cache(maxsize=64)
def _load(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        raise LoginFailed("malformed") from None


@implementer(ICredentialsChecker)
class CertificateChecker:
    """Maps a certificate that TLS has verified to an identity by one rule for all.

    The identity that the client names at start-up must be the one in the certificate.

    :param where: one of :data:`MAPS`.
    :param groups: of everybody who comes this way.
    :param users: a users file; given, the identity must be in it, and its groups there are added.
    """

    credentialInterfaces = (ICertificate,)

    def __init__(
        self,
        where: str,
        groups: tuple[str, ...] = (),
        users: UsersFile | None = None,
        issuer: str = "certificate",
    ) -> None:
        self._where, self._groups, self._users, self._issuer = where, groups, users, issuer

    def requestAvatarId(self, credentials: object) -> Deferred[Any]:
        try:
            if not isinstance(credentials, Certificate):
                raise LoginFailed("method")
            return succeed(self._identity(credentials))
        except LoginFailed as failure:
            return fail(failure)

    def _identity(self, credentials: Certificate) -> Identity:
        if credentials.user not in names_of(credentials.der, self._where):
            raise LoginFailed("mismatch")
        identity = Identity(
            id=credentials.user,
            issuer=self._issuer,
            method="certificate",
            factors=("certificate",),
            groups=self._groups,
            expires=not_after(credentials.der),
        )
        if self._users is None:
            return identity
        users: Mapping[str, User] = self._users.users()
        if credentials.user not in users:
            raise LoginFailed("unknown")
        return evolve(identity, groups=tuple(sorted({*self._groups, *users[credentials.user].groups})))
