"""The gateway's own figures: plain integers that sessions add to, and that ``/metrics`` and ``status`` read.

Adding to an attribute costs the data path nothing; the exposition format is made when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left

import attrs

from hoopproxy.journal.options import CommitFacts

__all__ = ["SYNC_BUCKETS", "Figures"]

SYNC_BUCKETS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    10.0,
)
"""Upper bounds of the fdatasync histogram, seconds."""


@attrs.define
class Figures:
    """Everything that is counted since the process started."""

    accepted: dict[str, int] = attrs.field(factory=dict)
    """Connections, by listener."""
    logins: dict[tuple[str, str], int] = attrs.field(factory=dict)
    """Log-ins, by outcome (``success`` or a cause) and method."""
    refusals: dict[str, int] = attrs.field(factory=dict)
    """Sessions refused or ended by the gateway, by the refusal's code."""
    ended: dict[str, int] = attrs.field(factory=dict)
    """Admitted sessions that ended, by listener."""
    pauses: dict[str, int] = attrs.field(factory=dict)
    """Times that reading from a leg stopped, by reason."""
    failures: int = 0
    """Exceptions that nobody expected."""
    alarms: int = 0
    """Failures of the journal's disk that were survived."""
    unknown_cancels: int = 0
    """Cancel requests with a key that no session has."""
    cancels: int = 0
    """Cancel requests that were passed on."""
    commands: int = 0
    denied: int = 0
    """Of the sessions that have ended."""
    bytes_in: int = 0
    bytes_out: int = 0
    """From clients and to clients, of the sessions that have ended."""
    sync_counts: list[int] = attrs.field(factory=lambda: [0] * (len(SYNC_BUCKETS) + 1))
    sync_ns: int = 0
    records: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0

    def add(self, counts: dict[str, int], key: str, amount: int = 1) -> None:
        """Add to one of the dictionaries."""
        counts[key] = counts.get(key, 0) + amount

    def committed(self, facts: CommitFacts) -> None:
        """Take in what one commit of the journal did."""
        seconds = facts.sync_ns / 1e9
        self.sync_ns += facts.sync_ns
        self.records += facts.records
        self.raw_bytes += facts.raw_bytes
        self.stored_bytes += facts.stored_bytes
        self.sync_counts[bisect_left(SYNC_BUCKETS, seconds)] += 1
