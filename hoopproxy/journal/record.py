"""What a reader gives: a record, or a turn whose records are told together."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from hoopproxy.journal.chunks import Chunk
from hoopproxy.journal.commitments import Stub, commitment
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keyring import Sealed
from hoopproxy.journal.turns import Told

__all__ = ["Entry", "Record", "chunk_of", "records_of"]


@attrs.frozen(kw_only=True)
class Record:
    """One record. ``segment`` and ``offset`` say where its block is; ``time`` is Unix time in ns.

    ``body`` is what was recorded, opened if it was sealed; empty if it ``is_closed``, because the folder's
    keyring has no key to it. ``sealed`` is what the segment holds in its place: ``None`` for a record that isn't
    sealed.
    """

    jseq: int
    kind: int
    flags: int
    key_id: int
    body: bytes = attrs.field(repr=False)
    segment: int = 0
    offset: int = 0
    time: int = 0
    sealed: bytes | None = attrs.field(default=None, repr=False)
    is_closed: bool = False

    def opened(self) -> bytes:
        """The body. :raises Sealed: nobody here has its key; the sentence says who does."""
        if self.is_closed:
            raise Sealed(
                f"record {self.jseq} is sealed for the auditors: name an identity with --identity-file FILE"
                if self.kind == Kind.CHUNK
                else f"record {self.jseq} is sealed, and the readers' key is not at hand: read as the gateway's"
                " user, or name an identity with --identity-file FILE"
            )
        return self.body

    @property
    def stored(self) -> bytes:
        """The bytes that the segment holds: what a commitment is over, whoever can read them."""
        return self.body if self.sealed is None else self.sealed

    def commitment(self, salt: bytes) -> bytes:
        """What binds a ledger to this record. Of an erased one it is what its stub kept; else ``salt`` is
        that of the record's key.

        :raises ValueError: a stub that is cut.
        """
        if self.kind == Kind.STUB:
            return Stub.decode(self.body).commitment
        return commitment(salt, self.jseq, self.kind, self.stored)


Entry: TypeAlias = Record | Told


def records_of(turn: Told) -> list[Record]:
    """A turn's records."""
    return [
        Record(
            jseq=jseq,
            kind=kind,
            flags=flags,
            key_id=key_id,
            body=body,
            segment=turn.segment,
            offset=turn.offset,
            time=turn.time,
        )
        for jseq, (kind, flags, key_id, body) in enumerate(turn.records(), turn.jseq)
    ]


def chunk_of(record: Record) -> Chunk:
    """The chunk that the record holds; ``ValueError`` if it is of another kind or cut."""
    if record.kind != Kind.CHUNK:
        raise ValueError(f"record {record.jseq} is not a chunk")
    return Chunk.decode(record.opened())
