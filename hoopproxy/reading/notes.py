"""What was noted about a session afterwards, and where a name leads."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Final

from hoopproxy.index.words import Query
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keys import GATEWAY_KEY
from hoopproxy.journal.reader import JournalReader
from hoopproxy.reading.answers import EventLine, Located, Problem
from hoopproxy.reading.filters import Envelope, Filter
from hoopproxy.reading.journals import event_of, readable
from hoopproxy.reading.scope import EVERYTHING, Scope
from hoopproxy.reading.searching import Search, search
from hoopproxy.reading.sessions import Found, NoSuchSession, events_of, find_session

__all__ = ["locate", "named", "notes_about"]

NOTE: Final = "audit.note"
MOST: Final = 1000
"""Notes of one session that are shown, the newest."""

_LOOK: Final = 1000  # events of a session that are read to learn where it was
_BEFORE: Final = 5_000_000_000
_AFTER: Final = 120_000_000_000
"""Ns around an id's own time in which its record was written: a step of the clock, the journal's lag."""


def notes_about(folders: Sequence[Folder], session: str) -> Iterator[EventLine]:
    """The notes about a session, in order. Whoever may see it may see these."""
    wanted = Search(
        query=Query.parse(session),
        filter=Filter(kinds=(NOTE,)),
        scope=EVERYTHING,
        keys=frozenset((GATEWAY_KEY,)),
    )
    for piece in search(folders, wanted, MOST):
        if isinstance(piece, EventLine) and piece.event["event"].get("session") == session:
            yield piece


def named(folders: Sequence[Folder], name: str, scope: Scope) -> tuple[Found, str]:
    """The session of that name, or of the event or operation with that id; and the operation, if the id is of one.

    A client that was refused was told an event's id.

    :raises NoSuchSession: there is none that may be seen.
    """
    try:
        return find_session(folders, name, scope), ""
    except NoSuchSession:
        event = _event_of_id(folders, name, scope)
        if event is None:
            raise
    return find_session(folders, str(event["session"]), scope), str(event.get("op", ""))


def locate(folders: Sequence[Folder], name: str, scope: Scope) -> Located:
    """Where a name leads. :raises NoSuchSession: as :func:`named`."""
    found, op = named(folders, name, scope)
    return Located(found.session, op, _target(found))


def _event_of_id(folders: Sequence[Folder], name: str, scope: Scope) -> Envelope | None:
    """An event of a session that has this id, or is of the operation that has it."""
    try:
        wanted = str(uuid.UUID(name))
    except ValueError:
        return None
    # A UUIDv7 says when it was made, in ms.
    made = (uuid.UUID(wanted).int >> 80) * 1_000_000
    needle = wanted.encode()
    for folder in folders:
        with JournalReader(folder, since_time=max(made - _BEFORE, 0)) as reader:
            for record in readable(reader):
                if isinstance(record, Problem):
                    continue  # it may be behind the damage
                if record.time > made + _AFTER:
                    break
                if record.kind != Kind.EVENT or needle not in record.opened():
                    continue
                line = event_of(record, folder)
                if line is None or "session" not in line.event or not scope.covers(line.event):
                    continue
                if wanted in (line.event.get("op"), line.event.get("id")):
                    return line.event
    return None


def _target(found: Found) -> str:
    for count, line in enumerate(events_of(found)):
        target = line.event.get("target")
        if isinstance(target, dict):
            return str(target.get("name", ""))
        if count > _LOOK:
            break
    return ""
