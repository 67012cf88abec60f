"""AES-CTR with HMAC-SHA-2: of the ciphertext (OpenSSH's PROTOCOL, 1.5: the length is in the clear), or of the
plaintext (RFC 4253 s.6.4, RFC 6668)."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from hoopproxy.protocols.ssh.transport.broken import MAC_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.packet import BAD_MAC, LENGTH, MASK, Opener, Sealer, padded

__all__ = ["EtmOpener", "EtmSealer", "Mac", "MacOpener", "MacSealer"]


class Mac:
    """HMAC over the sequence number and a packet."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes, digest: str) -> None:
        self._keyed = hmac.new(key, digestmod=digest)

    def of(self, sequence: int, data: bytes | memoryview) -> bytes:
        found = self._keyed.copy()
        found.update(LENGTH.pack(sequence))
        found.update(data)
        return found.digest()


def _ctr(key: bytes, iv: bytes) -> Cipher[modes.CTR]:
    return Cipher(algorithms.AES(key), modes.CTR(iv))


class EtmSealer(Sealer):
    __slots__ = ("_mac", "_update")

    def __init__(self, key: bytes, iv: bytes, mac: Mac, sequence: int = 0) -> None:
        super().__init__(sequence)
        self._update: Callable[[bytes], bytes] = _ctr(key, iv).encryptor().update
        self._mac = mac

    def seal(self, payload: bytes | memoryview) -> bytes:
        plain = padded(payload, len(payload), 16, 0)
        packet = plain[:4] + self._update(plain[4:])
        tag = self._mac.of(self.sequence, packet)
        self.sequence = (self.sequence + 1) & MASK
        return packet + tag


class EtmOpener(Opener):
    __slots__ = ("_context", "_mac")
    block = 16

    def __init__(self, key: bytes, iv: bytes, mac: Mac, tag: int, sequence: int = 0) -> None:
        super().__init__(sequence, tag)
        self._context: CipherContext = _ctr(key, iv).decryptor()
        self._mac = mac

    def open(self, data: memoryview, at: int, out: memoryview, to: int) -> int:
        if len(data) - at < 4:
            self.need = 4
            return -1
        length = LENGTH.unpack_from(data, at)[0]
        sequence = self.sequence
        if not self._there(data, at, length, 0):
            return -1
        end = at + 4 + length
        if not hmac.compare_digest(self._mac.of(sequence, data[at:end]), data[end : end + self._tag]):
            raise TransportBroken(MAC_ERROR, BAD_MAC)
        self._context.update_into(data[at + 4 : end], out[to + 3 : to + 3 + length + 15])
        return self._framed(out, to, length)


class MacSealer(EtmSealer):
    __slots__ = ()

    def seal(self, payload: bytes | memoryview) -> bytes:
        plain = padded(payload, len(payload), 16, 4)
        tag = self._mac.of(self.sequence, plain)
        self.sequence = (self.sequence + 1) & MASK
        return self._update(plain) + tag


class MacOpener(EtmOpener):
    __slots__ = ("_first",)

    def __init__(self, key: bytes, iv: bytes, mac: Mac, tag: int, sequence: int = 0) -> None:
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
        length = LENGTH.unpack_from(first)[0]
        sequence = self.sequence
        if not self._there(data, at, length, 4):
            return -1
        self._first, self.need = None, 16
        end = at + 4 + length
        plain = first + self._context.update(data[at + 16 : end])
        if not hmac.compare_digest(self._mac.of(sequence, plain), data[end : end + self._tag]):
            raise TransportBroken(MAC_ERROR, BAD_MAC)
        out[to + 3 : to + 3 + length] = plain[4:]
        return self._framed(out, to, length)
