"""Whose a record is: the session, identity and target that belong to a key id, learnt from the events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

__all__ = ["NOBODY", "Owners", "Whose"]


@attrs.frozen(kw_only=True)
class Whose:
    """What is known of a key id; ``None`` is not known (yet)."""

    session: str | None = None
    identity: str | None = None
    target: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether nothing more can be learnt."""
        return None not in (self.session, self.identity, self.target)


NOBODY = Whose()


class Owners:
    """Fold events in any order; the gateway's own key belongs to nobody."""

    def __init__(self) -> None:
        self._known: dict[int, Whose] = {}

    def of(self, key_id: int) -> Whose:
        """What is known of that key id."""
        return self._known.get(key_id, NOBODY)

    def items(self) -> Mapping[int, Whose]:
        """Everything that is known, by key id."""
        return self._known

    def see(self, key_id: int, body: bytes) -> None:
        """Take an event's body, as recorded under that key id. What isn't JSON teaches nothing."""
        before = self._known.get(key_id, NOBODY)
        if not key_id or before.is_known:
            return
        try:
            event = orjson.loads(body)
        except ValueError:
            return
        if isinstance(event, dict):
            self._known[key_id] = Whose(
                session=before.session or _text(event.get("session")),
                identity=before.identity or _inner(event.get("identity"), "id"),
                target=before.target or _inner(event.get("target"), "name"),
            )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _inner(value: Any, name: str) -> str | None:
    return _text(value.get(name)) if isinstance(value, dict) else None
