"""The search index as the reader process keeps it: with the journals of its state directory at hand."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from hoopproxy.config import Config
from hoopproxy.delivery.surroundings import Surroundings
from hoopproxy.index.consumer import Index, Journals
from hoopproxy.index.rows import RowTexts
from hoopproxy.index.shelf import Shelf, folder_of
from hoopproxy.journal.files import Files
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.reading.journals import Read

__all__ = ["journals_of", "kept_index", "remove_index"]


class Protocols(Protocol):
    """Protocol name -> what reads the rows of its results."""

    def __call__(self, protocol: str, /) -> RowTexts | None: ...


def kept_index(config: Config, around: Surroundings, row_texts: Protocols) -> Index:
    """The index that the configuration asks for."""
    rows = {target.name: row_texts(target.protocol) for target in config.targets if target.index_rows}
    return Index(
        Shelf(folder_of(around.state)),
        rows_of=rows.get,
        journals=journals_of(around.state, around.files),
        run=around.in_thread,
        clock=around.reactor.seconds,
        tell=around.tell,
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
