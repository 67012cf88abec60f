"""Values as the trail shows them: what PostgreSQL would print, from the text or the binary format.

Everything is text, so that it is exact; NULL is null. Settings assumed: DateStyle ISO, IntervalStyle
postgres, extra_float_digits 1, bytea hex, TimeZone UTC. What can't be decoded is shown in hex with its type.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from hoopproxy.protocols.postgres.binary import containers, scalars, times
from hoopproxy.protocols.postgres.binary.cursor import Cursor, Malformed

__all__ = ["LIMIT", "Value", "codec", "decode"]

Value = str | None | dict[str, str | int]

LIMIT: Final = 65_536
"""Bytes of a value that are shown whole; of a longer one its digest and its beginning."""
_HEAD: Final = 256
"""Bytes of a long value that are shown."""

_Reader = Callable[[Cursor], str]

_SCALARS: Final[dict[int, _Reader]] = {
    16: scalars.boolean, 17: scalars.bytea, 18: scalars.byte_char, 19: scalars.text,
    20: scalars.integer("q"), 21: scalars.integer("h"), 23: scalars.integer("i"), 25: scalars.text,
    26: scalars.integer("I"), 27: scalars.tid, 28: scalars.integer("I"), 29: scalars.integer("I"),
    114: scalars.text, 142: scalars.text, 600: scalars.point, 601: scalars.lseg, 602: scalars.path,
    603: scalars.box, 604: scalars.polygon, 628: scalars.line, 650: scalars.network, 700: scalars.float4,
    701: scalars.float8, 705: scalars.text, 718: scalars.circle, 774: scalars.macaddr,
    790: scalars.integer("q"), 829: scalars.macaddr, 869: scalars.network, 1042: scalars.text,
    1043: scalars.text, 1082: times.date, 1083: times.time, 1114: times.timestamp, 1184: times.timestamptz,
    1186: times.interval, 1266: times.timetz, 1560: scalars.bits, 1562: scalars.bits, 1700: scalars.numeric,
    1790: scalars.text, 2275: scalars.text, 2278: scalars.void, 2950: scalars.uuid, 3220: scalars.lsn,
    3614: scalars.tsvector, 3802: scalars.jsonb, 4072: scalars.jsonb, 5069: scalars.integer("Q"),
}  # fmt: skip
_INTEGERS: Final = {20: 8, 21: 2, 23: 4}
_RANGES: Final = {3904: 23, 3906: 1700, 3908: 1114, 3910: 1184, 3912: 1082, 3926: 20}
_MULTIRANGES: Final = {4451: 23, 4532: 1700, 4533: 1114, 4534: 1184, 4535: 1082, 4536: 20}
_ARRAYS: Final = frozenset((
    143, 199, 271, 629, 651, 719, 775, 791, 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1010, 1011, 1012,
    1013, 1014, 1015, 1016, 1017, 1018, 1019, 1020, 1021, 1022, 1027, 1028, 1040, 1041, 1115, 1182, 1183,
    1185, 1187, 1231, 1270, 1561, 1563, 2201, 2287, 2951, 3221, 3643, 3807, 3905, 3907, 3909, 3911, 3913,
    3927, 4073, 6150, 6151, 6152, 6153, 6155, 6157,
))  # fmt: skip
_VECTORS: Final = (22, 30)
_RECORD: Final = 2249
_TEXTUAL: Final = frozenset((19, 25, 114, 142, 705, 1042, 1043, 1790, 2275))
_CODECS: Final = {
    "unicode": "utf-8", "sqlascii": "utf-8", "euccn": "gb2312", "euctw": "big5",
    "eucjis2004": "euc_jis_2004", "koi8": "koi8_r", "koi8r": "koi8_r", "koi8u": "koi8_u", "alt": "cp866",
    "win": "cp1251", "sjis": "cp932", "shiftjis2004": "shift_jis_2004", "uhc": "cp949",
    "latin6": "iso8859-10", "latin7": "iso8859-13", "latin8": "iso8859-14", "latin9": "iso8859-15",
    "latin10": "iso8859-16", "latin5": "iso8859-9",
}  # fmt: skip


@lru_cache(maxsize=256)
def codec(name: str) -> str:
    """Python's codec for a ``client_encoding``. An unknown one reads as ASCII: the rest comes as b64."""
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    if plain.startswith("win") and plain[3:].isdigit():
        plain = "cp" + plain[3:]
    for candidate in (_CODECS.get(plain, plain), name):
        try:
            found = codecs.lookup(candidate)
        except (LookupError, ValueError):
            continue
        if getattr(found, "_is_text_encoding", True):
            return found.name
    return "ascii"


def decode(oid: int, format: int, data: bytes | None, encoding: str = "UTF8", *, limit: int = LIMIT) -> Value:
    """A parameter's or column's value, safe for JSON. Never raises, drops nothing that is within `limit`.

    :param oid: of the type; 0 where it isn't known.
    :param format: 0 is text, 1 is binary.
    :param encoding: the session's ``client_encoding``.
    :param limit: bytes; of a longer value ``{"sha256", "bytes", "head"}``.
    :returns: text; None for NULL; ``{"b64"}`` for text that is invalid in its encoding; ``{"hex", "oid"}``
        for bytes that aren't understood.
    """
    if data is None:
        return None
    if format == 1 and _INTEGERS.get(oid) == len(data):  # most parameters
        return str(int.from_bytes(data, "big", signed=True))
    data, name = bytes(data), codec(encoding)
    if len(data) > limit:
        shown = data[: min(_HEAD, limit)]
        readable = format == 0 or oid in _TEXTUAL
        head = shown.decode(name, "backslashreplace") if readable else "\\x" + shown.hex()
        return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "head": _safe(head)}
    if format == 0:
        return _text(data, name)
    try:
        if format != 1:
            raise Malformed("format")
        cursor = Cursor(data, name, budget=[16 * limit + 1024])
        shown_text = cursor.spend(_part(oid, cursor))
        cursor.close()
        shown_text.encode()  # no lone surrogates
        return shown_text
    except UnicodeError:
        return _text(data, name) if oid in _TEXTUAL else {"hex": data.hex(), "oid": oid}
    except Malformed:
        return {"hex": data.hex(), "oid": oid}


def _text(data: bytes, name: str) -> Value:
    try:
        text = data.decode(name)
        text.encode()
    except UnicodeError:
        return {"b64": base64.b64encode(data).decode()}
    return text


def _safe(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _part(oid: int, cursor: Cursor) -> str:
    """Print the value under `cursor` as one of type `oid`; for containers, of their parts too."""
    reader = _SCALARS.get(oid)
    if reader is not None:
        return reader(cursor)
    if oid in _ARRAYS:
        return containers.array(cursor, _part)
    if oid in _VECTORS:
        return containers.vector(cursor, _part)
    if oid == _RECORD:
        return containers.record(cursor, _part)
    if oid in _RANGES:
        return containers.range_of(cursor, _RANGES[oid], _part)
    if oid in _MULTIRANGES:
        return containers.multirange(cursor, _MULTIRANGES[oid], _part)
    raise Malformed("unknown type")
