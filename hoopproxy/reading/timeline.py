"""Everything that happened, in one order: what was asked for, and what changed around it."""

from __future__ import annotations

from typing import Final

from hoopproxy.reading.filters import Envelope, Filter
from hoopproxy.reading.scope import Scope

__all__ = ["AROUND", "Timeline"]

AROUND: Final = (
    "gateway.started",
    "gateway.stopped",
    "gateway.config_changed",
    "gateway.journal",
    "gateway.clock",
    "gateway.plugin_failed",
    "audit.gap",
    "audit.erasure",
    "audit.hold",
)
"""Kinds that are of no session and no target, and bear on all of them."""

_BYTES: Final = tuple(b'"kind":"%b"' % kind.encode() for kind in AROUND)


class Timeline:
    """Wants what a filter asks for, and besides, whoever may see it, what is around it in time.

    Filters of kind, outcome and words are about what happened and leave the rest out.
    """

    def __init__(self, wanted: Filter, scope: Scope) -> None:
        self._wanted = wanted
        self._around = scope.everything and not wanted.about_single_events

    @property
    def since(self) -> str:
        """See :class:`~hoopproxy.reading.filters.Filter`."""
        return self._wanted.since

    def may_match(self, body: bytes) -> bool:
        """See :class:`~hoopproxy.reading.filters.Wanted`."""
        return self._wanted.may_match(body) or (self._around and any(kind in body for kind in _BYTES))

    def matches(self, event: Envelope) -> bool:
        """See :class:`~hoopproxy.reading.filters.Wanted`."""
        if self._wanted.matches(event):
            return True
        return self._around and event.get("kind") in AROUND and self._wanted.about_event(event)
