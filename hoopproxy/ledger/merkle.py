"""The Merkle tree of RFC 6962, section 2.1, over SHA-256: hashes, proofs, and how to check them. Pure.

Proofs are made of *perfect subtrees*, which a function hands out: ``hash_of(level, index)`` is the hash over the
``2**level`` leaves from ``index * 2**level`` on. Who keeps them, and where, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final

from hoopproxy.errors import HoopproxyError

__all__ = [
    "EMPTY",
    "HASH_SIZE",
    "BadProof",
    "Frontier",
    "HashOf",
    "check_consistency",
    "check_inclusion",
    "consistency",
    "fold",
    "inclusion",
    "leaf_hash",
    "node_hash",
    "parents",
    "root_from_inclusion",
    "tree_hash",
]

HASH_SIZE: Final = 32
EMPTY: Final = sha256(b"").digest()
"""The root of a tree without leaves."""

HashOf = Callable[[int, int], bytes]


class BadProof(HoopproxyError):
    """A proof doesn't prove what it should. The text says in which way."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node over these two."""
    return sha256(b"\x01" + left + right).digest()


def parents(hashes: Sequence[bytes]) -> list[bytes]:
    """The level above an even number of hashes."""
    data = b"".join(hashes)
    return [sha256(b"\x01" + data[at : at + 64]).digest() for at in range(0, len(data), 64)]


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over one or more subtrees of one height, perfect but for what is missing at the right."""
    level = list(hashes)
    while len(level) > 1:
        odd = level[-1:] if len(level) & 1 else []
        level = parents(level[: len(level) - len(odd)]) + odd
    return level[0]


class Frontier:
    """The right edge of a tree that grows: its root at any moment, in memory of its height."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []  # hashes of perfect subtrees, the largest first

    def append(self, hash_of_leaf: bytes) -> None:
        """One more leaf."""
        edge, size = self._edge, self.size
        while size & 1:
            hash_of_leaf = node_hash(edge.pop(), hash_of_leaf)
            size >>= 1
        edge.append(hash_of_leaf)
        self.size += 1

    def extend(self, hashes: Iterable[bytes]) -> None:
        """Leaves in their order."""
        for each in hashes:
            self.append(each)

    def root(self) -> bytes:
        """The tree's root now."""
        if not self._edge:
            return EMPTY
        root = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            root = node_hash(left, root)
        return root


def _split(count: int) -> int:
    """The largest power of two that is less than ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _range(low: int, high: int, hash_of: HashOf) -> bytes:
    count = high - low
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return hash_of(level, low >> level)
    middle = low + _split(count)
    return node_hash(_range(low, middle, hash_of), _range(middle, high, hash_of))


def tree_hash(size: int, hash_of: HashOf) -> bytes:
    """The root of the tree of the first ``size`` leaves."""
    return _range(0, size, hash_of) if size else EMPTY


def inclusion(index: int, size: int, hash_of: HashOf) -> list[bytes]:
    """The proof that leaf ``index`` is in the tree of ``size`` leaves (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    low, high, path = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range(middle, high, hash_of))
            high = middle
        else:
            path.append(_range(low, middle, hash_of))
            low = middle
    return path[::-1]


def consistency(old: int, new: int, hash_of: HashOf) -> list[bytes]:
    """The proof that the tree of ``new`` leaves begins with that of ``old`` (RFC 6962, 2.1.2)."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} can't be the beginning of one of {new}")
    if old in (0, new):
        return []
    low, high, whole, path = 0, new, True, []
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range(middle, high, hash_of))
            high = middle
        else:
            path.append(_range(low, middle, hash_of))
            low, whole = middle, False
    if not whole:
        path.append(_range(low, high, hash_of))
    return path[::-1]


def root_from_inclusion(index: int, size: int, hash_of_leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root that the proof leads to (RFC 9162, 2.1.3.2). :raises BadProof: its length is wrong."""
    if not 0 <= index < size:
        raise BadProof(f"leaf {index} is not in a tree of {size}")
    node, last, found = index, size - 1, hash_of_leaf
    for each in path:
        if last == 0:
            raise BadProof("the proof is too long")
        if node & 1 or node == last:
            found = node_hash(each, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, each)
        node, last = node >> 1, last >> 1
    if last:
        raise BadProof("the proof is too short")
    return found


def check_inclusion(index: int, size: int, hash_of_leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """:raises BadProof: the leaf is not proven to be there."""
    if root_from_inclusion(index, size, hash_of_leaf, path) != root:
        raise BadProof(f"leaf {index} is not what the tree of {size} has there")


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """(RFC 9162, 2.1.4.2.) :raises BadProof: the new tree is not proven to begin with the old one."""
    if not 0 <= old <= new:
        raise BadProof(f"a tree of {old} can't be the beginning of one of {new}")
    if old in (0, new):
        if path:
            raise BadProof("the proof should be empty")
        if old == new and old_root != new_root:
            raise BadProof(f"there are two trees of size {old}")
        return
    if not path:
        raise BadProof("the proof is empty")
    steps = [old_root, *path] if old & (old - 1) == 0 else list(path)
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = steps[0]
    for each in steps[1:]:
        if last == 0:
            raise BadProof("the proof is too long")
        if node & 1 or node == last:
            first, second = node_hash(each, first), node_hash(each, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, each)
        node, last = node >> 1, last >> 1
    if last:
        raise BadProof("the proof is too short")
    if first != old_root or second != new_root:
        raise BadProof(f"the tree of {new} does not begin with that of {old}")
