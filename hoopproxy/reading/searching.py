"""Finding events by what was said in them: the index says where to look, what is in the journal decides.

What the index doesn't know yet, or has lost, is looked for in the journal itself. So an answer is complete
whatever the index is like; without one it only takes longer.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import heapq
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs

from hoopproxy.errors import Damaged
from hoopproxy.events import canonical
from hoopproxy.index.looking import Candidate, PartReader, Restriction, Source
from hoopproxy.index.part import BadPart
from hoopproxy.index.rows import Rows, RowTexts
from hoopproxy.index.saying import texts_of
from hoopproxy.index.screens import KIND, Screens
from hoopproxy.index.shelf import Shelf, folder_of
from hoopproxy.index.words import Query
from hoopproxy.journal.chunks import Chunk
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind, UnsupportedFormat
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record, chunk_of
from hoopproxy.journal.watermark import read_mark
from hoopproxy.reading.answers import Answer, EventLine, LeftOut, Problem, Progress, Remark
from hoopproxy.reading.filters import Envelope, Filter
from hoopproxy.reading.journals import Looking, event_of, nanoseconds, readable
from hoopproxy.reading.scope import ELSEWHERE, Scope

__all__ = ["MOST", "Search", "search"]

MOST: Final = 10_000
"""Events of one answer: each is kept in memory until the newest are known."""

_BEHIND: Final = 50_000
"""Records that the index may be behind without a word: they are read in a fraction of a second."""

_APART: Final = 8
"""Candidates of a window that are read by themselves, newest first; the rest in one go."""

_LATE: Final = 120_000_000_000
"""Ns that an event may be older than its block says: the journal's lag at most, and a clock set back a bit."""

_READ: Final = "audit.read"
_NEVER: Final = 1 << 63

Piece = EventLine | Progress | Problem | Remark


@attrs.frozen(kw_only=True)
class Search:
    """What is looked for, by whom. ``row_texts``: a protocol's name -> what reads the rows of its results,
    ``screen_texts``: what reads what its sessions showed.
    ``keys``: where there is no index, only records of these key ids are looked at."""

    query: Query
    filter: Filter
    scope: Scope
    row_texts: Callable[[str], RowTexts | None] = lambda protocol: None
    screen_texts: Callable[[str], Screens | None] = lambda protocol: None
    keys: frozenset[int] | None = None

    def may_match(self, body: bytes) -> bool:
        """See :class:`hoopproxy.reading.filters.Wanted`."""
        return self.query.may_match(body) and self.filter.may_match(body)

    def matches(self, event: Envelope, rows: Sequence[str] = ()) -> bool:
        """Whether the event is one; ``rows``: texts of its result."""
        if not self.filter.matches(event) or not self.scope.covers(event):
            return False
        if self.query.terms and not self.filter.kinds and event.get("kind") == _READ:
            return False  # it holds what was looked for: every search would find itself and those before
        return not self.query.terms or self.query.matches([*texts_of(event), *rows])

    def restriction(self) -> Restriction:
        """For the index: never leaves out what matches."""
        wanted, scope = self.filter, self.scope
        nothing = not (wanted.identities or wanted.targets or wanted.protocols) and scope.everything
        return Restriction(
            expression=self.query.expression(),
            kind=wanted.is_kind if wanted.kinds else None,
            outcome=wanted.is_outcome if wanted.outcomes else None,
            stream=None if nothing else self._of_stream,
            anywhere=ELSEWHERE,
            since=nanoseconds(wanted.since),
            until=nanoseconds(wanted.until) + _LATE if wanted.until else 0,
        )

    def _of_stream(self, source: Source) -> bool:
        known: dict[str, Any] = {"protocol": source.protocol}
        if source.identity is None or source.target is None:
            return True  # not all is known of it
        known["identity"], known["target"] = {"id": source.identity}, {"name": source.target}
        return self.filter.about_session(known) and self.scope.covers(known)


def search(folders: Sequence[Folder], wanted: Search, limit: int = 0) -> Iterator[Answer]:
    """The newest ``limit`` events (0: :data:`MOST`) that match, oldest first."""
    limit = min(limit or MOST, MOST)
    with contextlib.ExitStack() as stack:
        newest: list[tuple[str, str, int, EventLine]] = []
        more = False
        stretches = [_Journal(folder, wanted, limit + 1, stack).stretches() for folder in folders]
        for until, read in heapq.merge(*stretches, key=lambda stretch: -stretch[0]):
            if len(newest) >= limit and _text(until) < newest[0][0]:
                more = True
                break
            for piece in read():
                if not isinstance(piece, EventLine):
                    yield piece
                    continue
                event = piece.event
                entry = (str(event["time"]), str(event["journal"]), int(event["jseq"]), piece)
                if len(newest) < limit:
                    heapq.heappush(newest, entry)
                else:
                    more = True
                    heapq.heappushpop(newest, entry)
        yield from (entry[3] for entry in sorted(newest, key=lambda entry: entry[:3]))
        if more:
            yield LeftOut(-1)


def _text(ns: int) -> str:
    """As the trail writes times; later than any for what has no end."""
    return "9" if ns >= _NEVER else _time(ns + 1_000_000)


def _time(ns: int) -> str:
    seconds, ns = divmod(ns, 1_000_000_000)
    when = dt.datetime.fromtimestamp(seconds, dt.UTC).replace(microsecond=ns // 1000)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


Stretch = tuple[int, Callable[[], Iterator[Piece]]]
"""The time of its last record (Unix ns), and what reads its events."""


class _Journal:
    """One journal and its index."""

    def __init__(self, folder: Folder, wanted: Search, limit: int, stack: contextlib.ExitStack) -> None:
        self._folder, self._wanted, self._limit, self._stack = folder, wanted, limit, stack
        self._shelf = Shelf(folder_of(folder.path.parent.parent))
        self._reader: JournalReader | None = None
        self._sources: dict[int, Source] = {}
        self._problems: set[str] = set()

    def stretches(self) -> Iterator[Stretch]:
        """Newest first. Where no index is, a stretch is everything there."""
        end: int | None = None
        for part in reversed(self._shelf.parts(self._folder.id)):
            try:
                reader = self._stack.enter_context(PartReader(part, self._folder.id))
                if end is None or reader.position < end:
                    yield self._unindexed(reader.position, end, end is None, reader.place)
                yield from self._indexed(reader)
            except (BadPart, OSError) as problem:
                self._shelf.suspect(part)
                yield (
                    _NEVER,
                    partial(self._scan, part.first, end, f"the index can't be used here ({problem})"),
                )
            end = part.first
        if end is None:
            yield _NEVER, partial(self._scan, 1, None, "there is no index of it")
        elif end > 1:
            yield self._unindexed(1, end, False)

    # --- without the index -----------------------------------------------------------------------------

    def _unindexed(
        self, first: int, end: int | None, is_tail: bool, place: tuple[int, int] | None = None
    ) -> Stretch:
        behind = read_mark(self._folder.files, self._folder.watermark).jseq - first if is_tail else 0
        why = f"the index is {behind:,} records behind" if behind > _BEHIND else ""
        return _NEVER, partial(self._scan, first, end, why, place)

    def _scan(
        self, first: int, end: int | None, why: str, place: tuple[int, int] | None = None
    ) -> Iterator[Piece]:
        folder, wanted = self._folder, self._wanted
        if why:
            yield Remark(f"journal {folder.path.name}: {why}, so the journal itself is searched")
        looking = Looking((folder,))
        try:
            since = nanoseconds(wanted.filter.since)
            with JournalReader(folder, since=first, since_time=since, keys=wanted.keys) as reader:
                reader.seek(first, wanted.keys, place)
                for record in readable(reader):
                    if isinstance(record, Problem):
                        yield record
                        continue
                    if end is not None and record.jseq >= end:
                        return
                    report = looking.report(folder, record)
                    if report is not None:
                        yield report
                    yield from self._judged(record)
        except (Damaged, UnsupportedFormat) as error:
            yield Problem("damaged", str(error))
        except OSError as error:
            yield Problem("failed", f"{folder.path}: {error.strerror or type(error).__name__}")

    def _judged(self, record: Record) -> Iterator[EventLine]:
        kind = record.kind
        if kind == Kind.CHUNK or (kind == Kind.EVENT and not self._wanted.may_match(record.opened())):
            return
        line = event_of(record, self._folder)
        if line is not None and self._wanted.matches(line.event):
            yield line

    # --- with it -----------------------------------------------------------------------------------------

    def _indexed(self, part: PartReader) -> Iterator[Stretch]:
        self._sources = {each.key: each for each in part.sources()}
        for until, candidates in part.windows(self._wanted.restriction()):
            yield until, partial(self._window, candidates, dict(self._sources))

    def _window(self, candidates: list[Candidate], known: Mapping[int, Source]) -> Iterator[Piece]:
        if self._reader is None:
            self._reader = self._stack.enter_context(JournalReader(self._folder))
        found: dict[int, EventLine] = {}
        limit = self._limit
        sources = {key: source for key, source in known.items() if source.rows}
        waiting = sorted((each for each in candidates if each.mark is None), key=lambda each: each.last)
        try:
            shown = [each for each in candidates if each.mark is not None] if self._wanted.query.terms else []
            for each in sorted(shown, key=lambda each: -each.last):
                if len(found) >= limit and each.last < heapq.nlargest(limit, found)[-1]:
                    break
                if each.key in known:
                    yield from self._shown(self._reader, each, known[each.key], found)
            for _ in range(_APART):
                if not waiting or (
                    len(found) >= limit and waiting[-1].last < heapq.nlargest(limit, found)[-1]
                ):
                    waiting = []
                    break
                one = waiting.pop()
                self._reader.seek(one.first, frozenset((one.key,)), (one.segment, one.offset))
                yield from self._pass(self._reader, one.last, sources, found)
            if waiting:
                start = min(waiting, key=lambda each: each.first)
                keys = frozenset(each.key for each in waiting)
                self._reader.seek(start.first, keys, (start.segment, start.offset))
                yield from self._pass(self._reader, waiting[-1].last, sources, found)
        except (Damaged, UnsupportedFormat) as error:
            yield from self._once(Problem("damaged", str(error)))
        except OSError as error:
            yield Problem("failed", f"{self._folder.path}: {error.strerror or type(error).__name__}")
        yield from (found[jseq] for jseq in sorted(found)[-limit:])

    def _once(self, problem: Problem) -> Iterator[Problem]:
        """Many candidates may lie about the same damage."""
        if problem.sentence not in self._problems:
            self._problems.add(problem.sentence)
            yield problem

    def _pass(
        self, reader: JournalReader, last: int, sources: Mapping[int, Source], found: dict[int, EventLine]
    ) -> Iterator[Problem]:
        """Add the events that match, by number, up to record ``last``; damage on the way is told."""
        rows: dict[int, Rows] = {}
        for record in readable(reader):
            if isinstance(record, Problem):
                yield from self._once(record)
                continue
            if record.jseq > last:
                break
            if sources and record.key_id in sources:
                lines = self._with_rows(record, sources[record.key_id], rows)
            else:
                lines = self._judged(record)
            found.update((record.jseq, line) for line in lines)

    def _with_rows(self, record: Record, source: Source, rows: dict[int, Rows]) -> Iterator[EventLine]:
        held = rows.get(record.key_id)
        if held is None:
            texts = self._wanted.row_texts(source.protocol or "")
            if texts is None:
                yield from self._judged(record)
                return
            held = rows[record.key_id] = Rows(texts)
        if record.kind == Kind.CHUNK:
            held.feed(record)
            return
        line = event_of(record, self._folder)
        if line is None:
            return
        said: list[str] = []
        if line.event.get("kind") == "command.result":
            said = list(held.result(line.event)[0])
        if self._wanted.matches(line.event, said):
            yield line

    # --- what was shown ------------------------------------------------------------------------------------

    def _shown(
        self, reader: JournalReader, about: Candidate, source: Source, found: dict[int, EventLine]
    ) -> Iterator[Problem]:
        """Add what the session showed and is looked for, by the number of its chunk. Damage ends it: what a screen
        shows is made of all that was sent."""
        screens = self._wanted.screen_texts(source.protocol or "")
        if screens is None:
            return
        reader.seek(about.first, frozenset((about.key,)), (about.segment, about.offset))
        texts = screens(about.mark or "")
        last: tuple[Record, Chunk] | None = None
        try:
            for record in reader:
                if record.jseq > about.last:
                    break
                if record.kind == Kind.CHUNK and not record.is_closed:
                    last = record, chunk_of(record)
                    self._take_shown(found, last, texts.feed(last[1]), source)
        except Damaged as error:
            yield from self._once(Problem("damaged", str(error)))
        if last is not None:
            self._take_shown(found, last, texts.rest(), source)

    def _take_shown(
        self,
        found: dict[int, EventLine],
        at: tuple[Record, Chunk],
        texts: Iterable[tuple[str, str]],
        source: Source,
    ) -> None:
        record, chunk = at
        for channel, text in list(texts):  # all of it, so that the reading comes to the chunk's end
            if record.jseq in found:
                return
            line = _output(record, chunk, channel, text, source, self._folder)
            if self._wanted.matches(line.event):
                found[record.jseq] = line


def _output(
    record: Record, chunk: Chunk, channel: str, text: str, source: Source, folder: Folder
) -> EventLine:
    """A text that was shown, in an event's form: it is none on record, so it has no id."""
    event: dict[str, Any] = {
        "event": {"channel": channel, "text": text},
        "journal": folder.path.name,
        "jseq": record.jseq,
        "kind": KIND,
        "mono": chunk.mono,
        "protocol": source.protocol or "",
        "session": str(uuid.UUID(bytes=chunk.session)),
        "time": _time(record.time),
        "v": 1,
    }
    if source.identity is not None:
        event["identity"] = {"id": source.identity}
    if source.target is not None:
        event["target"] = {"name": source.target}
    return EventLine(canonical(event), event)
