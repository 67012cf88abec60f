"""The records of one commit, by columns: what the writer does to them it does to a whole column at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final

from hoopproxy.journal.chunks import HEADER_SIZE, TOWARDS_TARGET, Streams, place
from hoopproxy.journal.format import CLOSES, OPENS, Kind

__all__ = ["TURN", "WIDTH", "Batch", "Run", "expanded"]

#: A record is that many entries of a flat list: ``kind | flags << 8``, key id, the body's length, the id that
#: an event opens or closes (or ``None``), and the body in two pieces of which the second may be empty.
WIDTH: Final = 6

#: In place of the first of them: a turn, which is several records (see ``IJournal.append_turn``). Then its entries
#: are: this, key id, about how many bytes, the function that renders it, its arguments, the chunk's data.
TURN: Final = -1

_CHUNK: Final = int(Kind.CHUNK)
_EVENT: Final = int(Kind.EVENT)
_OPENING: Final = _EVENT | OPENS << 8
_CLOSING: Final = _EVENT | CLOSES << 8

_MANY_RECORDS: Final = 4096


class Run:
    """Records that go into one block. Sequences of the same length, and the pieces of the bodies."""

    __slots__ = ("codes", "keys", "lengths", "pieces")

    def __init__(self, codes: list[int], keys: list[int], lengths: list[int], pieces: list[bytes]) -> None:
        self.codes, self.keys, self.lengths, self.pieces = codes, keys, lengths, pieces

    def __len__(self) -> int:
        return len(self.codes)


def expanded(flat: list[Any], first: int, streams: Streams) -> list[Any]:
    """The same with each turn as the records that it is. ``first`` is the number of the first record."""
    found: list[Any] = []
    put, jseq = found.extend, first
    for code, key, size, note, head, tail in zip(*[iter(flat)] * WIDTH, strict=True):
        if code != TURN:
            put((code, key, size, note, head, tail))
            jseq += 1
            continue
        (session, direction, offset), turn = head
        if direction == TOWARDS_TARGET:
            mono, op, line = note(turn, jseq + 1)
            events = [_OPENING, key, len(line), op, line, b""]
            jseq += 2
        else:
            mono, op, line, end = note(turn, jseq + 1)
            events = [_EVENT, key, len(line), None, line, b"", _CLOSING, key, len(end), op, end, b""]
            jseq += 3
        at = place(streams[session, direction], offset, mono)
        put((_CHUNK, key, HEADER_SIZE + len(tail), None, at, tail))
        put(events)
    return found


class Batch:
    """Columns of consecutive records, the first of which has the number ``first``.

    ``size`` is the sum of their lengths, ``queued`` what they were counted for while they waited: the same, but
    for turns.
    """

    __slots__ = ("codes", "heads", "keys", "lengths", "notes", "queued", "size", "tails")

    def __init__(self, flat: list[Any], first: int = 1, streams: Streams | None = None) -> None:
        self.queued = sum(flat[2::WIDTH])
        if TURN in flat[0::WIDTH]:
            flat = expanded(flat, first, Streams() if streams is None else streams)
        self.codes: list[int] = flat[0::WIDTH]
        self.keys: list[int] = flat[1::WIDTH]
        self.lengths: list[int] = flat[2::WIDTH]
        self.notes: list[bytes | None] = flat[3::WIDTH]
        self.heads: list[bytes] = flat[4::WIDTH]
        self.tails: list[bytes] = flat[5::WIDTH]
        self.size = sum(self.lengths)

    def __len__(self) -> int:
        return len(self.codes)

    def runs(self, limit: int) -> Iterator[Run]:
        """Consecutive runs of about ``limit`` bytes; a record over that is a run of its own."""
        pieces: list[bytes] = [b""] * (2 * len(self.codes))
        pieces[0::2], pieces[1::2] = self.heads, self.tails
        if self.size <= limit and len(self.codes) <= _MANY_RECORDS:
            yield Run(self.codes, self.keys, self.lengths, pieces)
            return
        for start, stop in cuts(self.lengths, limit, _MANY_RECORDS):
            yield Run(
                self.codes[start:stop],
                self.keys[start:stop],
                self.lengths[start:stop],
                pieces[2 * start : 2 * stop],
            )


def cuts(lengths: list[int], limit: int, many: int) -> Iterator[tuple[int, int]]:
    """Start and stop of consecutive stretches, each of at most ``many`` and, unless it is of one, of at most
    ``limit`` bytes."""
    ends = list(accumulate(lengths))
    start = before = 0
    while start < len(ends):
        stop = bisect_right(ends, before + limit, start, min(start + many, len(ends)))
        stop = max(stop, start + 1)
        yield start, stop
        start, before = stop, ends[stop - 1]
