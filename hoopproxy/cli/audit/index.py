"""``hoopproxy audit index``: what the search index of a state directory knows, and making it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import click
import orjson

from hoopproxy.cli.audit.options import as_json
from hoopproxy.cli.audit.paint import Piece
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.cli.audit.table import aligned
from hoopproxy.cli.audit.words import size
from hoopproxy.cli.journal.place import state_of
from hoopproxy.config import load
from hoopproxy.delivery.indexing import readers_of
from hoopproxy.discovery import installed, row_texts, screen_texts
from hoopproxy.errors import HoopproxyError
from hoopproxy.index.consumer import Index
from hoopproxy.index.looking import PartReader
from hoopproxy.index.part import BadPart
from hoopproxy.index.shelf import Shelf, folder_of
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.reader import JournalReader
from hoopproxy.reading.answers import Answer
from hoopproxy.reading.journals import Looking, Read, at_rest

__all__ = ["index"]

_BATCH: Final = 2000
_NAMES: Final = ("JOURNAL", "PARTS", "EVENTS", "DOCUMENTS", "UP TO RECORD", "SIZE", "STATE")
_RIGHT: Final = frozenset(_NAMES[1:6])


@click.command()
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="The state directory: needs its owner's permission. Rows of results are not indexed.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The gateway's configuration, which names the directory and the targets whose rows are indexed.",
)
@click.option("--rebuild", is_flag=True, help="Throw the index away and make it again from the journals.")
@as_json
@click.pass_context
def index(
    ctx: click.Context, /, state: Path | None, config: Path | None, rebuild: bool, as_json: bool
) -> None:
    """Show what the search index knows, or make it again from the journals.

    The index holds nothing that the journals don't: it can be deleted at any time. The gateway's reader process
    makes it again by itself; --rebuild is for a state directory that no gateway runs on.
    """
    screen = Screen(as_json)
    with screen.closing(ctx):
        state = state_of(config, state)
        shelf, folders = Shelf(folder_of(state)), at_rest(state)
        if rebuild:
            made = _made(shelf, config)
            for _ in screen.pieces(_rebuilt(made, shelf, folders)):
                pass
        known = [_known(shelf, folder) for folder in folders]
        if as_json:
            screen.json(orjson.dumps(attrs.asdict(each)) for each in known)
        else:
            screen.lines(aligned(_NAMES, [_row(each) for each in known], _RIGHT))


@attrs.frozen(kw_only=True)
class _Known:
    """What the index knows of a journal. ``records``: up to which one; ``state``: sound, none or damaged."""

    journal: str
    parts: int
    events: int
    documents: int
    records: int
    bytes: int
    state: str


def _made(shelf: Shelf, path: Path | None) -> Index:
    """An index with what the configuration has indexed. :raises HoopproxyError: there is to be none."""
    if path is None:
        return Index(shelf)
    plugins = installed(lambda _: None)
    config = load(path, protocols=plugins.protocols, checkers=plugins.checkers, schemes=plugins.schemes)
    if not config.indexes:
        raise HoopproxyError(f"{path}: there is to be no index ([index] enabled = false, or [encryption])")
    rows, screens = readers_of(config, row_texts, screen_texts)
    return Index(shelf, rows_of=rows.get, screens_of=screens.get if screens else None)


def _rebuilt(made: Index, shelf: Shelf, folders: list[Folder]) -> Iterator[Answer]:
    looking = Looking(folders)
    made.hold()
    for folder in folders:
        shelf.drop(folder.id)
        with JournalReader(folder) as reader:
            batch: list[Read] = []
            for record in reader:
                report = looking.report(folder, record)
                if report is not None:
                    yield report
                batch.append(Read(record, folder))
                if len(batch) >= _BATCH:
                    made.take(folder.id, batch)
                    batch = []
            made.take(folder.id, batch)
    made.stop()


_STYLES: Final = {"sound": "good", "none": "warn", "damaged": "bad"}


def _known(shelf: Shelf, folder: Folder) -> _Known:
    parts = shelf.parts(folder.id)
    events = documents = used = 0
    state, position = "sound" if parts else "none", 1
    for part in parts:
        used += sum(path.stat().st_size for path in part.files if path.exists())
        try:
            with PartReader(part, folder.id) as reader:
                _, some, more = reader.counts
                position = reader.position
        except (BadPart, OSError):
            state = "damaged"
            continue
        documents, events = documents + some, events + more
    return _Known(
        journal=folder.path.name,
        parts=len(parts),
        events=events,
        documents=documents,
        records=position - 1,
        bytes=used,
        state=state,
    )


def _row(known: _Known) -> list[Piece]:
    return [
        ("title", known.journal),
        ("", str(known.parts)),
        ("", f"{known.events:,}"),
        ("", f"{known.documents:,}"),
        ("", f"{known.records:,}"),
        ("", size(known.bytes).replace(" bytes", " B").replace(" byte", " B")),
        (_STYLES[known.state], known.state),
    ]
