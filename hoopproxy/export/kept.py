"""What stays the same in a session, made once. Pure: what is kept is compared with the record, not believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from hoopproxy.export.operation import Record

__all__ = ["Kept"]

_SESSIONS: Final = 2_048
"""Sessions that are kept, up to 50 KB each; then all are made anew."""

_LAST: Final = frozenset(("session.end", "session.interrupted"))
"""With these a session is over, and what was kept of it goes."""

_T = TypeVar("_T")
Who = tuple[Any, ...]


class Kept(Generic[_T]):
    """Something made of who, from where and where to, by the name of the session.

    :param make: is given a record and the session's facts, and may use of the record only what is compared:
        identity, client, target, protocol, node, session, journal, tenant.
    """

    def __init__(self, make: Callable[[Record, Mapping[str, str]], _T]) -> None:
        self._make = make
        self._kept: dict[str, tuple[Who, _T]] = {}

    def of(self, record: Record, facts: Mapping[str, str]) -> _T:
        """The same input gives the same, kept or not; not to be changed."""
        get = record.get
        session = get("session") or ""
        who = (
            get("identity"),
            get("client"),
            get("target"),
            get("protocol"),
            get("node"),
            get("journal"),
            get("tenant"),
            facts,
        )
        is_over = get("kind") in _LAST
        kept = self._kept.pop(session, None) if is_over else self._kept.get(session)
        if kept is not None and kept[0] == who:
            return kept[1]
        made = self._make(record, facts)
        if is_over:
            return made
        if len(self._kept) >= _SESSIONS:
            self._kept.clear()
        self._kept[session] = who, made
        return made
