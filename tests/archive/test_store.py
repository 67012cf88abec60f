"""A folder as an archive's place: nothing is replaced, nothing is half there."""

from __future__ import annotations

import io
from hashlib import sha256
from pathlib import Path

import pytest

from hoopproxy.archive.making import named
from hoopproxy.archive.s3 import parted
from hoopproxy.archive.store import AnotherThere, FolderStore, StoreFailed
from hoopproxy.errors import HoopproxyError


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "place")


def put_new(store: FolderStore, key: str, data: bytes) -> None:
    store.put_new(key, io.BytesIO(data), len(data), sha256(data).hexdigest())


def test_what_is_there_stays_and_the_same_again_is_fine(store: FolderStore) -> None:
    put_new(store, "a/b/c", b"one")
    put_new(store, "a/b/c", b"one")
    with pytest.raises(AnotherThere, match="a/b/c is there already"):
        put_new(store, "a/b/c", b"two")
    assert store.get("a/b/c") == b"one"
    assert store.names("a/b") == ["c"]


def test_a_half_of_something_is_nothing_and_is_written_over(store: FolderStore) -> None:
    """What a kill left behind."""
    half = store.path / "a" / ".b.new"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"on")
    assert store.get("a/b") is None
    assert store.names("a") == []
    put_new(store, "a/b", b"one")
    assert store.names("a") == ["b"]
    assert not half.exists()


def test_files_are_for_their_owner_only(store: FolderStore) -> None:
    put_new(store, "a/b", b"one")
    store.put("a/c", b"two")
    for path in (store.path / "a/b", store.path / "a/c"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert (store.path / "a").stat().st_mode & 0o777 == 0o700


def test_what_may_change_is_replaced_and_removed(store: FolderStore) -> None:
    store.put("a/b", b"one")
    store.put("a/b", b"two")
    assert store.get("a/b") == b"two"
    store.delete("a/b")
    store.delete("a/b")
    assert store.get("a/b") is None


def test_what_the_system_refuses_is_a_sentence(store: FolderStore) -> None:
    store.path.write_bytes(b"a file, not a folder")
    with pytest.raises(StoreFailed, match=str(store.path)):
        store.put("a/b", b"one")


@pytest.mark.parametrize(
    ("text", "parts"),
    [("s3://b", ("b", "")), ("s3://b/", ("b", "")), ("s3://b/a/c/", ("b", "a/c"))],
)
def test_a_bucket_and_a_prefix_are_told_apart(text: str, parts: tuple[str, str]) -> None:
    assert parted(text) == parts


def test_a_place_without_a_bucket_is_a_sentence() -> None:
    with pytest.raises(HoopproxyError, match="s3://bucket"):
        named("s3:///prefix")
