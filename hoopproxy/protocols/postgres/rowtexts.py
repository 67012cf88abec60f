"""The texts in the bytes of a result, for the search index: rows and COPY data, without knowing their types.

A value in text format is what psql would show. One in binary format counts if it happens to be text (``text``,
``varchar``, ``json``, ``name``, ... are the same in both formats); numbers and times in binary are not.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["row_texts"]

_HEADER: Final = struct.Struct(">Bi")
_COUNT: Final = struct.Struct(">H")
_LENGTH: Final = struct.Struct(">i")
_DATA_ROW, _COPY_DATA = ord("D"), ord("d")
_UNTEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def row_texts(data: bytes) -> Iterator[str]:
    """Each value that is text.

    :param data: whole messages of a target, from the first of a result on; what is cut or isn't one ends it.
    """
    at, end = 0, len(data)
    while at + _HEADER.size <= end:
        kind, length = _HEADER.unpack_from(data, at)
        after = at + 1 + length
        if length < 4 or after > end:
            return
        if kind == _DATA_ROW:
            yield from _values(data, at + _HEADER.size, after)
        elif kind == _COPY_DATA:
            yield from _text(data[at + _HEADER.size : after])
        at = after


def _values(data: bytes, at: int, end: int) -> Iterator[str]:
    if at + _COUNT.size > end:
        return
    (count,) = _COUNT.unpack_from(data, at)
    at += _COUNT.size
    for _ in range(count):
        if at + _LENGTH.size > end:
            return
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length > 0:
            if at + length > end:
                return
            yield from _text(data[at : at + length])
            at += length


def _text(value: bytes) -> Iterator[str]:
    if _UNTEXT.search(value) is None:
        yield value.decode("utf-8", "replace")
