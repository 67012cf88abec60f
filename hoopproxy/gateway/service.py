"""The gateway as a Twisted service: what is opened, in which order, and how it ends.

Nothing is opened before :meth:`GatewayService.startService`: twistd forks before it, and drops privileges.
"""

# Twisted's endpoints and services are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from hoopproxy import __version__
from hoopproxy import config as conf
from hoopproxy.discovery import Installed
from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.events import ClientFacts, GatewayPluginFailed, GatewayStarted, GatewayStopped
from hoopproxy.events import LoginFailed as LoginFailedEvent
from hoopproxy.gateway import notify, state
from hoopproxy.gateway.aside import Aside
from hoopproxy.gateway.cancel import Cancels
from hoopproxy.gateway.clockwatch import ClockWatch
from hoopproxy.gateway.descriptors import ample
from hoopproxy.gateway.draining import drain
from hoopproxy.gateway.faults import described
from hoopproxy.gateway.figures import Figures
from hoopproxy.gateway.journaling import LAST_WORD_SECONDS, Journaling, StartFailed
from hoopproxy.gateway.limits import Crowd
from hoopproxy.gateway.ports import Ports, where_not
from hoopproxy.gateway.processor import ANYWHERE, Anywhere
from hoopproxy.gateway.reload import Reload
from hoopproxy.gateway.settings import build, read_materials
from hoopproxy.gateway.shared import Settings, Shared
from hoopproxy.gateway.trail import Trail
from hoopproxy.gateway.voice import Voice
from hoopproxy.identity.hashes import HashPool
from hoopproxy.identity.throttle import FailureReports, FailureSummary, Throttle
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.options import CommitFacts
from hoopproxy.secrets import Secrets
from hoopproxy.wire.recorder import Clock, IdSource

__all__ = ["GatewayService", "StartFailed"]


class GatewayService(Journaling):
    """One gateway process.

    :param config: validated. :param plugins: what is installed. :param broken: modules that are not.
    :param load: reads the configuration again. :param reactor: gives the reactor, when it is needed.
    :param parts: further services of the process (ops, control), made when the gateway is open.
    :param processor: chooses where the data path stays, once this is the process that does the work.
    """

    log = Logger()

    def __init__(
        self,
        config: conf.Config,
        plugins: Installed,
        *,
        broken: dict[str, str],
        load: Callable[[], conf.Config],
        reactor: Callable[[], Any],
        parts: Callable[[GatewayService], list[Any]] = lambda gateway: [],
        processor: Callable[[], Anywhere] = lambda: ANYWHERE,
    ) -> None:
        self.config, self.plugins, self.broken, self.load = config, plugins, broken, load
        self._reactor_of, self._parts_of, self._processor_of = reactor, parts, processor
        self._processor = ANYWHERE
        self.began = time.monotonic()
        self.figures = Figures()
        self.is_open = False
        self.closed_by_us = 0
        self.trail: Trail | None = None
        self._parts: list[Any] = []
        self.on_commit: list[Callable[[CommitFacts], None]] = [self.figures.committed]
        """Called after each commit of the journal."""
        self._folder: Folder | None = None

    # --- start ---------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        self.reactor = self._reactor_of()
        try:
            self._open_or_close()
        except Damaged as problem:
            raise StartFailed(
                f"{problem}; `hoopproxy journal check` says more, `hoopproxy journal accept-loss` what can be done"
            ) from None
        except HoopproxyError as problem:
            raise StartFailed(str(problem)) from None
        except OSError as problem:
            where = problem.filename or "in the state directory"
            raise StartFailed(f"{problem.strerror or type(problem).__name__} ({where})") from None

    def _open_or_close(self) -> None:
        try:
            self._open()
        except BaseException:
            self._close_at_once()
            raise

    def _open(self) -> None:
        config = self.config
        ample(config)
        strict = any(target.mode == "strict" for target in config.targets)
        state.prepare(config.gateway.state, strict=strict, allow_volatile=config.gateway.allow_volatile_state)
        self.secret = state.server_secret(config.gateway.state)
        self._settle()
        self.ids, self.times = IdSource(), Clock()
        self.secrets = Secrets(self.plugins.sources.values())
        self.sealing = self._sealing()
        recovered = self._open_journal()
        self.voice = Voice(self.journal, self.ids, self.times, config.gateway.node)
        limits = config.limits
        self.hashes = self._hashes(limits.hash_workers, checks=self._hashes(1))
        self.throttle = self.make_throttle(limits)
        self.recovered = self._close_what_is_open(recovered)
        self._continue(self.build(config), self._listen)

    def _settle(self) -> None:
        """Keep this thread, and the journal's writer that it starts, on one processor; no other thread or process."""
        self._processor = self._processor_of()
        self._processor.settle()
        if self._processor.number is not None:
            self.reactor.getThreadPool().threadFactory = self._processor.thread
            self.log.info("stays on processor {number}", number=self._processor.number)

    def _hashes(self, workers: int, checks: HashPool | None = None) -> HashPool:
        return HashPool(self.reactor, workers, checks=checks, thread=self._processor.thread)

    def spawn(self, *arguments: Any, **options: Any) -> Any:
        """As ``reactor.spawnProcess``; the process may run on any processor that this one was given."""
        with self._processor.elsewhere():
            return self.reactor.spawnProcess(*arguments, **options)

    def _continue(self, waiting: Deferred[Any], go_on: Callable[[Any], Any]) -> None:
        """Go on with a result: now if it is there, so that a failure still stops the start."""
        failures: list[Failure] = []
        waiting.addCallback(go_on)
        waiting.addErrback(failures.append)
        if failures:
            self._opening_failed(failures[0])
        elif not waiting.called:
            waiting.addCallback(lambda _: self._late_failure(failures))

    def _opening_failed(self, failure: Failure) -> None:
        problem = failure.value
        if isinstance(problem, CannotListenError):
            raise StartFailed(where_not(problem))
        if isinstance(problem, (HoopproxyError, OSError)):
            raise problem
        raise StartFailed(f"the start failed: {described(failure)}")

    def _late_failure(self, failures: list[Failure]) -> None:
        if failures:
            try:
                self._opening_failed(failures[0])
            except Exception as problem:
                self.log.critical("{sentence}", sentence=str(problem))
                self.reactor.stop()

    def make_throttle(self, limits: conf.Limits) -> Throttle:
        """The caps on failed log-ins."""
        return Throttle(
            self.reactor,
            delay=limits.failure_delay_ms / 1000,
            per_address=limits.failures_per_minute_address,
            per_user=limits.failures_per_minute_user,
        )

    @inlineCallbacks
    def build(self, config: conf.Config) -> Generator[Deferred[Any], Any, Settings]:
        """Settings of a configuration. Fails with ``ConfigError``."""
        materials = yield read_materials(config, self.plugins.protocols, self.secrets.resolve)
        return build(
            config,
            materials,
            protocols=self.plugins.protocols,
            checkers=self.plugins.checkers,
            reactor=self.reactor,
            secret=self.secret,
            hashes=self.hashes,
            throttle=self.throttle,
        )

    # --- listening -----------------------------------------------------------------------------------

    @inlineCallbacks
    def _listen(self, settings: Settings) -> Generator[Deferred[Any], Any, None]:
        limits = self.config.limits
        self.shared = Shared(
            clock=self.reactor,
            journal=self.journal,
            ids=self.ids,
            times=self.times,
            node=self.config.gateway.node,
            settings=settings,
            resolve=self.secrets.resolve,
            figures=self.figures,
            voice=self.voice,
            crowd=Crowd(limits),
            cancels=Cancels(self.reactor, self.figures),
            reports=FailureReports(self.reactor, self._summary),
            aside=Aside(self.reactor, self.spawn, self._longest),
        )
        self.clock_watch = ClockWatch(self.reactor, self.times, self._say_clock)
        self.reload = Reload(self)
        self.ports = Ports(self.reactor, self.shared)
        yield self.ports.open(self.config.listeners)
        self._parts = self._parts_of(self)
        for part in self._parts:
            yield part.start()
        self._tell_start(settings)

    def _tell_start(self, settings: Settings) -> None:
        for name, problem in self.broken.items():
            self.log.error("the plugin {name} can't be used: {problem}", name=name, problem=problem)
            self.voice.say(GatewayPluginFailed(plugin=name, error=problem), outcome="failure")
        self.clock_watch.start()
        self.shared.rounds.also = self.clock_watch.look
        self.voice.say(
            GatewayStarted(
                version=__version__,
                plugins=self.plugins.versions,
                broken_plugins=self.broken,
                config=settings.digest,
                pid=os.getpid(),
                python=platform.python_version(),
                recovered=self.recovered,
            ),
            outcome="success",
        )
        self.journal.commit_now()
        self.is_open = True
        self.reload.on_signal()
        self.reactor.callWhenRunning(self._running)

    def _running(self) -> None:
        notify.ready(f"{len(self.ports)} listeners")
        self.log.info("hoopproxy {version} accepts", version=__version__)

    def _summary(self, summary: FailureSummary) -> None:
        event = LoginFailedEvent(
            listener="*",
            cause=", ".join(summary.causes),
            count=summary.count,
            names=summary.users,
            listeners=summary.listeners,
            methods=summary.methods,
            tls=summary.tls,
            keys=summary.keys,
        )
        self.voice.say(event, outcome="failure", client=ClientFacts(addr=summary.address))
        self.journal.commit_soon()

    def _longest(self) -> int:
        """Bytes of the longest statement that the configuration in force lets in."""
        return self.shared.crowd.limits.max_statement

    def _say_clock(self, event: Any) -> None:
        self.voice.say(event)
        self.journal.commit_soon()

    @property
    def ready(self) -> bool:
        """Whether a new client would be served."""
        return self.is_open and not self.shared.draining and self.journal.refusal_for_new_sessions is None

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    # --- stop ----------------------------------------------------------------------------------------

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        super().stopService()
        if not self.is_open:
            yield self._close()
            return
        began = time.monotonic()
        seconds = self.config.gateway.drain_seconds
        self.shared.draining = True
        notify.stopping(f"waiting up to {seconds} s for {len(self.shared.sessions)} sessions")
        yield self.ports.close()
        self.closed_by_us = yield drain(self.shared, self.reactor, seconds)
        self.clock_watch.stop()
        self.shared.aside.stop()
        self.shared.rounds.stop()
        self.shared.reports.flush()
        last = [part for part in self._parts if getattr(part, "is_last", False)]
        for part in reversed(self._parts):
            if part not in last:
                yield part.stop()
        self.voice.say(
            GatewayStopped(sessions_closed=self.closed_by_us, seconds=round(time.monotonic() - began)),
            outcome="success",
        )
        if last:
            yield self._until_durable(LAST_WORD_SECONDS)
        for part in last:
            yield part.stop()
        yield self._close()

    def _close(self) -> Deferred[Any]:
        hashes = getattr(self, "hashes", None)
        if hashes is not None:
            hashes.stop()
        return self._close_journal()
