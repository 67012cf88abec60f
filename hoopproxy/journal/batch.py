"""The records of one commit, by columns: what the writer does to them it does to a whole column at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Set
from itertools import accumulate, compress
from typing import Any, Final

from hoopproxy.journal.chunks import Streams
from hoopproxy.journal.turns import RECORDS, Envelope, Turn, expanded

__all__ = ["TURN", "WIDTH", "Batch", "Books", "Folded", "Run"]

#: A record is that many entries of a flat list: ``kind | flags << 8``, key id, the body's length, the id that
#: an event opens or closes (or ``None``), and the body in two pieces of which the second may be empty.
WIDTH: Final = 6

#: In place of the first of them: a turn, which is several records (:mod:`hoopproxy.journal.turns`). Then its entries
#: are: this, key id, about how many bytes, the session's envelope, the turn, the chunk's data.
TURN: Final = -1

_MANY_RECORDS: Final = 4096


class Run:
    """Records that go into one block. Sequences of the same length, and the pieces of the bodies."""

    __slots__ = ("codes", "keys", "lengths", "pieces")

    def __init__(self, codes: list[int], keys: list[int], lengths: list[int], pieces: list[bytes]) -> None:
        self.codes, self.keys, self.lengths, self.pieces = codes, keys, lengths, pieces

    def __len__(self) -> int:
        return len(self.codes)


class Folded:
    """Entries that go into one folded block, turns among them."""

    __slots__ = ("count", "entries", "envelopes", "keys")

    def __init__(self, flat: list[Any]) -> None:
        keys, notes, heads, tails = flat[1::WIDTH], flat[3::WIDTH], flat[4::WIDTH], flat[5::WIDTH]
        self.keys: set[int] = set(keys)
        self.envelopes: dict[int, Envelope] = {}
        self.entries: list[tuple[Any, ...]] = []
        self.count = 0
        every = zip(flat[0::WIDTH], keys, notes, heads, tails, strict=True)
        for code, key, note, head, tail in every:
            if code == TURN:
                self.envelopes[key] = note
                self.entries.append((key, head, tail))
                self.count += RECORDS[head[0]]
            else:
                self.entries.append((code, key, head, tail))
                self.count += 1

    @classmethod
    def of_turns(cls, flat: list[Any], heads: list[Turn]) -> Folded:
        """The same of turns alone, by whole columns. :param heads: the fifth of them."""
        made, keys = cls.__new__(cls), flat[1::WIDTH]
        made.envelopes = envelopes = dict(zip(keys, flat[3::WIDTH], strict=True))
        made.keys = set(envelopes)
        made.entries = list(zip(keys, heads, flat[5::WIDTH], strict=True))
        made.count = sum([RECORDS[turn[0]] for turn in heads])
        return made

    def __len__(self) -> int:
        return self.count


class Batch:
    """Consecutive records, some of which may still be folded into turns.

    ``size`` is about the sum of their lengths: what they were counted for while they waited. :meth:`books` has what
    nobody waits for.
    """

    __slots__ = ("_flat", "_folded", "count", "size", "talking")

    def __init__(self, flat: list[Any]) -> None:
        self._flat = flat
        codes = flat[0::WIDTH]
        self.size = sum(flat[2::WIDTH])
        self.count = len(codes)
        self._folded: Folded | None = None
        self.talking: Set[int] = frozenset()
        """The key ids of its turns."""
        turns = codes.count(TURN)
        if turns == self.count:  # by far the most, and so not one by one
            self._folded = folded = Folded.of_turns(flat, flat[4::WIDTH])
            self.count, self.talking = folded.count, folded.keys
        elif turns:
            self.talking = {key for key, code in zip(flat[1::WIDTH], codes, strict=True) if code == TURN}
            heads = compress(flat[4::WIDTH], map(TURN.__eq__, codes))
            self.count += sum([RECORDS[turn[0]] - 1 for turn in heads])

    def __len__(self) -> int:
        return self.count

    def unfolded(self) -> Batch:
        """The same with each turn as the records that it is; this very object if there is none."""
        if not self.talking:
            return self
        found: list[Any] = []
        streams = Streams()
        for at in range(0, len(self._flat), WIDTH):
            code, key, _, note, head, tail = entry = self._flat[at : at + WIDTH]
            found += expanded(key, note, head, tail, streams) if code == TURN else entry
        return Batch(found)

    def books(self) -> Books:
        """What is to be looked through once it is durable."""
        return Books(self._flat, all_turns=self._folded is not None)

    def runs(self, limit: int) -> Iterator[Run | Folded]:
        """Consecutive runs of about ``limit`` bytes, folded where there are turns; a record over that is a run of
        its own."""
        flat, lengths = self._flat, self._flat[2::WIDTH]
        if self.size <= limit and len(lengths) <= _MANY_RECORDS:
            yield self._folded or _run(flat)
            return
        for start, stop in cuts(lengths, limit, _MANY_RECORDS):
            yield _run(flat[start * WIDTH : stop * WIDTH])


class Books:
    """A batch for whoever keeps track of what is open.

    ``codes``, ``keys``, ``notes`` and ``heads`` are the columns of those that are no turns; ``turns`` is, of each key
    that has any, the last one with its envelope.
    """

    __slots__ = ("codes", "heads", "keys", "notes", "turns")

    def __init__(self, flat: list[Any], all_turns: bool) -> None:
        plain = flat
        self.turns: dict[int, tuple[Envelope, Turn]] = {}
        if all_turns:
            turns = zip(flat[3::WIDTH], flat[4::WIDTH], strict=True)
            self.turns = dict(zip(flat[1::WIDTH], turns, strict=True))
            plain = []
        elif TURN in flat[0::WIDTH]:
            plain = []
            for at in range(0, len(flat), WIDTH):
                if flat[at] == TURN:
                    self.turns[flat[at + 1]] = flat[at + 3], flat[at + 4]
                else:
                    plain += flat[at : at + WIDTH]
        self.codes: list[int] = plain[0::WIDTH]
        self.keys: list[int] = plain[1::WIDTH]
        self.notes: list[bytes | None] = plain[3::WIDTH]
        self.heads: list[bytes] = plain[4::WIDTH]


def _run(flat: list[Any]) -> Run | Folded:
    codes = flat[0::WIDTH]
    turns = codes.count(TURN)
    if turns:
        return Folded.of_turns(flat, flat[4::WIDTH]) if turns == len(codes) else Folded(flat)
    pieces: list[bytes] = [b""] * (2 * len(codes))
    pieces[0::2], pieces[1::2] = flat[4::WIDTH], flat[5::WIDTH]
    return Run(codes, flat[1::WIDTH], flat[2::WIDTH], pieces)


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
