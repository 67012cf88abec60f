"""Keeps the index up to date: takes records as the reader process hands them out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hoopproxy.errors import HoopproxyError
from hoopproxy.index.gathering import Gathering, Taken, Window
from hoopproxy.index.part import BadPart, Part, PartWriter
from hoopproxy.index.rows import RowTexts
from hoopproxy.index.shelf import Shelf

__all__ = ["Index", "Run"]

PART_RECORDS: Final = 1 << 21
PART_BYTES: Final = 128 << 20
"""Size of a part. Retention drops whole ones, and damage costs making one again."""

MAX_AGE: Final = 10.0
"""Seconds that records wait for their window to fill. A search reads those in the journal itself."""

_LOOK_AFTER: Final = 60.0

Run = Callable[[Callable[[], None]], "Deferred[None] | None"]
"""Carries out work that takes some milliseconds: at once, or in a thread."""


def _at_once(work: Callable[[], None]) -> None:
    work()


class Index:
    """A consumer of the trail (see ``hoopproxy.delivery``) that keeps its own place.

    :param rows_of: target name -> what reads the rows of its results, if they are to be searched.
    :param oldest: journal -> the first record that it still has; parts of older ones are dropped.
    :param reread: journal, first, end -> the records again, to make a damaged part anew.
    :param run: a thread's, in the reader process. Nothing is called while it is at work.
    """

    name = "index"
    log = Logger()

    def __init__(
        self,
        shelf: Shelf,
        *,
        rows_of: Callable[[str], RowTexts | None] = lambda target: None,
        oldest: Callable[[bytes], int] = lambda journal: 1,
        reread: Callable[[bytes, int, int], Iterator[Taken]] | None = None,
        run: Run = _at_once,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shelf, self._rows_of, self._oldest, self._reread = shelf, rows_of, oldest, reread
        self._run, self._clock = run, clock
        self._gatherings: dict[bytes, Gathering] = {}
        self._writers: dict[bytes, PartWriter] = {}
        self._begun: dict[bytes, float] = {}
        self._looked_after = clock()
        self._lock: int | None = None
        self.rebuilt = 0
        """Parts that were found damaged and made again."""

    def hold(self) -> None:
        """Become the one who writes. Done by itself; also harmless twice.

        :raises HoopproxyError: another process does.
        """
        if self._lock is None:
            self._lock = self._shelf.lock()
        if self._lock is None:
            raise HoopproxyError(
                f"{self._shelf.root}: another process keeps this index, most likely a gateway's; that one makes "
                "it again by itself when the folder is removed while it is stopped"
            )

    # --- the consumer --------------------------------------------------------------------------------------

    def position(self, journal: bytes) -> int:
        """The next record wanted."""
        parts = self._shelf.parts(journal)
        if not parts:
            return 1
        return self._open(journal, parts[-1]).position

    def take(self, journal: bytes, records: Sequence[Taken]) -> Deferred[None] | None:
        """Gather; a window that is full is written."""
        gathering = self._gatherings.get(journal)
        if gathering is None:
            gathering = Gathering(self.position(journal), self._rows_of)
            self._gatherings[journal] = gathering
        if gathering.is_empty:
            self._begun[journal] = self._clock()
        wanted = gathering.position
        if records and records[0].record.jseq > wanted and self._reread is not None:
            return self._run(partial(self._catch_up, journal, gathering, records))
        add = gathering.add
        for taken in records:
            if taken.record.jseq >= wanted:
                add(taken)
        return self._write([journal]) if gathering.is_full else None

    def _catch_up(self, journal: bytes, gathering: Gathering, records: Sequence[Taken]) -> None:
        """Records are missing before these: a part was lost meanwhile, or its segments are gone."""
        assert self._reread is not None
        try:
            for taken in chain(self._reread(journal, gathering.position, records[0].record.jseq), records):
                gathering.add(taken)
                if gathering.is_full:
                    self._put(journal, gathering.take())
        except BaseException:
            self._gatherings.pop(journal, None)
            raise

    def tick(self) -> Deferred[None] | None:
        """Write what has waited long enough; now and then look after the parts."""
        now = self._clock()
        due = [
            journal
            for journal, gathering in self._gatherings.items()
            if not gathering.is_empty and now - self._begun[journal] >= MAX_AGE
        ]
        look_after = now - self._looked_after >= _LOOK_AFTER
        if look_after:
            self._looked_after = now
        return self._write(due, look_after) if due or look_after else None

    def stop(self) -> Deferred[None] | None:
        """Write what waits, and close."""
        due = [journal for journal, each in self._gatherings.items() if not each.is_empty]
        windows = [(journal, self._gatherings[journal].take()) for journal in due]

        def work() -> None:
            try:
                for journal, window in windows:
                    self._put(journal, window)
            finally:
                for writer in self._writers.values():
                    writer.close()
                self._writers.clear()
                lock, self._lock = self._lock, None
                if lock is not None:
                    os.close(lock)

        return self._run(work)

    # --- writing -------------------------------------------------------------------------------------------

    def _write(self, journals: Sequence[bytes], look_after: bool = False) -> Deferred[None] | None:
        windows = [(journal, self._gatherings[journal].take()) for journal in journals]

        def work() -> None:
            try:
                for journal, window in windows:
                    self._put(journal, window)
            except BaseException:
                for journal, _ in windows:  # the records come again, from what was written on
                    self._gatherings.pop(journal, None)
                    writer = self._writers.pop(journal, None)
                    if writer is not None:
                        writer.close()
                raise
            if look_after:
                self._look_after()

        return self._run(work)

    def _put(self, journal: bytes, window: Window) -> None:
        writer = self._writers.get(journal)
        if writer is None:
            parts = self._shelf.parts(journal)
            self.hold()
            part = parts[-1] if parts else self._shelf.make(journal, window.first)
            writer = self._open(journal, part)
        if writer.records >= PART_RECORDS or writer.size >= PART_BYTES:
            self._writers.pop(journal).finish()
            writer = self._open(journal, self._shelf.make(journal, window.first))
        writer.write(window)

    def _open(self, journal: bytes, part: Part) -> PartWriter:
        writer = self._writers.get(journal)
        if writer is not None and writer.part == part:
            return writer
        self.hold()
        try:
            writer = PartWriter(part, journal)
        except BadPart as problem:
            self._set_aside(part, problem)
            writer = PartWriter(part, journal)
        self._writers[journal] = writer
        return writer

    def _set_aside(self, part: Part, problem: BadPart) -> None:
        aside = self._shelf.set_aside(part)
        self.rebuilt += 1
        self.log.error(
            "the search index is damaged ({why}); it is set aside as {aside} and made again",
            why=str(problem),
            aside=aside.name,
        )

    # --- looking after ------------------------------------------------------------------------------------

    def _look_after(self) -> None:
        for journal in self._shelf.journals():
            self._shelf.drop_before(journal, self._oldest(journal))
            for part in self._shelf.suspects(journal):
                self._check(journal, part)

    def _check(self, journal: bytes, part: Part) -> None:
        current = self._writers.get(journal)
        if current is not None and current.part == part:
            return  # it is written to without complaint; damage in it is found when it is opened again
        try:
            PartWriter(part, journal).finish()
        except BadPart as problem:
            self._set_aside(part, problem)
            self.rebuild(journal, part)

    def rebuild(self, journal: bytes, part: Part) -> None:
        """Make a part again that others follow, from the journal."""
        following = [each for each in self._shelf.parts(journal) if each.first > part.first]
        if self._reread is None or not following:
            return
        end = following[0].first
        gathering = Gathering(part.first, self._rows_of)
        writer = PartWriter(part, journal)
        try:
            for taken in self._reread(journal, part.first, end):
                gathering.add(taken)
                if gathering.is_full:
                    writer.write(gathering.take())
            if not gathering.is_empty:
                writer.write(gathering.take())
            writer.finish()
        except BaseException:
            writer.close()
            raise
