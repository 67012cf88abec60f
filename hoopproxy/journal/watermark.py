"""The watermark: up to where a journal is durable, where any process can see it at once.

One page of a file, which readers read. It is stored *after* the ``fdatasync`` that it speaks of, so whatever
of it survives a crash is true: at worst it is too low. Two slots are written in turn, each with its own CRC, so
that a reader never sees half of one and a power cut can spoil only one.

Why by a system call and not through a mapping: a store to a mapped page may wait for the disk (the page is
being written back, or the file system is frozen for a snapshot), and does so with the interpreter's lock held:
every session of the process would hang with it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final
from zlib import crc32

import attrs

from hoopproxy.journal.files import Files

__all__ = ["NO_MARK", "PAGE", "Mark", "WatermarkWriter", "read_mark"]

PAGE: Final = 4096
_MAGIC: Final = b"HOOPMARK"
_SLOT = struct.Struct("<8sQQQQ")  # magic, turn, jseq, segment, offset
_CRC = struct.Struct("<I")
_SIZE: Final = _SLOT.size + _CRC.size
_PLACES: Final = (0, 512)


@attrs.frozen
class Mark:
    """Everything to ``jseq`` is durable; the last block that is ends at ``offset`` of segment ``segment``."""

    jseq: int
    segment: int
    offset: int


NO_MARK: Final = Mark(0, 0, 0)


def _best(page: bytes) -> tuple[int, Mark]:
    best, found = 0, NO_MARK
    for place in _PLACES:
        slot = page[place : place + _SIZE]
        if len(slot) < _SIZE or crc32(slot[:-4]) != _CRC.unpack_from(slot, _SLOT.size)[0]:
            continue
        magic, turn, jseq, segment, offset = _SLOT.unpack_from(slot)
        if magic == _MAGIC and turn > best:
            best, found = turn, Mark(jseq, segment, offset)
    return best, found


def read_mark(files: Files, path: Path) -> Mark:
    """The watermark that the file holds; :data:`NO_MARK` if it is missing or holds none."""
    try:
        handle = files.open_read(path)
    except FileNotFoundError:
        return NO_MARK
    try:
        return _best(files.pread(handle, PAGE, 0))[1]
    finally:
        files.close(handle)


class WatermarkWriter:
    """The writer's side. Methods raise ``OSError``."""

    def __init__(self, files: Files, path: Path) -> None:
        """Open or make the file, with its page set aside on the disk."""
        self._files = files
        fresh = not files.exists(path)
        self._handle = files.open(path, create=fresh)
        try:
            if files.size(self._handle) < PAGE:
                files.pwrite(self._handle, [bytes(PAGE)], 0)
                files.fsync(self._handle)
            self._turn = _best(files.pread(self._handle, PAGE, 0))[0]
        except BaseException:
            self.close()
            raise

    def store(self, jseq: int, segment: int, offset: int) -> None:
        """Say that all up to here is durable. Only after it is; not synced itself."""
        self._turn += 1
        slot = _SLOT.pack(_MAGIC, self._turn, jseq, segment, offset)
        place = _PLACES[self._turn & 1]
        self._files.pwrite(self._handle, [slot + _CRC.pack(crc32(slot))], place)

    def close(self) -> None:
        """Give the file back."""
        self._files.close(self._handle)
