"""The files of one journal's ledger: ``<state>/trail/ledger/<journal-id>/``.

``checkpoint``            the newest one: how large the tree is, whatever tiles there are beyond it
``cosigned``              the newest one that a witness signed too
``tile/``                 hashes and entries, as c2sp.org/tlog-tiles says
``epochs/000001.note``    who signs from when on; ``epochs/000001.key`` the private key (0600), newest epoch only
``timestamps/``           checkpoints and what a time stamp authority said of them
``place``                 which file of the disk it is itself: a copy of it says another one's

A tree that was given up is kept beside it, as ``<journal-id>.<number>``.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from hoopproxy.journal.files import Files, RealFiles
from hoopproxy.ledger.note import BadNote, SigningKey

__all__ = ["LedgerFolder", "ledgers", "ledgers_root"]

CHECKPOINT: Final = "checkpoint"
COSIGNED: Final = "cosigned"
PLACE: Final = "place"
_NEW: Final = ".new"
_PARTIAL: Final = ".p"


def ledgers_root(state: Path) -> Path:
    """Where the ledgers are, below a state directory."""
    return state / "trail" / "ledger"


def ledgers(state: Path, files: Files | None = None) -> list[LedgerFolder]:
    """Every tree below a state directory but those that were given up."""
    files, root = files or RealFiles(), ledgers_root(state)
    found = []
    for name in files.names(root):
        with contextlib.suppress(ValueError):
            if str(uuid.UUID(name)) == name:
                found.append(LedgerFolder(root / name, files))
    return found


class LedgerFolder:
    """Read and write them. What a method has written is on stable storage when it returns; ``OSError``."""

    def __init__(self, path: Path, files: Files | None = None) -> None:
        self.path, self.files = path, files or RealFiles()
        self._folders: set[Path] = set()

    # -- reading

    def read(self, name: str) -> bytes:
        """The bytes at a path below the folder; ``FileNotFoundError``."""
        handle = self.files.open_read(self.path / name)
        try:
            return self.files.pread(handle, self.files.size(handle), 0)
        finally:
            self.files.close(handle)

    def read_or_none(self, name: str) -> bytes | None:
        """The same; ``None`` if there is no such file."""
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def has_entries(self) -> bool:
        """Whether the first bundle is there, whole or in part."""
        first = self.path / "tile" / "entries" / "000"
        return self.files.exists(first) or bool(self.files.names(first.with_name("000.p")))

    def epochs(self) -> list[bytes]:
        """The notes of the epochs, in order."""
        names = [name for name in self.files.names(self.path / "epochs") if name.endswith(".note")]
        return [self.read(f"epochs/{name}") for name in names]

    def key(self, number: int) -> SigningKey | None:
        """The private key of an epoch; ``None`` if it is gone. :raises BadNote: the file holds another thing."""
        path = self.path / _key_name(number)
        data = self.read_or_none(_key_name(number))
        if data is None:
            return None
        with contextlib.suppress(FileNotFoundError):  # in memory there are no permissions
            if os.stat(path).st_mode & 0o077:
                raise BadNote(f"{path} can be read by others; use mode 0600")
        return SigningKey.parse(data.decode("utf-8", "replace"))

    def is_copy(self) -> bool:
        """Whether it was put here by copying, as a backup is. Without the file, as it was once, nobody knows: no."""
        with contextlib.suppress(FileNotFoundError):
            handle = self.files.open_read(self.path / PLACE)
            try:
                said = self.files.pread(handle, self.files.size(handle), 0)
                return said != self.files.itself(handle).encode()
            finally:
                self.files.close(handle)
        return False

    # -- writing

    def _make(self, folder: Path) -> None:
        if folder not in self._folders:
            self.files.make_dir(folder)
            self._folders.add(folder)

    def write_tiles(self, tiles: Iterable[tuple[str, bytes]]) -> None:
        """Write tiles, all of them before the first wait for the disk."""
        handles: list[int] = []
        folders: set[Path] = set()
        try:
            for name, data in tiles:
                path = self.path / name
                self._make(path.parent)
                handle, is_there = self._opened(path, data)
                handles.append(handle)
                folders.add(path.parent)
                if not is_there:
                    self.files.pwrite(handle, [data], 0)
            if isinstance(self.files, RealFiles):
                for handle in handles:  # all of them are on their way before the first is waited for
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            for handle in handles:
                self.files.fsync(handle)
        finally:
            for handle in handles:
                self.files.close(handle)
        for folder in folders:
            self.files.fsync_dir(folder)

    def _opened(self, path: Path, data: bytes) -> tuple[int, bool]:
        """A file to write, or one that holds the same already."""
        with contextlib.suppress(FileExistsError):
            return self.files.open(path, create=True), False
        handle = self.files.open(path)
        if self.files.pread(handle, len(data) + 1, 0) == data:
            return handle, True
        self.files.close(handle)
        self.files.unlink(path)  # of a crash before its checkpoint: no checkpoint speaks of it
        return self.files.open(path, create=True), False

    def drop_partial(self, names: Iterable[str]) -> None:
        """Remove the partial tiles of tiles that are full now."""
        for name in names:
            path = PurePosixPath(name)
            if path.suffix or path.parent.suffix:  # it is a partial one itself
                continue
            folder = self.path / (name + _PARTIAL)
            for each in self.files.names(folder):
                self.files.unlink(folder / each)
            self._folders.discard(folder)
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, or another in its place: the old or the new, whatever happens."""
        self._replace(name, lambda handle: data)

    def _replace(self, name: str, data_of: Callable[[int], bytes]) -> None:
        path = self.path / name
        self._make(path.parent)
        temporary = path.with_name(path.name + _NEW)
        self.files.unlink(temporary)
        handle = self.files.open(temporary, create=True)
        try:
            self.files.pwrite(handle, [data_of(handle)], 0)
            self.files.fsync(handle)
        finally:
            self.files.close(handle)
        self.files.rename(temporary, path)
        self.files.fsync_dir(path.parent)

    def write_place(self) -> None:
        """From now on a copy is known as one."""
        self._replace(PLACE, lambda handle: self.files.itself(handle).encode())

    def write_key(self, number: int, key: SigningKey) -> None:
        """Keep a private key, readable by the owner only."""
        self.write(_key_name(number), key.export().encode() + b"\n")

    def write_epoch(self, number: int, note: bytes) -> None:
        """An epoch begins with this."""
        self.write(f"epochs/{number:06d}.note", note)

    def erase_keys(self, keep: int) -> None:
        """Destroy every private key but that epoch's: overwritten, and then removed."""
        folder = self.path / "epochs"
        for name in self.files.names(folder):
            if name.endswith((".key", ".key" + _NEW)) and name != PurePosixPath(_key_name(keep)).name:
                handle = self.files.open(folder / name)
                try:
                    self.files.pwrite(handle, [bytes(self.files.size(handle))], 0)
                    self.files.fsync(handle)
                finally:
                    self.files.close(handle)
                self.files.unlink(folder / name)
                self.files.fsync_dir(folder)

    def given_up(self) -> list[str]:
        """The names of the trees of this journal that were set aside, oldest first."""
        found: list[str] = []
        while self.files.exists(self.path.with_name(f"{self.path.name}.{len(found) + 1}")):
            found.append(f"{self.path.name}.{len(found) + 1}")
        return found

    def set_aside(self) -> Path:
        """Give this tree up, keeping all of it under another name; returns that."""
        aside = self.path.with_name(f"{self.path.name}.{len(self.given_up()) + 1}")
        self.files.rename(self.path, aside)
        self.files.fsync_dir(self.path.parent)
        self._folders.clear()
        return aside


def _key_name(number: int) -> str:
    return f"epochs/{number:06d}.key"
