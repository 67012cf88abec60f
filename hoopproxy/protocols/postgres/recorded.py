"""Recorded chunks of one direction back to messages: in bounded memory, with what was redacted told apart.

The writer's codecs judged every length when the bytes passed; here nothing is judged. What can't be read is
skipped to where the next result is known to begin, and told as unreadable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from hoopproxy.protocols.postgres.codec import GSSENC_REQUEST, SSL_REQUEST, STARTUP
from hoopproxy.protocols.postgres.types import LIMIT, Value, codec, decode

__all__ = ["Column", "LongRow", "Message", "Recorded", "row_values"]

WHOLE: Final = 1 << 20
"""Bytes of a message that is given in one piece; of a longer one rows and COPY data come in pieces."""

KEPT: Final = 16 << 20
"""Bytes that are kept of any other message."""

_HEADER: Final = 5
_DATA_ROW, _COPY_DATA = ord("D"), ord("d")
_HEAD: Final = 256
_REASONS_KEPT: Final = 10_000  # redactions ahead of the reader, of one direction

Column = tuple[int, int]
"""Type (OID) and format of a result's column."""


class Message(NamedTuple):
    """A message, or the next piece of one. ``hidden`` are its redacted stretches, in offsets of the stream.

    :ivar body: without the header. :ivar at: the stream offset of ``body``. :ivar first: its first piece.
    :ivar last: its last one.
    """

    kind: int
    start: int
    end: int
    body: bytes
    at: int
    first: bool = True
    last: bool = True
    hidden: tuple[tuple[int, int], ...] = ()


class Recorded:
    """One direction of the client's leg.

    :param untyped: it begins with start-up packets (the client's direction).
    :param short: the kind whose long messages come in pieces: rows of a target, COPY data of either.
    """

    def __init__(self, untyped: bool = False, short: bytes = b"Dd") -> None:
        self._buffer = bytearray()
        self.position = 0
        """Stream offset up to which messages were given."""
        self.received = 0
        """Stream offset up to which chunks were fed."""
        self.missing = 0
        """Bytes that are not in the recording, so far."""
        self.lost = False
        """What follows can't be told into messages until :meth:`resume`."""
        self.single = 0
        """Answers of one byte that are to come: to SSLRequest and its like."""
        self._untyped, self._short = untyped, frozenset(short)
        self._hidden: list[tuple[int, int]] = []
        self._open: tuple[int, int, int] | None = (
            None  # kind, start, end of a message that is given in pieces
        )

    def feed(self, offset: int, data: bytes, redactions: tuple[tuple[int, int, int], ...]) -> None:
        """Take a chunk."""
        if offset > self.received:
            self.missing += offset - self.received
            self._give_up(offset)
        elif offset < self.received:
            data = data[self.received - offset :]  # never written; but a reader believes nothing
        self._buffer += data
        self.received = max(self.received, offset + len(data))
        for start, length, _ in redactions:
            at = offset + start
            if self._hidden and self._hidden[-1][1] == at:
                self._hidden[-1] = (self._hidden[-1][0], at + length)
            elif len(self._hidden) < _REASONS_KEPT:
                self._hidden.append((at, at + length))

    def _give_up(self, position: int) -> None:
        self._buffer.clear()
        self.position, self.received = position, position
        self._open, self.lost = None, True

    def resume(self, offset: int) -> None:
        """A message is known to begin at ``offset``: read on from there if the thread was lost before."""
        if not self.lost or offset < self.position:
            return
        skip = min(offset - self.position, len(self._buffer))
        del self._buffer[:skip]
        self.position += skip
        if self.position == offset:
            self.lost = self._untyped = False

    def messages(self, until: int) -> Iterator[Message]:
        """The messages that begin before ``until`` and have been fed, or as much of them as has."""
        while self.position < until and not self.lost:
            message = self._next()
            if message is None:
                return
            yield message

    def _next(self) -> Message | None:
        if self._open is not None:
            return self._piece()
        while self._hidden and self._hidden[0][1] <= self.position:
            del self._hidden[0]
        if self._hidden and self._hidden[0][0] <= self.position:
            return self._skip_hidden()
        if self.single and bytes(self._buffer[:1]) in (b"S", b"N", b"E"):
            self.single -= 1
            if self._buffer[:1] != b"E":
                return self._take(self._buffer[0], 1, 1)
        header = 4 if self._untyped else _HEADER
        if len(self._buffer) < header:
            return None
        return self._typed() if not self._untyped else self._packet()

    def _skip_hidden(self) -> Message | None:
        """A message that was redacted whole, header and all."""
        _, end = self._hidden[0]
        size = min(end - self.position, len(self._buffer))
        if size <= 0:
            return None
        return self._take(0, size, size)

    def _packet(self) -> Message | None:
        length = int.from_bytes(self._buffer[:4], "big")
        if not 8 <= length <= WHOLE:
            self.lost = True
            return None
        if len(self._buffer) < length:
            return None
        code = int.from_bytes(self._buffer[4:8], "big")
        if code not in (SSL_REQUEST, GSSENC_REQUEST):
            self._untyped = False
        return self._take(STARTUP, length, 4)

    def _typed(self) -> Message | None:
        length = int.from_bytes(self._buffer[1:5], "big")
        if not 4 <= length < 1 << 31:
            self.lost = True
            return None
        kind, size = self._buffer[0], length + 1
        if len(self._buffer) >= size and size <= WHOLE:
            return self._take(kind, size, _HEADER)
        if size <= WHOLE or (kind not in self._short and size <= KEPT):
            return self._take(kind, size, _HEADER) if len(self._buffer) >= size else None
        self._open = kind, self.position, self.position + size
        return self._piece(_HEADER)

    def _take(self, kind: int, size: int, header: int) -> Message:
        start = self.position
        body = bytes(self._buffer[header:size])
        del self._buffer[:size]
        self.position = end = start + size
        return Message(kind, start, end, body, start + header, True, True, self._between(start, end))

    def _piece(self, header: int = 0) -> Message | None:
        assert self._open is not None
        kind, start, end = self._open
        size = min(end - self.position, len(self._buffer))
        if size <= header and size < end - self.position:
            return None
        at = self.position + header
        body = bytes(self._buffer[header:size])
        del self._buffer[:size]
        self.position += size
        last = self.position == end
        if last:
            self._open = None
        return Message(kind, start, end, body, at, bool(header), last, self._between(at, self.position))

    def _between(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        if not self._hidden:
            return ()
        return tuple(each for each in self._hidden if each[0] < end and each[1] > start)


class LongRow:
    """A DataRow that comes in pieces: of each value the beginning, the digest and the length are kept."""

    def __init__(self, columns: tuple[Column, ...], encoding: str) -> None:
        self._columns, self._encoding = columns, encoding
        self._head = bytearray()
        self._count = -1
        self._size = self._left = 0
        self._digest = hashlib.sha256()
        self._kept = bytearray()
        self._hidden = 0
        self.values: list[Value] = []

    def feed(self, piece: Message) -> None:
        """Take the next piece."""
        data, position = memoryview(piece.body), 0
        while position < len(data):
            if self._left:
                position += self._value(data[position:], piece.at + position, piece.hidden)
            else:
                position += self._number(data[position:])

    def _number(self, data: memoryview) -> int:
        wanted = (2 if self._count < 0 else 4) - len(self._head)
        taken = data[:wanted]
        self._head += taken
        if len(taken) == wanted:
            number = int.from_bytes(self._head, "big", signed=self._count >= 0)
            self._head.clear()
            if self._count < 0:
                self._count = number
            elif number <= 0:
                self.values.append(None if number < 0 else "")
            else:
                self._size = self._left = number
                self._digest, self._kept, self._hidden = hashlib.sha256(), bytearray(), 0
        return len(taken)

    def _value(self, data: memoryview, at: int, hidden: tuple[tuple[int, int], ...]) -> int:
        taken = data[: self._left]
        self._digest.update(taken)
        if len(self._kept) <= LIMIT:
            self._kept += taken[: LIMIT + 1 - len(self._kept)]
        self._hidden += _overlap(at, at + len(taken), hidden)
        self._left -= len(taken)
        if not self._left:
            self._finish()
        return len(taken)

    def _finish(self) -> None:
        number = len(self.values)
        oid, form = self._columns[number] if number < len(self._columns) else (0, 0)
        if self._hidden:
            self.values.append(f"[redacted {self._hidden} bytes]")
        elif self._size <= LIMIT:
            self.values.append(decode(oid, form, bytes(self._kept), self._encoding))
        else:
            shown = bytes(self._kept[:_HEAD])
            head = "\\x" + shown.hex() if form else shown.decode(codec(self._encoding), "backslashreplace")
            self.values.append({"sha256": self._digest.hexdigest(), "bytes": self._size, "head": head})


def _overlap(start: int, end: int, hidden: tuple[tuple[int, int], ...]) -> int:
    return sum(max(0, min(end, stop) - max(start, begin)) for begin, stop in hidden)


def row_values(message: Message, columns: tuple[Column, ...], encoding: str) -> tuple[Value, ...] | None:
    """The values of a DataRow that came whole; ``None`` if its lengths don't add up."""
    body, hidden = message.body, message.hidden
    if len(body) < 2:
        return None
    position, size = 2, len(body)
    values: list[Value] = []
    for number in range(int.from_bytes(body[:2], "big")):
        length = int.from_bytes(body[position : position + 4], "big", signed=True)
        position += 4
        if position > size or not -1 <= length <= size - position:
            return None
        oid, form = columns[number] if number < len(columns) else (0, 0)
        concealed = (
            _overlap(message.at + position, message.at + position + max(length, 0), hidden) if hidden else 0
        )
        if concealed:
            values.append(f"[redacted {concealed} bytes]")
        else:
            data = None if length < 0 else body[position : position + length]
            values.append(decode(oid, form, data, encoding))
        position += max(length, 0)
    return tuple(values) if position == size else None
