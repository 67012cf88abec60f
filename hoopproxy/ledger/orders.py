"""What a journal itself says of records that it no longer has: by whose order they went. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["KINDS", "Orders"]

RETENTION = "audit.retention"
KINDS = ("audit.erasure", RETENTION)


class Orders:
    """The orders that are on record in a journal, as they are come to.

    :ivar events: their numbers, which the segments name that were rewritten by them. :ivar removed_to: the highest
        number that retention says it removed. :ivar interrupted: an order of retention has no end on record: nothing
        says what it removed until then.
    """

    def __init__(self) -> None:
        self.events: set[int] = set()
        self.removed_to = 0
        self.interrupted = False
        self._under_way = False
        self._sessions: dict[str, int] = {}

    def hear(self, event: Mapping[str, Any], jseq: int) -> None:
        """An event of the gateway's own, of whatever kind."""
        said = event.get("event")
        if event.get("kind") not in KINDS or not isinstance(said, dict):
            return
        if said.get("state") == "ordered":
            self.events.add(jseq)
        for session in said.get("sessions") or ():
            self._sessions.setdefault(session, jseq)
        if event["kind"] == RETENTION:
            self._retained(said)

    def _retained(self, said: Mapping[str, Any]) -> None:
        is_order = said.get("state") == "ordered"
        self.interrupted |= is_order and self._under_way
        self._under_way = is_order
        removed_to = said.get("removed_to")
        if isinstance(removed_to, int):
            self.removed_to = max(self.removed_to, removed_to)

    def finish(self) -> None:
        """There are no more events."""
        self.interrupted |= self._under_way

    def of(self, session: str) -> int:
        """The event that ordered a session's erasing; 0: none that is on record."""
        return self._sessions.get(session, 0)
