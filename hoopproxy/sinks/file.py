"""The file sink: one event a line. What it accepted is on the disk, in whole lines, whatever happens then.

A new file is begun at a size, at the end of a period (a day of 86,400 s ends at midnight UTC), or whenever
something else took the file away: logrotate needs no signal, though SIGHUP does it, too. The old one becomes
``NAME.20260131T235959Z``. A file has one writer, by its lock.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.errors import HoopproxyError
from hoopproxy.interfaces import IAuditSink, ISinkPlugin
from hoopproxy.sinks import Delivery, SinkContext

__all__ = ["FilePlugin", "FileSink", "Rotation"]

MODE: Final = 0o640
_NUMBERS: Final = {
    "rotate_bytes": (0, 1 << 50),
    "rotate_seconds": (0, 366 * 86_400),
    "keep": (0, 1_000_000),
}
_TAIL: Final = 1 << 16


class FileUnusable(HoopproxyError):
    """The file can't be written; says why."""


@attrs.frozen(kw_only=True)
class Rotation:
    """When a new file is begun, and how many old ones stay; 0: never, and all."""

    bytes: int = 0
    seconds: int = 0
    keep: int = 0


@implementer(IPlugin, ISinkPlugin)
class FilePlugin:
    """``type = "file"``: ``path``, ``rotate_bytes``, ``rotate_seconds``, ``keep``."""

    name, version, acknowledges, default_format = "file", "1", "record", "ocsf"

    def problems(self, options: Mapping[str, object], base: Path) -> list[str]:
        return list(_problems(options, base))

    def make(self, options: Mapping[str, object], context: SinkContext) -> FileSink:
        number = {name: _whole(options.get(name, 0)) for name in _NUMBERS}
        rotation = Rotation(
            bytes=number["rotate_bytes"], seconds=number["rotate_seconds"], keep=number["keep"]
        )
        return FileSink(context.base / str(options["path"]), rotation, in_thread=context.in_thread)


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value


def _problems(options: Mapping[str, object], base: Path) -> Iterator[str]:
    for key in sorted(set(options) - {"path", *_NUMBERS}):
        yield f"{key} is not known; a file sink has path, {', '.join(_NUMBERS)}"
    path = options.get("path")
    if not isinstance(path, str) or not path:
        yield 'path is missing; write path = "/var/log/hoopproxy/trail.jsonl"'
    elif (base / path).is_dir():
        yield f'path is "{path}", which is a folder; name a file in it'
    for key, (least, most) in _NUMBERS.items():
        value = options.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            yield f"{key} is no whole number from {least} to {most}"


@implementer(IAuditSink)
class FileSink:
    """One file, appended to. The work is done by ``in_thread``: a disk may take its time.

    :param wall: Unix time in seconds.
    """

    def __init__(
        self, path: Path, rotation: Rotation | None = None, *, in_thread: Any, wall: Any = time.time
    ) -> None:
        self.path, self._rotation, self._in_thread, self._wall = path, rotation or Rotation(), in_thread, wall
        self._handle: int | None = None
        self._again = False  # open anew before the next batch
        self._suspect = False  # a sync failed: nothing more goes into this file

    def start(self) -> Awaitable[None]:
        done: Awaitable[None] = self._in_thread(self._open)
        return done

    def deliver(self, batch: Sequence[Delivery]) -> Awaitable[None]:
        data = b"\n".join([*[each.body for each in batch], b""])
        done: Awaitable[None] = self._in_thread(self._append, data)
        return done

    def reopen(self) -> None:
        self._again = True

    def stop(self) -> Awaitable[None]:
        done: Awaitable[None] = self._in_thread(self._close)
        return done

    # -- the file

    def _open(self) -> None:
        try:
            self._open_or_make()
        except OSError as problem:
            raise FileUnusable(f"{self.path}: {problem.strerror}") from None

    def _open_or_make(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        try:
            handle = os.open(self.path, flags | os.O_CREAT | os.O_EXCL, MODE)
            made = True
        except FileExistsError:
            handle, made = os.open(self.path, flags), False
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise FileUnusable(f"{self.path} is not a regular file")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileUnusable(
                    f"{self.path} has another writer; each sink needs a file of its own"
                ) from None
            if made:
                os.fchmod(handle, MODE)  # whatever the umask is: its group reads it
                self._sync_names()
            else:
                os.ftruncate(handle, _whole_lines(handle))  # what a crash tore comes again whole
        except BaseException:
            os.close(handle)
            raise
        self._handle, self._again, self._suspect = handle, False, False

    def _sync_names(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def _append(self, data: bytes) -> None:
        handle = self._ready(len(data))
        before = os.fstat(handle).st_size
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(handle, view) :]
        except OSError:
            os.ftruncate(handle, before)  # the whole batch comes again
            raise
        try:
            os.fdatasync(handle)
        except OSError:
            self._suspect = True  # what the system says of this file is not to be believed any more
            raise

    def _ready(self, more: int) -> int:
        """The handle of the file that this batch belongs in."""
        if self._handle is None or self._again or not self._is_ours(self._handle):
            self._close()
            self._open()
        assert self._handle is not None
        if self._suspect or self._is_due(os.fstat(self._handle), more):
            self._rotate()
        return self._handle

    def _is_ours(self, handle: int) -> bool:
        """Whether the path still leads to the file that is open: it may have been moved or removed."""
        try:
            there, ours = os.stat(self.path), os.fstat(handle)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _is_due(self, facts: os.stat_result, more: int) -> bool:
        rotation = self._rotation
        if not facts.st_size:
            return False
        if rotation.bytes and facts.st_size + more > rotation.bytes:
            return True
        return bool(rotation.seconds) and (
            int(facts.st_mtime) // rotation.seconds != int(self._wall()) // rotation.seconds
        )

    def _rotate(self) -> None:
        assert self._handle is not None
        os.rename(self.path, self.path.with_name(self._next_name()))
        self._close()
        self._open()
        if self._rotation.keep:
            for path in self._old()[: -self._rotation.keep]:
                path.unlink(missing_ok=True)

    def _next_name(self) -> str:
        """By the time, and after every old file's whatever the clock says: the first names are the first to go."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._wall()))
        name = f"{self.path.name}.{stamp}"
        last = self._old()[-1:]
        if not last or last[0].name < name:
            return name
        newest, _, number = last[0].name.removeprefix(f"{self.path.name}.").partition("-")
        return f"{self.path.name}.{newest}-{int(number or 0) + 1:06d}"

    def _old(self) -> list[Path]:
        """The files that were rotated away, oldest first."""
        ours = re.compile(re.escape(self.path.name) + r"\.\d{8}T\d{6}Z(-\d{6})?\Z")
        return sorted(path for path in self.path.parent.iterdir() if ours.match(path.name))


def _whole_lines(handle: int) -> int:
    """Bytes up to the end of the last whole line."""
    end = os.fstat(handle).st_size
    while end:
        start = max(end - _TAIL, 0)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
