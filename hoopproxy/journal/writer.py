"""The journal as the data path sees it: append, ask for durability, learn what is durable.

Two threads. The reactor's appends to a queue and reads results; the writer's takes batches, makes blocks,
syncs. The hand-over is one flag and, if the writer sleeps, one release of a lock (:mod:`.pace` says when); the
way back is one ``call_from_thread`` for however many results came in the meantime, and where few sessions are at work
the writer does itself what waits for it (:meth:`Journal.carry`). What it does for its books alone it puts off while it
is wanted: it would do it with the interpreter's lock held, just when the reactor's thread wakes to send.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import Final

import orjson
from zope.interface import implementer

from hoopproxy.errors import JournalRefused
from hoopproxy.interfaces import IJournal
from hoopproxy.journal.appending import Appending
from hoopproxy.journal.chain import shortened
from hoopproxy.journal.committer import Committer
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.inbox import Trouble
from hoopproxy.journal.keyring import Keyring
from hoopproxy.journal.options import CommitFacts, JournalOptions
from hoopproxy.journal.pace import AtRest, Pace
from hoopproxy.journal.recovery import Recovered, recover
from hoopproxy.journal.refusals import CallLater
from hoopproxy.journal.segment import is_full
from hoopproxy.journal.vault import Sealing
from hoopproxy.journal.waiters import Errands, Waiters

__all__ = ["Journal"]

_SOON_SECONDS: Final = 0.005  # of nobody asking, after which the writer does what it put off


@implementer(IJournal)
class Journal(Appending):
    """One journal's writer. All methods on one thread (the reactor's); all callbacks come on it too.

    :param folder: a locked folder (``Folder.acquire``).
    :param clock: monotonic nanoseconds.
    :param call_from_thread: runs a function on the reactor's thread, soon.
    :param call_later: ``call_later(seconds, function)``, on the reactor's thread; gives what has
        ``cancel()``.
    :param at_rest: calls a function on the reactor's thread once, before that waits for the next event.
    :param threaded: false: no thread; ``commit_now`` does the writer's work itself, at once.
    :param on_commit: told of each commit, for the metrics.
    :param on_alarm: told, in a sentence, of each failure of the disk that was survived, and of each earlier segment
        that was found shorter than it was.
    :param on_batch: told on the writer's thread of the bytes of each batch that it is about to write.
    :param sealing: seal what is written, on the writer's thread.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], int] = time.time_ns,
        call_from_thread: Callable[[Callable[[], None]], object] = lambda function: function(),
        call_later: CallLater | None = None,
        at_rest: AtRest | None = None,
        options: JournalOptions | None = None,
        threaded: bool = True,
        entropy: Callable[[int], bytes] = os.urandom,
        on_commit: Callable[[CommitFacts], None] | None = None,
        on_alarm: Callable[[str], None] | None = None,
        on_batch: Callable[[int], object] | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        super().__init__(options or JournalOptions(), clock, wall, entropy, call_later)
        self.folder = folder
        self.id = str(uuid.UUID(bytes=folder.id))
        self._call_from_thread, self._call_later, self._threaded = call_from_thread, call_later, threaded
        self._on_commit, self._on_alarm, self._on_batch = on_commit, on_alarm, on_batch
        self._sealing = sealing
        self.durable = 0
        self._committer: Committer | None = None
        self._waiters = Waiters()
        self._errands = Errands()
        self._takes_before = 0  # what the timer was armed for
        self._pace = Pace(self._inbox, call_later, at_rest, None if threaded else self._work)
        self._notified = False
        self._stopped: Callable[[JournalRefused | None], None] | None = None
        self._working = False
        self._thread: threading.Thread | None = None

    # -- life

    def start(self, accept_loss: bool = False) -> Recovered:
        """Recover, open, and start the writer. May take as long as reading one segment takes.

        Raises ``Damaged`` (nothing was changed), ``UnsupportedFormat``, ``JournalRefused`` (the disk).
        """
        if not self.folder.is_locked:
            raise JournalRefused("closed", "the journal's folder is not locked by this process")
        if self._sealing is not None:
            self.folder.keyring = Keyring(self._sealing.secret)
        try:
            recovered, position = recover(self.folder, accept_loss)
            losses = [str(damage) for damage in shortened(self.folder)]
            committer = Committer(
                self.folder,
                position,
                self.options,
                self._inbox,
                self._notify,
                self._wall,
                self._entropy,
                self._sealing,
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            code = "full" if is_full(error) else "io"
            raise JournalRefused(
                code, f"the journal in {self.folder.path} can't be opened ({reason})"
            ) from error
        self._committer, self._is_started = committer, True
        committer.alarms.extend(losses)
        self.next_jseq, self.durable = position.next_jseq, position.next_jseq - 1
        self._next_key = committer.next_key
        self._refusals.judge(committer.refusal, committer.session_refusal, 0)
        if self._threaded:
            committer.is_shared, committer.on_batch = True, self._on_batch
            committer.carry = self._errands.carry
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        if recovered.lost is not None:
            lost = {
                "segment": recovered.lost.segment,
                "offset": recovered.lost.offset,
                "first": recovered.lost.first,
                "last": recovered.next_jseq - 1,
                "what": recovered.lost.what,
            }
            self.append(Kind.GAP, orjson.dumps(lost, option=orjson.OPT_SORT_KEYS), reserve=True)
            self.commit_now()
        return recovered

    def stop(self, done: Callable[[JournalRefused | None], None] | None = None) -> None:
        """Take no more, make everything durable, mark a clean stop, unlock; then ``done(None)``.

        If the disk doesn't let it, ``done`` gets the reason; what was never acknowledged is lost then.
        Without a thread it is all done on return.
        """
        if self._committer is None or self._refusals.is_closed:
            if done is not None:
                done(self._refusals.now)
            return
        self._flush_gap()
        if self._batch_timer is not None:
            self._batch_timer.cancel()
            self._batch_timer = None
        self._stopped = done or (lambda _: None)
        self._refusals.close()
        self._inbox.stop = True
        self.commit_now()
        self._pace.hurry()

    def ended(self, seconds: float) -> bool:
        """Wait so long for the writer's thread, after :meth:`stop`: whether it is done. What it left to be called on
        the reactor's thread has yet to be."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    # -- the writer's thread

    def _run(self) -> None:
        committer, inbox, wait = self._committer, self._inbox, self._pace.wait
        assert committer is not None
        while not inbox.stop:
            if wait(_SOON_SECONDS if committer.is_behind else None):
                self._turn(committer)
            else:
                self._guarded(committer, committer.rest)
        self._turn(committer)  # what came before the stop, after the last turn had looked
        self._call_from_thread(self._finish)

    def _turn(self, committer: Committer) -> None:
        self._guarded(committer, committer.turn)

    def _guarded(self, committer: Committer, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # the thread must not die in silence: refuse, and say so
            committer.broke(error)

    def _notify(self) -> None:
        if not self._notified:
            self._notified = True
            if self._threaded:
                self._call_from_thread(self._learn)

    # -- what the writer did

    def _learn(self) -> None:
        """Take over the writer's results; on the reactor's thread."""
        self._notified = False
        committer = self._committer
        if committer is None:
            return
        durable = committer.durable
        if durable != self.durable:
            self.durable, self._durable_bytes = durable, committer.durable_bytes
            if durable + 1 == self.next_jseq:
                self._inbox.mark = None
            self._set_attention()
        waiters = self._waiters
        try:  # what waits for the disk goes on before anything else
            waiters.release(self.durable)
        finally:
            self._learn_more(committer)
            if waiters.is_due(self.durable):  # one failed: that is its own affair
                self._call_from_thread(self._learn)
            self._pace.look()  # what was asked for while the writer looked for how many to wait

    def _learn_more(self, committer: Committer) -> None:
        while committer.facts:
            facts = committer.facts.popleft()
            if self._on_commit is not None:
                self._on_commit(facts)
        while committer.alarms:
            alarm = committer.alarms.popleft()
            if self._on_alarm is not None:
                self._on_alarm(alarm)
        if self._gap is not None and self._has_room():
            self._flush_gap()
            self.commit_soon()
        self._refusals.judge(committer.refusal, committer.session_refusal, self.unsynced_bytes)

    def _has_room(self) -> bool:
        committer = self._committer
        return (
            committer is not None
            and committer.refusal is None
            and self.unsynced_bytes <= self.options.max_lag_bytes // 2
        )

    def _finish(self) -> None:
        committer, self._committer = self._committer, None
        done, self._stopped = self._stopped, None
        assert committer is not None
        assert done is not None
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        reason: JournalRefused | None = None
        if committer.has_batch or self._inbox.flat:
            trouble = committer.refusal or Trouble("io", "the journal could not be written")
            reason = JournalRefused(trouble.code, trouble.sentence)
        try:
            committer.finish()
        except OSError as error:
            reason = JournalRefused("io", f"the journal could not be closed ({error.strerror})")
        self._committer = committer
        self._learn()
        self._committer = None
        self.folder.release()
        done(reason)

    # -- durability

    def commit_now(self) -> None:
        inbox = self._inbox
        inbox.want = True
        inbox.asked += 1
        self._pace.ask()

    def _work(self) -> None:
        """The writer's work, without its thread; callbacks that ask for more are served by the same loop."""
        committer = self._committer
        try:
            while not self._working and committer is not None and self._inbox.is_time:
                self._working = True
                try:
                    self._turn(committer)
                    self._call_from_thread(self._learn)
                finally:
                    self._working = False
        finally:
            self._pace.sleeps = True
        if self._inbox.stop and self._committer is not None and not self._working:
            self._finish()

    def roll(self) -> None:
        """Have what is appended from now on in a segment of its own: what is in the others can then be changed."""
        self._inbox.roll = True

    def commit_soon(self) -> None:
        if self._batch_timer is None and not self._inbox.want:
            if self._call_later is None:
                self.commit_now()
            else:
                self._takes_before = self._inbox.takes
                self._batch_timer = self._call_later(self.options.sync_ms / 1000, self._commit_armed)

    def _commit_armed(self) -> None:
        self._batch_timer = None
        inbox = self._inbox
        if inbox.takes == self._takes_before and not inbox.want:
            inbox.enough = 0  # nobody else asked: whoever is at work doesn't wait for the disk, so none will
        self.commit_now()

    @property
    def carries(self) -> bool:
        """Whether :meth:`carry` pays: where many sessions are at work, two threads would be in each other's way."""
        return self._threaded and not self._inbox.enough

    def carry(self, jseq: int, errand: Callable[[], None]) -> None:
        """Have it called on the writer's thread as soon as ``durable >= jseq``, and before anybody is told on this one.

        It must not raise. Its commit must not have been asked for yet.
        """
        self._errands.add(jseq, errand)

    def when_durable(self, jseq: int, callback: Callable[[], None]) -> None:
        """Call back once ``durable >= jseq``, in the order of ``jseq``; at once if it is already.

        Asks for nothing: somebody must commit. While the disk refuses, it waits; if the journal is closed
        before, it is never called.
        """
        if jseq <= self.durable:
            callback()
        else:
            self._waiters.add(jseq, callback)

    @property
    def oldest_unsynced(self) -> int | None:
        """Monotonic ns at which the oldest record that isn't durable was appended, or a little before."""
        committer = self._committer
        if committer is None or self.durable + 1 == self.next_jseq:
            return None
        if committer.has_batch and committer.flight_mark is not None:
            return committer.flight_mark
        return self._inbox.mark
