"""The data types of SSH (RFC 4251 s.5): read with a cursor that checks, and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hoopproxy.errors import ProtocolViolation

__all__ = [
    "Malformed",
    "Reader",
    "adjusted",
    "boolean",
    "framed",
    "mpint",
    "name_list",
    "packet",
    "string",
    "uint32",
    "uint64",
]

NAMES_MAX = 1_000
"""Names of one list: the longest real one has some dozens."""


class Malformed(ProtocolViolation):
    """A field is not there, is longer than its message, or is not what its type says."""


class Reader:
    """Reads fields of a payload, one after the other. Each raises :class:`Malformed` where it doesn't fit.

    :param at: where to begin: 1 skips the message's number.
    """

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def take(self, size: int) -> bytes:
        """So many bytes."""
        start, end = self.at, self.at + size
        if end > len(self.data):
            raise Malformed(f"a field of {size} bytes is longer than what is left of its message")
        self.at = end
        return self.data[start:end]

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def boolean(self) -> bool:
        """A byte that is not zero."""
        return self.take(1) != b"\0"

    def uint32(self) -> int:
        """Four bytes, big-endian."""
        return int.from_bytes(self.take(4), "big")

    def uint64(self) -> int:
        """Eight bytes, big-endian."""
        return int.from_bytes(self.take(8), "big")

    def string(self) -> bytes:
        """Bytes with their length before them."""
        return self.take(self.uint32())

    def text(self) -> str:
        """A string that must be UTF-8."""
        try:
            return self.string().decode()
        except UnicodeDecodeError:
            raise Malformed("a text is not UTF-8") from None

    def name(self) -> str:
        """A string that must be printable ASCII: a name of the protocol."""
        value = self.string()
        if not value.isascii() or not value.decode("ascii").isprintable():
            raise Malformed("a name is not printable ASCII")
        return value.decode("ascii")

    def name_list(self) -> tuple[str, ...]:
        """Names with commas between them."""
        value = self.name()
        names = tuple(value.split(",")) if value else ()
        if len(names) > NAMES_MAX:
            raise Malformed(f"a list of over {NAMES_MAX} names")
        return names

    def mpint(self) -> int:
        """An integer of any size, in two's complement."""
        return int.from_bytes(self.string(), "big", signed=True)

    @property
    def left(self) -> int:
        """Bytes that were not read."""
        return len(self.data) - self.at

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise Malformed(f"{self.left} bytes follow the end of a message")


def uint32(value: int) -> bytes:
    """Four bytes, big-endian."""
    return value.to_bytes(4, "big")


def uint64(value: int) -> bytes:
    """Eight bytes, big-endian."""
    return value.to_bytes(8, "big")


def boolean(value: bool) -> bytes:
    """One byte."""
    return b"\1" if value else b"\0"


def string(value: bytes | str) -> bytes:
    """Bytes, or a text in UTF-8, with their length before them."""
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(4, "big") + data


def name_list(names: Iterable[str]) -> bytes:
    """Names with commas between them."""
    return string(",".join(names))


def mpint(value: int) -> bytes:
    """An integer of any size, in two's complement, as short as can be."""
    if not value:
        return uint32(0)
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def packet(number: int, *parts: bytes) -> bytes:
    """A message's payload."""
    return bytes((number,)) + b"".join(parts)


def framed(payloads: Sequence[bytes] | bytes) -> bytes:
    """Payloads as a stream has them: each with its length before it."""
    if isinstance(payloads, bytes):
        return len(payloads).to_bytes(4, "big") + payloads
    return b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)


def adjusted(number: int, more: int) -> bytes:
    """CHANNEL_WINDOW_ADJUST: more room in a channel."""
    return packet(93, uint32(number), uint32(more))
