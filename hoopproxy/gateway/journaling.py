"""The gateway's own journal: how it is opened and sealed, what is told of its troubles, and how it ends."""

# Twisted's services and Failure are untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hoopproxy import config as conf
from hoopproxy.errors import HoopproxyError, JournalRefused
from hoopproxy.events import GatewayJournal
from hoopproxy.gateway import recovery, state
from hoopproxy.gateway.doorbell import Doorbell
from hoopproxy.gateway.figures import Figures
from hoopproxy.gateway.processor import Anywhere
from hoopproxy.gateway.shared import Shared
from hoopproxy.gateway.voice import Voice
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.keyring import READER_KEY
from hoopproxy.journal.options import CommitFacts, JournalOptions
from hoopproxy.journal.recovery import Recovered
from hoopproxy.journal.sealing import secret_of
from hoopproxy.journal.vault import Sealing
from hoopproxy.journal.writer import Journal
from hoopproxy.secrets import Secrets
from hoopproxy.wire.recorder import Clock, IdSource

__all__ = ["LAST_WORD_SECONDS", "Journaling", "StartFailed"]

LAST_WORD_SECONDS = 5.0
"""At the end: how long the disk may take for the gateway's last word before the trail's process is ended."""


class StartFailed(HoopproxyError):
    """The gateway can't start; one sentence."""


class Journaling(Service):
    """The part of a gateway that keeps a journal."""

    log = Logger()

    config: conf.Config
    reactor: Any
    secrets: Secrets
    ids: IdSource
    times: Clock
    voice: Voice
    figures: Figures
    shared: Shared
    is_open: bool
    sealing: Sealing | None
    on_commit: list[Callable[[CommitFacts], None]]
    _processor: Anywhere
    _folder: Folder | None

    # --- opening -------------------------------------------------------------------------------------

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
            at_rest=getattr(reactor, "call_at_rest", None),
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

    # --- the end -------------------------------------------------------------------------------------

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

    def _close_journal(self) -> Deferred[Any]:
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
