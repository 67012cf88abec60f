"""Reading the configuration again: what changed is for new sessions, what can't is named, what is bad is kept out."""

# Twisted's Deferreds of generators are partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from hoopproxy import config as conf
from hoopproxy.errors import ConfigError, HoopproxyError
from hoopproxy.events import GatewayConfigChanged
from hoopproxy.gateway import notify
from hoopproxy.gateway.faults import described
from hoopproxy.gateway.shared import Settings

if TYPE_CHECKING:
    from hoopproxy.gateway.service import GatewayService

__all__ = ["MAX_CHANGES", "Outcome", "Reload", "in_force"]

MAX_CHANGES = 200
"""Changes that one event lists; a file rewritten from scratch has its digest for the rest."""

_STOPPING = "the gateway is shutting down, so its configuration stays"
_RESTART_LIMITS = ("hash_workers",)


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a reload. ``problems``: nothing was changed, and why."""

    digest: str
    previous: str
    changes: Sequence[conf.Change] = ()
    needs_restart: Sequence[str] = ()
    problems: Sequence[str] = ()

    @property
    def applied(self) -> int:
        """How many of the changes are in force."""
        return sum(change.key not in self.needs_restart for change in self.changes)


def needs_restart(old: conf.Config, new: conf.Config) -> list[str]:
    """The keys that differ and that only a restart brings into force."""
    found = set(conf.needs_restart(old, new))
    found |= {
        f"limits.{name}" for name in _RESTART_LIMITS if getattr(old.limits, name) != getattr(new.limits, name)
    }
    return sorted(found)


def in_force(old: conf.Config, new: conf.Config) -> conf.Config:
    """The new configuration with the old values of what needs a restart."""
    limits = attrs.evolve(new.limits, **{name: getattr(old.limits, name) for name in _RESTART_LIMITS})
    return attrs.evolve(
        new,
        gateway=old.gateway,
        log=old.log,
        journal=old.journal,
        encryption=old.encryption,
        ledger=old.ledger,
        archive=old.archive,
        ops=old.ops,
        limits=limits,
    )


class Reload:
    """Does it, one at a time."""

    log = Logger()

    def __init__(self, gateway: GatewayService) -> None:
        self._gateway = gateway
        self._file = gateway.config  # as the file was read last, restart keys included
        self._running: Deferred[Outcome] | None = None
        self.on_reload: list[Callable[[Outcome], None]] = []
        """Called after each reload, also one that changed nothing."""

    def on_signal(self) -> None:
        """From now on SIGHUP reloads."""
        reactor = self._gateway.reactor
        try:
            signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(self.now))
        except ValueError:  # not the main thread: embedded, and no signals then
            return

    def now(self) -> Deferred[Outcome]:
        """Reload; if one is under way, after it. Always fires with an :class:`Outcome`."""
        result: Deferred[Outcome] = Deferred()
        if self._running is not None:
            self._running.addCallback(self._after, result)
        else:
            self._begin().chainDeferred(result)
        return result

    def _after(self, outcome: Outcome, result: Deferred[Outcome]) -> Outcome:
        self._begin().chainDeferred(result)
        return outcome

    def _begin(self) -> Deferred[Outcome]:
        if not self._gateway.shared.draining:
            notify.reloading()
        done: Deferred[Outcome] = self._reload()
        outcome: Deferred[Outcome] = Deferred()
        self._running = outcome
        done.addCallback(self._finished, outcome)
        return done

    def _finished(self, outcome: Outcome, running: Deferred[Outcome]) -> Outcome:
        self._tell(outcome)
        for told in self.on_reload:
            told(outcome)
        if not self._gateway.shared.draining:
            notify.ready(
                "reloaded" if not outcome.problems else "the reload failed; the old configuration stays"
            )
        if self._running is running:
            self._running = None
        running.callback(outcome)
        return outcome

    @inlineCallbacks
    def _reload(self) -> Generator[Deferred[Any], Any, Outcome]:
        gateway = self._gateway
        previous = gateway.shared.settings.digest
        stays = Outcome(digest=previous, previous=previous, problems=(_STOPPING,))
        if gateway.shared.draining:
            return stays
        try:
            new = gateway.load()
            old = gateway.shared.settings.config
            wanted = in_force(old, new)
            if wanted.limits != old.limits:
                gateway.throttle = gateway.make_throttle(wanted.limits)
            settings: Settings = yield gateway.build(wanted)
            if gateway.shared.draining:
                return stays
            yield gateway.ports.open(wanted.listeners)
        except ConfigError as problem:
            return Outcome(digest=previous, previous=previous, problems=problem.problems)
        except HoopproxyError as problem:
            return Outcome(digest=previous, previous=previous, problems=(str(problem),))
        except Exception as problem:
            self.log.error("the reload failed: {what}", what=described(problem))
            sentence = f"the reload failed ({type(problem).__name__}); the log has the place"
            return Outcome(digest=previous, previous=previous, problems=(sentence,))
        restart = needs_restart(old, new)
        changes = conf.redacted_difference(self._file, new)
        self._file = new
        gateway.journal.widen(gateway.queue_bytes(wanted.limits))
        gateway.shared.settings = settings
        gateway.shared.crowd.apply(wanted.limits)
        yield gateway.ports.settle(wanted.listeners)
        return Outcome(digest=settings.digest, previous=previous, changes=changes, needs_restart=restart)

    def _tell(self, outcome: Outcome) -> None:
        gateway = self._gateway
        for problem in outcome.problems:
            self.log.error("not reloaded: {problem}", problem=problem)
        for key in outcome.needs_restart:
            self.log.warn("{key} changed, but only a restart brings it into force", key=key)
        if not outcome.problems:
            self.log.info("reloaded: {count} changes, in force for new sessions", count=outcome.applied)
        event = GatewayConfigChanged(
            config=outcome.digest,
            previous=outcome.previous,
            changes=[attrs.asdict(change) for change in outcome.changes[:MAX_CHANGES]],
            needs_restart=outcome.needs_restart,
            problems=outcome.problems,
        )
        gateway.voice.say(event, outcome="failure" if outcome.problems else "success")
        gateway.journal.commit_soon()
