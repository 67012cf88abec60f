"""chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305): one key for lengths, one for the rest, and the
sequence number as nonce."""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.poly1305 import Poly1305

from hoopproxy.protocols.ssh.transport.broken import MAC_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.limits import PACKET_BYTES
from hoopproxy.protocols.ssh.transport.packet import (
    BAD_MAC,
    LENGTH,
    MASK,
    PAD_BYTES,
    PADDING,
    Opener,
    Sealer,
    padded,
)

__all__ = ["ChaChaOpener", "ChaChaSealer"]

# The cipher's own nonce is its counter, which begins at 0, and the packet's sequence number.
_NONCE: Final = Struct(">QQ")
# The key stream's first block is the MAC's key; the payload begins with the second.
_FIRST_BLOCK: Final = bytes(64)
_MAC_KEY: Final = 32
# What update_into wants to see behind what it writes.
_MARGIN: Final = 15
# Where a packet is laid out before it is sealed, for all connections of the process.
_LAID_OUT: Final = memoryview(bytearray(PACKET_BYTES + 64))


def _chacha(key: bytes) -> Any:
    return Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor()


class ChaChaSealer(Sealer):
    __slots__ = ("_header", "_main")

    def __init__(self, key: bytes, sequence: int = 0) -> None:
        super().__init__(sequence)
        self._main, self._header = _chacha(key[:32]), _chacha(key[32:64])

    def seal(self, payload: bytes | memoryview) -> bytes:
        plain = padded(payload, len(payload), 8, 0)
        length, mac_key = self._begin(plain[:4])
        packet = length + self._main.update(plain[4:])
        return bytes(packet + Poly1305.generate_tag(mac_key, packet))

    def seal_into(self, payload: memoryview, out: memoryview, at: int) -> int:
        size = len(payload)
        padding = 8 - (size + 1) % 8
        if padding < 4:
            padding += 8
        length = size + 1 + padding
        laid_out = _LAID_OUT
        laid_out[:1] = PAD_BYTES[padding]
        laid_out[1 : 1 + size] = payload
        laid_out[1 + size : length] = PADDING[:padding]
        end = at + 4 + length
        out[at : at + 4], mac_key = self._begin(LENGTH.pack(length))
        self._main.update_into(laid_out[:length], out[at + 4 : end + _MARGIN])
        out[end : end + 16] = Poly1305.generate_tag(mac_key, out[at:end])
        return end + 16

    def _begin(self, length: bytes) -> tuple[bytes, bytes]:
        """The sealed length and the MAC's key; the payload's key stream is next."""
        nonce = _NONCE.pack(0, self.sequence)
        self.sequence = (self.sequence + 1) & MASK
        self._header.reset_nonce(nonce)
        self._main.reset_nonce(nonce)
        return self._header.update(length), self._main.update(_FIRST_BLOCK)[:_MAC_KEY]


class ChaChaOpener(Opener):
    __slots__ = ("_header", "_length", "_main")

    def __init__(self, key: bytes, sequence: int = 0) -> None:
        super().__init__(sequence, 16)
        self._main, self._header = _chacha(key[:32]), _chacha(key[32:64])
        self._length = -1

    def open(self, data: memoryview, at: int, out: memoryview, to: int) -> int:
        if len(data) - at < 4:
            self.need = 4
            return -1
        nonce = _NONCE.pack(0, self.sequence)
        length = self._length
        if length < 0:
            # Opened once, and kept until the rest is there.
            self._header.reset_nonce(nonce)
            length = self._length = LENGTH.unpack(self._header.update(data[at : at + 4]))[0]
        if not self._there(data, at, length, 0):
            return -1
        self._length = -1
        end, main = at + 4 + length, self._main
        main.reset_nonce(nonce)
        try:
            Poly1305.verify_tag(
                main.update(_FIRST_BLOCK)[:_MAC_KEY], data[at:end], bytes(data[end : end + 16])
            )
        except InvalidSignature:
            raise TransportBroken(MAC_ERROR, BAD_MAC) from None
        main.update_into(data[at + 4 : end], out[to + 3 : to + 3 + length + _MARGIN])
        return self._framed(out, to, length)
