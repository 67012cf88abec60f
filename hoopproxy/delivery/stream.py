"""One journal as it grows, decoded once for everybody who is near its end.

The newest records that were read are kept, up to some bytes. Who wants one of those gets it from there; who is
further behind reads the disk with a reader of his own until he is near enough. That costs as much again, so those in
front wait a moment for one who is about to drop out of it; how long in all is bounded (:mod:`.patience`).
"""

from __future__ import annotations

import bisect
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final
from weakref import WeakSet

import attrs

from hoopproxy.delivery.consumer import Entry, Records, Taken, TakenTurn
from hoopproxy.delivery.patience import Patience
from hoopproxy.errors import Damaged
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.keys import GATEWAY_KEY, KeyFile
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Entry as Read
from hoopproxy.journal.record import Record
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.journal.watermark import NO_MARK, Mark, read_mark

__all__ = ["Batch", "Place", "Stream", "View"]

BATCH_ENTRIES: Final = 2048
BATCH_BYTES: Final = 1 << 20
"""Of memory: it stays in the processor's caches while one consumer after the other has it. Of 4 MiB each record cost a
quarter more when there were many; of less, a sink is asked to wait for the disk too often."""
WINDOW_BYTES: Final = 8 << 20
"""About a second of 1,000 commands: a consumer that waits for the disk so long is not read for by itself."""
_RECORD_OVERHEAD: Final = 300  # bytes of memory that a decoded record takes beside its body
_TURN_OVERHEAD: Final = 1500
_KEYS_KEPT: Final = 65536
_TRIES: Final = 3


@attrs.frozen
class Place:
    """Where a block is on disk, and when it was written (Unix ns)."""

    segment: int
    offset: int
    time: int


@attrs.frozen
class Batch:
    """Consecutive records, all that is wanted of each block. ``size``: bytes of memory."""

    entries: tuple[Entry, ...]
    size: int
    records: Records = attrs.field(init=False)

    @records.default
    def _records(self) -> Records:
        return Records(self.entries)

    @property
    def first(self) -> int:
        """The first record's number."""
        return self.entries[0].jseq

    @property
    def last(self) -> int:
        """The last record's number."""
        last = self.entries[-1]
        return last.last_jseq if isinstance(last, TakenTurn) else last.jseq

    @property
    def place(self) -> Place:
        """Where it begins."""
        first = self.entries[0]
        read = first if isinstance(first, TakenTurn) else first.record
        return Place(read.segment, read.offset, read.time)

    def since(self, position: int) -> Batch:
        """Without what comes before ``position``."""
        if position <= self.first:
            return self
        left: list[Entry] = []
        for entry in self.entries:
            if entry.jseq >= position:
                left.append(entry)
            elif isinstance(entry, TakenTurn) and entry.last_jseq >= position:
                left += [taken for taken in entry.taken() if taken.jseq >= position]
        return Batch(tuple(left), self.size * len(left) // len(self.entries))


class _Reading:
    """A journal reader that gives batches."""

    def __init__(self, stream: Stream, since: int) -> None:
        self._stream, self._reader = stream, JournalReader(stream.folder, since=since, turn=TakenTurn)
        self._blocks: Iterator[list[Read]] | None = None
        self._damaged = -1  # the segment in which damage was passed over

    def close(self) -> None:
        self._blocks = None
        self._reader.close()

    def pass_over(self) -> int | None:
        """Go on behind the damage that :meth:`read` raised: the number of the next record; ``None``: none follows."""
        damaged = self._reader.segment
        if not self._reader.pass_over():
            return None
        self._damaged = damaged
        return self._reader.position

    @property
    def is_behind_damage(self) -> bool:
        """Whether it is in a segment that whoever began anew would not get through."""
        return self._reader.segment == self._damaged

    def read(self) -> Batch | None:
        """The next records, ``None`` at the end of what is durable. Raises as the reader does."""
        begun = self._blocks is not None
        batch = self._read()
        # What was begun ends where the journal did then, which was perhaps where the last batch did.
        return self._read() if batch is None and begun else batch

    def _read(self) -> Batch | None:
        if self._blocks is None:
            self._blocks = self._reader.blocks()
        found: list[Entry] = []
        size = 0
        folder, session_of = of = self._stream.folder, self._stream.session_of
        try:
            for block in self._blocks:
                for entry in block:
                    if isinstance(entry, TakenTurn):
                        entry.of = of
                        found.append(entry)
                        lines = entry.lines
                        size += len(entry.chunk) + len(lines[0]) * len(lines) + _TURN_OVERHEAD
                    elif isinstance(entry, Record):
                        found.append(Taken(entry, folder, session_of))
                        size += len(entry.body) + _RECORD_OVERHEAD
                if len(found) >= BATCH_ENTRIES or size >= BATCH_BYTES:
                    break
            else:
                self._blocks = None
        except Damaged:
            self._blocks = None
            if not found:
                raise
            # What was read before it is as sound as ever; whoever reads on comes to the damage again.
        return Batch(tuple(found), size) if found else None


class Stream:
    """One journal. ``head`` is the newest watermark that was looked at.

    :ivar is_held: the last :meth:`shared` had nothing because somebody is waited for: there may be more in a moment.
    :param monotonic: seconds.
    """

    def __init__(
        self,
        folder: Folder,
        window_bytes: int = WINDOW_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self._window_bytes = folder, window_bytes
        self._patience = Patience(monotonic)
        self.is_held = False
        self.head: Mark = NO_MARK
        self.is_live = False
        self._window: deque[Batch] = deque()
        self._window_size = 0
        self._views: WeakSet[View] = WeakSet()
        self._shared: _Reading | None = None
        self._end = 0  # the next number that the shared reading gives
        self._at_end_of = -1  # the head at which it had nothing more
        self._keys: dict[int, bytes | None] = {GATEWAY_KEY: None}
        self._sizes: dict[int, int] = {}

    def look(self) -> bool:
        """Look at the watermark; whether there is something that wasn't there at the last look."""
        before = self.head.jseq, self.is_live
        self.is_live = self.folder.is_live
        mark = read_mark(self.folder.files, self.folder.watermark)
        if mark.jseq >= self.head.jseq:
            self.head = mark
        return (self.head.jseq, self.is_live) != before

    def close(self) -> None:
        """Give the file back, and the memory."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        self._window.clear()
        self._window_size = 0

    # -- records

    def session_of(self, key_id: int) -> bytes | None:
        """The session of a key, 16 bytes; ``None`` for the gateway's own."""
        if key_id not in self._keys:
            if len(self._keys) > _KEYS_KEPT:
                self._keys = {GATEWAY_KEY: None}
            keys = KeyFile.open(self.folder.files, self.folder.keys, self.folder.id)
            try:
                self._keys[key_id] = keys.get(key_id).session
            finally:
                keys.close()
        return self._keys[key_id]

    def shared(self, position: int) -> Batch | None:
        """The records from ``position`` on, if they are near the end; ``None``: nothing new.

        :raises LookupError: it is too far behind.
        """
        self.is_held = False
        if self._shared is None or position > self._end:
            self._restart(position)
        elif position < self._end:
            index = bisect.bisect_left(self._window, position, key=lambda batch: batch.last)
            if index == len(self._window) or (index == 0 and position < self._window[0].first):
                raise LookupError(position)
            return self._window[index].since(position)
        return self._more()

    def _restart(self, position: int) -> None:
        self.close()
        self._shared, self._end, self._at_end_of = _Reading(self, position), position, -1

    def _more(self) -> Batch | None:
        shared = self._shared
        assert shared is not None
        if self._at_end_of == self.head.jseq:
            return None
        self._forget_taken()
        if self._window_size + BATCH_BYTES <= self._window_bytes:
            self._patience.go_on()
        elif self._patience.wait():
            self.is_held = True
            return None
        try:
            batch = shared.read()
        except BaseException:
            self.close()
            raise
        if batch is None:
            # At rest a reader goes beyond the watermark: once it has, there is no more until a writer comes.
            self._at_end_of = self.head.jseq
            return None
        self._end = batch.last + 1
        self._window.append(batch)
        self._window_size += batch.size
        while self._window_size > self._window_bytes and len(self._window) > 1:
            self._window_size -= self._window.popleft().size
        return batch

    def _forget_taken(self) -> None:
        """Let go of what everybody near the end has had. Memory that is used again soon is still in the processor's
        caches: a window that is always full costs a tenth of the process's work."""
        window = self._window
        if not window:
            return
        first = window[0].first
        wanted = min((view.position for view in self._views if view.position >= first), default=first)
        while window and window[0].last < wanted:
            self._window_size -= window.popleft().size

    def attend(self, view: View) -> None:
        """Somebody reads along."""
        self._views.add(view)

    # -- how far it is

    def bytes_from(self, place: Place) -> int:
        """Bytes on disk between a place and the head; segments that are gone count as nothing."""
        head = self.head
        if (head.segment, head.offset) <= (place.segment, place.offset):
            return 0
        if head.segment == place.segment:
            return head.offset - place.offset
        between = [number for number in self.folder.segments() if place.segment < number < head.segment]
        first = max(self._size(place.segment) - place.offset, 0)
        return first + sum(map(self._size, between)) + head.offset

    def _size(self, number: int) -> int:
        if number not in self._sizes:
            try:
                handle = self.folder.files.open_read(self.folder.segment(number))
            except FileNotFoundError:
                return 0
            try:
                self._sizes[number] = self.folder.files.size(handle)
            finally:
                self.folder.files.close(handle)
        return self._sizes[number]

    def place_of(self, position: int) -> Place | None:
        """About where a record is: the start of its segment. ``None`` if there is none."""
        headers = sound_segments(self.folder, self.head)
        index = bisect.bisect_right(headers, position, key=lambda header: header.first_jseq) - 1
        if not headers:
            return None
        header = headers[max(index, 0)]
        return Place(header.number, 0, header.created)

    def within(self, size: int, oldest: int) -> int:
        """The first record of the oldest segment from which on no more than ``size`` bytes lie before the head
        and none is older than ``oldest`` (Unix ns); if there is none, the next record to come. 0: no limit.
        """
        found, total = self.head.jseq + 1, 0
        for header in reversed(sound_segments(self.folder, self.head)):
            total += self.head.offset if header.number == self.head.segment else self._size(header.number)
            if (size and total > size) or header.created < oldest:
                break
            found = min(found, header.first_jseq)
        return found


class View:
    """One consumer's way along a stream. ``position`` is the next number that it wants; whoever took what was
    read moves it."""

    def __init__(self, stream: Stream, position: int, told: Callable[[str], None] = lambda _: None) -> None:
        """:param told: hears, in a sentence, of damage that is passed over."""
        self.stream, self.position, self._told = stream, position, told
        self._passed = 0  # damage before this number
        self._own: _Reading | None = None
        stream.attend(self)

    def close(self) -> None:
        """Give the file back."""
        if self._own is not None:
            self._own.close()
            self._own = None

    def move(self, position: int) -> None:
        """Go on elsewhere."""
        self.close()
        self.position, self._passed = position, 0

    def read(self) -> Batch | None:
        """The next records, from ``position`` on; ``None`` when there are none yet.

        The first may have a higher number: what was between is no longer there, or damaged.

        :raises HoopproxyError: the journal can't be read there, and nothing follows. :raises OSError: the disk.
        """
        for _ in range(_TRIES):
            since = max(self.position, self._passed)
            try:
                return self._read(since)
            except FileNotFoundError:  # retention took the segment away
                self.close()
            except Damaged as damage:
                following = self._pass_over(since)
                if following is None:
                    self.close()
                    raise
                self._told(str(damage))
                self._passed = following
        return None

    def _pass_over(self, since: int) -> int | None:
        """Go on behind damage with a reader of our own: the number of the next record; ``None``: none follows."""
        own = self._own
        if own is None:
            own = self._own = _Reading(self.stream, since)
            try:
                own.read()
            except Damaged:  # as the shared one's, which closed itself
                return own.pass_over()
            self.close()
            return since  # nothing is wrong any more: once more
        return own.pass_over()

    def _read(self, since: int) -> Batch | None:
        if self._own is not None and self._own.is_behind_damage:
            return self._alone(since)
        try:
            batch = self.stream.shared(since)
        except LookupError:
            return self._alone(since)
        self.close()
        return batch

    def _alone(self, since: int) -> Batch | None:
        if self._own is None:
            self._own = _Reading(self.stream, since)
        batch = self._own.read()
        return None if batch is None else batch.since(since)
