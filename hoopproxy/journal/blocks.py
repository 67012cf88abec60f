"""Records as blocks: compressed, framed. No files here."""

from __future__ import annotations

from hoopproxy.journal.batch import Folded, Run
from hoopproxy.journal.compress import Compressor
from hoopproxy.journal.format import BlockType, Compression, encode_block, encode_records
from hoopproxy.journal.turns import fold

__all__ = ["BlockMaker"]


class BlockMaker:
    """Make the blocks of one commit to one segment. Each is given in parts, to be written in their order."""

    def __init__(self, compressor: Compressor, *, seed: int, durable: int, time: int) -> None:
        self._compressor, self._seed, self._durable, self._time = compressor, seed, durable, time

    def records(self, run: Run, first: int, backlog: int) -> tuple[bytes, bytes]:
        """A block of records. ``backlog``: bytes that wait, these included."""
        raw = encode_records(run.codes, run.keys, run.lengths, run.pieces)
        compression, stored = self._compressor.compress(raw, backlog)
        header = encode_block(
            BlockType.RECORDS,
            stored,
            compression=compression,
            raw=len(raw),
            seed=self._seed,
            keys=set(run.keys),
            count=len(run),
            first=first,
            durable=self._durable,
            time=self._time,
        )
        return header, stored

    def folded(self, run: Folded, first: int, backlog: int) -> tuple[bytes, bytes]:
        """The same of records among which are turns."""
        raw = fold(run.entries, run.envelopes)
        stored = self._compressor.squeeze(raw, backlog)
        header = encode_block(
            BlockType.RECORDS,
            stored,
            compression=Compression.FOLDED,
            raw=len(raw),
            seed=self._seed,
            keys=run.keys,
            count=len(run),
            first=first,
            durable=self._durable,
            time=self._time,
        )
        return header, stored

    def state(self, payload: bytes, first: int) -> tuple[bytes, bytes]:
        """The block that says what is open at the segment's start."""
        compression, stored = self._compressor.compress(payload, 0)
        return self._bare(BlockType.STATE, compression, stored, len(payload), first), stored

    def end(self, digest: bytes, first: int) -> tuple[bytes, bytes]:
        """The block that says that the journal was closed with nothing open; it repeats the digest."""
        return self._bare(BlockType.END, Compression.NONE, digest, len(digest), first), digest

    def _bare(self, type_: BlockType, compression: Compression, stored: bytes, raw: int, first: int) -> bytes:
        return encode_block(
            type_,
            stored,
            compression=compression,
            raw=raw,
            seed=self._seed,
            first=first,
            durable=self._durable,
            time=self._time,
        )
