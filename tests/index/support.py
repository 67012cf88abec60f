"""Journals that are played through the real gate, indexed, and searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hoopproxy.discovery import row_texts, screen_texts
from hoopproxy.index.consumer import Index
from hoopproxy.index.shelf import Shelf, folder_of
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.reader import JournalReader
from hoopproxy.reading.answers import Answer, EventLine, Question
from hoopproxy.reading.ask import ask
from hoopproxy.reading.filters import Filter
from hoopproxy.reading.journals import Read, at_rest
from hoopproxy.reading.scope import EVERYTHING, Scope


def shelf_of(state: Path) -> Shelf:
    return Shelf(folder_of(state))


def taken(folder: Folder, since: int = 1, end: int | None = None) -> list[Read]:
    """The records of a journal, as the reader process hands them out."""
    with JournalReader(folder, since=since) as reader:
        return [Read(record, folder) for record in reader if end is None or record.jseq < end]


def indexed(state: Path, folder: Folder, *, targets_with_rows: Sequence[str] = ()) -> Index:
    """The journal as far as it is written, in the index; closed."""
    rows, screens = row_texts("postgres"), screen_texts("ssh")
    index = Index(
        shelf_of(state),
        rows_of=lambda target: rows if target in targets_with_rows else None,
        screens_of=lambda target: screens if target in targets_with_rows else None,
    )
    since = index.position(folder.id)
    records = taken(folder, since)
    if records:
        index.take(folder.id, records)
    index.stop()
    return index


def answers(
    state: Path, query: str, scope: Scope = EVERYTHING, limit: int = 0, **filters: Any
) -> list[Answer]:
    question = Question(action="search", query=query, filter=Filter(**filters), limit=limit)
    return list(ask(lambda: at_rest(state), question, scope, row_texts=row_texts, screen_texts=screen_texts))


def found(state: Path, query: str, scope: Scope = EVERYTHING, limit: int = 0, **filters: Any) -> list[str]:
    """Kind and essence of what was found, in order."""
    return [
        said(piece)
        for piece in answers(state, query, scope, limit, **filters)
        if isinstance(piece, EventLine)
    ]


def said(line: EventLine) -> str:
    event = line.event
    inner = event["event"]
    return f"{event['kind']} {inner.get('text') or inner.get('tag') or inner.get('cause') or ''}".strip()
