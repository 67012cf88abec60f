"""Read on behind damage: what of a journal is sound by its own checksums, and each place that isn't.

A sound block is what somebody wrote who knew the segment's seed; that it belongs *here* the chain says only up to the
first damage. Behind that, only what the ledger's leaves commit to is proof (:mod:`hoopproxy.ledger.assessment`).
Memory: one block, and bounded lists.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from hoopproxy.errors import Damaged
from hoopproxy.journal.damage import Kind as PlaceKind
from hoopproxy.journal.damage import Place
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import (
    ACCEPTED_LOSS,
    HEADER_SIZE,
    PLAIN,
    REWRITTEN,
    BlockHeader,
    BlockType,
    Kind,
    SegmentHeader,
    UnsupportedFormat,
)
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.record import Record, records_of
from hoopproxy.journal.recovery import is_committed, is_unfinished
from hoopproxy.journal.sealing import SegmentSeal
from hoopproxy.journal.segment import SegmentReader
from hoopproxy.journal.touched import Touched
from hoopproxy.journal.turns import Told
from hoopproxy.journal.watermark import Mark, read_mark

__all__ = ["Salvage"]

_NO_LIMIT: Final = 1 << 64


@attrs.frozen
class _File:
    """A segment file: its number by its name, and what its header says. ``is_sound``: the header's checksum holds."""

    number: int
    header: SegmentHeader
    is_sound: bool


class Salvage:
    """One pass over a journal that no damage stops.

    :param add: told each place, in the order of the journal. Raises ``OSError`` only.
    :ivar begins: the first record that the journal's files begin with; 0 while that isn't known. ``before``: the
        segment that the first of them continues.
    :ivar links: how many segments are what the next one continues, of ``segments`` less one.
    :ivar touched: sessions.
    """

    def __init__(self, folder: Folder, add: Callable[[Place], None]) -> None:
        self._folder, self._add = folder, add
        self.begins = self.before = self.links = self.segments = 0
        self.has_keys = True
        self._expected = 0
        self._is_open = (
            False  # whether nobody knows which record is to come: damage reached to a segment's end
        )
        self._mark = Mark(0, 0, 0)
        self._live = False
        self._keys = self._open_keys()
        self.touched = Touched(self._keys)

    def close(self) -> None:
        """Give the key file back."""
        if self._keys is not None:
            self._keys.close()

    def blocks(self) -> Iterator[list[Record]]:
        """The records of each sound block, never none; their numbers rise."""
        folder = self._folder
        self._live = folder.is_live
        self._mark = read_mark(folder.files, folder.watermark)
        self._check_keys()
        files = self._files()
        self.segments = len(files)
        for at, file in enumerate(files):
            before = files[at - 1] if at else None
            following = files[at + 1] if at + 1 < len(files) else None
            self._begin(before, file)
            yield from self._read(file, following)
            if (
                following is not None
                and following.is_sound
                and following.header.previous == file.header.number
            ):
                self._link(file, following.header)
        if not files and self._mark.jseq:
            self._miss(folder.path.name, 1, self._mark.jseq, "no segment is there")

    # -- what is told

    def _tell(
        self,
        kind: PlaceKind,
        number: int,
        what: str,
        offset: int | None = None,
        end: int | None = None,
        *,
        first: int | None = None,
        last: int | None = None,
        sessions: tuple[str, ...] = (),
    ) -> None:
        if first is not None and last is not None and last < first:
            first = last = None
        if first is not None and not sessions:
            self.touched.gap(first)
        self._add(
            Place(
                kind=kind,
                file=self._folder.segment(number).name,
                what=what,
                offset=offset,
                end=end,
                segment=number,
                first=first,
                last=last,
                sessions=sessions,
            )
        )

    def _miss(self, file: str, first: int, last: int | None, what: str) -> None:
        self.touched.gap(first)
        self._add(Place(kind="missing", file=file, what=what, first=first, last=last))

    # -- the key file

    def _open_keys(self) -> KeyFile | None:
        folder = self._folder
        try:
            return KeyFile.open(folder.files, folder.keys, folder.id)
        except (Damaged, UnsupportedFormat, FileNotFoundError):
            return None

    def _check_keys(self) -> None:
        if self._keys is None:
            self.has_keys = False
            self._add(
                Place(
                    kind="keys", file="keys", what="the key file is missing, or its header is wrong", offset=0
                )
            )
            return
        for at in self._keys.unsound():
            self.has_keys = False
            what = f"the entry of key {at // KeyFile.ENTRY - 1} is not what was written"
            self._add(Place(kind="keys", file="keys", what=what, offset=at, end=at + KeyFile.ENTRY))

    # -- which segments

    def _files(self) -> list[_File]:
        """In the order that their headers say; by their names where a header can't be read."""
        found: dict[int, _File] = {}
        for number in self._folder.segments():
            file = self._file(number)
            if file is None:
                continue
            of = file.header.number
            if of not in found or found[of].number != of:  # the file of that name, if there is one
                found[of] = file
        return [found[of] for of in sorted(found)]

    def _file(self, number: int) -> _File | None:
        folder = self._folder
        try:
            segment = SegmentReader(folder.files, folder.segment(number))
        except FileNotFoundError:
            return None  # retention took it since we looked
        except UnsupportedFormat as error:
            self._tell("checksum", number, error.what, 0)
            return None
        except Damaged as error:
            if is_unfinished(folder.files, folder, number, self._mark):
                return None
            self._tell("checksum", number, error.what, 0, HEADER_SIZE)
            header = self._guessed(number)
            return None if header is None else _File(number, header, False)
        header = segment.header
        segment.close()
        if header.journal != folder.id:
            self._tell("chain", number, "the segment is another journal's", 0)
            return None
        if header.number != number:
            self._tell("chain", number, f"the file holds segment {header.number}", 0)
        return _File(number, header, True)

    def _guessed(self, number: int) -> SegmentHeader | None:
        """A damaged header as it may have been: what matters of it is the seed, without which no block is sound."""
        files = self._folder.files
        handle = files.open_read(self._folder.segment(number))
        try:
            data = files.pread(handle, HEADER_SIZE, 0)
        finally:
            files.close(handle)
        try:
            return SegmentHeader.repaired(data, self._folder.id, number)
        except (Damaged, struct.error):
            return None

    def _begin(self, before: _File | None, file: _File) -> None:
        header = file.header
        if before is None:
            self._expected = self.begins = header.first_jseq if file.is_sound else 0
            self.before = header.previous if file.is_sound else 0
            return
        if not file.is_sound:
            return
        is_next = header.previous == before.header.number
        if not is_next:
            name = self._folder.segment(header.previous).name
            what = f"segment {header.number} continues segment {header.previous}, which is missing"
            self._miss(name, self._expected or header.first_jseq, header.first_jseq - 1, what)
        elif self._expected < header.first_jseq and not header.flags & ACCEPTED_LOSS:
            what = f"segment {header.number} continues it with record {header.first_jseq}"
            self._tell("missing", before.number, what, first=self._expected, last=header.first_jseq - 1)
        self._expected, self._is_open = max(self._expected, header.first_jseq), False

    def _link(self, file: _File, following: SegmentHeader) -> None:
        """Whether a segment is what the next one continues."""
        if file.header.flags & REWRITTEN:
            digest = file.header.original
        else:
            segment = SegmentReader(self._folder.files, self._folder.segment(file.number), header=file.header)
            digest = segment.digest(following.previous_size)
            segment.close()
        if digest == following.digest:
            self.links += 1
            return
        what = f"segment {following.number} continues other bytes than are in it"
        self._tell("chain", file.number, what, 0, following.previous_size)

    # -- the blocks of one

    def _read(self, file: _File, following: _File | None) -> Iterator[list[Record]]:
        folder, header = self._folder, file.header
        try:
            segment = SegmentReader(folder.files, folder.segment(file.number), header=header)
        except FileNotFoundError:
            return
        try:
            seal = None
            if header.cipher != PLAIN:
                seal = folder.keyring.seal(folder, header)
            yield from self._blocks(segment, file, following, seal)
        finally:
            segment.close()

    def _blocks(
        self, segment: SegmentReader, file: _File, following: _File | None, seal: SegmentSeal | None
    ) -> Iterator[list[Record]]:
        sound = following.header if following is not None and following.is_sound else None
        stop = sound.first_jseq if sound is not None else _NO_LIMIT
        limit = self._mark.jseq if self._live else _NO_LIMIT
        accepted = sound is not None and bool(sound.flags & ACCEPTED_LOSS)
        offset = HEADER_SIZE
        while self._expected < stop and self._expected <= limit:
            block = segment.block_at(offset)
            if block is None:
                if accepted or self._is_end(segment, offset, following):
                    return
                found = self._resume(segment, offset)
                self._unreadable(file, segment, offset, found, stop, following is None)
                if found is None:
                    return
                offset, block = found
            if block.last > limit and block.count:
                return
            if not self._is_stored(segment, offset, block):
                if accepted or self._is_torn(segment, offset, block, following):
                    return
                self._broken(file, offset, block)
                offset += block.size
                continue
            if self._expected == 0:
                self._expected = block.first  # nothing better is known of a header that can't be read
                self.begins = block.first if offset == HEADER_SIZE else 0
            records = self._in_order(file, segment, offset, block, seal)
            offset += block.size
            if block.type is BlockType.END:
                return
            records = [record for record in records if record.jseq < stop]
            if records:
                for record in records:
                    self.touched.read(record)
                yield records

    def _is_stored(self, segment: SegmentReader, offset: int, block: BlockHeader) -> bool:
        """Whether the payload is what was written; a folded block can be read, too."""
        return segment.is_sound(offset, block)

    def _is_end(self, segment: SegmentReader, offset: int, following: _File | None) -> bool:
        """Whether nothing is missing here: zeros, or a tail of which nobody was told that it is durable."""
        if following is not None:
            return offset >= segment.size  # what is missing then is told when the next one begins
        if self._live or self._mark.jseq >= self._expected:
            return False
        return segment.is_blank(offset) or not is_committed(segment, offset, self._expected, self._mark)

    def _is_torn(
        self, segment: SegmentReader, offset: int, block: BlockHeader, following: _File | None
    ) -> bool:
        if following is not None or self._live or self._mark.jseq >= self._expected:
            return False
        return not is_committed(segment, offset, block.first, self._mark)

    def _resume(self, segment: SegmentReader, offset: int) -> tuple[int, BlockHeader] | None:
        """The next sound block header behind damage."""
        for at, block in segment.blocks_after(offset + 1):
            if self._is_stored(segment, at, block):
                return at, block
        return None

    def _unreadable(
        self,
        file: _File,
        segment: SegmentReader,
        offset: int,
        found: tuple[int, BlockHeader] | None,
        stop: int,
        is_last: bool,
    ) -> None:
        end, last = segment.size, stop - 1 if stop < _NO_LIMIT else self._mark.jseq if is_last else None
        if found is not None:
            end, last = found[0], found[1].first - 1
        what = f"the block with record {self._expected} was expected"
        kind: PlaceKind = "missing" if offset >= segment.size else "checksum"
        first = self._expected or None
        self._tell(kind, file.number, what, offset, end, first=first, last=last if first else None)
        self._is_open = last is None
        self._expected = max(self._expected, (last or 0) + 1)

    def _broken(self, file: _File, offset: int, block: BlockHeader) -> None:
        """A block whose header says what was in it, and whose payload isn't that."""
        what, end = "the block's checksum is wrong", offset + block.size
        if block.type is not BlockType.RECORDS:
            self._tell(
                "checksum",
                file.number,
                f"{what}: it holds no record ({block.type.name.lower()})",
                offset,
                end,
            )
            return
        names = () if block.keys is None else self.touched.name(block.keys)
        self._tell(
            "checksum", file.number, what, offset, end, first=block.first, last=block.last, sessions=names
        )
        self.touched.gap(block.first)
        self._expected = max(self._expected, block.last + 1)

    def _in_order(
        self, file: _File, segment: SegmentReader, offset: int, block: BlockHeader, seal: SegmentSeal | None
    ) -> list[Record]:
        """The records of a sound block, if they are new."""
        if block.first != self._expected:
            if block.type is not BlockType.RECORDS or block.first < self._expected:
                what = f"a block from record {block.first} on stands where {self._expected} was expected"
                self._tell("chain", file.number, what, offset, offset + block.size)
                return []
            if not self._is_open:
                what = f"records {self._expected} to {block.first - 1} are not there: a block was taken out"
                self._tell(
                    "chain", file.number, what, offset, offset, first=self._expected, last=block.first - 1
                )
        self._is_open = False
        if block.type is not BlockType.RECORDS:
            return []
        self._expected = block.last + 1
        return self._records(segment, offset, block, seal)

    def _records(
        self, segment: SegmentReader, offset: int, block: BlockHeader, seal: SegmentSeal | None
    ) -> list[Record]:
        found: list[Record] = []
        jseq = block.first
        for entry in segment.entries(offset, block):
            if isinstance(entry, Told):
                made: Sequence[Record] = records_of(entry)
            else:
                kind, flags, key_id, stored = entry
                sealed = None if seal is None or kind == Kind.STUB else stored
                body = stored if seal is None else _opened(seal, jseq, kind | flags << 8, key_id, stored)
                made = (
                    Record(
                        jseq=jseq,
                        kind=kind,
                        flags=flags,
                        key_id=key_id,
                        body=b"" if body is None else body,
                        segment=segment.header.number,
                        offset=offset,
                        time=block.time,
                        sealed=sealed,
                        is_closed=body is None,
                    ),
                )
            found += made
            jseq += len(made)
        return found


def _opened(seal: SegmentSeal, jseq: int, code: int, key_id: int, stored: bytes) -> bytes | None:
    try:
        return seal.open(jseq, code, key_id, stored)
    except ValueError:
        return None  # whoever holds it against its leaf will say that it isn't what was sealed
