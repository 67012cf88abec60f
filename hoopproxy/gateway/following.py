"""One life of the process that follows the trail: its environment, what it hears and says, and how it ended."""

# Twisted's processes are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs
from twisted.python.failure import Failure

from hoopproxy.config import Config, SecretRef
from hoopproxy.delivery.pipe import Lines
from hoopproxy.gateway.children import Child, environment

__all__ = ["Following", "environment_of"]

_REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)\Z")


def environment_of(config: Config) -> dict[str, str]:
    """The process's environment: what an interpreter needs, and the variables that references name there.

    The gateway's own environment holds passwords of targets, which are nobody's business who reads the trail.
    """
    names = set(_variables(attrs.evolve(config, listeners=(), targets=(), checkers=())))
    archive = config.archive
    if archive.to is not None and archive.to.startswith("s3://") and archive.access_key is None:
        # Whoever the machine is: the library looks there by itself.
        names |= {"HOME", *(name for name in os.environ if name.startswith("AWS_"))}
    return environment(names)


def _variables(value: object) -> Iterator[str]:
    if isinstance(value, SecretRef):
        if value.scheme == "env":
            yield value.rest
    elif isinstance(value, str):
        found = _REFERENCE.match(value)
        if found is not None:
            yield found[1]
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _variables(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _variables(item)
    elif attrs.has(type(value)):
        kind: Any = type(value)
        for name in attrs.fields_dict(kind):
            yield from _variables(getattr(value, name))


class Following(Child):
    """:param hear: called with each message. :param ended: called once with itself, and how it ended."""

    def __init__(
        self, hear: Callable[[Mapping[str, Any]], None], ended: Callable[[Following, str], None]
    ) -> None:
        self._lines, self._ended = Lines(hear), ended
        self.began = 0.0

    def say(self, line: bytes) -> None:
        """A message to it."""
        if self.transport is not None:
            self.transport.write(line)

    def outReceived(self, data: bytes) -> None:
        if not self._lines.feed(data):
            self.kill()

    def processEnded(self, reason: Failure) -> None:
        self._ended(self, self.how(reason))
