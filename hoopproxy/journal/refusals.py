"""Whether the journal takes records now, who is told when that changes, and when the disk is tried again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hoopproxy.errors import JournalRefused
from hoopproxy.journal.inbox import Trouble
from hoopproxy.journal.options import JournalOptions

__all__ = ["CallLater", "Refusals", "Timer"]


class Timer(Protocol):
    """What ``call_later`` gives."""

    def cancel(self) -> object: ...


CallLater = Callable[[float, Callable[[], None]], Timer]


class Refusals:
    """``now``: why records are refused, or ``None``; ``new_sessions``: the same for sessions to come.

    :param options: may be others later. :param changed: told (first of all) whenever ``now`` is another.
    :param retry: to be called while the disk is the cause, with growing pauses.
    """

    def __init__(
        self,
        options: JournalOptions,
        call_later: CallLater | None,
        changed: Callable[[], None],
        retry: Callable[[], None],
    ) -> None:
        self.options, self._call_later = options, call_later
        self._changed, self._try = changed, retry
        self._timer: Timer | None = None
        self._pause = options.retry_seconds[0]
        self.on_refusal: list[Callable[[JournalRefused], None]] = []
        self.on_recovered: list[Callable[[], None]] = []
        self.is_closed = False
        self.now: JournalRefused | None = JournalRefused("closed", "the journal is not open")
        self.new_sessions: JournalRefused | None = self.now

    def judge(self, trouble: Trouble | None, low: Trouble | None, unsynced: int) -> None:
        """Decide anew. ``trouble`` and ``low`` are the writer's; ``unsynced`` is in bytes."""
        if self.is_closed:
            return
        if trouble is not None:
            self.refuse(trouble.code, trouble.sentence)
        elif unsynced > self.options.queue_limit or (
            self.now is not None and self.now.code == "lagging" and unsynced > self.options.max_lag_bytes
        ):
            self.lag(unsynced)
        elif self.now is not None:
            self._recover()
        self.new_sessions = self.now or (None if low is None else JournalRefused(low.code, low.sentence))
        if (trouble is not None or low is not None) and self._timer is None and self._call_later is not None:
            self._timer = self._call_later(self._pause, self._retry)
            self._pause = min(2 * self._pause, self.options.retry_seconds[1])

    def lag(self, unsynced: int) -> None:
        """Refuse because the disk is that many bytes behind."""
        self.refuse("lagging", f"the journal's disk is {unsynced >> 20} MiB behind")

    def refuse(self, code: str, sentence: str) -> None:
        """Refuse from now on; tell, if the code is another than before."""
        before = self.now
        if before is not None and (before.code, before.sentence) == (code, sentence):
            return
        self.now = self.new_sessions = JournalRefused(code, sentence)
        self._changed()
        if before is None or before.code != code:
            for told in self.on_refusal:
                told(self.now)

    def _recover(self) -> None:
        opening = self.now is not None and self.now.code == "closed"
        self.now = self.new_sessions = None
        self._pause = self.options.retry_seconds[0]
        self._changed()
        if opening:
            return
        for told in self.on_recovered:
            told()

    def _retry(self) -> None:
        self._timer = None
        self._try()

    def close(self) -> None:
        """Refuse for good, and try nothing any more."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.now = self.new_sessions = JournalRefused("closed", "the journal is closed")
        self._changed()
