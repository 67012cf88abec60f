"""The data types of RFC 4251 s.5, with its own examples, and every length that lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh import packets
from hoopproxy.protocols.ssh.packets import Malformed, Reader


@pytest.mark.parametrize(
    ("number", "data"),
    [
        (0, "00000000"),
        (0x9A378F9B2E332A7, "0000000809a378f9b2e332a7"),
        (0x80, "000000020080"),
        (-0x1234, "00000002edcc"),
        (-0xDEADBEEF, "00000005ff21524111"),
    ],
)
def test_integers_of_any_size_are_those_of_the_specification(number: int, data: str) -> None:
    """A sign bit too few makes a public key negative."""
    assert packets.mpint(number).hex() == data
    assert Reader(bytes.fromhex(data)).mpint() == number


def test_lists_of_names_are_those_of_the_specification() -> None:
    """An empty list is no list with an empty name."""
    for names, data in (
        ((), "00000000"),
        (("zlib",), "000000047a6c6962"),
        (("zlib", "none"), "000000097a6c69622c6e6f6e65"),
    ):
        assert packets.name_list(names).hex() == data
        assert Reader(bytes.fromhex(data)).name_list() == names


@given(
    st.binary(max_size=300),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.integers(),
)
def test_what_is_written_is_read(data: bytes, small: int, large: int, flag: bool, number: int) -> None:
    """Every type, one after the other."""
    written = b"".join(
        (
            packets.string(data),
            packets.uint32(small),
            packets.uint64(large),
            packets.boolean(flag),
            packets.mpint(number),
        )
    )
    reader = Reader(b"\x5a" + written, 1)
    assert (reader.string(), reader.uint32(), reader.uint64(), reader.boolean(), reader.mpint()) == (
        data, small, large, flag, number,
    )  # fmt: skip
    reader.end()


@pytest.mark.parametrize("length", [1, 3, 4, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_length_that_lies_is_found(length: int) -> None:
    """Slicing would take what is there and call it the field."""
    with pytest.raises(Malformed):
        Reader(packets.uint32(length) + b"x" * min(length - 1, 50)).string()


@given(st.binary(max_size=60))
def test_garbage_is_malformed_or_read_and_nothing_else(data: bytes) -> None:
    """An IndexError would end the session as a fault of ours."""
    for name in ("byte", "boolean", "uint32", "uint64", "string", "text", "name", "name_list", "mpint"):
        reader = Reader(data)
        try:
            while reader.left:
                getattr(reader, name)()
        except Malformed:
            pass


def test_bytes_behind_the_end_are_malformed() -> None:
    """Two readers of one message must not see two messages."""
    reader = Reader(packets.string("a") + b"x")
    reader.string()
    with pytest.raises(Malformed, match="1 bytes"):
        reader.end()
