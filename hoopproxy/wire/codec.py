"""Codecs: bytes to frames, one peer's stream at a time. They buffer, count and check; they mean nothing.

A codec is *pull by chunk*: :meth:`Codec.feed` takes what arrived and returns every frame that is known
now. What isn't a frame yet stays inside; the exchange reads the raw bytes of a frame back with
:meth:`Codec.raw`, so that what goes on is what was received.
"""

from __future__ import annotations

from hoopproxy.errors import TooLarge
from hoopproxy.wire.frames import Frame

__all__ = ["Codec", "Lines"]


class Codec:
    """Base of stream codecs: keeps the tail, the offsets, and the price of waiting for a long message low.

    A subclass implements :meth:`scan`. Raising :class:`~hoopproxy.errors.ProtocolViolation` from it ends
    the session: whatever ``frames`` got before the error is still dealt with, the rest never goes on.
    """

    def __init__(self) -> None:
        self.base = 0
        """Stream offset of the first byte of :attr:`data`."""
        self.data: bytes = b""
        """What the frames of the last feed point into: the old tail and the new chunk."""
        self.frames: list[Frame] = []
        """The frames of the last feed, also when it raised half-way."""
        self.need = 1
        """How many bytes of unread tail make another scan worth while."""
        self._parts: list[bytes] = []
        self._waiting = 0
        self._used = 0

    @property
    def held(self) -> int:
        """Bytes received that belong to no frame yet."""
        return self._waiting

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take ``chunk`` and return the frames that it completes.

        :raises ProtocolViolation: for bytes that can't be this protocol; :attr:`frames` has what came before.
        """
        self.frames = frames = []
        if self._waiting:
            self._parts.append(chunk)
            self._waiting += len(chunk)
            if self._waiting < self.need:
                return frames
            chunk = b"".join(self._parts)
            self._parts.clear()
        self.base += self._used
        self.data, self._used, self.need = chunk, 0, 1
        try:
            self._used = used = self.scan(chunk, self.base, frames)
        except BaseException:
            self._used = frames[-1].end - self.base if frames else 0
            self._waiting = len(chunk) - self._used
            raise
        self._waiting = len(chunk) - used
        if self._waiting:
            self._parts.append(chunk[used:])
        return frames

    def scan(self, data: bytes, base: int, frames: list[Frame]) -> int:
        """Append the frames of ``data`` (whose first byte has offset ``base``); return how much was used.

        May set :attr:`need` to the bytes of tail that must be there before another scan can succeed.
        """
        raise NotImplementedError

    def raw(self, start: int, end: int) -> bytes:
        """The received bytes between two offsets of the last feed. The chunk itself when that is all of it."""
        return self.data[start - self.base : end - self.base]

    def tail(self) -> bytes:
        """The bytes of the unfinished message, for the record of a stream that ends inside one."""
        return b"".join(self._parts) if self._parts else self.data[self._used :] if self._waiting else b""


class Lines(Codec):
    """Lines that end with LF (CR LF is kept as it is); ``body`` has the line without its end.

    :param longest: bytes of one line with its end; a longer one raises :class:`TooLarge`, because a peer
        that never ends a line must not fill our memory.
    """

    kind = ord("l")

    def __init__(self, longest: int = 65536) -> None:
        super().__init__()
        self.longest = longest

    def scan(self, data: bytes, base: int, frames: list[Frame]) -> int:
        used = 0
        while (end := data.find(b"\n", used) + 1) > 0:
            if end - used > self.longest:
                raise TooLarge("longest", end - used, self.longest)
            frames.append(Frame(self.kind, base + used, base + end, data[used:end].rstrip(b"\r\n")))
            used = end
        if len(data) - used >= self.longest:
            raise TooLarge("longest", len(data) - used, self.longest)
        self.need = len(data) - used + 1
        return used
