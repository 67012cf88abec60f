"""What of a journal is due, and how it gets into an archive. Blocks: call it in a thread."""

from __future__ import annotations

import io
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Final

from hoopproxy.archive.layout import (
    NOTE,
    PAGE,
    SMALL_FILES,
    KeysNote,
    SegmentNote,
    journal_key,
    keys_key,
    page_key,
)
from hoopproxy.archive.store import AnotherThere, Store, digest_of
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import HEADER_SIZE, REWRITTEN, SegmentHeader
from hoopproxy.journal.recovery import ended, sound_segments
from hoopproxy.journal.watermark import read_mark
from hoopproxy.ledger.folder import CHECKPOINT

__all__ = ["Shipping", "closed"]

_PRIVATE: Final = ".key"
_NEW: Final = ".new"


def closed(folder: Folder) -> list[tuple[SegmentHeader, int]]:
    """The segments that nothing is appended to any more, in order, each with the number of its last record.

    The writer is done with a segment before it begins the next one; the last is closed by its END block.
    Raises ``Damaged``, ``UnsupportedFormat``, ``OSError``.
    """
    headers = sound_segments(folder, read_mark(folder.files, folder.watermark))
    found = [(each, after.first_jseq - 1) for each, after in pairwise(headers)]
    if headers and not folder.is_live:
        end = ended(folder, headers[-1])
        if end is not None:
            found.append((headers[-1], end.last))
    return found


class Shipping:
    """Ships journals to a store. Whoever ships the same again changes nothing.

    :param node: this gateway's name, for the notes. :param going_on: asked between two things; ``False``: stop.
    """

    def __init__(self, store: Store, node: str, going_on: Callable[[], bool] = lambda: True) -> None:
        self._store, self._node, self._going_on = store, node, going_on
        self._facts: dict[
            str, tuple[object, ...]
        ] = {}  # of a journal's small files when they were last shipped
        self._ledger: dict[Path, int] = {}  # of folders of ledgers when they were last shipped
        self._tops: dict[Path, bytes] = {}  # the checkpoints that are there
        self._known: set[str] = set()  # journals of which the archive has nothing that is not of this one

    def must_be_ours(self, folder: Folder) -> None:
        """Let nothing of a restored backup take the place of what the journal went on with, which is there alone: keys
        are replaced, and without them nobody reads what is archived. It is looked at once.

        :raises AnotherThere: the newest segment in the archive is none of this journal's closed ones.
        """
        journal = folder.path.name
        if journal in self._known:
            return
        names = self._store.names(journal_key(journal, "segments"))
        newest = max((name for name in names if name.endswith(NOTE)), default=None)
        if newest is not None:
            key = journal_key(journal, "segments", newest)
            there = self._store.get(key)
            note = None if there is None else SegmentNote.decode(there, key)
            if note is not None and not _has(folder, note):
                raise AnotherThere(
                    f"{self._store.where}: {key} is of a segment that this journal doesn't have: was a backup restored "
                    "here? Begin a new journal: docs/archive.md"
                )
        self._known.add(journal)

    def journal(self, folder: Folder, since: int) -> int:
        """Ship every closed segment with records from number ``since`` on; the keys first, so that none is there that
        can't be read.

        :return: the number of the first record that is not there. Raises as :func:`closed`, and ``StoreFailed``.
        """
        self.must_be_ours(folder)
        due = [(header, last) for header, last in closed(folder) if last >= since]
        for header, last in due:
            if not self._going_on():
                break
            self.keys(folder)
            self._segment(folder, header, last)
            since = last + 1
        return since

    def _segment(self, folder: Folder, header: SegmentHeader, last: int) -> None:
        journal = folder.path.name
        key = SegmentNote.key_of(journal, header.number)
        there = self._store.get(key)
        if there is not None:
            note = SegmentNote.decode(there, key)
            if not _is_same(note, header, last, folder.segment(header.number)):
                raise AnotherThere(
                    f"{self._store.where}: {key} is of another segment with this number: was a backup restored here?"
                )
            return
        with folder.segment(header.number).open(
            "rb"
        ) as source:  # one and the same file, whoever replaces it now
            digest = digest_of(source)
            size = source.tell()
            source.seek(0)
            note = SegmentNote(
                journal=journal,
                number=header.number,
                first=header.first_jseq,
                last=last,
                size=size,
                sha256=digest,
                header=source.read(HEADER_SIZE),
                created=header.created,
                node=self._node,
            )
            self._store.put_new(note.content_key, source, size, digest)
        data = note.encode()
        self._store.put_new(note.key, io.BytesIO(data), len(data), sha256(data).hexdigest())

    # -- what changes

    def keys(self, folder: Folder) -> None:
        """Ship the small files as they are now, if they changed; what was erased from them goes there too.

        Raises as :meth:`must_be_ours`.
        """
        self.must_be_ours(folder)
        facts = tuple(_facts(folder.path / name) for name in SMALL_FILES)
        journal = folder.path.name
        if self._facts.get(journal) == facts:
            return
        pages: dict[str, bytes] = {}
        files: dict[str, tuple[int, tuple[str, ...]]] = {}
        for name in SMALL_FILES:
            data = _content(folder.path / name)
            if data is None:
                continue
            parts = [data[start : start + PAGE] for start in range(0, len(data), PAGE)]
            digests = [sha256(part).hexdigest() for part in parts]
            pages.update(zip(digests, parts, strict=True))
            files[name] = (len(data), tuple(digests))
        note = KeysNote(files=files)
        there = self._store.get(keys_key(journal))
        if there != note.encode():
            known = set(self._store.names(journal_key(journal, "keys")))
            for digest, data in pages.items():
                if digest not in known:
                    self._store.put(page_key(journal, digest), data)
            self._store.put(keys_key(journal), note.encode())
            for digest in known - note.pages:
                self._store.delete(page_key(journal, digest))
        self._facts[journal] = facts

    def ledger(self, folder: Path) -> None:
        """Ship the files of a ledger that are new. Its private keys stay here.

        What lies right in the folder (checkpoints) is read before the tiles are looked for, and shipped after them: a
        checkpoint in the archive speaks of tiles that are there. Below it nothing ever changes, unless another tree was
        begun; that one has another origin.
        """
        tops = {path: path.read_bytes() for path in _files(folder)}
        key = f"ledger/{folder.name}"
        is_same = _origin(tops.get(folder / CHECKPOINT)) == _origin(self._store.get(f"{key}/{CHECKPOINT}"))
        for below in sorted(path for path in folder.rglob("*") if path.is_dir()):
            changed = below.stat().st_mtime_ns
            if is_same and self._ledger.get(below) == changed:
                continue
            under = f"{key}/{below.relative_to(folder).as_posix()}"
            known = set(self._store.names(under)) if is_same else set()
            for path in _files(below):
                if not self._going_on():
                    return
                data = None if path.name in known else _content(path)
                if data is not None:
                    self._store.put(f"{under}/{path.name}", data)
            self._ledger[below] = changed
        for path, data in tops.items():
            if self._tops.get(path) != data:
                self._store.put(f"{key}/{path.name}", data)
                self._tops[path] = data


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix not in (_PRIVATE, _NEW))


def _origin(checkpoint: bytes | None) -> bytes | None:
    """The first line of a checkpoint (c2sp.org/tlog-checkpoint)."""
    return None if checkpoint is None else checkpoint.partition(b"\n")[0]


def _is_same(note: SegmentNote, header: SegmentHeader, last: int, path: Path) -> bool:
    """Whether the archived segment is this one. Rewritten since by a lawful order it still is; what a restored backup
    went on with is not, and nobody may take that for archived."""
    if not _is_of(note, header) or last != note.last:
        return False
    if header.flags & REWRITTEN:
        return True
    with path.open("rb") as source:
        return digest_of(source) == note.sha256


def _is_of(note: SegmentNote, header: SegmentHeader) -> bool:
    """Whether the note is of a segment with this header."""
    known = SegmentHeader.decode(note.header, note.key)
    ours = (header.journal, header.number, header.first_jseq, header.created, header.seed)
    return ours == (known.journal, known.number, known.first_jseq, known.created, known.seed)


def _has(folder: Folder, note: SegmentNote) -> bool:
    """Whether the journal has all of this segment, closed, or had it: retention removes the oldest. A backup that was
    made while it was being written has the beginning of it."""
    numbers = folder.segments()
    if numbers and note.number < numbers[0]:
        return True
    return any(_is_of(note, header) and last >= note.last for header, last in closed(folder))


def _facts(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
