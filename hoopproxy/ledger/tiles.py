"""The layout of c2sp.org/tlog-tiles: where a tile is, what is in it, and a tree read from tiles. Pure.

A tile at level *L* is up to 256 hashes, each over ``256**L`` leaves; an entry bundle is up to 256 leaves, each
after its length (two bytes, big-endian). Whoever wants one asks a function for the bytes at a path.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from hoopproxy.errors import HoopproxyError
from hoopproxy.ledger.merkle import HASH_SIZE, fold, leaf_hash, tree_hash

__all__ = ["ENTRIES", "WIDTH", "BadTile", "Tiles", "decode_bundle", "encode_bundle", "tile_path"]

WIDTH: Final = 256
_HEIGHT: Final = 8
ENTRIES: Final = "entries"
_CACHED: Final = 64
_LONGEST: Final = 0xFFFF

Read = Callable[[str], bytes]
"""The bytes at a path; raises ``FileNotFoundError``, ``OSError``."""


class BadTile(HoopproxyError):
    """A tile is missing or is not what it must be. ``path`` names it, relative to the tree's folder."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """Where the tile is, below the tree's folder; ``level`` may be :data:`ENTRIES`."""
    digits = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        digits = f"x{number % 1000:03d}/{digits}"
    return f"tile/{level}/{digits}" + ("" if width == WIDTH else f".p/{width}")


def encode_bundle(leaves: Sequence[bytes]) -> bytes:
    """The bytes of an entry bundle."""
    parts: list[bytes] = [b""] * (2 * len(leaves))
    parts[0::2] = [len(leaf).to_bytes(2, "big") for leaf in leaves]
    parts[1::2] = leaves
    return b"".join(parts)


def decode_bundle(data: bytes, path: str = ENTRIES) -> list[bytes]:
    """The leaves in an entry bundle. :raises BadTile: it is cut."""
    leaves, at, end = [], 0, len(data)
    while at < end:
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if at > end:
            raise BadTile(path, "the bundle is cut")
        leaves.append(data[start:at])
    return leaves


class Tiles:
    """A tree of ``size`` leaves, read from its tiles as they are needed. Nothing in them is believed but by
    the root that they lead to: :meth:`root`."""

    def __init__(self, read: Read, size: int) -> None:
        self._read, self.size = read, size
        self._cache: OrderedDict[str, bytes] = OrderedDict()

    def width(self, level: int, number: int) -> int:
        """How many hashes the tile has in a tree of this size."""
        return max(0, min(WIDTH, (self.size >> _HEIGHT * level) - number * WIDTH))

    def _bytes(self, level: int | str, number: int, width: int) -> bytes:
        path = tile_path(level, number, width)
        found = self._cache.get(path)
        if found is not None:
            self._cache.move_to_end(path)
            return found
        try:
            found = self._read(path)
        except FileNotFoundError:
            try:
                # A partial tile may be gone once it is full.
                found = self._read(tile_path(level, number))
            except FileNotFoundError:
                raise BadTile(path, "the tile is missing") from None
        self._cache[path] = found
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return found

    def hashes(self, level: int, number: int) -> bytes:
        """The hashes of a tile, one after the other. :raises BadTile:"""
        width = self.width(level, number)
        data = self._bytes(level, number, width)
        if len(data) not in (width * HASH_SIZE, WIDTH * HASH_SIZE):
            raise BadTile(tile_path(level, number, width), f"{len(data)} bytes are no tile of {width}")
        return data[: width * HASH_SIZE]

    def bundle(self, number: int) -> bytes:
        """The bytes of a bundle. :raises BadTile: it is missing."""
        return self._bytes(ENTRIES, number, self.width(0, number))

    def leaves(self, number: int) -> list[bytes]:
        """The leaves of a bundle. :raises BadTile:"""
        width = self.width(0, number)
        path = tile_path(ENTRIES, number, width)
        found = decode_bundle(self.bundle(number), path)
        if len(found) not in (width, WIDTH):
            raise BadTile(path, f"{len(found)} entries are no bundle of {width}")
        return found[:width]

    def leaf(self, index: int) -> bytes:
        """One leaf, which hashes to what its tile says. :raises BadTile:"""
        number, place = divmod(index, WIDTH)
        leaf = self.leaves(number)[place]
        if leaf_hash(leaf) != self.hash_of(0, index):
            path = tile_path(ENTRIES, number, self.width(0, number))
            raise BadTile(path, f"entry {index} is not what the tree has there")
        return leaf

    def hash_of(self, level: int, index: int) -> bytes:
        """See :mod:`.merkle`. :raises BadTile:"""
        tile_level, height = divmod(level, _HEIGHT)
        first = index << height
        number, place = divmod(first, WIDTH)
        data = self.hashes(tile_level, number)
        part = data[place * HASH_SIZE : (place + (1 << height)) * HASH_SIZE]
        if len(part) != HASH_SIZE << height:
            raise BadTile(tile_path(tile_level, number), "the tree is smaller than what is asked of it")
        return fold([part[at : at + HASH_SIZE] for at in range(0, len(part), HASH_SIZE)])

    def root(self) -> bytes:
        """The tree's root, from the fewest tiles that give it. :raises BadTile:"""
        return tree_hash(self.size, self.hash_of)
