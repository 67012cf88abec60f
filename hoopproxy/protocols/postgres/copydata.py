"""COPY data for people: lines of the text and csv formats, and rows of the binary one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from hoopproxy.inert import inert
from hoopproxy.protocols.postgres.rows import messages, shown
from hoopproxy.protocols.postgres.types import codec, decode

__all__ = ["copy_data", "copy_lines"]

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
LIMIT: Final = 65_536
"""Bytes of a line or field that are shown."""
_CUT_OFF: Final = "(the recorded bytes end here)"


def copy_data(source: bytes | Iterable[bytes]) -> Iterator[bytes]:
    """The contents of the CopyData messages in `source`; other messages are passed over."""
    return (body for kind, body in messages(source) if kind == b"d")


def copy_lines(
    data: Iterable[bytes], format: str = "text", *, encoding: str = "UTF8", oids: tuple[int, ...] = ()
) -> Iterator[str]:
    """COPY data (contents of CopyData messages, cut anywhere) as inert lines.

    A csv field with a newline takes several lines. A line longer than 64 KiB is cut, its size told.

    :param format: ``text``, ``csv`` or ``binary``; fields of the last are shown with tabs between them.
    :param oids: the columns' types, for ``binary``; without them fields are shown in hex.
    """
    if format == "binary":
        return _binary(_Feed(data), encoding, oids)
    return _lines(data, codec(encoding))


def _lines(data: Iterable[bytes], name: str) -> Iterator[str]:
    kept, size, ended = bytearray(), 0, True
    for chunk in data:
        start = 0
        while start < len(chunk):
            end = chunk.find(b"\n", start)
            stop = end if end >= 0 else len(chunk)
            kept += chunk[start : min(stop, start + LIMIT - len(kept))]
            size += stop - start
            ended = end >= 0
            if ended:
                yield _line(bytes(kept), size, name)
                kept, size = bytearray(), 0
            start = stop + 1 if ended else stop
    if not ended:
        yield _line(bytes(kept), size, name)


def _line(kept: bytes, size: int, name: str) -> str:
    text = inert(kept.removesuffix(b"\r").decode(name, "backslashreplace"), keep="\t")
    return text if size <= LIMIT else f"{text}… ({size} bytes)"


class _Feed:
    """Bytes out of chunks that are cut anywhere."""

    def __init__(self, data: Iterable[bytes]) -> None:
        self._data, self._chunk, self._pos = iter(data), b"", 0

    def take(self, count: int, keep: int | None = None) -> bytes | None:
        """The next `count` bytes, the first `keep` of them if they are many; None if they aren't there."""
        keep = count if keep is None else keep
        kept = bytearray()
        while count:
            if self._pos >= len(self._chunk):
                chunk = next(self._data, None)
                if chunk is None:
                    return None
                self._chunk, self._pos = chunk, 0
                continue
            piece = self._chunk[self._pos : self._pos + count]
            self._pos += len(piece)
            count -= len(piece)
            kept += piece[: max(0, keep - len(kept))]
        return bytes(kept)

    def integer(self, size: int) -> int | None:
        raw = self.take(size)
        return None if raw is None else int.from_bytes(raw, "big", signed=True)


def _binary(feed: _Feed, encoding: str, oids: tuple[int, ...]) -> Iterator[str]:
    signature, _, extension = feed.take(len(_SIGNATURE)), feed.integer(4), feed.integer(4)
    if signature != _SIGNATURE or extension is None or extension < 0 or feed.take(extension, 0) is None:
        yield "(this is no binary COPY data)"
        return
    while (count := feed.integer(2)) is not None:
        if count < 0:
            return
        fields = _fields(feed, count, encoding, oids)
        if fields is None:
            break
        yield "\t".join(fields)
    yield _CUT_OFF


def _fields(feed: _Feed, count: int, encoding: str, oids: tuple[int, ...]) -> list[str] | None:
    fields: list[str] = []
    for number in range(count):
        size = feed.integer(4)
        raw = None if size is None or size < 0 else feed.take(size, LIMIT)
        if size is None or size < -1 or (raw is None and size >= 0):
            return None
        value = decode(oids[number] if number < len(oids) else 0, 1, raw, encoding)
        fields.append(shown(value, "\\N") + (f"… ({size} bytes)" if size > LIMIT else ""))
    return fields
