"""Bodies at rest, sealed: what a record's body, and the state at a segment's start, become on the disk. Pure.

A sealed body is AES-256-GCM over one byte (0: as it is, 1: zstd) and the data. Its key is the segment's own::

    HMAC-SHA256(data key, "hoopproxy segment 1" || journal || the header's salt)

so no two segments share one, whatever was restored or rolled back; in a segment each ``jseq`` stands for one
body, which makes ``jseq || kind || zeros`` a nonce that is used once. Journal, number, kind, flags and key id are
authenticated with it: a body can't be moved. Whose data key: a chunk's is that of its session, everything else's
is the gateway's (the *events key*), which the readers hold. Stubs are not sealed: there is nothing left in them.

The **state** is sealed with the events key as well, under a key of its own and a random nonce that stands before
it: it may be written again, with less in it, when a segment is rewritten.

Compression comes first, body by body, so a sealed journal is larger than a plain one, whose blocks are compressed
whole. What the ledger commits to, and what digests are over, is the sealed form: checking needs no key.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from typing import Final

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.format import Kind

__all__ = ["KEY_SIZE", "NONCE_SIZE", "OVERHEAD", "SegmentSeal", "derived", "events_key", "secret_of"]

KEY_SIZE: Final = 32
OVERHEAD: Final = 17  # bytes: the tag, and what says whether it is compressed
NONCE_SIZE: Final = 12
_NONCE = struct.Struct("<QB3x")
_BOUND = struct.Struct("<16sQHI")
_BODIES: Final = b"hoopproxy segment 1"
_STATES: Final = b"hoopproxy state 1"
_EVENTS: Final = b"hoopproxy events 1"
_SESSION: Final = b"hoopproxy session 1"
_RAW: Final = b"\0"
_ZSTD: Final = b"\1"
_TINY: Final = 128
_LARGE: Final = 4096
_KEPT: Final = 1024  # ciphers of a segment; making one costs five microseconds
_MAX_PLAIN: Final = 1 << 30

_small = zstandard.ZstdCompressor(level=-1, write_checksum=False)
_large = zstandard.ZstdCompressor(level=1, write_checksum=False)

DataKey = Callable[[int], bytes | None]
"""Key id -> data key; ``None``: whoever asks hasn't got it, or it was destroyed."""


def secret_of(data: bytes) -> bytes:
    """The secret of events as it may be kept: 32 bytes, or 64 hexadecimal digits.

    :raises HoopproxyError: it is neither; the sentence doesn't quote it.
    """
    if len(data) == KEY_SIZE:
        return data
    text = data.strip()
    if len(text) == 2 * KEY_SIZE:
        try:
            return bytes.fromhex(text.decode("ascii"))
        except ValueError:
            pass
    raise HoopproxyError(
        f"the readers' key must have {KEY_SIZE} bytes, or {2 * KEY_SIZE} hexadecimal digits; it has {len(data)} bytes"
    ) from None


def events_key(secret: bytes, journal: bytes) -> bytes:
    """The key of a journal's events, of the secret that a gateway and its readers share."""
    return hmac.digest(secret, _EVENTS + journal, "sha256")


def derived(secret: bytes, journal: bytes, key_id: int) -> bytes:
    """A session's data key, of the secret that a writer draws when it starts and never stores."""
    return hmac.digest(secret, _SESSION + journal + key_id.to_bytes(4, "little"), "sha256")


class SegmentSeal:
    """Seal and open in one segment. Not for two threads at once.

    :param data_key: gives the data key of a key id; 0 is the gateway's, for everything but chunks.
    """

    def __init__(self, journal: bytes, salt: bytes, data_key: DataKey) -> None:
        self._journal, self._salt, self._data_key = journal, salt, data_key
        self._ciphers: dict[int, AESGCM | None] = {}

    def _cipher(self, key_id: int) -> AESGCM | None:
        if key_id in self._ciphers:
            return self._ciphers[key_id]
        if len(self._ciphers) >= _KEPT:
            self._ciphers.clear()
        key = self._data_key(key_id)
        made = (
            None if key is None else AESGCM(hmac.digest(key, _BODIES + self._journal + self._salt, "sha256"))
        )
        self._ciphers[key_id] = made
        return made

    def seal(self, jseq: int, code: int, key_id: int, body: bytes) -> bytes:
        """A body as it is to be stored. ``code`` is ``kind | flags << 8``. The same is sealed the same way again.

        :raises KeyError: there is no data key for it.
        """
        kind = code & 0xFF
        if kind == Kind.STUB:
            return body
        cipher = self._cipher(key_id if kind == Kind.CHUNK else 0)
        if cipher is None:
            raise KeyError(key_id)
        return cipher.encrypt(
            _NONCE.pack(jseq, kind), _packed(body), _BOUND.pack(self._journal, jseq, code, key_id)
        )

    def open(self, jseq: int, code: int, key_id: int, stored: bytes) -> bytes | None:
        """The body of what is stored; ``None``: its data key isn't there. ``ValueError``: it was changed."""
        kind = code & 0xFF
        if kind == Kind.STUB:
            return stored
        cipher = self._cipher(key_id if kind == Kind.CHUNK else 0)
        if cipher is None:
            return None
        try:
            return _unpacked(
                cipher.decrypt(
                    _NONCE.pack(jseq, kind), stored, _BOUND.pack(self._journal, jseq, code, key_id)
                )
            )
        except InvalidTag:
            raise ValueError(
                f"record {jseq} can't be opened: it was changed, or the key is another"
            ) from None

    def _state_cipher(self) -> AESGCM | None:
        key = self._data_key(0)
        return (
            None if key is None else AESGCM(hmac.digest(key, _STATES + self._journal + self._salt, "sha256"))
        )

    def seal_state(self, payload: bytes, nonce: bytes) -> bytes:
        """The state as it is to be stored. :param nonce: 12 random bytes. :raises KeyError: no events key."""
        cipher = self._state_cipher()
        if cipher is None:
            raise KeyError(0)
        return nonce + cipher.encrypt(nonce, _packed(payload), self._journal)

    def open_state(self, stored: bytes) -> bytes | None:
        """Undo :meth:`seal_state`; as :meth:`open`."""
        cipher = self._state_cipher()
        if cipher is None:
            return None
        try:
            return _unpacked(cipher.decrypt(stored[:NONCE_SIZE], stored[NONCE_SIZE:], self._journal))
        except (InvalidTag, ValueError):
            raise ValueError("the state can't be opened: it was changed, or the key is another") from None


def _packed(body: bytes) -> bytes:
    """Compressed by its size alone: what is sealed twice under one nonce must be the same bytes."""
    size = len(body)
    if size >= _TINY:
        shorter = (_small if size < _LARGE else _large).compress(body)
        if len(shorter) < size:
            return _ZSTD + shorter
    return _RAW + body


def _unpacked(plain: bytes) -> bytes:
    mark, data = plain[:1], plain[1:]
    if mark == _RAW:
        return data
    if mark != _ZSTD or zstandard.frame_content_size(data) > _MAX_PLAIN:
        raise ValueError("what was sealed is not what this release seals")
    try:
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError("what was sealed can't be decompressed") from error
