"""AES-GCM: RFC 5647. The length is authenticated and in the clear; the nonce has a counter of its own."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hoopproxy.protocols.ssh.transport.broken import MAC_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.limits import PACKET_BYTES
from hoopproxy.protocols.ssh.transport.packet import (
    BAD_MAC,
    FIRST_UP,
    FULL,
    LENGTH,
    MASK,
    PAD_BYTES,
    PADDING,
    Opener,
    Sealer,
)

__all__ = ["GcmOpener", "GcmSealer"]

_COUNTER: Final = Struct(">Q")
_COUNTERS: Final = 0xFFFF_FFFF_FFFF_FFFF
_pack_counter = _COUNTER.pack
_pack_length, _unpack_length = LENGTH.pack_into, LENGTH.unpack_from
_PADDINGS: Final = tuple(PADDING[:count] for count in range(20))
# Where a packet is laid out before it is sealed, for all connections of the process.
_LAID_OUT: Final = memoryview(bytearray(PACKET_BYTES + 64))


class GcmSealer(Sealer):
    __slots__ = ("_counter", "_encrypt", "_encrypt_into", "_fixed")

    def __init__(self, key: bytes, iv: bytes, sequence: int = 0) -> None:
        super().__init__(sequence)
        cipher = AESGCM(key)
        self._encrypt, self._encrypt_into = cipher.encrypt, cipher.encrypt_into
        self._fixed, self._counter = iv[:4], int.from_bytes(iv[4:12], "big")

    def seal(self, payload: bytes | memoryview) -> bytes:
        size = len(payload)
        padding = 16 - (size + 1) % 16
        if padding < 4:
            padding += 16
        head = LENGTH.pack(size + 1 + padding)
        counter = self._counter
        self._counter = (counter + 1) & _COUNTERS
        self.sequence = (self.sequence + 1) & MASK
        return head + self._encrypt(
            self._fixed + _COUNTER.pack(counter),
            b"".join((PAD_BYTES[padding], payload, PADDING[:padding])),
            head,
        )

    def seal_many(self, payloads: Iterable[memoryview], out: memoryview) -> int:
        # All of a long transfer comes this way: as little is done for each packet as can be.
        laid_out, encrypt_into, fixed, counter = _LAID_OUT, self._encrypt_into, self._fixed, self._counter
        at = count = 0
        try:
            for payload in payloads:
                size = len(payload)
                padding = 4 + (11 - size) % 16
                length = size + 1 + padding
                laid_out[0] = padding
                laid_out[1 : size + 1] = payload
                laid_out[size + 1 : length] = _PADDINGS[padding]
                _pack_length(out, at, length)
                nonce = fixed + _pack_counter(counter + count & _COUNTERS)
                count += 1
                end = at + 20 + length
                encrypt_into(nonce, laid_out[:length], out[at : at + 4], out[at + 4 : end])
                at = end
                if at >= FULL:
                    break
        finally:
            self._counter = counter + count & _COUNTERS
            self.sequence = self.sequence + count & MASK
        return at


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
        length = LENGTH.unpack_from(data, at)[0]
        if not self._there(data, at, length, 0):
            return -1
        counter = self._counter
        self._counter = (counter + 1) & _COUNTERS
        try:
            self._decrypt_into(
                self._fixed + _COUNTER.pack(counter),
                data[at + 4 : at + 20 + length],
                data[at : at + 4],
                out[to + 3 : to + 3 + length],
            )
        except InvalidTag:
            raise TransportBroken(MAC_ERROR, BAD_MAC) from None
        return self._framed(out, to, length)

    def open_many(self, data: memoryview, at: int, out: memoryview, to: int) -> int:
        # As seal_many: what is whole and of a proper length is opened here, anything else is left to open.
        decrypt_into, fixed, counter, limit = self._decrypt_into, self._fixed, self._counter, self._limit
        count, end = 0, len(data)
        try:
            while end - at >= 4:
                length: int = _unpack_length(data, at)[0]
                behind = at + 20 + length
                if behind > end or length % 16 or not 16 <= length <= limit:
                    break
                nonce = fixed + _pack_counter(counter + count & _COUNTERS)
                count += 1
                decrypt_into(nonce, data[at + 4 : behind], data[at : at + 4], out[to + 3 : to + 3 + length])
                padding = out[to + 3]
                size = length - padding - 1
                if padding < 4 or size < 1:
                    self._framed(out, to, length)  # raises
                _pack_length(out, to, size)
                at = behind
                if out[to + 4] < FIRST_UP:
                    return size
                to += 4 + size
        except InvalidTag:
            raise TransportBroken(MAC_ERROR, BAD_MAC) from None
        finally:
            self._counter = counter + count & _COUNTERS
            self.sequence = self.sequence + count & MASK
            self.at, self.to = at, to
        return super().open_many(data, at, out, to)
