"""The texts in a result's bytes: whatever they are, no error and nothing that isn't there."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.postgres.rowtexts import row_texts
from tests.protocols.postgres.talk import columns, complete, m, row


def test_rows_and_copy_data_give_their_values() -> None:
    """What psql would show."""
    data = (
        columns("a", "b")
        + row(b"Ada", b"Lovelace")
        + row(b"", b"x")
        + complete("SELECT 2")
        + m("d", b"1\tGrace\n")
    )
    assert list(row_texts(data)) == ["Ada", "Lovelace", "x", "1\tGrace\n"]


def test_a_value_in_binary_that_is_no_text_gives_no_words() -> None:
    """Four bytes of an integer would be found as letters that nobody wrote."""
    assert list(row_texts(row(struct.pack(">i", 0x41424300), b"text"))) == ["text"]


@given(st.binary(max_size=200), st.integers(0, 60))
def test_bytes_that_are_no_messages_are_no_error(garbage: bytes, cut: int) -> None:
    """A target is hostile, too, and a recording can be cut anywhere."""
    list(row_texts(garbage))
    list(row_texts((row(b"Ada", b"Lovelace") * 2)[:cut] + garbage))
