"""A chunk record's body: bytes of one direction of one leg of a session, and when they passed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import attrs

__all__ = [
    "CLIENT_LEG",
    "HEADER_SIZE",
    "TARGET_LEG",
    "TOWARDS_CLIENT",
    "TOWARDS_TARGET",
    "Chunk",
    "Redaction",
    "Streams",
    "place",
]

CLIENT_LEG: Final = 0
TARGET_LEG: Final = 1
TOWARDS_TARGET: Final = 0
TOWARDS_CLIENT: Final = 1

# session, leg, direction, flags (0), pad, number of redactions, pad, stream offset, mono
_HEADER = struct.Struct("<16sBBBxHxxQQ")
_STREAM = struct.Struct("<16sBBBxHxx")  # the beginning of it, the same for all of a stream without redactions
_PLACED = struct.Struct("<24sQQ")
_REDACTION = struct.Struct("<IIH2x")
HEADER_SIZE: Final = _HEADER.size

#: start (bytes from the chunk's first), length, reason id
Redaction = tuple[int, int, int]

#: A stream's beginning (see :class:`Streams`), offset, mono -> the header of a chunk without redactions.
place = _PLACED.pack

_STREAMS_KEPT: Final = 512  # making one again costs less than it costs an idle session to keep it


class Streams(dict[tuple[bytes, int], bytes]):
    """Session and direction -> what the header of each chunk of that stream of the client's leg begins with.

    Each thread has one of its own.
    """

    def __missing__(self, stream: tuple[bytes, int]) -> bytes:
        if len(self) >= _STREAMS_KEPT:
            self.clear()
        session, direction = stream
        start = self[stream] = _STREAM.pack(session, CLIENT_LEG, direction, 0, 0)
        return start


@attrs.frozen(kw_only=True)
class Chunk:
    """Recorded bytes. ``offset`` counts from the stream's start, ``mono`` is ns since the session's start.

    ``redactions`` are the stretches of ``data`` that are fill, not what was said: the secret is gone, its
    length and place are true. ``leg`` 0 is the client's, 1 the target's; ``direction`` 0 is towards the
    target.
    """

    session: bytes
    leg: int
    direction: int
    offset: int
    mono: int
    data: bytes
    redactions: tuple[Redaction, ...] = ()
    flags: int = 0

    @classmethod
    def decode(cls, body: bytes) -> Chunk:
        """Read a chunk record's body; ``ValueError`` if it is cut or a redaction lies outside the data."""
        if len(body) < HEADER_SIZE:
            raise ValueError("a chunk's header is cut")
        session, leg, direction, flags, count, offset, mono = _HEADER.unpack_from(body)
        start = HEADER_SIZE + count * _REDACTION.size
        if len(body) < start:
            raise ValueError("a chunk's redactions are cut")
        data = body[start:]
        marks = tuple(_REDACTION.iter_unpack(body[HEADER_SIZE:start]))
        for begin, length, _ in marks:
            if begin + length > len(data):
                raise ValueError("a chunk's redaction lies outside its data")
        return cls(
            session=session,
            leg=leg,
            direction=direction,
            offset=offset,
            mono=mono,
            data=data,
            redactions=marks,
            flags=flags,
        )


def encode_header(
    session: bytes, leg: int, direction: int, offset: int, mono: int, redactions: Sequence[Redaction] = ()
) -> bytes:
    """What goes before the data in a chunk record's body."""
    head = _HEADER.pack(session, leg, direction, 0, len(redactions), offset, mono)
    if redactions:
        head += b"".join(_REDACTION.pack(*each) for each in redactions)
    return head
