"""Result rows for people: decoded from the recorded bytes of a result, when somebody reads them.

Input is what the server sent: RowDescription and DataRow messages, or CopyData. Damaged or cut-off input
ends the rows and is said so; nothing raises. Memory is bounded by the largest message and by the rows that
decide on the columns' widths.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final

from attrs import field, frozen

from hoopproxy.inert import cells, fitted, inert
from hoopproxy.protocols.postgres.types import LIMIT, Value, codec, decode

__all__ = ["Column", "Table", "described", "messages", "rendered", "shown", "table", "tables"]

_MAX_MESSAGE: Final = 0x3FFFFFFF
"""Bytes of one message (PostgreSQL's own limit is 1 GiB)."""
_NUMERIC: Final = frozenset((20, 21, 23, 26, 700, 701, 790, 1700))
"""Types that psql aligns to the right."""
_PIECE: Final = 1 << 20
"""Bytes of a source that are looked at together."""
_SAMPLE: Final = 200
"""Rows that decide on the columns' widths."""
_ENDS: Final = (b"C", b"I", b"s", b"E")
"""Messages that end a result: CommandComplete, EmptyQueryResponse, PortalSuspended, ErrorResponse."""


@frozen
class Column:
    """A column of a result: its name, the OID of its type, 0 (text) or 1 (binary)."""

    name: str
    oid: int
    format: int


@frozen(kw_only=True)
class Table:
    """A result. ``rows`` is read once, lazily; ``trouble`` then has a sentence if bytes were damaged."""

    columns: tuple[Column, ...]
    rows: Iterator[tuple[Value, ...]]
    trouble: list[str] = field(factory=list)


def messages(source: bytes | Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The messages in a stream that is cut anywhere: ``(type, body)``.

    What can't be a message, or is cut off, ends it: ``(b"", its first bytes)``.
    """
    buffer = bytearray()
    for chunk in _pieces(source) if isinstance(source, bytes) else source:
        buffer += chunk
        pos = 0
        while len(buffer) - pos >= 5:
            length = int.from_bytes(buffer[pos + 1 : pos + 5], "big")
            if not 4 <= length <= _MAX_MESSAGE:
                yield b"", bytes(buffer[pos : pos + 5])
                return
            if len(buffer) - pos <= length:
                break
            yield bytes(buffer[pos : pos + 1]), bytes(buffer[pos + 5 : pos + 1 + length])
            pos += 1 + length
        del buffer[:pos]
    if buffer:
        yield b"", bytes(buffer[:5])


def _pieces(source: bytes) -> Iterator[bytes]:
    return (source[start : start + _PIECE] for start in range(0, len(source), _PIECE))


def described(body: bytes, encoding: str = "UTF8") -> tuple[Column, ...] | None:
    """The columns of a RowDescription's body; None if it's malformed."""
    name, columns = codec(encoding), []
    try:
        (count,) = struct.unpack_from("!H", body)
        pos = 2
        for _ in range(count):
            end = body.index(b"\0", pos)
            _, _, oid, _, _, format = struct.unpack_from("!IhIhih", body, end + 1)
            columns.append(Column(body[pos:end].decode(name, "backslashreplace"), oid, format))
            pos = end + 19
    except (struct.error, ValueError):
        return None
    return tuple(columns) if pos == len(body) else None


def table(
    source: bytes | Iterable[bytes],
    columns: tuple[Column, ...] | None = None,
    *,
    formats: tuple[int, ...] = (),
    encoding: str = "UTF8",
    limit: int = LIMIT,
) -> Table:
    """The first result in `source`; parameters as for :func:`tables`. Without any, a table of nothing."""
    found = tables(source, columns, formats=formats, encoding=encoding, limit=limit)
    return next(found, None) or Table(columns=(), rows=iter(()))


def tables(
    source: bytes | Iterable[bytes],
    columns: tuple[Column, ...] | None = None,
    *,
    formats: tuple[int, ...] = (),
    encoding: str = "UTF8",
    limit: int = LIMIT,
) -> Iterator[Table]:
    """The results in `source`, one after the other; rows that aren't read are skipped.

    :param columns: what an earlier Describe said of the first result; a RowDescription in `source` wins.
        With neither, columns are named after their numbers and their types are unknown.
    :param formats: of a Bind: none (as described), one for all, or one a column; they win over `columns`.
    :param limit: bytes of a value that are shown whole.
    """
    stream = messages(source)
    ahead: list[tuple[bytes, bytes]] = []
    shape = columns
    while (message := ahead.pop() if ahead else next(stream, None)) is not None:
        kind, body = message
        trouble: list[str] = []
        if kind == b"T":
            shape = described(body, encoding)
            trouble += [] if shape is not None else ["a row description is damaged"]
        elif kind == b"D":
            ahead.append(message)
        elif kind == b"":
            trouble.append("the recorded bytes end within a message, or are none")
        elif kind not in _ENDS or shape is None:
            continue
        else:  # nothing was returned of what had been described
            ahead.append(message)
        first = ahead[-1] if ahead else None
        shape = shape if shape is not None else _numbered(first)
        shape = _formatted(shape, formats)
        rows = _rows(stream, ahead, shape, encoding, limit, trouble)
        yield Table(columns=shape, rows=rows, trouble=trouble)
        for _ in rows:
            pass
        shape = None


def _numbered(first: tuple[bytes, bytes] | None) -> tuple[Column, ...]:
    """Columns for rows that nothing describes, as many as the first row has."""
    count = int.from_bytes(first[1][:2], "big") if first is not None and first[0] == b"D" else 0
    count = min(count, len(first[1]) // 4 if first is not None else 0)
    return tuple(Column(f"column{number + 1}", 0, 0) for number in range(count))


def _formatted(columns: tuple[Column, ...], formats: tuple[int, ...]) -> tuple[Column, ...]:
    if not formats:
        return columns
    given = formats * len(columns) if len(formats) == 1 else formats
    return (
        tuple(Column(c.name, c.oid, f) for c, f in zip(columns, given, strict=False)) + columns[len(given) :]
    )


def _rows(
    stream: Iterator[tuple[bytes, bytes]],
    ahead: list[tuple[bytes, bytes]],
    columns: tuple[Column, ...],
    encoding: str,
    limit: int,
    trouble: list[str],
) -> Iterator[tuple[Value, ...]]:
    while (message := ahead.pop() if ahead else next(stream, None)) is not None:
        kind, body = message
        if kind == b"D":
            row = _row(body, columns, encoding, limit)
            if row is None:
                trouble.append("a row is damaged")
            else:
                yield row
        elif kind == b"T":
            ahead.append(message)
            return
        elif kind in _ENDS:
            return
        elif kind == b"":
            trouble.append("the recorded bytes end within a message, or are none")
            return


def _row(body: bytes, columns: tuple[Column, ...], encoding: str, limit: int) -> tuple[Value, ...] | None:
    if len(body) < 2:
        return None
    count, pos = int.from_bytes(body[:2], "big"), 2
    values: list[Value] = []
    for number in range(count):
        size = int.from_bytes(body[pos : pos + 4], "big", signed=True)
        pos += 4
        if pos > len(body) or size < -1 or size > len(body) - pos:
            return None
        column = columns[number] if number < len(columns) else Column("", 0, 0)
        data = None if size < 0 else body[pos : pos + size]
        values.append(decode(column.oid, column.format, data, encoding, limit=limit))
        pos += max(size, 0)
    return tuple(values) if pos == len(body) else None


def shown(value: Value, null: str = "") -> str:
    """A value as inert text on one line."""
    if value is None:
        return null
    if isinstance(value, str):
        return inert(value)
    if "sha256" in value:
        return f"{inert(str(value['head']))}… ({value['bytes']} bytes, sha256 {value['sha256']})"
    return f"\\x{value['hex']}" if "hex" in value else f"base64:{value['b64']}"


def rendered(
    columns: tuple[Column, ...],
    rows: Iterable[tuple[Value, ...]],
    *,
    null: str = "",
    cell_width: int = 60,
    line_width: int = 0,
    sample: int = _SAMPLE,
) -> Iterator[str]:
    """Lines of an aligned table as psql prints it, ``(3 rows)`` last. None can control a terminal.

    :param null: what stands for NULL.
    :param cell_width: columns of the terminal that a cell may take; what is longer is cut.
    :param line_width: the same for a line; 0 is no limit.
    :param sample: rows that are read before the first line, to find the widths.
    """
    source = iter(rows)
    names = [fitted(inert(column.name), cell_width) for column in columns]
    texts = ([fitted(shown(value, null), cell_width) for value in row] for row in source)
    first = list(islice(texts, sample))
    width = max([len(names), *map(len, first)])
    names += [""] * (width - len(names))
    widths = [
        max([cells(name), *(cells(row[i]) for row in first if i < len(row))]) for i, name in enumerate(names)
    ]
    right = [column.oid in _NUMERIC for column in columns]
    cut = (lambda line: fitted(line, line_width)) if line_width else str
    yield cut(
        "|".join(f" {_centred(name, room)} " for name, room in zip(names, widths, strict=True)).rstrip()
    )
    yield cut("+".join("-" * (room + 2) for room in widths))
    count = 0
    for row in chain(first, texts):
        count += 1
        parts = []
        for number, text in enumerate(row):
            space = " " * max(0, (widths[number] if number < width else 0) - cells(text))
            parts.append(f" {space}{text} " if number < len(right) and right[number] else f" {text}{space} ")
        yield cut("|".join(parts).rstrip())
    yield f"({count} row{'' if count == 1 else 's'})"


def _centred(text: str, room: int) -> str:
    space = max(0, room - cells(text))
    return " " * (space // 2) + text + " " * (space - space // 2)
