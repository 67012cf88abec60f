"""What a client commands, read from a frame's body: Query, Parse, Bind, Execute, FunctionCall and their like.

Readers only: what goes on to the target is what was received. Each raises
:class:`~hoopproxy.errors.ProtocolViolation` for a body whose lengths don't add up. What is merely wrong (a
format code of 7, a number of formats that fits no parameter) is the target's to refuse with an error that
the session survives. Bind and Execute are read once a command, hence without a cursor.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres.messages import one_text
from hoopproxy.wire.cursor import Cursor

__all__ = [
    "Bind",
    "Execute",
    "FunctionCall",
    "Named",
    "Parse",
    "long_bind",
    "long_query",
    "read_bind",
    "read_copy_fail",
    "read_execute",
    "read_function_call",
    "read_named",
    "read_parse",
    "read_password",
    "read_query",
    "read_sasl_initial",
]

_NAMES = 4096
"""Bytes in which the names in a Bind are looked for first."""

_COUNT = struct.Struct(">H").unpack_from
_LENGTH = struct.Struct(">i").unpack_from


class Parse(NamedTuple):
    """Prepare ``sql`` as ``name`` (empty: the unnamed statement). ``types`` are OIDs, 0 for "you tell"."""

    name: bytes
    sql: bytes | memoryview
    types: tuple[int, ...]


class Bind(NamedTuple):
    """Make ``portal`` of ``statement`` with ``values`` (``None`` is NULL).

    :ivar formats: none, one for all, or one a value: 0 text, 1 binary.
    :ivar offsets: where in the body each value begins, for the redaction of one.
    """

    portal: bytes
    statement: bytes
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]
    offsets: tuple[int, ...]
    results: tuple[int, ...]


class Named(NamedTuple):
    """A Describe or Close: ``what`` is ``"S"`` (a statement) or ``"P"`` (a portal)."""

    what: str
    name: bytes


class Execute(NamedTuple):
    """Run ``portal`` for at most ``rows`` rows; 0 is all."""

    portal: bytes
    rows: int


class FunctionCall(NamedTuple):
    """Call the function with this OID. Fields as in :class:`Bind`."""

    function: int
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]
    offsets: tuple[int, ...]
    result: int


def read_query(body: bytes) -> bytes:
    """The text of a simple Query."""
    return one_text(body, "Query")


def long_query(body: bytes | memoryview) -> memoryview:
    """The same without a copy. Whoever reads the text has to see whether there is a NUL in it."""
    if not body or body[-1]:
        raise ProtocolViolation("Query is not one text")
    return memoryview(body)[:-1]


def read_parse(body: bytes) -> Parse:
    """A Parse."""
    cursor = Cursor(body, "Parse")
    name, sql, count = cursor.cstring("name"), cursor.cstring("text"), cursor.uint16("count of types")
    types = struct.unpack(f">{count}I", cursor.take(4 * count, "types"))
    cursor.check_end()
    return Parse(name, sql, types)


def long_bind(body: bytes | memoryview) -> Bind:
    """A Bind whose values are views of its body, not copies."""
    view = memoryview(body)
    head = bytes(view[:_NAMES])
    if head.count(0) < 2:  # whose names are longer than any server's
        head = bytes(view)
    return read_bind(head, view)


def read_bind(head: bytes, body: Any = None) -> Bind:
    """A Bind, or one of which the names are in ``head``, its beginning."""
    if body is None:
        body = head
    try:
        end = head.index(0)
        start = end + 1
        portal, end = head[:end], head.index(0, start)
        statement = head[start:end]
        formats, position = _formats(body, end + 1)
        values, offsets, position = _values(body, position)
        results, position = _formats(body, position)
    except (struct.error, ValueError):
        raise ProtocolViolation("Bind ends inside one of its fields") from None
    if position != len(body):
        raise ProtocolViolation("Bind has bytes too many, or a value of an impossible length")
    return Bind(portal, statement, formats, values, offsets, results)


def read_execute(body: bytes) -> Execute:
    """An Execute. A negative number of rows is what the server takes for 0."""
    end = body.find(b"\0")
    if end < 0 or len(body) != end + 5:
        raise ProtocolViolation("Execute is not a portal and a number")
    return Execute(body[:end], max(0, _LENGTH(body, end + 1)[0]))


def read_named(body: bytes) -> Named:
    """A Describe or Close."""
    if body.find(b"\0") != len(body) - 1 or body[:1] not in (b"S", b"P"):
        raise ProtocolViolation("Describe or Close names neither a statement nor a portal")
    return Named(chr(body[0]), body[1:-1])


def read_function_call(body: bytes) -> FunctionCall:
    """A FunctionCall."""
    try:
        (function,) = struct.unpack_from(">I", body)
        formats, position = _formats(body, 4)
        values, offsets, position = _values(body, position)
        (result,) = _COUNT(body, position)
    except struct.error:
        raise ProtocolViolation("FunctionCall ends inside one of its fields") from None
    if position + 2 != len(body):
        raise ProtocolViolation("FunctionCall has bytes too many, or a value of an impossible length")
    return FunctionCall(function, formats, values, offsets, result)


def read_copy_fail(body: bytes) -> bytes:
    """The reason of a CopyFail."""
    return one_text(body, "CopyFail")


def read_password(body: bytes) -> bytes:
    """The secret of a PasswordMessage. Empty is legal here; the log-in refuses it."""
    return one_text(body, "PasswordMessage")


def read_sasl_initial(body: bytes) -> tuple[str, bytes]:
    """Mechanism and first data of a SASLInitialResponse. No data at all (-1) is read as empty."""
    cursor = Cursor(body, "SASLInitialResponse")
    mechanism, length = cursor.cstring("mechanism"), cursor.int32("length")
    data = cursor.take(length, "data") if length != -1 else b""
    cursor.check_end()
    return mechanism.decode("ascii", "backslashreplace"), data


def _formats(body: Any, position: int) -> tuple[tuple[int, ...], int]:
    (count,) = _COUNT(body, position)
    position += 2
    if not count:
        return (), position
    return struct.unpack_from(f">{count}H", body, position), position + 2 * count


def _values(body: Any, position: int) -> tuple[tuple[bytes | None, ...], tuple[int, ...], int]:
    (count,) = _COUNT(body, position)
    position += 2
    values: list[bytes | None] = []
    offsets = []
    for _ in range(count):
        (length,) = _LENGTH(body, position)
        position += 4
        offsets.append(position)
        if length == -1:
            values.append(None)
            continue
        end = position + length
        if length < 0 or end > len(body):
            raise struct.error
        values.append(body[position:end])
        position = end
    return tuple(values), tuple(offsets), position
