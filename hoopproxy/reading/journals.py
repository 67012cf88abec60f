"""Events out of journal folders: one after the other, the last ones, or as they become durable."""

from __future__ import annotations

import contextlib
import datetime as dt
import heapq
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.events import canonical
from hoopproxy.journal.files import RealFiles
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import Kind, UnsupportedFormat
from hoopproxy.journal.keyring import Keyring
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.watermark import read_mark
from hoopproxy.reading.answers import EventLine, Problem, Progress
from hoopproxy.reading.filters import Filter, Wanted
from hoopproxy.reading.scope import Scope

__all__ = [
    "Looking",
    "Read",
    "Told",
    "at_rest",
    "event_of",
    "follow",
    "last_events",
    "matching",
    "nanoseconds",
    "one_journal",
]

_POLL: Final = 0.1
_LOOK_AROUND: Final = 2.0  # seconds between looks for new journals, and for a writer that went away
_FIRST_WINDOW: Final = 4096  # records; the end of a journal is looked at before all of it is
_REPORT: Final = 0.25

Told = EventLine | Progress | Problem


def at_rest(state: Path, keyring: Keyring | None = None) -> list[Folder]:
    """The journals of a state directory, oldest first.

    :param keyring: opens what is sealed; unless given, what the directory itself has for its readers does.
    :raises HoopproxyError: when there is none; says what to do.
    """
    try:
        found = journals(state)
    except FileNotFoundError:
        found = []
    except PermissionError as error:
        raise HoopproxyError(
            f"{state}: not readable by you. Ask the running gateway (--config or --control), which "
            "decides by role what you may see, or read as the owner of its files"
        ) from error
    except NotADirectoryError as error:
        raise HoopproxyError(f"{state}: not a directory") from error
    if not found:
        raise HoopproxyError(
            f"{state}: no journal below. Name the directory that [gateway] state names; "
            "it has a folder journals/"
        )
    if keyring is not None:
        for folder in found:
            folder.keyring = keyring
    return found


def one_journal(path: Path) -> Folder:
    """The journal in this very folder.

    :raises HoopproxyError: when it is none.
    """
    try:
        folder = Folder(path.resolve(), RealFiles())
    except ValueError:
        raise HoopproxyError(f"{path}: not a journal; its folder's name is the journal's id") from None
    if not folder.files.exists(folder.keys):
        raise HoopproxyError(f"{path}: not a journal; it has no file keys")
    return folder


class Asked(Wanted, Protocol):
    """What decides on events, and says before which time there is nothing to decide."""

    @property
    def since(self) -> str:
        """As a filter's; empty for any time."""


class Looking:
    """Counts what was read; :meth:`report` says how far, four times a second at most."""

    def __init__(self, folders: Iterable[Folder], clock: Callable[[], float] = time.monotonic) -> None:
        self._sizes: dict[tuple[bytes, int], int] = {}
        for folder in folders:
            for number in folder.segments():
                try:
                    handle = folder.files.open_read(folder.segment(number))
                except OSError:
                    continue  # retention took it
                self._sizes[folder.id, number] = folder.files.size(handle)
                folder.files.close(handle)
        self.total = sum(self._sizes.values())
        self.records = self.raw_bytes = 0
        self._clock, self._last, self._tick = clock, clock(), 0
        self._before: dict[tuple[bytes, int], int] = {}
        so_far = 0
        for key, size in self._sizes.items():
            self._before[key] = so_far
            so_far += size

    def report(self, folder: Folder, record: Record) -> Progress | None:
        """Call for each record; gives a report when one is due."""
        self.records += 1
        self.raw_bytes += len(record.body)
        self._tick += 1
        if self._tick < 256:
            return None
        self._tick = 0
        now = self._clock()
        if now - self._last < _REPORT:
            return None
        self._last = now
        before = self._before.get((folder.id, record.segment), self.total)
        return Progress(min(before + record.offset, self.total), self.total)


def nanoseconds(when: str) -> int:
    """Unix nanoseconds of a filter's time, a second early: blocks are dated by the writer's clock. 0 for
    none."""
    if not when:
        return 0
    return max(int(dt.datetime.fromisoformat(when).timestamp()) - 1, 0) * 1_000_000_000


def event_of(record: Record, folder: Folder) -> EventLine | None:
    """The event that a record holds, or stands for; ``None`` for a record of another kind.

    What was lost is told as an event too (``audit.gap``), and so is an event that can't be read.
    """
    if record.kind == Kind.EVENT:
        try:
            event = orjson.loads(record.opened())
        except orjson.JSONDecodeError:
            return _told(
                record, folder, "audit.gap", why="unreadable event", records=1, bytes=len(record.body)
            )
        return EventLine(record.body, event) if isinstance(event, dict) else None
    if record.kind == Kind.GAP:
        said = orjson.loads(record.opened())
        why = str(said.get("what") or "the journal could not keep these records")
        return _told(
            record, folder, "audit.gap", why=why, records=said.get("count", 0), bytes=said.get("bytes", 0)
        )
    return None


class Read:
    """A record that was read here, as the index takes it: its event is parsed when it is asked for."""

    __slots__ = ("_folder", "record")

    def __init__(self, record: Record, folder: Folder) -> None:
        self.record, self._folder = record, folder

    @property
    def event(self) -> Mapping[str, Any] | None:
        """The event that it holds or stands for."""
        line = event_of(self.record, self._folder)
        return None if line is None else line.event

    @property
    def session(self) -> bytes | None:
        """Of no importance here: who asks the index knows sessions by their events."""
        return None


def _told(record: Record, folder: Folder, kind: str, **said: Any) -> EventLine:
    when = dt.datetime.fromtimestamp(record.time // 1_000_000_000, dt.UTC)
    event = {
        "event": said,
        "journal": folder.path.name,
        "jseq": record.jseq,
        "kind": kind,
        "time": when.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
        "v": 1,
    }
    return EventLine(canonical(event), event)


def readable(reader: JournalReader) -> Iterator[Record | Problem]:
    """The records. Damage is told, and what is behind it is read: a block that can't be read any more is no reason to
    hide what happened after it.
    """
    while True:
        try:
            yield from reader
            return
        except Damaged as error:
            yield Problem("damaged", str(error))
            if not reader.pass_over():
                return


def matching(
    reader: JournalReader, folder: Folder, wanted: Wanted, scope: Scope, looking: Looking | None = None
) -> Iterator[Told]:
    """The events among these records that are asked for and may be seen; reports of progress between them.

    Damage is a :class:`Problem` between them.
    """
    try:
        for record in readable(reader):
            if isinstance(record, Problem):
                yield record
                continue
            if looking is not None:
                report = looking.report(folder, record)
                if report is not None:
                    yield report
            kind = record.kind
            if kind == Kind.CHUNK or (kind == Kind.EVENT and not wanted.may_match(record.opened())):
                continue
            line = event_of(record, folder)
            if line is not None and wanted.matches(line.event) and scope.covers(line.event):
                yield line
    except (Damaged, UnsupportedFormat) as error:  # nothing can be read behind it
        yield Problem("damaged", str(error))
    except OSError as error:
        yield Problem("failed", f"{folder.path}: {error.strerror or type(error).__name__}")


def _when(told: Told) -> str:
    # What is no event comes at once.
    return str(told.event.get("time", "")) if isinstance(told, EventLine) else ""


def last_events(folders: Sequence[Folder], wanted: Asked, scope: Scope, limit: int) -> Iterator[Told]:
    """The last ``limit`` events (0: all) that match, oldest first, those of all journals merged by time."""
    looking = Looking(folders)
    with contextlib.ExitStack() as stack:
        pasts = [_Past(folder, wanted, scope, limit, looking) for folder in folders]
        for past in pasts:
            stack.callback(past.close)
        yield from _merged(pasts, limit)


def _merged(pasts: Sequence[_Past], limit: int) -> Iterator[Told]:
    """In two passes when there is a limit, so that only numbers wait in memory, whatever the events hold."""
    if limit:
        found: list[tuple[str, int, _Past]] = []
        for past in pasts:
            newest = yield from past.newest()
            found.extend((when, jseq, past) for when, jseq in newest)
        found.sort(key=lambda each: each[0])
        first: dict[int, int] = {}
        for _, jseq, past in found[-limit:]:
            first[id(past)] = min(jseq, first.get(id(past), jseq))
        for past in pasts:
            past.go_on(first.get(id(past)))
    yield from heapq.merge(*(past.all() for past in pasts), key=_when)


class _Past:
    """What one journal held when it was looked at; its reader can go on from there."""

    def __init__(
        self, folder: Folder, wanted: Asked, scope: Scope, limit: int, looking: Looking | None
    ) -> None:
        self.folder, self._wanted, self._scope = folder, wanted, scope
        self._limit, self._looking = limit, looking
        self._seen = -1
        self.reader = self._open(1)

    def _open(self, since: int) -> JournalReader:
        return JournalReader(self.folder, since=since, since_time=nanoseconds(self._wanted.since))

    def close(self) -> None:
        self.reader.close()

    def all(self) -> Iterator[Told]:
        """Every event that matches."""
        return matching(self.reader, self.folder, self._wanted, self._scope, self._looking)

    def newest(self) -> Generator[Told, None, deque[tuple[str, int]]]:
        """Return time and number of the last ``limit`` events, at the price of no more of the journal."""
        top = read_mark(self.folder.files, self.folder.watermark).jseq
        window = _FIRST_WINDOW if top else 0
        while True:
            since = max(1, top - window + 1) if window else 1
            self.go_on(since)
            found: deque[tuple[str, int]] = deque(maxlen=self._limit)
            for told in self.all():
                if isinstance(told, EventLine):
                    found.append((_when(told), int(told.event["jseq"])))
                elif isinstance(told, Progress):
                    yield told
            if since == 1 or len(found) >= self._limit:
                return found
            window *= 8

    def go_on(self, since: int | None) -> None:
        """Read from that record on; ``None``: from where the last look ended."""
        if since is not None:
            self.close()
            self.reader = self._open(since)

    def fresh(self, anyway: bool) -> Iterator[Told]:
        """What became durable since the last look; a look at one page, the watermark, unless something
        did."""
        top = read_mark(self.folder.files, self.folder.watermark).jseq
        if top != self._seen or anyway:
            self._seen = top
            yield from self.all()


def follow(
    find: Callable[[], Sequence[Folder]],
    wanted: Filter,
    scope: Scope,
    limit: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
    going_on: Callable[[], bool] = lambda: True,
) -> Iterator[Told]:
    """The last ``limit`` events (0: all), then each as it becomes durable, of every journal that ``find``
    gives.

    :param going_on: asked before each look; the iteration ends when it says no.
    """
    with contextlib.ExitStack() as stack:
        pasts: dict[bytes, _Past] = {}

        def look_around(new_limit: int) -> None:
            for folder in find():
                if folder.id not in pasts:
                    pasts[folder.id] = past = _Past(folder, wanted, scope, new_limit, None)
                    stack.callback(past.close)

        look_around(limit)
        yield from _merged(list(pasts.values()), limit)
        quiet = 0.0
        while going_on():
            due = quiet >= _LOOK_AROUND
            if due:
                quiet = 0.0
                look_around(0)
            yield from heapq.merge(*(past.fresh(due) for past in list(pasts.values())), key=_when)
            sleep(_POLL)
            quiet += _POLL
