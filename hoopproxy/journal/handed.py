"""Records as one part of the trail's process hands them to another: some are still told as turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from hoopproxy.journal.turns import Told

__all__ = ["HandedTurn", "entries_of"]


class HandedTurn:
    """Records that were written as one turn, on their way to whoever is spared work by that.

    :ivar told: as the journal's reader gave it.
    """

    __slots__ = ("_said", "told")

    def __init__(self, told: Told) -> None:
        self.told = told
        self._said: Mapping[str, Any] | None = None

    @property
    def jseq(self) -> int:
        """The number of its first record, the chunk."""
        return self.told.jseq

    @property
    def first_said(self) -> Mapping[str, Any]:
        """The own part (``event``) of its first event, parsed once for everybody."""
        found = self._said
        if found is None:
            found = self._said = orjson.loads(self.told.said[0])
        return found

    def records(self) -> Sequence[Any]:
        """Its records, as whoever hands it out hands out records."""
        raise NotImplementedError

    @property
    def session(self) -> bytes:
        """The session's 16 bytes."""
        found: bytes = self.told.envelope[7]
        return found


def entries_of(records: Sequence[Any]) -> Sequence[Any]:
    """Records as they came: turns (:class:`HandedTurn`) left together where whoever hands them out does that."""
    entries: Sequence[Any] = getattr(records, "entries", records)
    return entries
