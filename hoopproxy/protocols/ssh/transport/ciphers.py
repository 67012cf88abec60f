"""What a packet looks like on the wire, per cipher: RFC 4253 s.6, RFC 5647 (GCM), OpenSSH's PROTOCOL
(encrypt-then-MAC, chacha20-poly1305).

A :class:`Sealer` makes a packet of a payload; an :class:`Opener` takes one apart in place: it decrypts into the
buffer that it is given, so that the payload lands behind its own length, framed as the stream has it.
Each belongs to one direction and one set of keys, and knows that direction's sequence number.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

import attrs
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

from hoopproxy.protocols.ssh.transport.broken import MAC_ERROR, PROTOCOL_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.limits import PACKET_BYTES

__all__ = ["CIPHERS", "MACS", "SLACK", "CipherKind", "MacKind", "Opener", "Sealer", "opener", "sealer"]

SLACK: Final = 64
"""Bytes that an opener may write beyond a packet's own length in the buffer that it is given."""

_LENGTH: Final = Struct(">I")
_SEQUENCE: Final = Struct(">Q")
_MASK: Final = 0xFFFF_FFFF
# Padding needs to be there, not to be unpredictable, where every packet has its own nonce or counter.
_PADDING: Final = os.urandom(64)
_PAD_BYTES: Final = tuple(bytes((count,)) for count in range(64))
_BAD_MAC: Final = "a packet doesn't have the right MAC"
_BAD_PADDING: Final = "a packet's padding doesn't fit it"


class Sealer:
    """Makes packets. ``sequence``: the number of the next one (RFC 4253 s.6.4), modulo 2^32."""

    __slots__ = ("sequence",)

    def __init__(self, sequence: int = 0) -> None:
        self.sequence = sequence

    def seal(self, payload: bytes | memoryview) -> bytes:
        """The packet of a payload. In the clear: the first key exchange has no keys yet."""
        self.sequence = (self.sequence + 1) & _MASK
        return _padded(payload, len(payload), 8, 4)


class Opener:
    """Opens packets.

    ``sequence``: the number of the next one. ``need``: bytes that :meth:`open` wants to see before it is worth
    calling it again. ``whole``: bytes of the packet that it opened last.
    """

    __slots__ = ("_limit", "_tag", "need", "sequence", "whole")

    #: Bytes of an encrypted block.
    block = 8

    def __init__(self, sequence: int = 0, tag: int = 0, limit: int = PACKET_BYTES) -> None:
        self.sequence = sequence
        self._tag, self._limit = tag, limit
        self.need = 4
        self.whole = 0

    def open(self, data: memoryview, at: int, out: memoryview, to: int) -> int:
        """Open the packet that begins at ``data[at]``; its length and payload are put at ``out[to]``.

        :param out: has room for as much as ``data`` has from ``at``, and :data:`SLACK`.
        :return: the payload's bytes, or -1: ``data`` doesn't have all of the packet; ``need`` says how much.
        :raises TransportBroken: what came is no packet, or was tampered with.
        """
        if len(data) - at < 4:
            self.need = 4
            return -1
        length = _LENGTH.unpack_from(data, at)[0]
        if not self._there(data, at, length, 4):
            return -1
        out[to + 3 : to + 3 + length] = data[at + 4 : at + 4 + length]
        return self._framed(out, to, length)

    def _there(self, data: memoryview, at: int, length: int, unblocked: int) -> bool:
        """Whether the packet of this length is all there.

        :param unblocked: how many bytes of the length field belong to the encrypted blocks (4 or 0).
        """
        if not 6 <= length <= self._limit or (length + unblocked) % self.block:
            raise TransportBroken(PROTOCOL_ERROR, f"a packet's length can't be {length:,}")
        self.whole = whole = 4 + length + self._tag
        if len(data) - at < whole:
            self.need = whole
            return False
        self.need = 4
        self.sequence = (self.sequence + 1) & _MASK
        return True

    def _framed(self, out: memoryview, to: int, length: int) -> int:
        """Put the payload's length where the padding's was."""
        padding = out[to + 3]
        size = length - padding - 1
        if padding < 4 or size < 1:
            raise TransportBroken(PROTOCOL_ERROR, _BAD_PADDING)
        _LENGTH.pack_into(out, to, size)
        return size


def _padded(payload: bytes | memoryview, size: int, block: int, unblocked: int) -> bytes:
    """A packet without its MAC, in the clear; ``unblocked`` bytes of its length field belong to the blocks."""
    padding = block - (size + 1 + unblocked) % block
    if padding < 4:
        padding += block
    return b"".join((_LENGTH.pack(size + 1 + padding), _PAD_BYTES[padding], payload, _PADDING[:padding]))


# --- AES-GCM (RFC 5647): the length is authenticated and in the clear, the counter is the nonce's ---


class GcmSealer(Sealer):
    __slots__ = ("_counter", "_encrypt", "_fixed")

    def __init__(self, key: bytes, iv: bytes, sequence: int = 0) -> None:
        super().__init__(sequence)
        self._encrypt = AESGCM(key).encrypt
        self._fixed, self._counter = iv[:4], int.from_bytes(iv[4:12], "big")

    def seal(self, payload: bytes | memoryview) -> bytes:
        size = len(payload)
        padding = 16 - (size + 1) % 16
        if padding < 4:
            padding += 16
        head = _LENGTH.pack(size + 1 + padding)
        counter = self._counter
        self._counter = (counter + 1) & 0xFFFF_FFFF_FFFF_FFFF
        self.sequence = (self.sequence + 1) & _MASK
        return head + self._encrypt(
            self._fixed + _SEQUENCE.pack(counter),
            b"".join((_PAD_BYTES[padding], payload, _PADDING[:padding])),
            head,
        )


class GcmOpener(Opener):
    __slots__ = ("_counter", "_decrypt_into", "_fixed")
    block = 16

    def __init__(self, key: bytes, iv: bytes, sequence: int = 0) -> None:
        super().__init__(sequence, 16)
        self._decrypt_into = AESGCM(key).decrypt_into
        self._fixed, self._counter = iv[:4], int.from_bytes(iv[4:12], "big")

    def open(self, data: memoryview, at: int, out: memoryview, to: int) -> int:
        if len(data) - at < 4:
            self.need = 4
            return -1
        length = _LENGTH.unpack_from(data, at)[0]
        if not self._there(data, at, length, 0):
            return -1
        counter = self._counter
        self._counter = (counter + 1) & 0xFFFF_FFFF_FFFF_FFFF
        try:
            self._decrypt_into(
                self._fixed + _SEQUENCE.pack(counter),
                data[at + 4 : at + 20 + length],
                data[at : at + 4],
                out[to + 3 : to + 3 + length],
            )
        except InvalidTag:
            raise TransportBroken(MAC_ERROR, _BAD_MAC) from None
        padding = out[to + 3]
        size: int = length - padding - 1
        if padding < 4 or size < 1:
            raise TransportBroken(PROTOCOL_ERROR, _BAD_PADDING)
        _LENGTH.pack_into(out, to, size)
        return size


# --- AES-CTR with a MAC: of the ciphertext (-etm: the length is in the clear) or of the plaintext ---


class _Mac:
    """HMAC over the sequence number and a packet."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes, digest: str) -> None:
        self._keyed = hmac.new(key, digestmod=digest)

    def of(self, sequence: int, data: bytes | memoryview) -> bytes:
        found = self._keyed.copy()
        found.update(_LENGTH.pack(sequence))
        found.update(data)
        return found.digest()


def _ctr(key: bytes, iv: bytes) -> Cipher[modes.CTR]:
    return Cipher(algorithms.AES(key), modes.CTR(iv))


class EtmSealer(Sealer):
    __slots__ = ("_mac", "_update")

    def __init__(self, key: bytes, iv: bytes, mac: _Mac, sequence: int = 0) -> None:
        super().__init__(sequence)
        self._update: Callable[[bytes], bytes] = _ctr(key, iv).encryptor().update
        self._mac = mac

    def seal(self, payload: bytes | memoryview) -> bytes:
        plain = _padded(payload, len(payload), 16, 0)
        packet = plain[:4] + self._update(plain[4:])
        tag = self._mac.of(self.sequence, packet)
        self.sequence = (self.sequence + 1) & _MASK
        return packet + tag


class EtmOpener(Opener):
    __slots__ = ("_context", "_mac")
    block = 16

    def __init__(self, key: bytes, iv: bytes, mac: _Mac, tag: int, sequence: int = 0) -> None:
        super().__init__(sequence, tag)
        self._context: CipherContext = _ctr(key, iv).decryptor()
        self._mac = mac

    def open(self, data: memoryview, at: int, out: memoryview, to: int) -> int:
        if len(data) - at < 4:
            self.need = 4
            return -1
        length = _LENGTH.unpack_from(data, at)[0]
        sequence = self.sequence
        if not self._there(data, at, length, 0):
            return -1
        end = at + 4 + length
        if not hmac.compare_digest(self._mac.of(sequence, data[at:end]), data[end : end + self._tag]):
            raise TransportBroken(MAC_ERROR, _BAD_MAC)
        self._context.update_into(data[at + 4 : end], out[to + 3 : to + 3 + length + 15])
        return self._framed(out, to, length)


class MacSealer(EtmSealer):
    __slots__ = ()

    def seal(self, payload: bytes | memoryview) -> bytes:
        plain = _padded(payload, len(payload), 16, 4)
        tag = self._mac.of(self.sequence, plain)
        self.sequence = (self.sequence + 1) & _MASK
        return self._update(plain) + tag


class MacOpener(EtmOpener):
    __slots__ = ("_first",)

    def __init__(self, key: bytes, iv: bytes, mac: _Mac, tag: int, sequence: int = 0) -> None:
        super().__init__(key, iv, mac, tag, sequence)
        self._first: bytes | None = None
        self.need = 16

    def open(self, data: memoryview, at: int, out: memoryview, to: int) -> int:
        # The length is encrypted: the first block is decrypted once, and kept until the others are there.
        first = self._first
        if first is None:
            if len(data) - at < 16:
                self.need = 16
                return -1
            first = self._first = self._context.update(data[at : at + 16])
        length = _LENGTH.unpack_from(first)[0]
        sequence = self.sequence
        if not self._there(data, at, length, 4):
            return -1
        self._first, self.need = None, 16
        end = at + 4 + length
        plain = first + self._context.update(data[at + 16 : end])
        if not hmac.compare_digest(self._mac.of(sequence, plain), data[end : end + self._tag]):
            raise TransportBroken(MAC_ERROR, _BAD_MAC)
        out[to + 3 : to + 3 + length] = plain[4:]
        return self._framed(out, to, length)


# --- chacha20-poly1305@openssh.com: one key for lengths, one for the rest, the sequence number as nonce ---


def _chacha(key: bytes, nonce: bytes, counter: int) -> Any:
    return Cipher(algorithms.ChaCha20(key, counter.to_bytes(8, "little") + nonce), None).encryptor()


class ChaChaSealer(Sealer):
    __slots__ = ("_header", "_main")

    def __init__(self, key: bytes, sequence: int = 0) -> None:
        super().__init__(sequence)
        self._main, self._header = key[:32], key[32:64]

    def seal(self, payload: bytes | memoryview) -> bytes:
        nonce = _SEQUENCE.pack(self.sequence)
        self.sequence = (self.sequence + 1) & _MASK
        plain = _padded(payload, len(payload), 8, 0)
        length = _chacha(self._header, nonce, 0).update(plain[:4])
        # The first 64 bytes of key stream are the MAC's, the next block begins the payload.
        stream = _chacha(self._main, nonce, 0)
        poly = stream.update(bytes(64))[:32]
        packet = length + stream.update(plain[4:])
        return bytes(packet + Poly1305.generate_tag(poly, packet))


class ChaChaOpener(Opener):
    __slots__ = ("_header", "_length", "_main")

    def __init__(self, key: bytes, sequence: int = 0) -> None:
        super().__init__(sequence, 16)
        self._main, self._header = key[:32], key[32:64]
        self._length = -1

    def open(self, data: memoryview, at: int, out: memoryview, to: int) -> int:
        if len(data) - at < 4:
            self.need = 4
            return -1
        nonce = _SEQUENCE.pack(self.sequence)
        length = self._length
        if length < 0:
            length = self._length = _LENGTH.unpack(_chacha(self._header, nonce, 0).update(data[at : at + 4]))[
                0
            ]
        if not self._there(data, at, length, 0):
            return -1
        self._length = -1
        end = at + 4 + length
        stream = _chacha(self._main, nonce, 0)
        try:
            Poly1305.verify_tag(stream.update(bytes(64))[:32], data[at:end], bytes(data[end : end + 16]))
        except InvalidSignature:
            raise TransportBroken(MAC_ERROR, _BAD_MAC) from None
        stream.update_into(data[at + 4 : end], out[to + 3 : to + 3 + length + 15])
        return self._framed(out, to, length)


# --- what there is ---


@attrs.frozen
class CipherKind:
    """A cipher: bytes of its key and of its initial vector; whether it authenticates by itself."""

    key: int
    iv: int
    aead: bool = False


@attrs.frozen
class MacKind:
    """A MAC: its hash, its bytes (key and tag alike), and whether it is over the ciphertext."""

    digest: str
    size: int
    etm: bool


CIPHERS: Final = {
    "aes256-gcm@openssh.com": CipherKind(32, 12, aead=True),
    "aes128-gcm@openssh.com": CipherKind(16, 12, aead=True),
    "chacha20-poly1305@openssh.com": CipherKind(64, 0, aead=True),
    "aes256-ctr": CipherKind(32, 16),
    "aes192-ctr": CipherKind(24, 16),
    "aes128-ctr": CipherKind(16, 16),
}
"""The ciphers, in the order of our preference. No CBC, no RC4, no 3DES."""
MACS: Final = {
    "hmac-sha2-256-etm@openssh.com": MacKind("sha256", 32, etm=True),
    "hmac-sha2-512-etm@openssh.com": MacKind("sha512", 64, etm=True),
    "hmac-sha2-256": MacKind("sha256", 32, etm=False),
    "hmac-sha2-512": MacKind("sha512", 64, etm=False),
}
"""The MACs, in the order of our preference. No MD5, no SHA-1."""


def sealer(cipher: str, mac: str, iv: bytes, key: bytes, integrity: bytes, sequence: int) -> Sealer:
    """What seals with this cipher and MAC; ``mac`` means nothing to a cipher that authenticates by itself.

    ``iv``, ``key`` and ``integrity`` are at least as long as they must be.
    """
    kind = CIPHERS[cipher]
    iv, key = iv[: kind.iv], key[: kind.key]
    if kind.aead:
        return GcmSealer(key, iv, sequence) if kind.iv else ChaChaSealer(key, sequence)
    chosen = MACS[mac]
    make = EtmSealer if chosen.etm else MacSealer
    return make(key, iv, _Mac(integrity[: chosen.size], chosen.digest), sequence)


def opener(cipher: str, mac: str, iv: bytes, key: bytes, integrity: bytes, sequence: int) -> Opener:
    """What opens what :func:`sealer` of the same arguments sealed."""
    kind = CIPHERS[cipher]
    iv, key = iv[: kind.iv], key[: kind.key]
    if kind.aead:
        return GcmOpener(key, iv, sequence) if kind.iv else ChaChaOpener(key, sequence)
    chosen = MACS[mac]
    make = EtmOpener if chosen.etm else MacOpener
    return make(key, iv, _Mac(integrity[: chosen.size], chosen.digest), chosen.size, sequence)
