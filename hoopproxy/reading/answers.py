"""What is asked of the trail, and the pieces of an answer: in one process, or as lines between two.

A line is a JSON object. An event's line is its own canonical JSON, byte for byte as it is in the journal;
every other line begins with ``{"answer":``, which no event does.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from hoopproxy.errors import HoopproxyError
from hoopproxy.index.words import MAX_QUERY, Query
from hoopproxy.journal.chunks import Chunk
from hoopproxy.journal.letter import Letter
from hoopproxy.reading.filters import BadFilter, Filter
from hoopproxy.reading.summary import SessionSummary

__all__ = [
    "ACTIONS",
    "Answer",
    "Covering",
    "EventLine",
    "Exhibit",
    "LeftOut",
    "Located",
    "Problem",
    "Progress",
    "Question",
    "Remark",
    "decode_line",
    "encode_line",
]

ACTIONS: Final = ("sessions", "show", "replay", "tail", "search", "export", "locate", "timeline")
MAX_LIMIT: Final = 100_000
"""Events or sessions that "the last N" may mean: something of each is kept in memory before the first is
shown."""

MAX_FORMAT: Final = 40

_ANSWER: Final = b'{"answer":'


@attrs.frozen(kw_only=True)
class Question:
    """What somebody wants to read. ``limit`` 0 is no limit; ``every`` lists failed log-ins as sessions
    too; ``query`` is what a search looks for (:class:`hoopproxy.index.words.Query`),
    ``format`` what an export is made into."""

    action: str
    session: str = ""
    filter: Filter = attrs.field(factory=Filter)
    limit: int = 0
    follow: bool = False
    every: bool = False
    query: str = ""
    format: str = ""

    def as_json(self) -> dict[str, object]:
        """For a request."""
        return {
            **({"query": self.query} if self.query else {}),
            **({"format": self.format} if self.format else {}),
            "action": self.action,
            "session": self.session,
            "filter": self.filter.as_json(),
            "limit": self.limit,
            "follow": self.follow,
            "every": self.every,
        }

    @classmethod
    def from_json(cls, values: object) -> Question:
        """Read a request; nothing in it is believed, and what it has besides is left alone.

        :raises BadFilter: when it can't be understood; the text says what of it.
        """
        if not isinstance(values, Mapping):
            raise BadFilter("a question must be an object")
        action, session = values.get("action"), values.get("session") or ""
        limit, follow, every = values.get("limit", 0), values.get("follow", False), values.get("every", False)
        if action not in ACTIONS:
            raise BadFilter(f"action must be one of {', '.join(ACTIONS)}")
        if not isinstance(session, str) or len(session) > 100:
            raise BadFilter("session must be an id of at most 100 characters")
        if action in ("show", "replay", "export", "locate") and not session:
            raise BadFilter("session is missing: an id, the beginning or the end of one, or last")
        if not isinstance(limit, int) or isinstance(limit, bool) or not 0 <= limit <= MAX_LIMIT:
            raise BadFilter(f"limit must be a number from 0 to {MAX_LIMIT}")
        if not isinstance(follow, bool) or not isinstance(every, bool):
            raise BadFilter("follow and every must be true or false")
        query = values.get("query") or ""
        if not isinstance(query, str) or len(query) > MAX_QUERY:
            raise BadFilter(f"query must be a text of at most {MAX_QUERY} characters")
        Query.parse(query)
        form = values.get("format") or ""
        if not isinstance(form, str) or len(form) > MAX_FORMAT:
            raise BadFilter(f"format must be a name of at most {MAX_FORMAT} characters")
        wanted = Filter.from_json(values.get("filter") or {})
        return cls(
            action=action,
            session=session,
            filter=wanted,
            limit=limit,
            follow=follow,
            every=every,
            query=query,
            format=form,
        )


@attrs.frozen
class EventLine:
    """One event: its bytes, and the object that they are."""

    body: bytes
    event: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen
class Progress:
    """Bytes of journal gone through, of how many."""

    done: int
    total: int


@attrs.frozen
class LeftOut:
    """How many more would have matched, had the limit allowed it; -1: some, nobody counted."""

    count: int


@attrs.frozen
class Covering:
    """What seals the records of a journal that were given: its newest checkpoint, and whether it covers them."""

    journal: str
    sentence: str
    note: str
    covered: bool


@attrs.frozen
class Located:
    """Where a name leads: to a session, and to an operation of it (``op``, else empty); ``target`` as far as it is
    known."""

    session: str
    op: str
    target: str


@attrs.frozen
class Exhibit:
    """A file of a bundle: its name below the bundle's folder, its bytes in base 64."""

    name: str
    data: str = attrs.field(repr=False)


@attrs.frozen
class Remark:
    """Something worth knowing about the answer, such as why it takes long."""

    sentence: str


@attrs.frozen
class Problem:
    """Why something is not in the answer, and what to do. ``code``: ``damaged`` (what is behind it may follow),
    ``not_found``, ``failed``."""

    code: str
    sentence: str


Answer = (
    EventLine
    | Chunk
    | Letter
    | SessionSummary
    | Progress
    | LeftOut
    | Covering
    | Exhibit
    | Located
    | Remark
    | Problem
)


def encode_line(answer: Answer) -> bytes:
    """An answer as a line, newline included."""
    if isinstance(answer, EventLine):
        return answer.body + b"\n"
    if isinstance(answer, SessionSummary):
        return orjson.dumps({"answer": "session", **answer.as_json()}) + b"\n"
    if isinstance(answer, Chunk):
        values = {
            "answer": "chunk",
            "session": answer.session.hex(),
            "leg": answer.leg,
            "direction": answer.direction,
            "offset": answer.offset,
            "mono": answer.mono,
            "redactions": answer.redactions,
            "data": base64.b64encode(answer.data).decode(),
        }
        return orjson.dumps(values) + b"\n"
    if isinstance(answer, Letter):
        sealed: dict[str, object] = {"answer": "letter", **attrs.asdict(answer)}
        for name in _BINARY:
            sealed[name] = base64.b64encode(getattr(answer, name)).decode()
        return orjson.dumps(sealed) + b"\n"
    return orjson.dumps({"answer": type(answer).__name__.lower(), **attrs.asdict(answer)}) + b"\n"


def decode_line(line: bytes) -> Answer:
    """Undo :func:`encode_line`.

    :raises HoopproxyError: for a line that is neither an event nor an answer.
    """
    try:
        values = orjson.loads(line)
        if not isinstance(values, dict):
            raise ValueError
        if not line.startswith(_ANSWER):
            return EventLine(line.rstrip(b"\n"), values)
        kind = values.pop("answer")
        if kind == "chunk":
            return _chunk(values)
        if kind == "letter":
            binary: dict[str, Any] = {
                name: base64.b64decode(values.pop(name), validate=True) for name in _BINARY
            }
            return Letter(**binary, **values)
        if kind == "session":
            return SessionSummary.from_json(values)
        made: Answer = _SMALL[kind](**values)
        return made
    except (ValueError, TypeError, KeyError):
        raise HoopproxyError("the gateway answered with a line that can't be understood") from None


_SMALL: Final[dict[str, Any]] = {
    "progress": Progress,
    "leftout": LeftOut,
    "covering": Covering,
    "exhibit": Exhibit,
    "located": Located,
    "problem": Problem,
    "remark": Remark,
}


_BINARY: Final = ("journal", "salt", "stored", "wrapped")


def _chunk(values: dict[str, Any]) -> Chunk:
    data = base64.b64decode(values.pop("data"), validate=True)
    redactions = tuple((int(a), int(b), int(c)) for a, b, c in values.pop("redactions"))
    return Chunk(session=bytes.fromhex(values.pop("session")), data=data, redactions=redactions, **values)
