"""A frame: what a codec makes of a stretch of one peer's bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Frame", "Span", "within"]


class Frame(NamedTuple):
    """One message, or one stretch of a long or repetitive one.

    A named tuple and not an attrs class: one is made for each message of the hot path, at a third of
    the cost.

    :ivar kind: the message's type, in the protocol's own numbering (a byte for most).
    :ivar start: stream offset of the first byte.
    :ivar end: stream offset after the last byte of *this stretch*.
    :ivar body: the payload, when the codec delivers this kind whole; ``None`` for a counted stretch. A codec may say
        that it gives a memoryview where it is long.
    :ivar count: how many messages of this kind end in this stretch.
    :ivar more: the last message goes on in the next frame of the same kind. Its first stretch is given as
        soon as its header is known, so that legality is judged before any of it goes on.
    """

    kind: int
    start: int
    end: int
    body: bytes | None = None
    count: int = 1  # type: ignore[assignment]  # hides tuple.count, which nobody asks of a frame
    more: bool = False


class Span(NamedTuple):
    """A stretch that must not enter the trail, in stream offsets. ``reason`` indexes ``events.REDACTIONS``."""

    start: int
    end: int
    reason: int


def within(spans: Iterable[Span], start: int, end: int, to: int = 0) -> tuple[Span, ...]:
    """What of the spans lies between ``start`` and ``end``, as it stands where that stretch begins at ``to``."""
    if not spans:
        return ()
    by = to - start
    return tuple(
        Span(max(span.start, start) + by, min(span.end, end) + by, span.reason)
        for span in spans
        if span.start < end and span.end > start
    )
