"""How much compression the writer can afford just now, and how a reader undoes it.

Measured (one core of an EPYC, MB/s of raw input, and what is left): level 1 does 1,500-2,000 on batches of
events (3 %) and on rows of pgbench (5 %), 400 on rows of random letters (53 %); level -5 does 3,000 on the
same rows of pgbench (10 %), 1,400 on the letters (93 %). Of a few records level -1 takes 3 us and leaves a
third. So: level 1, unless bytes pile up behind the writer; then -5. What proved not to be worth it is stored
as it is, with a look every so often whether that has changed; while bytes pile up, more has to be gained.
"""

from __future__ import annotations

import threading
from typing import Final
from zlib import crc32

import zstandard

from hoopproxy.journal.format import BlockHeader, Compression

__all__ = ["Compressor", "read_payload"]

_CALM_LEVEL: Final = 1
_SMALL_LEVEL: Final = -1  # half the time, a sixth more bytes, and the disk writes 4 KiB anyway
_BUSY_LEVEL: Final = -5
_TINY: Final = 256  # bytes; below, the frame's own overhead and the call eat the gain
_SMALL: Final = 4096
_BUSY_BACKLOG: Final = 1 << 19  # bytes in the batch and behind it: more than a few commands leave
_LOOK_AGAIN: Final = 16  # blocks
_LARGE: Final = 1 << 16  # bytes; only of large blocks is it worth skipping the attempt
_CALM_GAIN: Final = 0.95  # what may be left at most, or the attempt was in vain
_BUSY_GAIN: Final = 0.80


class Compressor:
    """Turn raw payloads into stored ones. Not for two threads at once."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._calm = zstandard.ZstdCompressor(level=_CALM_LEVEL, write_checksum=False)
        self._small = zstandard.ZstdCompressor(level=_SMALL_LEVEL, write_checksum=False)
        self._busy = zstandard.ZstdCompressor(level=_BUSY_LEVEL, write_checksum=False)
        self._skip = 0

    def squeeze(self, raw: bytes, backlog: int) -> bytes:
        """What to store of bytes that are compressed in any case, the less thoroughly the more waits. They are turns,
        which are alike: level -1 takes two thirds of level 1's time for a tenth more bytes."""
        return (self._busy if backlog > _BUSY_BACKLOG else self._small).compress(raw)

    def compress(self, raw: bytes, backlog: int) -> tuple[Compression, bytes]:
        """Return what to store. ``backlog``: bytes that wait, this block included."""
        size = len(raw)
        if not self._enabled or size < _TINY:
            return Compression.NONE, raw
        if size < _SMALL:
            stored = self._small.compress(raw)
            return (Compression.ZSTD, stored) if len(stored) < size else (Compression.NONE, raw)
        large = size >= _LARGE
        if large and self._skip:
            self._skip -= 1
            return Compression.NONE, raw
        busy = backlog > _BUSY_BACKLOG
        stored = (self._busy if busy else self._calm).compress(raw)
        if len(stored) > size * (_BUSY_GAIN if busy else _CALM_GAIN):
            if large:
                self._skip = _LOOK_AGAIN
            return Compression.NONE, raw
        return Compression.ZSTD, stored


_of_thread = threading.local()


def _decompressor() -> zstandard.ZstdDecompressor:
    """This thread's own: making one takes several times as long as a small block, and threads can't share it."""
    found: zstandard.ZstdDecompressor | None = getattr(_of_thread, "decompressor", None)
    if found is None:
        found = _of_thread.decompressor = zstandard.ZstdDecompressor()
    return found


def read_payload(header: BlockHeader, stored: bytes, seed: int) -> bytes:
    """The raw payload; ``ValueError`` if it is cut, changed, or not as long as the header says."""
    if len(stored) != header.stored or crc32(stored, seed) != header.payload_crc:
        raise ValueError("the block's checksum is wrong")
    if header.compression == Compression.NONE:
        raw = stored
    else:
        try:
            if zstandard.frame_content_size(stored) != header.raw:
                raise ValueError("the block's length is wrong")
            raw = _decompressor().decompress(stored)
        except zstandard.ZstdError as error:
            raise ValueError("the block can't be decompressed") from error
    if len(raw) != header.raw:
        raise ValueError("the block's length is wrong")
    return raw
