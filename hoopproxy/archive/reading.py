"""An archive as the journals that it holds: what reads a state directory reads this.

Of a segment its note is enough until its records are wanted. Then all of it is fetched into a temporary file that has
no name, and its SHA-256 is compared before the first byte is shown.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from hoopproxy.archive.layout import (
    JOURNALS,
    NOTE,
    BadNote,
    KeysNote,
    SegmentNote,
    journal_key,
    keys_key,
    page_key,
)
from hoopproxy.archive.store import Store, digest_of
from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.folder import Folder, journals

__all__ = ["ArchiveFiles", "archived"]

_ROOT: Final = Path("/")
_SEGMENT: Final = ".segment"


def archived(store: Store) -> list[Folder]:
    """The journals of an archive, oldest first.

    :raises HoopproxyError: when there is none, or the place can't be read.
    """
    found = journals(_ROOT, ArchiveFiles(store))
    if not found:
        raise HoopproxyError(f"{store.where}: no journal there; name the place that [archive] to names")
    return found


def _ledger_key(path: Path) -> str | None:
    """The key of a path of a ledger, ``/trail/ledger/<id>/...``; ``None`` of another."""
    parts = path.parts[1:]
    return "/".join(parts[1:]) if parts[:2] == ("trail", "ledger") else None


class _Segment:
    """An open segment: the note's bytes of it, or all of it once more is wanted."""

    def __init__(self, store: Store, note: SegmentNote) -> None:
        self._store, self._note = store, note
        self._whole: BinaryIO | None = None

    @property
    def size(self) -> int:
        return self._note.size

    def read(self, length: int, offset: int) -> bytes:
        if offset + length <= len(self._note.header):
            return self._note.header[offset : offset + length]
        if self._whole is None:
            self._whole = self._fetched()
        return os.pread(self._whole.fileno(), length, offset)

    def _fetched(self) -> BinaryIO:
        target = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the segment is open
        try:
            self._store.fetch(self._note.content_key, target)
            target.flush()
            if target.tell() != self._note.size or digest_of(target) != self._note.sha256:
                where = f"{self._store.where}/{self._note.content_key}"
                raise Damaged(where, 0, "it is not what was archived: its SHA-256 is another one")
        except BaseException:
            target.close()
            raise
        return target

    def close(self) -> None:
        if self._whole is not None:
            self._whole.close()


class _Small:
    """An open small file, whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, length: int, offset: int) -> bytes:
        return self._data[offset : offset + length]

    def close(self) -> None:
        """Nothing to give back."""


class ArchiveFiles:
    """``journal.files.Files`` over a store, for reading: paths are those below a state directory at ``/``.

    What would write raises ``OSError`` (EROFS); what can't be read ``StoreFailed``, ``BadNote``, or ``Damaged``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[int, _Segment | _Small] = {}
        self._next = 0
        self._notes: dict[str, SegmentNote] = {}
        self._keys: dict[str, KeysNote] = {}

    # -- what is there

    def names(self, path: Path) -> list[str]:
        parts = path.parts[1:]
        ledger = _ledger_key(path)
        if ledger is not None:
            return self._store.names(ledger)
        if parts == (JOURNALS,):
            return self._store.names(JOURNALS)
        if len(parts) != 2:
            return []
        journal = parts[1]
        notes = (name for name in self._store.names(journal_key(journal, "segments")) if name.endswith(NOTE))
        return sorted(
            [name.removesuffix(NOTE) + _SEGMENT for name in notes] + list(self._small(journal).files)
        )

    def exists(self, path: Path) -> bool:
        parts = path.parts[1:]
        ledger = _ledger_key(path)
        if ledger is not None:
            return self._store.get(ledger) is not None
        if len(parts) != 3 or parts[0] != JOURNALS:
            return False
        if path.suffix == _SEGMENT:
            return self._note(parts[1], path) is not None
        return path.name in self._small(parts[1]).files

    def _note(self, journal: str, path: Path) -> SegmentNote | None:
        stem = path.name.removesuffix(_SEGMENT)
        if not stem.isdigit():
            return None
        key = SegmentNote.key_of(journal, int(stem))
        if key not in self._notes:
            data = self._store.get(key)
            if data is None:
                return None
            self._notes[key] = SegmentNote.decode(data, key)
        return self._notes[key]

    def _small(self, journal: str) -> KeysNote:
        if journal not in self._keys:
            key = keys_key(journal)
            data = self._store.get(key)
            self._keys[journal] = KeysNote(files={}) if data is None else KeysNote.decode(data, key)
        return self._keys[journal]

    # -- reading

    def open_read(self, path: Path) -> int:
        ledger = _ledger_key(path)
        data = None if ledger is None else self._store.get(ledger)
        if data is None and (ledger is not None or not self.exists(path)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        journal = path.parts[2]
        if data is not None:
            opened: _Segment | _Small = _Small(data)
        elif path.suffix == _SEGMENT:
            note = self._note(journal, path)
            assert note is not None
            opened = _Segment(self._store, note)
        else:
            opened = _Small(self._content(journal, path.name))
        self._next += 1
        self._open[self._next] = opened
        return self._next

    def _content(self, journal: str, name: str) -> bytes:
        size, digests = self._small(journal).files[name]
        pages = [self._store.get(page_key(journal, digest)) for digest in digests]
        for digest, page in zip(digests, pages, strict=True):
            key = page_key(journal, digest)
            if page is None:
                raise BadNote(f"{key}: it is missing; it may have been replaced just now: try again")
            if sha256(page).hexdigest() != digest:
                raise Damaged(f"{self._store.where}/{key}", 0, "it is not what was archived")
        data = b"".join(page for page in pages if page is not None)
        if len(data) != size:
            raise BadNote(f"{keys_key(journal)}: {name} has {len(data)} bytes, not {size}")
        return data

    def close(self, handle: int) -> None:
        self._open.pop(handle).close()

    def size(self, handle: int) -> int:
        return self._open[handle].size

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        return self._open[handle].read(length, offset)

    def is_locked(self, path: Path) -> bool:
        """Nobody writes here."""
        return False

    def fdatasync(self, handle: int) -> None:
        """What is there stays."""

    # -- what an archive doesn't do

    def _refuse(self, *_: Any) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def open(self, path: Path, create: bool = False) -> int:
        self._refuse()

    def pwrite(self, handle: int, parts: Sequence[bytes], offset: int) -> None:
        self._refuse()

    def truncate(self, handle: int, size: int) -> None:
        self._refuse()

    def fsync(self, handle: int) -> None:
        self._refuse()

    def fsync_dir(self, path: Path) -> None:
        self._refuse()

    def itself(self, handle: int) -> str:
        self._refuse()

    def make_dir(self, path: Path) -> None:
        self._refuse()

    def rename(self, old: Path, new: Path) -> None:
        self._refuse()

    def unlink(self, path: Path) -> None:
        self._refuse()

    def preallocate(self, handle: int, size: int) -> None:
        self._refuse()

    def free_bytes(self, path: Path) -> int:
        return 0

    def lock(self, path: Path) -> int | None:
        self._refuse()

    def map(self, handle: int, size: int) -> Any:
        self._refuse()
