"""A part of the index, read: which records are worth reading."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import attrs

from hoopproxy.index.part import Part, as_bad, meta_of

__all__ = ["Candidate", "PartReader", "Restriction", "Source"]

_QUERY: Final = """
SELECT window, stream, first, last, segment, place, count,
  (SELECT mark FROM shown WHERE shown.no = document.no) FROM document
WHERE (:words IS NULL OR no IN (
    SELECT rowid FROM word WHERE word MATCH coalesce(:words, '"none"') UNION ALL SELECT no FROM cut))
  AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds)))
  AND (:outcomes IS NULL OR outcome IN (SELECT value FROM json_each(:outcomes)))
  AND (:streams IS NULL OR stream IN (SELECT value FROM json_each(:streams))
    OR kind IN (SELECT value FROM json_each(:anywhere)))
  AND until >= :since AND since <= :until
ORDER BY no DESC
"""
_FOREVER: Final = (1 << 63) - 1


@attrs.frozen(kw_only=True)
class Source:
    """A stream of events as the index knows it; what is ``None`` isn't known, so it may be anything.

    ``rows``: the rows of its results are searched too.
    """

    key: int
    session: bytes | None
    identity: str | None
    target: str | None
    protocol: str | None
    rows: bool


@attrs.frozen(kw_only=True)
class Restriction:
    """Which documents are asked for. ``expression``: as of ``Query.expression``. ``since`` and ``until``: Unix
    ns, 0 for any. The functions tell for a kind, an outcome, a stream whether it is wanted; the gateway's own
    stream always is, and so are the kinds of ``anywhere`` in every one."""

    expression: str = ""
    kind: Callable[[str], bool] | None = None
    outcome: Callable[[str], bool] | None = None
    stream: Callable[[Source], bool] | None = None
    anywhere: tuple[str, ...] = ()
    since: int = 0
    until: int = 0


@attrs.frozen(kw_only=True)
class Candidate:
    """Where events may be: records of a key from ``first`` to ``last``, from that block on. ``mark``: where reading
    what they showed begins, if it is that."""

    window: int
    key: int
    first: int
    last: int
    segment: int
    offset: int
    count: int
    mark: str | None = None


class PartReader:
    """A part as it is now. Close it. Every error is ``BadPart`` or ``OSError``."""

    def __init__(self, part: Part, journal: bytes) -> None:
        self.part = part
        with as_bad(part):
            uri = part.path.absolute().as_uri() + "?mode=ro"
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)
            try:
                self._db.execute("BEGIN")  # one view of it, whatever is written meanwhile
                meta = meta_of(part, self._db, journal)
                self.position, self.rewritten = int(meta["position"]), int(meta["rewritten"])
                self.place = int(meta["segment"]), int(meta["place"])
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> PartReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._db.close()

    @property
    def counts(self) -> tuple[int, int, int]:
        """Windows, documents, events."""
        with as_bad(self.part):
            row = self._db.execute(
                "SELECT (SELECT count(*) FROM window), count(*), coalesce(sum(count), 0) FROM document"
            ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    def sources(self) -> Iterator[Source]:
        """Every stream that has a document here."""
        with as_bad(self.part):
            for row in self._db.execute("SELECT no, session, identity, target, protocol, rows FROM stream"):
                key, session, identity, target, protocol, rows = row
                yield Source(
                    key=key,
                    session=session,
                    identity=identity,
                    target=target,
                    protocol=protocol,
                    rows=bool(rows),
                )

    def windows(self, wanted: Restriction) -> Iterator[tuple[int, list[Candidate]]]:
        """Windows that have candidates, newest first: the time of each one's last record (Unix ns), and the
        candidates."""
        with as_bad(self.part):
            until = dict(self._db.execute("SELECT no, until FROM window"))
            current: list[Candidate] = []
            for window, key, first, last, segment, offset, count, mark in self._rows(wanted):
                if current and current[0].window != window:
                    yield until[current[0].window], current
                    current = []
                current.append(
                    Candidate(
                        window=window,
                        key=key,
                        first=first,
                        last=last,
                        segment=segment,
                        offset=offset,
                        count=count,
                        mark=mark,
                    )
                )
            if current:
                yield until[current[0].window], current

    def _rows(self, wanted: Restriction) -> Iterator[Sequence[Any]]:
        names = self._db.execute("SELECT no, text FROM name").fetchall()

        def named(test: Callable[[str], bool] | None) -> str | None:
            return None if test is None else json.dumps([no for no, text in names if test(text)])

        stream = wanted.stream
        streams = (
            None
            if stream is None
            else json.dumps([each.key for each in self.sources() if each.key == 0 or stream(each)])
        )
        values = {
            "words": wanted.expression or None,
            "kinds": named(wanted.kind),
            "outcomes": named(wanted.outcome),
            "streams": streams,
            "anywhere": named(wanted.anywhere.__contains__),
            "since": wanted.since,
            "until": wanted.until or _FOREVER,
        }
        yield from self._db.execute(_QUERY, values)
