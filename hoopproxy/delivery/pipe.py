"""What the gateway and its reader process say to each other: JSON objects, one a line, over two pipes.

The gateway says ``start`` (once), ``reload``, ``mark`` (something is durable), ``stop``. The process says
``event``, ``status``, ``acked``, ``told`` (a line for the log), ``stuck``, ``stopped``. Each has its name in ``do``.
A side that hears a name it doesn't know lets it pass: the other may be newer by one restart.
"""

# Twisted's protocols are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from twisted.internet.protocol import Protocol

__all__ = ["MAX_LINE", "Lines", "encoded"]

MAX_LINE: Final = 64 << 20
"""Bytes of a message: a configuration of a thousand files would fit."""


def encoded(do: str, **said: Any) -> bytes:
    """A message's line."""
    return orjson.dumps({"do": do, **said}) + b"\n"


class Lines:
    """Cuts what comes into messages. :param hear: called with each; what is no message is left out."""

    def __init__(self, hear: Callable[[Mapping[str, Any]], None]) -> None:
        self._hear = hear
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bool:
        """Take bytes; ``False`` if a line is longer than any message."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            if self._held:
                line, self._held, self._size = b"".join([*self._held, line]), [], 0
            self._message(line)
        if rest:
            self._held.append(rest)
            self._size += len(rest)
        return self._size <= MAX_LINE

    def _message(self, line: bytes) -> None:
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError:
            return
        if isinstance(said, dict) and isinstance(said.get("do"), str):
            self._hear(said)


class Pipe(Protocol):
    """The reader process's end."""

    def __init__(self, hear: Callable[[Mapping[str, Any]], None], lost: Callable[[], None]) -> None:
        self._lines, self._lost = Lines(hear), lost

    def dataReceived(self, data: bytes) -> None:
        if not self._lines.feed(data):
            self._lost()

    def connectionLost(self, reason: Any = None) -> None:
        """The gateway is gone."""
        self._lost()

    def send(self, line: bytes) -> None:
        """Say something; nothing happens when nobody listens any more."""
        if self.transport is not None:
            self.transport.write(line)
