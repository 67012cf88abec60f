"""AES-GCM: RFC 5647. The length is authenticated and in the clear; the nonce has a counter of its own."""

from __future__ import annotations

from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hoopproxy.protocols.ssh.transport.broken import MAC_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.limits import PACKET_BYTES
from hoopproxy.protocols.ssh.transport.packet import BAD_MAC, LENGTH, MASK, PAD_BYTES, PADDING, Opener, Sealer

__all__ = ["GcmOpener", "GcmSealer"]

_COUNTER: Final = Struct(">Q")
_COUNTERS: Final = 0xFFFF_FFFF_FFFF_FFFF
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

    def seal_into(self, payload: memoryview, out: memoryview, at: int) -> int:
        size = len(payload)
        padding = 16 - (size + 1) % 16
        if padding < 4:
            padding += 16
        length = size + 1 + padding
        laid_out, counter = _LAID_OUT, self._counter
        self._counter = (counter + 1) & _COUNTERS
        self.sequence = (self.sequence + 1) & MASK
        laid_out[0] = padding
        laid_out[1 : 1 + size] = payload
        laid_out[1 + size : length] = PADDING[:padding]
        LENGTH.pack_into(out, at, length)
        end = at + 20 + length
        self._encrypt_into(
            self._fixed + _COUNTER.pack(counter), laid_out[:length], out[at : at + 4], out[at + 4 : end]
        )
        return end


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
