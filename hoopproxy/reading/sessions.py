"""Sessions in the journals: which there are, where one of them is, and what was recorded of it."""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import attrs
import orjson

from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.chunks import Chunk
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.letter import Letter, Letters
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record, chunk_of
from hoopproxy.reading.answers import Answer, EventLine, LeftOut, Problem
from hoopproxy.reading.filters import Envelope, Filter
from hoopproxy.reading.journals import Looking, Told, event_of, matching, nanoseconds, readable
from hoopproxy.reading.scope import Scope
from hoopproxy.reading.sealed import covering
from hoopproxy.reading.summary import TELLING, SessionSummary, Summaries

__all__ = [
    "Found",
    "NoSuchSession",
    "events_of",
    "exported",
    "find_session",
    "list_sessions",
    "recording",
    "session_events",
    "short_id",
]

SHORTEST: Final = 4
"""Characters that name a session at least; fewer would be a guess."""

MOST: Final = 100_000
"""Sessions of one list: about a kilobyte of memory each, for them and for twice as many that are looked
at."""

_LOOK: Final = 1000  # events of a session that are read to learn whose it is
_SUGGESTED: Final = 3
_NEVER: Final = 1 << 64


class NoSuchSession(HoopproxyError):
    """No session, or more than one, goes by that name; the text says which come close."""


def short_id(session: str) -> str:
    """How a session is named in a table: the end of its id, for ids of one moment begin alike."""
    return session[-8:]


# --- listing ----------------------------------------------------------------------------------------------


def list_sessions(
    folders: Sequence[Folder], wanted: Filter, scope: Scope, limit: int = 0, every: bool = False
) -> Iterator[Answer]:
    """Summaries of the newest ``limit`` sessions (0: :data:`MOST`) that match, oldest first."""
    limit = limit or MOST
    looking = Looking(folders)
    found: list[SessionSummary] = []
    left_out = 0
    for folder in folders:
        summaries = Summaries(wanted, limit, every)
        with JournalReader(folder, since_time=nanoseconds(wanted.since)) as reader:
            for told in matching(reader, folder, _Telling(wanted), scope, looking):
                if isinstance(told, EventLine):
                    summaries.add(told.event)
                else:
                    yield told
        listed = summaries.listed()
        if not folder.is_live:
            for summary in listed:
                if summary.state == "live":
                    summary.state = "unfinished"
        found.extend(listed)
        left_out += summaries.left_out
    found.sort(key=lambda each: each.started)
    if limit and len(found) > limit:
        left_out += len(found) - limit
        found = found[-limit:]
    yield from found
    if left_out:
        yield LeftOut(left_out)


class _Telling:
    """Wants whatever changes a summary or makes a session match; the summary itself decides on the rest."""

    def __init__(self, wanted: Filter) -> None:
        self._wanted = wanted if wanted.about_single_events else None

    def may_match(self, body: bytes) -> bool:
        return any(kind in body for kind in TELLING) or (
            self._wanted is not None and self._wanted.may_match(body)
        )

    def matches(self, event: Envelope) -> bool:
        return "session" in event


# --- finding ----------------------------------------------------------------------------------------------


@attrs.frozen
class Found:
    """A session's id, the journal that has it, its keys there, Unix ns of the first, and whether it is erased."""

    session: str
    folder: Folder
    keys: frozenset[int]
    since: int
    is_erased: bool = False

    def reader(self) -> JournalReader:
        """Its records. Close it."""
        found = JournalReader(self.folder, from_time=max(self.since - 1_000_000_000, 0), keys=self.keys)
        if self._is_at_its_beginning(found):
            found.rewind()
            return found
        # The clock was set back between this session's beginning and the next segment's.
        found.close()
        return JournalReader(self.folder, keys=self.keys)

    def _is_at_its_beginning(self, reader: JournalReader) -> bool:
        try:
            first = next((each for each in reader if each.kind == Kind.EVENT), None)
            return first is not None and orjson.loads(first.opened()).get("seq") == 1
        except (HoopproxyError, OSError, ValueError):
            return True  # who reads it is told


def _known(folder: Folder) -> Iterator[Found]:
    """The sessions that have a key in a journal, newest first, read as they are asked for."""
    keys = KeyFile.open(folder.files, folder.keys, folder.id)
    try:
        for number in range(keys.count - 1, 0, -1):
            key = keys.get(number)
            if key.session != bytes(16):
                name = str(uuid.UUID(bytes=key.session))
                yield Found(name, folder, frozenset((key.id,)), key.created, key.is_erased)
    finally:
        keys.close()


def _newest_first(folders: Sequence[Folder]) -> Iterator[Found]:
    return heapq.merge(*map(_known, folders), key=lambda each: -each.since)


def _may_see(found: Found, scope: Scope, started: bool = False) -> bool:
    """Whether the session is in scope; with ``started``, whether anybody logged in to it as well."""
    if scope.everything and not started:
        return True
    covered = False
    with found.reader() as reader:
        for count, record in enumerate(readable(reader)):
            if isinstance(record, Problem):
                continue  # who reads it is told
            line = event_of(record, found.folder) if record.kind == Kind.EVENT else None
            if line is not None and scope.covers(line.event):
                covered = True
                if not started or "identity" in line.event:
                    return True
            if count > _LOOK:
                break
    return covered and not started


def find_session(folders: Sequence[Folder], name: str, scope: Scope) -> Found:
    """The session of that name: its id, the beginning or the end of it, or ``last``.

    :raises NoSuchSession: if there is none or more than one *that may be seen*: the rest does not exist.
    """
    if name == "last":
        for each in _newest_first(folders):
            if _may_see(each, scope, started=True):
                return each
        whose = "" if scope.everything else " that you may read"
        raise NoSuchSession(f"no session is on record yet{whose}")
    wanted = name.lower().replace("-", "")
    if len(wanted) < SHORTEST:
        raise NoSuchSession(f"{name!r} is too short; say at least {SHORTEST} characters of the session's id")
    named = (each for each in _newest_first(folders) if _is_named(each.session, wanted))
    seen = list(islice((each for each in named if _may_see(each, scope)), _SUGGESTED + 1))
    if len({each.session for each in seen}) == 1:
        if seen[0].is_erased:
            raise NoSuchSession(
                f"session {seen[0].session} was erased; `hoopproxy audit tail --kind audit.erasure` shows the order"
            )
        return attrs.evolve(
            seen[0], keys=frozenset().union(*(each.keys for each in seen)), since=seen[-1].since
        )
    if seen:
        names = ", ".join(each.session for each in seen[:_SUGGESTED])
        more = " and more" if len(seen) > _SUGGESTED else ""
        raise NoSuchSession(f"{name[:40]!r} is more than one session: {names}{more}; say more of it")
    raise NoSuchSession(f"no session {name[:40]!r}{_suggestion(folders, wanted, scope)}")


def _is_named(session: str, wanted: str) -> bool:
    plain = session.replace("-", "")
    return plain.startswith(wanted) or plain.endswith(wanted)


def _suggestion(folders: Sequence[Folder], wanted: str, scope: Scope) -> str:
    def alike(found: Found) -> int:
        plain = found.session.replace("-", "")
        ahead = _common(plain, wanted)
        return max(ahead, _common(plain[::-1], wanted[::-1]))

    best = heapq.nlargest(_SUGGESTED, _newest_first(folders), key=alike)
    names = [each.session for each in best if alike(each) >= 3 and _may_see(each, scope)]
    if not names:
        return "; `hoopproxy audit sessions` lists what there is"
    return f"; did you mean {' or '.join(names)}?"


def _common(one: str, other: str) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def events_of(found: Found) -> Iterator[EventLine]:
    """The events of a session, whoever asks."""
    with found.reader() as reader:
        for record in reader:
            line = event_of(record, found.folder) if record.kind == Kind.EVENT else None
            if line is not None:
                yield line


# --- one session ------------------------------------------------------------------------------------------


def session_events(found: Found, wanted: Filter, scope: Scope) -> Iterator[Told]:
    """The events of a session that match, in order."""
    with found.reader() as reader:
        yield from matching(reader, found.folder, wanted, scope, Looking((found.folder,)))


def recording(found: Found, scope: Scope) -> Iterator[Answer]:
    """A session's events and chunks, in an order that can be shown as it comes.

    Commands and their results lead and chunks follow behind them, so that a reader knows of each result (its command,
    its tag, its error) before its bytes come: after ``command.result`` come all the chunks up to the end of its range.
    What was seen in the bytes comes behind them.
    Two passes go through the journal side by side; neither holds more than one record.
    """
    with found.reader() as ahead, found.reader() as behind:
        chunks = _Behind(behind, found.folder)
        try:
            for record in ahead:
                line = event_of(record, found.folder)
                if line is None or not scope.covers(line.event):
                    continue
                kind = line.event.get("kind")
                if kind in _AFTER_CHUNKS or _ends_a_channel(line):
                    yield from chunks.until(record.jseq)
                yield line
                if kind == "command.result":
                    yield from chunks.until(record.jseq, _end_of(line))
                elif kind == "command.unfinished":
                    yield from chunks.until(record.jseq)
            yield from chunks.until(ahead.position)
        except HoopproxyError as error:
            yield Problem("damaged", str(error))
        except (OSError, ValueError) as error:
            yield Problem("failed", f"{found.folder.path}: {error}")


def exported(
    found: Found, scope: Scope, notes: Iterable[EventLine] = (), *, form: str = ""
) -> Iterator[Answer]:
    """The same, then the notes about it, and in the end what seals it.

    :param form: what it is for; :data:`OF_EVENTS` need no recording, and so no key of an auditor.
    """
    last = 0
    for piece in recording(found, scope):
        if form in OF_EVENTS and isinstance(piece, (Chunk, Letter)):
            continue
        if isinstance(piece, EventLine):
            last = max(last, int(piece.event.get("jseq", 0)))
        yield piece
    yield from notes
    yield covering(found.folder, last)


OF_EVENTS: Final = ("jsonl", "csv")
"""Formats of an export that are made of the events alone."""
_AFTER_CHUNKS: Final = frozenset(
    (
        *("session.end", "session.interrupted", "session.violation", "session.input", "command.observed"),
        *("transfer.opened", "transfer.completed", "forward.opened", "forward.closed"),
    )
)
"""Kinds that are told behind the bytes that they came of; the others lead."""


def _ends_a_channel(line: EventLine) -> bool:
    """Whether what ran in a channel ended: no result of it was told, so its bytes wait for nothing."""
    said = line.event.get("event")
    if line.event.get("kind") != "command.completed" or not isinstance(said, Mapping):
        return False
    detail = said.get("detail")
    return isinstance(detail, Mapping) and "channel" in detail and not said.get("results")


def _end_of(line: EventLine) -> int:
    said = line.event.get("event")
    try:
        return int(said["range"][1])  # type: ignore[index]
    except (TypeError, KeyError, IndexError, ValueError):
        return _NEVER


class _Behind:
    """Chunks, as far as they are wanted now."""

    def __init__(self, reader: JournalReader, folder: Folder) -> None:
        self._reader, self._letters = reader, Letters(folder)
        self._records: Iterator[Record] | None = None
        self._next: Record | None = None
        self._shown = 0  # up to where the client's view has been given

    def _step(self) -> None:
        # Begun only when the events were, so that a journal that grows meanwhile has these chunks for sure.
        if self._records is None:
            self._records = (record for record in self._reader if record.kind == Kind.CHUNK)
        self._next = next(self._records, None)

    def until(self, jseq: int, end: int = _NEVER) -> Iterator[Chunk | Letter]:
        """The chunks before record ``jseq``, until the client's view is given up to offset ``end``. What is
        sealed is a letter, of which nobody here can tell what is in it."""
        if self._records is None:
            self._step()
        while self._next is not None and self._next.jseq < jseq and self._shown < end:
            if self._next.is_closed:
                letter = self._letters.of(self._next, self._reader)
                self._step()
                yield letter
                continue
            chunk = chunk_of(self._next)
            self._step()
            if chunk.leg == 0 and chunk.direction == 1:
                self._shown = max(self._shown, chunk.offset + len(chunk.data))
            yield chunk
