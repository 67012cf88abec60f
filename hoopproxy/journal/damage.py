"""Where a journal, or what seals it, is not what was written: places, in their order and in bounded number. Pure."""

from __future__ import annotations

from typing import Final, Literal

import attrs

__all__ = ["LISTED", "NAMED", "Kind", "Place", "Places", "Stretch", "Stretches"]

LISTED: Final = 1000
"""Places, stretches, sessions that are listed of a journal; the others are counted. A failing disk has thousands."""

NAMED: Final = 100
"""Sessions that are named at one place; that they are touched is said of all of them."""

Kind = Literal["checksum", "chain", "missing", "keys", "leaf", "tile", "checkpoint", "epoch"]


@attrs.frozen(kw_only=True)
class Place:
    """One damaged place.

    ``kind``: ``checksum`` (bytes are not what was written), ``chain`` (a segment is not what the next one continues,
    is another one's, or its records don't follow one another), ``missing`` (a file, its end, or records), ``keys`` (an
    entry of the key file), ``leaf`` (a record is not what its leaf says, or an entry of the tree is not what its tile
    says), ``tile``, ``checkpoint`` (not signed, or of another tree), ``epoch`` (a note about the ledger's keys).

    :ivar file: path, from the journal's or the ledger's folder on. :ivar offset: the first byte, and ``end``: the one
        behind the last, where that is known. Of a record that was changed it is that of its block.
    :ivar segment: its number, of a place in a journal. :ivar first: the first record that can't be read here, or isn't
        what it was, and ``last``; ``None`` where none is, or nobody knows.
    :ivar sessions: those that the place itself names as its records' owners; there may be others.
    """

    kind: Kind
    file: str
    what: str
    offset: int | None = None
    end: int | None = None
    segment: int | None = None
    first: int | None = None
    last: int | None = None
    sessions: tuple[str, ...] = ()

    def joined(self, following: Place) -> Place | None:
        """This one and the next as one, if that goes on where this one ends."""
        if (self.kind, self.file) != (following.kind, following.file) or self.end != following.offset:
            return None
        if self.end is None and (self.last is None or following.first != self.last + 1):
            return None
        firsts = [each for each in (self.first, following.first) if each is not None]
        lasts = [each for each in (self.last, following.last) if each is not None]
        return attrs.evolve(
            self,
            end=following.end,
            first=min(firsts, default=None),
            last=max(lasts, default=None),
            sessions=tuple(dict.fromkeys((*self.sessions, *following.sessions)))[:NAMED],
        )


class Places:
    """Places as they are found; those that touch are one. ``more`` are those beyond :data:`LISTED`."""

    def __init__(self) -> None:
        self.all: list[Place] = []
        self.more = 0

    def __bool__(self) -> bool:
        return bool(self.all)

    def add(self, place: Place) -> None:
        """One more."""
        joined = self.all[-1].joined(place) if self.all and not self.more else None
        if joined is not None:
            self.all[-1] = joined
        elif len(self.all) < LISTED:
            self.all.append(place)
        else:
            self.more += 1


@attrs.frozen
class Stretch:
    """Records ``first`` to ``last``, all of them sound."""

    first: int
    last: int


class Stretches:
    """What is sound between damage: numbers that follow one another are one stretch."""

    def __init__(self) -> None:
        self.all: list[Stretch] = []
        self.more = self.records = 0
        self._last = 0

    def add(self, first: int, last: int) -> None:
        """These as well; numbers rise."""
        self.records += last - first + 1
        if self._last + 1 == first and self._last and not self.more:
            self.all[-1] = Stretch(self.all[-1].first, last)
        elif self._last + 1 != first or not self._last:
            if len(self.all) < LISTED:
                self.all.append(Stretch(first, last))
            else:
                self.more += 1
        self._last = last
