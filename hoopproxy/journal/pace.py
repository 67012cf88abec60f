"""When the writer begins a commit: once those who ask for it have done what is at hand, and those are there who are
about to ask.

A commit costs as much as several commands, whatever is in it. So where many sessions are at work, it waits up to a
millisecond for the others; for how many, the writer says (``Inbox.enough``). And the writer's thread is woken only when
the reactor's has nothing more to do: before that the two would hand the interpreter to and fro at every system call.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from hoopproxy.journal.inbox import Inbox
from hoopproxy.journal.refusals import CallLater, Timer

__all__ = ["AtRest", "Pace"]

AtRest = Callable[[Callable[[], None]], object]
"""Calls a function on the reactor's thread, once, before that waits for the next event."""

GATHERING_SECONDS: Final = 0.001
"""So long a commit waits for those who are about to ask, and up to twice that after another one."""

_MANY: Final = 64  # who ask are not put off further by what else is at hand


class Pace:
    """Between the two threads of a journal, beside its :class:`~hoopproxy.journal.inbox.Inbox`.

    :param ring: has the writer look at the inbox: called on the reactor's thread, and only while it ``sleeps``.
        ``None``: it is a thread that is in :meth:`wait`.
    """

    def __init__(
        self,
        inbox: Inbox,
        call_later: CallLater | None,
        at_rest: AtRest | None,
        ring: Callable[[], None] | None = None,
    ) -> None:
        self._inbox, self._call_later, self._at_rest = inbox, call_later, at_rest
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._ring = ring or self._wake
        self.sleeps = ring is not None
        """The writer waits, or looks at the inbox once more before it does."""
        self._looks = False
        self._timer: Timer | None = None
        self._takes = 0

    # -- on the reactor's thread

    def ask(self) -> None:
        """Something is to be committed, with what else is asked for in this moment."""
        if self._at_rest is None or self._inbox.asked >= _MANY:
            self.look()
        elif not self._looks:
            self._looks = True
            self._at_rest(self.look)

    def hurry(self) -> None:
        """It is to be committed without waiting for anybody."""
        self._inbox.enough = 0
        self.look()

    def look(self) -> None:
        """Wake the writer if it is time; if not, see to it that it will be."""
        self._looks = False
        inbox = self._inbox
        if not inbox.want:
            return
        if inbox.is_time:
            if self.sleeps:
                self.sleeps = False
                self._ring()
        elif self._call_later is None:
            self.hurry()
        elif self._timer is None:
            self._takes = inbox.takes
            self._timer = self._call_later(GATHERING_SECONDS, self._late)

    def _late(self) -> None:
        self._timer = None
        if self._inbox.takes == self._takes:
            self._inbox.hurry = True
        self.look()

    def _wake(self) -> None:
        self._tokens.put(None)

    # -- on the writer's thread

    def wait(self, seconds: float | None) -> bool:
        """Until it is time, or for nothing now and then; false: so many seconds are over."""
        self.sleeps = True
        if not (self._inbox.is_time or self._inbox.stop):
            try:
                self._tokens.get(timeout=seconds)
            except Empty:
                return False
        self.sleeps = False
        return True
