"""SSH keys and signatures: RFC 4253 s.6.6, RFC 5656, RFC 8332, RFC 8709, OpenSSH's PROTOCOL.u2f. Pure.

One key has one blob: what could be written in another way is refused, so that two fingerprints are two keys. No
signature is taken by SHA-1, and no key that is too short to trust.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Final

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from hoopproxy.errors import HoopproxyError
from hoopproxy.protocols.ssh.packets import Malformed, Reader, mpint, string

__all__ = [
    "BLOB_BYTES",
    "CERTIFICATE",
    "RSA_BITS",
    "RSA_BITS_MOST",
    "RSA_EXPONENT_MOST",
    "SIGNATURES",
    "BadKey",
    "PrivateKey",
    "Proof",
    "PublicKey",
    "base_of",
    "blob_of",
    "fingerprint",
    "kind_of",
    "read_private",
    "read_public",
    "read_public_text",
    "sign",
]

CERTIFICATE: Final = "-cert-v01@openssh.com"
"""What the name of a certificate's kind and algorithm ends in."""

RSA_BITS: Final = 2_048
"""The least bits of an RSA key."""

RSA_EXPONENT_MOST: Final = 65_537
"""What generators of keys have used for decades; a larger one only makes each check dearer, up to five times."""

RSA_BITS_MOST: Final = 16_384
"""The most: a signature by a longer one is work for our processor, not security."""

BLOB_BYTES: Final = 65_536
"""Bytes of a key or certificate: a certificate with hundreds of principals has some thousands."""

SIGNATURES: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""Algorithms that a signature may be made by."""

_SK_CERTIFICATES: Final = {
    "sk-ssh-ed25519-cert-v01@openssh.com": "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com": "sk-ecdsa-sha2-nistp256@openssh.com",
}
_CURVES: Final[dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]]] = {
    "nistp256": (ec.SECP256R1(), hashes.SHA256()),
    "nistp384": (ec.SECP384R1(), hashes.SHA384()),
    "nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
_RSA_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "rsa-sha2-256": hashes.SHA256(),
    "rsa-sha2-512": hashes.SHA512(),
}

Public = Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class BadKey(HoopproxyError):
    """A key, certificate or line that can't be used. A sentence; it holds nothing secret."""


@attrs.frozen
class Proof:
    """A signature is its key's. Of a security key: whether somebody touched it, and whether they were verified
    (a PIN, a finger). Of any other ``present`` is true and ``verified`` false."""

    present: bool = True
    verified: bool = False


@attrs.frozen(eq=False)
class PublicKey:
    """A public key that was read. ``kind`` is the blob's own; ``application`` that of a security key."""

    kind: str
    blob: bytes = attrs.field(repr=False)
    key: Public = attrs.field(repr=False)
    application: bytes = b""

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` shows it."""
        return fingerprint(self.blob)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """By which it may sign."""
        return ("rsa-sha2-512", "rsa-sha2-256") if self.kind == "ssh-rsa" else (self.kind,)

    def check(self, signature: bytes, data: bytes, algorithms: Sequence[str] = SIGNATURES) -> Proof | None:
        """Whether ``signature`` (with its algorithm's name before it) is of ``data`` by this key; ``None``: no.

        :param algorithms: those that are taken.
        """
        try:
            reader = Reader(signature)
            name, value = reader.name(), reader.string()
            if name not in algorithms or name not in SIGNATURES or name not in self.algorithms:
                return None
            if self.application:
                flags, counter = reader.take(1), reader.take(4)
                reader.end()
                parts = (
                    hashlib.sha256(self.application).digest(),
                    flags,
                    counter,
                    hashlib.sha256(data).digest(),
                )
                self._verify(name, value, b"".join(parts))
                return Proof(bool(flags[0] & 1), bool(flags[0] & 4))
            reader.end()
            self._verify(name, value, data)
        except (Malformed, InvalidSignature, ValueError):
            return None
        return Proof()

    def _verify(self, name: str, value: bytes, data: bytes) -> None:
        key = self.key
        if isinstance(key, Ed25519PublicKey):
            key.verify(value, data)
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(value, data, padding.PKCS1v15(), _RSA_HASHES[name])
        else:
            reader = Reader(value)
            r, s = _positive(reader), _positive(reader)
            reader.end()
            _, digest = _CURVES[name.removesuffix("@openssh.com").rpartition("-")[2]]
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest))


def base_of(algorithm: str) -> str:
    """The signature algorithm of a certificate's algorithm; any other name as it is."""
    sk = _SK_CERTIFICATES.get(algorithm)
    return sk if sk is not None else algorithm.removesuffix(CERTIFICATE)


def kind_of(algorithm: str) -> str:
    """What the blob calls itself that belongs to a public key algorithm."""
    if algorithm in _RSA_HASHES:
        return "ssh-rsa"
    if algorithm.removesuffix(CERTIFICATE) in _RSA_HASHES:
        return "ssh-rsa" + CERTIFICATE
    return algorithm


def fingerprint(blob: bytes) -> str:
    """``SHA256:`` and the unpadded base64 of the hash."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()


def _positive(reader: Reader) -> int:
    """An integer above zero, in the one way to write it."""
    raw = reader.string()
    if not raw or raw[0] & 0x80 or (raw[0] == 0 and (len(raw) == 1 or not raw[1] & 0x80)):
        raise Malformed("an integer is not positive, or longer than it must be")
    if len(raw) > RSA_BITS_MOST // 8 + 1:
        raise Malformed("an integer is too long")
    return int.from_bytes(raw, "big")


def read_public(blob: bytes) -> PublicKey:
    """Read a public key's blob, to its end.

    :raises BadKey: it is malformed, of a kind that is not known, or too weak.
    """
    reader = Reader(blob)
    try:
        kind = reader.name()
        key, application = read_fields(kind, reader)
        reader.end()
    except Malformed as problem:
        raise BadKey(f"the key is malformed: {problem}") from None
    return PublicKey(kind, blob, key, application)


def read_fields(kind: str, reader: Reader) -> tuple[Public, bytes]:
    """The fields of a key of this kind, as blobs of keys and of certificates have them, and its application.

    :raises BadKey: as :func:`read_public`. :raises Malformed: a field doesn't fit.
    """
    try:
        if kind == "ssh-rsa":
            return _rsa(reader), b""
        if kind in ("ssh-ed25519", "sk-ssh-ed25519@openssh.com"):
            raw = reader.string()
            if len(raw) != 32:
                raise BadKey("an Ed25519 key has other than 32 bytes")
            return Ed25519PublicKey.from_public_bytes(raw), _application(kind, reader)
        plain = kind.removesuffix("@openssh.com")
        curve = _CURVES.get(plain.rpartition("-")[2])
        if curve is not None and kind in SIGNATURES:
            return _ecdsa(plain.rpartition("-")[2], reader), _application(kind, reader)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("the key is not one of its kind") from None
    raise BadKey("the key is of a kind that is not taken; use ed25519, ecdsa, or rsa of 2048 bits and more")


def _application(kind: str, reader: Reader) -> bytes:
    if not kind.startswith("sk-"):
        return b""
    application = reader.string()
    if not application.startswith(b"ssh:"):
        raise BadKey("a security key's application does not begin with ssh:")
    return application


def _rsa(reader: Reader) -> rsa.RSAPublicKey:
    e, n = _positive(reader), _positive(reader)
    if not RSA_BITS <= n.bit_length() <= RSA_BITS_MOST:
        raise BadKey(f"an RSA key has {n.bit_length()} bits; {RSA_BITS} to {RSA_BITS_MOST} are taken")
    if e > RSA_EXPONENT_MOST:
        raise BadKey(f"an RSA key has an exponent over {RSA_EXPONENT_MOST:,}")
    return rsa.RSAPublicNumbers(e, n).public_key()


def _ecdsa(curve: str, reader: Reader) -> ec.EllipticCurvePublicKey:
    if reader.string() != curve.encode():
        raise BadKey("an ECDSA key is on another curve than its kind says")
    point = reader.string()
    if point[:1] != b"\4":
        raise BadKey("an ECDSA key's point is compressed or none")
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve][0], point)


def read_public_text(text: str) -> bytes:
    """The blob of ``KIND BASE64 [comment]``; the kind must be the blob's own. The blob itself is not read further.

    :raises BadKey: it is no such line.
    """
    parts = text.split(None, 2)
    if len(parts) < 2:
        raise BadKey("this is no public key; a line of a .pub file is: KIND BASE64")
    try:
        blob = base64.b64decode(parts[1], validate=True)
        kind = Reader(blob).name()
    except (binascii.Error, ValueError, Malformed):
        raise BadKey("the key's second word is not the base64 of a key") from None
    if kind != parts[0]:
        raise BadKey("the key is of another kind than its line says")
    if len(blob) > BLOB_BYTES:
        raise BadKey(f"the key is over {BLOB_BYTES} bytes")
    return blob


# --- private keys --------------------------------------------------------------------------------------


def read_private(data: bytes) -> PrivateKey:
    """A private key from OpenSSH's own or a PEM file, without a passphrase.

    :raises BadKey: it is none, is locked by a passphrase, or is of a kind or size that is not taken.
    """
    load = (
        serialization.load_ssh_private_key
        if b"OPENSSH PRIVATE KEY" in data
        else serialization.load_pem_private_key
    )
    try:
        key = load(data, None)
    except TypeError:
        raise BadKey("the private key is locked by a passphrase; give one without") from None
    except (ValueError, UnsupportedAlgorithm):
        locked = b"ENCRYPTED" in data
        raise BadKey(
            "the private key is locked by a passphrase; give one without"
            if locked
            else "this is no private key that can be read (OpenSSH's own format or PEM)"
        ) from None
    if not isinstance(key, (Ed25519PrivateKey, ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise BadKey("the private key is of a kind that is not taken; use ed25519, ecdsa or rsa")
    read_public(blob_of(key))
    return key


def blob_of(key: PrivateKey) -> bytes:
    """The blob of a private key's public half."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return string("ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)
    if isinstance(public, Ed25519PublicKey):
        return string("ssh-ed25519") + string(public.public_bytes_raw())
    curve = {"secp256r1": "nistp256", "secp384r1": "nistp384", "secp521r1": "nistp521"}.get(public.curve.name)
    if curve is None:
        raise BadKey("an ECDSA key is on a curve that SSH doesn't have")
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return string(f"ecdsa-sha2-{curve}") + string(curve) + string(point)


def sign(key: PrivateKey, algorithm: str, data: bytes) -> bytes:
    """The signature of ``data``, with its algorithm's name before it.

    :param algorithm: one of the key's; a certificate's stands for it.
    """
    name = base_of(algorithm)
    if isinstance(key, Ed25519PrivateKey):
        value = key.sign(data)
    elif isinstance(key, rsa.RSAPrivateKey):
        value = key.sign(data, padding.PKCS1v15(), _RSA_HASHES[name])
    else:
        digest = _CURVES[name.rpartition("-")[2]][1]
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        value = mpint(r) + mpint(s)
    return string(name) + string(value)
