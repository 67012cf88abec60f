"""Version 1 of the journal's bytes: segment headers, blocks, records, chunks. Pure; no files, no clock.

A **segment** is a fixed header and then blocks, one after the other; zeros (or the end of the file) follow
the last one. A **block** is what one commit, or a part of a large one, put there::

    block header (52 bytes) | key ids (4 bytes each) | payload (perhaps compressed)

The payload of a block of records is a table by columns and then the bodies, one after the other::

    kind and flags (1 byte each, in turn) | key ids (4) | lengths (4) | bodies

A record's ``jseq`` is the block's first plus its index. All integers are little-endian and unsigned.

Two CRC-32s guard a block: one over its header and key ids (so that a reader can skip what it doesn't want
without reading it), one over the stored payload. Both start from the segment's random *seed*: bytes that a
client had us record can't pass for a block of ours, because they can't know the seed.

**The chain.** A segment's *digest* is the SHA-256 of its bytes as they were written, header included, up to
the end of its last durable block (an END block isn't part of it: it repeats the digest). The next segment's
header has it, with the number of bytes that it is over and the last ``jseq`` in them, so that ``head -c SIZE
SEGMENT | sha256sum`` checks a link, and each digest covers, by the header inside it, all that went before.

Why over bytes and not over the records' commitments, which survive an erasure by themselves: a salted hash of
each record was 40 % of the writer's time, and what it would prove (this very record was there, though others
are gone) the ledger's leaves prove better, outside the writer's reach. Instead a segment that is *rewritten*,
because a record in it was lawfully erased, keeps the digest of what it was in its header (``original``), with
the flag ``REWRITTEN`` and the ``jseq`` of the event that ordered it. So the chain stays checkable: the link
is compared with ``original``, and the verifier says "rewritten by event E" and asks the ledger for the rest.

What binds the ledger to a record, and what stays of an erased one, is in :mod:`hoopproxy.journal.commitments`.

Never reuse a number here: this is a contract with every file ever written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final
from zlib import crc32

import attrs

from hoopproxy.errors import Damaged, HoopproxyError

__all__ = [
    "ACCEPTED_LOSS",
    "AES_256_GCM",
    "BLOCK_HEADER_SIZE",
    "CLOSES",
    "DIGEST_SIZE",
    "HEADER_SIZE",
    "MAX_BODY",
    "OPENS",
    "PLAIN",
    "REWRITTEN",
    "SALT_SIZE",
    "VERSION",
    "BlockHeader",
    "BlockType",
    "Kind",
    "SegmentHeader",
    "StoredRecord",
    "UnsupportedFormat",
    "decode_records",
    "encode_block",
    "encode_records",
]

VERSION: Final = 1
MAGIC: Final = b"HOOPJRNL"
HEADER_SIZE: Final = 192
DIGEST_SIZE: Final = 32
SALT_SIZE: Final = 16
#: Bytes of one record's body: beyond what any protocol's message may be, below what 32-bit sums can hold.
MAX_BODY: Final = 1 << 30
#: Segment flag: an operator accepted that the end of the previous segment is lost; ``jseq`` may jump here.
ACCEPTED_LOSS: Final = 1
#: Segment flag: it is no longer as it was first written; ``original`` and ``rewritten_by`` hold.
REWRITTEN: Final = 2
#: What bodies are sealed with (see ``sealing``): not at all, or AES-256-GCM with a key of the segment's own.
PLAIN: Final = 0
AES_256_GCM: Final = 1
#: Flags of an event: it opens or closes an operation, or the session (see ``IJournal.append_event``).
OPENS: Final = 1
CLOSES: Final = 2

# magic, version, size, cipher, flags, journal, epoch, number, previous, first jseq, created, digest, its bytes,
# its last jseq, seed, original digest, event that ordered the rewriting, salt of the segment's sealing keys
_HEADER = struct.Struct("<8sHHHH16sQQQQQ32sQQI32sQ16s8x")
_CRC = struct.Struct("<I")
_BLOCK = struct.Struct("<4sBBHIIIQQQI")
BLOCK_HEADER_SIZE: Final = _BLOCK.size + _CRC.size
BLOCK_MAGIC: Final = b"\x89HPB"
_MAX_KEYS: Final = 0xFFFE
_ANY_KEY: Final = 0xFFFF


class UnsupportedFormat(HoopproxyError):
    """The file is sound, but a newer hoopproxy wrote it. Nothing was read or changed."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}; this hoopproxy reads version {VERSION}, so use a newer one")
        self.path, self.what = path, what


class Kind(IntEnum):
    """What a record is."""

    EVENT = 1
    CHUNK = 2
    COMMIT = 3
    CHECKPOINT = 4
    GAP = 5
    STUB = 6


class BlockType(IntEnum):
    """What a block holds: records, the state at the segment's start, or (nothing) a clean shutdown."""

    RECORDS = 1
    STATE = 2
    END = 3


class Compression(IntEnum):
    """How a payload is stored."""

    NONE = 0
    ZSTD = 1
    #: Zstandard over records some of which are told by turns: see :mod:`hoopproxy.journal.turns`.
    FOLDED = 2


@attrs.frozen(kw_only=True)
class SegmentHeader:
    """The first 192 bytes of a segment file.

    ``previous`` is the number of the segment that this one continues (0: none), ``digest`` that one's digest,
    over its first ``previous_size`` bytes, which end with record ``previous_last``. ``epoch`` counts the
    writers that have opened the journal, ``created`` is Unix time in ns. ``original`` is this segment's own
    digest from before it was rewritten, as the event ``rewritten_by`` (``jseq``) ordered. ``salt`` goes into the
    keys that ``cipher`` seals this segment's bodies with.
    """

    journal: bytes
    number: int
    first_jseq: int
    epoch: int = 1
    previous: int = 0
    created: int = 0
    digest: bytes = bytes(DIGEST_SIZE)
    previous_size: int = 0
    previous_last: int = 0
    seed: int = 0
    original: bytes = bytes(DIGEST_SIZE)
    rewritten_by: int = 0
    cipher: int = PLAIN
    salt: bytes = bytes(SALT_SIZE)
    flags: int = 0
    version: int = VERSION

    def encode(self) -> bytes:
        """The header's bytes, CRC at their end."""
        head = _HEADER.pack(
            MAGIC,
            self.version,
            HEADER_SIZE,
            self.cipher,
            self.flags,
            self.journal,
            self.epoch,
            self.number,
            self.previous,
            self.first_jseq,
            self.created,
            self.digest,
            self.previous_size,
            self.previous_last,
            self.seed,
            self.original,
            self.rewritten_by,
            self.salt,
        )
        return head + _CRC.pack(crc32(head))

    @classmethod
    def decode(cls, data: bytes, path: str = "segment") -> SegmentHeader:
        """Read a header. ``Damaged`` if it can't be ours, :class:`UnsupportedFormat` if it is of the future.

        Magic and CRC come first, so that a flipped bit in the version is damage and not a newer version:
        later versions keep the magic, these 192 bytes and where the CRC is.
        """
        if len(data) < HEADER_SIZE or data[:8] != MAGIC:
            raise Damaged(path, 0, "a segment header was expected")
        if crc32(data[: HEADER_SIZE - 4]) != _CRC.unpack_from(data, HEADER_SIZE - 4)[0]:
            raise Damaged(path, 0, "the segment header's checksum is wrong")
        fields = _HEADER.unpack_from(data)
        _, version, _, cipher, flags, journal, epoch, number, previous, first, created, *chain = fields
        digest, previous_size, previous_last, seed, original, rewritten_by, salt = chain
        if version != VERSION:
            raise UnsupportedFormat(path, f"the journal is of format version {version}")
        if cipher not in (PLAIN, AES_256_GCM):
            raise UnsupportedFormat(path, f"the journal is sealed with the unknown cipher {cipher}")
        if flags & ~(ACCEPTED_LOSS | REWRITTEN):
            raise UnsupportedFormat(path, f"the journal uses the unknown flags {flags:#06x}")
        return cls(
            journal=journal,
            number=number,
            first_jseq=first,
            epoch=epoch,
            previous=previous,
            created=created,
            digest=digest,
            previous_size=previous_size,
            previous_last=previous_last,
            seed=seed,
            original=original,
            rewritten_by=rewritten_by,
            cipher=cipher,
            salt=salt,
            flags=flags,
        )

    @classmethod
    def repaired(cls, data: bytes, journal: bytes, number: int) -> SegmentHeader:
        """A header whose checksum doesn't hold, with what must be in it in its place: for reading what of the segment
        is sound by its blocks' checksums. Nothing else of it is to be believed. ``Damaged`` if it is cut.
        """
        head = bytearray(data[: HEADER_SIZE - 4])
        head[:16] = struct.pack("<8sHHHH", MAGIC, VERSION, HEADER_SIZE, data[12:13] == b"\1", 0)
        head += _CRC.pack(crc32(head))
        found = cls.decode(bytes(head))
        return attrs.evolve(found, journal=journal, number=number)


@attrs.frozen(kw_only=True)
class BlockHeader:
    """What can be known of a block without reading its payload.

    ``durable`` is the highest ``jseq`` that was known durable when the block was made: the block's presence
    proves that everything up to there was once acknowledged. ``time`` is Unix time in ns. ``keys`` are the
    distinct key ids of its records, or ``None`` for too many to list. ``size`` is all of the block.
    """

    type: BlockType
    compression: Compression
    keys: frozenset[int] | None
    keys_size: int
    stored: int
    raw: int
    count: int
    first: int
    durable: int
    time: int
    payload_crc: int

    @property
    def last(self) -> int:
        """The ``jseq`` of the last record; ``first - 1`` if there is none."""
        return self.first + self.count - 1

    @property
    def payload_offset(self) -> int:
        """Bytes from the block's start to its payload."""
        return BLOCK_HEADER_SIZE + self.keys_size

    @property
    def size(self) -> int:
        """Bytes from the block's start to its end."""
        return BLOCK_HEADER_SIZE + self.keys_size + self.stored

    def may_hold(self, keys: frozenset[int]) -> bool:
        """Whether a record of one of these key ids can be inside."""
        return self.keys is None or not self.keys.isdisjoint(keys)

    @classmethod
    def keys_length(cls, data: bytes) -> int:
        """Bytes of key ids that follow this fixed part; what :meth:`decode` needs beyond it."""
        count = int.from_bytes(data[6:8], "little")
        return 0 if count == _ANY_KEY else 4 * count

    @classmethod
    def decode(cls, data: bytes, seed: int) -> BlockHeader | None:
        """Read a block's header from ``data`` (fixed part and key ids); ``None`` if it isn't one."""
        if len(data) < BLOCK_HEADER_SIZE or data[:4] != BLOCK_MAGIC:
            return None
        _, type_, compression, key_count, *numbers, payload_crc = _BLOCK.unpack_from(data)
        keys_size = cls.keys_length(data)
        end = BLOCK_HEADER_SIZE + keys_size
        if len(data) < end:
            return None
        listed = data[BLOCK_HEADER_SIZE:end]
        if crc32(listed, crc32(data[: _BLOCK.size], seed)) != _CRC.unpack_from(data, _BLOCK.size)[0]:
            return None
        if type_ not in _TYPES or compression not in _COMPRESSIONS:
            return None
        stored, raw, count, first, durable, when = numbers
        keys = None if key_count == _ANY_KEY else frozenset(struct.unpack(f"<{key_count}I", listed))
        return cls(
            type=_TYPES[type_],
            compression=_COMPRESSIONS[compression],
            keys=keys,
            keys_size=keys_size,
            stored=stored,
            raw=raw,
            count=count,
            first=first,
            durable=durable,
            time=when,
            payload_crc=payload_crc,
        )


_TYPES = {int(each): each for each in BlockType}
_COMPRESSIONS = {int(each): each for each in Compression}

#: kind, flags, key id, body
StoredRecord = tuple[int, int, int, bytes]


def encode_records(
    codes: Sequence[int], keys: Sequence[int], lengths: Sequence[int], pieces: Iterable[bytes]
) -> bytes:
    """The raw payload of a block, of its columns. ``codes`` are ``kind | flags << 8``; any number of
    ``pieces``, one after the other, are the bodies."""
    count = len(codes)
    table = struct.pack(f"<{count}H{2 * count}I", *codes, *keys, *lengths)
    return b"".join((table, *pieces))


def decode_records(raw: bytes, count: int) -> list[StoredRecord]:
    """Undo :func:`encode_records`; ``ValueError`` if the table and the bodies disagree with the length."""
    table = 10 * count
    if len(raw) < table:
        raise ValueError("the table of records is cut")
    kinds, flags = raw[: 2 * count : 2], raw[1 : 2 * count : 2]
    keys = struct.unpack_from(f"<{count}I", raw, 2 * count)
    lengths = struct.unpack_from(f"<{count}I", raw, 6 * count)
    if table + sum(lengths) != len(raw):
        raise ValueError("the records' lengths don't add up to the block's")
    records, at = [], table
    for kind, flag, key, length in zip(kinds, flags, keys, lengths, strict=True):
        records.append((kind, flag, key, raw[at : at + length]))
        at += length
    return records


def encode_block(
    type_: BlockType,
    stored: bytes,
    *,
    compression: Compression,
    raw: int,
    seed: int,
    keys: Iterable[int] = (),
    count: int = 0,
    first: int,
    durable: int,
    time: int,
) -> bytes:
    """The block's header and key ids; ``stored``, the payload as it will be, is to follow at once."""
    listed = tuple(keys)
    any_key = len(listed) > _MAX_KEYS
    key_bytes = b"" if any_key else struct.pack(f"<{len(listed)}I", *listed)
    head = _BLOCK.pack(
        BLOCK_MAGIC,
        type_,
        compression,
        _ANY_KEY if any_key else len(listed),
        len(stored),
        raw,
        count,
        first,
        durable,
        time,
        crc32(stored, seed),
    )
    return head + _CRC.pack(crc32(key_bytes, crc32(head, seed))) + key_bytes
