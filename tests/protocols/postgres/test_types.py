"""Values: exact text, or the bytes in hex; never silence and never an exception."""

# ruff: noqa: E501 (tables of samples read better in few lines)

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.protocols.postgres.binary.cursor import Cursor
from hoopproxy.protocols.postgres.binary.scalars import numeric
from hoopproxy.protocols.postgres.types import _ARRAYS, _MULTIRANGES, _RANGES, _SCALARS, codec, decode

KNOWN = sorted({*_SCALARS, *_ARRAYS, *_RANGES, *_MULTIRANGES, 22, 30, 2249})


def packed(layout: str, *values: object) -> bytes:
    return struct.pack("!" + layout, *values)


@pytest.mark.parametrize(
    ("oid", "data", "text"),
    [
        (16, b"\x01", "t"), (17, b"\x00\xff", "\\x00ff"), (20, packed("q", -1), "-1"), (23, packed("i", 7), "7"),
        (26, packed("I", 2**32 - 1), "4294967295"), (25, "ü".encode(), "ü"), (700, packed("f", 0.1), "0.1"),
        (700, packed("f", 1e6), "1e+06"), (701, packed("d", 1e15), "1e+15"), (701, packed("d", -0.0), "-0"),
        (701, packed("d", 2.0**-44), "5.684341886080802e-14"), (701, packed("d", float("nan")), "NaN"),
        (1700, packed("hhHHh", 1, 0, 0x4000, 2, 5), "-5.00"), (1700, packed("hhHH", 0, 0, 0, 0), "0"),
        (1700, packed("hhHHh", 1, -2, 0, 8, 1), "0.00000001"), (1700, packed("hhHH", 0, 0, 0xC000, 0), "NaN"),
        (1082, packed("i", -730_120), "0001-12-31 BC"), (1082, packed("i", -730_119), "0001-01-01"),
        (1082, packed("i", 2**31 - 1), "infinity"), (1114, packed("q", -1), "1999-12-31 23:59:59.999999"),
        (1184, packed("q", 0), "2000-01-01 00:00:00+00"), (1083, packed("q", 86_400_000_000), "24:00:00"),
        (1266, packed("qi", 0, -19_800), "00:00:00+05:30"), (1186, packed("qii", -1_000_000, 3, -13), "-1 years -1 mons +3 days -00:00:01"),
        (2950, bytes(16), "00000000-0000-0000-0000-000000000000"), (869, b"\x02\x08\x00\x04\x0a\x00\x00\x01", "10.0.0.1/8"),
        (869, b"\x03\x80\x00\x10" + bytes(10) + b"\xff\xff\x01\x02\x03\x04", "::ffff:1.2.3.4"),
        (650, b"\x02\x20\x01\x04\x0a\x00\x00\x01", "10.0.0.1/32"), (829, bytes(range(6)), "00:01:02:03:04:05"),
        (1560, packed("i", 3) + b"\xa0", "101"), (790, packed("q", 1234), "1234"), (600, packed("dd", 1, 2.5), "(1,2.5)"),
        (3220, packed("II", 0x16, 0xB374D848), "16/B374D848"), (2278, b"", ""), (3802, b"\x01{}", "{}"),
        (1007, packed("iiI", 0, 0, 23), "{}"), (3904, packed("Bi", 2, 4) + packed("iii", 1, 4, 5), "[1,5)"), (3904, b"\x01", "empty"),
        (1007, packed("iiIii", 1, 1, 23, 2, 1) + packed("iii", 4, 1, -1), "{1,NULL}"),
        (1009, packed("iiIii", 1, 0, 25, 2, 0) + packed("i4si", 4, b"NULL", 0), '[0:1]={"NULL",""}'),
        (2249, packed("iIi3sIi", 2, 25, 3, b"a,b", 25, -1), '("a,b",)'),
    ],
)  # fmt: skip
def test_binary_values_print_as_postgresql_prints_them(oid: int, data: bytes, text: str) -> None:
    assert decode(oid, 1, data) == text


def test_null_text_and_invalid_text() -> None:
    assert decode(23, 0, None) is None
    assert decode(23, 0, b"12") == "12"
    assert decode(25, 0, b"\xe9") == {"b64": "6Q=="}
    assert decode(25, 1, b"\xe9") == {"b64": "6Q=="}
    assert decode(25, 0, b"\xe9", "LATIN1") == "é"
    assert decode(25, 1, b"\xe9", "LATIN1") == "é"


def test_unknown_types_and_malformed_data_are_kept_in_hex() -> None:
    """A parameter that can't be decoded must not be lost."""
    assert decode(99999, 1, b"\x01\x02") == {"hex": "0102", "oid": 99999}
    assert decode(23, 1, b"\x01") == {"hex": "01", "oid": 23}
    assert decode(23, 1, b"\x00" * 5) == {"hex": "0000000000", "oid": 23}
    assert decode(1083, 1, packed("q", -1)) == {"hex": packed("q", -1).hex(), "oid": 1083}
    assert decode(23, 7, b"1") == {"hex": "31", "oid": 23}


def test_a_long_value_is_told_by_digest_and_beginning() -> None:
    told = decode(25, 0, b"a" * 1000, limit=999)
    assert isinstance(told, dict)
    assert told["bytes"] == 1000
    assert told["head"] == "a" * 256
    assert isinstance(decode(17, 1, b"a" * 1000, limit=1000), str)


def test_a_small_value_that_prints_endlessly_is_not_printed() -> None:
    """A numeric of ten bytes may have 131,000 digits, and an array holds thousands of them."""
    one = packed("hhHHh", 1, 32767, 0, 16383, 1)
    data = packed("iiIii", 1, 0, 1700, 3000, 1) + 3000 * (packed("i", len(one)) + one)
    assert decode(1231, 1, data) == {"hex": data.hex(), "oid": 1231}
    assert len(numeric(Cursor(one, "utf-8"))) > 100_000


def test_nesting_is_bounded() -> None:
    data = b""
    for _ in range(500):
        data = packed("iIi", 1, 2249, len(data)) + data
    told = decode(2249, 1, data)
    assert isinstance(told, dict)


def test_encodings_have_their_python_names() -> None:
    assert [codec(name) for name in ("UTF8", "LATIN1", "WIN1252", "EUC_JP", "SQL_ASCII", "latin9", "KOI8R")] == [
        "utf-8", "iso8859-1", "cp1252", "euc_jp", "utf-8", "iso8859-15", "koi8-r",
    ]  # fmt: skip
    assert codec("MULE_INTERNAL") == codec("rot13") == codec("hex") == codec("no\0such") == "ascii"


@given(
    st.sampled_from([*KNOWN, 0, 12345]),
    st.sampled_from([0, 1, 2, -1]),
    st.binary(max_size=64),
    st.sampled_from(["UTF8", "LATIN1", "??"]),
)
@settings(max_examples=1500)
def test_garbage_never_raises_and_is_json(oid: int, format: int, data: bytes, encoding: str) -> None:
    told = decode(oid, format, data, encoding)
    json.dumps(told, allow_nan=False).encode()
    if isinstance(told, str):
        told.encode()
    else:
        assert told is not None


@given(
    st.sampled_from(sorted(_ARRAYS)),
    st.sampled_from(KNOWN),
    st.lists(st.binary(max_size=20), min_size=1, max_size=4),
)
@settings(max_examples=500)
def test_garbage_in_containers_never_raises(array: int, oid: int, parts: list[bytes]) -> None:
    data = packed("iiIii", 1, 0, oid, len(parts), 1) + b"".join(packed("i", len(p)) + p for p in parts)
    json.dumps(decode(array, 1, data))
    data = packed("i", len(parts)) + b"".join(packed("Ii", oid, len(p)) + p for p in parts)
    json.dumps(decode(2249, 1, data))


@given(st.floats(width=64))
def test_floats_read_back_exactly(value: float) -> None:
    told = decode(701, 1, packed("d", value))
    assert isinstance(told, str)
    assert packed("d", float(told)) == packed("d", value) or value != value
