"""One stretch of a journal's index, an SQLite file: what is in it, and its one writer.

The words are a contentless FTS5 table without positions: it can say in which documents a word is, and nothing
can be read back from it. A part is dropped by removing its file, so nothing has to be deleted out of one.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from hoopproxy.errors import HoopproxyError
from hoopproxy.index.documents import Document, Window
from hoopproxy.index.words import stored

__all__ = ["BadPart", "Part", "PartWriter", "as_bad", "meta_of"]

VERSION: Final = 2
SUFFIX: Final = ".sqlite"

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE name (no INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE stream (no INTEGER PRIMARY KEY, session BLOB, identity TEXT, target TEXT, protocol TEXT,
  rows INTEGER);
CREATE TABLE window (no INTEGER PRIMARY KEY, first INTEGER, position INTEGER, since INTEGER, until INTEGER);
CREATE TABLE document (no INTEGER PRIMARY KEY, window INTEGER, stream INTEGER, kind INTEGER, outcome INTEGER,
  count INTEGER, first INTEGER, last INTEGER, segment INTEGER, place INTEGER, since INTEGER, until INTEGER);
CREATE TABLE cut (no INTEGER PRIMARY KEY);
CREATE TABLE shown (no INTEGER PRIMARY KEY, mark TEXT NOT NULL);
CREATE VIRTUAL TABLE word USING fts5(words, content='', columnsize=0, detail=none, tokenize='ascii');
"""


class BadPart(HoopproxyError):
    """A part that can't be read: damaged, or of another version. It can be made again from the journal."""


@attrs.frozen(order=True)
class Part:
    """Where a part is; ``first`` is the first record that it is about."""

    first: int
    path: Path = attrs.field(order=False)

    @classmethod
    def of(cls, path: Path) -> Part | None:
        """The part of that file name; ``None`` if it is none."""
        stem = path.name.removesuffix(SUFFIX)
        return cls(int(stem), path) if path.name.endswith(SUFFIX) and stem.isdigit() else None

    @classmethod
    def new(cls, folder: Path, first: int) -> Part:
        """The one that begins there."""
        return cls(first, folder / f"{first:016d}{SUFFIX}")

    def beside(self) -> Part:
        """The same under another name, while it is made."""
        return Part(self.first, self.path.with_name(self.path.name + ".new"))

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that SQLite keeps of it."""
        name = self.path.name
        return (self.path, self.path.with_name(name + "-wal"), self.path.with_name(name + "-shm"))

    def remove(self) -> None:
        """Delete it."""
        for path in self.files:
            path.unlink(missing_ok=True)


# --- writing -------------------------------------------------------------------------------------------------


class PartWriter:
    """A part that grows by a window at a time. Every error is :class:`BadPart` or ``OSError``.

    :raises BadPart: it is damaged, of another version, or another journal's.
    """

    def __init__(self, part: Part, journal: bytes) -> None:
        self.part = part
        fresh = not part.path.exists()
        if fresh:
            part.path.touch(0o600)
        with as_bad(part):
            self._db = sqlite3.connect(part.path, isolation_level=None, check_same_thread=False, timeout=10)
            try:
                self._prepare(journal, fresh)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self, journal: bytes, fresh: bool) -> None:
        db = self._db
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        if fresh or not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            db.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
            numbers = dict.fromkeys(("records", "rewritten", "segment", "place"), 0)
            values = {**numbers, "version": VERSION, "position": self.part.first, "journal": journal.hex()}
            db.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
        else:
            told = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
            if told != ["ok"]:
                raise BadPart(f"{self.part.path}: damaged")
        meta = meta_of(self.part, db, journal)
        self.position, self.records = int(meta["position"]), int(meta["records"])
        self.rewritten = int(meta["rewritten"])
        self._names = dict(db.execute("SELECT text, no FROM name"))
        self._windows = _number(db, "SELECT coalesce(max(no), 0) FROM window")
        self._documents = _number(db, "SELECT coalesce(max(no), 0) FROM document")

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.part.path.stat().st_size

    def write(self, window: Window) -> None:
        """Add a window; durable with the next checkpoint, and never in part."""
        db = self._db
        with as_bad(self.part):
            db.execute("BEGIN IMMEDIATE")
            try:
                self._insert(db, window)
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                self._names = dict(db.execute("SELECT text, no FROM name"))
                raise
        self._windows += 1
        self._documents += len(window.documents)
        self.position = window.position
        self.records += window.position - window.first

    def _insert(self, db: sqlite3.Connection, window: Window) -> None:
        number = self._windows + 1
        db.execute(
            "INSERT INTO window VALUES (?, ?, ?, ?, ?)",
            (number, window.first, window.position, window.since, window.until),
        )
        documents = list(enumerate(window.documents, self._documents + 1))
        db.executemany(
            "INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [self._row(no, number, document) for no, document in documents],
        )
        db.executemany(
            "INSERT INTO word (rowid, words) VALUES (?, ?)",
            [(no, _line(document)) for no, document in documents if document.words],
        )
        cut = [(no,) for no, document in documents if document.cut]
        if cut:
            db.executemany("INSERT INTO cut VALUES (?)", cut)
        shown = [(no, document.mark) for no, document in documents if document.mark is not None]
        if shown:
            db.executemany("INSERT INTO shown VALUES (?, ?)", shown)
        streams = {document.stream.key: document.stream for document in window.documents}
        db.executemany(
            "INSERT INTO stream VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (no) DO UPDATE SET "
            "identity = coalesce(excluded.identity, identity), target = coalesce(excluded.target, target), "
            "protocol = coalesce(excluded.protocol, protocol), rows = max(excluded.rows, rows)",
            [
                (s.key, s.session, s.identity, s.target, s.protocol, s.rows is not None)
                for s in streams.values()
            ],
        )
        db.executemany(
            "UPDATE meta SET value = ? WHERE name = ?",
            (
                (window.position, "position"),
                (window.place[0], "segment"),
                (window.place[1], "place"),
                (self.records + window.position - window.first, "records"),
            ),
        )

    def _row(self, no: int, window: int, each: Document) -> tuple[int, ...]:
        return (
            no,
            window,
            each.stream.key,
            self._name(each.kind),
            self._name(each.outcome),
            each.count,
            each.first,
            each.last,
            each.segment,
            each.offset,
            each.since,
            each.until,
        )

    def _name(self, text: str) -> int:
        number = self._names.get(text)
        if number is None:
            number = self._names[text] = len(self._names) + 1
            self._db.execute("INSERT INTO name VALUES (?, ?)", (number, text))
        return number

    def mark(self, rewritten: int) -> None:
        """Say up to which order (the number of its event) the journal's rewriting is taken account of."""
        with as_bad(self.part):
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'rewritten'", (rewritten,))
        self.rewritten = rewritten

    def finish(self) -> None:
        """No more will come: close it as one file, which can be read without writing beside it."""
        with as_bad(self.part):
            self._db.execute("PRAGMA journal_mode=DELETE")
        self.close()

    def close(self) -> None:
        """Close it; it can be opened again."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()


def _line(document: Document) -> str:
    line = " ".join(document.words)
    return line if line.isascii() else " ".join(map(stored, document.words))


def _number(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


@contextlib.contextmanager
def as_bad(part: Part) -> Iterator[None]:
    """Turn what SQLite raises into :class:`BadPart`, or ``OSError`` where the disk or a lock is to blame."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "disk" in str(error) or "locked" in str(error) or "unable to open" in str(error):
            raise OSError(f"{part.path}: {error}") from None
        raise BadPart(f"{part.path}: {error}") from None
    except (sqlite3.DatabaseError, KeyError, ValueError, TypeError) as error:
        raise BadPart(f"{part.path}: {error}") from None


def meta_of(part: Part, db: sqlite3.Connection, journal: bytes) -> dict[str, str | int]:
    """What a part says of itself. :raises BadPart: it is none of this version and journal."""
    meta = dict(db.execute("SELECT name, value FROM meta"))
    if meta["version"] != VERSION:
        raise BadPart(f"{part.path}: of version {meta['version']}, but {VERSION} is read here")
    if meta["journal"] != journal.hex():
        raise BadPart(f"{part.path}: of another journal")
    return meta
