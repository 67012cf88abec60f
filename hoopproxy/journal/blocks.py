"""Records as blocks: compressed, framed. No files here."""

from __future__ import annotations

import os
from collections.abc import Callable

from hoopproxy.journal.batch import Folded, Run
from hoopproxy.journal.compress import Compressor
from hoopproxy.journal.format import BlockType, Compression, encode_block, encode_records
from hoopproxy.journal.sealing import NONCE_SIZE, SegmentSeal
from hoopproxy.journal.turns import fold

__all__ = ["BlockMaker"]


class BlockMaker:
    """Make the blocks of one segment. Each is given in parts, to be written in their order.

    :param seal: of the segment, if its bodies are sealed; they are compressed one by one then, before that.
    :param entropy: random bytes.
    :ivar durable: the last durable record, :ivar time: and the time (Unix ns), of the commit that is being made.
    """

    def __init__(
        self,
        compressor: Compressor,
        *,
        seed: int,
        seal: SegmentSeal | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._compressor, self._seed = compressor, seed
        self.durable = self.time = 0
        self._seal, self._entropy = seal, entropy

    def records(self, run: Run, first: int, backlog: int) -> tuple[bytes, bytes]:
        """A block of records. ``backlog``: bytes that wait, these included."""
        if self._seal is None:
            raw = encode_records(run.codes, run.keys, run.lengths, run.pieces)
            compression, stored = self._compressor.compress(raw, backlog)
        else:
            bodies = self._sealed(run, first, self._seal)
            raw = stored = encode_records(run.codes, run.keys, list(map(len, bodies)), bodies)
            compression = Compression.NONE
        header = encode_block(
            BlockType.RECORDS,
            stored,
            compression=compression,
            raw=len(raw),
            seed=self._seed,
            keys=set(run.keys),
            count=len(run),
            first=first,
            durable=self.durable,
            time=self.time,
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
            durable=self.durable,
            time=self.time,
        )
        return header, stored

    @staticmethod
    def _sealed(run: Run, first: int, seal: SegmentSeal) -> list[bytes]:
        heads, tails = run.pieces[0::2], run.pieces[1::2]
        numbered = enumerate(zip(run.codes, run.keys, heads, tails, strict=True), first)
        return [
            seal.seal(jseq, code, key, head + tail if tail else head)
            for jseq, (code, key, head, tail) in numbered
        ]

    def state(self, payload: bytes, first: int) -> tuple[bytes, bytes]:
        """The block that says what is open at the segment's start."""
        if self._seal is not None:
            payload = stored = self._seal.seal_state(payload, self._entropy(NONCE_SIZE))
            compression = Compression.NONE
        else:
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
            durable=self.durable,
            time=self.time,
        )
