"""A batch of records as blocks: split, committed to, compressed, framed. No files here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hoopproxy.journal.compress import Compressor
from hoopproxy.journal.format import (
    BlockType,
    Compression,
    StoredRecord,
    encode_block,
    encode_records,
    entries,
)

__all__ = ["BlockMaker", "split"]

_MANY_RECORDS: Final = 4096


def split(batch: list[StoredRecord], total: int, limit: int) -> Iterator[list[StoredRecord]]:
    """Consecutive runs of about ``limit`` bytes of bodies; a record over that is a run of its own."""
    if total <= limit and len(batch) <= _MANY_RECORDS:
        yield batch
        return
    run: list[StoredRecord] = []
    size = 0
    for record in batch:
        length = len(record[3])
        if run and (size + length > limit or len(run) == _MANY_RECORDS):
            yield run
            run, size = [], 0
        run.append(record)
        size += length
    yield run


class BlockMaker:
    """Make the blocks of one segment's seed. ``hasher`` is the segment's running SHA-256."""

    def __init__(
        self, compressor: Compressor, salts: Mapping[int, bytes], *, seed: int, durable: int, time: int
    ):
        self._compressor, self._salts = compressor, salts
        self._seed, self._durable, self._time = seed, durable, time

    def records(self, run: list[StoredRecord], first: int, hasher: Any, backlog: int) -> tuple[bytes, bytes]:
        """A block of records, in two parts (header, payload)."""
        raw, keys = encode_records(run)
        hasher.update(entries(run, first, self._salts))
        compression, stored = self._compressor.compress(raw, backlog)
        header = encode_block(
            BlockType.RECORDS,
            stored,
            compression=compression,
            raw=len(raw),
            seed=self._seed,
            keys=keys,
            count=len(run),
            first=first,
            durable=self._durable,
            time=self._time,
            digest=hasher.digest(),
        )
        return header, stored

    def state(self, payload: bytes, first: int, hasher: Any) -> tuple[bytes, bytes]:
        """The block that says what is open at the segment's start."""
        compression, stored = self._compressor.compress(payload, 0)
        return self._bare(BlockType.STATE, compression, stored, len(payload), first, hasher), stored

    def end(self, first: int, hasher: Any) -> bytes:
        """The block that says that the journal was closed with nothing open."""
        return self._bare(BlockType.END, Compression.NONE, b"", 0, first, hasher)

    def _bare(
        self, type_: BlockType, compression: Compression, stored: bytes, raw: int, first: int, hasher: Any
    ) -> bytes:
        return encode_block(
            type_,
            stored,
            compression=compression,
            raw=raw,
            seed=self._seed,
            first=first,
            durable=self._durable,
            time=self._time,
            digest=hasher.digest(),
        )
