"""git's pkt-lines in a stream that comes in pieces (gitprotocol-common): their heads, and how long they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

__all__ = ["DELIMITER", "END", "FLUSH", "KEPT", "Pkt", "PktLines"]

FLUSH, DELIMITER, END = 0, 1, 2

_HEXADECIMAL: Final = b"0123456789abcdefABCDEF"

KEPT: Final = 4096
"""Bytes of a pkt-line that are read. Ref names are shorter; of a pack's pieces nothing is read."""


class Pkt(NamedTuple):
    """One pkt-line, or the raw bytes behind them.

    :ivar special: ``FLUSH``, ``DELIMITER`` or ``END``; -1 for a line. :ivar head: the first :data:`KEPT` bytes of it.
    :ivar size: all its bytes, without its length.
    """

    special: int
    head: bytes
    size: int


class PktLines:
    """Feed it; it keeps a head of each line and counts the rest.

    :param packed: is told the stretches of fed data that are of a pack or an archive: start and end.
    :param banded: band 1 of a side band carries them.
    :ivar raw: bytes that came after the lines (a pack without a side band): from there on nothing is a line.
    :ivar lost: a length was none.
    """

    __slots__ = ("_banded", "_head", "_left", "_length", "_packed", "_size", "lost", "raw", "tap")

    def __init__(self, packed: Callable[[int, int], object] | None = None, banded: bool = False) -> None:
        self._packed, self._banded = packed, banded
        self._length, self._head = bytearray(), bytearray()
        self._left = self._size = 0
        self.raw = 0
        self.lost = False
        self.tap: bytearray | None = None
        """When set, what band 1 of a side band carried is put here, for who reads lines in it."""

    def feed(self, data: bytes | bytearray) -> Iterator[Pkt]:
        """The lines that are complete now."""
        position, stop, packed = 0, len(data), self._packed
        while position < stop and not self.lost:
            if self.raw:
                self.raw += stop - position
                if packed is not None:
                    packed(position, stop)
                return
            if self._left:
                end = min(stop, position + self._left)
                self._keep(data, position, end)
                self._left -= end - position
                position = end
                if not self._left:
                    yield Pkt(-1, bytes(self._head), self._size)
                continue
            end = min(stop, position + 4 - len(self._length))
            self._length += data[position:end]
            position = end
            if len(self._length) == 4:
                yield from self._begun()
        if self.lost and packed is not None and position < stop:  # it may be anything
            packed(position, stop)

    def _keep(self, data: bytes | bytearray, start: int, end: int) -> None:
        tap, packed = self.tap, self._packed if self._banded else None
        if (tap is not None or packed is not None) and (self._head[:1] or data[start : start + 1]) == b"\x01":
            begin = start if self._head else start + 1
            if tap is not None:
                tap += data[begin:end]
            if packed is not None and begin < end:
                packed(begin, end)
        room = KEPT - len(self._head)
        if room > 0:
            self._head += data[start : min(end, start + room)]

    def _begun(self) -> Iterator[Pkt]:
        text, self._length = bytes(self._length), bytearray()
        if text == b"PACK":
            self.raw = 4
            return
        try:
            length = int(text, 16) if not text.strip(_HEXADECIMAL) else -1
        except ValueError:
            length = -1
        if length in (FLUSH, DELIMITER, END):
            yield Pkt(length, b"", 0)
        elif length < 4:
            self.lost = True
        else:
            self._left = self._size = length - 4
            self._head = bytearray()
            if length == 4:
                yield Pkt(-1, b"", 0)
