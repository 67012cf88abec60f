"""What a sink did not get, and how it is told: before anything else that it gets."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

import attrs

from hoopproxy.events import AuditGap

__all__ = ["Gap"]


@attrs.frozen(kw_only=True)
class Gap:
    """Records of one journal that a sink was moved past. ``since``: Unix seconds of when that was."""

    journal: str
    first: int
    last: int
    why: str
    since: int

    @property
    def records(self) -> int:
        """How many."""
        return self.last - self.first + 1

    def event(self, consumer: str) -> AuditGap:
        """For the trail."""
        return AuditGap(
            why=self.why,
            records=self.records,
            bytes=0,
            consumer=consumer,
            journal=self.journal,
            first=self.first,
            last=self.last,
        )

    def told(self, consumer: str, node: str) -> dict[str, Any]:
        """For the sink, before that event is in the journal: an envelope without an id, as every gap has
        that is made on reading."""
        when = dt.datetime.fromtimestamp(self.since, dt.UTC)
        said = {
            "consumer": consumer,
            "first": self.first,
            "journal": self.journal,
            "last": self.last,
            "records": self.records,
            "bytes": 0,
            "why": self.why,
        }
        return {
            "event": said,
            "journal": self.journal,
            "jseq": self.last,
            "kind": AuditGap.kind,
            "node": node,
            "outcome": "failure",
            "time": when.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
            "v": 1,
        }

    def as_json(self) -> dict[str, Any]:
        """For the cursor."""
        return attrs.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Gap:
        """As :meth:`as_json` gave it. Raises ``ValueError``, ``KeyError`` or ``TypeError`` for all else."""
        uuid.UUID(values["journal"])
        return cls(
            journal=values["journal"],
            first=int(values["first"]),
            last=int(values["last"]),
            why=str(values["why"]),
            since=int(values["since"]),
        )
