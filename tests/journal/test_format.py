"""The bytes of version 1: what is written can be read, what was changed is noticed, the newer is refused."""

from __future__ import annotations

import hashlib
import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import Damaged
from hoopproxy.journal.commitments import Stub, commitment, record_salt
from hoopproxy.journal.compress import read_payload
from hoopproxy.journal.format import (
    BLOCK_HEADER_SIZE,
    HEADER_SIZE,
    REWRITTEN,
    BlockHeader,
    BlockType,
    Compression,
    SegmentHeader,
    UnsupportedFormat,
    decode_records,
    encode_block,
    encode_records,
)

HEADER = SegmentHeader(
    journal=b"j" * 16,
    number=7,
    first_jseq=100,
    epoch=3,
    previous=6,
    created=5,
    digest=b"d" * 32,
    previous_size=5000,
    previous_last=99,
    seed=9,
    original=b"o" * 32,
    rewritten_by=321,
    flags=REWRITTEN,
)
RECORD = st.tuples(
    st.integers(1, 6), st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=5000)
)


def resealed(data: bytes) -> bytes:
    return data[:-4] + struct.pack("<I", crc32(data[:-4]))


def block(keys: range = range(2), stored: bytes = b"payload") -> bytes:
    return (
        encode_block(
            BlockType.RECORDS,
            stored,
            compression=Compression.NONE,
            raw=len(stored),
            seed=9,
            keys=keys,
            count=2,
            first=100,
            durable=99,
            time=1,
        )
        + stored
    )


def test_a_segment_header_reads_back_as_it_was_written() -> None:
    """Or no segment could ever be opened again."""
    assert len(HEADER.encode()) == HEADER_SIZE
    assert SegmentHeader.decode(HEADER.encode()) == HEADER


@pytest.mark.parametrize("at", range(HEADER_SIZE))
def test_a_flipped_bit_anywhere_in_a_segment_header_is_damage(at: int) -> None:
    """A flip in the version must not read as "a newer hoopproxy wrote this"."""
    data = bytearray(HEADER.encode())
    data[at] ^= 1 << at % 8
    with pytest.raises(Damaged):
        SegmentHeader.decode(bytes(data))


@pytest.mark.parametrize("length", range(0, HEADER_SIZE, 9))
def test_a_cut_segment_header_is_damage(length: int) -> None:
    """A short read must not become a struct.error."""
    with pytest.raises(Damaged):
        SegmentHeader.decode(HEADER.encode()[:length])


@pytest.mark.parametrize(
    ("at", "words"), [(8, "format version 2"), (12, "unknown cipher 2"), (15, "unknown flags 0x0202")]
)
def test_what_the_future_wrote_is_refused_with_a_sentence(at: int, words: str) -> None:
    """An old gateway on a new journal must neither misread nor "repair" it."""
    data = bytearray(HEADER.encode())
    data[at] = 2
    with pytest.raises(UnsupportedFormat, match=words):
        SegmentHeader.decode(resealed(bytes(data)))


@given(st.lists(RECORD, min_size=1, max_size=30))
def test_records_read_back_in_order(records: list[tuple[int, int, int, bytes]]) -> None:
    """Every body, kind, flag and key id, whatever they are."""
    kinds, flags, keys, bodies = zip(*records, strict=True)
    codes = [kind | flag << 8 for kind, flag in zip(kinds, flags, strict=True)]
    halves = [half for body in bodies for half in (body[:3], body[3:])]
    raw = encode_records(codes, keys, [len(body) for body in bodies], halves)
    assert decode_records(raw, len(records)) == records


@given(st.binary(max_size=200), st.integers(0, 30))
def test_garbage_is_no_table_of_records(raw: bytes, count: int) -> None:
    """Wrong lengths are a ValueError, never another exception and never short bodies."""
    try:
        records = decode_records(raw, count)
    except ValueError:
        return
    assert sum(len(record[3]) for record in records) + 10 * count == len(raw)


@pytest.mark.parametrize("at", range(BLOCK_HEADER_SIZE + 8))
def test_a_flipped_bit_anywhere_in_a_block_header_is_no_block(at: int) -> None:
    """The lengths and the list of keys decide what is skipped: they can't be trusted unchecked."""
    data = bytearray(block())
    data[at] ^= 1 << at % 8
    assert BlockHeader.decode(bytes(data), 9) is None


@pytest.mark.parametrize("at", range(7))
def test_a_flipped_bit_in_the_payload_is_noticed(at: int) -> None:
    """CRC over what is stored."""
    header = BlockHeader.decode(block(), 9)
    assert header is not None
    stored = bytearray(b"payload")
    stored[at] ^= 1
    assert read_payload(header, b"payload", 9) == b"payload"
    with pytest.raises(ValueError, match="checksum"):
        read_payload(header, bytes(stored), 9)


def test_a_block_of_another_segment_is_no_block_here() -> None:
    """Recorded bytes that look like a block (a journal copied through the gateway) must not pass for one."""
    assert BlockHeader.decode(block(), 10) is None


def test_a_block_says_whose_records_it_holds_until_they_are_too_many() -> None:
    """The list lets a reader skip; with 65,535 sessions it gives up, and must then say "maybe"."""
    few = BlockHeader.decode(block(range(3)), 9)
    many = BlockHeader.decode(block(range(70000)), 9)
    assert few is not None
    assert many is not None
    assert few.may_hold(frozenset({2}))
    assert not few.may_hold(frozenset({3}))
    assert many.may_hold(frozenset({123456}))


def test_a_decompression_bomb_is_not_unpacked() -> None:
    """The header says how much comes out; zstd must not give more."""
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    data = encode_block(
        BlockType.RECORDS,
        bomb,
        compression=Compression.ZSTD,
        raw=100,
        seed=9,
        first=1,
        durable=0,
        time=0,
    )
    header = BlockHeader.decode(data, 9)
    assert header is not None
    with pytest.raises(ValueError, match=r"length is wrong|decompressed"):
        read_payload(header, bomb, 9)


@pytest.mark.parametrize("size", [0, 4095, 100_000])
def test_an_erased_records_stub_keeps_its_commitment(size: int) -> None:
    """Erasure must not look like damage: the ledger's leaf is of what was there, and the stub has it."""
    body = b"x" * size
    own = hashlib.sha256(b"s" * 16 + struct.pack("<Q", 77)).digest()[:16]
    was = hashlib.sha256(own + struct.pack("<QBI", 77, 1, size) + body).digest()
    stub = Stub.decode(Stub(1, size, commitment(b"s" * 16, 77, 1, body)).encode())
    assert (stub.kind, stub.length, stub.commitment) == (1, size, was)


def test_the_salt_hides_what_was_erased() -> None:
    """Without it, an erased body could be guessed and confirmed."""
    assert commitment(b"a" * 16, 1, 1, b"x") != commitment(b"b" * 16, 1, 1, b"x")
    assert record_salt(b"a" * 16, 1) != record_salt(b"a" * 16, 2)
    with pytest.raises(ValueError, match="too short"):
        Stub.decode(b"short")
