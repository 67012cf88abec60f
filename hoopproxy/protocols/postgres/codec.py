"""PostgreSQL's two streams to frames: lengths and kinds checked, rows counted, nothing decoded.

Protocol chapter of PostgreSQL's manual, "Message Formats". This is the hot path: one loop a chunk, one
header read a message, and tables instead of method calls. A message's kind and length are judged as soon
as its five header bytes are here, before any memory is spent on it and before any of it goes on.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import cast

from hoopproxy.errors import ProtocolViolation, TooLarge
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.frames import Frame

__all__ = [
    "CANCEL_REQUEST",
    "GSSENC_REQUEST",
    "MAX_HELD",
    "MAX_STARTUP",
    "MAX_STATEMENT",
    "SSL_REQUEST",
    "STARTUP",
    "VIEWED",
    "ClientCodec",
    "ServerCodec",
]

STARTUP = 0
"""The kind of an untyped packet: everything before and including the StartupMessage."""

SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102

MAX_STARTUP = 10_000
"""Bytes of a start-up packet after its length word (the server's MAX_STARTUP_PACKET_LENGTH)."""

MAX_SMALL = 10_000
"""What the server reads of a message that carries names and counts only (PQ_SMALL_MESSAGE_LIMIT)."""

MAX_LARGE = 0x3FFFFFFE
"""What the server reads of any message at all (PQ_LARGE_MESSAGE_LIMIT: an allocation of one gigabyte)."""

MAX_SECRET = 65_535
"""A password or SASL message (PG_MAX_AUTH_TOKEN_LENGTH)."""

MAX_HELD = 16 * 1024 * 1024
"""Default for one message of the target in memory: an error can quote a whole value."""

MAX_STATEMENT = 64 * 1024 * 1024
"""Default for one Query, Parse, Bind or FunctionCall."""

VIEWED = 1024 * 1024
"""Bytes of a statement from which on its frame's body is a memoryview of what was received: a copy of it would hold
everybody up."""

MAX_AUTHENTICATION = 2_000
"""What libpq reads of an authentication request or a version negotiation before it gives up."""

MAX_REPORT = 1024 * 1024
"""A ParameterStatus (``search_path`` has no length limit of its own) or NotificationResponse."""

MAX_COLUMNS = 8 * 1024 * 1024
"""A RowDescription: 1,664 columns are under 200 KiB; the room is for other servers."""

MAX_TAG = 10_000
"""A CommandComplete: the server's own tags stay under 64 bytes."""

MAX_FORMATS = 4 + 1 + 2 + 2 * 65_535
"""A CopyInResponse and its like: one format code a column."""

MAX_TYPES = 4 + 2 + 4 * 65_535
"""A ParameterDescription: one type a parameter."""

_HEADER = struct.Struct(">Bi")
_header = _HEADER.unpack_from
_WORD = struct.Struct(">i")
_new = tuple.__new__  # a named tuple's own constructor costs twice as much


def _table(lengths: Mapping[bytes, tuple[int, int]]) -> tuple[range, ...]:
    """By kind, the length words with which a message is delivered whole; none for other kinds."""
    return _shared_table(tuple(lengths.items()))


@lru_cache(maxsize=64)
def _shared_table(lengths: tuple[tuple[bytes, tuple[int, int]], ...]) -> tuple[range, ...]:
    # All sessions of one configuration share their tables: they are the largest thing that a codec has.
    table = [range(0)] * 256
    for kinds, (least, most) in lengths:
        for kind in kinds:
            table[kind] = range(least, most + 1)
    return tuple(table)


@lru_cache(maxsize=8)
def _kinds(kinds: bytes) -> tuple[bool, ...]:
    return tuple(kind in kinds for kind in range(256))


_CLIENT: Mapping[bytes, tuple[int, int]] = {
    b"SHc": (4, 4),  # Sync, Flush, CopyDone
    b"X": (4, 4),  # Terminate
    b"D": (6, MAX_SMALL),  # Describe
    b"C": (6, MAX_SMALL),  # Close
    b"E": (9, MAX_SMALL),  # Execute
    b"f": (5, MAX_SMALL),  # CopyFail
    b"p": (4, MAX_SECRET),  # PasswordMessage, SASLInitialResponse, SASLResponse
}
_STATEMENT_KINDS = b"QPBF"
_STATEMENTS: Mapping[bytes, int] = {b"Q": 5, b"P": 8, b"B": 12, b"F": 14}

_BEFORE_ADMISSION = {**_CLIENT, **{kind: (least, MAX_SECRET) for kind, least in _STATEMENTS.items()}}
"""A client may send its first command together with its last log-in message, but no stranger's is large."""

_SERVER: Mapping[bytes, tuple[int, int]] = {
    b"R": (8, MAX_AUTHENTICATION),  # Authentication*
    b"K": (12, 4 + 4 + 256),  # BackendKeyData; 3.2 allows 256 bytes of key
    b"v": (12, MAX_AUTHENTICATION),  # NegotiateProtocolVersion
    b"S": (6, MAX_REPORT),  # ParameterStatus
    b"A": (10, MAX_REPORT),  # NotificationResponse
    b"Z": (5, 5),  # ReadyForQuery
    b"C": (5, MAX_TAG),  # CommandComplete
    b"T": (6, MAX_COLUMNS),  # RowDescription
    b"t": (6, MAX_TYPES),  # ParameterDescription
    b"123nsIc": (4, 4),  # Parse-, Bind-, CloseComplete, NoData, PortalSuspended, EmptyQuery, CopyDone
    b"GHW": (7, MAX_FORMATS),  # CopyIn-, CopyOut-, CopyBothResponse
}

_COPY_DATA = b"d"


class _Typed(Codec):
    """What both directions share: a table of kinds that are held whole, and runs that are counted.

    A message of a kind in ``streams`` is never held: as soon as its header is known there is a frame for
    it, without body, and each further chunk is a frame that goes on with it (``more``). Messages of the
    same streamed kind that follow each other are one frame with their count.
    """

    __slots__ = ("_left", "_open", "_resumed", "_streams", "_whole")

    peer = "the peer"

    def __init__(self, whole: Mapping[bytes, tuple[int, int]], streams: bytes) -> None:
        super().__init__()
        self._whole = _table(whole)
        self._streams = _kinds(streams)
        self._left = 0
        """Bytes to come of a message whose header was given already."""
        self._open = 0
        """Its kind."""
        self._resumed = (-1, 0)
        """Where the last feed went on inside a message, and where that message ends."""

    @property
    def received(self) -> int:
        """Bytes fed so far, so that ``frame.end < received`` tells that something follows a frame."""
        return self.base + self._used + self._waiting

    def feed(self, chunk: bytes) -> list[Frame]:
        # The commonest chunk by far is one whole message: it is spared the loop, not a single check.
        size = len(chunk)
        if size > 4 and not self._waiting and not self._left:
            kind, length = _header(chunk)
            if length + 1 == size and length in self._whole[kind]:
                self.base = base = self.base + self._used
                self.data, self._used = chunk, size
                self.frames = frames = [_new(Frame, (kind, base, base + size, chunk[5:], 1, False))]
                return frames
        return Codec.feed(self, chunk)

    def scan(self, data: bytes, base: int, frames: list[Frame]) -> int:
        size = len(data)
        last = size - 5
        whole, streams, append = self._whole, self._streams, frames.append
        position = start = count = 0
        run = -1  # the streamed kind that a counted frame is being made of
        if self._left:
            position, run = self._resume(size, base, frames)
            count = 1
        while position <= last:
            kind, length = _header(data, position)
            if kind == run:
                if not 4 <= length <= MAX_LARGE:
                    break
                position += 1 + length
                count += 1
                continue
            if run >= 0:
                append(_new(Frame, (run, base + start, base + position, None, count, False)))
                run = -1
            if length in whole[kind]:
                end = position + 1 + length
                if end > size:
                    self.need = end - position
                    return position
                append(_new(Frame, (kind, base + position, base + end, data[position + 5 : end], 1, False)))
                position = end
            elif streams[kind] and 4 <= length <= MAX_LARGE:
                run, start, count = kind, position, 1
                position += 1 + length
            else:
                position = self._special(kind, length, position, size, base, frames)
        if run >= 0:
            if position > size:
                self._left, self._open = position - size, run
                position, count = size, count - 1
            append(_new(Frame, (run, base + start, base + position, None, count, self._left > 0)))
        if position <= last:
            raise self._wrong_length(kind, length)
        if position < size:
            self.need = 5
        return position

    def _resume(self, size: int, base: int, frames: list[Frame]) -> tuple[int, int]:
        """Go on with the message that the last chunk ended inside: where it ends, and the run it begins."""
        left, kind = self._left, self._open
        self._resumed = base, base + left
        if left > size:
            if size:
                self._left = left - size
                frames.append(Frame(kind, base, base + size, None, 0, True))
            return size, -1
        self._left = 0
        if self._streams[kind]:
            return left, kind
        frames.append(Frame(kind, base, base + left, None, 1, False))
        return left, -1

    def _special(
        self, kind: int, length: int, position: int, size: int, base: int, frames: list[Frame]
    ) -> int:
        """A message that is in no table."""
        if not self._whole[kind] and not self._streams[kind]:
            raise ProtocolViolation(f"{self.peer} sent a message of unknown type 0x{kind:02x}")
        raise self._wrong_length(kind, length)

    def message_end(self, offset: int) -> int:
        if self._left and offset == self.base + self._used:
            return offset + self._left
        at, end = self._resumed
        return end if offset == at else 0

    def _wrong_length(self, kind: int, length: int) -> ProtocolViolation:
        most = self._whole[kind].stop - 1 if self._whole[kind] else MAX_LARGE
        if length > most:
            return TooLarge(f"the protocol's limit for {chr(kind)!r}", length, most)
        return ProtocolViolation(f"{self.peer} sent a message of type {chr(kind)!r} with length {length}")


class ClientCodec(_Typed):
    """What a client sends.

    Begins with untyped packets (kind :data:`STARTUP`, ``body`` from the code on) until a StartupMessage of
    major version 3, then typed messages; a CancelRequest or another version ends the stream. Until
    :meth:`admit` no message may be longer than a password, so that a stranger can't fill memory.
    Afterwards Query, Parse, Bind and FunctionCall up to ``max_statement`` are given whole; a longer one is
    given as stretches without body, so that it can be refused and skipped in step with nothing held.
    CopyData runs through in counted stretches.

    :param max_statement: bytes of one statement message, its length word included.
    :param max_held: bytes of an unfinished statement in memory. A longer one is kept in a file where
        :attr:`spool` gives one, else in memory up to ``max_statement``.
    """

    __slots__ = ("_admitted", "_ended", "_untyped", "max_statement")

    peer = "the client"

    def __init__(self, max_held: int = MAX_HELD, max_statement: int = MAX_STATEMENT) -> None:
        super().__init__({}, b"")
        self.max_held = max_held
        self.max_statement = min(max_statement, MAX_LARGE)
        self._untyped = True
        self._ended = False
        self._admitted = False

    def admit(self) -> None:
        """The session is admitted: every message of the command phase is legal from now on."""
        self._admitted = True
        if not self._untyped:
            self._type()

    def _type(self) -> None:
        """Choose the tables for typed messages."""
        self._untyped = False
        self._streams = _kinds(_COPY_DATA if self._admitted else b"")
        if self._admitted:
            limit = self.max_statement
            whole = {**_CLIENT, **{kind: (least, limit) for kind, least in _STATEMENTS.items()}}
            self._whole = _table(whole)
        else:
            self._whole = _table(_BEFORE_ADMISSION)

    def scan(self, data: bytes, base: int, frames: list[Frame]) -> int:
        if not self._untyped:
            if len(data) > VIEWED and not self._left:
                return self._long(data, base, frames)
            return _Typed.scan(self, data, base, frames)
        used = self._startup(data, base, frames)
        if self._untyped or used == len(data):
            return used
        # Typed messages behind the StartupMessage: the same bytes, from there on.
        return used + super().scan(data[used:], base + used, frames)

    def _long(self, data: bytes, base: int, frames: list[Frame]) -> int:
        """Data that begins with a long message."""
        kind, length = _header(data)
        end: int = 1 + length
        is_statement = kind in _STATEMENT_KINDS and length in self._whole[kind]
        if not is_statement or length <= VIEWED or end > len(data):
            return _Typed.scan(self, data, base, frames)
        body = cast(bytes, memoryview(data)[5:end])
        frames.append(Frame(kind, base, base + end, body))
        return end + _Typed.scan(self, data[end:], base + end, frames)

    def _startup(self, data: bytes, base: int, frames: list[Frame]) -> int:
        size, position = len(data), 0
        while self._untyped and position < size:
            if self._ended:
                raise ProtocolViolation("the client sent bytes after its last packet")
            if size - position < 4:
                self.need = 4
                break
            (length,) = _WORD.unpack_from(data, position)
            if not 8 <= length <= MAX_STARTUP + 4:
                raise ProtocolViolation("the client sent no start-up packet: its length is wrong")
            end = position + length
            if end > size:
                self.need = length
                break
            (code,) = _WORD.unpack_from(data, position + 4)
            frames.append(Frame(STARTUP, base + position, base + end, data[position + 4 : end]))
            position = end
            if code >> 16 == 3:
                self._type()
            elif code not in (SSL_REQUEST, GSSENC_REQUEST):
                self._ended = True
        return position

    def _special(
        self, kind: int, length: int, position: int, size: int, base: int, frames: list[Frame]
    ) -> int:
        if not self._admitted:
            if length > MAX_SECRET and self._whole[kind]:
                raise TooLarge("the limit before log-in", length, MAX_SECRET)
            return super()._special(kind, length, position, size, base, frames)
        if kind not in _STATEMENT_KINDS or not self.max_statement < length <= MAX_LARGE:
            return super()._special(kind, length, position, size, base, frames)
        end = position + 1 + length
        whole = end <= size
        if not whole:
            self._left, self._open, end = end - size, kind, size
        frames.append(Frame(kind, base + position, base + end, None, int(whole), not whole))
        return end


class ServerCodec(_Typed):
    """What a target sends: replies whole, DataRow, CopyData and FunctionCallResponse as counted stretches.

    :param max_held: bytes of one ErrorResponse or NoticeResponse. They may quote a value of any size, so
        this is the limit on one message in memory; a longer one ends the session.
    """

    __slots__ = ("_tables", "_tls_reply")

    peer = "the target"

    def __init__(self, max_held: int = MAX_HELD) -> None:
        whole = {**_SERVER, b"EN": (5, min(max_held, MAX_LARGE))}
        super().__init__(whole, b"DdV")
        self._tables = _table(whole)
        self._tls_reply = False

    @property
    def tls_reply(self) -> bool:
        """Set after SSLRequest: the next byte alone is the answer, ``S`` or ``N``, as a frame of its kind."""
        return self._tls_reply

    @tls_reply.setter
    def tls_reply(self, expected: bool) -> None:
        # Without tables feed() has no short cut, so that every byte comes to scan().
        self._tls_reply = expected
        self._whole = _table({}) if expected else self._tables

    def scan(self, data: bytes, base: int, frames: list[Frame]) -> int:
        if not self._tls_reply:
            return _Typed.scan(self, data, base, frames)
        if not data:
            return 0
        if data not in (b"S", b"N"):
            # More than the one byte is an attempt to have plaintext taken for what TLS protected
            # (CVE-2021-23222); an "E" begins the error of a server that never heard of TLS.
            raise ProtocolViolation("the target answered SSLRequest with something else than S or N")
        self.tls_reply = False
        frames.append(Frame(data[0], base, base + 1, b""))
        return 1
