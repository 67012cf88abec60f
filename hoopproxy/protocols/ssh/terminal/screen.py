"""A terminal's output on a grid: what ECMA-48 and xterm make of it, as far as shells and line editors use it.

Pure and bounded: a sequence may be cut anywhere, garbage does no harm, and of a burst only what is still to be seen
at its end is laid out. On the alternate screen nothing is laid out at all.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from hoopproxy.protocols.ssh.terminal.grid import Grid
from hoopproxy.protocols.ssh.terminal.sequences import ESCAPES, SEQUENCES

__all__ = ["MAX_STRING", "Observer", "Screen"]

MAX_STRING: Final = 64 << 10
"""Bytes of an operating system command that are kept: a command line in one is no longer. The rest is skipped."""

MAX_HELD: Final = 64
"""Bytes of a control sequence that is waited for; a longer one is nobody's."""

MAX_NUMBER: Final = 9999
"""Of a control sequence's parameters."""

BULK: Final = 512
"""Bytes from which on it is worth finding out what scrolls away."""

_TOKEN: Final = re.compile(
    rb"[^\x00-\x1f\x7f]+|\r\n|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_]|\x1b[ -/]+[0-~]|\x1b[0-OQ-WYZ\\`-~]|[\x00-\x1f\x7f]"
)
_UNFINISHED: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[ -/]*)\Z")
_SERIOUS: Final = re.compile(rb"\x1b(?!\[[0-9;:]*[mK])")
"""Sequences that do more than colour and erase in a line: what scrolls away with those is gone."""

_PRINTABLE: Final = bytes(range(0x20, 0x7F)) + b"\t"
_LEAVING: Final = re.compile(rb"\x1b(?:\[\?[0-9;]*[hl]|c)")
_STRING_END: Final = re.compile(rb"[\x07\x18\x1a\x1b]")
_CSI: Final = re.compile(rb"\x1b\[([<-?]?)([0-9;:]*)[0-?]*([ -/]*)([@-~])")
_ENDLESS: Final = 1 << 62
_ALTERNATE: Final = frozenset((47, 1047, 1049))
_TAB: Final = 8


class Observer(Protocol):
    """Whoever wants to know what happens on a screen. ``at`` is an offset in the stream."""

    def line_fed(self, at: int) -> None:
        """A line feed is about to be carried out; ``at`` is behind it. Only while the screen is watched."""

    def changed(self) -> None:
        """Something was printed or the cursor moved. Only while the screen is watched."""

    def mode_set(self, number: int, on: bool, at: int) -> None:
        """A private mode was set or reset (2004: bracketed paste); ``at`` is behind it."""

    def told(self, text: bytes, at: int) -> None:
        """An operating system command, whole; ``at`` is behind it."""


class Screen:
    """:ivar watched: the observer wants each line feed and change; nothing may be skipped. :ivar limit: the work of its
    grid at which it reads no further, if there is one; :ivar tired: that it has come to that."""

    grid: Grid

    def __init__(self, columns: int, lines: int, observer: Observer) -> None:
        self.grid = Grid(columns, lines)
        self.alternate = self.watched = self.tired = False
        self.limit: int | None = None
        self._observer = observer
        self._held = self._text = b""
        self._string: bytearray | None = None
        self._kept = self._escaped = False
        self._saved = (0, 0)
        self._last = ""

    def resize(self, columns: int, lines: int) -> None:
        """The window has another size."""
        self.grid.resize(columns, lines)

    def feed(self, data: bytes, at: int) -> None:
        """The next bytes; ``at`` is where they begin in the stream."""
        position = 0
        if self._string is not None:
            position = self._string_on(data, 0, at)
        if self._held:
            data, at = self._held + data[position:], at + position - len(self._held)
            self._held, position = b"", 0
        size = len(data)
        while position < size and not self.tired:
            if self.alternate:
                position = self._pass_over(data, position, at)
            elif size - position > BULK and not self.watched:
                serious = _SERIOUS.search(data, position)
                end = size if serious is None else serious.start()
                if end > position:
                    start = self._skipped(data, position, end) if end - position > BULK else position
                    position = end if self._plainly(data[start:end]) else self._tokens(data, start, end, at)
                else:
                    position = self._tokens(data, position, size, at, once=True)
            else:
                position = self._tokens(data, position, size, at)

    # --- what needs no layout ------------------------------------------------------------------------------

    def _skipped(self, data: bytes, start: int, end: int) -> int:
        """Where to begin so that everything before has scrolled away at the end."""
        grid = self.grid
        if grid.first or grid.last != grid.lines - 1:
            return start
        cut = end
        for _ in range(grid.lines + 1):
            cut = data.rfind(b"\r\n", start, cut)
            if cut < 0:
                return start
        self._text, self._last = b"", ""
        grid.skip(data.count(b"\n", start, cut + 2))
        return cut + 2

    def _plainly(self, data: bytes) -> bool:
        """Lay out whole lines of printable ASCII at the bottom of the screen at once, if it is that."""
        ends = data.translate(None, _PRINTABLE)
        if ends != b"\r\n" * (len(ends) >> 1) or not ends or self._text:
            return False
        first, *lines, last = data.decode("ascii").split("\r\n")
        if b"\t" in data:
            if "\t" in first:
                return False
            lines, last = [line.expandtabs(_TAB) for line in lines], last.expandtabs(_TAB)
        if not self.grid.fits(lines):
            return False
        self.grid.put(first)
        self.grid.append(lines)
        self._last = last[-1:]
        self.grid.put(last)
        return True

    def _pass_over(self, data: bytes, position: int, at: int) -> int:
        """The alternate screen: only its end matters."""
        found = _LEAVING.search(data, position)
        if found is None:
            tail = _UNFINISHED.search(data, max(position, len(data) - MAX_HELD))
            if tail is not None:
                self._held = tail[0]
            return len(data)
        self._sequence(found[0], at + found.end())
        return found.end()

    # --- tokens --------------------------------------------------------------------------------------------

    def _tokens(self, data: bytes, position: int, end: int, at: int, once: bool = False) -> int:
        """Carry out what stands up to ``end``; stop early where another way of reading begins."""
        grid, watched, observer = self.grid, self.watched, self._observer
        limit = _ENDLESS if self.limit is None else self.limit
        each = 7 if watched else 3
        for found in _TOKEN.finditer(data, position, end):
            grid.work += each
            if grid.work > limit:
                self.tired = True
                return end
            token = found[0]
            first = token[0]
            if first >= 0x20 and first != 0x7F:
                self._print(token)
            elif self._text:
                self._broken_off()
            if first == 0x1B:
                if len(token) == 1:
                    if _UNFINISHED.match(data, found.start()) is not None and end == len(data):
                        if len(data) - found.start() <= MAX_HELD:
                            self._held = data[found.start() :]
                        return end
                elif token[1] in b"]PX^_" and len(token) == 2:
                    self._string, self._kept, self._escaped = bytearray(), token[1] == 0x5D, False
                    return self._string_on(data, found.end(), at)
                else:
                    self._sequence(token, at + found.end())
                    if self.alternate or once or self.watched is not watched:
                        return found.end()
            elif token == b"\r\n":
                self._last = ""
                grid.column, grid.wrapping = 0, False
                if watched:
                    observer.line_fed(at + found.end())
                grid.feed()
            elif first < 0x20:
                self._control(first, at + found.end())
            if watched:
                observer.changed()
            if self.watched is not watched:
                return found.end()
        return end

    def _print(self, token: bytes) -> None:
        if token.isascii() and not self._text:
            text = token.decode("ascii")
        else:
            whole = self._text + token
            cut = _cut_character(whole)
            self._text = whole[len(whole) - cut :] if cut else b""
            text = whole[: len(whole) - cut].decode("utf-8", "replace")
            if not text:
                return
        self._last = text[-1]
        self.grid.put(text)

    def _broken_off(self) -> None:
        """A character that never ended."""
        text, self._text = self._text.decode("utf-8", "replace"), b""
        self.grid.put(text)

    def _control(self, code: int, at: int) -> None:
        grid, self._last = self.grid, ""
        if code == 0x0D:
            grid.column, grid.wrapping = 0, False
        elif code in (0x0A, 0x0B, 0x0C):
            if self.watched:
                self._observer.line_fed(at)
            grid.feed()
        elif code == 0x08:
            grid.to(grid.row, grid.column - 1)
        elif code == 0x09:
            grid.to(grid.row, (grid.column // _TAB + 1) * _TAB)

    # --- strings -------------------------------------------------------------------------------------------

    def _string_on(self, data: bytes, position: int, at: int) -> int:
        """Inside a string (OSC, DCS, ...): return where it ends, or the end of the data."""
        string = self._string
        assert string is not None
        if self._escaped and position < len(data):
            self._escaped, self._string = False, None
            if data[position : position + 1] == b"\\":
                self._ended(string, at + position + 1)
                return position + 1
            self._held = b"\x1b"
            return position
        found = _STRING_END.search(data, position)
        end = len(data) if found is None else found.start()
        if self._kept:
            string += data[position : min(end, position + MAX_STRING + 1 - len(string))]
        if found is None:
            return end
        if found[0] == b"\x1b":
            self._escaped = True
            if end + 1 >= len(data):
                return len(data)
            if data[end + 1] != 0x5C:
                self._escaped, self._string = False, None
                return end
            end += 1
        self._escaped, self._string = False, None
        if found[0] in b"\x07\x1b":
            self._ended(string, at + end + 1)
        return end + 1

    def _ended(self, string: bytearray, at: int) -> None:
        if self._kept and len(string) <= MAX_STRING:
            self.grid.work += 8 + (len(string) >> 2)
            self._observer.told(bytes(string), at)

    # --- sequences -----------------------------------------------------------------------------------------

    def _sequence(self, token: bytes, at: int) -> None:
        if token[-1] != 0x62:
            self._last = ""
        found = _CSI.fullmatch(token)
        if found is None:
            act = ESCAPES.get(token[1:])
            if act is not None:
                act(self)
            return
        mark, digits, between, final = found.groups()
        numbers = [min(int(each), MAX_NUMBER) if each else 0 for each in _parameters(digits)]
        if mark == b"?":
            if final in b"hl" and not between:
                for number in numbers[:16]:
                    self._mode(number, final == b"h", at)
        elif not mark and not between:
            sequence = SEQUENCES.get(final)
            if sequence is not None:
                sequence(self, numbers)

    def _mode(self, number: int, on: bool, at: int) -> None:
        if number in _ALTERNATE:
            if on and not self.alternate:
                self.save()
            elif not on and self.alternate:
                self.restore()
            self.alternate = on
        elif number == 7:
            self.grid.autowrap = on
        elif number == 1048:
            (self.save if on else self.restore)()
        self._observer.mode_set(number, on, at)

    def save(self) -> None:
        """Where the cursor is, for :meth:`restore`."""
        self._saved = (self.grid.row, self.grid.column)

    def restore(self) -> None:
        """Put the cursor back."""
        self.grid.to(*self._saved)

    def reset(self) -> None:
        """As it was at first, but for its size."""
        grid = self.grid
        grid.first, grid.last, grid.autowrap, grid.inserting = 0, grid.lines - 1, True, False
        self.alternate = False
        grid.erase_screen(2)
        grid.to(0, 0)

    def repeat(self, count: int) -> None:
        """The last character that was printed once more, so often."""
        self.grid.put(self._last * min(count, self.grid.columns))


def _cut_character(data: bytes) -> int:
    """How many bytes at the end are the beginning of a character."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            needed = 2 if byte >= 0xC2 else 0
            needed = 3 if byte >= 0xE0 else needed
            needed = 4 if byte >= 0xF0 else needed
            return back if back < needed and byte < 0xF5 else 0
    return 0


def _parameters(digits: bytes) -> list[bytes]:
    return [each.partition(b":")[0][:9] for each in digits.split(b";")]
