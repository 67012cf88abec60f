"""The state directory: that it is there, private, on a disk that keeps what it is given; and what it holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hoopproxy.errors import HoopproxyError

__all__ = ["VOLATILE", "StateUnusable", "file_system_of", "prepare", "server_secret"]

VOLATILE = frozenset({"tmpfs", "ramfs", "devtmpfs", "overlay", "aufs", "nfs", "nfs4", "cifs", "smb3", "9p"})
"""File systems that lose what they were given (memory), can't be trusted with fdatasync (network), or go away
with a container (overlay)."""

SECRET_BYTES = 32


class StateUnusable(HoopproxyError):
    """The state directory can't be used; one sentence."""


def prepare(state: Path, *, strict: bool, allow_volatile: bool) -> None:
    """Make the directory if it is missing, and see whether it will do.

    :param strict: some target promises durability.
    :raises StateUnusable: it won't do.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = state.stat()
    except OSError as problem:
        raise StateUnusable(f"the state directory {state} can't be made: {problem.strerror}") from None
    if facts.st_mode & 0o002:
        raise StateUnusable(f"the state directory {state} can be written by everyone; use mode 0700")
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        raise StateUnusable(f"the state directory {state} can't be written by this user")
    kind = file_system_of(state)
    if strict and not allow_volatile and kind in VOLATILE:
        raise StateUnusable(
            f"the state directory {state} is on {kind}, which can't keep what a strict target promises; use a"
            " local disk, or say gateway.allow_volatile_state = true"
        )


def file_system_of(path: Path) -> str | None:
    """The kind of file system that holds ``path``; ``None`` where the kernel doesn't tell."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            mounts = list(_mounts(lines))
    except OSError:
        return None
    wanted = os.path.realpath(path)
    best, found = -1, None
    for point, kind in mounts:
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:  # a later mount on the same point hides the earlier one
            best, found = len(point), kind
    return found


def _mounts(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Mount point and kind of each line; see proc(5)."""
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")[0]
        if len(fields) > 4 and kind:
            yield _unescaped(fields[4]), kind


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def server_secret(state: Path) -> bytes:
    """32 bytes that only this gateway knows, made at the first start. As :func:`own_secret`."""
    return own_secret(state, "server-secret")


def own_secret(state: Path, name: str) -> bytes:
    """32 bytes in a file of the state directory, made when they are first asked for.

    :raises StateUnusable: the file can't be read or made, or others can read it.
    """
    path = state / name
    try:
        return _read_secret(path)
    except FileNotFoundError:
        pass
    except OSError as problem:
        raise StateUnusable(f"{path} can't be read: {problem.strerror}") from None
    fresh = path.with_name(f"{name}.{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, os.urandom(SECRET_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(fresh, path)  # never over one that another process made meanwhile
        except FileExistsError:
            pass
        finally:
            os.unlink(fresh)
        return _read_secret(path)
    except OSError as problem:
        raise StateUnusable(f"{path} can't be made: {problem.strerror}") from None


def _read_secret(path: Path) -> bytes:
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        secret = file.read(SECRET_BYTES + 1)
    if mode & 0o077:
        raise StateUnusable(f"{path} can be read by others; use mode 0600")
    if len(secret) != SECRET_BYTES:
        raise StateUnusable(f"{path} holds {len(secret)} bytes, not {SECRET_BYTES}; restore it or remove it")
    return secret
