"""The texts that a session's terminals and programs showed, for the search index: what the target said, never what was
typed.

On a terminal it is the line as it stood when the cursor left it, by the emulation; on the alternate screen (editors,
pagers) what was printed between two moves of the cursor. Without a terminal it is the lines of output and of errors.
A program whose output holds a NUL byte speaks in no text (files, archives), and is left alone from there on; so are
subsystems and forwarded connections.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from hoopproxy.protocols.ssh.recorded import Channel, Reading, Said
from hoopproxy.protocols.ssh.terminal.screen import Screen
from hoopproxy.wire.recorded import RecordedChunk

__all__ = ["MAX_CHUNK", "MAX_SESSION", "ScreenTexts"]

MAX_SESSION: Final = 32 << 20
"""Bytes of output that are read of one session: some seconds of CPU."""

MAX_CHUNK: Final = 512 << 10
"""Bytes of output that are read of one chunk: of a burst the rest is not looked at."""

MAX_LINE: Final = 4096
"""Characters of a text that are given."""

MAX_WORK: Final = 500_000
"""Units of work (see :mod:`hoopproxy.protocols.ssh.terminal.effort`) that laying out one message may cost."""

_ALTERNATE: Final = frozenset((47, 1047, 1049))
_COLOUR: Final = re.compile(rb"\x1b\[[0-9;:]*m")
_WITHIN: Final = re.compile(rb"\x1b\[[0-9;]*[CGKXPJ@]|\t")
_BETWEEN: Final = re.compile(
    rb"(?:\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|[\x00-\x1f\x7f])+"
)

Text = tuple[str, str]
"""A channel's label, and what it showed."""


class ScreenTexts:
    """Give it a session's chunks in order. :param mark: where an earlier one stood; empty: the session's beginning."""

    def __init__(self, mark: str = "") -> None:
        known: dict[str, Any] = json.loads(mark) if mark else {"at": "", "left": MAX_SESSION, "screens": {}}
        self._reading = Reading(known["at"], strangers=True)
        self._left: int = known["left"]
        self._screens: dict[str, _Terminal | _Lines] = {}
        self._resume(known["screens"])

    def _resume(self, screens: dict[str, Any]) -> None:
        self._screens = {
            each.label: _made(each, screens[each.label])
            for each in self._reading.channels
            if each.label in screens
        }

    def feed(self, chunk: RecordedChunk) -> Iterator[Text]:
        """The texts that are whole with this chunk."""
        room = min(MAX_CHUNK, self._left)
        for each in self._reading.feed(chunk):
            channel = each.channel
            if channel is None or not _is_read(channel):
                continue
            screen = self._screens.get(channel.label)
            if each.what in ("data", "stderr"):
                if each.direction == 1 and room:
                    if screen is None:
                        screen = self._screens[channel.label] = _made(channel, None)
                    data = _unhidden(each)
                    if len(data) > room:
                        data = data[:room] + b"\r\n"  # what comes next is another line
                    used = min(len(data), room)
                    room -= used
                    self._left -= used
                    yield from ((channel.label, text) for text in screen.feed(data, each.what == "stderr"))
            elif each.what == "size" and isinstance(screen, _Terminal) and channel.pty is not None:
                screen.resize(channel.pty)
            elif each.what == "close" and screen is not None:
                del self._screens[channel.label]
                yield from ((channel.label, text) for text in screen.rest())

    def rest(self) -> Iterator[Text]:
        """What stands where no line has ended yet."""
        for label, screen in self._screens.items():
            yield from ((label, text) for text in screen.rest())

    def mark(self) -> str:
        """Where this stands; from here on it reads as another does that begins with the mark."""
        screens = {label: screen.mark() for label, screen in self._screens.items()}
        mark = json.dumps(
            {"at": self._reading.mark(), "left": self._left, "screens": screens}, separators=(",", ":")
        )
        self._resume(screens)
        return mark


def _is_read(channel: Channel) -> bool:
    return channel.kind == "session" and channel.what != "subsystem"


def _made(channel: Channel, stood: Any) -> _Terminal | _Lines:
    if channel.pty is not None:
        return _Terminal(channel.pty, stood if stood is None or len(stood) == 3 else None)
    return _Lines(stood)


def _unhidden(each: Said) -> bytes:
    """The data without what is filled."""
    if not each.hidden:
        return each.data
    data = bytearray(each.data)
    for start, end in each.hidden:
        data[start:end] = b" " * (end - start)
    return bytes(data)


def _bounded(text: str) -> Iterator[str]:
    text = text.strip()
    for start in range(0, len(text), MAX_LINE):
        yield text[start : start + MAX_LINE]


def _printed(data: bytes) -> Iterator[str]:
    """What is printed between the moves of a cursor."""
    for part in _BETWEEN.split(_WITHIN.sub(b" ", _COLOUR.sub(b"", data))):
        yield from _bounded(part.decode("utf-8", "replace"))


class _Lines:
    """A program without a terminal."""

    def __init__(self, stood: Any) -> None:
        self._parts: list[bytes] = [bytes.fromhex(each) for each in stood] if stood else [b"", b""]
        self._is_binary = stood == []

    def feed(self, data: bytes, stderr: bool) -> Iterator[str]:
        if self._is_binary:
            return
        nul = data.find(0)
        if nul >= 0:
            self._is_binary, data = True, data[:nul]
        lines, end, rest = (self._parts[stderr] + data).rpartition(b"\n")
        if len(rest) > MAX_LINE:
            lines, end, rest = lines + end + rest, b"", b""
        self._parts[stderr] = rest
        yield from _printed(lines)

    def rest(self) -> Iterator[str]:
        for part in self._parts:
            yield from _printed(part)

    def mark(self) -> list[str]:
        return [] if self._is_binary else [part.hex() for part in self._parts]


class _Terminal:
    """A terminal. ``found``: lines that the cursor left."""

    def __init__(self, size: tuple[int, int], stood: Any) -> None:
        self._begin(*size)
        self._found: list[str] = []
        self._since: int | None = None  # where the alternate screen began, in what is fed
        self._apart: list[tuple[int, int]] = []
        if stood:
            self._screen.alternate, line, column = stood
            grid = self._screen.grid
            grid.put(line)
            grid.to(grid.row, column)

    def _begin(self, columns: int, lines: int) -> None:
        self._screen = Screen(columns, lines, self)
        self._screen.watched = True

    def feed(self, data: bytes, stderr: bool) -> Iterator[str]:
        screen = self._screen
        self._since = 0 if screen.alternate else None
        screen.limit, screen.grid.work = MAX_WORK, 0
        screen.feed(data, 0)
        if screen.tired:  # made to be dear: its words are taken as they come, and the screen is empty then
            self._found, self._apart = [], []
            self._begin(screen.grid.columns, screen.grid.lines)
            yield from _printed(data)
            return
        if self._since is not None:
            self._apart.append((self._since, len(data)))
        found, self._found = self._found, []
        apart, self._apart = self._apart, []
        for text in found:
            yield from _bounded(text)
        for start, end in apart:
            yield from _printed(data[start:end])

    def resize(self, size: tuple[int, int]) -> None:
        self._screen.resize(*size)

    def rest(self) -> Iterator[str]:
        yield from _bounded(self._line())

    def mark(self) -> tuple[bool, str, int]:
        grid = self._screen.grid
        row = grid.rows[grid.row]
        return self._screen.alternate, grid.said(row), grid.column

    def _line(self) -> str:
        grid = self._screen.grid
        lines = grid.cells((grid.line_start(grid.number), 0), (grid.line_end(grid.number), None))
        return grid.said(lines[-1]) if lines else ""

    # --- the screen's observer -----------------------------------------------------------------------------

    def line_fed(self, at: int) -> None:
        """The cursor leaves a line."""
        if not self._screen.grid.wraps[self._screen.grid.row]:
            self._found.append(self._line())

    def changed(self) -> None:
        """A line is taken when it is whole."""

    def mode_set(self, number: int, on: bool, at: int) -> None:
        """The alternate screen comes or goes."""
        if number in _ALTERNATE:
            if on and self._since is None:
                self._since = max(at, 0)
            elif not on and self._since is not None:
                self._apart.append((self._since, max(at, 0)))
                self._since = None

    def told(self, text: bytes, at: int) -> None:
        """Titles and clipboards are not shown."""
