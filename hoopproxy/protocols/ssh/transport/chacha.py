"""chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305): one key for lengths, one for the rest, and the
sequence number as nonce."""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.poly1305 import Poly1305

from hoopproxy.protocols.ssh.transport.broken import MAC_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.packet import BAD_MAC, LENGTH, MASK, Opener, Sealer, padded

__all__ = ["ChaChaOpener", "ChaChaSealer"]

_SEQUENCE: Final = Struct(">Q")


def _chacha(key: bytes, nonce: bytes, counter: int) -> Any:
    return Cipher(algorithms.ChaCha20(key, counter.to_bytes(8, "little") + nonce), None).encryptor()


class ChaChaSealer(Sealer):
    __slots__ = ("_header", "_main")

    def __init__(self, key: bytes, sequence: int = 0) -> None:
        super().__init__(sequence)
        self._main, self._header = key[:32], key[32:64]

    def seal(self, payload: bytes | memoryview) -> bytes:
        nonce = _SEQUENCE.pack(self.sequence)
        self.sequence = (self.sequence + 1) & MASK
        plain = padded(payload, len(payload), 8, 0)
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
            length = self._length = LENGTH.unpack(_chacha(self._header, nonce, 0).update(data[at : at + 4]))[
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
            raise TransportBroken(MAC_ERROR, BAD_MAC) from None
        stream.update_into(data[at + 4 : end], out[to + 3 : to + 3 + length + 15])
        return self._framed(out, to, length)
