"""How far behind somebody is."""

from __future__ import annotations

import attrs

__all__ = ["Lag"]


@attrs.frozen(kw_only=True)
class Lag:
    """How far a consumer is behind: records, bytes on disk, and since when the oldest waits (Unix ns, 0: none)."""

    records: int = 0
    bytes: int = 0
    since: int = 0

    def seconds(self, now: float) -> float:
        """The age of the oldest that waits; ``now`` in Unix seconds."""
        return max(0.0, now - self.since / 1e9) if self.since else 0.0
