"""Records gathered into documents, and documents into a window. Pure.

A document is the words of up to :data:`MAX_EVENTS` events of one session, kind and outcome; it says between
which records these are. A window is what one stretch of records came to; windows of a journal don't overlap.
An event's words are held once in a document however often they were said, which is what keeps an index of a
million like statements small.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hoopproxy.index.documents import Document, Lane, Stream, Taken, Window
from hoopproxy.index.rows import Rows, RowTexts
from hoopproxy.index.saying import QUIET, names_of, said_in, said_in_body, said_of
from hoopproxy.index.screens import KIND, MAX_BYTES, Screens
from hoopproxy.index.shapes import MAX_EVENT_WORDS, Shapes, Texts, values
from hoopproxy.index.words import words_of
from hoopproxy.journal.format import Kind
from hoopproxy.journal.handed import HandedTurn, entries_of
from hoopproxy.journal.record import Record, chunk_of
from hoopproxy.journal.turns import Told

__all__ = ["Gathering"]

MAX_EVENTS: Final = 64
"""Events of a document: a find costs reading about that many, and few more make the index no smaller."""

MAX_WORDS: Final = 8192
"""Words of a document, so that a few long statements make documents of their own."""

WINDOW_RECORDS: Final = 16_384
WINDOW_WORDS: Final = 500_000
"""A window's size: bounds the memory, and the records that are read again after a crash."""

MAX_EARLY: Final = 64
MAX_EARLY_BYTES: Final = 16 << 10
"""Chunks of a session that are kept until it is known which target it is of: how many, and how long each may be."""

MAX_WAITING: Final = 256
"""Sessions of which chunks are kept for that; most are of people who don't get in."""

MAX_STREAMS: Final = 20_000
"""Sessions that something is remembered of; one takes some 500 bytes."""

_EVENT, _CHUNK = int(Kind.EVENT), int(Kind.CHUNK)
_ASKED: Final = (b"command.requested", None)
_RESULT: Final = (b"command.result", None)
_ENDED: Final = (b"command.completed", b"success")
"""Kind and outcome of a turn's events."""
_TURNS: Final = frozenset((b"session.end", b"command.result"))
_ALL_NAMED: Final = 4  # of a document: identity and target are among its words

_FACTS: Final = re.compile(
    rb',"kind":"([a-z_.]+)","mono":\d+,"node":"[^"]*"(?:,"op":"[^"]*")?(?:,"outcome":"([a-z_]+)")?'
).match
_KIND: Final = b',"kind":"'
# What a client says can't look like this: in its texts every quote is behind a backslash, and where it
# names keys (start-up parameters) the values are texts.


class Gathering:
    """Gathers the records of one journal. :param rows_of: what reads the rows of a session on that target, if
    they are to be searched. :param screens_of: what reads what it showed; ``None`` for no target."""

    def __init__(
        self,
        position: int,
        rows_of: Callable[[str], RowTexts | None] = lambda target: None,
        screens_of: Callable[[str], Screens | None] | None = None,
    ) -> None:
        self.position = position
        self._rows_of, self._screens_of = rows_of, screens_of
        self._shown: dict[int, Document] = {}
        self._early: dict[int, list[Taken]] = {}
        self._streams: dict[int, Stream] = {}
        self._open: dict[tuple[int, bytes, bytes | None], Document] = {}
        self._lanes: dict[int, Lane] = {}  # of sessions whose chunks nobody looks into
        self._shapes = Shapes()
        self._closed: list[Document] = []
        self._first, self._since, self._until, self._words, self._records = position, 0, 0, 0, 0
        self._texts = Texts()
        self._rows_held = False
        self._place = (0, 0)

    @property
    def is_full(self) -> bool:
        """Whether the window should be taken now."""
        return self._records >= WINDOW_RECORDS or self._words >= WINDOW_WORDS

    @property
    def is_empty(self) -> bool:
        """Whether nothing was gathered since the last window."""
        return not self._records

    def extend(self, batch: Sequence[Taken]) -> None:
        """Take the next records, in order."""
        if not batch:
            return
        entries = entries_of(batch)
        first, last = _read(entries[0]), _read(entries[-1])
        if not self._records:
            self._first, self._since = first.jseq, first.time
        lanes = self._lanes
        for entry in entries:
            if not isinstance(entry, HandedTurn):
                self._records += 1
                self._take(entry)
                continue
            lane = lanes.get(entry.key)
            if lane is None:
                if self._needs_chunks(entry.key):
                    for taken in entry.taken():
                        self._records += 1
                        self._take(taken)
                    continue
                lane = lanes[entry.key] = Lane()
            if len(entry.said) == 1:
                self._records += 2
                self._take_asked(entry, lane)
            else:
                self._records += 3
                self._take_answered(entry, lane)
        self.position = (last.last_jseq if isinstance(last, Told) else last.jseq) + 1
        self._until = last.time
        self._place = last.segment, last.offset

    def _needs_chunks(self, key: int) -> bool:
        """Whether more than the events of a session is looked at, or may be."""
        stream = self._streams.get(key)
        if stream is None or self._rows_held:
            return True
        return self._screens_of is not None and (stream.target is None or stream.screens is not None)

    def _take(self, taken: Taken) -> None:
        record = taken.record
        if record.kind == _EVENT:
            body = record.body
            facts = _FACTS(body, body.rfind(_KIND))
            if facts is None:
                self._unusual(taken)
                return
            kind, outcome = facts.groups()
            document = self._document(taken, record.key_id, kind, outcome, record.jseq, record)
            if kind not in QUIET or b'"error":' in body or b'"detail":' in body:
                said = said_in_body(body) if document.named == _ALL_NAMED else None
                if said is not None:
                    self._words_of(document, said)
                elif (event := taken.event) is not None:
                    self._say(document, event)
            if kind in _TURNS:
                self._turn(taken, document, kind)
            self._close_full(document, (record.key_id, kind, outcome))
        elif record.kind == _CHUNK:
            if self._rows_held:
                stream = self._streams.get(record.key_id)
                if stream is not None and stream.rows is not None:
                    stream.rows.feed(record)
            if self._screens_of is not None and not record.is_closed:
                self._show(taken)
        else:
            self._unusual(taken)

    def _take_asked(self, turn: HandedTurn, lane: Lane) -> None:
        """The same for the request of a turn, of a session that was met before and whose chunks nobody looks into."""
        document = lane.asked
        if document is None:
            document = lane.asked = self._of_turn(turn, _ASKED, 1)
            lane.shape = None
        document.count += 1
        document.last, document.until = turn.jseq + 1, turn.time
        words = document.words
        if document.named != _ALL_NAMED:
            self._say(document, turn.taken()[1].event)
        elif (shape := self._shapes.of(turn)) is None:
            self._words_of(document, said_of(turn.first_said))
        else:
            if shape is not lane.shape:
                words |= shape.words
                lane.shape = shape
            text = turn.fields[-2]
            for start, end in shape.places:
                words.add(text[start:end].decode().lower())
            if shape.given:
                words.update(values(turn.fields[0]))
        if document.count >= MAX_EVENTS or len(words) > MAX_WORDS:
            self._close_full(document, (turn.key, *_ASKED))

    def _take_answered(self, turn: HandedTurn, lane: Lane) -> None:
        """And for the result and the end."""
        result, ended = lane.result, lane.ended
        if result is None:
            result = lane.result = self._of_turn(turn, _RESULT, 1)
        if ended is None:
            ended = lane.ended = self._of_turn(turn, _ENDED, 2)
        said, end = turn.said
        jseq = turn.jseq
        result.count += 1
        ended.count += 1
        result.last, ended.last = jseq + 1, jseq + 2
        result.until = ended.until = turn.time
        if b'"error":' in said or b'"detail":' in said:
            self._say(result, turn.taken()[1].event)
        if b'"error":' in end or b'"detail":' in end:
            self._say(ended, turn.taken()[2].event)
        if result.count >= MAX_EVENTS or len(result.words) > MAX_WORDS:
            self._close_full(result, (turn.key, *_RESULT))
        if ended.count >= MAX_EVENTS or len(ended.words) > MAX_WORDS:
            self._close_full(ended, (turn.key, *_ENDED))

    def _of_turn(self, turn: HandedTurn, what: tuple[bytes, bytes | None], number: int) -> Document:
        """The document that an event of a turn belongs to, not counted yet."""
        key = turn.key, *what
        document = self._open.get(key)
        if document is None:
            document = self._open[key] = self._begin(turn, turn.key, turn.jseq + number, turn, *what)
        return document

    def _document(
        self,
        taken: Taken | HandedTurn,
        key_id: int,
        kind: bytes,
        outcome: bytes | None,
        jseq: int,
        read: Record | Told,
    ) -> Document:
        """The one that an event belongs to, which counts it."""
        key = key_id, kind, outcome
        document = self._open.get(key)
        if document is None:
            document = self._open[key] = self._begin(taken, key_id, jseq, read, kind, outcome)
        document.count += 1
        document.last, document.until = jseq, read.time
        return document

    def _close_full(self, document: Document, key: tuple[int, bytes, bytes | None]) -> None:
        if document.count >= MAX_EVENTS or len(document.words) > MAX_WORDS:
            del self._open[key]
            self._lanes.pop(key[0], None)
            self._close(document)

    def _turn(self, taken: Taken, document: Document, kind: bytes) -> None:
        """What changes more than words."""
        if kind == b"session.end":
            stream = self._streams.pop(taken.record.key_id, None)
            self._lanes.pop(taken.record.key_id, None)
            shown = self._shown.pop(taken.record.key_id, None)
            if stream is not None and shown is not None:
                self._finish(shown)
        elif document.stream.rows is not None:
            self._rows(document, document.stream.rows, taken)

    def _unusual(self, taken: Taken) -> None:
        """An event whose envelope isn't as ours are, or that stands for another record."""
        event, record = taken.event, taken.record
        if event is None:
            return
        kind, outcome = str(event.get("kind", "?")).encode(), event.get("outcome")
        said = None if outcome is None else str(outcome).encode()
        document = self._document(taken, record.key_id, kind, said, record.jseq, record)
        self._say(document, event)
        self._turn(taken, document, kind)

    def _begin(
        self,
        taken: Taken | HandedTurn,
        key_id: int,
        jseq: int,
        read: Record | Told,
        kind: bytes,
        outcome: bytes | None,
    ) -> Document:
        stream = self._streams.get(key_id)
        if stream is None:
            stream = self._streams[key_id] = Stream(key_id, taken.session)
        return Document(
            stream=stream,
            kind=kind.decode("utf-8", "replace"),
            outcome=outcome.decode("utf-8", "replace") if outcome else "",
            first=jseq,
            segment=read.segment,
            offset=read.offset,
            since=read.time,
        )

    def _close(self, document: Document) -> None:
        self._closed.append(document)
        self._words += len(document.words)

    # --- words -----------------------------------------------------------------------------------------

    def _say(self, document: Document, event: Mapping[str, Any]) -> None:
        self._words_of(document, said_in(event))
        named = 1 + ("identity" in event) + 2 * ("target" in event)
        if document.named < named:
            document.named = named
            for text in names_of(event):
                document.words.update(words_of(text))
        stream = document.stream
        if stream.target is None or stream.identity is None or stream.session is None:
            self._learn(stream, event)

    def _words_of(self, document: Document, texts: Sequence[str]) -> None:
        if self._texts.put(texts, document.words):
            document.cut = True

    def _learn(self, stream: Stream, event: Mapping[str, Any]) -> None:
        if stream.key == 0:
            return  # the gateway speaks of many
        self._lanes.clear()  # more may be looked at from now on
        stream.learn(event)
        if stream.target is not None and isinstance(event.get("target"), Mapping):
            texts = self._rows_of(stream.target) if stream.rows is None else None
            if texts is not None:
                stream.rows = Rows(texts)
                self._rows_held = True
            if self._screens_of is not None and stream.screens is None:
                self._begin_screens(stream, self._screens_of(stream.target))

    def _rows(self, document: Document, rows: Rows, taken: Taken) -> None:
        event = taken.event
        if event is None:
            return
        texts, place, whole = rows.result(event)
        found: set[str] = set()
        for text in texts:
            found.update(words_of(text))
            if len(found) > MAX_EVENT_WORDS:
                whole = False
                break
        document.words |= found
        document.cut = document.cut or not whole
        if place is not None and place.jseq < document.first:
            document.first, document.segment, document.offset = place.jseq, place.segment, place.offset

    # --- what was shown --------------------------------------------------------------------------------------

    def _begin_screens(self, stream: Stream, screens: Screens | None) -> None:
        early = self._early.pop(stream.key, ())
        if screens is not None:
            stream.screens = screens("")
            for taken in early:
                self._show(taken)

    def _show(self, taken: Taken) -> None:
        """A chunk of a session whose screens are searched; or of one of which that is not known yet."""
        record = taken.record
        stream = self._streams.get(record.key_id)
        if stream is None:
            stream = self._streams[record.key_id] = Stream(record.key_id, taken.session)
        screens = stream.screens
        if screens is None:
            if stream.target is None and len(record.body) <= MAX_EARLY_BYTES:
                early = self._early.setdefault(record.key_id, [])
                if len(early) < MAX_EARLY:
                    early.append(taken)
                if len(self._early) > MAX_WAITING:
                    del self._early[next(iter(self._early))]
            return
        document = self._shown.get(record.key_id)
        if document is None:
            document = self._begin(taken, record.key_id, record.jseq, record, KIND.encode(), None)
            document.mark = screens.mark()
            for name in (stream.identity, stream.target):
                document.words.update(words_of(name or ""))
            self._shown[record.key_id] = document
        chunk = chunk_of(record)
        document.words.update(words_of("\n".join(text for _, text in screens.feed(chunk))))
        document.last, document.until = record.jseq, record.time
        document.size += len(chunk.data)
        if document.size >= MAX_BYTES or len(document.words) > MAX_WORDS:
            self._finish(self._shown.pop(record.key_id))

    def _finish(self, document: Document) -> None:
        """A document of what was shown; where its session goes on, another begins there."""
        screens = document.stream.screens
        for _, text in screens.rest() if screens is not None else ():
            document.words.update(words_of(text))
        self._close(document)

    # --- windows ---------------------------------------------------------------------------------------

    def take(self) -> Window:
        """What was gathered; the next window begins."""
        for document in self._shown.values():
            self._finish(document)
        self._shown.clear()
        for document in self._open.values():
            self._closed.append(document)
        window = Window(
            first=self._first,
            position=self.position,
            since=self._since,
            until=self._until,
            place=self._place,
            documents=self._closed,
        )
        self._open.clear()
        self._lanes.clear()
        self._closed = []
        if len(self._streams) > MAX_STREAMS:
            self._streams.clear()  # what is known of those that go on is learned again
        self._words = self._records = 0
        return window


def _read(entry: Any) -> Record | Told:
    found: Record | Told = entry if isinstance(entry, HandedTurn) else entry.record
    return found
