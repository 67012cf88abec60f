"""The search index as the reader process keeps it: with the journals of its state directory at hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from hoopproxy.config import Config
from hoopproxy.delivery.surroundings import Surroundings
from hoopproxy.index.consumer import Index, Journals
from hoopproxy.index.rows import RowTexts
from hoopproxy.index.screens import Screens
from hoopproxy.index.shelf import Shelf, folder_of
from hoopproxy.journal.files import Files
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.reading.journals import Read

__all__ = ["journals_of", "kept_index", "readers_of", "remove_index"]


Named = Callable[[str], RowTexts | None]
Shown = Callable[[str], Screens | None]


def kept_index(config: Config, around: Surroundings, row_texts: Named, screen_texts: Shown) -> Index:
    """The index that the configuration asks for. :param row_texts: protocol name -> what reads the rows of its results,
    ``screen_texts``: what reads what its sessions showed."""
    rows, screens = readers_of(config, row_texts, screen_texts)
    return Index(
        Shelf(folder_of(around.state)),
        rows_of=rows.get,
        screens_of=screens.get if screens else None,
        journals=journals_of(around.state, around.files),
        run=around.in_thread,
        clock=around.reactor.seconds,
        tell=around.tell,
    )


def readers_of(
    config: Config, row_texts: Named, screen_texts: Shown
) -> tuple[dict[str, RowTexts | None], dict[str, Screens]]:
    """By target: what reads the rows of its results, and what reads what its sessions showed."""
    targets = [target for target in config.targets if target.index_rows]
    screens = {target.name: screen_texts(target.protocol) for target in targets}
    return (
        {target.name: row_texts(target.protocol) for target in targets},
        {name: reader for name, reader in screens.items() if reader is not None},
    )


def remove_index(state: Path) -> None:
    """Whoever turns the index off wants none of its words on the disk. :raises OSError:"""
    shelf = Shelf(folder_of(state))
    for journal in shelf.journals():
        shelf.drop(journal)


def journals_of(state: Path, files: Files) -> Journals:
    """The journals below a state directory, as the index asks for them."""

    def folder(journal: bytes) -> Folder:
        return Folder(state / "journals" / str(uuid.UUID(bytes=journal)), files)

    def oldest(journal: bytes) -> int:
        try:
            headers = sound_segments(folder(journal))
        except FileNotFoundError:
            return 1 << 62  # the journal itself is gone
        return headers[0].first_jseq if headers else 1

    def reread(journal: bytes, first: int, end: int) -> Iterator[Any]:
        place = folder(journal)
        with JournalReader(place, since=first) as reader:
            for record in reader:
                if record.jseq >= end:
                    return
                yield Read(record, place)

    def rewritten(journal: bytes, first: int, end: int) -> int:
        try:
            headers = sound_segments(folder(journal))
        except FileNotFoundError:
            return 0
        within = (
            one
            for one, following in pairwise(headers)
            if following.first_jseq > first and one.first_jseq < end
        )
        return max(_orders(within), default=0)

    return Journals(oldest=oldest, reread=reread, rewritten=rewritten)


def _orders(headers: Iterable[Any]) -> Iterator[int]:
    return (header.rewritten_by for header in headers)
