"""Records that an operator gave up as lost (``hoopproxy journal accept-loss``), as the journal itself tells it.

The damaged segment stays, and the next one, whose header says so, begins with a gap record in the lost ones' place.
"""

from __future__ import annotations

import attrs
import orjson

from hoopproxy.journal.format import ACCEPTED_LOSS, Kind, SegmentHeader
from hoopproxy.journal.record import Record

__all__ = ["Loss", "is_gap", "loss_of"]


@attrs.define
class Loss:
    """Records ``first`` to ``last`` are lost, and the record ``gap`` says so. ``first`` is ``None`` where that can't
    be read; ``sealed``: how many of them are in the tree.
    """

    first: int | None
    last: int
    gap: int
    sealed: int = 0

    def covers(self, jseq: int) -> bool:
        """Whether the record may be one of the lost."""
        return (self.first is None or self.first <= jseq) and jseq <= self.last


def is_gap(record: Record, header: SegmentHeader) -> bool:
    """Whether the record stands in the place of lost ones."""
    is_first = record.jseq == header.first_jseq
    return record.kind == Kind.GAP and is_first and bool(header.flags & ACCEPTED_LOSS)


def loss_of(gap: Record) -> Loss:
    """What such a record says. :raises ValueError: it says nothing of the kind."""
    last = gap.jseq - 1
    if gap.is_closed:
        return Loss(None, last, gap.jseq)
    said = orjson.loads(gap.body)
    first = said.get("first") if isinstance(said, dict) else None
    if not isinstance(first, int) or said.get("last") != last:
        raise ValueError(f"record {gap.jseq} stands where records are lost, and does not say which")
    return Loss(first, last, gap.jseq)
