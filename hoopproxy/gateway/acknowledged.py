"""``durable_at``: a command of a target that also waits until its record is safe at a sink.

Only sessions of such a target see this journal; for all others nothing changes. What a sink acknowledged comes
from the process that follows the trail. While the sink fails, new commands are refused, and those that wait will
not happen: the same as with a disk that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from hoopproxy.errors import JournalRefused
from hoopproxy.journal.waiters import Waiters

__all__ = ["AcknowledgedJournal", "Acknowledging"]


class Acknowledging(Protocol):
    """What is known of sinks; :class:`hoopproxy.gateway.trail.Trail`."""

    def acked(self, sink: str) -> int: ...
    def trouble_of(self, sinks: tuple[str, ...]) -> JournalRefused | None: ...
    def hurry(self) -> None: ...


class AcknowledgedJournal:
    """The journal, as far as the gate needs it, with sinks behind it. One for all sessions of a target.

    :param journal: the gateway's own.
    """

    def __init__(self, journal: Any, sinks: tuple[str, ...], known: Acknowledging) -> None:
        self.sinks = sinks
        self._journal, self._known = journal, known
        self._waiters = Waiters()
        # These are asked of the journal itself, at its own speed.
        self.commit_now: Callable[[], None] = journal.commit_now
        self.commit_soon: Callable[[], None] = journal.commit_soon
        self._append_turn: Callable[..., int] = journal.append_turn

    def append_turn(
        self,
        count: int,
        key_id: int,
        size: int,
        envelope: tuple[Any, ...],
        turn: tuple[Any, ...],
        data: bytes,
        now: int,
    ) -> int:
        """The journal's; 0, nothing was taken, while a sink fails: the general way asks for the reason."""
        if self._known.trouble_of(self.sinks) is not None:
            return 0
        return self._append_turn(count, key_id, size, envelope, turn, data, now)

    carries = False
    """The journal's writer doesn't know what the sinks have."""

    def carry(self, jseq: int, errand: Callable[[], None]) -> None:
        """Never: who waits is called back."""

    @property
    def next_jseq(self) -> int:
        """The journal's."""
        return int(self._journal.next_jseq)

    @property
    def durable(self) -> int:
        """Up to where every record is on the disk and at the sinks."""
        return int(min(self._journal.durable, *map(self._known.acked, self.sinks)))

    @property
    def refusal(self) -> JournalRefused | None:
        """The journal's, or that a sink fails."""
        refusal: JournalRefused | None = self._journal.refusal
        return refusal or self._known.trouble_of(self.sinks)

    @property
    def unsynced_bytes(self) -> int:
        """The journal's."""
        return int(self._journal.unsynced_bytes)

    @property
    def oldest_unsynced(self) -> int | None:
        """The journal's."""
        oldest: int | None = self._journal.oldest_unsynced
        return oldest

    def when_durable(self, jseq: int, callback: Callable[[], None]) -> None:
        """Call back once it is, in the order of ``jseq``; at once if it is already."""
        self._journal.when_durable(jseq, lambda: self._on_disk(jseq, callback))

    def _on_disk(self, jseq: int, callback: Callable[[], None]) -> None:
        if jseq <= self.durable:
            callback()
        else:
            self._waiters.add(jseq, callback)
            self._known.hurry()

    def moved(self) -> None:
        """A sink acknowledged more."""
        self._waiters.release(self.durable)
