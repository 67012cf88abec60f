"""Arrays, composites, ranges and multiranges: binary format to PostgreSQL's text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from hoopproxy.protocols.postgres.binary.cursor import Cursor, Malformed

__all__ = ["Part", "array", "multirange", "range_of", "record", "vector"]

Part = Callable[[int, Cursor], str]
"""Prints a part of the type with this OID; raises Malformed for one that isn't known."""

_SPACE: Final = r" \t\n\r\v\f"
_ARRAY_SPECIAL: Final = {
    ",": re.compile(rf'[{_SPACE}"\\{{}},]|\A(?i:null)?\Z'),
    ";": re.compile(rf'[{_SPACE}"\\{{}};]|\A(?i:null)?\Z'),
}
_RECORD_SPECIAL: Final = re.compile(rf'[{_SPACE}"\\(),]|\A\Z')
_RANGE_SPECIAL: Final = re.compile(rf'[{_SPACE}"\\()\[\],]|\A\Z')
_BOX: Final = 603


def _part(cursor: Cursor, oid: int, part: Part) -> str | None:
    """A length-prefixed value; None for NULL."""
    length = cursor.one("i")
    if length == -1:
        return None
    inner = cursor.inner(length)
    shown = part(oid, inner)
    inner.close()
    return cursor.spend(shown)


def array(cursor: Cursor, part: Part) -> str:
    """An array of any dimensions; its header names the elements' type."""
    dimensions, _, oid = cursor.read("iiI")
    if not 0 <= dimensions <= 6:
        raise Malformed("dimensions")
    sizes = [cursor.read("ii") for _ in range(dimensions)]
    if not sizes:
        return "{}"
    total = 1
    for size, _ in sizes:
        total *= size
    if min(size for size, _ in sizes) < 1 or total > len(cursor.data) // 4:
        raise Malformed("array size")
    separator = ";" if oid == _BOX else ","
    shown = [_element(_part(cursor, oid, part), separator) for _ in range(total)]
    for size, _ in reversed(sizes):
        shown = [
            "{" + separator.join(shown[start : start + size]) + "}" for start in range(0, len(shown), size)
        ]
    bounds = "".join(f"[{low}:{low + size - 1}]" for size, low in sizes)
    return (f"{bounds}=" if any(low != 1 for _, low in sizes) else "") + shown[0]


def _element(text: str | None, separator: str) -> str:
    if text is None:
        return "NULL"
    if not _ARRAY_SPECIAL[separator].search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def vector(cursor: Cursor, part: Part) -> str:
    """int2vector and oidvector: an array of one dimension, printed with spaces."""
    dimensions, _, oid, size, _ = (*cursor.read("iiI"), *cursor.read("ii"))
    if dimensions != 1 or not 0 <= size <= len(cursor.data) // 4:
        raise Malformed("vector")
    return " ".join(_part(cursor, oid, part) or "" for _ in range(size))


def record(cursor: Cursor, part: Part) -> str:
    """A composite: each field with its type."""
    count = cursor.one("i")
    if not 0 <= count <= len(cursor.data) // 8:
        raise Malformed("fields")
    fields = [_part(cursor, cursor.one("I"), part) for _ in range(count)]
    return "(" + ",".join("" if field is None else _quoted(field, _RECORD_SPECIAL) for field in fields) + ")"


def _quoted(text: str, special: re.Pattern[str]) -> str:
    if not special.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def range_of(cursor: Cursor, oid: int, part: Part) -> str:
    """A range over the type `oid`."""
    flags = cursor.one("B")
    if flags & 0x01:
        return "empty"
    low = None if flags & 0x08 else _part(cursor, oid, part)
    high = None if flags & 0x10 else _part(cursor, oid, part)
    shown = ["" if bound is None else _quoted(bound, _RANGE_SPECIAL) for bound in (low, high)]
    return ("[" if flags & 0x02 else "(") + ",".join(shown) + ("]" if flags & 0x04 else ")")


def multirange(cursor: Cursor, oid: int, part: Part) -> str:
    count = cursor.one("I")
    if count > len(cursor.data) // 4:
        raise Malformed("ranges")
    ranges = [_part(cursor, oid, lambda of, inner: range_of(inner, of, part)) or "" for _ in range(count)]
    return "{" + ",".join(ranges) + "}"
