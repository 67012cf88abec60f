"""What is open: sessions that have started and not ended, commands that were requested and have no outcome.

The writer keeps it as events pass, and puts it at the start of each segment (a ``STATE`` block), so that
after a crash recovery needs to read no further back than the last segment. Recovery feeds the same class.

Noting the same records again changes nothing, so a batch may be noted, fail, and be noted once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import orjson

__all__ = ["OpenState"]

# In canonical JSON (sorted keys) these stand together in the envelope. Text that a client chose can't hold
# an unescaped quote, and everything after the envelope's kind is the gateway's own, so the last match is it.
_KIND: Final = re.compile(rb'"kind":"([a-z_.]+)","mono":\d+,(?:"node":"[^"\\]*",)?(?:"op":"([^"\\]+)")?')
_STARTS: Final = b"session.start"
_ENDS: Final = frozenset({b"session.end", b"session.interrupted"})
_REQUESTED: Final = b"command.requested"
_OUTCOMES: Final = frozenset(
    {b"command.completed", b"command.denied", b"command.skipped", b"command.unfinished"}
)
#: A requested event over this many bytes is kept without its ``event`` part.
_KEPT_BODY: Final = 16384

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


class OpenState:
    """Fold events in the journal's order with :meth:`note`; about 1 us each, nothing is parsed."""

    def __init__(self) -> None:
        self._sessions: dict[int, bytes] = {}  # key id -> session.start
        self._last: dict[int, bytes] = {}  # key id -> the session's latest event
        self._commands: dict[bytes, tuple[int, bytes]] = {}  # op -> key id, command.requested

    def __bool__(self) -> bool:
        return bool(self._sessions or self._commands)

    def note(self, key: int, body: bytes) -> None:
        """Take one event's body, as appended under that key id. What isn't JSON is ignored."""
        match = _KIND.match(body, max(body.rfind(b'"kind":"'), 0))
        if match is not None:
            kind, op = match.groups()
        else:
            kind, op = None, None
        if kind is None or (op is None and kind.startswith(b"command.")):
            event = _loads(body) or {}
            kind = str(event.get("kind", "")).encode()
            op = str(event.get("op", "")).encode()
        if key in self._sessions:
            self._last[key] = _slim(body)
        if kind == _STARTS:
            self._sessions[key] = self._last[key] = body
        elif kind in _ENDS:
            self._sessions.pop(key, None)
            self._last.pop(key, None)
        elif kind == _REQUESTED:
            self._commands[op or b""] = key, _slim(body)
        elif kind in _OUTCOMES:
            self._commands.pop(op or b"", None)

    @property
    def sessions(self) -> list[Event]:
        """The ``session.start`` events of what is open, oldest first."""
        return [event for event in map(_loads, self._sessions.values()) if event]

    @property
    def commands(self) -> list[Event]:
        """The ``command.requested`` events of what is open, oldest first."""
        return [event for event in (_loads(body) for _, body in self._commands.values()) if event]

    @property
    def last_seqs(self) -> dict[str, int]:
        """For each open session (its text id) the ``seq`` of its latest event."""
        result = {}
        for key, start in self._sessions.items():
            session = str((_loads(start) or {}).get("session", ""))
            result[session] = int((_loads(self._last.get(key, start)) or {}).get("seq", 0))
        return result

    @property
    def keys(self) -> dict[str, int]:
        """For each open session (its text id) its key id."""
        return {str((_loads(body) or {}).get("session", "")): key for key, body in self._sessions.items()}

    def encode(self) -> bytes:
        """The payload of a ``STATE`` block."""
        text = {
            "sessions": [
                [key, body.decode(), self._last.get(key, body).decode()]
                for key, body in self._sessions.items()
            ],
            "commands": [[key, body.decode()] for key, body in self._commands.values()],
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
                self._last[key] = last.encode()
            for key, body in text["commands"]:
                self.note(key, body.encode())
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("a state block holds something else") from error
        return self

    def note_all(self, events: Iterable[tuple[int, bytes]]) -> None:
        """:meth:`note` for each."""
        for key, body in events:
            self.note(key, body)
