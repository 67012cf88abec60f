"""The wall clock against the monotonic one: at start, hourly, and when the wall clock steps."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from hoopproxy.events import GatewayClock
from hoopproxy.wire.recorder import Clock

__all__ = ["DAY_NS", "HOUR", "STEP_NS", "ClockWatch"]

HOUR = 3600.0
DAY_NS = 86_400 * 10**9
STEP_NS = 500_000_000
"""A difference that changes by more than half a second was stepped, not slewed (adjtime(3) is 0.05 %)."""


class ClockWatch:
    """Says what the clocks do.

    :param say: puts the event on record.
    """

    def __init__(self, clock: IReactorTime, times: Clock, say: Callable[[GatewayClock], None]) -> None:
        self._clock, self._times, self._say = clock, times, say
        self._difference = self._now()
        self._timer: IDelayedCall | None = None
        self._ahead, self._since = 0, 0  # by how much it was set forth since the start, and when last

    def _now(self) -> int:
        return self._times.wall_ns() - self._times.mono_ns()

    def start(self) -> None:
        """The gateway starts."""
        self._difference = self._now()
        self._tell("start", None)
        self._timer = self._clock.callLater(HOUR, self._hourly)

    def _hourly(self) -> None:
        self._timer = self._clock.callLater(HOUR, self._hourly)
        if not self.look():
            self._tell("hour", None)

    def look(self) -> bool:
        """See whether the wall clock stepped since the last look; if so, say it."""
        difference = self._now()
        moved, self._difference = difference - self._difference, difference
        if abs(moved) < STEP_NS:
            return False
        self._ahead += moved
        if moved > 0:
            self._since = self._times.mono_ns()
        self._tell("step", moved // 1_000_000)
        return True

    @property
    def is_doubtful(self) -> bool:
        """Whether it was set forth by a day or more, within the last day: somebody may yet see that this is wrong."""
        self.look()
        return self._ahead >= DAY_NS and self._times.mono_ns() - self._since < DAY_NS

    def _tell(self, why: str, step: int | None) -> None:
        self._say(GatewayClock(why=why, monotonic=self._times.mono_ns() % 2**53, step=step))

    def stop(self) -> None:
        """No more looks."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
