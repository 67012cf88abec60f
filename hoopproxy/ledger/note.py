"""Signed notes (c2sp.org/signed-note) and witnesses' cosignatures (c2sp.org/tlog-cosignature), Ed25519. Pure.

A note is text, an empty line, and signature lines ``— NAME BASE64``. A key has a name, a type and an id that is
a hash over both and the key, so that nobody has to guess which key a signature is by.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hoopproxy.errors import HoopproxyError

__all__ = [
    "COSIGNATURE",
    "ED25519",
    "MAX_NOTE",
    "BadNote",
    "Note",
    "SigningKey",
    "VerifierKey",
    "base64_of",
    "sign_note",
    "signature_lines",
]

ED25519: Final = 1
COSIGNATURE: Final = 4
MAX_NOTE: Final = 1 << 20
"""Bytes of a note; one of ours has under 1,000."""

_MAX_SIGNATURES: Final = 64
_DASH: Final = "\u2014 "
_TIMED = struct.Struct(">Q")
_PRIVATE: Final = "PRIVATE+KEY+"


class BadNote(HoopproxyError):
    """Text that isn't a note, a key that isn't one, or a signature that doesn't hold."""


def base64_of(text: str, size: int | None = None) -> bytes:
    """Decode strictly: one text only for each value. :raises ValueError:"""
    data = b64decode(text, validate=True)
    if b64encode(data).decode() != text or (size is not None and len(data) != size):
        raise ValueError("not base 64 of the right length")
    return data


def _check_name(name: str) -> str:
    if not name or "+" in name or any(c.isspace() or not c.isprintable() for c in name):
        raise BadNote("the name of a key must not be empty, nor hold a space or a +")
    return name


def _key_id(name: str, type_: int, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([type_]) + public).digest()[:4]


def _cosigned(text: bytes, when: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % when + text


@attrs.frozen
class VerifierKey:
    """A public key: what the operator of a verifier is given, as one line (a *vkey*)."""

    name: str
    public: bytes = attrs.field(repr=lambda public: public.hex())
    type: int = ED25519

    @property
    def id(self) -> bytes:
        """Four bytes that a signature begins with."""
        return _key_id(self.name, self.type, self.public)

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(bytes([self.type]) + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read the line. :raises BadNote: it isn't a key, or of another type than Ed25519."""
        name, _, rest = text.strip().partition("+")
        key_id, _, material = rest.partition("+")
        try:
            data = base64_of(material, 33)
        except ValueError:
            raise BadNote("this is no public key; it looks like NAME+8 HEX DIGITS+BASE64") from None
        key = cls(_check_name(name), data[1:], data[0])
        if data[0] not in (ED25519, COSIGNATURE):
            raise BadNote(f"the key is of type {data[0]}, which is not Ed25519")
        if key.id.hex() != key_id:
            raise BadNote("the key's id is not that of its name and material: a character of it was changed")
        return key

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Whether the signature (without the key's id) is this key's over the note's text."""
        if self.type == COSIGNATURE:
            if len(signature) != 72:
                return False
            text = _cosigned(text, _TIMED.unpack_from(signature)[0])
            signature = signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key. It is in no repr, and comparing it tells nothing."""

    def __init__(self, name: str, seed: bytes, type_: int = ED25519) -> None:
        """:param seed: 32 secret bytes."""
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.public = VerifierKey(_check_name(name), self._private.public_key().public_bytes_raw(), type_)

    @classmethod
    def new(cls, name: str, type_: int = ED25519) -> SigningKey:
        """A fresh one."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw(), type_)

    def __repr__(self) -> str:
        return f"<private key of {self.public.name}>"

    def renamed(self, name: str) -> SigningKey:
        """The same secret under another name, which makes it another key."""
        return SigningKey(name, self._seed, self.public.type)

    def export(self) -> str:
        """The one line that a private file holds: ``PRIVATE+KEY+NAME+ID+BASE64``."""
        key = self.public
        return f"{_PRIVATE}{key.name}+{key.id.hex()}+{b64encode(bytes([key.type]) + self._seed).decode()}"

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read the line. :raises BadNote: without saying anything of what is in it."""
        try:
            if not text.startswith(_PRIVATE):
                raise ValueError
            name, key_id, material = text.removeprefix(_PRIVATE).strip().split("+", 2)
            data = base64_of(material, 33)
            key = cls(name, data[1:], data[0])
            if key.public.id.hex() != key_id or data[0] not in (ED25519, COSIGNATURE):
                raise ValueError
        except ValueError:
            raise BadNote("the file holds no private key of ours") from None
        return key

    def sign(self, text: bytes, when: int = 0) -> str:
        """A signature line over the note's text. ``when`` (Unix seconds) is for a cosignature."""
        key = self.public
        if key.type == COSIGNATURE:
            signature = _TIMED.pack(when) + self._private.sign(_cosigned(text, when))
        else:
            signature = self._private.sign(text)
        return f"{_DASH}{key.name} {b64encode(key.id + signature).decode()}\n"


def sign_note(text: str, keys: Iterable[SigningKey]) -> bytes:
    """The whole note. ``text`` ends with a line end."""
    data = text.encode()
    return data + b"\n" + "".join(key.sign(data) for key in keys).encode()


@attrs.frozen
class Note:
    """A note, taken apart; nothing in it is believed before :meth:`verified`.

    ``signatures`` are names and bytes (the key's id included).
    """

    text: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """:raises BadNote: it isn't one."""
        if len(data) > MAX_NOTE:
            raise BadNote(f"a note of {len(data)} bytes is over {MAX_NOTE}")
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            raise BadNote("the note is not UTF-8") from None
        if any(character < " " and character != "\n" for character in whole):
            raise BadNote("the note holds a control character")
        text, gap, lines = whole.rpartition("\n\n")
        if not gap or not lines.endswith("\n"):
            raise BadNote("the note has no signatures after its text")
        return cls((text + "\n").encode(), signature_lines(lines))

    def verified(self, keys: Sequence[VerifierKey]) -> tuple[VerifierKey, ...]:
        """Which of these keys signed it. Signatures of others are passed over.

        :raises BadNote: none did, or one of them has a signature here that doesn't hold.
        """
        found: list[VerifierKey] = []
        for name, signature in self.signatures:
            key = next((each for each in keys if each.name == name and each.id == signature[:4]), None)
            if key is None or key in found:
                continue
            if not key.verifies(self.text, signature[4:]):
                raise BadNote(f"the signature of {name} does not hold")
            found.append(key)
        if not found:
            raise BadNote("the note is signed by none of the keys that are trusted")
        return tuple(found)


def signature_lines(lines: str) -> tuple[tuple[str, bytes], ...]:
    """Names and signatures out of signature lines. :raises BadNote:"""
    found = []
    for line in lines.removesuffix("\n").split("\n"):
        name, _, text = line.removeprefix(_DASH).partition(" ")
        try:
            if not line.startswith(_DASH):
                raise ValueError
            signature = base64_of(text)
            if len(signature) < 5:
                raise ValueError
            found.append((_check_name(name), signature))
        except ValueError:
            raise BadNote("a line that should be a signature is none") from None
    if len(found) > _MAX_SIGNATURES:
        raise BadNote(f"{len(found)} signatures are over {_MAX_SIGNATURES}")
    return tuple(found)
