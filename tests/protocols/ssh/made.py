"""Keys and certificates for the tests, made once."""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hoopproxy.protocols.ssh.certs import EXTENSIONS, USER, mint
from hoopproxy.protocols.ssh.keys import blob_of
from hoopproxy.protocols.ssh.packets import Reader

NOW = 1_700_000_000
KINDS = ("ed25519", "nistp256", "nistp384", "nistp521", "rsa")
ALGORITHMS = {
    "ed25519": ("ssh-ed25519",),
    "nistp256": ("ecdsa-sha2-nistp256",),
    "nistp384": ("ecdsa-sha2-nistp384",),
    "nistp521": ("ecdsa-sha2-nistp521",),
    "rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


def key(kind: str = "ed25519", which: int = 0) -> Any:
    """The same key at each call with the same arguments."""
    return _key(kind, which)


@functools.cache
def _key(kind: str, which: int) -> Any:
    if kind == "ed25519":
        return Ed25519PrivateKey.generate()
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    curves = {"nistp256": ec.SECP256R1(), "nistp384": ec.SECP384R1(), "nistp521": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind])


def blob(kind: str = "ed25519", which: int = 0) -> bytes:
    """Its public half."""
    return blob_of(key(kind, which))


def line(data: bytes) -> str:
    """A blob as a line of a ``.pub`` file."""
    return f"{Reader(data).name()} {base64.b64encode(data).decode()}"


def certificate(
    subject: bytes | None = None,
    *,
    authority: Any = None,
    kind: int = USER,
    serial: int = 7,
    key_id: str = "ann@laptop",
    principals: Sequence[str] = ("ann",),
    after: int = NOW - 60,
    before: int = NOW + 60,
    critical: Mapping[str, str] | None = None,
    extensions: Sequence[str] = EXTENSIONS,
) -> bytes:
    """A certificate of the authority ``key("ed25519", 99)`` for ``key()``."""
    return mint(
        authority or key("ed25519", 99),
        blob() if subject is None else subject,
        kind=kind,
        serial=serial,
        key_id=key_id,
        principals=principals,
        valid_after=after,
        valid_before=before,
        critical=critical,
        extensions=extensions,
        nonce=b"n" * 32,
    )
