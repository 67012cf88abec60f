"""A sealed record on its way to somebody who may open it elsewhere: the gateway need not, and of a chunk can't."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from hoopproxy.journal.age import unwrap
from hoopproxy.journal.chunks import Chunk
from hoopproxy.journal.datakeys import read_events_key, read_wrapped
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keyring import Sealed
from hoopproxy.journal.keys import GATEWAY_KEY, KeyFile
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.sealing import SegmentSeal

__all__ = ["Letter", "Letters"]


@attrs.frozen(kw_only=True)
class Letter:
    """What it takes to open one record, but for an identity: where it was sealed, and its wrapped data key."""

    journal: bytes
    salt: bytes
    jseq: int
    code: int
    key_id: int
    stored: bytes = attrs.field(repr=False)
    wrapped: bytes = attrs.field(repr=False)

    def open(self, identities: Sequence[Any]) -> Chunk:
        """The chunk. :raises Sealed: it is for others, or destroyed. :raises ValueError: it was changed."""
        return Chunk.decode(self.body(identities))

    def body(self, identities: Sequence[Any]) -> bytes:
        """The record's body; raises as :meth:`open`."""
        key = unwrap(self.wrapped, identities) if self.wrapped and identities else None
        what = "recording" if self.code & 0xFF == Kind.CHUNK else "record"
        if key is None:
            if not self.wrapped:
                raise Sealed(f"the {what} is sealed, and its data key was destroyed")
            who = (
                "none of these identities opens it" if identities else "name an identity with --identity-file"
            )
            raise Sealed(f"the {what} is sealed for the auditors: {who}")
        seal = SegmentSeal(self.journal, self.salt, lambda key_id: key)
        body = seal.open(self.jseq, self.code, self.key_id, self.stored)
        assert body is not None
        return body


class Letters:
    """Makes letters of one journal's records."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._wrapped: dict[int, bytes] = {}  # of whose key was asked for last

    def of(self, record: Record, reader: JournalReader) -> Letter:
        """The letter of a sealed record that ``reader`` has just given."""
        owner = record.key_id if record.kind == Kind.CHUNK else GATEWAY_KEY
        if owner not in self._wrapped:
            self._wrapped = {owner: self._read(owner) or b""}
        return Letter(
            journal=self._folder.id,
            salt=reader.salt_of(record),
            jseq=record.jseq,
            code=record.kind | record.flags << 8,
            key_id=record.key_id,
            stored=record.stored,
            wrapped=self._wrapped[owner],
        )

    def _read(self, owner: int) -> bytes | None:
        if owner == GATEWAY_KEY:
            return read_events_key(self._folder)
        keys = KeyFile.open(self._folder.files, self._folder.keys, self._folder.id)
        try:
            return read_wrapped(self._folder, keys.get(owner))
        finally:
            keys.close()
