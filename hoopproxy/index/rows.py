"""The bytes of results, kept until an event says which of them are one result. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from hoopproxy.journal.record import Record, chunk_of

__all__ = ["Place", "RowTexts", "Rows"]

MAX_HELD: Final = 8 << 20
"""Bytes of one session's results that wait for their event; of a longer result the end is searched."""

RowTexts = Callable[[bytes], Iterable[str]]
"""The texts in the bytes of a result as its client saw them: what a protocol's plugin offers as ``row_texts``."""


@attrs.frozen
class Place:
    """A record's number, and where its block is."""

    jseq: int
    segment: int
    offset: int


class Rows:
    """The results of one session."""

    def __init__(self, texts: RowTexts) -> None:
        self._texts = texts
        self._held: deque[tuple[int, bytes, Place]] = deque()
        self._size = 0

    def feed(self, record: Record) -> None:
        """Take a chunk; only what the client saw counts."""
        if record.is_closed:  # sealed for the auditors: its rows are in no index
            return
        chunk = chunk_of(record)
        if chunk.leg != 0 or chunk.direction != 1:
            return
        place = Place(record.jseq, record.segment, record.offset)
        self._held.append((chunk.offset, bytes(chunk.data), place))
        self._size += len(chunk.data)
        while self._size > MAX_HELD and len(self._held) > 1:
            self._drop()

    def _drop(self) -> None:
        self._size -= len(self._held.popleft()[1])

    def result(self, event: Mapping[str, Any]) -> tuple[Iterable[str], Place | None, bool]:
        """The texts of the result that ``command.result`` is about, where its bytes begin, and whether they
        were all there."""
        said = event.get("event")
        span = said.get("range") if isinstance(said, Mapping) else None
        if not (isinstance(span, list) and len(span) == 2 and all(isinstance(each, int) for each in span)):
            return (), None, True
        start, end = span
        while self._held and self._held[0][0] + len(self._held[0][1]) <= start:
            self._drop()
        if not self._held:
            return (), None, start >= end
        at, _, place = self._held[0]
        data = b"".join(part for offset, part, _ in self._held if offset < end)
        while self._held and self._held[0][0] + len(self._held[0][1]) <= end:
            self._drop()
        whole = at <= start
        return self._texts(data[max(start - at, 0) : end - at]), place, whole
