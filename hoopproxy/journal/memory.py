"""A file system in memory that can be full, fail, and lose power: for tests of whatever stands on the
journal.

What was not synced when the power goes may be there, be missing, or be there in part (by sectors of 512
bytes, in any order), as on a real disk. :meth:`MemoryFiles.crash` decides that with the random source that
it is given.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

__all__ = ["MemoryFiles"]

_SECTOR: Final = 512
_serials = itertools.count(1)


class _File:
    """Bytes as processes see them (``data``), as the disk has them (``disk``), and the changes between.

    A change is an offset and what was written there, or ``None`` for "cut here".
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.disk = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []
        self.reserved = 0
        self.serial = str(next(_serials))

    def sync(self) -> None:
        for offset, written in self.pending:
            self._apply(offset, written)
        _resize(self.disk, len(self.data))
        self.pending.clear()

    def _apply(self, offset: int, written: bytes | None) -> None:
        if written is None:
            _resize(self.disk, min(offset, len(self.disk)))
            return
        _resize(self.disk, max(offset + len(written), len(self.disk)))
        self.disk[offset : offset + len(written)] = written

    def lose(self, random: Random) -> None:
        """Let the power go."""
        size = random.choice((len(self.disk), len(self.data)))
        for offset, written in self.pending:
            if written is None:
                self._apply(offset, None)
                continue
            at = 0
            while at < len(written):
                step = min(_SECTOR - (offset + at) % _SECTOR, len(written) - at)
                if random.random() < 0.5:
                    self._apply(offset + at, written[at : at + step])
                at += step
        _resize(self.disk, size)
        self.pending.clear()
        self.data = bytearray(self.disk)


def _resize(data: bytearray, size: int) -> None:
    del data[size:]
    data.extend(bytes(size - len(data)))


class MemoryFiles:
    """:class:`~hoopproxy.journal.files.Files` without a disk.

    ``fail`` is asked before each operation that changes or syncs something, ``fail(operation, file name)``,
    and gives an ``errno`` or ``None``; operations: ``open pwrite fdatasync fsync fsync_dir truncate
    preallocate unlink rename``. ``capacity`` bounds the bytes of all files, preallocated ones included.
    ``log`` lists the operations done.
    """

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.fail: Callable[[str, str], int | None] = lambda operation, name: None
        self.log: list[tuple[str, str]] = []
        self._files: dict[Path, _File] = {}
        self._durable_names: dict[Path, _File] = {}
        self._folders: set[Path] = set()
        self._handles: dict[int, tuple[_File, Path, bool]] = {}
        self._locks: dict[Path, int] = {}
        self._next = 3

    # -- for the test

    def crash(self, random: Random | None = None) -> None:
        """End all processes. With ``random``, the power goes too with what wasn't synced."""
        self._handles.clear()
        self._locks.clear()
        if random is None:
            return
        names = dict(self._durable_names)
        for path, file in self._files.items():
            if path not in names and random.random() < 0.5:
                names[path] = file
        for path in list(names):
            if path not in self._files and random.random() < 0.5:
                del names[path]  # an unlink that did get there
        for file in {id(file): file for file in names.values()}.values():
            file.lose(random)
        self._files, self._durable_names = names, dict(names)

    def content(self, path: Path) -> bytes:
        """The file's bytes as a process sees them."""
        return bytes(self._files[path].data)

    def replace(self, path: Path, data: bytes) -> None:
        """Put other bytes there, durably: damage."""
        file = self._files.setdefault(path, _File())
        self._durable_names[path] = file
        file.data, file.disk = bytearray(data), bytearray(data)
        file.pending.clear()

    @property
    def opened(self) -> list[Path]:
        """The files that are open, each as often as it is."""
        return sorted(path for _, path, _ in self._handles.values())

    @property
    def used(self) -> int:
        """Bytes that files take."""
        return sum(max(len(file.data), file.reserved) for file in self._files.values())

    # -- the interface

    def _ask(self, operation: str, path: Path) -> None:
        code = self.fail(operation, path.name)
        self.log.append((operation, path.name))
        if code is not None:
            raise OSError(code, os.strerror(code), str(path))

    def _room(self, more: int, path: Path) -> None:
        if self.capacity is not None and more > 0 and self.used + more > self.capacity:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _handle(self, path: Path, writable: bool) -> int:
        handle, self._next = self._next, self._next + 1
        self._handles[handle] = self._files[path], path, writable
        return handle

    def _writable(self, handle: int) -> tuple[_File, Path]:
        file, path, writable = self._handles[handle]
        if not writable:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(path))
        return file, path

    def open(self, path: Path, create: bool = False) -> int:
        self._ask("open", path)
        if create:
            if path in self._files:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            self._files[path] = _File()
        elif path not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._handle(path, True)

    def open_read(self, path: Path) -> int:
        if path not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._handle(path, False)

    def close(self, handle: int) -> None:
        _, path, _ = self._handles.pop(handle)
        if self._locks.get(path) == handle:
            del self._locks[path]

    def size(self, handle: int) -> int:
        return len(self._handles[handle][0].data)

    def itself(self, handle: int) -> str:
        return self._handles[handle][0].serial

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        return bytes(self._handles[handle][0].data[offset : offset + length])

    def pwrite(self, handle: int, parts: Sequence[bytes], offset: int) -> None:
        file, path = self._writable(handle)
        self._ask("pwrite", path)
        data = b"".join(parts)
        end = offset + len(data)
        self._room(end - max(len(file.data), file.reserved), path)
        if end > len(file.data):
            file.data.extend(bytes(end - len(file.data)))
        file.data[offset:end] = data
        file.pending.append((offset, data))

    def truncate(self, handle: int, size: int) -> None:
        file, path = self._writable(handle)
        self._ask("truncate", path)
        file.reserved = min(file.reserved, size)
        if size < len(file.data):
            file.pending.append((size, None))
        _resize(file.data, size)

    def fdatasync(self, handle: int) -> None:
        file, path, _ = self._handles[handle]
        try:
            self._ask("fdatasync", path)
        except OSError:
            file.pending.clear()  # the pages are dropped, and the next sync would say that all is well
            raise
        file.sync()

    def fsync(self, handle: int) -> None:
        file, path, _ = self._handles[handle]
        self._ask("fsync", path)
        file.sync()

    def fsync_dir(self, path: Path) -> None:
        self._ask("fsync_dir", path)
        inside = sorted(name for name in {*self._files, *self._durable_names} if name.parent == path)
        for name in inside:
            if name in self._files:
                self._durable_names[name] = self._files[name]
            else:
                del self._durable_names[name]

    def make_dir(self, path: Path) -> None:
        self._folders.update((path, *path.parents))

    def names(self, path: Path) -> list[str]:
        return sorted({name.name for name in (*self._files, *self._folders) if name.parent == path})

    def exists(self, path: Path) -> bool:
        return path in self._files or path in self._folders

    def rename(self, old: Path, new: Path) -> None:
        self._ask("rename", new)
        self._files[new] = self._files.pop(old)

    def unlink(self, path: Path) -> None:
        self._ask("unlink", path)
        self._files.pop(path, None)

    def preallocate(self, handle: int, size: int) -> None:
        file, path = self._writable(handle)
        self._ask("preallocate", path)
        self._room(size - max(len(file.data), file.reserved), path)
        file.reserved = size
        file.data.extend(bytes(size - len(file.data)))

    def free_bytes(self, path: Path) -> int:
        return 1 << 40 if self.capacity is None else max(self.capacity - self.used, 0)

    def lock(self, path: Path) -> int | None:
        if path in self._locks:
            return None
        self._files.setdefault(path, _File())
        handle = self._handle(path, True)
        self._locks[path] = handle
        return handle

    def is_locked(self, path: Path) -> bool:
        return path in self._locks
