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
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import orjson
from zope.interface import implementer

from hoopproxy.errors import JournalRefused
from hoopproxy.interfaces import IJournal
from hoopproxy.journal.batch import TURN
from hoopproxy.journal.chain import shortened
from hoopproxy.journal.chunks import CLIENT_LEG, HEADER_SIZE, Redaction, Streams, encode_header, place
from hoopproxy.journal.committer import Committer
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import CLOSES, MAX_BODY, OPENS, Kind
from hoopproxy.journal.gap import Gap
from hoopproxy.journal.inbox import Inbox, Trouble
from hoopproxy.journal.keyring import Keyring
from hoopproxy.journal.keys import Key
from hoopproxy.journal.options import CommitFacts, JournalOptions
from hoopproxy.journal.pace import AtRest, Pace
from hoopproxy.journal.recovery import Recovered, recover
from hoopproxy.journal.refusals import CallLater, Refusals, Timer
from hoopproxy.journal.segment import is_full
from hoopproxy.journal.vault import Sealing
from hoopproxy.journal.waiters import Errands, Waiters

__all__ = ["Journal"]

_KICK_BYTES: Final = 1 << 21  # that much waiting is handed over without being asked; each commit takes 0.1 ms
_SOON_SECONDS: Final = 0.005  # of nobody asking, after which the writer does what it put off
_EVENT: Final = int(Kind.EVENT)
_OPENING: Final = _EVENT | OPENS << 8
_CLOSING: Final = _EVENT | CLOSES << 8
_CHUNK: Final = int(Kind.CHUNK)
_GAP: Final = int(Kind.GAP)


@implementer(IJournal)
class Journal:
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
        self.folder, self.options = folder, options or JournalOptions()
        self.id = str(uuid.UUID(bytes=folder.id))
        self._clock, self._wall, self._entropy = clock, wall, entropy
        self._call_from_thread, self._call_later, self._threaded = call_from_thread, call_later, threaded
        self._on_commit, self._on_alarm, self._on_batch = on_commit, on_alarm, on_batch
        self._sealing = sealing
        self.next_jseq = 1
        self.durable = 0
        self._refusals = Refusals(self.options, call_later, self._set_attention, self.commit_now)
        self._inbox = Inbox()
        self._put = self._inbox.flat.extend
        self._streams = Streams()
        self._committer: Committer | None = None
        self._next_key = 1
        self._durable_bytes = 0
        self._room = min(_KICK_BYTES, self.options.max_lag_bytes, self.options.queue_limit)
        self._attention = -1  # appended bytes from which on an append needs more than queueing
        self._waiters = Waiters()
        self._errands = Errands()
        self._gap: Gap | None = None
        self._batch_timer: Timer | None = None
        self._takes_before = 0  # what the timer was armed for
        self._pace = Pace(self._inbox, call_later, at_rest, None if threaded else self._work)
        self._notified = False
        self._stopped: Callable[[JournalRefused | None], None] | None = None
        self._working = False
        self._thread: threading.Thread | None = None
        self.held: JournalRefused | None = None

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
        self._committer = committer
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

    def _set_attention(self) -> None:
        """From where on an append must be looked at: always, while anything is out of the ordinary."""
        usual = self._refusals.now is None and self._gap is None and self.held is None
        self._attention = self._durable_bytes + self._room if usual else -1

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

    # -- appending

    def open_key(self, session: bytes) -> int:
        """A key id, with its own salt, for a session's 16-byte id. Durable no later than its first use."""
        key_id = self._next_key
        self._next_key = key_id + 1
        self._inbox.keys.append(Key(key_id, session, self._entropy(16), self._wall()))
        return key_id

    def append(
        self,
        kind: int,
        body: bytes | tuple[bytes, ...] | list[bytes],
        key_id: int = 0,
        flags: int = 0,
        *,
        reserve: bool = False,
        droppable: bool = False,
    ) -> int:
        """Queue a record and return its ``jseq``. Nothing is durable, or even under way, before a commit.

        :param body: the bytes, or pieces that the writer joins.
        :param reserve: take it even while refusing (endings, refusals): there is space kept for that.
        :param droppable: (``best-effort``) if it can't be taken, count it in a gap record, whose ``jseq`` is
            returned.
        :raises JournalRefused: it was not taken.
        """
        if isinstance(body, bytes):
            return self._append(kind | flags << 8, key_id, None, body, b"", reserve, droppable)
        head, *rest = body
        return self._append(kind | flags << 8, key_id, None, head, b"".join(rest), reserve, droppable)

    def _append(
        self,
        code: int,
        key_id: int,
        note: bytes | None,
        head: bytes,
        tail: bytes,
        reserve: bool,
        droppable: bool,
    ) -> int:
        size, inbox = len(head) + len(tail), self._inbox
        if inbox.appended + size > self._attention:
            dropped = self._consider(size, reserve, droppable)
            if dropped:
                if code == _CLOSING and note is not None:
                    inbox.lost.append((dropped, key_id, note))
                return dropped
        inbox.appended += size
        if inbox.mark is None:
            inbox.mark = self._clock()
        self._put((code, key_id, size, note, head, tail))
        jseq = self.next_jseq
        self.next_jseq = jseq + 1
        return jseq

    def append_event(
        self,
        body: bytes,
        key_id: int = 0,
        reserve: bool = False,
        droppable: bool = False,
        opens: bytes | None = None,
        closes: bytes | None = None,
    ) -> int:
        """Queue an event (canonical JSON); as :meth:`append`. As fast as can be: it is in every command's way.

        :param opens: the operation that is open until an event ``closes`` it, or, 16 bytes long, the id of
            the session that is (one for each key id). What is open after a crash is found by that.
        """
        size = len(body)
        inbox = self._inbox
        appended = inbox.appended + size
        if opens is not None:
            code, note = _OPENING, opens
        elif closes is not None:
            code, note = _CLOSING, closes
        else:
            code, note = _EVENT, None
        if appended > self._attention:
            return self._append(code, key_id, note, body, b"", reserve, droppable)
        inbox.appended = appended
        if inbox.mark is None:
            inbox.mark = self._clock()
        self._put((code, key_id, size, note, body, b""))
        jseq = self.next_jseq
        self.next_jseq = jseq + 1
        return jseq

    def append_chunk(
        self,
        key_id: int,
        session: bytes,
        leg: int,
        direction: int,
        offset: int,
        mono_ns: int,
        data: bytes,
        redactions: Sequence[Redaction] = (),
        reserve: bool = False,
        droppable: bool = False,
    ) -> int:
        """Queue recorded bytes (secrets already filled in, see :mod:`.chunks`); as :meth:`append`."""
        inbox = self._inbox
        size = HEADER_SIZE + len(data)
        appended = inbox.appended + size
        if redactions or appended > self._attention or leg != CLIENT_LEG:
            head = encode_header(session, leg, direction, offset, mono_ns, redactions)
            return self._append(_CHUNK, key_id, None, head, data, reserve, droppable)
        inbox.appended = appended
        if inbox.mark is None:
            inbox.mark = self._clock()
        head = place(self._streams[session, direction], offset, mono_ns)
        self._put((_CHUNK, key_id, size, None, head, data))
        jseq = self.next_jseq
        self.next_jseq = jseq + 1
        return jseq

    def append_turn(
        self,
        count: int,
        key_id: int,
        size: int,
        envelope: tuple[Any, ...],
        turn: tuple[Any, ...],
        data: bytes,
        now: int,
    ) -> int:
        """Queue the records of a plain turn; see :class:`hoopproxy.interfaces.IJournal`."""
        inbox = self._inbox
        appended = inbox.appended + size
        if appended > self._attention:
            return 0
        inbox.appended = appended
        if inbox.mark is None:
            inbox.mark = now
        self._put((TURN, key_id, size, envelope, turn, data))
        jseq = self.next_jseq
        self.next_jseq = jseq + count
        if self._batch_timer is None and not inbox.want:
            self.commit_soon()
        return jseq

    def _consider(self, size: int, reserve: bool, droppable: bool) -> int:
        """Decide on a record that can't simply be queued: its ``jseq`` if it was dropped, 0 to queue it."""
        if size > MAX_BODY:
            raise JournalRefused("full", f"a record of {size} bytes is over the journal's {MAX_BODY}")
        refusals, ahead = self._refusals, self.unsynced_bytes + size
        if refusals.is_closed or self._committer is None:
            raise JournalRefused("closed", "the journal is closed")
        behind = ahead > self.options.max_lag_bytes and self.unsynced_bytes > 0
        if droppable and not reserve and (refusals.now is not None or behind):
            return self._drop(size)
        if not reserve:
            if refusals.now is None and ahead > self.options.queue_limit and self.unsynced_bytes > 0:
                refusals.lag(ahead)
            if refusals.now is not None:
                raise JournalRefused(refusals.now.code, refusals.now.sentence)
        self._flush_gap()
        if ahead > _KICK_BYTES and not self._inbox.want:
            if refusals.now is None and self.held is None:
                self._attention = self._inbox.appended + size + self._room
            self.commit_now()
        return 0

    def _drop(self, size: int) -> int:
        now = self._wall()
        gap = self._gap
        if gap is None:
            gap = self._gap = Gap(self.next_jseq, now)
            self.next_jseq += 1
            self._set_attention()
            self.commit_now()  # so that something tells us when there is room again
        gap.add(size, now)
        return gap.jseq

    def _flush_gap(self) -> None:
        gap, self._gap = self._gap, None
        if gap is not None:
            body = gap.encode()
            self._inbox.appended += len(body)
            self._put((_GAP, 0, len(body), None, body, b""))
            self._set_attention()

    # -- durability

    def commit_now(self) -> None:
        """Have what waits made durable as soon as the commit that is under way, if any, is done."""
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
        """Have it within ``sync_ms``: the first call arms a timer, further ones cost nothing."""
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
    def refusal(self) -> JournalRefused | None:
        """Why commands must not be begun now, or ``None``. Its ``code`` is full, io, lagging, closed or sink."""
        return self._refusals.now or self.held

    @property
    def refusal_for_new_sessions(self) -> JournalRefused | None:
        """As :attr:`refusal`, and also when space is so low that what runs should have it."""
        return self._refusals.new_sessions or self.held

    def hold(self, reason: JournalRefused | None) -> None:
        """Have commands and sessions refused for a reason that is not the journal's own, or no longer.

        Records are taken as ever: what runs goes on, and is on record to its end.
        """
        self.held = reason
        self._set_attention()

    def widen(self, max_queue_bytes: int) -> None:
        """From now on at least so many un-synced bytes may wait; who was told of more before may still send that."""
        if max_queue_bytes > self.options.queue_limit:
            self.options = attrs.evolve(self.options, max_queue_bytes=max_queue_bytes)
            self._refusals.options = self.options

    @property
    def unsynced_bytes(self) -> int:
        """Bytes of bodies accepted and not durable."""
        return self._inbox.appended - self._durable_bytes

    @property
    def oldest_unsynced(self) -> int | None:
        """Monotonic ns at which the oldest record that isn't durable was appended, or a little before."""
        committer = self._committer
        if committer is None or self.durable + 1 == self.next_jseq:
            return None
        if committer.has_batch and committer.flight_mark is not None:
            return committer.flight_mark
        return self._inbox.mark

    def on_refusal(self, callback: Callable[[JournalRefused], None]) -> None:
        """Call back each time that the journal begins to refuse (or refuses for another reason)."""
        self._refusals.on_refusal.append(callback)

    def on_recovered(self, callback: Callable[[], None]) -> None:
        """Call back each time that it takes records again."""
        self._refusals.on_recovered.append(callback)
