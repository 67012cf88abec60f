"""A tree that grows: its right edge in memory, and the tiles that it filled. Pure.

Cost is what counts here (several leaves for each command): leaves come in batches, each hash is made once, a
full tile is cut out of lists that are there anyway, and a partial tile is rendered when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from hoopproxy.ledger.merkle import EMPTY, HASH_SIZE, fold, leaf_hash, node_hash
from hoopproxy.ledger.tiles import ENTRIES, WIDTH, BadTile, Tiles, encode_bundle, tile_path

__all__ = ["Tree"]

_LEVELS: Final = 8  # 256 ** 8 leaves, and 64 bits, are the end of it


class Tree:
    """Leaves in their order. :attr:`size` counts them."""

    def __init__(self) -> None:
        self.size = 0
        self._leaves: list[bytes] = []  # of the bundle that isn't full
        self._edge: list[list[bytes]] = [[] for _ in range(_LEVELS)]  # hashes of the tile that isn't full
        self._full: list[tuple[str, bytes]] = []

    @classmethod
    def load(cls, tiles: Tiles) -> Tree:
        """Go on with a tree that was written. :raises BadTile: its right edge can't be read."""
        self = cls()
        self.size = tiles.size
        for level in range(_LEVELS):
            number = (tiles.size >> 8 * level) // WIDTH
            if tiles.width(level, number):
                data = tiles.hashes(level, number)
                self._edge[level] = [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]
        if tiles.width(0, tiles.size // WIDTH):
            self._leaves = tiles.leaves(tiles.size // WIDTH)
            if [leaf_hash(leaf) for leaf in self._leaves] != self._edge[0]:
                path = tile_path(ENTRIES, tiles.size // WIDTH, len(self._leaves))
                raise BadTile(path, "the entries are not what the tree has there")
        return self

    def extend(self, leaves: Sequence[bytes]) -> None:
        """More leaves. What they fill waits for :meth:`files`."""
        at = 0
        while at < len(leaves):
            room = WIDTH - len(self._leaves)
            some = leaves[at : at + room]
            self._leaves += some
            self._edge[0] += [sha256(b"\x00" + leaf).digest() for leaf in some]
            at += len(some)
            self.size += len(some)
            if len(self._leaves) == WIDTH:
                self._full.append((tile_path(ENTRIES, self.size // WIDTH - 1), encode_bundle(self._leaves)))
                self._leaves = []
                self._close()

    def _close(self) -> None:
        """Put full tiles away, from the lowest level up."""
        for level, hashes in enumerate(self._edge):
            if len(hashes) < WIDTH:
                return
            number = (self.size >> 8 * (level + 1)) - 1
            self._full.append((tile_path(level, number), b"".join(hashes)))
            self._edge[level + 1].append(fold(hashes))
            self._edge[level] = []

    def root(self) -> bytes:
        """The root over all leaves."""
        root = None
        for hashes in self._edge:
            if hashes and root is None:
                root = fold(hashes)
            elif hashes:
                root = _joined(hashes, root)
        return EMPTY if root is None else root

    @property
    def waiting(self) -> int:
        """Full tiles that :meth:`files` would give."""
        return len(self._full)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Every tile that is new since the last time, by its path: full ones, then the partial ones of this
        size. Whoever takes them has written them."""
        full, self._full = self._full, []
        yield from full
        if self._leaves:
            path = tile_path(ENTRIES, self.size // WIDTH, len(self._leaves))
            yield path, encode_bundle(self._leaves)
        for level, hashes in enumerate(self._edge):
            if hashes:
                number = (self.size >> 8 * level) // WIDTH
                yield tile_path(level, number, len(hashes)), b"".join(hashes)

    def put_back(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Files could not be written: the full tiles among them will be given again."""
        full = [each for each in files if ".p/" not in each[0]]
        self._full = full + self._full


def _joined(hashes: list[bytes], right: bytes | None) -> bytes:
    """The root over perfect subtrees and, at their right, a smaller tree that isn't perfect."""
    assert right is not None
    at, sizes = len(hashes), []
    while at:
        low = at & -at
        sizes.append((at - low, at))
        at -= low
    for low, high in sizes:
        right = node_hash(fold(hashes[low:high]), right)
    return right
