"""X11 through a channel: the cookie in what a program says first. Pure.

The rest is opaque to the gateway. What a program says first (X Window System Protocol, "Connection Setup"): byte order,
a pad, two versions, the lengths of a name and of its data, a pad; then both, each padded to four bytes. The data is the
cookie, and whoever has it draws on the client's screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from hoopproxy.events import REDACTIONS
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.wire.commands import Command, Redact
from hoopproxy.wire.frames import Span

__all__ = ["COOKIE", "COOKIE_MAX", "X11"]

COOKIE: Final = REDACTIONS.index("parameter")
"""Why it is not in the recording."""
_HEAD: Final = 12
COOKIE_MAX: Final = 256
"""Bytes of a cookie; those in use have 16 to 24. What a program calls its cookie must not hide all that it says."""


class X11(Watcher):
    """Marks the cookie, however the target cuts its data into messages."""

    __slots__ = ("_end", "_head", "_read", "_start")

    def __init__(
        self, op: str, channel: int, command: bytes | None = None, options: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(op, channel, command, options)
        self._head = b""
        self._read = 0  # bytes of the target so far
        self._start = self._end = -1  # of the cookie among them, once that is known

    def server_data(self, data: bytes, at: int, now: int, stderr: bool) -> Iterable[Command] | None:
        before, self._read = self._read, self._read + len(data)
        if self._end < 0:
            self._head += data[: _HEAD - len(self._head)]
            if len(self._head) < _HEAD:
                return None
            order: Literal["little", "big"] = "little" if self._head[:1] == b"l" else "big"
            name, size = (int.from_bytes(self._head[place : place + 2], order) for place in (6, 8))
            self._start = _HEAD + name + -name % 4
            self._end = self._start + min(size, COOKIE_MAX)
        start, end = max(self._start, before), min(self._end, self._read)
        if start >= end:
            return None
        return (Redact(Span(at + start - before, at + end - before, COOKIE)),)
