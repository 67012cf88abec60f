"""What a journal looks like when its writer is gone, and what may be done about it.

**What is committed, and how we know.** The writer has one batch in flight at a time: it writes the batch's
blocks, calls ``fdatasync``, and only when that has returned stores the watermark and tells whoever waits. So
of everything in the last segment, only the *last* batch can be unacknowledged. That a block was acknowledged
is proved by any of these, none of which can exist before the ``fdatasync`` that covers the block returned:

1. the watermark file names an offset beyond it (stored after the sync; survives ``kill -9`` always, unless it
   came in the very moment between the two, and a power cut whenever the page was written back);
2. a sound block after it says ``durable >=`` its first ``jseq`` (each block of batch *n + 1* says that batch
   *n* is durable, so this proves every batch but the last);
3. a later segment exists (its header was made durable after the previous segment's last sync), or an END
block.

So: bytes that are no sound block where one is expected are a **torn tail** if nothing proves them committed,
and are cut off; nobody was ever told that they are durable. If anything proves them committed they are
**damage**, and the journal refuses to start. What remains undecidable is damage to the very last batch,
after a power cut that also lost the watermark's last page: it reads as a torn tail. No log can tell these
apart without a second synchronous write per commit.

To find proof 2 behind a broken block the segment is searched for block headers; the CRCs start from a random
seed that only the segment's header holds, so recorded bytes can't imitate a block.

**How much is read.** The header of every segment (one read each; the chain of numbers and digests must
hold), then only the last segment: each starts with a STATE block that says what was open. After a clean stop
the file ends with an END block: all before it was acknowledged, so that only the checksums are looked at.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from hoopproxy.errors import Damaged
from hoopproxy.journal.files import Files
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import (
    ACCEPTED_LOSS,
    BLOCK_HEADER_SIZE,
    DIGEST_SIZE,
    HEADER_SIZE,
    REWRITTEN,
    BlockHeader,
    BlockType,
    Kind,
    SegmentHeader,
    decode_records,
)
from hoopproxy.journal.keyring import Sealed
from hoopproxy.journal.sealing import SegmentSeal
from hoopproxy.journal.segment import SegmentReader
from hoopproxy.journal.state import OpenState
from hoopproxy.journal.watermark import NO_MARK, Mark, read_mark

__all__ = [
    "Before",
    "Loss",
    "Position",
    "Recovered",
    "ended",
    "is_committed",
    "is_unfinished",
    "recover",
    "sound_segments",
]

_END_SIZE: Final = BLOCK_HEADER_SIZE + DIGEST_SIZE

Event = dict[str, Any]


@attrs.frozen(kw_only=True)
class Loss:
    """What an operator accepted as lost: nothing of the segment from ``offset`` on is believed."""

    segment: int
    offset: int
    first: int
    what: str


@attrs.frozen(kw_only=True)
class Recovered:
    """What ``Journal.start`` found.

    ``open_sessions`` are ``session.start`` events (of a session that came no further, ``login.succeeded``) without
    an end, ``open_commands`` are ``command.requested`` events without an outcome: the gateway is to append their
    ends. ``last_seqs`` gives each open session's (text id) highest ``seq``, ``keys`` its key id.
    ``truncated_bytes`` were a torn tail that nobody was ever told is durable. ``lost`` is set if damage was accepted.
    """

    next_jseq: int
    clean: bool = True
    truncated_bytes: int = 0
    open_sessions: list[Event] = attrs.field(factory=list)
    open_commands: list[Event] = attrs.field(factory=list)
    last_seqs: dict[str, int] = attrs.field(factory=dict)
    keys: dict[str, int] = attrs.field(factory=dict)
    lost: Loss | None = None


@attrs.frozen(kw_only=True)
class Before:
    """The segment that the next one continues (0: none), and what that one's header says of it."""

    number: int = 0
    digest: bytes = bytes(DIGEST_SIZE)
    size: int = 0
    last: int = 0


@attrs.frozen(kw_only=True)
class Position:
    """Where the next segment continues: what goes into its header, and what is open."""

    next_jseq: int = 1
    number: int = 1
    before: Before = Before()
    epoch: int = 1
    state: OpenState = attrs.field(factory=OpenState)
    max_key: int = 0
    end: int = HEADER_SIZE
    flags: int = 0


def is_committed(segment: SegmentReader, offset: int, expected: int, mark: Mark) -> bool:
    """Whether anything proves that a block at ``offset``, from ``jseq`` ``expected`` on, was acknowledged."""
    number = segment.header.number
    if mark.segment > number or (mark.segment == number and mark.offset > offset):
        return True
    for at, block in segment.blocks_after(offset):
        proves = block.durable >= expected or block.type is BlockType.END
        if proves and segment.is_sound(at, block):
            return True
    return False


def is_unfinished(files: Files, folder: Folder, number: int, mark: Mark) -> bool:
    """Whether a segment with a bad header was never finished being made (so that it can't hold a record)."""
    if mark.segment >= number:
        return False
    handle = files.open_read(folder.segment(number))
    try:
        rest = files.pread(handle, 1 << 20, HEADER_SIZE)
    finally:
        files.close(handle)
    return rest.count(0) == len(rest)


def sound_segments(folder: Folder, mark: Mark = NO_MARK) -> list[SegmentHeader]:
    """The headers of the segments, in order, their chain checked. Left out: what was never finished.

    Raises ``Damaged`` for a bad header or a missing segment, ``UnsupportedFormat`` for a newer one.
    """
    files = folder.files
    headers: list[SegmentHeader] = []
    broken: Damaged | None = None
    for number in folder.segments():
        path = folder.segment(number)
        try:
            segment = SegmentReader(files, path)
        except FileNotFoundError:
            continue  # retention took it since we looked
        except Damaged as damage:
            if not is_unfinished(files, folder, number, mark):
                raise
            broken = damage
            continue
        header = segment.header
        segment.close()
        if header.journal != folder.id or header.number != number:
            raise Damaged(str(path), 0, "the segment is not this journal's")
        if headers and header.previous != headers[-1].number:
            raise broken or Damaged(str(path), 0, f"it continues segment {header.previous}, which is missing")
        if headers and header.first_jseq < headers[-1].first_jseq:
            raise Damaged(str(path), 0, "its first record is before the previous segment's")
        headers.append(header)
    return headers


def recover(folder: Folder, accept_loss: bool = False) -> tuple[Recovered, Position]:
    """Make a locked journal fit to continue: cut a torn tail, find what is open.

    Raises ``Damaged`` (nothing is changed then, unless ``accept_loss``), ``UnsupportedFormat``, ``OSError``.
    With ``accept_loss`` the damaged segment stays as it is, and the next one says that its end is lost.
    """
    mark = read_mark(folder.files, folder.watermark)
    headers = sound_segments(folder, mark)
    _remove_unfinished(folder, headers)
    if not headers:
        if mark != NO_MARK:
            raise Damaged(str(folder.path), 0, "the segments that the watermark speaks of are missing")
        return Recovered(next_jseq=1), Position()
    last = headers[-1]
    end = ended(folder, last)
    damage = None if end is None else _damage_before(folder, last)
    if damage is not None and not accept_loss:
        raise damage
    if end is not None and damage is None:
        return Recovered(next_jseq=end.last + 1), _after(last, end, end.last + 1, OpenState(), folder)
    scan = _Scan(folder, headers, mark)
    loss: Loss | None = None
    try:
        scan.run()
    except Damaged as damage:
        if not accept_loss:
            raise
        loss = Loss(segment=last.number, offset=damage.offset, first=scan.expected, what=damage.what)
        scan.skip_loss()
    else:
        scan.cut()
    found = Recovered(
        next_jseq=scan.expected,
        clean=False,
        truncated_bytes=scan.torn,
        open_sessions=scan.state.sessions,
        open_commands=scan.state.commands,
        last_seqs=scan.state.last_seqs,
        keys=scan.state.keys,
        lost=loss,
    )
    position = _after(last, scan.before(), scan.expected, scan.state, folder)
    return found, attrs.evolve(
        position, max_key=scan.max_key, end=scan.offset, flags=ACCEPTED_LOSS if loss is not None else 0
    )


def _after(last: SegmentHeader, before: Before, next_jseq: int, state: OpenState, folder: Folder) -> Position:
    if last.flags & REWRITTEN:
        before = attrs.evolve(before, digest=last.original)
    return Position(
        next_jseq=next_jseq,
        number=max([last.number, *folder.segments()]) + 1,
        before=before,
        epoch=last.epoch + 1,
        state=state,
    )


def _remove_unfinished(folder: Folder, headers: list[SegmentHeader]) -> None:
    sound = {header.number for header in headers}
    for number in folder.segments():
        if number not in sound:
            folder.files.unlink(folder.segment(number))


def ended(folder: Folder, last: SegmentHeader) -> Before | None:
    """What the END block says, if the last segment has one."""
    segment = SegmentReader(folder.files, folder.segment(last.number))
    try:
        size = segment.size - _END_SIZE
        block = segment.block_at(size) if size >= HEADER_SIZE else None
        if block is None or block.type is not BlockType.END or not segment.is_sound(size, block):
            return None
        return Before(
            number=last.number, digest=segment.payload(size, block), size=size, last=block.first - 1
        )
    finally:
        segment.close()


def _damage_before(folder: Folder, last: SegmentHeader) -> Damaged | None:
    """Damage in a segment that ends with an END block."""
    segment = SegmentReader(folder.files, folder.segment(last.number))
    try:
        at = segment.unsound(segment.size - _END_SIZE)
        return None if at is None else segment.damaged(at, "a block of durable records was expected")
    finally:
        segment.close()


def _opened(body: bytes | None) -> bytes:
    if body is None:
        raise Sealed(
            "the journal is sealed, and the readers' key is not at hand: it is in the file reader-key of the state"
            " directory, or where [encryption] key says"
        )
    return body


class _Scan:
    """The last segment, block by block; before that, the state of an empty segment's predecessors."""

    def __init__(self, folder: Folder, headers: list[SegmentHeader], mark: Mark) -> None:
        self._folder, self._headers, self._mark = folder, headers, mark
        self.state = OpenState()
        self.expected = headers[-1].first_jseq
        self.offset = HEADER_SIZE
        self.max_key = self.torn = 0
        self._last, self._digest = self.expected - 1, bytes(DIGEST_SIZE)

    def run(self) -> None:
        """Read what must be read; raise ``Damaged`` for committed bytes that aren't sound."""
        self._predecessors()
        header = self._headers[-1]
        segment = SegmentReader(self._folder.files, self._folder.segment(header.number))
        try:
            self.expected, self.offset = header.first_jseq, HEADER_SIZE
            self._blocks(segment, None)
            self._last, self._digest = self.expected - 1, segment.digest(self.offset)
            self._judge(segment)
        finally:
            segment.close()

    def _predecessors(self) -> None:
        """A segment with no block yet has no STATE: its predecessor's end is what was open."""
        empty = 0
        while empty < len(self._headers) and not self._has_state(self._headers[-1 - empty]):
            empty += 1
        if not empty or empty == len(self._headers):
            return
        header = self._headers[-1 - empty]
        segment = SegmentReader(self._folder.files, self._folder.segment(header.number))
        try:
            self.expected, self.offset = header.first_jseq, HEADER_SIZE
            self._blocks(segment, self._headers[-empty].first_jseq)
        finally:
            segment.close()

    def _has_state(self, header: SegmentHeader) -> bool:
        segment = SegmentReader(self._folder.files, self._folder.segment(header.number))
        try:
            return segment.block_at(HEADER_SIZE) is not None
        finally:
            segment.close()

    def _blocks(self, segment: SegmentReader, stop: int | None) -> None:
        seal = self._folder.keyring.seal(self._folder, segment.header)
        while stop is None or self.expected < stop:
            block = segment.block_at(self.offset)
            if block is None or block.first != self.expected:
                return
            try:
                raw = segment.payload(self.offset, block)
            except ValueError:
                return
            try:
                self._fold(block, raw, stop, seal)
            except ValueError as problem:
                if seal is not None:  # its checksum is right: somebody else's key, or somebody's hand
                    raise segment.damaged(self.offset, str(problem)) from None
                return
            self.expected += block.count
            self.offset += block.size

    def _fold(self, block: BlockHeader, raw: bytes, stop: int | None, seal: SegmentSeal | None) -> None:
        if block.keys:
            self.max_key = max(self.max_key, *block.keys)
        if block.type is BlockType.STATE:
            self.state = OpenState.decode(raw if seal is None else _opened(seal.open_state(raw)))
        elif block.type is BlockType.END:
            self.state = OpenState()
        else:
            records = decode_records(raw, block.count)
            for jseq, (kind, flags, key, body) in enumerate(records, block.first):
                if kind == Kind.EVENT and (stop is None or jseq < stop):
                    if seal is not None:
                        body = _opened(seal.open(jseq, kind | flags << 8, key, body))
                    self.state.note(key, body)

    def _judge(self, segment: SegmentReader) -> None:
        mark, number = self._mark, segment.header.number
        if mark.jseq >= self.expected or (mark.segment == number and mark.offset > self.offset):
            raise segment.damaged(self.offset, f"record {self.expected}, which was durable, was expected")
        if segment.is_blank(self.offset):
            return
        if is_committed(segment, self.offset, self.expected, mark):
            raise segment.damaged(
                self.offset, f"a block of durable records, from {self.expected}, was expected"
            )
        self.torn = segment.size - self.offset

    def cut(self) -> None:
        """Cut what is after the last sound block, and make what is before it durable."""
        files = self._folder.files
        handle = files.open(self._folder.segment(self._headers[-1].number))
        try:
            files.truncate(handle, self.offset)
            files.fsync(handle)
        finally:
            files.close(handle)

    def before(self) -> Before:
        """The last segment, to where it is sound."""
        return Before(number=self._headers[-1].number, digest=self._digest, size=self.offset, last=self._last)

    def skip_loss(self) -> None:
        """Go on after every number that may have been used."""
        header = self._headers[-1]
        segment = SegmentReader(self._folder.files, self._folder.segment(header.number))
        try:
            known = [block.last for _, block in segment.blocks_after(self.offset)]
        finally:
            segment.close()
        self.expected = max([self.expected - 1, self._mark.jseq, *known]) + 1
