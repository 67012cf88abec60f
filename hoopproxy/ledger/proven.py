"""What of a damaged tree is still proven by a signed root. Pure.

Nothing that is stored is believed by itself. From the root down, each tile counts if it hashes to what the tile above
has for it; where the stored one doesn't, what the tiles (or the entries) below it hash to may. So one bad tile costs
nothing, and one bad entry costs itself.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from hoopproxy.journal.damage import Place
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.merkle import HASH_SIZE, fold, leaf_hash, tree_hash
from hoopproxy.ledger.tiles import ENTRIES, WIDTH, BadTile, Read, Tiles, tile_path

__all__ = ["ProvenTree", "Unproven"]

_CACHED: Final = 64
_HEIGHT: Final = 8
_COMBINED: Final = 1024  # ways to put the right edge together; a tree of 2**64 leaves has 256

Hashes = list[bytes]


class Unproven(Exception):
    """What was asked for is not proven by what is here."""


class ProvenTree:
    """A tree by its head, of which ``size`` and root are believed.

    :ivar is_whole: whether all that was looked at was as it must be.
    """

    def __init__(
        self, read: Read, head: Checkpoint, add: Callable[[Place], None] = lambda place: None
    ) -> None:
        self.head, self._tiles, self._add = head, Tiles(read, head.size), add
        self._edges: dict[int, Hashes] = {}
        self._cache: OrderedDict[tuple[int, int], Hashes | None] = OrderedDict()
        self._told: set[str] = set()
        self.is_whole = True

    def begin(self) -> bool:
        """Look for the root: from the tiles at the right edge, or what is below them. ``False``: it isn't there."""
        levels = [level for level in range(_HEIGHT) if self._tiles.width(level, self._number(level))]
        for made in self._edges_of(levels):
            self._edges = dict(zip(levels, made, strict=True))
            if tree_hash(self.head.size, self._edge_hash) == self.head.root:
                for level, hashes in self._edges.items():
                    self._compare(level, self._number(level), hashes)
                return True
        self._edges = {}
        return False

    def _edges_of(self, levels: Sequence[int]) -> Iterator[Sequence[Hashes]]:
        """The right edge as it is stored, and then every other way to put it together."""
        stored = [self._stored(level, self._number(level)) for level in levels]
        whole = [hashes for hashes in stored if hashes is not None]
        if len(whole) == len(levels):
            yield whole
        choices = [list(self._candidates(level, self._number(level))) for level in levels]
        yield from itertools.islice(itertools.product(*choices), _COMBINED)

    def hash_of(self, level: int, index: int) -> bytes:
        """A subtree's hash, proven. :raises Unproven: it isn't."""
        tile_level, height = divmod(level, _HEIGHT)
        number, place = divmod(index << height, WIDTH)
        hashes = self._hashes(tile_level, number)
        part = [] if hashes is None else hashes[place : place + (1 << height)]
        if len(part) != 1 << height:
            raise Unproven
        return fold(part)

    def leaves(self) -> Iterator[list[bytes | None]]:
        """The entries, a bundle at a time; ``None`` where one is not proven."""
        for number in range(-(-self.head.size // WIDTH)):
            yield self._leaves(number)

    # -- entries

    def _leaves(self, number: int) -> list[bytes | None]:
        width = self._tiles.width(0, number)
        path, hashes = tile_path(ENTRIES, number, width), self._hashes(0, number)
        stored = self._entries(number, width)
        if hashes is None:
            self._tell(path, f"{width} entries are not proven: no tile above them leads to the root", None)
            return [None] * width
        found: list[bytes | None] = []
        for index, (wanted, (offset, leaf)) in enumerate(
            itertools.zip_longest(hashes, stored[:width], fillvalue=(0, None))
        ):
            is_good = leaf is not None and leaf_hash(leaf) == wanted
            found.append(leaf if is_good else None)
            if not is_good:
                self._entry(path, number * WIDTH + index, offset if leaf is not None else None, leaf)
        return found

    def _entry(self, path: str, index: int, offset: int | None, leaf: bytes | None) -> None:
        self.is_whole = False
        if leaf is None and path in self._told:
            return
        self._told.add(path)
        what = (
            f"entry {index} is not what the tree has there"
            if leaf is not None
            else f"entry {index} is missing"
        )
        end = None if offset is None or leaf is None else offset + 2 + len(leaf)
        self._add(Place(kind="leaf", file=path, what=what, offset=offset, end=end))

    def _entries(self, number: int, width: int) -> list[tuple[int, bytes]]:
        """The entries of a bundle, as far as they can be told apart, and where each begins."""
        try:
            data = self._tiles.bundle(number)
        except (BadTile, OSError):
            return []
        found: list[tuple[int, bytes]] = []
        at = 0
        while at + 2 <= len(data) and len(found) < width:
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            found.append((at, data[at + 2 : end]))
            at = end
        return found

    # -- tiles

    def _number(self, level: int) -> int:
        """The tile at the right edge."""
        return (self.head.size >> _HEIGHT * level) // WIDTH

    def _edge_hash(self, level: int, index: int) -> bytes:
        tile_level, height = divmod(level, _HEIGHT)
        place = (index << height) % WIDTH
        return fold(self._edges[tile_level][place : place + (1 << height)])

    def _hashes(self, level: int, number: int) -> Hashes | None:
        """The hashes of a tile, proven."""
        if level >= _HEIGHT or number == self._number(level):
            return self._edges.get(level)
        key = level, number
        if key not in self._cache:
            self._cache[key] = self._proven(level, number)
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def _proven(self, level: int, number: int) -> Hashes | None:
        above = self._hashes(level + 1, number // WIDTH)
        if above is None:
            return None
        wanted = above[number % WIDTH]
        good = (
            made for made in self._candidates(level, number) if len(made) == WIDTH and fold(made) == wanted
        )
        found = next(good, None)
        self._compare(level, number, found)
        return found

    def _candidates(self, level: int, number: int) -> Iterator[Hashes]:
        """The tile as it is stored, and then what is below it."""
        width = self._tiles.width(level, number)
        stored = self._stored(level, number)
        if stored is not None:
            yield stored
        if level == 0:
            below = [leaf_hash(leaf) for _, leaf in self._entries(number, width)]
        else:
            tiles = (self._stored(level - 1, number * WIDTH + index) for index in range(width))
            below = [fold(tile) for tile in tiles if tile is not None and len(tile) == WIDTH]
        if len(below) == width and below != stored:
            yield below

    def _stored(self, level: int, number: int) -> Hashes | None:
        try:
            data = self._tiles.hashes(level, number)
        except (BadTile, OSError):
            return None
        return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]

    def _compare(self, level: int, number: int, proven: Hashes | None) -> None:
        stored = self._stored(level, number)
        if stored == proven and proven is not None:
            return
        path = tile_path(level, number, self._tiles.width(level, number))
        if stored is None:
            self._tell(path, "the tile is missing, or has not the length that it must have", None)
            return
        pairs = enumerate(zip(stored, proven or (), strict=False))
        at = next((index * HASH_SIZE for index, (one, other) in pairs if one != other), None)
        what = (
            "the tile is not what the tree has there"
            if proven is None
            else "a hash is not what the tree has there"
        )
        self._tell(path, what, at)

    def _tell(self, path: str, what: str, offset: int | None) -> None:
        self.is_whole = False
        if path not in self._told:
            self._told.add(path)
            self._add(Place(kind="tile", file=path, what=what, offset=offset))
