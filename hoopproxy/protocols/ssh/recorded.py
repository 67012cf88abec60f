"""A recording's chunks back to what was said on SSH's channels: both directions, in bounded memory.

The stream of a leg is payloads with their length before each. What was redacted whole (a log-in) is passed over by
its mark; what was filled inside of a message is told as hidden. Where bytes are missing, reading goes on at the next
chunk that begins with a message. Nothing is judged here: the gateway did that when it passed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import attrs

from hoopproxy.protocols.ssh.numbers import (
    CHANNEL_CLOSE,
    CHANNEL_DATA,
    CHANNEL_EOF,
    CHANNEL_EXTENDED_DATA,
    CHANNEL_FAILURE,
    CHANNEL_OPEN,
    CHANNEL_OPEN_CONFIRMATION,
    CHANNEL_OPEN_FAILURE,
    CHANNEL_REQUEST,
    CHANNEL_SUCCESS,
)
from hoopproxy.protocols.ssh.packets import Malformed, Reader
from hoopproxy.wire.recorded import RecordedChunk

__all__ = ["Channel", "Reading", "Said", "said"]

LONGEST: Final = 1 << 20
"""Bytes of a message: what passed had 256 KiB at the most."""

CHANNELS: Final = 10_000
"""Channels that are remembered, open at one time."""

MARKED: Final = 200
"""Bytes of a command that a mark keeps."""

_MARKS: Final = 10_000
_REFUSED: Final = -1
_FIRST, _LAST = 80, 127


@attrs.define
class Channel:
    """``label``: its number on the client's side, as the events have it; of the second with that number ``0.2``, and
    so on. ``pty``: columns and rows, if one was asked for and not refused so far. ``what`` is ``shell``, ``exec``,
    ``subsystem`` or the channel's type; ``text`` the command, or the subsystem's name."""

    kind: str
    label: str = ""
    what: str = ""
    text: bytes = b""
    pty: tuple[int, int] | None = None
    owed: int = 0
    """Answers to the client's requests that are to come."""
    pty_at: int = 0
    """Which of them is that to the last request for a terminal; 0: none, -1: it was a no."""


class Said(NamedTuple):
    """One thing that was said. ``direction`` 0: by the client.

    ``what``: ``open``, ``pty``, ``no pty`` (it was refused) and ``size`` (of the channel's ``pty``), ``start``
    (shell, exec or subsystem), ``data``, ``stderr``, ``eof``, ``exit`` (``data`` is the status or the signal's name),
    ``signal``, ``close``, ``lost`` (bytes are missing before this; no channel). ``hidden``: stretches of ``data`` that
    are filled.
    """

    mono: int
    direction: int
    what: str
    channel: Channel | None
    data: bytes = b""
    hidden: tuple[tuple[int, int], ...] = ()


def said(pieces: Iterable[Mapping[str, Any] | RecordedChunk]) -> Iterator[Said | Mapping[str, Any]]:
    """What was said on the client's leg, in order, with the events between (as they are)."""
    reading = Reading()
    for piece in pieces:
        if isinstance(piece, Mapping):
            yield piece
        else:
            yield from reading.feed(piece)


class Reading:
    """Both directions of a client's leg, read as chunks come.

    :param mark: where an earlier reading stood, as its :meth:`mark` said; empty: the recording's beginning.
    :param strangers: what comes in a channel whose beginning was not seen is told too.
    """

    def __init__(self, mark: str = "", strangers: bool = False) -> None:
        self._ways, self._channels = (_Way(0), _Way(1)), _Channels(strangers)
        if mark:
            known = json.loads(mark)
            for way, stood in zip(self._ways, known["ways"], strict=True):
                way.resume(*stood)
            self._channels.resume(known["uses"], known["channels"])

    def feed(self, chunk: RecordedChunk) -> Iterator[Said]:
        """What a chunk says."""
        if chunk.leg != 0:
            return
        way = self._ways[chunk.direction]
        if way.feed(chunk):
            yield Said(chunk.mono, chunk.direction, "lost", None)
        for payload, at, hidden in way.payloads():
            found = self._channels.told(chunk.direction, payload, at, hidden, chunk.mono)
            if found is not None:
                yield found

    def mark(self) -> str:
        """Where this stands, in a few hundred bytes. A message that is not whole yet is passed over, here as well as by
        whoever goes on from the mark."""
        known = {
            "ways": [way.stand() for way in self._ways],
            "uses": self._channels.uses,
            "channels": self._channels.known(),
        }
        return json.dumps(known, separators=(",", ":"))

    @property
    def channels(self) -> Iterator[Channel]:
        """Those that are open."""
        return iter(self._channels)


class _Way:
    """One direction: chunks to payloads."""

    def __init__(self, direction: int) -> None:
        self.direction = direction
        self._buffer = bytearray()
        self._base = self._end = self._skip = 0
        self._marks: list[tuple[int, int]] = []
        self._lost = False

    def feed(self, chunk: RecordedChunk) -> bool:
        """Take a chunk; whether bytes are missing before it."""
        data, missing = chunk.data, chunk.offset > self._end
        if missing or self._lost:
            self._buffer.clear()
            self._marks.clear()
            self._base, self._lost, self._skip = max(chunk.offset, self._end), False, 0
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

    def stand(self) -> list[int | str]:
        """Where the stream goes on, how much of it is passed over then, and the beginning of a length before that."""
        if self._lost:
            self._buffer.clear()
        if len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            self._skip = max(4 + length - len(self._buffer), 0)
            self._buffer.clear()
            self._base = self._end
        return [self._end, self._skip, self._buffer.hex()]

    def resume(self, end: int, skip: int, begun: str) -> None:
        """Go on from where another stood."""
        self._end, self._skip, self._buffer = end, skip, bytearray.fromhex(begun)
        self._base = end - len(self._buffer)

    def payloads(self) -> Iterator[tuple[bytes, int, tuple[tuple[int, int], ...]]]:
        """Payloads that are whole: themselves, where they begin, and what of them is filled (in the stream)."""
        buffer, position = self._buffer, min(self._skip, len(self._buffer))
        self._skip -= position
        while not self._lost and not self._skip:
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

    def __init__(self, strangers: bool) -> None:
        self._strangers = strangers
        self.uses: dict[str, int] = {}  # a client's number -> channels that had it
        self._asked: dict[tuple[int, int], Channel] = {}  # who opened it, by which number of theirs
        self._of: tuple[dict[int, Channel], dict[int, Channel]] = (
            {},
            {},
        )  # by the number that is sent to that side

    def __iter__(self) -> Iterator[Channel]:
        return iter({id(each): each for numbers in self._of for each in numbers.values()}.values())

    def named(self, number: int) -> str:
        """The label of the next channel with that number of the client."""
        key = str(number)
        used = self.uses[key] = self.uses.pop(key, 0) + 1
        if len(self.uses) > CHANNELS:
            del self.uses[next(iter(self.uses))]
        return key if used == 1 else f"{key}.{used}"

    def known(self) -> list[list[Any]]:
        """The channels, and the numbers that they have: who asks for it, to the target, to the client."""
        found: dict[int, list[Any]] = {}
        places: list[tuple[str, dict[Any, Channel]]] = [("asked", self._asked)]
        places += [("client", self._of[0]), ("target", self._of[1])]
        for name, numbers in places:
            for key, each in numbers.items():
                entry = found.setdefault(id(each), [attrs.asdict(each), {}])
                entry[1][name] = key
        for entry in found.values():
            entry[0]["text"] = entry[0]["text"][:MARKED].decode("latin-1")
        return list(found.values())

    def resume(self, uses: dict[str, int], known: list[list[Any]]) -> None:
        """Undo :meth:`known`."""
        self.uses = uses
        for fields, numbers in known:
            pty = fields.pop("pty")
            text = fields.pop("text").encode("latin-1")
            channel = Channel(**fields, text=text, pty=None if pty is None else (pty[0], pty[1]))
            if "asked" in numbers:
                self._asked[(numbers["asked"][0], numbers["asked"][1])] = channel
            if "client" in numbers:
                self._of[0][numbers["client"]] = channel
            if "target" in numbers:
                self._of[1][numbers["target"]] = channel

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
            channel, sender = Channel(reader.name()), reader.uint32()
            if direction == 0:
                channel.label = self.named(sender)
            _remember(self._asked, (direction, sender), channel)
            return Said(mono, direction, "open", channel)
        number = reader.uint32()
        receiver = 1 - direction
        if kind == CHANNEL_OPEN_CONFIRMATION:
            opened = self._asked.pop((receiver, number), None)
            if opened is not None:
                sender = reader.uint32()
                if direction == 0:
                    opened.label = self.named(sender)
                _remember(self._of[receiver], number, opened)
                _remember(self._of[direction], sender, opened)
            return None
        if kind == CHANNEL_OPEN_FAILURE:
            refused = self._asked.pop((receiver, number), None)
            return Said(mono, direction, "close", refused) if refused is not None else None
        found = self._of[receiver].get(number)
        if found is None:
            if not self._strangers or kind not in (CHANNEL_DATA, CHANNEL_EXTENDED_DATA) or direction == 0:
                return None
            found = Channel("session", self.named(number))
            _remember(self._of[0], number, found)
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
        if kind in (CHANNEL_SUCCESS, CHANNEL_FAILURE):
            return _answer(mono, direction, found, kind == CHANNEL_FAILURE)
        if kind == CHANNEL_EOF:
            return Said(mono, direction, "eof", found)
        if kind == CHANNEL_CLOSE:
            del self._of[receiver][number]
            return Said(mono, direction, "close", found) if direction == 1 else None
        return None


def _request(mono: int, direction: int, channel: Channel, reader: Reader) -> Said | None:
    name, wants = reader.name(), reader.boolean()
    channel.owed += wants and not direction
    if name == "pty-req":
        reader.string()
        channel.pty_at = channel.owed if wants else 0
        channel.pty = reader.uint32(), reader.uint32()
        return Said(mono, direction, "pty", channel, b"%dx%d" % channel.pty)
    if name == "window-change" and channel.pty_at != _REFUSED:
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


def _answer(mono: int, direction: int, channel: Channel, refused: bool) -> Said | None:
    """To the oldest of the client's requests: was it that for the terminal, and was it refused?"""
    if direction == 0 or not channel.owed:
        return None
    channel.owed -= 1
    if channel.pty_at <= 0:
        return None
    channel.pty_at -= 1
    if channel.pty_at or not refused:
        return None
    channel.pty, channel.pty_at = None, _REFUSED
    return Said(mono, direction, "no pty", channel)


def _remember(places: dict[Any, Channel], key: object, channel: Channel) -> None:
    places[key] = channel
    if len(places) > CHANNELS:
        del places[next(iter(places))]
