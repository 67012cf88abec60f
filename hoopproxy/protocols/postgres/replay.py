"""A recorded session as psql would have shown it: commands, result tables, COPY data, errors.

Input is what was recorded, in order, events leading their bytes
(:func:`hoopproxy.reading.sessions.recording`); output is lines of ``(style, text)`` pieces. Rows are decoded
here, from the bytes that the events point to, one at a time. Texts are as they were recorded: whoever prints
them makes them inert.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Final

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres.messages import read_copy_response
from hoopproxy.protocols.postgres.psql import (
    CopyLines,
    Fields,
    Line,
    error_lines,
    heading,
    milliseconds,
    quoted,
    returned,
    statement,
)
from hoopproxy.protocols.postgres.recorded import LongRow, Message, Recorded, row_values
from hoopproxy.protocols.postgres.rows import Column, rendered
from hoopproxy.protocols.postgres.shapes import Shapes
from hoopproxy.protocols.postgres.types import Value, codec
from hoopproxy.wire.recorded import RecordedChunk

__all__ = ["Line", "Replay", "replay"]

_NAMES: Final = 10_000
"""Places where messages of the client are known to begin, ahead of the reader."""

_UNCLAIMED: Final = 4 << 20
"""Bytes of the target that wait for the result that names them; more of them are shown without it."""

_NO_LIMIT: Final = 1 << 62
_SELECTS: Final = ("SELECT", "FETCH", "SHOW", "EXPLAIN", "VALUES", "TABLE")


def replay(pieces: Iterable[Fields | RecordedChunk], *, cell_width: int = 60) -> Iterator[Line]:
    """The lines of one session.

    :param pieces: events (as objects) and chunks. :param cell_width: of a result's column; 0 is no limit.
    """
    return Replay(pieces, cell_width).lines()


class Replay:
    """One session, pulled from its pieces as its lines are pulled from it."""

    def __init__(self, pieces: Iterable[Fields | RecordedChunk], cell_width: int = 60) -> None:
        self._pieces = iter(pieces)
        self._width = cell_width or _NO_LIMIT
        self._client, self._server = Recorded(untyped=True, short=b"d"), Recorded()
        self._shapes = Shapes()
        self._waiting: OrderedDict[str, Fields] = OrderedDict()  # commands whose heading was not shown yet
        self._ahead: deque[Fields] = deque()  # an event that came while rows were read
        self._aside: deque[Line] = deque()  # COPY data of the client that came while the target's was read
        self._starts: deque[int] = deque(maxlen=_NAMES)  # where messages of the client are known to begin
        self._copy: CopyLines | None = None
        self._record = "full"

    def lines(self) -> Iterator[Line]:
        """Everything, in order."""
        while (piece := self._ahead.popleft() if self._ahead else next(self._pieces, None)) is not None:
            if isinstance(piece, Mapping):
                yield from self._told(piece)
            else:
                self._take(piece)
                if self._server.received - self._server.position > _UNCLAIMED:
                    yield from self._show_all()
                    yield from self._rest()
            yield from self._drain()
        yield from self._show_all()
        yield from self._rest()

    def _take(self, chunk: RecordedChunk) -> None:
        if chunk.leg != 0:
            return
        if chunk.direction == 0:
            self._client.feed(chunk.offset, chunk.data, chunk.redactions)
            self._read_client()
        else:
            self._server.feed(chunk.offset, chunk.data, chunk.redactions)

    def _read_client(self) -> None:
        while self._client.lost and self._starts:
            self._client.resume(self._starts[0])
            if self._client.lost and self._client.position < self._starts[0]:
                return
            self._starts.popleft()
        for message in self._client.messages(_NO_LIMIT):
            if message.kind == 0:
                self._server.single += len(message.body) == 4
            elif message.kind == ord("d"):
                if self._copy is None:
                    self._copy = CopyLines(False)
                self._aside.extend(self._copy.feed(message))
            elif message.first:
                self._shapes.sent(message)

    def _drain(self) -> Iterator[Line]:
        while self._aside:
            yield self._aside.popleft()

    # --- events --------------------------------------------------------------------------------------

    def _told(self, event: Fields) -> Iterator[Line]:
        kind, said = str(event.get("kind")), event.get("event")
        if not isinstance(said, Mapping):
            return
        if kind == "session.start":
            self._record = str(said.get("record", "full"))
            yield from self._opening(event, said)
        elif kind in ("command.requested", "command.denied"):
            self._starts.append(_range(said)[0])
            self._waiting[str(event.get("op"))] = event
            if kind == "command.denied":
                yield from self._show(str(event.get("op")))
                reason = f"{event.get('reason', '')} ({said.get('code', '?')}; refused by the gateway)"
                yield (("bad", "ERROR:  "), ("", reason))
                yield ()
        elif kind == "command.result":
            yield from self._show(str(event.get("op")))
            yield from self._result(said)
        elif kind == "command.completed":
            yield from self._show(str(event.get("op")))
            yield (("faint", f"Time: {milliseconds(said.get('duration'))}"),)
            yield ()
        elif kind == "command.skipped":
            yield from self._show(str(event.get("op")))
            yield (("warn", f"-- not run: {said.get('because', '?')}"),)
        elif kind == "command.unfinished":
            yield from self._show(str(event.get("op")))
            yield from self._rest()
            yield (("bad", f"-- the end was not seen: {said.get('because', '?')}"),)
        elif kind == "session.note":
            yield from self._note(said)
        elif kind in _TOLD:
            yield (
                ("warn", f"-- {_TOLD[kind]}: {event.get('reason') or said.get('cause') or ''}".rstrip(": ")),
            )

    def _opening(self, event: Fields, said: Fields) -> Iterator[Line]:
        who, where = event.get("identity"), event.get("target")
        name = who.get("id") if isinstance(who, Mapping) else "?"
        target = where.get("name") if isinstance(where, Mapping) else "?"
        self._shapes.database = str(said.get("database") or target)
        yield (("faint", f"-- {name} on {target}, database {said.get('database')}, {event.get('time', '')}"),)
        if self._record != "full":
            left_out = "results are" if self._record == "requests" else "commands' bytes and results are"
            yield (("warn", f"-- recorded with record = {self._record!r}: {left_out} not in the recording"),)

    def _note(self, said: Fields) -> Iterator[Line]:
        detail = said.get("detail")
        if not isinstance(detail, Mapping):
            return
        what = str(said.get("what"))
        if what == "notification":
            channel, payload = quoted(detail.get("channel")), quoted(detail.get("payload"))
            yield (("warn", f"Asynchronous notification {channel} with payload {payload}"),)
        elif "message" in detail:
            if self._waiting and what == "notice":
                yield from self._show(next(iter(self._waiting)))
            if "text" in detail:
                yield from statement(self._prompt(), detail["text"])
            yield from error_lines(detail)

    def _prompt(self) -> str:
        return f"{self._shapes.database or 'postgres'}=> "

    def _show_all(self) -> Iterator[Line]:
        while self._waiting:
            yield from self._show(next(iter(self._waiting)))

    def _show(self, op: str) -> Iterator[Line]:
        """Show the headings of the commands up to this one, unless they were."""
        if op not in self._waiting:
            return
        while self._waiting:
            name, event = self._waiting.popitem(last=False)
            yield from heading(self._prompt(), event["event"])
            if name == op:
                return

    # --- results -------------------------------------------------------------------------------------

    def _result(self, said: Fields) -> Iterator[Line]:
        start, end = _range(said)
        detail = said.get("detail")
        copy = detail.get("copy") if isinstance(detail, Mapping) else None
        if isinstance(copy, Mapping):
            self._copy = CopyLines(copy.get("format") == "binary", codec(self._shapes.encoding))
        missing = self._server.missing
        had_table = False
        if self._record == "full":
            for message in self._until(start, end):
                if message.start < start:
                    self._outside(message)
                elif message.kind == ord("D"):
                    yield from self._table(message, end)
                    had_table = True
                else:
                    had_table = (yield from self._message(message)) or had_table
                yield from self._drain()
        while self._record != "full" and not self._ahead:
            event = self._pull()
            if event is not None:
                self._ahead.append(event)
            yield from self._drain()
        yield from self._drain()
        if self._copy is not None:
            yield from self._copy.finish()
            self._copy = None
        if self._server.missing > missing or (self._record == "full" and self._server.position < end):
            yield (("bad", "-- bytes of this result are missing in the recording, or can't be read"),)
        yield from self._outcome(said, had_table)

    def _outcome(self, said: Fields, had_table: bool) -> Iterator[Line]:
        error, tag = said.get("error"), said.get("tag")
        if isinstance(error, Mapping):
            yield from error_lines(error)
        elif self._record != "full" and said.get("rows"):
            yield (("good", str(tag or "")), ("faint", f" ({said.get('rows')} rows, not recorded)"))
        elif tag and not (had_table and str(tag).startswith(_SELECTS)):
            yield (("good", str(tag)),)
        detail = said.get("detail")
        if isinstance(detail, Mapping) and detail.get("suspended"):
            yield (("faint", "-- more rows could be fetched"),)

    def _until(self, start: int, end: int) -> Iterator[Message]:
        """The target's messages up to ``end``, chunks being taken as they are needed."""
        while True:
            self._server.resume(start)
            yield from self._server.messages(end)
            if self._server.position >= end or self._ahead:
                return
            event = self._pull()
            if event is not None:
                self._ahead.append(event)
                return

    def _pull(self) -> Fields | None:
        """Take the next chunk of the target; an event instead of one ends what was being read."""
        for piece in self._pieces:
            if isinstance(piece, Mapping):
                return piece
            self._take(piece)
            if piece.direction == 1 or self._aside:
                return None
        return {}

    def _outside(self, message: Message) -> None:
        if message.first and message.kind:
            self._shapes.received(message)

    def _message(self, message: Message) -> Generator[Line, None, bool]:
        """Lines of a message that is no row; returns whether they are a (then empty) table."""
        kind = chr(message.kind)
        if kind == "d":
            if self._copy is None:
                self._copy = CopyLines(False, codec(self._shapes.encoding))
            yield from self._copy.feed(message)
            return False
        if kind in "GHW" and self._copy is not None:
            with contextlib.suppress(ProtocolViolation):
                self._copy.binary = read_copy_response(message.body).format == 1
        if kind == "V" and message.first:
            yield (("text", f"-- the function returned {returned(message)}"),)
        is_table = False
        if kind == "C" and (columns := self._shapes.of_rows()) is not None:
            for line in rendered(columns, (), cell_width=self._width):
                yield (("", line),)
            is_table = True
        self._outside(message)
        return is_table

    def _table(self, first: Message, end: int) -> Iterator[Line]:
        columns = self._shapes.of_rows()
        if columns is None:
            count = int.from_bytes(first.body[:2], "big") if first.first else 0
            columns = tuple(Column(f"column{number + 1}", 0, 0) for number in range(min(count, 1664)))
        for line in rendered(columns, self._rows(first, columns, end), cell_width=self._width):
            yield (("", line),)

    def _rows(self, first: Message, columns: tuple[Column, ...], end: int) -> Iterator[tuple[Value, ...]]:
        shapes = tuple((each.oid, each.format) for each in columns)
        encoding, long = self._shapes.encoding, None
        message: Message | None = first
        source = self._until(first.start, end)
        while message is not None:
            if message.kind != ord("D"):
                self._outside(message)
                if message.kind in b"CIsE":
                    return
            elif message.first and message.last:
                yield row_values(message, shapes, encoding) or ("-- a row that can't be read",)
            else:
                long = LongRow(shapes, encoding) if long is None or message.first else long
                long.feed(message)
                if message.last:
                    yield tuple(long.values)
            message = next(source, None)

    def _rest(self) -> Iterator[Line]:
        """What the target sent that no result names: of a command whose end nobody saw."""
        start = self._server.position
        for message in self._until(start, _NO_LIMIT):
            if message.kind == ord("D"):
                yield from self._table(message, _NO_LIMIT)
                if self._shapes.of_rows() is not None:
                    yield (("warn", "-- there the recording of this result ends"),)
            else:
                yield from self._message(message)
            yield from self._drain()
        yield from self._drain()


_TOLD: Final = {
    "session.end": "the session ended",
    "session.interrupted": "the session was interrupted: the gateway died",
    "session.violation": "the protocol was violated",
    "session.failed": "the target was not reached",
    "session.refused": "refused",
    "login.failed": "the log-in failed",
    "command.cancel_requested": "a cancel was asked for",
    "session.opaque": "bytes that could not be decoded",
}


def _range(said: Fields) -> tuple[int, int]:
    span = said.get("range")
    if isinstance(span, (list, tuple)) and len(span) == 2 and all(isinstance(each, int) for each in span):
        return span[0], span[1]
    return _NO_LIMIT, 0
