"""Records as one part of the trail's process hands them to another: some are still told as turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from hoopproxy.events.forms import Asking, Ending
from hoopproxy.journal.forms import asking, ending
from hoopproxy.journal.turns import Told

__all__ = ["HandedTurn", "entries_of"]


class HandedTurn(Told):
    """Records that were written as one turn, on their way to whoever is spared work by that."""

    __slots__ = ("_said",)
    _said: Mapping[str, Any]

    @property
    def asking(self) -> Asking | None:
        """(of a request) What is known of its form."""
        return asking(self.form, self.fields)

    @property
    def ending(self) -> Ending | None:
        """(of an answer) What is known of its end's form."""
        return ending(self.form)

    @property
    def first_said(self) -> Mapping[str, Any]:
        """The own part (``event``) of its first event, parsed once for everybody."""
        try:
            return self._said
        except AttributeError:  # the first who asks
            found: Mapping[str, Any] = orjson.loads(self.said[0])
            self._said = found
            return found

    def taken(self) -> Sequence[Any]:
        """Its records, as whoever hands it out hands out records."""
        raise NotImplementedError

    @property
    def session(self) -> bytes:
        """The session's 16 bytes."""
        found: bytes = self.envelope[7]
        return found


def entries_of(records: Sequence[Any]) -> Sequence[Any]:
    """Records as they came: turns (:class:`HandedTurn`) left together where whoever hands them out does that."""
    entries: Sequence[Any] = getattr(records, "entries", records)
    return entries
