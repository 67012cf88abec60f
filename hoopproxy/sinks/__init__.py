"""Sinks: readers of the journal that take the trail somewhere else. Here is what they are handed.

A sink is an :class:`~hoopproxy.interfaces.IAuditSink`, found as any plugin is. It runs in the process that reads
the trail, behind the sessions' back. A batch comes in the journal's order and comes again until the sink has
accepted it, so a record can come twice: :attr:`Delivery.id` tells.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["Delivery"]


@attrs.frozen(kw_only=True)
class Delivery:
    """One event of the trail.

    :ivar body: its canonical JSON (RFC 8785): one line of UTF-8 without an end, the bytes that get sealed.
    :ivar event: the same, parsed once for every sink; not to be changed.
    """

    body: bytes
    event: Mapping[str, object] = attrs.field(repr=False, eq=False)

    @property
    def id(self) -> str:
        """Unique for each record: the key to drop repetitions by. Empty for a gap that was found on reading."""
        return str(self.event.get("id", ""))

    @property
    def kind(self) -> str:
        """Its name in ``hoopproxy.events.CATALOGUE``."""
        return str(self.event["kind"])

    @property
    def place(self) -> tuple[str, int]:
        """The journal's id and the record's number in it."""
        jseq = self.event["jseq"]
        assert isinstance(jseq, int)
        return str(self.event["journal"]), jseq
