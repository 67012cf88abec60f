"""A cursor over one message's payload: checked reads, and a check that nothing is left."""

from __future__ import annotations

import struct

from hoopproxy.errors import ProtocolViolation

__all__ = ["Cursor"]

_U16 = struct.Struct(">H")
_I32 = struct.Struct(">i")
_U32 = struct.Struct(">I")


class Cursor:
    """Reads big-endian fields from ``data``. Every read is checked against the end.

    :param what: names the message in the error.
    :raises ProtocolViolation: from every read that the payload can't serve.
    """

    __slots__ = ("_what", "data", "position")

    def __init__(self, data: bytes, what: str) -> None:
        self.data, self._what, self.position = data, what, 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def short(self, field: str) -> ProtocolViolation:
        """The error for a payload that ends inside ``field``."""
        return ProtocolViolation(f"{self._what} ends inside its {field}")

    def _fixed(self, layout: struct.Struct, field: str) -> int:
        try:
            (value,) = layout.unpack_from(self.data, self.position)
        except struct.error:
            raise self.short(field) from None
        self.position += layout.size
        return int(value)

    def uint16(self, field: str) -> int:
        """An unsigned 16-bit integer."""
        return self._fixed(_U16, field)

    def int32(self, field: str) -> int:
        """A signed 32-bit integer."""
        return self._fixed(_I32, field)

    def uint32(self, field: str) -> int:
        """An unsigned 32-bit integer."""
        return self._fixed(_U32, field)

    def byte(self, field: str) -> int:
        """One byte."""
        if self.position >= len(self.data):
            raise self.short(field)
        value = self.data[self.position]
        self.position += 1
        return value

    def take(self, length: int, field: str) -> bytes:
        """Exactly ``length`` bytes; a negative length is an error."""
        end = self.position + length
        if length < 0 or end > len(self.data):
            raise self.short(field)
        value = self.data[self.position : end]
        self.position = end
        return value

    def cstring(self, field: str) -> bytes:
        """The bytes up to the next NUL, which is consumed and not returned."""
        end = self.data.find(b"\0", self.position)
        if end < 0:
            raise self.short(field)
        value = self.data[self.position : end]
        self.position = end + 1
        return value

    def rest(self) -> bytes:
        """Everything that is left."""
        value = self.data[self.position :]
        self.position = len(self.data)
        return value

    def check_end(self) -> None:
        """Raise unless everything was read."""
        if self.position != len(self.data):
            raise ProtocolViolation(f"{self._what} has {self.left} bytes too many")
