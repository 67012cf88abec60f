"""The files that say who is who: read again when they changed, and kept when they got worse."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from twisted.logger import Logger

from hoopproxy.errors import ConfigError, HoopproxyError

__all__ = ["LISTS", "OWNERS", "PRIVATE", "Openness", "Watched", "read_file"]

_T = TypeVar("_T")


class Openness:
    """How open a file may be, and how long.

    :param forbidden: mode bits that it must not have. :param advice: what is wrong then, with ``{mode}``, and what
        would do. :param maximum: bytes.
    """

    def __init__(self, forbidden: int, advice: str, maximum: int) -> None:
        self.forbidden, self.advice, self.maximum = forbidden, advice, maximum


LISTS = Openness(0o002, "everyone can write to it; use 0644 or 0600", 64 << 20)
"""Public keys, authorities, revocations: a revocation list of millions of keys."""

PRIVATE = Openness(0o006, "has mode {mode:04o}, so everyone can read or write it; use 0600 or 0640", 16 << 20)
"""Hashes of passwords, of about 50,000 people."""

OWNERS = Openness(0o077, "has mode {mode:04o}, so others than its owner can use it; use 0600", 16 << 20)
"""Secrets as they are."""


def read_file(path: Path, openness: Openness = LISTS) -> tuple[bytes, tuple[int, ...]]:
    """The file's bytes and its stamp, which changes when they do.

    :raises ConfigError: it can't be read, is no file (a FIFO hangs nobody), too large, or more open than it may be.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise ConfigError([f"{path}: is not a regular file"])
            if facts.st_mode & openness.forbidden:
                raise ConfigError([f"{path}: {openness.advice.format(mode=stat.S_IMODE(facts.st_mode))}"])
            with open(descriptor, "rb", closefd=False) as stream:
                data = stream.read(openness.maximum + 1)
        finally:
            os.close(descriptor)
    except OSError as problem:
        raise ConfigError([f"{path}: can't be read: {problem.strerror}"]) from None
    if len(data) > openness.maximum:
        raise ConfigError([f"{path}: is over {openness.maximum} bytes"])
    return data, _stamp(facts)


def _stamp(facts: os.stat_result) -> tuple[int, ...]:
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


class Watched(Generic[_T]):
    """A file as a value. One ``stat`` a look when nothing changed.

    A file that is *gone* or unreadable got worse, too: an administrator deletes people by deleting their lines.

    :param parse: from the bytes and the file's name; raises a HoopproxyError.
    :param strict: a file that got worse vouches for nothing any more: :meth:`look` raises until it is right again.
        Else the last good content stays in force, and the log says so once.
    :raises ConfigError: at the first reading.

    :ivar problem: why the file as it is now is not in force.
    """

    log = Logger()

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes, str], _T],
        *,
        strict: bool = False,
        openness: Openness = LISTS,
    ) -> None:
        self.path, self._parse, self._strict, self._openness = path, parse, strict, openness
        self._value, self._stamp = self._read()
        self.problem: ConfigError | None = None

    def look(self) -> _T:
        """The present content. :raises ConfigError: only if ``strict``."""
        try:
            now = _stamp(os.stat(self.path))
        except OSError as problem:
            now = ()
            if self.problem is None or self._stamp:
                self._got_worse(ConfigError([f"{self.path}: can't be read: {problem.strerror}"]), now)
        if now and now != self._stamp:
            try:
                self._value, self._stamp = self._read()
                self.problem = None
            except ConfigError as problem:
                self._got_worse(problem, now)
        if self.problem is not None and self._strict:
            raise self.problem
        return self._value

    def _read(self) -> tuple[_T, tuple[int, ...]]:
        data, stamped = read_file(self.path, self._openness)
        try:
            return self._parse(data, str(self.path)), stamped
        except ConfigError:
            raise
        except HoopproxyError as problem:
            raise ConfigError([f"{self.path}: {problem}"]) from None

    def _got_worse(self, problem: ConfigError, now: tuple[int, ...]) -> None:
        self.problem, self._stamp = problem, now
        kept = "nobody is admitted by it" if self._strict else "it is kept as it was"
        self.log.error("{problem}: {kept}", problem=str(problem), kept=kept)
