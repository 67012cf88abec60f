"""Codecs: bytes to frames, one peer's stream at a time. They buffer, count and check; they mean nothing.

A codec is *pull by chunk*: :meth:`Codec.feed` takes what arrived and returns every frame that is known
now. What isn't a frame yet stays inside; the exchange reads the raw bytes of a frame back with
:meth:`Codec.raw`, so that what goes on is what was received.

:class:`Lines` is a whole codec in fifteen lines.
"""

from __future__ import annotations

from hoopproxy.errors import ProtocolViolation, TooLarge
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.spool import MakeFile, Spool

__all__ = ["Codec", "Lines"]

MAX_HELD = 16 << 20
"""Default of :attr:`Codec.max_held`."""


class Codec:
    """Base of stream codecs: keeps the tail, the offsets, and the price of waiting for a long message low.

    A subclass implements :meth:`scan`. Raising :class:`~hoopproxy.errors.ProtocolViolation` from it ends
    the session: whatever ``frames`` got before the error is still dealt with, the rest never goes on. A
    stream that went wrong stays wrong: every further :meth:`feed` raises the same, so that nobody reads on
    behind a gap.
    """

    __slots__ = (
        "_file",
        "_open_at",
        "_parts",
        "_used",
        "_waiting",
        "_wrong",
        "base",
        "data",
        "frames",
        "max_held",
        "need",
        "spool",
    )

    def __init__(self) -> None:
        self.base = 0
        """Stream offset of the first byte of :attr:`data`."""
        self.data: bytes = b""
        """What the frames of the last feed point into: the old tail and the new chunk."""
        self.frames: list[Frame] = []
        """The frames of the last feed, also when it raised half-way."""
        self.need = 1
        """How many bytes of unread tail make another scan worth while."""
        self.spool: MakeFile | None = None
        """Gives a file for an unfinished message that is over :attr:`max_held`; without, it stays in memory."""
        self.max_held = MAX_HELD
        """Bytes of an unfinished message in memory."""
        self._parts: list[bytes] | tuple[()] = ()
        self._waiting = 0
        self._used = 0
        self._file: Spool | None = None
        self._open_at = -1
        self._wrong: ProtocolViolation | None = None

    @property
    def waiting(self) -> int:
        """Bytes received that belong to no frame yet, wherever they are kept."""
        return self._waiting

    @property
    def held(self) -> int:
        """As :attr:`waiting`, those in memory only."""
        return self._waiting - self.spooled

    @property
    def spooled(self) -> int:
        """As :attr:`waiting`, those in a file only."""
        return 0 if self._file is None else self._file.size

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take ``chunk`` and return the frames that it completes.

        :raises ProtocolViolation: for bytes that can't be this protocol; :attr:`frames` has what came before.
        :raises JournalRefused: a long message can't be spooled.
        """
        last = self.frames
        if last and last[-1].more:
            self._open_at = last[-1].end
        frames: list[Frame] = []
        self.frames = frames
        if self._waiting or self._wrong is not None:
            self._keep(chunk)
            if self._wrong is not None:
                raise self._wrong
            if self._waiting < self.need:
                return frames
            chunk = self._taken()
        self.base += self._used
        self.data, self._used, self.need = chunk, 0, 1
        try:
            self._used = used = self.scan(chunk, self.base, frames)
        except BaseException as error:
            self._used = used = frames[-1].end - self.base if frames else 0
            self._waiting = len(chunk) - used
            self._parts = [chunk[used:]]
            if isinstance(error, ProtocolViolation):
                self._wrong = error
            raise
        self._waiting = len(chunk) - used
        if self._waiting:
            self._parts = [chunk[used:]]
        return frames

    def _keep(self, chunk: bytes) -> None:
        """The message goes on: in memory, or in a file once it is long."""
        self._waiting += len(chunk)
        parts = self._parts or []
        self._parts = parts
        parts.append(chunk)
        if self._waiting > self.max_held and self.spool is not None and self._wrong is None:
            if self._waiting >= self.need:
                return  # it is complete: no use to write it first
            if self._file is None:
                self._file = Spool(self.spool)
            for part in parts:
                self._file.write(part)
            parts.clear()

    def _taken(self) -> bytes:
        """What was kept, for another scan."""
        data = b"".join(self._parts)
        if self._file is not None:
            # Read in one piece: a message that has a file is long, and each copy of it would hold everybody up.
            self._file.write(data)
            data = self._file.read()
            self.forget()
        self._parts = ()
        return data

    def scan(self, data: bytes, base: int, frames: list[Frame]) -> int:
        """Append the frames of ``data`` (whose first byte has offset ``base``); return how much was used.

        May set :attr:`need` to the bytes of tail that must be there before another scan can succeed: what
        is scanned anew with each chunk costs quadratic time.

        :raises ProtocolViolation: after appending the frames before.
        """
        raise NotImplementedError

    def raw(self, start: int, end: int) -> bytes:
        """The received bytes between two offsets of the last feed. The chunk itself when that is all of it."""
        return self.data[start - self.base : end - self.base]

    def inside(self, offset: int) -> bool:
        """Whether a message began before ``offset`` that goes on behind it, in what became frames lately."""
        for frame in reversed(self.frames):
            if frame.end == offset:
                return frame.more
        return offset == self._open_at

    def message_end(self, offset: int) -> int:
        """Where the message ends that ``offset`` is :meth:`inside`; 0: that isn't known before it does."""
        return 0

    def release(self) -> None:
        """Let go of the last chunk and its frames: they were dealt with, and are too large to lie about."""
        last = self.frames
        if last and last[-1].more:
            self._open_at = last[-1].end
        self.base += self._used
        self.data, self._used, self.frames = b"", 0, []

    def skip(self, size: int) -> None:
        """Whole messages of so many bytes passed by that somebody else has decoded. Only between two messages."""
        self.release()
        self.base += size

    def tail(self) -> bytes:
        """The bytes of the unfinished message, for the record of a stream that ends inside one."""
        kept = b"".join(self._parts)
        return kept if self._file is None else self._file.read() + kept

    def forget(self) -> None:
        """Let go of the file, if there is one. The stream is over."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class Lines(Codec):
    """Lines that end with LF (CR LF is kept as it is); ``body`` has the line without its end.

    :param longest: bytes of one line with its end; a longer one raises :class:`TooLarge`, because a peer
        that never ends a line must not fill our memory.
    """

    __slots__ = ("longest",)

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
