"""Are the certificates and keys that a configuration names what they should be?"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from hoopproxy.config.model import SecretRef

__all__ = ["authorities_problem", "expiry", "pair_problem"]

_MAXIMUM = 16 << 20
_T = TypeVar("_T")


def authorities_problem(path: Path) -> str | None:
    """Why a file can't be a list of trusted authorities, or ``None``."""
    return (
        None
        if _read(path, x509.load_pem_x509_certificates)
        else "holds no certificate (PEM) that can be read"
    )


def pair_problem(certificate: Path, key: SecretRef) -> str | None:
    """Why a certificate and its key can't be used together, or ``None``.

    A key that only a plugin or the environment knows is not looked at.
    """
    chain = _read(certificate, x509.load_pem_x509_certificates)
    if not chain:
        return "holds no certificate (PEM) that can be read"
    if key.scheme != "file":
        return None
    private = _read(key.base / key.rest, lambda data: load_pem_private_key(data, None))
    if private is None:
        return f"has the key {key}, which is no private key (PEM, without a passphrase) that can be read"
    ours = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    theirs = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return None if ours == theirs else f"is not the certificate of the key {key}"


def expiry(certificate: Path) -> datetime.datetime | None:
    """When the first certificate of a file ends; ``None`` when it can't be read."""
    chain = _read(certificate, x509.load_pem_x509_certificates)
    return chain[0].not_valid_after_utc if chain else None


def _read(path: Path, parse: Callable[[bytes], _T]) -> _T | None:
    try:
        with path.open("rb") as stream:
            return parse(stream.read(_MAXIMUM))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
