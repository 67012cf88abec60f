"""Where ids and times come from."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import attrs

__all__ = ["Clock", "IdSource"]


class IdSource:
    """UUIDv7 texts: milliseconds, random bits drawn once a process, a counter. RFC 9562 section 5.7.

    A counter under a random prefix costs a tenth of a draw for each id, and two processes still differ.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        seed = int.from_bytes(entropy(9), "big")
        self._middle = f"-7{seed >> 60 & 0xFFF:03x}-{0x8000 | seed >> 46 & 0x3FFF:04x}-".encode()
        self.counter = seed & 0x3FFFFFFFFFFF
        """The last id's last 12 hexadecimal digits, as a number."""
        self._wall_ns = wall_ns
        self._stamp, self._prefix = -1, b""

    def prefix(self, now_ns: int) -> bytes:
        """All but the counter of an id made at ``now_ns``, wall nanoseconds since 1970."""
        stamp = now_ns // 1_000_000
        if stamp != self._stamp:
            text = b"%012x" % (stamp & 0xFFFFFFFFFFFF)
            self._stamp, self._prefix = stamp, text[:8] + b"-" + text[8:] + self._middle
        return self._prefix

    def next(self) -> str:
        """A new id."""
        self.counter = counter = self.counter + 1
        return (b"%b%012x" % (self.prefix(self._wall_ns()), counter)).decode()


@attrs.define
class Clock:
    """Where times come from: wall and monotonic nanoseconds."""

    wall_ns: Callable[[], int] = time.time_ns
    mono_ns: Callable[[], int] = time.monotonic_ns
