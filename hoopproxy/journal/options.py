"""What an operator can set of the journal; see ``[journal]`` in the configuration."""

from __future__ import annotations

from typing import NamedTuple

import attrs

__all__ = ["CommitFacts", "JournalOptions"]

_MIB = 1 << 20


@attrs.frozen(kw_only=True)
class JournalOptions:
    """Limits of one journal.

    ``sync_ms``: how long ``commit_soon`` may wait. ``max_lag_bytes``: un-synced bytes over which readings
    are to pause and droppable records give way to a gap. ``max_queue_bytes``: un-synced bytes over which
    records are refused (0: four times ``max_lag_bytes``; the room between is for what was on its way when
    readings paused). ``batch_bytes``: a commit covers about so much at most. ``block_bytes``: raw bytes of
    one block, unless a single record is larger. ``retry_seconds``: first and longest pause between attempts
    on a disk that fails.
    """

    sync_ms: float = 20.0
    max_lag_bytes: int = 16 * _MIB
    max_queue_bytes: int = 0
    segment_bytes: int = 64 * _MIB
    reserve_bytes: int = 16 * _MIB
    batch_bytes: int = 8 * _MIB
    block_bytes: int = _MIB
    compress: bool = True
    retry_seconds: tuple[float, float] = (0.1, 5.0)

    @property
    def queue_limit(self) -> int:
        """Un-synced bytes over which records are refused."""
        return self.max_queue_bytes or 4 * self.max_lag_bytes


class CommitFacts(NamedTuple):
    """What one commit did, for the metrics. ``raw_bytes`` of bodies became ``stored_bytes`` on disk."""

    records: int
    blocks: int
    raw_bytes: int
    stored_bytes: int
    sync_ns: int
