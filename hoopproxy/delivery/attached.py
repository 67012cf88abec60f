"""A plugin's sink, made and started when it is needed; every call to it ends, and can be let go of."""

# Twisted's Deferreds are partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred

from hoopproxy.config.model import Sink
from hoopproxy.delivery.call import Nonsense, called
from hoopproxy.delivery.faults import kind_of
from hoopproxy.delivery.surroundings import Surroundings, secret_by_text
from hoopproxy.errors import HoopproxyError
from hoopproxy.sinks import Delivery, SinkContext

__all__ = ["Attached"]

START_SECONDS: Final = 60
STOP_SECONDS: Final = 5
_METHODS: Final = ("start", "deliver", "reopen", "stop")


class Attached:
    """What stands between a runner and code that may do anything.

    :param pause: seconds before the first attempt.
    """

    def __init__(self, sink: Sink, plugin: Any, around: Surroundings, pause: float = 0.0) -> None:
        """Raises ``OSError``: its folder can't be made."""
        self._sink, self._plugin, self._around, self._pause = sink, plugin, around, pause
        self._name, self._clock = f"sink-{sink.name}", around.reactor
        self._folder = around.folder("sinks", sink.name)
        self._is_put_off = pause > 0
        self._made: Any = None
        self._waiting: Deferred[None] | None = None

    @property
    def is_put_off(self) -> bool:
        """Whether it still has to wait for its first attempt, because it blocked the process before."""
        return self._is_put_off

    @property
    def acknowledges(self) -> str:
        """What the plugin says of itself."""
        return str(self._plugin.acknowledges)

    async def deliver(self, batch: Sequence[Delivery]) -> None:
        """Hand it a batch; started first if it isn't. Raises whatever it raises, ``TooLate``, ``Nonsense``, or
        what it was let go of with."""
        made = self._made or await self._begin()
        await self._call(self._sink.batch_seconds, "deliver", made.deliver, batch)

    async def _begin(self) -> Any:
        if self._pause:
            pause, self._pause = self._pause, 0.0
            await self.sleep(pause)
        self._is_put_off = False
        sink, around = self._sink, self._around
        context = SinkContext(
            name=sink.name,
            folder=self._folder,
            base=sink.base,
            node=around.node,
            reactor=around.reactor,
            secret=secret_by_text(around.resolve, sink.base),
            in_thread=around.in_thread,
            seal=partial(around.kept.seal, self._name),
            unseal=partial(around.kept.open, self._name),
        )
        around.at_work(self._name)
        try:
            made = self._plugin.make(sink.options, context)
        finally:
            around.at_work("")
        missing = [name for name in _METHODS if not callable(getattr(made, name, None))]
        if missing:
            raise Nonsense(f"make gave back a value of type {type(made).__name__}, which has no {missing[0]}")
        self._made = made
        try:
            await self._call(START_SECONDS, "start", made.start)
        except BaseException:
            await self.detach()
            raise
        return made

    async def detach(self) -> None:
        """Let go of it, whatever it does then; another is made with the next batch."""
        made, self._made = self._made, None
        if made is None:
            return
        self._around.at_work(self._name)
        try:
            stopped = called(self._clock, STOP_SECONDS, "stop", made.stop)
        finally:
            self._around.at_work("")
        try:
            await stopped
        except (Exception, SystemExit) as problem:
            self._around.tell(f"{self._name} did not stop in order: {kind_of(problem)}")

    def reopen(self) -> None:
        """Files may have been moved away."""
        if self._made is not None:
            try:
                self._made.reopen()
            except (Exception, SystemExit) as problem:
                self._around.tell(f"{self._name} can't reopen: {kind_of(problem)}")

    # -- waiting

    async def _call(self, seconds: float, what: str, function: Any, *arguments: Any) -> None:
        self._around.at_work(self._name)
        try:
            waiting = called(self._clock, seconds, what, function, *arguments)
        finally:
            self._around.at_work("")
        await self._releasable(waiting)

    async def sleep(self, seconds: float) -> None:
        """Wait. Raises what it was let go of with."""
        waiting: Deferred[None] = Deferred()
        timer = self._clock.callLater(seconds, waiting.callback, None)
        try:
            await self._releasable(waiting)
        finally:
            if timer.active():
                timer.cancel()

    async def _releasable(self, waiting: Deferred[None]) -> None:
        outer: Deferred[None] = Deferred()
        waiting.addCallbacks(
            lambda _: None if outer.called else outer.callback(None),
            lambda failure: None if outer.called else outer.errback(failure),
        )
        self._waiting = outer
        try:
            await outer
        finally:
            self._waiting = None

    def release(self, why: HoopproxyError) -> None:
        """Whoever waits for it, waits no more."""
        waiting = self._waiting
        if waiting is not None and not waiting.called:
            waiting.errback(why)
