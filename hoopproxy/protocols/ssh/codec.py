"""The stream of a leg: payloads, each behind its length. What a payload is, its first byte says."""

from __future__ import annotations

from struct import Struct

from hoopproxy.errors import TooLarge
from hoopproxy.protocols.ssh import numbers
from hoopproxy.protocols.ssh.packets import Malformed
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.frames import Frame

__all__ = ["HEADER", "PAYLOAD_BYTES", "PayloadCodec"]

PAYLOAD_BYTES = 262_144
"""Bytes of a payload: what the layer below takes; RFC 4253 s.6.1 asks for 32,768 at least."""

HEADER = 4
"""Bytes of the length before each payload."""

_BEGINNING = Struct(">IB").unpack_from  # a message's length and number
_new = tuple.__new__  # one is made for each message; a named tuple's own constructor costs twice as much
_DATA = frozenset({numbers.CHANNEL_DATA, numbers.CHANNEL_EXTENDED_DATA})


class PayloadCodec(Codec):
    """A frame a payload: ``kind`` is its number, ``body`` the payload itself; ``None`` for a channel's data, which is
    read in place (:meth:`payload`) by who needs it."""

    __slots__ = ()

    def scan(self, data: bytes, base: int, frames: list[Frame]) -> int:
        used, size = 0, len(data)
        while size - used > HEADER:
            length, kind = _BEGINNING(data, used)
            if not length:
                raise Malformed("a message without a number")
            if length > PAYLOAD_BYTES:
                raise TooLarge("payload", length, PAYLOAD_BYTES)
            end = used + HEADER + length
            if end > size:
                self.need = end - used
                break
            body = None if kind in _DATA else data[used + HEADER : end]
            frames.append(_new(Frame, (kind, base + used, base + end, body, 1, False)))
            used = end
        return used

    def payload(self, frame: Frame) -> memoryview:
        """The payload of a frame of the last feed, where it lies."""
        start = frame.start - self.base
        return memoryview(self.data)[start + HEADER : frame.end - self.base]
