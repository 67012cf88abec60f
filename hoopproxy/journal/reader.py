"""Read a journal: at rest, or while another process writes it. A reader changes nothing and holds no lock.

While a writer has the journal, nothing beyond its durable watermark is shown. When none has it, everything
sound is, after a sync of the last segment: what a reader has shown must not be undone by a power cut.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hoopproxy.errors import Damaged
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import (
    ACCEPTED_LOSS,
    HEADER_SIZE,
    PLAIN,
    BlockHeader,
    BlockType,
    Kind,
    SegmentHeader,
    StoredRecord,
)
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.record import Entry, Record, records_of
from hoopproxy.journal.recovery import is_committed, sound_segments
from hoopproxy.journal.sealing import SegmentSeal
from hoopproxy.journal.segment import SegmentReader
from hoopproxy.journal.turns import Told
from hoopproxy.journal.watermark import Mark, read_mark

__all__ = ["JournalReader"]

_NO_LIMIT: Final = 1 << 64


class JournalReader:
    """Iterate the records from a place on. Iterating again goes on where the last time ended (the tail).

    :param since: first ``jseq`` wanted.
    :param since_time: (Unix ns) leave out blocks that were written before; seldom a little more is given.
    :param from_time: (Unix ns) begin with the segment that was being written then, and leave out nothing by its time:
        a clock may have been set back since.
    :param keys: only records of these key ids; blocks without them are not even read.
    :param turn: what the turns among :meth:`blocks` are made.

    Raises ``Damaged`` where committed bytes are not what was written, ``UnsupportedFormat``, ``OSError``.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        since: int = 1,
        since_time: int = 0,
        from_time: int = 0,
        keys: frozenset[int] | None = None,
        turn: type[Told] = Told,
    ) -> None:
        self.folder, self._turn = folder, turn
        self._since, self._since_time, self._keys = since, since_time, keys
        self._from_time = max(since_time, from_time)
        self._began: tuple[int, int] | None = None
        self._headers: list[SegmentHeader] = []
        self._numbers: list[int] = []
        self._segment: SegmentReader | None = None
        self._seal: SegmentSeal | None = None
        self._offset = HEADER_SIZE
        self._expected = 0
        self._synced = False
        self._place: tuple[int, int] | None = None

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def seek(
        self, since: int, keys: frozenset[int] | None = None, place: tuple[int, int] | None = None
    ) -> None:
        """Go on from record ``since`` instead, with other keys.

        :param place: segment and offset of its block, as a :class:`Record` had them, or of one shortly before. It
            spares the way there; if no such block is there any more, the record is looked for.
        """
        self.close()
        self._since, self._keys, self._place, self._expected = since, keys, place, 0

    def rewind(self) -> None:
        """Go back to where this reader began, without a further look at the folder if it is in that segment yet."""
        if self._began is None:
            return
        number, self._since = self._began
        if self._segment is not None and self._segment.header.number == number:
            self._offset, self._expected = HEADER_SIZE, self._segment.header.first_jseq
        else:
            self.close()
            self._expected = 0

    def pass_over(self) -> bool:
        """Go on behind the damage that iterating has raised: at the next sound block of records in that segment, or
        with the next segment. ``False``: nothing follows.
        """
        segment, following = self._segment, None if self._segment is None else self._following()
        if segment is None:
            return False
        stop = _NO_LIMIT if following is None else following.first_jseq
        for offset, block in segment.blocks_after(self._offset + 1):
            follows = block.type is BlockType.RECORDS and self._expected < block.first < stop
            if follows and segment.is_sound(offset, block):
                self._offset, self._expected = offset, block.first
                return True
        if following is not None:
            self._open(following)
        return following is not None

    @property
    def position(self) -> int:
        """The ``jseq`` of the next record that could be given; resume with ``since=``."""
        return max(self._expected, self._since)

    @property
    def segment(self) -> int:
        """The number of the segment that is being read; 0: none is."""
        return 0 if self._segment is None else self._segment.header.number

    def salt_of(self, record: Record) -> bytes:
        """What went into the sealing keys of the segment that a record of this reader is in."""
        return next(header.salt for header in self._headers if header.number == record.segment)

    def keys_of(self, session: bytes) -> frozenset[int]:
        """The key ids of a session (16 bytes), for ``keys``."""
        keys = KeyFile.open(self.folder.files, self.folder.keys, self.folder.id)
        try:
            return keys.of_session(session)
        finally:
            keys.close()

    def __iter__(self) -> Iterator[Record]:
        for entries in self.blocks():
            self._since = entries[0].jseq
            for entry in entries:
                if isinstance(entry, Told):
                    for record in records_of(entry):
                        self._since = record.jseq + 1
                        yield record
                else:
                    self._since = entry.jseq + 1
                    yield entry

    def blocks(self) -> Iterator[list[Entry]]:
        """The same, what is wanted of each block at once (never nothing), and turns left together where all of
        their records are wanted. Who stops in between goes on behind the block."""
        live = self.folder.is_live
        mark = read_mark(self.folder.files, self.folder.watermark)
        if live and self._segment is not None and mark.jseq < self._expected:
            return
        self._refresh(mark)
        live = live or self.folder.is_live  # a writer that came meanwhile may have written what isn't durable
        limit = mark.jseq if live else _NO_LIMIT
        while self._segment is not None:
            self._segment.look_again()  # after the mark was read: what it covers is there
            yield from self._blocks(limit, mark, live)
            if not self._next_segment(mark):
                return

    # -- which segment

    def _refresh(self, mark: Mark) -> None:
        numbers = self.folder.segments()
        if numbers != self._numbers:
            self._headers = sound_segments(self.folder, mark)
            self._numbers = [header.number for header in self._headers]  # one being made isn't among them yet
        if self._segment is None and self._headers:
            self._open(self._first_wanted())
            assert self._segment is not None
            self._began = self._began or (self._segment.header.number, self._since)
            self._jump()

    def _jump(self) -> None:
        """Go to the block that is known to hold what is wanted, if it is still where it was."""
        place, self._place = self._place, None
        assert self._segment is not None
        if place is None or self._segment.header.number != place[0]:
            return
        block = self._segment.block_at(place[1])
        if (
            block is not None
            and block.type is BlockType.RECORDS
            and block.first <= self._since
            and block.first >= self._expected
        ):
            self._offset, self._expected = place[1], block.first

    def _first_wanted(self) -> SegmentHeader:
        by_jseq = bisect.bisect_right(self._headers, self._since, key=lambda header: header.first_jseq) - 1
        return self._headers[max(by_jseq, self._by_time(), 0)]

    def _by_time(self) -> int:
        """The segment that was being written at a time. Where clocks were set back there are several: the first."""
        created = [header.created for header in self._headers]
        later = (index for index, time in enumerate(created) if time > self._from_time)
        return next(later, created.index(max(created)) + 1) - 1

    def _open(self, header: SegmentHeader) -> None:
        self.close()
        self._segment = SegmentReader(self.folder.files, self.folder.segment(header.number), self._turn)
        self._seal = self.folder.keyring.seal(self.folder, header) if header.cipher != PLAIN else None
        self._offset, self._expected, self._synced = HEADER_SIZE, header.first_jseq, False

    def _following(self) -> SegmentHeader | None:
        assert self._segment is not None
        number = self._segment.header.number
        return next((header for header in self._headers if header.previous == number), None)

    def _next_segment(self, mark: Mark) -> bool:
        following = self._following()
        if following is None:
            return False
        if self._expected != following.first_jseq and not following.flags & ACCEPTED_LOSS:
            return False  # at the watermark
        try:
            self._open(following)
        except FileNotFoundError:  # retention took it meanwhile: go on with what is left
            self._since, self._numbers = max(self._since, self._expected), []
            self._refresh(mark)
        return self._segment is not None

    # -- blocks of one segment

    def _blocks(self, limit: int, mark: Mark, live: bool) -> Iterator[list[Entry]]:
        segment = self._segment
        assert segment is not None
        following = self._following()
        stop = following.first_jseq if following is not None else _NO_LIMIT
        while self._expected < stop and self._expected <= limit:
            block = segment.following(self._offset)
            if block is None or block.first != self._expected:
                self._judge(segment, following, mark, live)
                return
            if block.type is BlockType.END:
                return
            if block.type is BlockType.RECORDS:
                if block.last > limit:
                    return
                if following is None and not live and not self._synced:
                    segment.sync()
                    self._synced = True
                try:
                    found = self._wanted(segment, block, stop)
                except ValueError:
                    self._judge(segment, following, mark, live)
                    return
                try:
                    yield from found
                except Damaged:
                    if following is None or not following.flags & ACCEPTED_LOSS:
                        raise
                    return
            self._expected += block.count
            self._offset += block.size

    def _wanted(self, segment: SegmentReader, block: BlockHeader, stop: int) -> Iterable[list[Entry]]:
        """What is wanted of a block, in one piece if there is any. ``ValueError`` at once."""
        if block.last < self._since or block.time < self._since_time:
            return ()
        if self._keys is not None and not block.may_hold(self._keys):
            return ()
        entries = segment.entries(self._offset, block)
        if self._seal is None:
            found = self._plain(segment, block, entries, stop)
            return (found,) if found else ()
        records = [entry for entry in entries if not isinstance(entry, Told)]
        if len(records) != len(entries):
            raise segment.damaged(self._offset, "a sealed segment has a block with folded records")
        return self._opened(segment, block, records, stop, self._seal)

    def _plain(
        self, segment: SegmentReader, block: BlockHeader, entries: Sequence[Told | StoredRecord], stop: int
    ) -> list[Entry]:
        since, keys = self._since, self._keys
        number, offset, time = segment.header.number, self._offset, block.time
        found: list[Entry] = []
        if keys is None and since <= block.first and block.last < stop and tuple not in map(type, entries):
            self._since = block.last + 1
            found += entries  # type: ignore[arg-type]  # turns, as nearly all blocks are
            return found
        jseq = block.first
        for entry in entries:
            if isinstance(entry, Told):
                following = jseq + 1 + len(entry.lines)
                if since <= jseq and following <= stop:
                    if keys is None or entry.key in keys:
                        found.append(entry)
                    jseq = following
                    continue
                records: Sequence[StoredRecord] = entry.records()
            else:
                records = (entry,)
            for kind, flags, key_id, body in records:
                if since <= jseq < stop and (keys is None or key_id in keys):
                    found.append(
                        Record(
                            jseq=jseq,
                            kind=kind,
                            flags=flags,
                            key_id=key_id,
                            body=body,
                            segment=number,
                            offset=offset,
                            time=time,
                        )
                    )
                jseq += 1
        self._since = max(since, min(block.last + 1, stop))
        return found

    def _opened(
        self,
        segment: SegmentReader,
        block: BlockHeader,
        records: list[StoredRecord],
        stop: int,
        seal: SegmentSeal,
    ) -> Iterator[list[Entry]]:
        """The same of sealed records; of a block in which one can't be opened those before it come first."""
        found: list[Entry] = []
        problem = None
        keys = self._keys
        for jseq, (kind, flags, key_id, stored) in enumerate(records, block.first):
            if not self._since <= jseq < stop or (keys is not None and key_id not in keys):
                continue
            try:
                body = seal.open(jseq, kind | flags << 8, key_id, stored)
            except ValueError as error:
                problem = segment.damaged(self._offset, str(error))
                break
            found.append(
                Record(
                    jseq=jseq,
                    kind=kind,
                    flags=flags,
                    key_id=key_id,
                    body=b"" if body is None else body,
                    segment=segment.header.number,
                    offset=self._offset,
                    time=block.time,
                    sealed=None if kind == Kind.STUB else stored,
                    is_closed=body is None,
                )
            )
        if found:
            self._since = found[-1].jseq + 1
            yield found
        if problem is not None:
            raise problem

    def _judge(self, segment: SegmentReader, following: SegmentHeader | None, mark: Mark, live: bool) -> None:
        """No sound block where one should be: the end, a tail that nobody relied on, or damage."""
        if following is not None:
            if following.flags & ACCEPTED_LOSS:
                return
            raise segment.damaged(self._offset, f"the block with record {self._expected} was expected")
        if live or mark.jseq >= self._expected:
            raise segment.damaged(self._offset, f"the durable record {self._expected} was expected")
        if segment.is_blank(self._offset):
            return
        if is_committed(segment, self._offset, self._expected, mark):
            raise segment.damaged(self._offset, f"the block with record {self._expected} was expected")
