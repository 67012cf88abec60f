"""The gateway's own secret: what makes its answers about strangers stable, and nobody else's."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from hoopproxy.errors import SecretUnavailable

__all__ = ["SIZE", "server_secret"]

SIZE = 32
"""Bytes."""

_NAME = "server-secret"


def server_secret(state: Path) -> bytes:
    """Read ``server-secret`` in the state directory; make it, 0600, when it isn't there.

    Two processes that make it at once get the same one. Losing the file only changes what strangers see.

    :raises SecretUnavailable: it can't be read or made, is open to others, or has another size.
    """
    path = state / _NAME
    try:
        with contextlib.suppress(FileExistsError):
            if not path.exists():
                _make(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            facts = os.fstat(descriptor)
            secret = os.read(descriptor, SIZE + 1)
        finally:
            os.close(descriptor)
    except OSError as problem:
        raise SecretUnavailable(f"{path}: {problem.strerror}") from None
    if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
        raise SecretUnavailable(f"{path}: is open to others; make it a file of mode 0600, or delete it")
    if len(secret) != SIZE:
        raise SecretUnavailable(f"{path}: has not {SIZE} bytes; delete it, and a new one is made")
    return secret


def _make(path: Path) -> None:
    """Write it whole beside, then give it its name: a reader never sees half, the second writer loses."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(SIZE))
            stream.flush()
            os.fsync(descriptor)
        os.link(fresh, path)
    finally:
        os.unlink(fresh)
