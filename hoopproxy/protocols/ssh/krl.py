"""Revoked keys: OpenSSH's binary list (PROTOCOL.krl), or a plain list of public keys and fingerprints. Pure.

A list that can't be read whole is an error, never a shorter list. So is a file without a byte: a disk that was full, or
a list that is being written at this moment, left it.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import hashlib
from typing import Final

import attrs

from hoopproxy.protocols.ssh.certs import Certificate, is_certificate, read_certificate, subject_of
from hoopproxy.protocols.ssh.keys import BadKey, read_public_text
from hoopproxy.protocols.ssh.packets import Malformed, Reader

__all__ = ["MAGIC", "Revoked", "read_revoked"]

MAGIC: Final = b"SSHKRL\n\0"

_CERTIFICATES, _EXPLICIT, _SHA1, _SIGNATURE, _SHA256, _EXTENSION = 1, 2, 3, 4, 5, 255
_SERIALS, _RANGE, _BITMAP, _KEY_IDS, _CERT_EXTENSION = 0x20, 0x21, 0x22, 0x23, 0x39

BITMAP_BYTES = 1 << 21
"""Bytes of one bitmap of serial numbers: sixteen million of them. OpenSSH writes them of 32 KiB at most."""


@attrs.define
class _Serials:
    """What is revoked of one authority; of every one, where its key is empty."""

    single: set[int] = attrs.field(factory=set)
    ranges: list[tuple[int, int]] = attrs.field(factory=list)
    bitmaps: list[tuple[int, int, int]] = attrs.field(factory=list)
    """(first serial number, last, the bits of those from the first on)."""
    key_ids: set[str] = attrs.field(factory=set)

    def holds(self, serial: int, key_id: str) -> bool:
        if key_id in self.key_ids:
            return True
        if not serial:
            return False  # zero is what a certificate without a number has
        if serial in self.single:
            return True
        at = bisect.bisect_right(self.ranges, (serial, 2**64)) - 1
        if at >= 0 and self.ranges[at][0] <= serial <= self.ranges[at][1]:
            return True
        return any(
            first <= serial <= last and bits >> (serial - first) & 1 for first, last, bits in self.bitmaps
        )

    def merge(self) -> None:
        """Put the ranges in order, those that meet into one."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted(self.ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        self.ranges = merged


@attrs.define
class Revoked:
    """What is revoked. Empty when made."""

    keys: set[bytes] = attrs.field(factory=set)
    sha1: set[bytes] = attrs.field(factory=set)
    sha256: set[bytes] = attrs.field(factory=set)
    _authorities: dict[bytes, _Serials] = attrs.field(factory=dict)

    def key(self, blob: bytes) -> bool:
        """Whether a plain public key is revoked."""
        return (
            blob in self.keys
            or (bool(self.sha256) and hashlib.sha256(blob).digest() in self.sha256)
            or (bool(self.sha1) and hashlib.sha1(blob, usedforsecurity=False).digest() in self.sha1)
        )

    def certificate(self, certificate: Certificate) -> bool:
        """Whether a certificate, its key or its authority is revoked."""
        authority = certificate.authority.blob
        if self.key(certificate.key.blob) or self.key(authority) or self.key(certificate.blob):
            return True
        for owner in (authority, b""):
            found = self._authorities.get(owner)
            if found is not None and found.holds(certificate.serial, certificate.key_id):
                return True
        return False


def read_revoked(data: bytes) -> Revoked:
    """Read a binary list, or lines: ``KIND BASE64``, or ``SHA256:...``; ``#`` begins a comment.

    :raises BadKey: it can't be read whole.
    """
    if not data:
        raise BadKey(
            "the revocation list is empty; where nothing is revoked, write a comment into it (# none)"
        )
    if data.startswith(MAGIC):
        try:
            return _binary(data)
        except Malformed as problem:
            raise BadKey(f"the revocation list is malformed: {problem}") from None
    return _lines(data)


def _lines(data: bytes) -> Revoked:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadKey("this is neither a binary revocation list nor a text in UTF-8") from None
    found = Revoked()
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            if line.startswith("SHA256:"):
                found.sha256.add(_digest(line))
            else:
                blob = read_public_text(line)
                found.keys.add(read_certificate(blob).blob if is_certificate(line.split()[0]) else blob)
        except BadKey as problem:
            raise BadKey(f"line {number}: {problem}") from None
    return found


def _digest(line: str) -> bytes:
    try:
        digest = base64.b64decode(line.split()[0].removeprefix("SHA256:") + "=", validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 32:
        raise BadKey("a fingerprint is not SHA256: and 43 characters of base64")
    return digest


# --- the binary format ---------------------------------------------------------------------------------


def _binary(data: bytes) -> Revoked:
    reader = Reader(data, len(MAGIC))
    if reader.uint32() != 1:
        raise BadKey("the revocation list is of a newer format")
    reader.take(8 + 8 + 8)  # its version, when it was made, flags
    reader.string()  # reserved
    reader.string()  # a comment
    found = Revoked()
    while reader.left:
        kind, section = reader.byte(), Reader(reader.string())
        if kind == _CERTIFICATES:
            _certificates(section, found)
        elif kind == _EXPLICIT:
            while section.left:
                found.keys.add(subject_of(section.string()))
        elif kind == _SHA1:
            _hashes(section, found.sha1, 20)
        elif kind == _SHA256:
            _hashes(section, found.sha256, 32)
        elif kind == _SIGNATURE:
            # It is never checked: whoever can write the file decides what is revoked. Only signatures may follow one.
            reader.string()
            section = Reader(b"")
        elif kind == _EXTENSION:
            _extension(section)
        else:
            raise Malformed(f"a section of the unknown kind {kind}")
        section.end()
    return found


def _hashes(section: Reader, into: set[bytes], size: int) -> None:
    while section.left:
        digest = section.string()
        if len(digest) != size:
            raise Malformed("a hash of another length")
        into.add(digest)


def _extension(section: Reader) -> None:
    name, critical = section.name(), section.boolean()
    section.string()
    if critical:
        raise Malformed(f"a critical extension that is not known ({name[:60]})")


def _certificates(section: Reader, found: Revoked) -> None:
    authority = section.string()
    section.string()  # reserved
    serials = found._authorities.setdefault(authority, _Serials())
    while section.left:
        kind, part = section.byte(), Reader(section.string())
        if kind == _SERIALS:
            while part.left:
                serials.single.add(part.uint64())
        elif kind == _RANGE:
            low, high = part.uint64(), part.uint64()
            if high < low:
                raise Malformed("a range of serial numbers that ends before it begins")
            serials.ranges.append((low, high))
        elif kind == _BITMAP:
            first, raw = part.uint64(), part.string()
            if len(raw) > BITMAP_BYTES:
                raise Malformed("a bitmap of serial numbers that is too long")
            bits = int.from_bytes(raw, "big")
            serials.bitmaps.append((first, first + max(bits.bit_length() - 1, 0), bits))
        elif kind == _KEY_IDS:
            while part.left:
                serials.key_ids.add(part.text())
        elif kind == _CERT_EXTENSION:
            _extension(part)
        else:
            raise Malformed(f"a section of certificates of the unknown kind {kind}")
        part.end()
    serials.merge()
