"""A closed segment written anew, with stubs in the place of records that are lawfully gone.

Only segments that another one follows are touched: their writer is done with them. The new file takes the old
one's name when it is durable, so a crash leaves one or the other, and a reader that has the old one open reads
on in it. What binds the chain and the ledger stays: the header keeps the digest of what the segment was and the
number of the event that ordered it, a stub keeps the record's kind, length and commitment.

Whoever calls this holds the journal's upkeep lock (:class:`hoopproxy.journal.upkeep.Upkeep`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.commitments import Stub, commitment
from hoopproxy.journal.compress import Compressor
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
    StoredRecord,
    decode_records,
    encode_block,
    encode_records,
)
from hoopproxy.journal.keyring import Sealed
from hoopproxy.journal.sealing import NONCE_SIZE, SegmentSeal
from hoopproxy.journal.segment import SegmentReader
from hoopproxy.journal.state import OpenState

__all__ = ["SUFFIX", "Outcome", "Wanted", "blocks_of", "rewrite", "state_of"]

SUFFIX: Final = ".rewriting"
_CALM: Final = 0  # nothing waits for a rewriting

Wanted = Callable[[int, int, int, int], bool]
"""``(jseq, kind, key id, time in Unix ns)`` -> whether the record stays."""


@attrs.frozen
class Outcome:
    """What a rewriting did: records that became stubs; bytes of the segment before and after."""

    stubs: int
    before: int
    after: int


def blocks_of(segment: SegmentReader, stop: int) -> Iterator[tuple[int, BlockHeader, bytes]]:
    """Where each block of a closed segment begins, its header and its raw payload, up to record ``stop``.

    :raises Damaged: a block is not what was written.
    """
    at, expected = HEADER_SIZE, segment.header.first_jseq
    while expected < stop:
        block = segment.block_at(at)
        if block is None or block.first != expected:
            raise segment.damaged(at, f"the block with record {expected} was expected")
        try:
            raw = segment.payload(at, block)
        except ValueError as problem:
            raise segment.damaged(at, str(problem)) from None
        yield at, block, raw
        expected += block.count
        at += block.size


def state_of(raw: bytes, seal: SegmentSeal | None) -> OpenState:
    """What a block of state holds. :raises Sealed: its key isn't at hand. :raises ValueError: it was changed."""
    if seal is not None:
        opened = seal.open_state(raw)
        if opened is None:
            raise Sealed("the journal is sealed, and the readers' key is not at hand")
        raw = opened
    return OpenState.decode(raw)


def rewrite(
    folder: Folder,
    header: SegmentHeader,
    following: SegmentHeader,
    stays: Wanted,
    salts: Callable[[int], bytes],
    *,
    ordered_by: int,
    forget: Callable[[OpenState], OpenState] = lambda state: state,
) -> Outcome:
    """Put stubs in the place of the records that don't stay. Does nothing if all do.

    :param header: of the segment. :param following: of the one that continues it.
    :param salts: key id -> salt, for the commitments.
    :param ordered_by: the ``jseq`` of the event that says why.
    :param forget: takes out of the state at the segment's start what is to be gone.
    :raises Damaged: the segment isn't what was written, so nothing of it is touched. ``OSError``.
    """
    path = folder.segment(header.number)
    segment = SegmentReader(folder.files, path)
    try:
        _check(segment, following)
        original = header.original if header.flags & REWRITTEN else following.digest
        fresh = attrs.evolve(
            header, flags=header.flags | REWRITTEN, original=original, rewritten_by=ordered_by
        )
        copy = _Copy(folder, path, fresh)
        try:
            copy.fill(segment, following.first_jseq, stays, salts, forget)
            if copy.is_other:
                copy.take_place()
            return Outcome(copy.stubs, segment.size, copy.size if copy.is_other else segment.size)
        finally:
            copy.close()
    finally:
        segment.close()


def _check(segment: SegmentReader, following: SegmentHeader) -> None:
    if following.flags & ACCEPTED_LOSS:
        raise HoopproxyError(
            f"{segment.path}: its end is damaged, and the loss was accepted; such a segment can't be rewritten"
        )
    if segment.header.flags & REWRITTEN:
        return
    if segment.digest(following.previous_size) != following.digest:
        raise Damaged(
            str(segment.path), 0, f"segment {following.number} continues other bytes than are in it"
        )


class _Copy:
    """The new file, block by block."""

    def __init__(self, folder: Folder, path: Path, header: SegmentHeader) -> None:
        self._files, self._path, self._header = folder.files, path, header
        self._fresh = path.with_name(path.name + SUFFIX)
        self._files.unlink(self._fresh)
        self._compressor = Compressor(header.cipher == PLAIN)
        self._seal = folder.keyring.seal(folder, header)
        self.size = self.stubs = 0
        self.is_other = False
        self._handle = self._files.open(self._fresh, create=True)
        try:
            self._put([header.encode()])
        except BaseException:
            self.close()
            raise

    def _put(self, parts: Sequence[bytes]) -> None:
        self._files.pwrite(self._handle, parts, self.size)
        self.size += sum(map(len, parts))

    def fill(
        self,
        segment: SegmentReader,
        stop: int,
        stays: Wanted,
        salts: Callable[[int], bytes],
        forget: Callable[[OpenState], OpenState],
    ) -> None:
        """Write every block, the records that don't stay as stubs."""
        end, seal = HEADER_SIZE, self._seal
        for at, block, raw in blocks_of(segment, stop):
            end = at + block.size
            if block.type is BlockType.STATE:
                state = state_of(raw, seal)
                left = forget(state)
                if left is not state:
                    raw, self.is_other = left.encode(), True
                    if seal is not None:
                        raw = seal.seal_state(raw, os.urandom(NONCE_SIZE))
            elif block.type is BlockType.RECORDS:
                kept, count = _stubbed(decode_records(raw, block.count), block, stays, salts)
                if count:
                    raw, self.is_other = _payload(kept), True
                    self.stubs += count
            self._put(_block(block, raw, self._compressor, self._header.seed))
        # Behind a segment that failed lies what was written again in the next one; it must not outlive that.
        tail = segment.block_at(end)
        if (tail is None or tail.type is not BlockType.END) and not segment.is_blank(end):
            self.is_other = True

    def take_place(self) -> None:
        """Become the segment."""
        self._files.fsync(self._handle)
        self._files.rename(self._fresh, self._path)
        self._files.fsync_dir(self._path.parent)

    def close(self) -> None:
        """Give the file back; unless it took its place, it is gone."""
        self._files.close(self._handle)
        self._files.unlink(self._fresh)


def _stubbed(
    records: list[StoredRecord], block: BlockHeader, stays: Wanted, salts: Callable[[int], bytes]
) -> tuple[list[StoredRecord], int]:
    kept: list[StoredRecord] = []
    count = 0
    for jseq, (kind, flags, key, body) in enumerate(records, block.first):
        if kind == Kind.STUB or stays(jseq, kind, key, block.time):
            kept.append((kind, flags, key, body))
            continue
        stub = Stub(kind, len(body), commitment(salts(key), jseq, kind, body))
        kept.append((Kind.STUB, flags, key, stub.encode()))
        count += 1
    return kept, count


def _payload(records: list[StoredRecord]) -> bytes:
    return encode_records(
        [kind | flags << 8 for kind, flags, _, _ in records],
        [key for _, _, key, _ in records],
        [len(body) for _, _, _, body in records],
        [body for _, _, _, body in records],
    )


def _block(block: BlockHeader, raw: bytes, compressor: Compressor, seed: int) -> tuple[bytes, bytes]:
    compression, stored = compressor.compress(raw, _CALM)
    head = encode_block(
        block.type,
        stored,
        compression=compression,
        raw=len(raw),
        seed=seed,
        # More keys than can be listed: none are listed again, so that the block is looked into.
        keys=block.keys if block.keys is not None else range(1 << 16),
        count=block.count,
        first=block.first,
        durable=block.durable,
        time=block.time,
    )
    return head, stored
