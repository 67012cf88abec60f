"""Scalar types other than dates and times: binary format to PostgreSQL's text."""

from __future__ import annotations

import math
import struct
import uuid as uuids
from collections.abc import Callable
from fractions import Fraction

from hoopproxy.protocols.postgres.binary.cursor import Cursor, Malformed

__all__ = [
    "bits",
    "boolean",
    "box",
    "byte_char",
    "bytea",
    "circle",
    "float4",
    "float8",
    "integer",
    "jsonb",
    "line",
    "lseg",
    "lsn",
    "macaddr",
    "network",
    "numeric",
    "path",
    "point",
    "polygon",
    "text",
    "tid",
    "tsvector",
    "uuid",
    "void",
]  # fmt: skip


def boolean(cursor: Cursor) -> str:
    return "t" if cursor.one("B") else "f"


def integer(layout: str) -> Callable[[Cursor], str]:
    """A reader of one integer of `struct` type `layout`."""
    return lambda cursor: str(cursor.one(layout))


def text(cursor: Cursor) -> str:
    return cursor.text()


def void(cursor: Cursor) -> str:
    return ""


def byte_char(cursor: Cursor) -> str:
    """The one-byte type ``"char"``; a byte over 127 as PostgreSQL 16 prints it."""
    byte: int = cursor.one("B")
    return "" if not byte else chr(byte) if byte < 0x80 else f"\\{byte:03o}"


def bytea(cursor: Cursor) -> str:
    return "\\x" + cursor.rest().hex()


def jsonb(cursor: Cursor) -> str:
    """jsonb and jsonpath: a version byte (1), then the text."""
    if cursor.one("B") != 1:
        raise Malformed("unknown version")
    return cursor.text()


def float8(cursor: Cursor) -> str:
    return _shortest(
        cursor.one("d"), lambda text: float(text), 15, lambda value, way: math.nextafter(value, way)
    )


def float4(cursor: Cursor) -> str:
    return _shortest(cursor.one("f"), _single, 6, _next_single)


def _single(text: str) -> float:
    try:
        return float(struct.unpack("!f", struct.pack("!f", float(text)))[0])
    except OverflowError:
        return math.inf


def _next_single(value: float, way: float) -> float:
    number = struct.unpack("!i", struct.pack("!f", value))[0]
    if value == 0:
        return math.copysign(1.401298464324817e-45, way)
    number += 1 if (way > value) == (value > 0) else -1
    return float(struct.unpack("!f", struct.pack("!i", number))[0])


def _shortest(
    value: float, parse: Callable[[str], float], digits: int, neighbour: Callable[[float, float], float]
) -> str:
    """The shortest decimal that reads back as `value` and isn't halfway to its neighbour, as PostgreSQL's."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    number, scale = _decimal(abs(value), parse, neighbour)
    sign, figures = "-" if value < 0 else "", str(number)
    power = scale + len(figures) - 1
    figures = figures.rstrip("0")
    if not -4 <= power < digits:
        point = f".{figures[1:]}" if len(figures) > 1 else ""
        return f"{sign}{figures[0]}{point}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{figures}"
    whole, part = figures[: power + 1].ljust(power + 1, "0"), figures[power + 1 :]
    return f"{sign}{whole}.{part}" if part else sign + whole


def _decimal(
    value: float, parse: Callable[[str], float], neighbour: Callable[[float, float], float]
) -> tuple[int, int]:
    """The shortest ``number * 10 ** scale`` for a positive value."""
    for precision in range(17):
        mantissa, _, exponent = f"{value:.{precision}e}".partition("e")
        nearest, scale = int(mantissa.replace(".", "")), int(exponent) - precision
        # Beside a power of two the nearest decimal may not read back while the next one does.
        for number in (nearest, nearest + 1, nearest - 1):
            text = f"{number}e{scale}"
            if parse(text) == value and not _halfway(text, value, neighbour):
                return number, scale
    return nearest, scale


def _halfway(text: str, value: float, neighbour: Callable[[float, float], float]) -> bool:
    exact = Fraction(value)
    printed = Fraction(text)
    if printed == exact:
        return False
    other = neighbour(value, math.inf if printed > exact else -math.inf)
    return math.isfinite(other) and 2 * printed == exact + Fraction(other)


def numeric(cursor: Cursor) -> str:
    count, weight, sign, scale = cursor.read("hhHH")
    special = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}.get(sign)
    if special is not None:
        cursor.take(2 * max(count, 0))
        return special
    if sign not in (0, 0x4000) or count < 0 or scale > 0x3FFF:
        raise Malformed("numeric")
    digits = cursor.read(f"{count}h")
    if any(not 0 <= digit < 10000 for digit in digits):
        raise Malformed("numeric digit")
    if (max(weight, 0) + scale) * 4 > cursor.budget[0]:
        raise Malformed("prints too much")
    whole = "".join(f"{digits[i] if i < count else 0:04d}" for i in range(weight + 1)).lstrip("0") or "0"
    lead = "0000" * max(0, -weight - 1) if count else ""
    part = (lead + "".join(f"{digit:04d}" for digit in digits[max(weight + 1, 0) :]))[:scale].ljust(
        scale, "0"
    )
    return ("-" if sign else "") + whole + (f".{part}" if scale else "")


def bits(cursor: Cursor) -> str:
    count = cursor.one("i")
    raw = cursor.take((count + 7) // 8 if count >= 0 else -1)
    return "".join(f"{byte:08b}" for byte in raw)[:count]


def uuid(cursor: Cursor) -> str:
    return str(uuids.UUID(bytes=cursor.take(16)))


def macaddr(cursor: Cursor) -> str:
    if len(cursor.data) not in (6, 8):
        raise Malformed("macaddr")
    return ":".join(f"{byte:02x}" for byte in cursor.rest())


def network(cursor: Cursor) -> str:
    """inet and cidr."""
    family, width, is_cidr, count = cursor.read("BBBB")
    size = {2: 4, 3: 16}.get(family)
    if size is None or count != size or width > size * 8 or is_cidr > 1:
        raise Malformed("inet")
    raw = cursor.take(size)
    address = ".".join(map(str, raw)) if size == 4 else _ipv6(raw)
    return address if width == size * 8 and not is_cidr else f"{address}/{width}"


def _ipv6(raw: bytes) -> str:
    words = struct.unpack("!8H", raw)
    best, length = 0, 0
    for start in range(8):
        end = start
        while end < 8 and words[end] == 0:
            end += 1
        if end - start > length:
            best, length = start, end - start
    shown = [f"{word:x}" for word in words]
    if length >= 2 and best == 0 and (length == 6 or (length == 5 and words[5] == 0xFFFF)):
        shown[6:] = [".".join(map(str, raw[12:]))]
    if length < 2:
        return ":".join(shown)
    return ":".join(shown[:best]) + "::" + ":".join(shown[best + length :])


def tid(cursor: Cursor) -> str:
    block, offset = cursor.read("IH")
    return f"({block},{offset})"


def lsn(cursor: Cursor) -> str:
    high, low = cursor.read("II")
    return f"{high:X}/{low:X}"


def point(cursor: Cursor) -> str:
    return f"({float8(cursor)},{float8(cursor)})"


def _points(cursor: Cursor, count: int) -> str:
    if count < 0 or count * 16 > len(cursor.data):
        raise Malformed("points")
    return ",".join(point(cursor) for _ in range(count))


def lseg(cursor: Cursor) -> str:
    return f"[{_points(cursor, 2)}]"


def box(cursor: Cursor) -> str:
    return _points(cursor, 2)


def path(cursor: Cursor) -> str:
    closed, count = cursor.read("bi")
    points = _points(cursor, count)
    return f"({points})" if closed else f"[{points}]"


def polygon(cursor: Cursor) -> str:
    return f"({_points(cursor, cursor.one('i'))})"


def circle(cursor: Cursor) -> str:
    return f"<{point(cursor)},{float8(cursor)}>"


def line(cursor: Cursor) -> str:
    return "{" + ",".join(float8(cursor) for _ in range(3)) + "}"


def tsvector(cursor: Cursor) -> str:
    count = cursor.one("i")
    if not 0 <= count <= len(cursor.data):
        raise Malformed("tsvector")
    return " ".join(_lexeme(cursor) for _ in range(count))


def _lexeme(cursor: Cursor) -> str:
    end = cursor.data.find(b"\0", cursor.pos)
    word = cursor.take(end - cursor.pos if end >= 0 else -1).decode(cursor.encoding)
    cursor.take(1)
    places = cursor.read(f"{cursor.one('H')}H")
    shown = ",".join(f"{place & 0x3FFF}{('', 'C', 'B', 'A')[place >> 14]}" for place in places)
    quoted = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}'" + (f":{shown}" if shown else "")
