"""What every event of a session repeats, as the bytes between the fields that change."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Envelope"]


class Envelope(NamedTuple):
    """The constant stretches of a session's events, in their order, and what places them.

    Its order is that of the journal's folded blocks, and so a contract (:mod:`hoopproxy.journal.turns`).

    :ivar head: up to the decision, or the decoder. :ivar before_event: the decoder, and the key of the event's own
        part. :ivar after_id: the identity and the journal, up to ``jseq``. :ivar after_mono: the node.
    :ivar before_seq: the protocol. :ivar after_seq: session, target and tenant, up to the time.
    :ivar started: the session's beginning on the monotonic clock, ns. :ivar session: its 16 bytes.
    """

    head: bytes
    before_event: bytes
    after_id: bytes
    after_mono: bytes
    before_seq: bytes
    after_seq: bytes
    started: int
    session: bytes

    @property
    def weight(self) -> int:
        """Bytes of one event, about: for the account of what waits."""
        return sum(map(len, self[:6])) + 300
