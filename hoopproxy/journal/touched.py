"""Which sessions damage touched, as far as what is left tells it."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import orjson

from hoopproxy.errors import Damaged
from hoopproxy.journal.damage import LISTED, NAMED
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keys import GATEWAY_KEY, KeyFile
from hoopproxy.journal.record import Record

__all__ = ["Touched"]

_FOLLOWED: Final = 100_000
"""Sessions that are followed at a time; one takes some hundred bytes."""


class Touched:
    """Sessions by what tells of them: a damaged block names them (:meth:`name`), or their events leave numbers out.

    :ivar sessions: touched for certain. :ivar perhaps: open when the damage came, and silent since. :ivar more: beyond
        :data:`LISTED`.
    """

    def __init__(self, keys: KeyFile | None) -> None:
        self._keys = keys
        self._seen: OrderedDict[int, tuple[int, int]] = (
            OrderedDict()
        )  # key id: seq and jseq of the last event
        self.sessions: dict[str, None] = {}
        self.more = 0
        self.is_unread = 0

    def name(self, keys: Iterable[int]) -> tuple[str, ...]:
        """The sessions of these key ids, in text; they are touched."""
        found = [self._text(key) for key in sorted(keys) if key != GATEWAY_KEY]
        for each in found:
            if each not in self.sessions and len(self.sessions) >= LISTED:
                self.more += 1
                continue
            self.sessions[each] = None
        return tuple(found[:NAMED])

    def _text(self, key: int) -> str:
        try:
            return f"key {key}" if self._keys is None else str(uuid.UUID(bytes=self._keys.get(key).session))
        except (Damaged, ValueError):
            return f"key {key}"

    def gap(self, jseq: int) -> None:
        """Records from this one on can't be read."""
        self.is_unread = jseq

    def read(self, record: Record) -> None:
        """A sound record."""
        if record.kind != Kind.EVENT or record.key_id == GATEWAY_KEY or record.is_closed:
            return
        try:
            event = orjson.loads(record.body)
        except ValueError:
            return
        seq = event.get("seq") if isinstance(event, dict) else None
        if not isinstance(seq, int):
            return
        before, _ = self._seen.pop(record.key_id, (0 if self.is_unread else seq - 1, 0))
        if self.is_unread and seq > before + 1:
            self.name((record.key_id,))
        if event.get("kind") == "session.end":
            return
        self._seen[record.key_id] = seq, record.jseq
        if len(self._seen) > _FOLLOWED:
            self._seen.popitem(last=False)

    def perhaps(self) -> list[str]:
        """Those that had begun before the last records that can't be read, and of which nothing came after."""
        silent = [key for key, (_, jseq) in self._seen.items() if jseq < self.is_unread]
        found = [self._text(key) for key in silent]
        return [each for each in found if each not in self.sessions][:LISTED]
