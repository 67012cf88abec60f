"""Checked reads over one binary value."""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["Cursor", "Malformed"]


class Malformed(ValueError):
    """The bytes are no value of their type."""


class Cursor:
    """A place in a value's bytes. Every read is checked; :meth:`close` checks that nothing is left.

    :param depth: containers around this value; too many are malformed.
    :param budget: one-element list, shared by all parts of a value: characters that may still be printed.
    """

    def __init__(self, data: bytes, encoding: str, depth: int = 0, budget: list[int] | None = None) -> None:
        if depth > 16:
            raise Malformed("nested too deeply")
        self.data, self.encoding, self.depth, self.pos = data, encoding, depth, 0
        self.budget = [1 << 20] if budget is None else budget

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.data) - self.pos:
            raise Malformed("short")
        self.pos += count
        return self.data[self.pos - count : self.pos]

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.pos)

    def read(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack("!" + layout, self.take(struct.calcsize("!" + layout)))

    def one(self, layout: str) -> Any:
        return self.read(layout)[0]

    def text(self) -> str:
        """Everything that is left, in the session's encoding."""
        return self.rest().decode(self.encoding)

    def inner(self, count: int) -> Cursor:
        return Cursor(self.take(count), self.encoding, self.depth + 1, self.budget)

    def spend(self, text: str) -> str:
        self.budget[0] -= len(text) + 1
        if self.budget[0] < 0:
            raise Malformed("prints too much")
        return text

    def close(self) -> None:
        if self.pos != len(self.data):
            raise Malformed("bytes left over")
