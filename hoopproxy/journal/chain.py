"""Whether each segment continues the one before as it was written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import pairwise

from hoopproxy.errors import Damaged
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import (
    BLOCK_HEADER_SIZE,
    DIGEST_SIZE,
    HEADER_SIZE,
    REWRITTEN,
    BlockType,
    SegmentHeader,
)
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.journal.segment import SegmentReader

__all__ = ["recordless", "rewritten", "shortened"]


def rewritten(folder: Folder) -> Iterator[tuple[int, int]]:
    """Check the chain from the oldest segment to the newest, reading all of the bytes.

    Gives, on its way, the number of each segment that was rewritten since and the ``jseq`` of the event that
    ordered it: what such a segment holds is for the ledger to prove. The newest segment has no link yet.
    Raises ``Damaged`` at the first link that doesn't hold, ``UnsupportedFormat``, ``OSError``.
    """
    headers = sound_segments(folder)
    for header, following in pairwise(headers):
        if _digest(folder, header, following) != following.digest:
            path = str(folder.segment(header.number))
            raise Damaged(path, 0, f"segment {following.number} continues other bytes than are in it")
        if header.flags & REWRITTEN:
            yield header.number, header.rewritten_by


def shortened(folder: Folder) -> Iterator[Damaged]:
    """Segments that have lost what was at their end, by their sizes alone: one look at each, however long they are.

    Of one that was rewritten, and of the newest, nobody says how long it was. Raises as :func:`rewritten`.
    """
    for header, following in pairwise(sound_segments(folder)):
        if header.flags & REWRITTEN:
            continue
        segment = SegmentReader(folder.files, folder.segment(header.number))
        size = segment.size
        segment.close()
        if size < following.previous_size:
            what = f"it ends here, and had {following.previous_size} bytes when segment {following.number} was begun"
            yield Damaged(str(folder.segment(header.number)), size, what)


def recordless(folder: Folder) -> Iterator[Damaged]:
    """Blocks that hold no record and are not what was written: what was open at a segment's start, and the journal's
    end. Who reads records passes over these. Raises as :func:`rewritten`.
    """
    headers = sound_segments(folder)
    for header in headers:
        with contextlib.closing(SegmentReader(folder.files, folder.segment(header.number))) as segment:
            block = segment.block_at(HEADER_SIZE)
            if (
                block is not None
                and block.type is BlockType.STATE
                and not segment.is_sound(HEADER_SIZE, block)
            ):
                what = "the state at the segment's start, which holds no record, was expected"
                yield segment.damaged(HEADER_SIZE, what)
            if header is headers[-1] and not folder.is_live:
                yield from _end(segment)


def _end(segment: SegmentReader) -> Iterator[Damaged]:
    """The END block, if there is one, repeats the digest of what is before it."""
    size = segment.size - BLOCK_HEADER_SIZE - DIGEST_SIZE
    block = segment.block_at(size) if size >= HEADER_SIZE else None
    if block is None or block.type is not BlockType.END:
        return
    is_rewritten = bool(segment.header.flags & REWRITTEN)
    if not segment.is_sound(size, block) or not (
        is_rewritten or segment.payload(size, block) == segment.digest(size)
    ):
        yield segment.damaged(size, "the journal's end is not of these bytes")


def _digest(folder: Folder, header: SegmentHeader, following: SegmentHeader) -> bytes:
    if header.flags & REWRITTEN:
        return header.original
    segment = SegmentReader(folder.files, folder.segment(header.number))
    try:
        return segment.digest(following.previous_size)
    finally:
        segment.close()
