"""One life of the process that follows the trail: its environment, what it hears and says, and how it ended."""

# Twisted's processes are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from hoopproxy.config import Config, SecretRef
from hoopproxy.delivery.pipe import Lines

__all__ = ["PASSED_ON", "Following", "environment_of"]

PASSED_ON: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
_REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)\Z")
_LAST_WORDS: Final = 4096


def environment_of(config: Config) -> dict[str, str]:
    """The process's environment: what an interpreter needs, and the variables that references name there.

    The gateway's own environment holds passwords of targets, which are nobody's business who reads the trail.
    """
    names = {*PASSED_ON, *_variables(attrs.evolve(config, listeners=(), targets=(), checkers=()))}
    archive = config.archive
    if archive.to is not None and archive.to.startswith("s3://") and archive.access_key is None:
        # Whoever the machine is: the library looks there by itself.
        names |= {"HOME", *(name for name in os.environ if name.startswith("AWS_"))}
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}


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


class Following(ProcessProtocol):
    """:param hear: called with each message. :param ended: called once with itself, and how it ended."""

    def __init__(
        self, hear: Callable[[Mapping[str, Any]], None], ended: Callable[[Following, str], None]
    ) -> None:
        self._lines, self._ended = Lines(hear), ended
        self._last = b""
        self.began = 0.0

    def say(self, line: bytes) -> None:
        """A message to it."""
        if self.transport is not None:
            self.transport.write(line)

    def kill(self) -> None:
        """End it."""
        try:
            if self.transport is not None:
                self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return

    def outReceived(self, data: bytes) -> None:
        if not self._lines.feed(data):
            self.kill()

    def errReceived(self, data: bytes) -> None:
        """Kept only to say of what kind an error was: its text may quote what was read."""
        self._last = (self._last + data)[-_LAST_WORDS:]

    def processEnded(self, reason: Failure) -> None:
        status: Any = reason.value
        why = f"signal {status.signal}" if getattr(status, "signal", None) else f"exit {status.exitCode}"
        kind = re.findall(rb"^([A-Za-z_.]+(?:Error|Exception|Exit))\b", self._last, re.MULTILINE)
        if kind:
            why += f", {kind[-1].decode()}"
        self._ended(self, why)
