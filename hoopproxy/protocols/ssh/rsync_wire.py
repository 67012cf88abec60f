"""rsync's integers and its multiplexed stream, pulled by a reader that may be left at any byte (rsync's io.c)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

__all__ = [
    "WAIT",
    "Indexes",
    "Lost",
    "Pull",
    "Reading",
    "byte",
    "int32",
    "text",
    "varint",
    "varlong",
    "vstring",
]

Pull = Generator[int, bytes, None]
"""A reader: yields how many bytes it wants and is sent them, or :data:`WAIT`."""

WAIT: Final = -1
"""Nothing more can be read before the other side has said something."""

_HELD: Final = 1 << 20
"""Bytes that are held meanwhile. Both sides wait for each other, so that there is nothing, or next to it."""

_LONGEST: Final = 1 << 20
"""Bytes of one read: a literal has 32 KiB at most, a name 4 KiB."""

_EXTRA: Final = (0,) * 32 + (1,) * 16 + (2,) * 8 + (3,) * 4 + (4,) * 2 + (5, 6)
"""Bytes that follow a variable-length integer's first, by its upper six bits."""

_DATA, _DELETED = 7, 108
"""Tags of the multiplexed stream: what the protocol says, and a name that was deleted."""


class Lost(Exception):
    """The stream says something that this reader has no meaning for; its text is for the trail."""


class Reading:
    """One direction: raw bytes in, what the reader wants out.

    :ivar muxed: from here on the stream is in frames (set by the reader, between two of its fields).
    :ivar deleted: names that a frame of their own said were deleted, the first 500. :ivar done: the reader ended.
    """

    def __init__(self, pull: Pull) -> None:
        self._pull, self._raw, self._part = pull, bytearray(), bytearray()
        self._at = self._left = self._skip = 0
        self._name: bytearray | None = None
        self.muxed = self.done = False
        self.deleted: list[bytes] = []
        self._want = WAIT
        self._begun = False

    def feed(self, data: bytes) -> None:
        """Take bytes; :meth:`run` reads them."""
        if not self.done:
            self._raw += data

    def run(self) -> bool:
        """Read on as far as there is something; whether anything was read. :raises Lost: from the reader, too."""
        moved = False
        while not self.done:
            data = b"" if self._want == WAIT else self._taken(self._want)
            if data is None:
                break
            try:
                want = self._pull.send(data) if self._begun else next(self._pull)
            except StopIteration:
                self.done = True
                break
            self._begun = True
            if want > _LONGEST:
                raise Lost(f"a field of {want} bytes")
            if want == WAIT and self._want == WAIT:
                break
            moved, self._want = True, want
            if want == WAIT:
                break
        del self._raw[: self._at]
        self._at = 0
        if self.done:
            self._raw.clear()
        elif len(self._raw) > _HELD:
            raise Lost("one side did not wait for the other")
        return moved

    def _taken(self, want: int) -> bytes | None:
        raw, part = self._raw, self._part
        while len(part) < want:
            here = len(raw) - self._at
            if self.muxed and not self._left:
                if not self._framed(here):
                    return None
                continue
            size = min(want - len(part), here, self._left if self.muxed else here)
            if not size:
                return None
            part += raw[self._at : self._at + size]
            self._at += size
            self._left -= size if self.muxed else 0
        data = bytes(part)
        part.clear()
        return data

    def _framed(self, here: int) -> bool:
        """Find the next frame of data; whether anything was found on the way to it."""
        if self._skip:
            size = min(self._skip, here)
            if self._name is not None and len(self._name) < 4096:
                self._name += self._raw[self._at : self._at + size]
            self._at += size
            self._skip -= size
            if not self._skip and self._name is not None:
                if len(self.deleted) < 500:
                    self.deleted.append(bytes(self._name).rstrip(b"\0"))
                self._name = None
            return size > 0
        if here < 4:
            return False
        size = int.from_bytes(self._raw[self._at : self._at + 3], "little")
        tag = self._raw[self._at + 3]
        self._at += 4
        if tag < _DATA:
            raise Lost("a frame has no tag")
        if tag == _DATA:
            self._left = size
        else:
            self._skip = size
            self._name = bytearray() if tag == _DELETED and size else None
        return True


class Indexes:
    """File indexes, which are told by their differences (read_ndx)."""

    def __init__(self) -> None:
        self._last = {True: -1, False: 1}

    def read(self) -> Generator[int, bytes, int]:
        """The next."""
        first = yield from byte()
        if first == 0:
            return -1
        positive = first != 0xFF
        if not positive:
            first = yield from byte()
        if first == 0xFE:
            two = yield 2
            if two[0] & 0x80:
                rest = yield 2
                number = int.from_bytes(bytes((two[1], *rest, two[0] & 0x7F)), "little")
            else:
                number = int.from_bytes(two, "big") + self._last[positive]
        else:
            number = first + self._last[positive]
        self._last[positive] = number
        return number if positive else -number


def byte() -> Generator[int, bytes, int]:
    """One byte."""
    return (yield 1)[0]


def int32() -> Generator[int, bytes, int]:
    """Four bytes, little-endian, signed."""
    return int.from_bytes((yield 4), "little", signed=True)


def varint() -> Generator[int, bytes, int]:
    """A variable-length integer of up to 32 bits (read_varint)."""
    first = yield from byte()
    extra = _EXTRA[first >> 2]
    if not extra:
        return first
    if extra > 4:
        raise Lost("an integer of over 32 bits")
    rest = yield extra
    high = first & ((1 << (8 - extra)) - 1)
    return int.from_bytes(rest + bytes((high,)), "little") & 0xFFFFFFFF


def varlong(least: int) -> Generator[int, bytes, int]:
    """A variable-length integer of up to 64 bits, of ``least`` bytes or more (read_varlong)."""
    head = yield least
    first = head[0]
    extra = _EXTRA[first >> 2]
    rest = (yield extra) if extra else b""
    if least + extra > 9:
        raise Lost("an integer of over 64 bits")
    high = first & ((1 << (8 - extra)) - 1) if extra else first
    return int.from_bytes(head[1:] + rest + bytes((high,)), "little")


def text(size: int) -> Generator[int, bytes, bytes]:
    """So many bytes; none are asked for when it is none."""
    return (yield size) if size else b""


def vstring() -> Generator[int, bytes, bytes]:
    """A string of up to 32,767 bytes behind its length (read_vstring)."""
    size = yield from byte()
    if size & 0x80:
        size = (size & 0x7F) << 8 | (yield from byte())
    return (yield from text(size))
