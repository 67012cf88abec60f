"""Records that a ``best-effort`` target had to lose: counted, and said in one record in their place."""

from __future__ import annotations

import orjson

__all__ = ["Gap"]


class Gap:
    """Lost records, one after the other. ``jseq`` is that of the gap record; times are Unix ns."""

    __slots__ = ("bytes", "count", "first", "jseq", "last")

    def __init__(self, jseq: int, now: int) -> None:
        self.jseq, self.first, self.last = jseq, now, now
        self.count = self.bytes = 0

    def add(self, size: int, now: int) -> None:
        """One more record of ``size`` bytes is lost."""
        self.count += 1
        self.bytes += size
        self.last = now

    def encode(self) -> bytes:
        """The gap record's body."""
        return orjson.dumps(
            {"bytes": self.bytes, "count": self.count, "first": self.first, "last": self.last},
            option=orjson.OPT_SORT_KEYS,
        )
