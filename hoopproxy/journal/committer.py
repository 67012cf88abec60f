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
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final, Protocol

from hoopproxy.journal.blocks import BlockMaker, split
from hoopproxy.journal.compress import Compressor
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import SegmentHeader, StoredRecord
from hoopproxy.journal.inbox import Inbox, QueuedRecord, Trouble
from hoopproxy.journal.keys import Key, KeyFile
from hoopproxy.journal.options import CommitFacts, JournalOptions
from hoopproxy.journal.recovery import Position
from hoopproxy.journal.reserve import Reserve
from hoopproxy.journal.salts import Salts
from hoopproxy.journal.segment import SegmentWriter, is_full
from hoopproxy.journal.watermark import WatermarkWriter

__all__ = ["Committer"]

_WRITE_BYTES: Final = 1 << 20  # of a large batch, bytes handed to the system at once
_ATTEMPTS: Final = 3  # as it is; with the reserve's space; in a new segment
_SPACE_EVERY: Final = 1 << 20  # stored bytes between two looks at the free space


class Hasher(Protocol):
    """The running digest."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...

    def copy(self) -> Hasher: ...


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
    ) -> None:
        """Open everything and begin a segment. Raises ``OSError``, ``Damaged``."""
        self._folder, self._files, self._options = folder, folder.files, options
        self._inbox, self._notify, self._wall, self._entropy = inbox, notify, wall, entropy
        self._epoch, self._number, self._flags = position.epoch, position.number, position.flags
        self._previous, self._previous_digest = position.previous, position.digest
        self._state = position.state
        self._compressor = Compressor(options.compress)
        self._batch: list[StoredRecord] = []
        self._batch_bytes = 0
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
        self._keys = KeyFile.open(self._files, folder.keys, folder.id, write=True)
        self._salts = Salts(self._keys)
        self._mark = WatermarkWriter(self._files, folder.watermark)
        self._reserve = Reserve(folder, options.reserve_bytes)
        self._hasher: Hasher = sha256()
        self._segment: SegmentWriter | None = None
        self._fresh = True  # nothing durable in the segment yet
        segment = self._begin_segment()
        self._mark.store(self.durable, segment.header.number, segment.end)  # what was recovered is durable
        self._look_at_space()

    @property
    def next_key(self) -> int:
        """The first key id that isn't taken; to be asked before the writer runs."""
        return self._keys.count

    @property
    def has_batch(self) -> bool:
        """Whether something was taken and isn't durable."""
        return bool(self._batch)

    # -- a turn

    def turn(self) -> None:
        """Make durable what was asked for, batch after batch; return when that is done, or can't be."""
        inbox = self._inbox
        while inbox.want or inbox.stop:
            retried = bool(self._batch)
            inbox.want = retried  # what was asked for while the disk refused is still owed
            if not retried and not self._take():
                break
            if not self._commit():
                inbox.want = False
                break
            if inbox.want:
                self._notify()
        if not self._batch and (self.refusal is not None or self.session_refusal is not None):
            self._look_at_space()
        self._notify()

    def _take(self) -> bool:
        inbox = self._inbox
        waiting = len(inbox.records)
        self.flight_mark, inbox.mark = inbox.mark, None
        pop = inbox.records.popleft
        if inbox.appended - self.durable_bytes <= self._options.batch_bytes:
            taken = [pop() for _ in range(waiting)]
        else:
            taken = list(self._pop_bounded(pop, waiting))
            if len(taken) < waiting:
                inbox.want, inbox.mark = True, self.flight_mark
        while inbox.keys:  # after the records: by now the key of each of them is in there
            key = inbox.keys.popleft()
            self._new_keys.append(key)
            self._salts.remember(key)
        self._batch, self._batch_bytes = self._whole(taken)
        return bool(taken)

    def _pop_bounded(self, pop: Callable[[], QueuedRecord], waiting: int) -> Iterator[QueuedRecord]:
        room = self._options.batch_bytes
        while waiting and room > 0:
            record = pop()
            body = record[3]
            room -= len(body) if isinstance(body, bytes) else sum(map(len, body))
            waiting -= 1
            yield record

    def _whole(self, taken: list[QueuedRecord]) -> tuple[list[StoredRecord], int]:
        """Bodies in one piece; events noted; bytes counted. Per record: keep it short."""
        note, join = self._state.note, b"".join
        batch: list[StoredRecord] = [
            (kind, flags, key_id, body if isinstance(body, bytes) else join(body))
            for kind, flags, key_id, body in taken
        ]
        for kind, _, key_id, body in batch:
            if kind == 1:
                note(key_id, body)
        return batch, sum([len(record[3]) for record in batch])

    # -- one commit, and what may go wrong with it

    def _commit(self) -> bool:
        for _ in range(_ATTEMPTS):
            try:
                self._write_keys()
            except OSError as error:
                if not self._may_retry_keys(error):
                    return False
                continue
            try:
                self._write_batch()
            except OSError as error:
                if not self._may_retry(error):
                    return False
            else:
                return True
        return False

    def _may_retry(self, error: OSError) -> bool:
        """Do what the error asks for; whether another attempt makes sense without waiting."""
        reason = error.strerror or type(error).__name__
        segment = self._segment
        if is_full(error):
            self._refuse_full()
            if segment is not None:
                self._give_back(segment)
            return self._give_up_reserve()
        if segment is not None:
            self._abandon(segment, reason)
        if segment is None or self._fresh:
            self._refuse_io(reason)
            return False
        return True

    def _may_retry_keys(self, error: OSError) -> bool:
        """As :meth:`_may_retry`, for the key file: after an error, another file takes its place."""
        if is_full(error):
            self._refuse_full()
            return self._give_up_reserve()
        reason = error.strerror or type(error).__name__
        self.alarms.append(
            f"the key file of the journal {self._folder.path.name} failed ({reason}); it is written anew"
        )
        again, self._keys_failed = self._keys_failed, True
        if again:
            self._refuse_io(reason)
        return not again

    def _refuse_full(self) -> None:
        self.refusal = Trouble(
            "full", "the journal's disk is full; commands are refused until there is space"
        )

    def _refuse_io(self, reason: str) -> None:
        self.refusal = Trouble(
            "io", f"the journal can't be written ({reason}); commands are refused until it can"
        )

    def _give_up_reserve(self) -> bool:
        try:
            return self._reserve.give_up()
        except OSError:
            return False

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
        with contextlib.suppress(OSError):
            segment.abandon()
        self._leave(segment)

    def _leave(self, segment: SegmentWriter) -> None:
        self._segment = None
        self._previous, self._previous_digest = segment.header.number, self._hasher.digest()

    def _write_keys(self) -> None:
        if not self._new_keys:
            return
        if self._keys_failed:
            self._keys.rewrite(self._new_keys)
        else:
            self._keys.append(self._new_keys)
        self._keys_failed = False
        self._new_keys = []
        self._salts.forget_oldest()

    def _write_batch(self) -> None:
        segment = self._roomy_segment()
        hasher = self._hasher.copy()
        first = self.durable + 1
        make = BlockMaker(
            self._compressor, self._salts, seed=segment.header.seed, durable=self.durable, time=self._wall()
        )
        parts: list[bytes] = []
        size = blocks = 0
        if segment.is_empty:
            parts += make.state(self._state.encode(), first, hasher)
        backlog = self._inbox.appended - self.durable_bytes
        before = segment.end
        for run in split(self._batch, self._batch_bytes, self._options.block_bytes):
            block = make.records(run, first, hasher, backlog)
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
        self._mark.store(first - 1, segment.header.number, segment.end)
        self._hasher, self._fresh = hasher, False
        self._settle(first - 1, blocks, segment.end - before, sync_ns)

    def _settle(self, last: int, blocks: int, stored: int, sync_ns: int) -> None:
        self.facts.append(
            CommitFacts(
                records=len(self._batch),
                blocks=blocks,
                raw_bytes=self._batch_bytes,
                stored_bytes=stored,
                sync_ns=sync_ns,
            )
        )
        self._batch = []
        self.durable_bytes += self._batch_bytes
        self.durable = last
        self._unlooked += stored
        if self.refusal is not None or self._unlooked >= _SPACE_EVERY:
            self._look_at_space()

    # -- segments

    def _roomy_segment(self) -> SegmentWriter:
        segment = self._segment
        if segment is not None and segment.end >= self._options.segment_bytes:
            self._leave(segment)
            segment.finish()
            segment = None
        return segment if segment is not None else self._begin_segment()

    def _begin_segment(self) -> SegmentWriter:
        number, self._number = self._number, self._number + 1
        self._fresh = True
        header = SegmentHeader(
            journal=self._folder.id,
            number=number,
            first_jseq=self.durable + 1,
            epoch=self._epoch,
            previous=self._previous,
            created=self._wall(),
            digest=self._previous_digest,
            seed=int.from_bytes(self._entropy(4), "little"),
            flags=self._flags,
        )
        self._segment = SegmentWriter(self._files, self._folder.segment(number), header)
        self._flags = 0
        self._hasher = sha256()
        return self._segment

    # -- space

    def _look_at_space(self) -> None:
        """Set and clear what depends on free space. Called with nothing half written."""
        self._unlooked = 0
        reserve = self._options.reserve_bytes
        try:
            if self._files.free_bytes(self._folder.path) >= 2 * reserve:
                self._reserve.hold()
            free = self._files.free_bytes(self._folder.path)
        except OSError as error:
            if is_full(error):
                self._refuse_full()
            else:
                self._refuse_io(error.strerror or type(error).__name__)
            return
        low = Trouble("full", f"the journal's disk has {free >> 20} MiB left; new sessions are refused")
        self.session_refusal = low if free < reserve else None
        if free < reserve // 4:
            self.refusal = Trouble(
                "full", "the journal's disk is nearly full; commands are refused until there is space"
            )
        elif self.refusal is not None and (self._reserve.is_held or not reserve or self.refusal.code == "io"):
            self.refusal = None

    # -- the end

    def finish(self) -> None:
        """Mark a clean stop if nothing is open, and close. Raises ``OSError``; closed in any case."""
        segment, self._segment = self._segment, None
        with contextlib.ExitStack() as closing:
            closing.callback(self._keys.close)
            closing.callback(self._mark.close)
            closing.callback(self._give_up_reserve)
            if segment is None:
                return
            closing.callback(segment.abandon)
            if not self._state and not self._batch:
                make = BlockMaker(
                    self._compressor,
                    self._salts,
                    seed=segment.header.seed,
                    durable=self.durable,
                    time=self._wall(),
                )
                segment.write_last(make.end(self.durable + 1, self._hasher))
                self._mark.store(self.durable, segment.header.number, segment.end)
