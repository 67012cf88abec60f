"""Files that are read again when they changed, and kept when they got worse: keys, authorities, revocations."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from twisted.logger import Logger

from hoopproxy.errors import ConfigError, HoopproxyError
from hoopproxy.identity.users import stamp

__all__ = ["MAXIMUM_FILE", "Watched", "read_file"]

MAXIMUM_FILE = 64 << 20
"""Bytes of such a file: a revocation list of millions of keys."""

_T = TypeVar("_T")


def read_file(path: Path) -> tuple[bytes, tuple[int, ...]]:
    """The file's bytes and its stamp.

    :raises ConfigError: it can't be read, is too large, is no file, or everybody may write to it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            facts = os.fstat(descriptor)
            if facts.st_mode & 0o170000 != 0o100000:
                raise ConfigError([f"{path}: is not a regular file"])
            if facts.st_mode & 0o002:
                raise ConfigError([f"{path}: everyone can write to it; use 0644 or 0600"])
            with open(descriptor, "rb", closefd=False) as stream:
                data = stream.read(MAXIMUM_FILE + 1)
        finally:
            os.close(descriptor)
    except OSError as problem:
        raise ConfigError([f"{path}: can't be read: {problem.strerror}"]) from None
    if len(data) > MAXIMUM_FILE:
        raise ConfigError([f"{path}: is over {MAXIMUM_FILE} bytes"])
    return data, stamp(facts)


class Watched(Generic[_T]):
    """A file as a value. One ``stat`` a look when nothing changed.

    :param parse: from the bytes and the file's name; raises a HoopproxyError.
    :param strict: a file that got worse vouches for nothing any more: :meth:`look` raises until it is right again.
        Else the last good content stays in force.
    :raises ConfigError: at the first reading.
    """

    log = Logger()

    def __init__(self, path: Path, parse: Callable[[bytes, str], _T], *, strict: bool = False) -> None:
        self.path, self._parse, self._strict = path, parse, strict
        self._value, self._stamp = self._read()
        self.problem: ConfigError | None = None

    def look(self) -> _T:
        """The present content. :raises ConfigError: only if ``strict``."""
        try:
            now = stamp(os.stat(self.path))
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
        data, stamped = read_file(self.path)
        try:
            return self._parse(data, str(self.path)), stamped
        except ConfigError:
            raise
        except HoopproxyError as problem:
            raise ConfigError([f"{self.path}: {problem}"]) from None

    def _got_worse(self, problem: ConfigError, now: tuple[int, ...]) -> None:
        self.problem, self._stamp = problem, now
        self.log.error("a file of SSH keys can't be used as it is now: {problem}", problem=str(problem))
