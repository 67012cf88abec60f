"""What an archive asks of the place where it is, and a folder as such a place.

All of it blocks: call it in a thread. Keys are ``a/b/c``, ASCII, made by us. What was put is whole and stays, or is not
there at all, whatever dies in the middle.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from hoopproxy.errors import HoopproxyError

__all__ = ["AnotherThere", "FolderStore", "Store", "StoreFailed", "digest_of"]

_WINDOW: Final = 1 << 20
_NEW: Final = ".new"


class StoreFailed(HoopproxyError):
    """The place does not do what it is asked. The text names it, the key and why, and holds no secret."""


class AnotherThere(StoreFailed):
    """Something else has this name already, and stays."""


class Store(Protocol):
    """A place. Every method raises :class:`StoreFailed`."""

    where: str
    """The place, for sentences."""

    def put_new(self, key: str, source: BinaryIO, size: int, digest: str) -> None:
        """Put what nobody may change, from the source's beginning. Fine if the same is there already.

        :param digest: its SHA-256, hex. :raises AnotherThere: if something else is.
        """

    def put(self, key: str, data: bytes) -> None:
        """Put, in place of what is there."""

    def get(self, key: str) -> bytes | None:
        """Something small; ``None`` if it isn't there."""

    def fetch(self, key: str, target: BinaryIO) -> None:
        """Write something of any size into a file."""

    def names(self, key: str) -> list[str]:
        """What is right below, sorted; folders too."""

    def delete(self, key: str) -> None:
        """Remove it, with every version of it; fine if it isn't there."""


def digest_of(source: BinaryIO) -> str:
    """The SHA-256 (hex) of a file from its beginning."""
    source.seek(0)
    found = sha256()
    while data := source.read(_WINDOW):
        found.update(data)
    return found.hexdigest()


class FolderStore:
    """A folder: another disk, or what another machine exports. Files are synced, and 0600."""

    def __init__(self, path: Path) -> None:
        self.path, self.where = path, str(path)

    def put_new(self, key: str, source: BinaryIO, size: int, digest: str) -> None:
        with self._sentence(key):
            path = self._place(key)
            if path.exists():
                self._compare(path, key, digest)
                return
            source.seek(0)
            temporary = self._written(path, lambda target: shutil.copyfileobj(source, target, _WINDOW))
            try:
                os.link(temporary, path)  # unlike a rename, this never replaces
            except FileExistsError:
                self._compare(path, key, digest)
            finally:
                temporary.unlink()
            self._sync(path.parent)

    def _compare(self, path: Path, key: str, digest: str) -> None:
        with path.open("rb") as there:
            if digest_of(there) != digest:
                raise AnotherThere(f"{self.where}: {key} is there already, and is something else")

    def put(self, key: str, data: bytes) -> None:
        with self._sentence(key):
            path = self._place(key)
            self._written(path, lambda target: target.write(data)).replace(path)
            self._sync(path.parent)

    def get(self, key: str) -> bytes | None:
        with self._sentence(key):
            try:
                return (self.path / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def fetch(self, key: str, target: BinaryIO) -> None:
        with self._sentence(key), (self.path / key).open("rb") as source:
            shutil.copyfileobj(source, target, _WINDOW)

    def names(self, key: str) -> list[str]:
        with self._sentence(key):
            try:
                return sorted(name for name in os.listdir(self.path / key) if not name.endswith(_NEW))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def delete(self, key: str) -> None:
        with self._sentence(key):
            (self.path / key).unlink(missing_ok=True)

    def _place(self, key: str) -> Path:
        path = self.path / key
        missing = []
        folder = path.parent
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
            self._sync(each.parent)
        return path

    def _written(self, path: Path, fill: Callable[[BinaryIO], object]) -> Path:
        """A whole, synced file beside the one that it will be. What a kill left of one is written over."""
        temporary = path.with_name(f".{path.name}{_NEW}")
        with open(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb"
        ) as target:
            fill(target)
            target.flush()
            os.fsync(target.fileno())
        return temporary

    def _sync(self, folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _sentence(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreFailed(f"{self.where}: {key}: {error.strerror or type(error).__name__}") from None
