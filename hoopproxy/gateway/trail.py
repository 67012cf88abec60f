"""The process that follows the journals, as the gateway sees it: started, watched, told what is durable.

Sessions go on when it dies; another is started after a pause. Its events come over a pipe and are written by the
gateway's own writer. When a required sink is past its quota, new commands and sessions are refused.
"""

# Twisted's processes are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from hoopproxy.config import Config
from hoopproxy.config.carried import carried
from hoopproxy.delivery.at_rest import over_quota
from hoopproxy.delivery.backoff import Backoff
from hoopproxy.delivery.pipe import encoded
from hoopproxy.errors import JournalRefused
from hoopproxy.events import (
    CATALOGUE,
    AuditControl,
    AuditGap,
    AuditNote,
    AuditRead,
    AuditSinkFailed,
    Event,
    GatewayJournal,
)
from hoopproxy.gateway.acknowledged import AcknowledgedJournal
from hoopproxy.gateway.asker import Asker
from hoopproxy.gateway.following import Following, environment_of
from hoopproxy.gateway.trail_figures import FINE
from hoopproxy.gateway.upkeep import ORDERS

if TYPE_CHECKING:
    from hoopproxy.gateway.reload import Outcome
    from hoopproxy.gateway.service import GatewayService

__all__ = ["Trail"]

POKE_SECONDS: Final = 0.25
"""Between two pokes: what the trail is late at most, and what it costs at most: four writes a second here, and four
looks at the journal and syncs of a sink there. Who waits for a sink (``durable_at``) does not wait for that; the ledger
counts on it (:data:`hoopproxy.ledger.sealer.INTERVAL_SECONDS`)."""

STABLE_SECONDS: Final = 60.0
"""A process that lived that long was no failure to start."""

DELIVER_SECONDS: Final = 5.0
"""At the end: how long it may go on delivering what is durable."""

END_SECONDS: Final = 10.0
"""At the end: when it is killed."""

SILENT_SECONDS: Final = 120.0
"""It answers each poke with its state within a second or two; after that long without a word it is killed."""

PATIENCE_SECONDS: Final = 30.0
"""How long commands wait for a process that is started again before they are refused."""

DOWN_LOOK_SECONDS: Final = 10.0
"""While it is down the gateway looks at the cursors itself, so that a quota holds then, too."""

QUARANTINE_SECONDS: Final = (30.0, 900.0)
"""How long a sink that blocked the process waits in the next one; doubled each time."""

_OURS: Final = frozenset({AuditRead.kind, AuditControl.kind, AuditNote.kind, *ORDERS})
"""What only the gateway itself says."""
_BAD_NEWS: Final = frozenset({"audit.sink_failed", "audit.cursor_damaged", AuditGap.kind})


class Trail:
    """A part of the gateway. :param spawn: as ``reactor.spawnProcess``; the gateway's own unless given."""

    log = Logger()
    is_last = True
    """It ends after the gateway's last word, which it has to deliver, too."""

    def __init__(self, gateway: GatewayService, spawn: Callable[..., Any] | None = None) -> None:
        self._gateway, self._spawn = gateway, spawn
        self.status: Mapping[str, Any] = {}
        """What the process said of itself last."""
        self.starts = 0
        self._process: Following | None = None
        self._backoff = Backoff(first=0.5, most=30.0)
        self._again: Any = None
        self._poke: Any = None
        self._unanswered: float | None = None
        self._watch: Any = None
        self._stuck: dict[str, float] = {}
        self._ended: Deferred[None] | None = None
        self._acks: dict[str, dict[str, int]] = {}
        self._journals: dict[tuple[str, ...], AcknowledgedJournal] = {}
        self._troubles: dict[tuple[str, ...], JournalRefused] = {}
        self._down_since: float | None = None

    # -- life

    @property
    def is_up(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._gateway.shared.settings.config

    def start(self) -> None:
        """Start the process if anything needs it."""
        self._gateway.on_commit.append(self.moved)
        self._gateway.reload.on_reload.append(self._reloaded)
        self._gateway.shared.awaiting = self.journal_for
        if self.config.follows:
            self._start()

    def _start(self) -> None:
        self._again = None
        self.starts += 1
        spawn = self._spawn or self._gateway.spawn
        process = Following(self.hear, self.ended)
        # -P: no module out of whatever folder the gateway was started in.
        arguments = [sys.executable, "-P", "-m", "hoopproxy.trail", "--follow"]
        try:
            process.began = self._gateway.reactor.seconds()
            spawn(process, sys.executable, arguments, env=environment_of(self.config))
        except OSError as problem:
            self.log.error("no process to follow the trail with: {why}", why=problem.strerror)
            self._start_later()
            return
        self._process = process
        self._unanswered = None
        process.say(encoded("start", config=carried(self.config), pauses=self._stuck))

    def _start_later(self) -> None:
        if self._ended is None and self.config.follows:
            self._again = self._gateway.reactor.callLater(self._backoff.pause(), self._start)
            self._look_while_down()
            if self._journals:
                self._gateway.reactor.callLater(PATIENCE_SECONDS, self._look_at_troubles)

    def ended(self, process: Following, why: str) -> None:
        """The process is gone."""
        if process is not self._process:
            return
        self._process = None
        self.status = {}
        self._down_since = self._gateway.reactor.seconds()
        if self._ended is not None:
            ended, self._ended = self._ended, succeed(None)
            if not ended.called:
                ended.callback(None)
            return
        if self.config.follows:
            self.log.error("the process that follows the trail ended ({why}); another is started", why=why)
        if self._gateway.reactor.seconds() - process.began > STABLE_SECONDS:
            self._backoff.reset()
        self._start_later()

    def stop(self) -> Deferred[None]:
        """Have it deliver what is durable, for some seconds, and save its cursors."""
        for timer in (self._again, self._poke, self._watch):
            if timer is not None and timer.active():
                timer.cancel()
        self._ended = Deferred()
        process = self._process
        if process is None:
            return succeed(None)
        process.say(encoded("stop", seconds=DELIVER_SECONDS))
        late = self._gateway.reactor.callLater(END_SECONDS, process.kill)

        def over(result: None) -> None:
            if late.active():
                late.cancel()

        return self._ended.addCallback(over)

    def _reloaded(self, outcome: Outcome) -> None:
        if outcome.problems:
            return
        if self._process is not None:
            self._process.say(encoded("reload", config=carried(self.config)))
        elif self.config.follows and self._again is None:
            self._start()

    # -- waking

    def moved(self, _: object = None) -> None:
        """Something became durable; the process hears of it soon."""
        if self._poke is None and self._process is not None:
            self._poke = self._gateway.reactor.callLater(POKE_SECONDS, self.poke)

    def poke(self) -> None:
        """It hears of it now."""
        if self._poke is not None and self._poke.active():
            self._poke.cancel()
        self._poke = None
        process = self._process
        if process is None:
            return
        now: float = self._gateway.reactor.seconds()
        if self._unanswered is None:
            self._unanswered = now
        elif now - self._unanswered > SILENT_SECONDS:
            self.log.error("the process that follows the trail says nothing any more; it is killed")
            process.kill()
            return
        process.say(encoded("mark", journal=self._gateway.journal.id))

    # -- what it says

    def hear(self, said: Mapping[str, Any]) -> None:
        """A message of the process."""
        self._unanswered = None
        do = said["do"]
        if do == "event":
            self._event(said)
        elif do == "status":
            self.status, self._down_since = said, None
            self._look_at_troubles()
            self._refuse(str(said.get("refuse", "")))
        elif do == "acked":
            self._acked(said)
        elif do == "told":
            self.log.warn("trail: {sentence}", sentence=str(said.get("sentence", ""))[:1000])
        elif do == "stuck":
            self._was_stuck(str(said.get("name", ""))[:100])

    def _event(self, said: Mapping[str, Any]) -> None:
        kind = said.get("kind")
        made = CATALOGUE.get(kind) if isinstance(kind, str) else None
        if made is None or not str(kind).startswith("audit.") or kind in _OURS:
            self.log.error("the process that follows the trail says what it may not say")
            return
        try:
            event: Event = made(**said["fields"])
        except (TypeError, KeyError):
            self.log.error("an event of the process that follows the trail is not whole")
            return
        outcome = "failure" if kind in _BAD_NEWS else "success"
        self._gateway.voice.say(event, outcome=outcome)
        self._gateway.journal.commit_soon()

    def _was_stuck(self, name: str) -> None:
        first, most = QUARANTINE_SECONDS
        self._stuck[name] = min(2 * self._stuck.get(name, first / 2), most)
        self.log.error("{name} blocked the process that follows the trail", name=name)
        for sink in self.config.sinks:
            if name == f"sink-{sink.name}":
                error = "it blocked the process that reads the trail"
                self._gateway.voice.say(
                    AuditSinkFailed(sink=sink.name, error=error, records=0, bytes=0, required=sink.required),
                    outcome="failure",
                )
                self._gateway.journal.commit_soon()

    def _acked(self, said: Mapping[str, Any]) -> None:
        sink, journal, jseq = said.get("sink"), said.get("journal"), said.get("jseq")
        if isinstance(sink, str) and isinstance(journal, str) and isinstance(jseq, int):
            places = self._acks.setdefault(sink, {})
            places[journal] = max(places.get(journal, 0), jseq)
            for sinks, waiting in self._journals.items():
                if sink in sinks:
                    waiting.moved()

    # -- durable_at

    def acked(self, sink: str) -> int:
        """Up to which record of this gateway's journal everything is safe at a sink."""
        return self._acks.get(sink, {}).get(self._gateway.journal.id, 0)

    def journal_for(self, sinks: tuple[str, ...]) -> AcknowledgedJournal:
        """The journal whose records are durable when they are at these sinks, too."""
        found = self._journals.get(sinks)
        if found is None:
            found = self._journals[sinks] = AcknowledgedJournal(self._gateway.journal, sinks, self)
            self._look_at_troubles()
        return found

    def hurry(self) -> None:
        """Somebody waits for a sink: it hears of what is durable now."""
        self.poke()
        self.moved()  # the watermark is stored a moment after the journal tells: look once more

    def trouble_of(self, sinks: tuple[str, ...]) -> JournalRefused | None:
        """Why nothing can be expected of these sinks now."""
        return self._troubles.get(sinks)

    def _look_at_troubles(self) -> None:
        """Tell the sessions that wait for a sink that has begun to fail."""
        for sinks in self._journals:
            sentence = self._sentence_of(sinks)
            before = self._troubles.pop(sinks, None)
            if not sentence:
                continue
            trouble = self._troubles[sinks] = JournalRefused("sink", sentence)
            if before is None:
                self.log.error("commands that wait for a sink are refused: {why}", why=sentence)
                for session in list(self._gateway.shared.sessions.values()):
                    if session.durable_at == sinks:
                        session.journal_refuses(trouble)

    def _sentence_of(self, sinks: tuple[str, ...]) -> str:
        now = self._gateway.reactor.seconds()
        if self._down_since is not None and now - self._down_since >= PATIENCE_SECONDS:
            return "the process that delivers the trail is down"
        told = {each.get("name"): each for each in self.status.get("consumers", [])}
        for name in sinks:
            if all(sink.name != name for sink in self.config.sinks):
                return f"the trail is not delivered to {name} any more"
            if told.get(f"sink-{name}", {"state": "ok"}).get("state") not in FINE:
                return f"the trail does not reach {name}"
        return ""

    # -- the quota

    def _refuse(self, sentence: str) -> None:
        journal = self._gateway.journal
        held = journal.held
        if sentence == ("" if held is None else held.sentence):
            return
        journal.hold(JournalRefused("sink", sentence) if sentence else None)
        if sentence:
            self.log.error("new commands are refused: {sentence}", sentence=sentence)
            event = GatewayJournal(state="refusing", code="sink", sentence=sentence)
        else:
            self.log.info("commands are taken again")
            event = GatewayJournal(state="recovered")
        self._gateway.voice.say(event, outcome="failure" if sentence else "success")
        journal.commit_soon()

    def _look_while_down(self) -> None:
        reactor = self._gateway.reactor
        required = [sink for sink in self.config.sinks if sink.required]
        if self._watch is not None or not required:
            return

        def look() -> None:
            self._watch = None
            if self._process is not None or self._ended is not None:
                return
            state = self.config.gateway.state
            looking: Deferred[Any] = deferToThreadPool(
                reactor, reactor.getThreadPool(), over_quota, state, required
            )
            looking.addCallbacks(looked, failed)

        def looked(names: list[str]) -> None:
            if self._process is None and self._ended is None:
                told = ", ".join(names)
                self._refuse(f"the trail does not reach {told}, which is required" if names else "")
                self._look_while_down()

        def failed(failure: Failure) -> None:
            self.log.error("the cursors can't be looked at ({why})", why=type(failure.value).__name__)
            self._look_while_down()

        self._watch = reactor.callLater(DOWN_LOOK_SECONDS, look)

    # -- for those who ask

    @property
    def summary(self) -> Mapping[str, Any] | None:
        """For ``status``: whether it runs, and who of those that read does not get on. ``None``: nobody reads."""
        if not self.config.follows:
            return None
        consumers = self.status.get("consumers", [])
        return {
            "up": self.is_up,
            "state": self.status.get("state", "starting" if self.is_up else "down"),
            "failing": [each["name"] for each in consumers if each.get("state") not in FINE],
        }

    def command(self, asker: Asker | None, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The control command ``sinks``: figures, like ``status``, for everybody who can open the socket."""
        return {
            "up": self.is_up,
            "starts": self.starts,
            "state": self.status.get("state", "starting" if self.is_up else "down"),
            "consumers": self.status.get("consumers", []),
            "refuse": self.status.get("refuse", ""),
        }
