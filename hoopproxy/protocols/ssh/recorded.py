"""A recording's chunks back to what was said on SSH's channels: both directions, in bounded memory.

The stream of a leg is payloads with their length before each. What was redacted whole (a log-in) is passed over by
its mark; what was filled inside of a message is told as hidden. Where bytes are missing, reading goes on at the next
chunk that begins with a message. Nothing is judged here: the gateway did that when it passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import attrs

from hoopproxy.protocols.ssh.numbers import (
    CHANNEL_CLOSE,
    CHANNEL_DATA,
    CHANNEL_EOF,
    CHANNEL_EXTENDED_DATA,
    CHANNEL_OPEN,
    CHANNEL_OPEN_CONFIRMATION,
    CHANNEL_OPEN_FAILURE,
    CHANNEL_REQUEST,
)
from hoopproxy.protocols.ssh.packets import Malformed, Reader
from hoopproxy.wire.recorded import RecordedChunk

__all__ = ["Channel", "Said", "said"]

LONGEST: Final = 1 << 20
"""Bytes of a message: what passed had 256 KiB at the most."""

CHANNELS: Final = 10_000
"""Channels that are remembered, open at one time."""

_MARKS: Final = 10_000
_FIRST, _LAST = 80, 127


@attrs.define
class Channel:
    """``number`` counts a session's channels from 1. ``pty``: columns and rows, if one was asked for. ``what`` is
    ``shell``, ``exec``, ``subsystem`` or the channel's type; ``text`` the command, or the subsystem's name."""

    number: int
    kind: str
    what: str = ""
    text: bytes = b""
    pty: tuple[int, int] | None = None


class Said(NamedTuple):
    """One thing that was said. ``direction`` 0: by the client.

    ``what``: ``open``, ``pty`` and ``size`` (of the channel's ``pty``), ``start`` (shell, exec or subsystem), ``data``,
    ``stderr``, ``eof``, ``exit`` (``data`` is the status or the signal's name), ``signal``, ``close``, ``lost``
    (bytes are missing before this; no channel). ``hidden``: stretches of ``data`` that are filled.
    """

    mono: int
    direction: int
    what: str
    channel: Channel | None
    data: bytes = b""
    hidden: tuple[tuple[int, int], ...] = ()


def said(pieces: Iterable[Mapping[str, Any] | RecordedChunk]) -> Iterator[Said | Mapping[str, Any]]:
    """What was said on the client's leg, in order, with the events between (as they are)."""
    ways, channels = (_Way(0), _Way(1)), _Channels()
    for piece in pieces:
        if isinstance(piece, Mapping):
            yield piece
        elif piece.leg == 0:
            way = ways[piece.direction]
            if way.feed(piece):
                yield Said(piece.mono, piece.direction, "lost", None)
            for payload, at, hidden in way.payloads():
                found = channels.told(piece.direction, payload, at, hidden, piece.mono)
                if found is not None:
                    yield found


class _Way:
    """One direction: chunks to payloads."""

    def __init__(self, direction: int) -> None:
        self.direction = direction
        self._buffer = bytearray()
        self._base = self._end = 0
        self._marks: list[tuple[int, int]] = []
        self._lost = False

    def feed(self, chunk: RecordedChunk) -> bool:
        """Take a chunk; whether bytes are missing before it."""
        data, missing = chunk.data, chunk.offset > self._end
        if missing or self._lost:
            self._buffer.clear()
            self._marks.clear()
            self._base, self._lost = max(chunk.offset, self._end), False
        if chunk.offset < self._end:
            data = data[self._end - chunk.offset :]
        self._buffer += data
        self._end = max(self._end, chunk.offset + len(chunk.data))
        for start, length, _ in chunk.redactions:
            begin = chunk.offset + start
            if self._marks and self._marks[-1][1] == begin:
                self._marks[-1] = self._marks[-1][0], begin + length
            elif len(self._marks) < _MARKS:
                self._marks.append((begin, begin + length))
        return missing

    def payloads(self) -> Iterator[tuple[bytes, int, tuple[tuple[int, int], ...]]]:
        """Payloads that are whole: themselves, where they begin, and what of them is filled (in the stream)."""
        buffer, position = self._buffer, 0
        while not self._lost:
            at = self._base + position
            while self._marks and self._marks[0][1] <= at:
                del self._marks[0]
            marks = self._marks
            if marks and marks[0][0] <= at:  # whole messages, their lengths too
                size = min(marks[0][1] - at, len(buffer) - position)
                if not size:
                    break
                position += size
                continue
            if len(buffer) - position < 4:
                break
            length = int.from_bytes(buffer[position : position + 4], "big")
            if not 0 < length <= LONGEST:
                self._lost = True
                break
            end = position + 4 + length
            if len(buffer) < end:
                break
            start, stop = at + 4, at + 4 + length
            hidden = tuple(each for each in marks if each[0] < stop and each[1] > start) if marks else ()
            yield bytes(buffer[position + 4 : end]), start, hidden
            position = end
        del buffer[:position]
        self._base += position


class _Channels:
    """Both sides' numbers of the channels that are open."""

    def __init__(self) -> None:
        self._count = 0
        self._asked: dict[tuple[int, int], Channel] = {}  # who opened it, by which number of theirs
        self._of: tuple[dict[int, Channel], dict[int, Channel]] = (
            {},
            {},
        )  # by the number that is sent to that side

    def told(
        self, direction: int, payload: bytes, at: int, hidden: tuple[tuple[int, int], ...], mono: int
    ) -> Said | None:
        """What a message says, if it is about a channel's course or data."""
        kind = payload[0]
        if not _FIRST <= kind <= _LAST:
            return None
        try:
            return self._read(direction, kind, Reader(payload, 1), at, hidden, mono)
        except Malformed:
            return None

    def _read(
        self,
        direction: int,
        kind: int,
        reader: Reader,
        at: int,
        hidden: tuple[tuple[int, int], ...],
        mono: int,
    ) -> Said | None:
        if kind == CHANNEL_OPEN:
            name = reader.name()
            self._count += 1
            channel = Channel(self._count, name)
            _remember(self._asked, (direction, reader.uint32()), channel)
            return Said(mono, direction, "open", channel)
        number = reader.uint32()
        receiver = 1 - direction
        if kind == CHANNEL_OPEN_CONFIRMATION:
            opened = self._asked.pop((receiver, number), None)
            if opened is not None:
                _remember(self._of[receiver], number, opened)
                _remember(self._of[direction], reader.uint32(), opened)
            return None
        if kind == CHANNEL_OPEN_FAILURE:
            refused = self._asked.pop((receiver, number), None)
            return Said(mono, direction, "close", refused) if refused is not None else None
        found = self._of[receiver].get(number)
        if found is None:
            return None
        if kind in (CHANNEL_DATA, CHANNEL_EXTENDED_DATA):
            if kind == CHANNEL_EXTENDED_DATA:
                reader.uint32()
            data = reader.string()
            start = at + reader.at - len(data)
            inside = tuple((max(a - start, 0), min(b - start, len(data))) for a, b in hidden)
            what = "data" if kind == CHANNEL_DATA else "stderr"
            return Said(
                mono, direction, what, found, data, tuple(each for each in inside if each[0] < each[1])
            )
        if kind == CHANNEL_REQUEST:
            return _request(mono, direction, found, reader)
        if kind == CHANNEL_EOF:
            return Said(mono, direction, "eof", found)
        if kind == CHANNEL_CLOSE:
            del self._of[receiver][number]
            return Said(mono, direction, "close", found) if direction == 1 else None
        return None


def _request(mono: int, direction: int, channel: Channel, reader: Reader) -> Said | None:
    name = reader.name()
    reader.boolean()
    if name == "pty-req":
        reader.string()
        channel.pty = reader.uint32(), reader.uint32()
        return Said(mono, direction, "pty", channel, b"%dx%d" % channel.pty)
    if name == "window-change":
        channel.pty = reader.uint32(), reader.uint32()
        return Said(mono, direction, "size", channel, b"%dx%d" % channel.pty)
    if name in ("shell", "exec", "subsystem"):
        channel.what = name
        channel.text = reader.string() if name != "shell" else b""
        return Said(mono, direction, "start", channel, channel.text)
    if name == "exit-status":
        return Said(mono, direction, "exit", channel, str(reader.uint32()).encode())
    if name == "exit-signal":
        return Said(mono, direction, "exit", channel, b"signal " + reader.string())
    if name == "signal":
        return Said(mono, direction, "signal", channel, reader.string())
    return None


def _remember(places: dict[Any, Channel], key: object, channel: Channel) -> None:
    places[key] = channel
    if len(places) > CHANNELS:
        del places[next(iter(places))]
