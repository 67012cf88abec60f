"""Where ids and times come from."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import attrs

__all__ = ["Clock", "IdSource", "Stamp"]

_SECOND = 1_000_000_000
_MILLISECOND = 1_000_000


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
        self._millisecond, self._prefix = -1, b""
        self._stamp: Stamp | None = None

    def prefix(self, now_ns: int) -> bytes:
        """All but the counter of an id made at ``now_ns``, wall nanoseconds since 1970."""
        millisecond = now_ns // _MILLISECOND
        if millisecond != self._millisecond:
            text = b"%012x" % (millisecond & 0xFFFFFFFFFFFF)
            self._millisecond, self._prefix = millisecond, text[:8] + b"-" + text[8:] + self._middle
        return self._prefix

    def stamp(self, clock: Clock) -> Stamp:
        """The time stamp that everybody shares who takes ids here and tells the time by this clock."""
        found = self._stamp
        if found is None or found.clock is not clock:
            found = self._stamp = Stamp(self, clock)
        return found

    def next(self) -> str:
        """A new id."""
        self.counter = counter = self.counter + 1
        return (b"%b%012x" % (self.prefix(self._wall_ns()), counter)).decode()


@attrs.define
class Clock:
    """Where times come from: wall and monotonic nanoseconds."""

    wall_ns: Callable[[], int] = time.time_ns
    mono_ns: Callable[[], int] = time.monotonic_ns

    def text(self) -> str:
        """The wall time now, in RFC 3339 (UTC, microseconds)."""
        second, rest = divmod(self.wall_ns(), _SECOND)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest // 1000:06d}Z"


class Stamp:
    """What of a time stamp changes once a millisecond or more seldom, for whoever ids and clock are shared by.

    Wall time is the monotonic clock's plus their difference, looked at again once a second.

    :ivar until: monotonic ns up to which the rest holds; from then on call :meth:`look`. :ivar prefix: of ids.
    :ivar second: the present second as text, up to its point. :ivar second_at: monotonic ns of its beginning.
    """

    __slots__ = (
        "_difference",
        "_ids",
        "_look_again",
        "_second",
        "clock",
        "prefix",
        "second",
        "second_at",
        "until",
    )

    def __init__(self, ids: IdSource, clock: Clock) -> None:
        self._ids, self.clock = ids, clock
        self.until = self.second_at = self._look_again = self._difference = 0
        self._second, self.second, self.prefix = -1, b"", b""

    def look(self, now: int) -> None:
        """It is ``now``, monotonic ns."""
        if now >= self._look_again:
            self._difference = self.clock.wall_ns() - now
            self._look_again = now + _SECOND
        wall = now + self._difference
        self.prefix = self._ids.prefix(wall)
        second, rest = divmod(wall, _SECOND)
        if second != self._second:
            self._second = second
            self.second = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
        self.second_at = now - rest
        self.until = now + _MILLISECOND - rest % _MILLISECOND
