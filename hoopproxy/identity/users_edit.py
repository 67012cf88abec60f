"""Changing the users file, or that of one-time codes: one writer at a time, and never half a file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hoopproxy.errors import ConfigError
from hoopproxy.identity.users import parse_users, read_text
from hoopproxy.identity.watched import PRIVATE, Openness

__all__ = ["edit_file", "edit_users"]

_PATIENCE = 5.0
"""Seconds that a second writer waits for the first."""


def edit_users(path: Path, change: Callable[[str], str]) -> None:
    """:func:`edit_file` for a users file."""
    edit_file(path, change, parse_users, PRIVATE)


def edit_file(
    path: Path, change: Callable[[str], str], parse: Callable[[str, str], object], openness: Openness
) -> None:
    """Read the file (or start an empty one, 0600), let ``change`` make the new text, replace the file.

    The new text is read back before it is used, written beside the file, synced, and renamed over it; mode
    and owner stay. The folder is locked meanwhile, so that two writers can't lose each other's change. A
    symbolic link is followed, so that it goes on being one.

    :param parse: raises ConfigError for a text that is no such file; the second parameter names it.
    :raises ConfigError: the old or new text is no such file, or it can't be read, locked or written.
    """
    path = Path(os.path.realpath(path))
    try:
        with _locked(path.parent):
            mode, owner = 0o600, None
            text = ""
            if os.path.lexists(path):
                text, _ = read_text(path, openness)
                facts = os.stat(path)
                mode, owner = stat.S_IMODE(facts.st_mode), (facts.st_uid, facts.st_gid)
            parse(text, str(path))
            new = change(text)
            parse(new, str(path))
            _replace(path, new.encode("utf-8"), mode, owner)
    except OSError as problem:
        raise ConfigError([f"{path}: can't be written: {problem.strerror}"]) from None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError([f"{folder}: another process is writing here; try again"]) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        os.rename(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
