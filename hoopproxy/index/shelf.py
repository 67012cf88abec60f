"""The parts of the index, by journal, below one folder: ``<journal>/<first record>.sqlite``."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from hoopproxy.index.looking import PartReader
from hoopproxy.index.part import BadPart, Part

__all__ = ["Shelf", "folder_of"]

_SUSPECT: Final = ".suspect"
_DAMAGED: Final = ".damaged"
KEPT: Final = 3
"""Damaged parts that are kept for whoever wants to know why."""


def folder_of(state: Path) -> Path:
    """Where the index of a state directory is."""
    return state / "trail" / "index"


class Shelf:
    """What there is. It needs not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def lock(self) -> int | None:
        """Become the one who writes here: a handle to close in the end. ``None``: somebody else is."""
        self.root.mkdir(0o700, parents=True, exist_ok=True)
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return None
        return handle

    def folder(self, journal: bytes) -> Path:
        """The folder of a journal's parts."""
        return self.root / str(uuid.UUID(bytes=journal))

    def parts(self, journal: bytes) -> list[Part]:
        """The parts of a journal, oldest first."""
        try:
            found = [Part.of(path) for path in self.folder(journal).iterdir()]
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            return []
        return sorted(part for part in found if part is not None)

    def journals(self) -> list[bytes]:
        """The journals that have a folder here."""
        found = []
        for path in self.root.iterdir() if self.root.is_dir() else ():
            try:
                found.append(uuid.UUID(path.name).bytes)
            except ValueError:
                continue
        return sorted(found)

    def position(self, journal: bytes) -> int:
        """The first record that isn't in the index: 1 if none is. Damage counts as nothing."""
        for part in reversed(self.parts(journal)):
            try:
                with PartReader(part, journal) as reader:
                    return reader.position
            except (BadPart, OSError):
                return part.first
        return 1

    def make(self, journal: bytes, first: int) -> Part:
        """A part that begins there; its folder exists then, for the owner alone."""
        folder = self.folder(journal)
        self.root.mkdir(0o700, parents=True, exist_ok=True)
        folder.mkdir(0o700, exist_ok=True)
        return Part.new(folder, first)

    def drop_before(self, journal: bytes, first: int) -> int:
        """Remove the parts of records that the journal no longer has (all before ``first``); how many."""
        parts = self.parts(journal)
        gone = [part for part, following in pairwise(parts) if following.first <= first]
        for part in gone:
            part.remove()
        return len(gone)

    def drop(self, journal: bytes) -> None:
        """Remove everything of a journal."""
        folder = self.folder(journal)
        for path in list(folder.iterdir()) if folder.is_dir() else ():
            path.unlink(missing_ok=True)
        if folder.is_dir():
            folder.rmdir()

    # --- damage --------------------------------------------------------------------------------------------

    def suspect(self, part: Part) -> None:
        """A reader met damage: whoever writes the index looks after it. Harmless if it may not write here."""
        try:
            part.path.with_name(part.path.name + _SUSPECT).touch(0o600)
        except OSError:
            return

    def suspects(self, journal: bytes) -> Iterator[Part]:
        """Parts that a reader could not read; each is given once."""
        for part in self.parts(journal):
            mark = part.path.with_name(part.path.name + _SUSPECT)
            if mark.exists():
                mark.unlink(missing_ok=True)
                yield part

    def set_aside(self, part: Part) -> Path:
        """Move a damaged part out of the way; the newest few are kept."""
        aside = part.path.with_name(f"{part.path.name}.{time.time_ns()}{_DAMAGED}")
        if part.path.exists():
            part.path.rename(aside)
        for path in part.files[1:]:
            path.unlink(missing_ok=True)
        kept = sorted(part.path.parent.glob(f"*{_DAMAGED}"), key=lambda path: path.name.split(".")[-2])
        for path in kept[:-KEPT]:
            path.unlink(missing_ok=True)
        return aside
