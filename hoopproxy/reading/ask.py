"""One question to the journals, answered piece by piece. The same for a person's own process and the
gateway's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson

from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.index.rows import RowTexts
from hoopproxy.index.screens import Screens
from hoopproxy.index.words import Query
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import UnsupportedFormat
from hoopproxy.reading.answers import Answer, EventLine, Problem, Question
from hoopproxy.reading.journals import follow, last_events
from hoopproxy.reading.notes import locate, named, notes_about
from hoopproxy.reading.proven import exhibits
from hoopproxy.reading.scope import Scope
from hoopproxy.reading.searching import Search, search
from hoopproxy.reading.sessions import exported, list_sessions, recording, session_events
from hoopproxy.reading.timeline import Timeline

__all__ = ["ask", "request"]


def request(state: Path, question: Question, scope: Scope, reader_key: bytes | None = None) -> bytes:
    """The line that asks a process that reads (:mod:`hoopproxy.trail`); whoever writes it has decided on the
    scope. :param reader_key: opens the events of sealed journals, if it isn't in the state directory."""
    values: dict[str, object] = {
        "state": str(state),
        "question": question.as_json(),
        "scope": scope.as_json(),
    }
    if reader_key is not None:
        values["reader_key"] = reader_key.hex()
    return orjson.dumps(values) + b"\n"


def ask(
    find: Callable[[], Sequence[Folder]],
    question: Question,
    scope: Scope,
    *,
    sleep: Callable[[float], None] = time.sleep,
    going_on: Callable[[], bool] = lambda: True,
    row_texts: Callable[[str], RowTexts | None] = lambda protocol: None,
    screen_texts: Callable[[str], Screens | None] = lambda protocol: None,
) -> Iterator[Answer]:
    """The pieces of the answer, in order. What goes wrong is the last piece, a :class:`Problem`; never an
    error.

    :param find: gives the journals there are now. :param going_on: ends a tail that is followed.
    :param row_texts: a protocol's name -> what reads the rows of its results, for a search in them; ``screen_texts``:
        what reads what its sessions showed.
    """
    try:
        if question.action == "sessions":
            yield from list_sessions(find(), question.filter, scope, question.limit, question.every)
        elif question.action == "search":
            wanted = Search(
                query=Query.parse(question.query),
                filter=question.filter,
                scope=scope,
                row_texts=row_texts,
                screen_texts=screen_texts,
            )
            yield from search(find(), wanted, question.limit)
        elif question.action == "timeline":
            yield from last_events(find(), Timeline(question.filter, scope), scope, question.limit)
        elif question.action == "tail" and question.follow:
            yield from follow(find, question.filter, scope, question.limit, sleep=sleep, going_on=going_on)
        elif question.action == "tail":
            yield from last_events(find(), question.filter, scope, question.limit)
        else:
            yield from _of_session(find(), question, scope)
    except (Damaged, UnsupportedFormat) as error:
        yield Problem("damaged", str(error))
    except HoopproxyError as error:
        yield Problem("not_found", str(error))
    except OSError as error:
        yield Problem(
            "failed", f"{error.filename or 'the journal'}: {error.strerror or type(error).__name__}"
        )


def _of_session(folders: Sequence[Folder], question: Question, scope: Scope) -> Iterator[Answer]:
    if question.action == "locate":
        yield locate(folders, question.session, scope)
        return
    found, _ = named(folders, question.session, scope)
    if question.action == "show":
        yield from session_events(found, question.filter, scope)
        yield from (
            note for note in notes_about(folders, found.session) if question.filter.matches(note.event)
        )
    elif question.action == "replay":
        yield from recording(found, scope)
    else:
        sealed: list[tuple[int, str]] = []
        for piece in exported(found, scope, notes_about(folders, found.session), form=question.format):
            if isinstance(piece, EventLine) and piece.event.get("journal") == found.folder.path.name:
                sealed.append((int(piece.event["jseq"]), str(piece.event.get("id", ""))))
            yield piece
        if question.format == "bundle":
            yield from exhibits(found.folder, [each for each in sealed if each[1]])
