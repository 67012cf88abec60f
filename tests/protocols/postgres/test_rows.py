"""Recorded results as tables for people."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.postgres.copydata import copy_data, copy_lines
from hoopproxy.protocols.postgres.rows import Column, described, rendered, shown, table, tables


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def description(*columns: tuple[str, int, int]) -> bytes:
    body = struct.pack("!H", len(columns))
    for name, oid, format in columns:
        body += name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, oid, -1, -1, format)
    return message(b"T", body)


def row(*values: bytes | None) -> bytes:
    body = struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message(b"D", body)


DONE = message(b"C", b"SELECT 2\0")
RESULT = (
    description(("id", 23, 1), ("name", 25, 0)) + row(b"\0\0\0\1", b"ada") + row(b"\0\0\0\x0c", None) + DONE
)


def test_a_result_prints_as_psql_prints_it() -> None:
    found = table(RESULT)
    assert list(rendered(found.columns, found.rows)) == [
        " id | name",
        "----+------",
        "  1 | ada",
        " 12 |",
        "(2 rows)",
    ]
    assert found.trouble == []


@given(st.lists(st.integers(1, 7), max_size=60))
def test_a_stream_cut_anywhere_gives_the_same_rows(cuts: list[int]) -> None:
    def pieces() -> Iterator[bytes]:
        pos = 0
        for cut in cuts:
            yield RESULT[pos : pos + cut]
            pos += cut
        yield RESULT[pos:]

    assert list(table(pieces()).rows) == [("1", "ada"), ("12", None)]


def test_several_results_follow_each_other_even_when_one_is_not_read() -> None:
    source = RESULT + description(("x", 25, 0)) + DONE + message(b"N", b"S\0\0") + RESULT
    found = list(tables(source))
    assert [[c.name for c in each.columns] for each in found] == [["id", "name"], ["x"], ["id", "name"]]
    assert [len(list(each.rows)) for each in tables(source)] == [2, 0, 2]


def test_an_earlier_description_and_the_formats_of_a_bind_are_used() -> None:
    columns = described(description(("a", 23, 0))[5:])
    assert columns == (Column("a", 23, 0),)
    assert list(table(row(b"\0\0\0\5") + DONE, columns, formats=(1,)).rows) == [("5",)]
    assert [len(list(each.rows)) for each in tables(DONE, columns)] == [0]


def test_rows_that_nothing_describes_are_shown_all_the_same() -> None:
    found = table(row(b"a", None) + DONE)
    assert [column.name for column in found.columns] == ["column1", "column2"]
    assert list(found.rows) == [("a", None)]
    assert list(tables(b"")) == []
    assert table(b"").columns == ()


def test_damage_ends_the_rows_and_is_said() -> None:
    for cut in range(1, len(RESULT) - len(DONE)):
        found = table(RESULT[:cut])
        assert len(list(found.rows)) <= 2
    assert found.trouble
    bad = table(RESULT.replace(b"\0\0\0\3ada", b"\0\0\0\4ada"))
    assert list(bad.rows) == [("12", None)]
    assert bad.trouble == ["a row is damaged"]
    for body in (b"", b"\0\1", b"\0\1a", b"\0\1a\0" + bytes(17), b"\0\1a\0" + bytes(19)):
        assert described(body) is None


@given(st.binary(max_size=60))
def test_garbage_never_raises(data: bytes) -> None:
    for each in tables(data):
        list(rendered(each.columns, each.rows))
    for each in tables(RESULT[:40] + data):
        list(each.rows)


def test_nothing_in_a_table_controls_a_terminal() -> None:
    """A value, and a column's name, are written by whoever wrote the data."""
    source = (
        description(("\x1b[2J\u202e", 25, 0))
        + row("\x1b]52;c;x\x07\n\u2028".encode())
        + row(b"\x9b\xff")
        + DONE
    )
    found = table(source)
    lines = list(rendered(found.columns, found.rows))
    assert not [
        c for line in lines for c in line if ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028"
    ]
    assert "\\x1b]52;c;x\\x07\\n\\u2028" in lines[2]
    assert "base64:m/8=" in lines[3]


def test_wide_cells_and_lines_are_cut() -> None:
    columns = (Column("a", 25, 0), Column("b", 25, 0))
    lines = list(rendered(columns, [("x" * 500, "y" * 500)], cell_width=10, line_width=16))
    assert lines[2] == " xxxxxxxxx… | y…"
    assert max(map(len, lines)) <= 16


def test_rows_stream_after_the_sample() -> None:
    """A million rows must not be held to print them."""
    read = 0

    def endless() -> Iterator[tuple[str]]:
        nonlocal read
        while True:
            read += 1
            yield (str(read),)

    lines = rendered((Column("n", 23, 0),), endless(), sample=10)
    assert next(lines).strip() == "n"
    assert read == 10
    assert [next(lines) for _ in range(30)][-1] == " 29"
    assert read < 40


def test_ragged_rows_and_no_columns_are_shown() -> None:
    assert list(rendered((), [("a", "b"), ()])) == ["   |", "---+---", " a | b", "", "(2 rows)"]
    assert list(rendered((), [])) == ["", "", "(0 rows)"]


def test_values_that_are_no_text_are_spelled_out() -> None:
    assert shown({"hex": "00", "oid": 1}) == "\\x00"
    assert shown({"b64": "AA=="}) == "base64:AA=="
    assert shown({"sha256": "ab", "bytes": 9, "head": "\x1b"}) == "\\x1b… (9 bytes, sha256 ab)"
    assert shown(None, "NULL") == "NULL"


def test_copy_text_is_shown_as_lines_wherever_it_is_cut() -> None:
    data = b"1\ta\r\n2\t\x1b[0m\n\n3"
    for cut in range(len(data)):
        source = message(b"d", data[:cut]) + message(b"d", data[cut:]) + message(b"c", b"")
        assert list(copy_lines(copy_data(source))) == ["1\ta", "2\t\\x1b[0m", "", "3"]
    assert list(copy_lines([b"a" * 70_000, b"a" * 10 + b"\nb"])) == ["a" * 65_536 + "… (70010 bytes)", "b"]


def test_binary_copy_is_shown_as_rows_wherever_it_is_cut() -> None:
    data = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\2\0\0\0\4\0\0\0\5\xff\xff\xff\xff" + b"\xff\xff"
    for cut in range(len(data)):
        assert list(copy_lines([data[:cut], data[cut:]], "binary", oids=(23,))) == ["5\t\\N"]
    assert list(copy_lines([data[:-4]], "binary"))[-1] == "(the recorded bytes end here)"
    assert list(copy_lines([b"nonsense"], "binary")) == ["(this is no binary COPY data)"]


@given(st.binary(max_size=80), st.sampled_from(["text", "csv", "binary"]))
def test_copy_garbage_never_raises(data: bytes, format: str) -> None:
    list(copy_lines([data], format))
    list(copy_lines([b"PGCOPY\n\xff\r\n\0" + bytes(8) + data], "binary", oids=(1007,)))
