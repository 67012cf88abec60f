"""The writer's side of the journal: batches in, durable blocks out. Runs on the writer thread alone.

A batch that was taken from the queue stays here until it is durable, whatever the disk does: it is written
again after the space is back, or into a new segment after an error (never again to the same file: after a
failed ``fdatasync`` the kernel may have dropped the pages and say "fine" the next time).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from hoopproxy.journal.batch import WIDTH, Batch, Folded, cuts
from hoopproxy.journal.crowd import Crowd
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.inbox import Inbox, Trouble
from hoopproxy.journal.keys import Key, KeyFile
from hoopproxy.journal.options import CommitFacts, JournalOptions
from hoopproxy.journal.recovery import Position
from hoopproxy.journal.reserve import Reserve
from hoopproxy.journal.segment import SegmentWriter, is_full
from hoopproxy.journal.segments import Segments
from hoopproxy.journal.vault import Sealing, Vault
from hoopproxy.journal.watermark import WatermarkWriter

__all__ = ["Committer"]

_WRITE_BYTES: Final = 1 << 20  # of a large batch, bytes handed to the system at once
_MOST_BEHIND: Final = 32  # commits whose bookkeeping is left for later
_MOST_BYTES_BEHIND: Final = 1 << 20  # of their records, about
_FULL: Final = Trouble("full", "the journal's disk is full; commands are refused until there is space")
_ATTEMPTS: Final = 3  # as it is; with the reserve's space; in a new segment
_SPACE_EVERY: Final = 1 << 20  # stored bytes between two looks at the free space


class Committer:
    """Take what waits in an :class:`Inbox` and make it durable.

    Results are plain attributes that any thread may read: ``durable``, ``durable_bytes`` (of bodies),
    ``refusal`` and ``session_refusal`` (``None`` or a :class:`Trouble`), ``flight_mark`` (as ``Inbox.mark``,
    of what was taken); ``facts`` and ``alarms`` are for the reactor's thread to empty. ``notify`` is called
    on this thread after each change.
    """

    def __init__(
        self,
        folder: Folder,
        position: Position,
        options: JournalOptions,
        inbox: Inbox,
        notify: Callable[[], None],
        wall: Callable[[], int] = time.time_ns,
        entropy: Callable[[int], bytes] = os.urandom,
        sealing: Sealing | None = None,
    ) -> None:
        """Open everything and begin a segment. Raises ``OSError``, ``Damaged``, ``BadKey``."""
        self._folder, self._files, self._options = folder, folder.files, options
        self._inbox, self._notify, self._wall, self._entropy = inbox, notify, wall, entropy
        self._state = position.state
        self._batch: Batch | None = None
        self.is_shared = False
        """Others go on while this works: a commit may wait for more of them, and what can be put off is."""
        self.on_batch: Callable[[int], object] | None = None
        """Told of the bytes of each batch before it is written, on this thread."""
        self.carry: Callable[[int], None] | None = None
        """Told of what is durable before anybody else, on this thread. It must not raise."""
        self._crowd = Crowd()
        self._news = False  # something that the reactor's thread was not told of
        self._is_broken = False  # and nothing was tried since
        self._behind: list[Batch] = []  # durable, and not yet looked through
        self._bytes_behind = 0
        self._new_keys: list[Key] = []
        self._keys_failed = False
        self._unlooked = 0
        self.durable = position.next_jseq - 1
        self.durable_bytes = 0
        self.refusal: Trouble | None = None
        self.session_refusal: Trouble | None = None
        self.flight_mark: int | None = None
        self.facts: deque[CommitFacts] = deque()
        self.alarms: deque[str] = deque()
        self._mark_failed = False
        self._vault: Vault | None = None
        with contextlib.ExitStack() as undo:  # whoever tries this again would open one more of each
            self._keys = KeyFile.open(self._files, folder.keys, folder.id, write=True)
            undo.callback(self._keys.close)
            self._mark = WatermarkWriter(self._files, folder.watermark)
            undo.callback(self._mark.close)
            self._reserve = Reserve(folder, options.reserve_bytes)
            if sealing is not None:
                self._vault = Vault(folder, sealing, entropy)
                undo.callback(self._vault.close)
            self._segments = Segments(folder, position, options, wall, entropy, self._vault)
            segment = self._segments.begin(self.durable)
            undo.callback(segment.abandon)
            self._mark.store(
                self.durable, segment.header.number, segment.end
            )  # what was recovered is durable
            undo.pop_all()
        self._look_at_space()

    @property
    def next_key(self) -> int:
        """The first key id that isn't taken; to be asked before the writer runs."""
        return self._keys.count

    @property
    def has_batch(self) -> bool:
        """Whether something was taken and isn't durable."""
        return self._batch is not None

    @property
    def is_behind(self) -> bool:
        """Whether :meth:`rest` has something to do."""
        return bool(self._behind)

    # -- a turn

    def turn(self) -> None:
        """Make durable what was asked for, batch after batch; return when that is done, or can't be."""
        inbox = self._inbox
        self._news = True
        while inbox.is_time or inbox.stop:
            retried = self._batch is not None
            inbox.want = inbox.hurry = retried  # what was asked for while the disk refused is still owed
            if not retried and not self._take():
                self._is_broken = False
                break
            if not self._commit():
                inbox.want = False
                self._news = True
                break
        if not self._is_owed and (self.refusal is not None or self.session_refusal is not None):
            self._look_at_space()
        if self._news:
            self._notify()

    def broke(self, error: Exception) -> None:
        """What was being done ended with an error that is none of the disk's: refuse until it has been tried again."""
        self._is_broken = True
        self.refusal = Trouble("io", f"the journal's writer failed ({type(error).__name__})")
        self.alarms.append(self.refusal.sentence)
        self._notify()

    @property
    def _is_owed(self) -> bool:
        """Whether an attempt failed that is to be made again: until then no look at the space ends a refusal."""
        return self._batch is not None or self._is_broken

    def _take(self) -> bool:
        inbox = self._inbox
        # Before the count: what comes in between is marked again.
        self.flight_mark, inbox.mark = inbox.mark, None
        waiting = len(inbox.flat) // WIDTH
        came, inbox.asked = inbox.asked, 0
        inbox.takes += 1
        room = self._options.batch_bytes
        if waiting and inbox.appended - self.durable_bytes > room:
            _, count = next(cuts(inbox.flat[2 : waiting * WIDTH : WIDTH], room, waiting))
            if count < waiting:
                inbox.want = inbox.hurry = True
                inbox.mark, waiting = self.flight_mark, count
        # Without memory for it they stay where they are: were they lost, those behind them would get their numbers.
        batch = Batch(inbox.first(waiting)) if waiting else None
        while inbox.keys:  # after the count: by now the key of each of them is in there
            self._new_keys.append(inbox.keys[0])
            inbox.keys.popleft()
        if batch is None:
            return False
        inbox.drop(waiting)
        self._batch = batch
        if self.is_shared:
            inbox.enough = self._crowd.enough(inbox.enough, came, batch.talking)
        if self.on_batch is not None:
            self.on_batch(batch.size)
        return True

    # -- one commit, and what may go wrong with it

    def _commit(self) -> bool:
        batch = self._batch
        assert batch is not None
        for _ in range(_ATTEMPTS):
            try:
                self._write_keys()
            except OSError as error:
                if not self._may_retry_keys(error):
                    return False
                continue
            try:
                self._write_batch(batch)
            except OSError as error:
                if not self._may_retry(error):
                    return False
            else:
                return True
        return False

    def _may_retry(self, error: OSError) -> bool:
        """Do what the error asks for; whether another attempt makes sense without waiting."""
        reason = error.strerror or type(error).__name__
        segment = self._segments.now
        if is_full(error):
            self.refusal = _FULL
            if segment is not None:
                self._give_back(segment)
            return self._reserve.give_up()
        if segment is not None:
            self._abandon(segment, reason)
        if segment is None or self._segments.is_fresh:
            self._refuse_io(reason)
            return False
        return True

    def _may_retry_keys(self, error: OSError) -> bool:
        """As :meth:`_may_retry`, for the key file: after an error, another file takes its place."""
        if is_full(error):
            self.refusal = _FULL
            return self._reserve.give_up()
        reason = error.strerror or type(error).__name__
        self.alarms.append(
            f"the key file of the journal {self._folder.path.name} failed ({reason}); it is written anew"
        )
        again, self._keys_failed = self._keys_failed, True
        if again:
            self._refuse_io(reason)
        return not again

    def _refuse_io(self, reason: str) -> None:
        self.refusal = Trouble(
            "io", f"the journal can't be written ({reason}); commands are refused until it can"
        )

    def _give_back(self, segment: SegmentWriter) -> None:
        if segment.is_failed:  # it was the sync that found no space
            self._abandon(segment, "no space when syncing")
            return
        try:
            segment.rewind()
        except OSError as error:
            self._abandon(segment, error.strerror or type(error).__name__)

    def _abandon(self, segment: SegmentWriter, reason: str) -> None:
        self.alarms.append(
            f"segment {segment.header.number} of the journal {self._folder.path.name} failed ({reason});"
            " what was not durable is written again in a new one"
        )
        self._segments.abandon(segment, self.durable)

    def _write_keys(self) -> None:
        if not self._new_keys:
            return
        keys = self._new_keys if self._vault is None else self._vault.store(self._new_keys)
        if self._keys_failed:
            self._keys.rewrite(keys)
        else:
            self._keys.append(keys)
        if self._vault is not None:
            self._vault.forget(keys)
        self._keys_failed = False
        self._new_keys = []

    def _write_batch(self, batch: Batch) -> None:
        rolling, self._inbox.roll = self._inbox.roll, False
        segment = self._segments.roomy(self.durable, rolling)
        if segment.is_half_written:  # by an attempt that broke off
            segment.rewind()
        first = self.durable + 1
        make = self._segments.dated(self.durable)
        parts: list[bytes] = []
        size = blocks = 0
        if segment.is_empty:
            self._keep_books()
            parts += make.state(self._state.encode(), first)
        backlog, limit = self._inbox.appended - self.durable_bytes, self._options.block_bytes
        before = segment.end
        # What is sealed is sealed record by record, so it can't be folded.
        written = batch if self._segments.seal is None else batch.unfolded()
        for run in written.runs(limit):
            if isinstance(run, Folded):
                block = make.folded(run, first, backlog)
            else:
                block = make.records(run, first, backlog)
            first += len(run)
            blocks += 1
            parts += block
            size += len(block[1])
            if size >= _WRITE_BYTES:
                segment.write(parts)
                parts, size = [], 0
        if parts:
            segment.write(parts)
        started = time.perf_counter_ns()
        segment.sync()
        sync_ns = time.perf_counter_ns() - started
        facts = CommitFacts(batch.count, blocks, batch.size, segment.end - before, sync_ns)
        self._settle(batch, first - 1, facts, segment)

    def _settle(self, batch: Batch, last: int, facts: CommitFacts, segment: SegmentWriter) -> None:
        """The batch is durable: tell at once, and do afterwards what can be done while others go on.

        What waited for nothing else goes on first. Then readers are told: whoever learns that a record is durable may
        look for it. What only keeps the books is left for later where others wait for this thread: what was told goes
        on when it lets go of the interpreter.
        """
        self._batch, self._segments.is_fresh, self._is_broken = None, False, False
        self.durable_bytes += batch.size
        if self.carry is not None:
            self.carry(last)
        self._store_mark(last, segment)
        self.facts.append(facts)
        self.durable = last  # other threads look at it at any time, so it comes after the mark
        self._news = False
        self._notify()
        self._behind.append(batch)
        self._unlooked += facts.stored_bytes
        self._bytes_behind += batch.size
        if (
            not self.is_shared
            or self.refusal is not None
            or len(self._behind) >= _MOST_BEHIND
            or self._bytes_behind >= _MOST_BYTES_BEHIND
        ):
            self._catch_up()

    def rest(self) -> None:
        """Nothing was asked for in the last moment: do what was left for later."""
        self._catch_up()
        if self._news:
            self._notify()

    def _catch_up(self) -> None:
        self._keep_books()
        if not self._is_owed and (self.refusal is not None or self._unlooked >= _SPACE_EVERY):
            self._look_at_space()

    def _keep_books(self) -> None:
        """Look through what was made durable since the last time: what is open now, the segment's digest."""
        behind, self._behind, self._bytes_behind = self._behind, [], 0
        for batch in behind:
            self._state.apply(batch.books())
        lost = self._inbox.lost
        while lost and lost[0][0] <= self.durable:
            _, key, note = lost.popleft()
            self._state.close(key, note)
        if self._segments.now is not None:
            self._segments.now.catch_up()

    def _store_mark(self, durable: int, segment: SegmentWriter) -> None:
        """Tell readers. A mark that can't be written is too low, which is true; so nobody else need suffer."""
        try:
            self._mark.store(durable, segment.header.number, segment.end)
        except OSError as error:
            if not self._mark_failed:
                reason = error.strerror or type(error).__name__
                self.alarms.append(
                    f"the watermark of the journal {self._folder.path.name} can't be written ({reason});"
                    " readers see what is new only when it can"
                )
            self._mark_failed = True
        else:
            self._mark_failed = False

    # -- space

    def _look_at_space(self) -> None:
        """Set and clear what depends on free space. Called with nothing half written."""
        self._unlooked, self._news = 0, True
        try:
            self.refusal, self.session_refusal = self._reserve.judge(self.refusal)
        except OSError as error:
            if is_full(error):
                self.refusal = _FULL
            else:
                self._refuse_io(error.strerror or type(error).__name__)

    # -- the end

    def finish(self) -> None:
        """Mark a clean stop if nothing is open, and close. Raises ``OSError``; closed in any case."""
        self._keep_books()
        segment, self._segments.now = self._segments.now, None
        with contextlib.ExitStack() as closing:
            closing.callback(self._keys.close)
            closing.callback(self._mark.close)
            if self._vault is not None:
                closing.callback(self._vault.close)
            closing.callback(self._reserve.give_up)
            if segment is None:
                return
            closing.callback(segment.abandon)
            if not self._state and self._batch is None:
                make = self._segments.dated(self.durable)
                segment.write_last(make.end(segment.digest(), self.durable + 1))
                self._store_mark(self.durable, segment)
