"""A journal's folder: ``<state>/journals/<id>/``, its files' names, and the lock of its one writer."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hoopproxy.journal.files import Files, RealFiles
from hoopproxy.journal.keys import GATEWAY_KEY, Key, KeyFile

if TYPE_CHECKING:
    from hoopproxy.journal.keyring import Keyring

__all__ = ["Folder", "journals"]

_SUFFIX: Final = ".segment"


def _new_id() -> bytes:
    """A UUIDv7 (RFC 9562): later ones sort later."""
    millis = time.time_ns() // 1_000_000
    random = bytearray(os.urandom(10))
    random[0] = 0x70 | random[0] & 0x0F
    random[2] = 0x80 | random[2] & 0x3F
    return millis.to_bytes(6, "big") + bytes(random)


class Folder:
    """Where one journal lives. Locked if it came of :meth:`acquire`, :meth:`abandoned` or :meth:`make`."""

    def __init__(self, path: Path, files: Files, lock: int | None = None) -> None:
        self.path, self.files, self._lock = path, files, lock
        self.id = uuid.UUID(path.name).bytes
        self._keyring: Keyring | None = None

    @property
    def keyring(self) -> Keyring:
        """What this process can open of it: given, or else what the state directory holds for its readers."""
        if self._keyring is None:
            from hoopproxy.journal.keyring import keyring_at  # which knows folders

            self._keyring = keyring_at(self.path.parent.parent, self.files)
        return self._keyring

    @keyring.setter
    def keyring(self, keyring: Keyring) -> None:
        self._keyring = keyring

    @property
    def keys(self) -> Path:
        """The key file."""
        return self.path / "keys"

    @property
    def watermark(self) -> Path:
        """The durable watermark's page."""
        return self.path / "watermark"

    @property
    def reserve(self) -> Path:
        """The file that is given up when the disk is full."""
        return self.path / "reserve"

    @property
    def lock_file(self) -> Path:
        """What the writer holds locked."""
        return self.path / "lock"

    def segment(self, number: int) -> Path:
        """The file of that segment."""
        return self.path / f"{number:012d}{_SUFFIX}"

    def segments(self) -> list[int]:
        """The numbers of the segment files that are there, in order."""
        names = self.files.names(self.path)
        stems = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    @property
    def is_live(self) -> bool:
        """Whether a writer has it open (in whichever process)."""
        return self.files.is_locked(self.lock_file)

    @property
    def is_locked(self) -> bool:
        """Whether this very object holds the lock."""
        return self._lock is not None

    def release(self) -> None:
        """Unlock; harmless if it isn't locked."""
        lock, self._lock = self._lock, None
        if lock is not None:
            self.files.close(lock)

    @classmethod
    def make(cls, state: Path, files: Files | None = None) -> Folder:
        """Make a new journal under the state directory, locked. Raises ``OSError``."""
        files = files or RealFiles()
        root = state / "journals"
        files.make_dir(root)
        identity = _new_id()
        path = root / str(uuid.UUID(bytes=identity))
        files.make_dir(path)
        folder = cls(path, files, files.lock(path / "lock"))
        gateway = Key(GATEWAY_KEY, bytes(16), os.urandom(16), time.time_ns())
        try:
            KeyFile.create(files, folder.keys, identity, gateway)
            files.fsync_dir(root)
        except BaseException:
            folder.release()
            raise
        return folder

    @classmethod
    def acquire(cls, state: Path, files: Files | None = None) -> Folder:
        """Lock the newest journal that no writer has, or make one. Raises ``OSError``."""
        files = files or RealFiles()
        return next(cls._unlocked(state, files), None) or cls.make(state, files)

    @classmethod
    def abandoned(cls, state: Path, files: Files | None = None) -> Iterator[Folder]:
        """Lock and give, one at a time, every further journal that no writer has, newest first.

        Each may hold sessions that a crash left open: start a ``Journal`` on it, close them, stop it. One
        that was stopped cleanly costs a look at the checksums of its last segment. Release each.
        """
        return cls._unlocked(state, files or RealFiles())

    @classmethod
    def _unlocked(cls, state: Path, files: Files) -> Iterator[Folder]:
        for folder in reversed(journals(state, files)):
            folder._lock = files.lock(folder.lock_file)
            if folder._lock is not None:
                yield folder


def journals(state: Path, files: Files | None = None) -> list[Folder]:
    """All the journals under a state directory, oldest first, not locked: what a reader goes through.

    A folder without a key file is one that was not finished being made; it holds nothing and is left out.
    """
    files = files or RealFiles()
    root = state / "journals"
    found = []
    for name in files.names(root):
        try:
            folder = Folder(root / name, files)
        except ValueError:
            continue
        if files.exists(folder.keys):
            found.append(folder)
    return found
