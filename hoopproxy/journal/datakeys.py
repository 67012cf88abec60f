"""The file of wrapped data keys beside a journal: one age file after the other, where the key file says.

A header of 64 bytes, then the wrapped keys. Nothing is ever changed but by an erasure, which overwrites a wrapped
key with zeros. ``events-key.age`` beside it is the events key, wrapped for the same people.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

import attrs

from hoopproxy.errors import Damaged
from hoopproxy.journal.files import Files
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import VERSION, UnsupportedFormat
from hoopproxy.journal.keys import Key

__all__ = ["DataKeyFile", "read_events_key", "read_wrapped", "store_events_key", "wipe"]

_MAGIC: Final = b"HOOPDKEY"
_HEADER = struct.Struct("<8sHH16s32x")
_CRC = struct.Struct("<I")
_SIZE: Final = 64
_MAX_WRAPPED: Final = 1 << 20


def _path(folder: Folder) -> Path:
    return folder.path / "data-keys"


def _events_path(folder: Folder) -> Path:
    return folder.path / "events-key.age"


class DataKeyFile:
    """The writer's side. After an error the file isn't trusted any more: another takes its place. ``OSError``."""

    def __init__(self, folder: Folder) -> None:
        """Open, or make it. :raises Damaged: it is another thing. :raises UnsupportedFormat: it is newer."""
        self._folder, self._files, self._path = folder, folder.files, _path(folder)
        if not self._files.exists(self._path):
            self._replace(_header(folder.id))
        self._handle = self._files.open(self._path)
        self._failed = False
        try:
            self._check()
            self._end = self._files.size(self._handle)
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        data = self._files.pread(self._handle, _SIZE, 0)
        if len(data) != _SIZE or crc32(data[:-4]) != _CRC.unpack_from(data, _SIZE - 4)[0]:
            raise Damaged(str(self._path), 0, "the header of the file of data keys is wrong")
        magic, version, _, owner = _HEADER.unpack_from(data)
        if magic != _MAGIC or owner != self._folder.id:
            raise Damaged(str(self._path), 0, "the file of data keys is not this journal's")
        if version != VERSION:
            raise UnsupportedFormat(str(self._path), f"the file of data keys is of format version {version}")

    def _replace(self, data: bytes) -> None:
        _replace(self._files, self._path, data)

    def append(self, keys: Sequence[tuple[Key, bytes]]) -> list[Key]:
        """Store wrapped keys, durably; the keys, with where each is."""
        if self._failed:  # what the system says of the old file is not to be believed beyond what was durable
            self._replace(self._files.pread(self._handle, self._end, 0))
            handle = self._files.open(self._path)
            self._files.close(self._handle)
            self._handle, self._failed = handle, False
        placed, at = [], self._end
        for key, wrapped in keys:
            placed.append(attrs.evolve(key, cipher=1, wrapped_at=at, wrapped_size=len(wrapped)))
            at += len(wrapped)
        try:
            self._files.pwrite(self._handle, [wrapped for _, wrapped in keys], self._end)
            self._files.fdatasync(self._handle)
        except OSError:
            self._failed = True
            raise
        self._end = at
        return placed

    def close(self) -> None:
        """Give the handle back."""
        self._files.close(self._handle)


def _header(journal: bytes) -> bytes:
    head = _HEADER.pack(_MAGIC, VERSION, _SIZE, journal)
    return head + _CRC.pack(crc32(head))


def _content(files: Files, path: Path, size: int, offset: int = 0) -> bytes:
    handle = files.open_read(path)
    try:
        return files.pread(handle, size, offset)
    finally:
        files.close(handle)


def read_wrapped(folder: Folder, key: Key) -> bytes | None:
    """The wrapped data key of an entry; ``None``: it has none, or it was destroyed."""
    if not key.wrapped_size or key.is_erased:
        return None
    try:
        return _content(folder.files, _path(folder), min(key.wrapped_size, _MAX_WRAPPED), key.wrapped_at)
    except FileNotFoundError:
        raise Damaged(str(_path(folder)), 0, "the file of data keys is missing") from None


def wipe(folder: Folder, keys: Sequence[Key]) -> None:
    """Overwrite these wrapped keys with zeros, durably."""
    wrapped = [key for key in keys if key.wrapped_size]
    if not wrapped:
        return
    handle = folder.files.open(_path(folder))
    try:
        for key in wrapped:
            folder.files.pwrite(handle, [bytes(key.wrapped_size)], key.wrapped_at)
        folder.files.fdatasync(handle)
    finally:
        folder.files.close(handle)


def store_events_key(folder: Folder, wrapped: bytes) -> None:
    """Have the events key, wrapped, beside the journal; replaces an older one."""
    _replace(folder.files, _events_path(folder), wrapped)


def _replace(files: Files, path: Path, data: bytes) -> None:
    """A durable file with this in it, in place of one that may be there: at every moment it is one or the other."""
    fresh = path.with_name(path.name + ".new")
    files.unlink(fresh)
    handle = files.open(fresh, create=True)
    try:
        files.pwrite(handle, [data], 0)
        files.fsync(handle)
    finally:
        files.close(handle)
    files.rename(fresh, path)
    files.fsync_dir(path.parent)


def read_events_key(folder: Folder) -> bytes | None:
    """The events key, wrapped; ``None``: there is none."""
    try:
        return _content(folder.files, _events_path(folder), _MAX_WRAPPED)
    except FileNotFoundError:
        return None
