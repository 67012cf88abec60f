"""What is open: sessions that somebody logged in to and that have not ended, and commands without an outcome.

The writer keeps it, from what it is told with the events (:meth:`OpenState.apply`), and puts it at the start
of each segment (a ``STATE`` block), so that after a crash recovery needs to read no further back than the
last segment. Recovery feeds the same class from the events themselves (:meth:`OpenState.note`).
"""

from __future__ import annotations

from collections.abc import MutableMapping
from itertools import compress
from typing import Any, Final

import orjson

from hoopproxy.events import CLOSING, OPENING
from hoopproxy.journal.batch import Books
from hoopproxy.journal.format import OPENS, Kind
from hoopproxy.journal.starts import Starts
from hoopproxy.journal.turns import ASK, RECORDS, Envelope, Turn, operation, request

__all__ = ["OpenState"]

# In canonical JSON (sorted keys) an envelope says `"kind":"...","mono":123,"node":"...","op":"..."`. Text
# that a client chose can't hold an unescaped quote, and stands before that; after it come only the gateway's
# own fields, of which labels could spell `"kind":` or `"mono":"`, but never a number. The rest is parsed.
_KIND: Final = b'"kind":"'
_MONO: Final = b'","mono":'
_OP: Final = b'"op":"'
_SEQ: Final = b'"seq":'
_STARTS: Final = frozenset({b"login.succeeded", b"session.start"})
_ENDS: Final = frozenset({b"session.end", b"session.interrupted"})
_REQUESTS: Final = frozenset(kind.encode() for kind in OPENING)
_OUTCOMES: Final = frozenset(kind.encode() for kind in CLOSING)
#: A requested event over this many bytes is kept without its ``event`` part.
_KEPT_BODY: Final = 16384

_SESSIONS: Final = _ENDS | _STARTS
_COMMANDS: Final = _OUTCOMES | _REQUESTS

_OPENING: Final = Kind.EVENT | OPENS << 8
_EVENTS: Final = frozenset(Kind.EVENT | flags << 8 for flags in range(256))
_SESSION_SIZE: Final = 16  # bytes of a session's id; an operation's is longer

Event = dict[str, Any]


def _loads(body: bytes) -> Event | None:
    try:
        event = orjson.loads(body)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _slim(body: bytes) -> bytes:
    if len(body) <= _KEPT_BODY:
        return body
    event = _loads(body) or {}
    event.pop("event", None)
    return orjson.dumps(event, option=orjson.OPT_SORT_KEYS)


def _seq(body: bytes) -> int:
    """An event's ``seq``. A key of that name elsewhere (a label) has a text for its value, and is parsed."""
    start = body.rfind(_SEQ) + 6
    digits = body[start : body.find(b",", start)]
    if start > 5 and digits.isdigit():
        return int(digits)
    return int((_loads(body) or {}).get("seq", 0))


class OpenState:
    """Fold events in the journal's order, with either method."""

    def __init__(self) -> None:
        self._sessions: MutableMapping[int, bytes] = (
            Starts()
        )  # key id -> login.succeeded, and then session.start
        self._last: dict[int, int] = {}  # key id -> seq of the session's latest event
        self._commands: dict[bytes, tuple[int, bytes]] = {}  # op -> key id, command.requested
        self._asked: dict[int, tuple[Envelope, Turn]] = {}  # key id -> the turn whose command is under way

    def __bool__(self) -> bool:
        return bool(self._sessions or self._commands or self._asked)

    def apply(self, books: Books) -> None:
        """Take a batch of records by what was said with them. Only what outlives the batch costs more than
        a moment, and nothing is parsed."""
        commands, sessions, last = self._commands, self._sessions, self._last
        for key, (envelope, turn) in books.turns.items():
            if turn[0] == ASK:
                self._asked[key] = envelope, turn
            else:
                self._asked.pop(key, None)
        notes = books.notes
        for note, code, key, body in compress(
            zip(notes, books.codes, books.keys, books.heads, strict=True), notes
        ):
            if note is None:
                continue
            if code != _OPENING:
                self.close(key, note)
            elif len(note) == _SESSION_SIZE:
                sessions[key], last[key] = body, _seq(body)
            else:
                commands[note] = key, body if len(body) <= _KEPT_BODY else _slim(body)
        if sessions:
            events = map(_EVENTS.__contains__, books.codes)
            latest = dict(compress(zip(books.keys, books.heads, strict=True), events))
            for key in latest.keys() & sessions.keys():
                last[key] = _seq(latest[key])
            for key, (_, turn) in books.turns.items():
                if key in sessions:
                    last[key] = max(last[key], turn[4] + RECORDS[turn[0]] - 2)

    def close(self, key: int, note: bytes) -> None:
        """The operation, or the session of that key, is over."""
        if len(note) == _SESSION_SIZE:
            self._sessions.pop(key, None)
            self._last.pop(key, None)
        elif self._commands.pop(note, None) is None:
            asked = self._asked.get(key)
            if asked is not None and operation(asked[1]) == note:
                del self._asked[key]

    def note(self, key: int, body: bytes) -> None:
        """Take one event's body, as appended under that key id. What isn't JSON is ignored."""
        start = body.rfind(_KIND) + 8
        end = body.find(b'"', start)
        if not body.startswith(_MONO, end) or body.startswith(b'"', end + 9):
            self._note_parsed(key, body)
            return
        kind = body[start:end]
        if kind in _COMMANDS:
            place = body.find(_OP, end) + 6
            self._note(key, kind, body[place : body.find(b'"', place)], body)
        elif kind in _SESSIONS:
            self._note(key, kind, b"", body)
        elif key in self._sessions:
            self._last[key] = _seq(body)

    def _note_parsed(self, key: int, body: bytes) -> None:
        event = _loads(body) or {}
        self._note(key, str(event.get("kind", "")).encode(), str(event.get("op", "")).encode(), body)

    def _note(self, key: int, kind: bytes, op: bytes, body: bytes) -> None:
        if key in self._sessions:
            self._last[key] = _seq(body)
        if kind in _OUTCOMES:
            self._commands.pop(op, None)
        elif kind in _REQUESTS:
            self._commands[op] = key, body if len(body) <= _KEPT_BODY else _slim(body)
        elif kind in _STARTS:
            self._sessions[key], self._last[key] = body, _seq(body)
        elif kind in _ENDS:
            self._sessions.pop(key, None)
            self._last.pop(key, None)

    @property
    def sessions(self) -> list[Event]:
        """The ``session.start`` events of what is open, oldest first; ``login.succeeded`` of what came no further."""
        return [event for event in map(_loads, self._sessions.values()) if event]

    @property
    def commands(self) -> list[Event]:
        """The ``command.requested`` events of what is open, oldest first."""
        return [event for event in (_loads(body) for _, body in self._requests()) if event]

    def _requests(self) -> list[tuple[int, bytes]]:
        """Key id and ``command.requested`` of what is open, those of the turns last."""
        return [*self._commands.values(), *((key, request(*asked)) for key, asked in self._asked.items())]

    @property
    def last_seqs(self) -> dict[str, int]:
        """For each open session (its text id) the ``seq`` of its latest event."""
        result = {}
        for key, start in self._sessions.items():
            session = str((_loads(start) or {}).get("session", ""))
            result[session] = self._last.get(key, 0)
        return result

    @property
    def keys(self) -> dict[str, int]:
        """For each open session (its text id) its key id."""
        return {str((_loads(body) or {}).get("session", "")): key for key, body in self._sessions.items()}

    def without(self, keys: frozenset[int]) -> OpenState:
        """The same without what belongs to these key ids; this very object if nothing does."""
        ops = [op for op, (key, _) in self._commands.items() if key in keys]
        sessions = keys & self._sessions.keys()
        if not ops and not sessions and not keys & self._asked.keys():
            return self
        left = OpenState()
        left._sessions = {key: body for key, body in self._sessions.items() if key not in keys}
        left._last = {key: seq for key, seq in self._last.items() if key not in keys}
        left._commands = {op: kept for op, kept in self._commands.items() if kept[0] not in keys}
        left._asked = {key: asked for key, asked in self._asked.items() if key not in keys}
        return left

    @property
    def starts(self) -> dict[int, bytes]:
        """Key id -> the ``session.start`` event of what is open, as it was appended."""
        return dict(self._sessions)

    def encode(self) -> bytes:
        """The payload of a ``STATE`` block."""
        text = {
            "sessions": [
                [key, body.decode(), self._last.get(key, 0)] for key, body in self._sessions.items()
            ],
            "commands": [[key, body.decode()] for key, body in self._requests()],
        }
        return orjson.dumps(text, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, data: bytes) -> OpenState:
        """Read a ``STATE`` block's payload; ``ValueError`` if it isn't one."""
        self = cls()
        try:
            text = orjson.loads(data)
            for key, start, last in text["sessions"]:
                self._sessions[key] = start.encode()
                self._last[key] = last if isinstance(last, int) else _seq(last.encode())
            for key, body in text["commands"]:  # not noted: it isn't its session's latest event
                requested = body.encode()
                self._commands[str((_loads(requested) or {}).get("op", "")).encode()] = key, requested
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("a state block holds something else") from error
        return self
