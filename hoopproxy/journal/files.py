"""The few things that the journal asks of a file system, behind one small interface.

Everything that touches the disk goes through :class:`Files`, so that a test can hand in a disk that is full,
that fails, or that loses and tears what was not synced when the power goes (:mod:`hoopproxy.journal.memory`).
All methods raise ``OSError`` as the system gives it; none retries anything but an interrupted or short write.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["Files", "RealFiles"]

_MANY_PARTS = 512  # the system takes 1,024 at once
_FS_IOC_GETVERSION = (
    2 << 30 | struct.calcsize("l") << 16 | ord("v") << 8 | 1
)  # linux/fs.h: _IOR('v', 1, long)
_LOCK_TRIES = 3
_LOCK_PAUSE_SECONDS = 0.002  # a reader's probe holds the lock for microseconds


class Files(Protocol):
    """One folder tree on one disk. Handles are integers; paths are absolute."""

    def open(self, path: Path, create: bool = False) -> int:
        """Open for reading and writing; with ``create`` make it (mode 0600), failing if it exists."""

    def open_read(self, path: Path) -> int:
        """Open for reading only."""

    def close(self, handle: int) -> None:
        """Give the handle back. Never syncs."""

    def size(self, handle: int) -> int:
        """Bytes in the file."""

    def itself(self, handle: int) -> str:
        """What this file has in common with no other file of its disk, a copy of it included."""

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        """Read up to ``length`` bytes; fewer only at the end of the file."""

    def pwrite(self, handle: int, parts: Sequence[bytes], offset: int) -> None:
        """Write all of the parts, one after the other, from ``offset`` on, or raise."""

    def truncate(self, handle: int, size: int) -> None:
        """Set the file's size."""

    def fdatasync(self, handle: int) -> None:
        """Return when what was written is on stable storage. After an error nothing is known of it."""

    def fsync(self, handle: int) -> None:
        """As :meth:`fdatasync`, with the metadata."""

    def fsync_dir(self, path: Path) -> None:
        """Return when the names in the folder are on stable storage."""

    def make_dir(self, path: Path) -> None:
        """Make the folder (mode 0700) and its parents; fine if it is there."""

    def names(self, path: Path) -> list[str]:
        """Names in the folder, sorted; empty if there is no such folder."""

    def exists(self, path: Path) -> bool:
        """Whether there is something of that name."""

    def rename(self, old: Path, new: Path) -> None:
        """Give the file another name, replacing what has it."""

    def unlink(self, path: Path) -> None:
        """Remove the name; fine if it is not there."""

    def preallocate(self, handle: int, size: int) -> None:
        """Have the disk set ``size`` bytes aside for the file."""

    def free_bytes(self, path: Path) -> int:
        """Bytes that an unprivileged process can still write on this disk."""

    def lock(self, path: Path) -> int | None:
        """Lock the file for as long as the handle is open; ``None`` if somebody else has it."""

    def is_locked(self, path: Path) -> bool:
        """Whether a living process holds the lock."""


class RealFiles:
    """:class:`Files` over the operating system."""

    def open(self, path: Path, create: bool = False) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        if create:
            flags |= os.O_CREAT | os.O_EXCL
        return os.open(path, flags, 0o600)

    def open_read(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self, handle: int) -> None:
        os.close(handle)

    def size(self, handle: int) -> int:
        return os.fstat(handle).st_size

    def itself(self, handle: int) -> str:
        try:  # a number may be given again, to another generation
            generation = fcntl.ioctl(handle, _FS_IOC_GETVERSION, bytes(struct.calcsize("l")))[:4].hex()
        except OSError:  # not every file system says
            generation = ""
        return f"{os.fstat(handle).st_ino} {generation}"

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        data = os.pread(handle, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]  # the system reads at most 2 GiB at a time
        have = len(data)
        while have < length and data:
            data = os.pread(handle, length - have, offset + have)
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def pwrite(self, handle: int, parts: Sequence[bytes], offset: int) -> None:
        if len(parts) > _MANY_PARTS:
            parts = (b"".join(parts),)
        size = sum(map(len, parts))
        done = os.pwritev(handle, parts, offset)
        if done != size:
            view = memoryview(b"".join(parts))
            while done < size:
                done += os.pwrite(handle, view[done:], offset + done)

    def truncate(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def fdatasync(self, handle: int) -> None:
        os.fdatasync(handle)

    def fsync(self, handle: int) -> None:
        os.fsync(handle)

    def fsync_dir(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def make_dir(self, path: Path) -> None:
        missing = []
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
            self.fsync_dir(each.parent)

    def names(self, path: Path) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def exists(self, path: Path) -> bool:
        return path.exists()

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def preallocate(self, handle: int, size: int) -> None:
        os.posix_fallocate(handle, 0, size)

    def free_bytes(self, path: Path) -> int:
        facts = os.statvfs(path)
        return facts.f_bavail * facts.f_frsize

    def lock(self, path: Path) -> int | None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_SECONDS)
            else:
                return handle
        os.close(handle)
        return None

    def is_locked(self, path: Path) -> bool:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False
