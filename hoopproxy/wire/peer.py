"""One peer of an exchange: how far its stream was read, what its bytes were, and what waits for an answer.

Every byte received is decoded, opaque or redacted; the sums here are the exchange's own, and ``session.end``
holds them against the transport's (every byte is accounted for).
"""

from __future__ import annotations

from collections.abc import Sequence

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import StreamTotals
from hoopproxy.wire.admission import Counts
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import Command
from hoopproxy.wire.frames import Frame, Span

__all__ = ["Peer", "merged"]


class Peer:
    """A peer's stream. ``leg`` is ``"client"`` or ``"target"``."""

    __slots__ = (
        "after_end",
        "asked",
        "backlog",
        "codec",
        "decoded",
        "forwarded",
        "gone",
        "leg",
        "lost",
        "marks",
        "opaque",
        "opaque_marks",
        "originated",
        "out",
        "paused",
        "position",
        "question",
        "recorded",
        "redacted",
        "rest",
        "rest_at",
        "spans",
        "token",
        "violation",
    )

    def __init__(self, leg: str, codec: Codec) -> None:
        self.leg, self.codec = leg, codec
        self.position = 0  # end of the last frame that the conversation met
        self.recorded = 0  # up to where this peer's stream is in the journal
        self.decoded = self.opaque = self.redacted = self.after_end = 0
        self.out = self.forwarded = self.originated = 0  # bytes sent *to* this peer
        # Most sessions have none of these most of the time: lists are made when there is something to list.
        self.marks: list[Span] | tuple[()] = ()  # credentials, as the conversation named them; may overlap
        self.opaque_marks: list[tuple[int, int]] | tuple[()] = ()
        self.spans: Sequence[Span] = ()  # the same in order and counted, until they are in the journal
        self.rest: Sequence[Frame] = ()  # frames that were not met: from rest_at on
        self.rest_at = 0
        self.backlog: tuple[bytes, ...] = ()
        self.violation: ProtocolViolation | None = None  # of the codec, once the rest is met
        self.question: Command | None = None
        self.asked: Frame | None = None
        self.token = 0
        self.lost = self.paused = False
        self.gone = False  # it sent its last byte

    @property
    def unmet(self) -> bool:
        """Whether something was received that the conversation has not seen."""
        return bool(self.backlog) or self.rest_at < len(self.rest) or self.codec.waiting > 0

    def mark(self, span: Span) -> None:
        """A credential in the frame that is met."""
        if self.marks:
            self.marks.append(span)
        else:
            self.marks = [span]

    def mark_opaque(self, start: int, end: int) -> None:
        """Nobody can read this frame that is met."""
        if self.opaque_marks:
            self.opaque_marks.append((start, end))
        else:
            self.opaque_marks = [(start, end)]

    @property
    def is_plain(self) -> bool:
        """Whether everything received was met, recorded and settled, and the stream is between two messages."""
        return (
            self.position == self.recorded
            and not (self.marks or self.opaque_marks or self.spans or self.unmet)
            and self.violation is None
            and not self.codec.inside(self.position)
        )

    def skip(self, size: int) -> None:
        """So many bytes were decoded, recorded and dealt with without the codec: whole messages."""
        if size:
            self.codec.skip(size)
            self.position += size
            self.recorded += size
            self.decoded += size

    def settle(self) -> None:
        """Count what the conversation marked as secret or opaque in the frames that it met."""
        met = self.position
        spans = merged([span for span in self.marks if span.start < met])
        secret = sum(span.end - span.start for span in spans)
        for start, end in self.opaque_marks:
            if start < met:
                inside = sum(max(0, min(span.end, end) - max(span.start, start)) for span in spans)
                self.opaque += end - start - inside
                self.decoded -= end - start - inside
        self.redacted += secret
        self.decoded -= secret
        self.spans = [*self.spans, *spans]
        self.marks = self.opaque_marks = ()

    def give_up_unrecorded(self) -> int:
        """What was met but is not in the recording, because the journal refused: opaque. Returns its size."""
        secret = sum(span.end - span.start for span in self.spans)
        lost = self.position - self.recorded - secret
        self.decoded -= lost
        self.opaque += lost
        return lost

    def unread(self) -> int:
        """Bytes of frames that were never met, without the codec's tail."""
        return sum(frame.end - frame.start for frame in self.rest[self.rest_at :])

    def totals(self, counts: Counts) -> StreamTotals:
        """Both sides of the account."""
        return StreamTotals(
            received=counts.received,
            decoded=self.decoded,
            opaque=self.opaque,
            redacted=self.redacted,
            sent=counts.sent,
            unsent=counts.unsent,
            forwarded=self.forwarded,
            originated=self.originated,
        )


def merged(spans: Sequence[Span]) -> list[Span]:
    """Spans in order, overlapping ones joined, empty ones left out."""
    found: list[Span] = []
    for span in sorted(spans):
        if span.end <= span.start:
            continue
        if found and span.start < found[-1].end:
            last = found.pop()
            span = Span(last.start, max(last.end, span.end), last.reason)
        found.append(span)
    return found
