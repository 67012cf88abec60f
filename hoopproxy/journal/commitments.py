"""What binds the ledger to a record without revealing it, and what stays of a record that was erased. Pure.

A record's **commitment** is ``SHA-256(record salt || jseq || kind || length || body)``, the **record salt** the
first 16 bytes of ``SHA-256(salt of its key id || jseq)``: a record that was lawfully erased (a *stub*: original
kind, length, commitment) can't be guessed back, and a proof that shows one record's salt tells nothing of the
others of its session. The ledger computes it, and whoever puts a stub in a record's place; the writer doesn't.

This, too, is a contract with every file ever written.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Final

import attrs

__all__ = ["Stub", "commitment", "open_commitment", "record_salt"]

_COMMITTED = struct.Struct("<QBI")
_SALTED = struct.Struct("<Q")
_SALT_SIZE: Final = 16
_STUB = struct.Struct("<BI32s")


@attrs.frozen
class Stub:
    """What stays of an erased record: its original kind and length, and its commitment."""

    kind: int
    length: int
    commitment: bytes

    def encode(self) -> bytes:
        """The body of the record of kind ``STUB`` that takes the erased one's place."""
        return _STUB.pack(self.kind, self.length, self.commitment)

    @classmethod
    def decode(cls, body: bytes) -> Stub:
        """Read a stub's body; ``ValueError`` if it is cut."""
        if len(body) < _STUB.size:
            raise ValueError("a stub's body is too short")
        return cls(*_STUB.unpack_from(body))


def record_salt(salt: bytes, jseq: int) -> bytes:
    """The salt of one record, of that of its key id. Given away with a proof; the key id's own never is."""
    return sha256(salt + _SALTED.pack(jseq)).digest()[:_SALT_SIZE]


def open_commitment(salt_of_record: bytes, jseq: int, kind: int, body: bytes) -> bytes:
    """The commitment, for whoever was shown the record's salt."""
    digest = sha256(salt_of_record + _COMMITTED.pack(jseq, kind, len(body)))
    digest.update(body)
    return digest.digest()


def commitment(salt: bytes, jseq: int, kind: int, body: bytes) -> bytes:
    """What binds the ledger to this record without revealing it. ``salt`` is the key id's."""
    return open_commitment(record_salt(salt, jseq), jseq, kind, body)
