"""Host keys: ours, to sign with, and a target's, to check a signature with. RFC 4253 s.6.6, RFC 8332, RFC 8709,
OpenSSH's PROTOCOL.certkeys."""

# conch's keys are typed loosely.
# mypy: allow-untyped-calls

from __future__ import annotations

import base64
import hashlib
from struct import error as StructError
from typing import Any

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from twisted.conch.ssh.common import getNS
from twisted.conch.ssh.keys import BadKeyError, Key

from hoopproxy.protocols.ssh.transport.broken import KEY_EXCHANGE_FAILED, TransportBroken

__all__ = ["CERTIFICATE", "RSA_BITS", "HostKey", "base_algorithm", "check_signature", "fingerprint"]

CERTIFICATE = "-cert-v01@openssh.com"
RSA_BITS = 2_048
"""The least bits of an RSA host key, ours or a target's."""

# How many strings or integers of a certificate's blob stand between its nonce and its serial number.
_KEY_FIELDS = {"ssh-ed25519": 1, "ecdsa-sha2-nistp": 2, "ssh-rsa": 2}


@attrs.frozen(repr=False)
class HostKey:
    """A host key that the gateway proves itself with.

    :param private: cryptography's private key: Ed25519, ECDSA on a NIST curve, RSA.
    :param certificate: the blob of a host certificate for it, as in a ``-cert.pub`` file; it is offered
        beside the plain key.
    """

    private: Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey
    certificate: bytes | None = None
    _key: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_key", Key(self.private))

    def __repr__(self) -> str:
        return f"HostKey({self.fingerprint})"

    @property
    def fingerprint(self) -> str:
        """``SHA256:...`` of the public key."""
        return fingerprint(self._key.blob())

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What it can be offered as, best first: the certificate, then the key."""
        if isinstance(self.private, RSAPrivateKey):
            plain: tuple[str, ...] = ("rsa-sha2-512", "rsa-sha2-256")
        else:
            plain = (self._key.sshType().decode(),)
        if self.certificate is None:
            return plain
        return (*(name + CERTIFICATE for name in plain), *plain)

    def blob(self, algorithm: str) -> bytes:
        """The public key, or the certificate, as this algorithm sends it."""
        if algorithm.endswith(CERTIFICATE) and self.certificate is not None:
            return self.certificate
        return bytes(self._key.blob())

    def sign(self, algorithm: str, data: bytes) -> bytes:
        """The signature of ``data``, with its algorithm's name before it."""
        return bytes(self._key.sign(data, signatureType=base_algorithm(algorithm).encode()))


def base_algorithm(algorithm: str) -> str:
    """The signature algorithm of a certificate's algorithm; any other name as it is."""
    return algorithm.removesuffix(CERTIFICATE)


def fingerprint(blob: bytes) -> str:
    """``SHA256:`` and the unpadded base64 of the hash, as ``ssh-keygen -l`` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()


def plain_key(blob: bytes) -> bytes:
    """The public key that a certificate is about; any other key as it is.

    :raises ValueError: the blob is malformed.
    """
    kind = getNS(blob)[0].decode("ascii")
    base = base_algorithm(kind)
    if base == kind:
        return blob
    fields = next((count for name, count in _KEY_FIELDS.items() if base.startswith(name)), 0)
    if not fields:
        raise ValueError("an unknown kind of certificate")
    parts = getNS(blob, 2 + fields)[2 : 2 + fields]
    return b"".join(len(part).to_bytes(4, "big") + part for part in (base.encode(), *parts))


def check_signature(algorithm: str, blob: bytes, signature: bytes, data: bytes) -> None:
    """Check that the owner of the host key (or certificate) ``blob`` signed ``data`` with ``algorithm``.

    It says nothing of whose key it is.

    :raises TransportBroken: no.
    """
    if not _signed(algorithm, blob, signature, data):
        raise TransportBroken(KEY_EXCHANGE_FAILED, "its signature is not the host key's")


def _signed(algorithm: str, blob: bytes, signature: bytes, data: bytes) -> bool:
    base = base_algorithm(algorithm)
    try:
        kind = getNS(blob)[0].decode("ascii")
        wanted = "ssh-rsa" if base.startswith("rsa-") else base
        if kind != wanted + (CERTIFICATE if algorithm.endswith(CERTIFICATE) else ""):
            return False
        # The signature must be of the algorithm that was agreed on: SHA-1 doesn't come back this way.
        if getNS(signature)[0] != base.encode():
            return False
        plain = plain_key(blob)
        key = Key.fromString(plain, type="BLOB")
        # conch reads over what doesn't fit: one key must have one blob, and one fingerprint.
        if key.blob() != plain:
            return False
        if wanted == "ssh-rsa" and key.size() < RSA_BITS:
            return False
        return bool(key.verify(signature, data))
    except (BadKeyError, InvalidSignature, StructError, ValueError, TypeError, IndexError):
        return False
