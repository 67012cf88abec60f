"""Keeps the index up to date: takes records as the reader process hands them out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred

from hoopproxy.errors import HoopproxyError
from hoopproxy.index.documents import Taken, Window
from hoopproxy.index.gathering import Gathering
from hoopproxy.index.looking import PartReader
from hoopproxy.index.part import BadPart, Part, PartWriter
from hoopproxy.index.rows import RowTexts
from hoopproxy.index.screens import Screens
from hoopproxy.index.shelf import Shelf

__all__ = ["Index", "Journals", "Run"]

PART_RECORDS: Final = 1 << 21
PART_BYTES: Final = 128 << 20
"""Size of a part. Retention drops whole ones, and damage or an erasure costs making one again."""

MAX_AGE: Final = 10.0
"""Seconds that records wait for their window to fill. A search reads those in the journal itself."""

LOOK_AFTER: Final = 60.0
"""Seconds between looks for what was rewritten, retired or damaged."""

_BATCH: Final = 500

Run = Callable[[Callable[[], None]], "Deferred[None] | None"]
"""Carries out work that takes some milliseconds: at once, or in a thread."""


def _at_once(work: Callable[[], None]) -> None:
    work()


def _nothing(journal: bytes, first: int, end: int) -> Iterator[Taken]:
    return iter(())


@attrs.frozen(kw_only=True)
class Journals:
    """What must be known of the journals themselves.

    :ivar oldest: the first record that a journal still has; parts of older ones are dropped.
    :ivar reread: journal, first, end -> these records again.
    :ivar rewritten: journal, first, end -> the number of the last event by whose order records between were
        erased or expired; 0 for none. What is made again from the journal lacks their words.
    """

    oldest: Callable[[bytes], int] = lambda journal: 1
    reread: Callable[[bytes, int, int], Iterator[Taken]] = _nothing
    rewritten: Callable[[bytes, int, int], int] = lambda journal, first, end: 0


class Index:
    """A consumer of the trail (see ``hoopproxy.delivery``) that keeps its own place.

    :param rows_of: target name -> what reads the rows of its results, if they are to be searched.
    :param screens_of: target name -> what reads what its sessions showed, if that is to be searched.
    :param run: a thread's, in the reader process. Nothing is called while it is at work.
    :param tell: a sentence for the log.
    """

    name = "index"
    holds = False
    """Retention doesn't wait: what is gone from the journal needs not be found."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        rows_of: Callable[[str], RowTexts | None] = lambda target: None,
        screens_of: Callable[[str], Screens | None] | None = None,
        journals: Journals | None = None,
        run: Run = _at_once,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._shelf, self._rows_of, self._journals = shelf, rows_of, journals or Journals()
        self._screens_of = screens_of
        self._run, self._clock, self._tell = run, clock, tell
        self._gatherings: dict[bytes, Gathering] = {}
        self._writers: dict[bytes, PartWriter] = {}
        self._begun: dict[bytes, float] = {}
        self._durable: dict[bytes, int] = {}
        self._looked_after = clock()
        self._lock: int | None = None
        self.rebuilt = 0
        """Parts that were made again: damaged, or of records that were erased."""

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
        """The next record wanted, as far as what came before is durable."""
        known = self._durable.get(journal)
        if known is None:
            known = self._durable[journal] = self._shelf.position(journal)
        return known

    def begin_again(self, journal: bytes) -> None:
        """Forget the journal: it ends before our place, so what is here is of what a restored backup has lost."""
        self.hold()
        self._give_up(journal)
        self._shelf.drop(journal)

    def take(self, journal: bytes, records: Sequence[Taken]) -> Deferred[None] | None:
        """Gather; a window that is full is written."""
        gathering = self._gatherings.get(journal)
        if gathering is None:
            gathering = Gathering(self.position(journal), self._rows_of, self._screens_of)
            self._gatherings[journal] = gathering
        if gathering.is_empty:
            self._begun[journal] = self._clock()
        wanted = gathering.position
        if records and records[0].record.jseq < wanted:  # some of them; told as turns they are cut here
            records = [taken for taken in records if taken.record.jseq >= wanted]
        gathering.extend(records)
        return self._write([journal]) if gathering.is_full else None

    def tick(self) -> Deferred[None] | None:
        """Write what has waited long enough; now and then look after the parts."""
        now = self._clock()
        look_after = now - self._looked_after >= LOOK_AFTER
        due = [
            journal
            for journal, gathering in self._gatherings.items()
            if not gathering.is_empty and (look_after or now - self._begun[journal] >= MAX_AGE)
        ]
        if look_after:
            self._looked_after = now
        return self._write(due, look_after) if due or look_after else None

    def stop(self) -> Deferred[None] | None:
        """Write what waits, and close."""
        windows = self._windows([each for each, one in self._gatherings.items() if not one.is_empty])

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

    def status(self) -> dict[str, Any]:
        """For ``hoopproxy audit sinks``."""
        return {"rebuilt": self.rebuilt}

    # --- writing -------------------------------------------------------------------------------------------

    def _windows(self, journals: Sequence[bytes]) -> list[tuple[bytes, Window]]:
        return [(journal, self._gatherings[journal].take()) for journal in journals]

    def _write(self, journals: Sequence[bytes], look_after: bool = False) -> Deferred[None] | None:
        windows = self._windows(journals)

        def work() -> None:
            for journal, window in windows:
                try:
                    self._put(journal, window)
                except BaseException:
                    self._give_up(journal)
                    raise
            if look_after:
                self._look_after()

        return self._run(work)

    def _give_up(self, journal: bytes) -> None:
        """What was gathered is lost; the records come again, from what was written on."""
        self._gatherings.pop(journal, None)
        self._durable.pop(journal, None)
        writer = self._writers.pop(journal, None)
        if writer is not None:
            writer.close()

    def _put(self, journal: bytes, window: Window) -> None:
        writer = self._writers.get(journal)
        if writer is None:
            self.hold()
            parts = self._shelf.parts(journal)
            part = parts[-1] if parts else self._shelf.make(journal, window.first)
            writer = self._open(journal, part)
        if writer.records >= PART_RECORDS or writer.size >= PART_BYTES:
            self._writers.pop(journal).finish()
            writer = self._open(journal, self._shelf.make(journal, window.first))
        if window.first > writer.position:
            self._fill(journal, writer, window.first)
        writer.write(window)
        self._durable[journal] = writer.position

    def _fill(self, journal: bytes, writer: PartWriter, end: int) -> None:
        """Records are missing before a window: a part was lost meanwhile, or their segments are gone."""
        gathering = Gathering(writer.position, self._rows_of, self._screens_of)
        again = self._journals.reread(journal, writer.position, end)
        while batch := list(islice(again, _BATCH)):
            gathering.extend(batch)
            if gathering.is_full:
                writer.write(gathering.take())
        if not gathering.is_empty:
            writer.write(gathering.take())

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
        self._tell(f"the search index is damaged ({problem}); it is set aside as {aside.name} and made again")

    # --- looking after ------------------------------------------------------------------------------------

    def _look_after(self) -> None:
        for journal in self._shelf.journals():
            self._shelf.drop_before(journal, self._journals.oldest(journal))
            suspects = set(self._shelf.suspects(journal))
            for part in self._shelf.parts(journal):
                self._look_at(journal, part, part in suspects)

    def _look_at(self, journal: bytes, part: Part, is_suspect: bool) -> None:
        """Make a part again if it is damaged, or knows words of records that were erased or have expired."""
        current = self._writers.get(journal)
        if current is not None and current.part == part:
            known, end = current.rewritten, current.position
        else:
            try:
                if is_suspect:
                    PartWriter(part, journal).finish()  # which looks at all of it
                with PartReader(part, journal) as reader:
                    known, end = reader.rewritten, reader.position
            except BadPart as problem:
                self._set_aside(part, problem)
                self._make_again(journal, part, self._end_of(journal, part))
                return
        if self._journals.rewritten(journal, part.first, end) > known:
            self._make_again(journal, part, end)
            self.rebuilt += 1

    def _end_of(self, journal: bytes, part: Part) -> int:
        later = [each.first for each in self._shelf.parts(journal) if each.first > part.first]
        return min(later, default=part.first)

    def _make_again(self, journal: bytes, part: Part, end: int) -> None:
        """Put a new part in an old one's place, from what the journal has now."""
        rewritten = self._journals.rewritten(journal, part.first, end)
        fresh = part.beside()
        fresh.remove()
        gathering = Gathering(part.first, self._rows_of, self._screens_of)
        writer = PartWriter(fresh, journal)
        try:
            again = self._journals.reread(journal, part.first, end)
            while batch := list(islice(again, _BATCH)):
                gathering.extend(batch)
                if gathering.is_full:
                    writer.write(gathering.take())
            gathering.position = end  # what is missing there is gone
            writer.write(gathering.take())
            writer.mark(rewritten)
            writer.finish()
        except BaseException:
            writer.close()
            fresh.remove()
            raise
        old = self._writers.get(journal)
        if old is not None and old.part == part:
            self._writers.pop(journal).close()
        part.remove()
        fresh.path.rename(part.path)
