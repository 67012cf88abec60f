"""A file for what doesn't belong in memory: the beginning of one long message that is still arriving."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import BinaryIO

from hoopproxy.errors import JournalRefused

__all__ = ["MakeFile", "Spool"]

MakeFile = Callable[[], BinaryIO]
"""Gives a new, empty file that nobody else can open: unlinked, or of mode 0600, and gone when it is closed."""


class Spool:
    """Bytes kept in a file, in order. Every error of the disk is a :class:`JournalRefused`: what can't be
    kept can't be recorded, so it must not happen."""

    def __init__(self, make: MakeFile) -> None:
        self.size = 0
        try:
            self._file = make()
        except OSError as error:
            raise _refused(error) from error

    def write(self, data: bytes) -> None:
        """Keep more."""
        try:
            self._file.write(data)
        except OSError as error:
            raise _refused(error) from error
        self.size += len(data)

    def read(self) -> bytes:
        """All of it; the file stays."""
        try:
            self._file.seek(0)
            data = self._file.read()
            self._file.seek(0, 2)
        except OSError as error:
            raise _refused(error) from error
        if len(data) != self.size:
            raise JournalRefused("io", "a long message could not be read back from the state directory")
        return data

    def close(self) -> None:
        """Forget it. The contents were not wanted any more, so an error doesn't matter."""
        try:
            self._file.close()
        except OSError:
            self.size = 0


def _refused(error: OSError) -> JournalRefused:
    why = error.strerror or type(error).__name__
    code = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "io"
    return JournalRefused(code, f"a long message can't be kept in the state directory ({why})")
