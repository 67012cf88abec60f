"""How much compression the writer can afford just now.

Measured (one core of an EPYC, MB/s of raw input): level 1 does 1,500-3,000 on batches of events (a
twenty-fifth is left), 300 on rows of random letters (1.8-fold); level -5 does 700-2,500 and gets nearly
nothing of random letters. So: level 1, unless bytes pile up behind the writer; then -5; and what proved
incompressible is stored as it is, with a look every so often whether that has changed.
"""

from __future__ import annotations

from typing import Final

import zstandard

from hoopproxy.journal.format import Compression

__all__ = ["Compressor"]

_CALM_LEVEL: Final = 1
_SMALL_LEVEL: Final = (
    -1
)  # of a few records: half the time, a sixth more bytes, and the disk writes 4 KiB anyway
_SMALL: Final = 4096
_BUSY_LEVEL: Final = -5
_BUSY_BACKLOG: Final = 1 << 19  # bytes in the batch and behind it: more than a few commands leave
_TINY: Final = 128  # bytes; below, the frame's own overhead eats the gain
_LOOK_AGAIN: Final = 16  # blocks
_LARGE: Final = 1 << 16  # bytes; only of large blocks is it worth skipping the attempt


class Compressor:
    """Turn raw payloads into stored ones. Not for two threads at once."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._calm = zstandard.ZstdCompressor(level=_CALM_LEVEL, write_checksum=False)
        self._small = zstandard.ZstdCompressor(level=_SMALL_LEVEL, write_checksum=False)
        self._busy = zstandard.ZstdCompressor(level=_BUSY_LEVEL, write_checksum=False)
        self._skip = 0

    def compress(self, raw: bytes, backlog: int) -> tuple[Compression, bytes]:
        """Return what to store. ``backlog``: bytes that wait, this block included."""
        if not self._enabled or len(raw) < _TINY:
            return Compression.NONE, raw
        large = len(raw) >= _LARGE
        if large and self._skip:
            self._skip -= 1
            return Compression.NONE, raw
        if len(raw) < _SMALL:
            compressor = self._small
        else:
            compressor = self._busy if backlog > _BUSY_BACKLOG else self._calm
        stored = compressor.compress(raw)
        if len(stored) > len(raw) * 0.95:
            if large:
                self._skip = _LOOK_AGAIN
            return Compression.NONE, raw
        return Compression.ZSTD, stored
