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

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from hoopproxy import __version__
from hoopproxy import config as conf
from hoopproxy.discovery import Installed
from hoopproxy.errors import Damaged, HoopproxyError, JournalRefused
from hoopproxy.events import ClientFacts, GatewayJournal, GatewayPluginFailed, GatewayStarted, GatewayStopped
from hoopproxy.events import LoginFailed as LoginFailedEvent
from hoopproxy.gateway import notify, recovery, state
from hoopproxy.gateway.aside import Aside
from hoopproxy.gateway.cancel import Cancels
from hoopproxy.gateway.clockwatch import ClockWatch
from hoopproxy.gateway.descriptors import ample
from hoopproxy.gateway.doorbell import Doorbell
from hoopproxy.gateway.draining import drain
from hoopproxy.gateway.faults import described
from hoopproxy.gateway.figures import Figures
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
from hoopproxy.journal.keyring import READER_KEY
from hoopproxy.journal.options import CommitFacts, JournalOptions
from hoopproxy.journal.recovery import Recovered
from hoopproxy.journal.sealing import secret_of
from hoopproxy.journal.vault import Sealing
from hoopproxy.journal.writer import Journal
from hoopproxy.secrets import Secrets
from hoopproxy.wire.recorder import Clock, IdSource

__all__ = ["GatewayService", "StartFailed"]

LAST_WORD_SECONDS = 5.0
"""At the end: how long the disk may take for the gateway's last word before the trail's process is ended."""


class StartFailed(HoopproxyError):
    """The gateway can't start; one sentence."""


class GatewayService(Service):
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

    # --- the journal ---------------------------------------------------------------------------------

    def queue_bytes(self, limits: conf.Limits) -> int:
        """What may wait in the journal: one message may be as long as the limit, whatever else was on its way when
        reading paused."""
        lag = self.config.journal.max_lag_bytes
        return max(4 * lag, 3 * lag + limits.max_statement)

    def _journal_options(self) -> JournalOptions:
        options = self.config.journal
        return JournalOptions(
            sync_ms=options.sync_ms,
            max_lag_bytes=options.max_lag_bytes,
            max_queue_bytes=self.queue_bytes(self.config.limits),
            segment_bytes=options.segment_bytes,
            reserve_bytes=options.reserve_bytes,
            compress=options.compression != "none",
        )

    def _sealing(self) -> Sealing | None:
        """Whether the journal is sealed, and with what."""
        wanted = self.config.encryption
        if not wanted.recipients:
            return None
        if wanted.key is None:
            return Sealing(wanted.recipients, state.own_secret(self.config.gateway.state, READER_KEY))
        found: list[Any] = []
        self.secrets.resolve(wanted.key).addBoth(found.append)
        if not found:
            raise StartFailed(
                "encryption.key is of a source that answers late; the journal can't wait for it"
            )
        if isinstance(found[0], Failure):
            found[0].raiseException()
        try:
            return Sealing(wanted.recipients, secret_of(bytes(found[0])))
        except HoopproxyError as problem:
            raise StartFailed(f"encryption.key: {problem}") from None

    def _open_journal(self) -> Recovered:
        self._folder = folder = Folder.acquire(self.config.gateway.state)
        reactor = self.reactor
        self._doorbell = Doorbell(reactor)
        self.journal = Journal(
            folder,
            call_from_thread=self._doorbell.call,
            call_later=reactor.callLater,
            options=self._journal_options(),
            on_commit=self._committed,
            on_alarm=self._alarm,
            on_batch=self._processor.writer(),
            sealing=self.sealing,
        )
        recovered = self.journal.start()
        self.journal.on_refusal(self._journal_refuses)
        self.journal.on_recovered(self._journal_recovered)
        return recovered

    def _longest(self) -> int:
        """Bytes of the longest statement that the configuration in force lets in."""
        return self.shared.crowd.limits.max_statement

    def _committed(self, facts: CommitFacts) -> None:
        for told in self.on_commit:
            told(facts)

    def _alarm(self, sentence: str) -> None:
        self.log.error("{sentence}", sentence=sentence)
        self.figures.alarms += 1
        if self.is_open:
            self.voice.say(GatewayJournal(state="alarm", code="io", sentence=sentence), outcome="failure")
            self.journal.commit_soon()

    def _close_what_is_open(self, recovered: Recovered) -> dict[str, int]:
        """The ends of what an earlier process left open, in its own journal and in abandoned ones."""
        counts = self._close_in(self.journal, recovered)
        if recovered.truncated_bytes:
            counts["torn_bytes"] = recovered.truncated_bytes
        for folder in Folder.abandoned(self.config.gateway.state):
            try:
                other = Journal(folder, options=self._journal_options(), threaded=False, sealing=self.sealing)
                for name, count in self._close_in(other, other.start()).items():
                    counts[name] = counts.get(name, 0) + count
                other.stop()
            except HoopproxyError as problem:
                # Its damage is its reader's business; this process writes another journal.
                self.log.error("an abandoned journal is left as it is: {why}", why=str(problem))
            finally:
                folder.release()
        return {name: count for name, count in counts.items() if count}

    def _close_in(self, journal: Journal, recovered: Recovered) -> dict[str, int]:
        counts = recovery.close_what_is_open(
            journal, recovered, ids=self.ids, node=self.config.gateway.node, wall_time=self.times.text
        )
        if any(counts.values()):
            journal.commit_now()
        return counts

    def _journal_refuses(self, refused: JournalRefused) -> None:
        self.log.error("the journal refuses: {sentence}", sentence=refused.sentence)
        self.voice.say(
            GatewayJournal(state="refusing", code=refused.code, sentence=refused.sentence), outcome="failure"
        )
        for session in list(self.shared.sessions.values()):
            session.journal_refuses(refused)

    def _journal_recovered(self) -> None:
        self.log.info("the journal takes records again")
        self.voice.say(GatewayJournal(state="recovered"), outcome="success")
        self.journal.commit_soon()

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
            listener="*", cause=", ".join(summary.causes), count=summary.count, names=summary.users
        )
        self.voice.say(event, outcome="failure", client=ClientFacts(addr=summary.address))
        self.journal.commit_soon()

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

    def _until_durable(self, seconds: float) -> Deferred[None]:
        """Wait until everything so far is durable; for so long at most: the disk may be the trouble."""
        waiting: Deferred[None] = Deferred()
        timer = self.reactor.callLater(seconds, waiting.callback, None)

        def durable() -> None:
            if timer.active():
                timer.cancel()
                waiting.callback(None)

        self.journal.commit_now()
        self.journal.when_durable(self.journal.next_jseq - 1, durable)
        return waiting

    def _close_at_once(self) -> None:
        """End the journal of a start that failed, without the reactor: it may never run. A disk that hangs is not
        waited for; the next start finds the same as after a crash then.
        """
        journal = getattr(self, "journal", None)
        if journal is not None:
            journal.stop()
            if not journal.ended(LAST_WORD_SECONDS):
                return
            self._doorbell.close()  # has it unlock
            self._processor.leave()
        if self._folder is not None and self._folder.is_locked:
            self._folder.release()

    def _close(self) -> Deferred[Any]:
        hashes = getattr(self, "hashes", None)
        if hashes is not None:
            hashes.stop()
        closed: Deferred[Any] = Deferred()
        journal = getattr(self, "journal", None)
        if journal is None:
            closed.callback(None)
        else:
            journal.stop(lambda problem: self._journal_closed(problem, closed))
        return closed

    def _journal_closed(self, problem: JournalRefused | None, closed: Deferred[Any]) -> None:
        if problem is not None:
            self.log.error("the journal was not closed in order: {why}", why=problem.sentence)
        self._doorbell.close()
        self._processor.leave()
        closed.callback(None)
