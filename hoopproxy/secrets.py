"""Secrets by reference: ``env:NAME``, ``file:PATH``, and what plugins add.

A secret is read when it is needed and kept by nobody here, so that a rotated one is used at the next
connection. No error, log line or repr holds a value: they name the reference.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.errors import SecretUnavailable
from hoopproxy.interfaces import ISecretSource

__all__ = [
    "MAXIMUM_SECRET",
    "EnvironmentSource",
    "FileSource",
    "Secrets",
    "file_problem",
    "read_now",
    "resolve",
]

MAXIMUM_SECRET = 64 * 1024
"""Bytes of a secret: a private key with its chain fits four times."""


class Reference(Protocol):
    """What :class:`hoopproxy.config.SecretRef` is."""

    @property
    def scheme(self) -> str: ...
    @property
    def rest(self) -> str: ...
    @property
    def base(self) -> Path: ...


@implementer(IPlugin, ISecretSource)
class EnvironmentSource:
    """``env:NAME``: a variable of the gateway's environment."""

    scheme = "env"

    def get(self, rest: str, base: Path) -> bytes:
        value = os.environb.get(rest.encode("utf-8", "surrogateescape"))
        if value is None:
            raise SecretUnavailable(f"env:{rest}: the variable is not set")
        return _checked(value, f"env:{rest}")


@implementer(IPlugin, ISecretSource)
class FileSource:
    """``file:PATH``: the content of a file, without one newline at its end.

    Refused when everyone may read or write it. The file is opened once, and what was opened is judged.
    """

    scheme = "file"

    def get(self, rest: str, base: Path) -> bytes:
        reference = f"file:{rest}"
        try:
            descriptor = os.open(base / rest, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                problem = _facts_problem(os.fstat(descriptor))
                if problem is not None:
                    raise SecretUnavailable(f"{reference}: {problem.removeprefix('but ')}")
                with open(descriptor, "rb", closefd=False) as stream:
                    value = stream.read(MAXIMUM_SECRET + 2)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the name is not one that a file can have"
            raise SecretUnavailable(f"{reference}: {reason}") from None
        return _checked(value.removesuffix(b"\n").removesuffix(b"\r"), reference)


def _checked(value: bytes, reference: str) -> bytes:
    if not value:
        raise SecretUnavailable(f"{reference}: is empty")
    if len(value) > MAXIMUM_SECRET:
        raise SecretUnavailable(f"{reference}: is over {MAXIMUM_SECRET} bytes")
    return value


def file_problem(path: Path) -> str | None:
    """Why a secret file can't be used (a phrase), as far as can be told without reading it."""
    try:
        return _facts_problem(os.stat(path))
    except (OSError, ValueError) as error:
        return f"but it can't be read: {getattr(error, 'strerror', None) or 'not a file name'} ({path})"


def _facts_problem(facts: os.stat_result) -> str | None:
    if not stat.S_ISREG(facts.st_mode):
        return "but it is not a regular file"
    if facts.st_mode & 0o006:
        mode = stat.S_IMODE(facts.st_mode)
        return f"but it has mode {mode:04o}, so everyone can read or write it; use 0600 or 0640"
    return None


class Secrets:
    """All the sources, by scheme. The built-in ones are there already; a plugin can't replace them."""

    def __init__(self, sources: Iterable[Any] = ()) -> None:
        self._sources = {source.scheme: source for source in sources}
        self._sources.update({source.scheme: source for source in (EnvironmentSource(), FileSource())})

    @property
    def schemes(self) -> tuple[str, ...]:
        """What can stand before the colon."""
        return tuple(sorted(self._sources))

    def resolve(self, reference: Reference) -> Deferred[bytes]:
        """The secret's bytes now. Fails with ``SecretUnavailable`` only, which names the reference."""
        source = self._sources.get(reference.scheme)
        asked: Deferred[Any]
        if source is None:
            asked = maybeDeferred(_no_source, reference.scheme)
        else:
            asked = maybeDeferred(source.get, reference.rest, reference.base)
        return asked.addCallbacks(_bytes_only, _one_kind, callbackArgs=(reference,), errbackArgs=(reference,))


def _no_source(scheme: str) -> bytes:
    raise SecretUnavailable(f"no source of secrets is called {scheme}")


def _bytes_only(value: object, reference: Reference) -> bytes:
    if not isinstance(value, bytes):
        raise SecretUnavailable(
            f"{reference.scheme}:{reference.rest}: its source gave something other than bytes"
        )
    return _checked(value, f"{reference.scheme}:{reference.rest}")


def _one_kind(failure: Failure, reference: Reference) -> bytes:
    """An unexpected error's text could hold the secret, so only its kind is kept."""
    problem = failure.value
    if isinstance(problem, SecretUnavailable):
        raise problem
    name = f"{reference.scheme}:{reference.rest}"
    raise SecretUnavailable(f"{name}: its source failed ({type(problem).__name__})")


def read_now(reference: Reference) -> bytes | None:
    """The secret of a built-in source; ``None``: another source has it, which would have to be waited for.

    :raises SecretUnavailable: it names the reference.
    """
    sources: dict[str, EnvironmentSource | FileSource] = {"env": EnvironmentSource(), "file": FileSource()}
    source = sources.get(reference.scheme)
    return None if source is None else source.get(reference.rest, reference.base)


def resolve(reference: Reference) -> Deferred[bytes]:
    """:meth:`Secrets.resolve` with the built-in sources only."""
    return Secrets().resolve(reference)
