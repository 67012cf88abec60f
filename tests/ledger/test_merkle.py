"""Trees, proofs and tiles: the vectors of others, and every size that fits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.ledger.merkle import (
    EMPTY,
    BadProof,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency,
    fold,
    inclusion,
    leaf_hash,
    node_hash,
    tree_hash,
)
from hoopproxy.ledger.tiles import BadTile, Tiles, decode_bundle, encode_bundle, tile_path
from hoopproxy.ledger.tree import Tree

#: The vectors of the reference implementation of RFC 6962 (certificate-transparency, merkletree tests).
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def mth(leaves: Sequence[bytes]) -> bytes:
    """The definition in RFC 6962, word by word."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def numbered(count: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(count)]


class Grown:
    """A tree that was written at some sizes, and its tiles."""

    def __init__(self, leaves: Sequence[bytes], steps: Sequence[int] = ()) -> None:
        self.tree, self.files = Tree(), dict[str, bytes]()
        at = 0
        for step in (*steps, len(leaves)):
            self.tree.extend(leaves[at:step])
            self.files.update(self.tree.files())
            at = max(at, step)

    def tiles(self, size: int | None = None) -> Tiles:
        return Tiles(self.read, self.tree.size if size is None else size)

    def read(self, path: str) -> bytes:
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(path) from None


def perfect(leaves: Sequence[bytes]) -> object:
    return lambda level, index: mth(leaves[index << level : (index + 1) << level])


def test_the_roots_are_those_of_the_reference() -> None:
    """A tree of our own kind would be verified by nobody else."""
    assert [mth(LEAVES[: size + 1]).hex() for size in range(8)] == ROOTS
    frontier = Frontier()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        frontier.append(leaf_hash(leaf))
        assert frontier.root().hex() == root
    assert [Grown(LEAVES[: size + 1]).tree.root().hex() for size in range(8)] == ROOTS
    assert EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_proofs_are_those_of_the_reference() -> None:
    """The paths of the reference's own tests, as they stand there."""
    hash_of = perfect(LEAVES)
    assert [each.hex()[:8] for each in inclusion(0, 8, hash_of)] == ["96a296d2", "5f083f0a", "6b47aaf2"]
    assert [each.hex()[:8] for each in inclusion(5, 8, hash_of)] == ["bc1a0643", "ca854ea1", "d37ee418"]
    assert [each.hex()[:8] for each in inclusion(2, 3, hash_of)] == ["fac54203"]
    assert [each.hex()[:8] for each in inclusion(1, 5, hash_of)] == ["6e340b9c", "5f083f0a", "bc1a0643"]
    assert [each.hex()[:8] for each in consistency(1, 8, hash_of)] == ["96a296d2", "5f083f0a", "6b47aaf2"]
    assert [each.hex()[:8] for each in consistency(6, 8, hash_of)] == ["0ebc5d34", "ca854ea1", "d37ee418"]
    assert [each.hex()[:8] for each in consistency(2, 5, hash_of)] == ["5f083f0a", "bc1a0643"]


def test_every_leaf_of_every_small_tree_is_proven_and_no_other() -> None:
    """An off-by-one in a proof shows at some size; here they all are."""
    leaves = numbered(40)
    for size in range(1, 41):
        root, hash_of = mth(leaves[:size]), perfect(leaves[:size])
        for index in range(size):
            path = inclusion(index, size, hash_of)
            check_inclusion(index, size, leaf_hash(leaves[index]), path, root)
            for wrong in (
                (index, size, leaf_hash(b"other"), path, root),
                (index, size, leaf_hash(leaves[index]), path[:-1], root) if path else None,
                (index, size, leaf_hash(leaves[index]), [*path, root], root),
                ((index + 1) % size, size, leaf_hash(leaves[index]), path, root) if size > 1 else None,
                (index, size, leaf_hash(leaves[index]), path, EMPTY),
                (size, size, leaf_hash(leaves[index]), path, root),
            ):
                if wrong is not None:
                    with pytest.raises(BadProof):
                        check_inclusion(*wrong)


def test_every_small_tree_is_proven_to_continue_every_smaller_one() -> None:
    """And one that doesn't continue it is not."""
    leaves = numbered(33)
    for new in range(34):
        hash_of = perfect(leaves[:new])
        for old in range(new + 1):
            path = consistency(old, new, hash_of)
            check_consistency(old, new, mth(leaves[:old]), mth(leaves[:new]), path)
            if old > 0:
                with pytest.raises(BadProof):
                    check_consistency(old, new, mth([*leaves[: old - 1], b"other"]), mth(leaves[:new]), path)
            if 0 < old < new:
                for bad in (path[:-1], [*path, EMPTY], path[::-1] if len(set(path)) > 1 else []):
                    with pytest.raises(BadProof):
                        check_consistency(old, new, mth(leaves[:old]), mth(leaves[:new]), bad)
    with pytest.raises(BadProof):
        check_consistency(3, 2, EMPTY, EMPTY, [])
    with pytest.raises(BadProof):
        check_consistency(0, 2, EMPTY, EMPTY, [EMPTY])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1500), st.lists(st.integers(0, 1500), max_size=4), st.data())
def test_a_tree_in_tiles_is_the_tree_in_memory(size: int, steps: list[int], data: st.DataObject) -> None:
    """However it was written in steps: what an outsider reads from the tiles is what was signed."""
    leaves = numbered(size)
    steps = sorted(step for step in steps if step <= size)
    grown = Grown(leaves, steps)
    frontier = Frontier()
    roots = [frontier.root()]
    for leaf in leaves:
        frontier.append(leaf_hash(leaf))
        roots.append(frontier.root())
    assert grown.tree.root() == roots[-1] == grown.tiles().root()
    for step in (*steps, *data.draw(st.lists(st.integers(0, size), max_size=3))):
        whole = grown.tiles()
        assert tree_hash(step, whole.hash_of) == roots[step]
        check_consistency(step, size, roots[step], roots[size], consistency(step, size, whole.hash_of))
    for step in steps:
        assert grown.tiles(step).root() == roots[step]
    if size:
        index = data.draw(st.integers(0, size - 1))
        tiles = grown.tiles()
        assert tiles.leaf(index) == leaves[index]
        path = inclusion(index, size, tiles.hash_of)
        check_inclusion(index, size, leaf_hash(leaves[index]), path, roots[size])
        again = Tree.load(tiles)
        again.extend([b"more"] * 300)
        grown.tree.extend([b"more"] * 300)
        assert again.root() == grown.tree.root()
        assert dict(again.files()) == dict(grown.tree.files())


def test_a_tree_of_seventy_thousand_has_the_tiles_that_the_specification_counts() -> None:
    """273 full and one of 112 at level 0, one full and one of 17 above, one of 1 at the top."""
    grown = Grown([b"x"] * 70_000)
    names = set(grown.files)
    assert sum(name.startswith("tile/0/") and ".p" not in name for name in names) == 273
    assert {name for name in names if ".p/" in name} == {
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
        "tile/entries/273.p/112",
    }
    assert "tile/1/000" in names
    assert grown.tiles().root() == grown.tree.root()


def test_the_path_of_a_tile_is_in_threes() -> None:
    """The example of the specification, and its neighbours."""
    assert tile_path(3, 1234067) == "tile/3/x001/x234/067"
    assert tile_path(0, 0, 7) == "tile/0/000.p/7"
    assert tile_path("entries", 999) == "tile/entries/999"
    assert tile_path("entries", 1000) == "tile/entries/x001/000"


def test_what_is_no_tile_is_named() -> None:
    """The first bad file is what an operator looks for."""
    grown = Grown(numbered(300))
    tile = grown.files["tile/0/001.p/44"]
    for path, other, what in (
        ("tile/0/001.p/44", tile[:-1], "no tile of 44"),
        ("tile/entries/001.p/44", grown.files["tile/entries/001.p/44"][:-1], "cut"),
        ("tile/entries/001.p/44", b"", "0 entries"),
        ("tile/0/001.p/44", tile[:-32] + bytes(32), "not what the tree has"),
    ):
        files = {**grown.files, path: other}
        with pytest.raises(BadTile, match=what):
            Tiles(files.__getitem__, 300).leaf(299)
    del grown.files["tile/0/001.p/44"]
    with pytest.raises(BadTile, match=r"tile/0/001\.p/44: the tile is missing"):
        grown.tiles().root()


def test_a_tile_that_filled_up_serves_for_its_part() -> None:
    """Partial tiles go away once they are full; older checkpoints still verify."""
    grown = Grown(numbered(600), [300])
    root = grown.tiles(300).root()
    for name in [name for name in grown.files if "001.p/" in name]:
        del grown.files[name]
    assert grown.tiles(300).root() == root
    assert grown.tiles(300).leaf(299) == b"leaf 299"


def test_a_bundle_is_read_as_it_was_written() -> None:
    """Two bytes of length, big-endian: nothing else."""
    assert encode_bundle([b"", b"ab"]) == b"\0\0\0\2ab"
    assert decode_bundle(b"\0\0\0\2ab") == [b"", b"ab"]
    assert fold([b"x" * 32]) == b"x" * 32
