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
from hoopproxy.reading.answers import EventLine, Located
from hoopproxy.reading.filters import Filter
from hoopproxy.reading.journals import event_of
from hoopproxy.reading.scope import EVERYTHING, Scope
from hoopproxy.reading.searching import Search, search
from hoopproxy.reading.sessions import Found, NoSuchSession, events_of, find_session

__all__ = ["locate", "notes_about"]

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


def locate(folders: Sequence[Folder], name: str, scope: Scope) -> Located:
    """The session of that name, or of the operation with that id.

    :raises NoSuchSession: there is none that may be seen.
    """
    try:
        found, op = find_session(folders, name, scope), ""
    except NoSuchSession:
        session = _of_operation(folders, name, scope)
        if session is None:
            raise
        found, op = find_session(folders, session, scope), name.lower()
    return Located(found.session, op, _target(found))


def _of_operation(folders: Sequence[Folder], name: str, scope: Scope) -> str | None:
    try:
        wanted = uuid.UUID(name)
    except ValueError:
        return None
    # A UUIDv7 says when it was made, in ms.
    made = (wanted.int >> 80) * 1_000_000
    needle = b'"op":"%b"' % str(wanted).encode()
    for folder in folders:
        with JournalReader(folder, since_time=max(made - _BEFORE, 0)) as reader:
            for record in reader:
                if record.time > made + _AFTER:
                    break
                if record.kind == Kind.EVENT and needle in record.opened():
                    line = event_of(record, folder)
                    if line is not None and line.event.get("op") == str(wanted) and scope.covers(line.event):
                        return str(line.event.get("session"))
    return None


def _target(found: Found) -> str:
    for count, line in enumerate(events_of(found)):
        target = line.event.get("target")
        if isinstance(target, dict):
            return str(target.get("name", ""))
        if count > _LOOK:
            break
    return ""
