"""What of the typed text the target echoed, and so was no secret.

Only text that comes back at the cursor, in order, where the cursor stood when it was typed, counts: before Enter, or,
when it comes back later, followed by the end of the line at once. A password that also stands elsewhere on the screen,
one that is echoed as asterisks, and one that isn't echoed at all are none of that. A line that was typed ahead counts
when it is seen behind a prompt. Best effort: what is echoed is on the screen anyway.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import attrs

from hoopproxy.protocols.ssh.terminal.grid import Grid
from hoopproxy.protocols.ssh.terminal.widths import width

__all__ = ["Echoed", "Typed"]

MAX_LINE: Final = 4096
"""Characters of a line that are followed: a terminal in its canonical mode takes no more."""

MAX_LINES: Final = 64
"""Lines typed ahead; of more, the oldest stay unknown."""

_ENTER: Final = b"\r\n\x0f"
_ABORT: Final = b"\x03\x1c\x1a"
_ERASE: Final = b"\x08\x7f"
_KILL: Final = 0x15
_WORD: Final = 0x17


class Echoed(NamedTuple):
    """A line that was typed and echoed, with what was erased of it gone; the range is in the client's stream."""

    text: str
    start: int
    end: int


@attrs.define
class _Line:
    text: str = attrs.field(default="", repr=False)
    pending: str = attrs.field(default="", repr=False)
    place: tuple[int, int] | None = None
    start: int = -1
    end: int = 0
    failed: bool = False
    lost: bool = False
    entered: bool = False


class Typed:
    """:ivar found: what was echoed and not taken yet."""

    def __init__(self, grid: Grid) -> None:
        self.found: list[Echoed] = []
        self._grid = grid
        self._active = _Line()
        self._queue: deque[_Line] = deque(maxlen=MAX_LINES)
        self._waiting: deque[_Line] = deque(maxlen=MAX_LINES)

    @property
    def watching(self) -> bool:
        """Whether every change of the screen matters."""
        active = self._active
        return bool(active.pending) or active.entered

    # --- what is typed -------------------------------------------------------------------------------------

    def text(self, text: str, start: int, end: int) -> None:
        """Text was typed; the range is in the client's stream."""
        line = self._open()
        if line.start < 0:
            line.start = start
        line.end = end
        if line.lost or len(line.text) + len(text) > MAX_LINE:
            line.lost = line.failed = True
            line.text = line.pending = ""
            return
        line.text += text
        if line.failed:
            return
        if line is self._active and not line.pending:
            line.place = self._cursor()
        line.pending += text

    def control(self, code: int) -> None:
        """A control character was typed."""
        if code in _ABORT:
            self.drop()
            return
        line = self._open()
        if code in _ENTER:
            self._entered(line)
        elif code in _ERASE:
            line.pending, line.text = line.pending[:-1], line.text[:-1]
        elif code == _KILL:
            line.text = line.pending = ""
        elif code == _WORD:
            line.text = line.text.rstrip()[: line.text.rstrip().rfind(" ") + 1]
            line.pending = line.pending[: len(line.text)]

    def _open(self) -> _Line:
        """The line that is being typed."""
        if not self._active.entered:
            return self._active
        if not self._queue or self._queue[-1].entered:
            self._queue.append(_Line())
        return self._queue[-1]

    def _entered(self, line: _Line) -> None:
        line.entered = True
        if line is not self._active:
            return
        if not line.text or line.failed:
            self._next(line.failed, None)
        elif not line.pending:
            self._echoed(line)
            self._next(False, None)

    def drop(self) -> None:
        """What was typed so far will not be taken, or can't be told any more."""
        self._active = _Line()
        self._queue.clear()

    # --- what is shown -------------------------------------------------------------------------------------

    def changed(self) -> None:
        """The screen changed: see how much of what was typed has come back."""
        line = self._active
        if line.pending and not line.failed and line.place is not None:
            number, column = line.place
            cursor, columns, grid = self._cursor(), self._grid.columns, self._grid
            taken = 0
            for character in line.pending:
                cells = width(character)
                if cells == 2 and column == columns - 1:
                    number, column = number + 1, 0
                after = _normal(number, column + cells, columns)
                if cursor < after:
                    break
                row = grid.at(number)
                if cells and (row is None or grid.said(row[0][column : column + 1])[:1] != character):
                    self._fail()
                    return
                taken += 1
                number, column = after
            line.place = number, column
            line.pending = line.pending[taken:]

    def _fail(self) -> None:
        line = self._active
        line.failed, line.pending = True, ""
        if line.entered:
            self._next(True, None)

    def line_fed(self) -> None:
        """A line feed comes now: what hasn't come back will not, or not here."""
        line = self._active
        after = self._grid.number + 1, 0
        if not line.entered:
            if line.pending:
                self._active = _Line()
            return
        good = not line.pending and not line.failed and self._is_last(line)
        if good and line.text:
            self._echoed(line)
        self._next(not good, after)

    def _is_last(self, line: _Line) -> bool:
        """Whether nothing stands behind a line's end."""
        if line.place is None:
            return False
        number, column = line.place
        row = self._grid.at(number)
        if row is None:  # the cursor waits to wrap
            return True
        return not row[0][column:].strip()

    def _next(self, failed: bool, place: tuple[int, int] | None) -> None:
        if failed and self._active.text:
            self._waiting.append(attrs.evolve(self._active, pending=""))
        self._active = self._queue.popleft() if self._queue else _Line()
        active = self._active
        active.place = place or self._cursor()

    def _echoed(self, line: _Line) -> None:
        self.found.append(Echoed(line.text, max(line.start, 0), line.end))

    def accepted(self, text: str) -> None:
        """A line was seen behind a prompt."""
        behind = [*self._waiting, *([self._active] if self._active.entered else []), *self._queue]
        for number, line in enumerate(behind):
            if line.entered and line.text and line.text.strip() == text:
                self._echoed(line)
                self._forget(number)
                return
        if not self._queue and not self._active.entered:
            self._waiting.clear()

    def _forget(self, number: int) -> None:
        """Lines up to this one were taken."""
        for _ in range(number + 1):
            if self._waiting:
                self._waiting.popleft()
            elif self._active.entered:
                self._active = self._queue.popleft() if self._queue else _Line()
                self._active.place = None
            elif self._queue:
                self._queue.popleft()

    def _cursor(self) -> tuple[int, int]:
        grid = self._grid
        return _normal(grid.number, grid.column + grid.wrapping, grid.columns)


def _normal(number: int, column: int, columns: int) -> tuple[int, int]:
    return (number, column) if column < columns else (number + 1, 0)
