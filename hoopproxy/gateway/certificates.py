"""What a certificate says: its names, its fingerprint and what binds a log-in to its channel.

Pure: DER bytes in, frozen values out. A certificate comes from a stranger, so everything that
can't be read is one sentence (:class:`ValueError`), never a parser's traceback.
"""

from __future__ import annotations

import hashlib
import ipaddress
from functools import lru_cache

import service_identity
from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

__all__ = ["Certificate", "name_mismatch", "read_certificate", "server_end_point"]

MAX_NAMES = 100
"""Subject alternative names that are kept; a certificate with more is refused."""


@frozen(kw_only=True)
class Certificate:
    """A certificate as the trail and the identity checkers need it.

    :ivar der: the certificate itself.
    :ivar subject: RFC 4514 text, ``"CN=alice,O=Example"``.
    :ivar issuer: RFC 4514 text.
    :ivar common_name: the last common name of the subject, or ``None``.
    :ivar serial: hexadecimal, lower case.
    :ivar names: subject alternative names with their kind: ``"DNS:db.example"``, ``"IP:127.0.0.1"``,
        ``"email:alice@example"``, ``"URI:spiffe://example/alice"``. Other kinds are left out.
    :ivar fingerprint: SHA-256 over ``der``, hexadecimal, lower case.
    :ivar verified: whether it chains to an authority that this side trusts (checked by OpenSSL in
        the handshake; a certificate that was sent and fails ends the handshake).
    """

    der: bytes = field(repr=False)
    subject: str
    issuer: str
    common_name: str | None
    serial: str
    names: tuple[str, ...]
    fingerprint: str
    verified: bool


def read_certificate(der: bytes, *, verified: bool) -> Certificate:
    """The facts of one certificate. Sessions that see the same one share them.

    :raises ValueError: a sentence; the certificate can't be read or has too many names.
    """
    return _read(der, verified)


@lru_cache(maxsize=64)
def _read(der: bytes, verified: bool) -> Certificate:
    try:
        parsed = x509.load_der_x509_certificate(der)
        names = _names(parsed)
        common = parsed.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        result = Certificate(
            der=der,
            subject=parsed.subject.rfc4514_string(),
            issuer=parsed.issuer.rfc4514_string(),
            common_name=str(common[-1].value) if common else None,
            serial=f"{parsed.serial_number:x}",
            names=names,
            fingerprint=hashlib.sha256(der).hexdigest(),
            verified=verified,
        )
    except Exception as problem:  # a parser fed by strangers: whatever it raises means "unreadable"
        raise ValueError(f"the certificate can't be read ({type(problem).__name__})") from None
    if len(names) > MAX_NAMES:
        raise ValueError(f"the certificate has {len(names)} names, more than {MAX_NAMES}")
    return result


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    kinds: tuple[tuple[type[x509.GeneralName], str], ...] = (
        (x509.DNSName, "DNS"),
        (x509.IPAddress, "IP"),
        (x509.RFC822Name, "email"),
        (x509.UniformResourceIdentifier, "URI"),
    )
    return tuple(
        f"{label}:{name.value}" for name in extension.value for kind, label in kinds if isinstance(name, kind)
    )


def name_mismatch(der: bytes, expected: str) -> str | None:
    """Check by ``service_identity`` that a certificate is for ``expected``, a DNS name or an IP address.

    :return: ``None`` when it is, else a sentence with the expected name and the names it has.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        if _is_ip(expected):
            verify_certificate_ip_address(certificate, expected)
        else:
            verify_certificate_hostname(certificate, expected)
    except (service_identity.VerificationError, service_identity.CertificateError):
        return f"the server's certificate is not for {expected}: it is for {_listed(der)}"
    except Exception as problem:  # fail closed on whatever a hostile certificate provokes
        return f"the server's certificate can't be checked against {expected} ({type(problem).__name__})"
    return None


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _listed(der: bytes) -> str:
    try:
        names = read_certificate(der, verified=True).names
    except ValueError:
        return "names that can't be read"
    shown = ", ".join(ascii(name)[1:-1] for name in names[:10])
    return (shown + (", ..." if len(names) > 10 else "")) or "no name at all"


def server_end_point(der: bytes) -> bytes | None:
    """Channel binding data ``tls-server-end-point`` for a server certificate (RFC 5929, section 4.1).

    The hash is the one of the certificate's signature, SHA-256 in place of MD5 and SHA-1.

    :return: the digest, or ``None`` where the standard defines none (Ed25519 and the like).
    """
    algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
    if algorithm is None:
        return None
    name = "sha256" if isinstance(algorithm, (MD5, SHA1)) else algorithm.name.replace("-", "_")
    return hashlib.new(name, der).digest()
