"""A terminal as it looked: characters with their colours, the alternate screen too, whatever its output tried besides.

The same emulation as the one that reads commands (:mod:`~hoopproxy.protocols.ssh.terminal.screen`), on cells that keep
how they look. What comes out is made here, from cells: no sequence of the recording is passed on.
"""

from __future__ import annotations

from typing import Final

from hoopproxy.inert import inert
from hoopproxy.protocols.ssh.terminal.cursor import Cursor
from hoopproxy.protocols.ssh.terminal.grid import MAX_COLUMNS, MAX_LINES
from hoopproxy.protocols.ssh.terminal.screen import Screen
from hoopproxy.protocols.ssh.terminal.style import PLAIN, Style, restyled
from hoopproxy.protocols.ssh.terminal.widths import width

__all__ = ["BLANK", "Cell", "Picture", "Stage"]

Cell = tuple[str, Style]
"""A character with its marks, and how it looks; the second cell of a wide one is empty."""

MAX_MARKS: Final = 4
BLANK: Final[Cell] = (" ", PLAIN)

_ALTERNATE: Final = frozenset((47, 1047, 1049))
_CURSOR: Final = 25
_LINES: Final = str.maketrans(
    "`afgjklmnopqrstuvwxyz{|}~",
    "\u25c6\u2592\u00b0\u00b1\u2518\u2510\u250c\u2514\u253c\u23ba\u23bb\u2500\u23bc\u23bd\u251c\u2524\u2534\u252c"
    "\u2502\u2264\u2265\u03c0\u2260\u00a3\u00b7",
)
"""What DEC's special graphics make of letters."""


class Picture(Cursor):
    """Rows of cells, a cursor, and another such screen behind it.

    :ivar style: how the next character looks. :ivar hidden: whether the cursor is. :ivar drawing: letters are lines.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = _size(columns, lines)
        self.rows = self._empty()
        self._behind: list[list[Cell]] | None = None
        self.row = self.column = 0
        self.wrapping = self.inserting = self.hidden = self.drawing = False
        self.autowrap = True
        self.first, self.last = 0, self.lines - 1
        self.style = PLAIN
        self.work = 0  # counted by the screen; a movie has no limit to it

    def _empty(self) -> list[list[Cell]]:
        return [[BLANK] * self.columns for _ in range(self.lines)]

    @property
    def blank(self) -> Cell:
        """What is erased keeps the background."""
        return BLANK if self.style.back is None else (" ", Style(back=self.style.back))

    @property
    def is_alternate(self) -> bool:
        """Whether the alternate screen is shown."""
        return self._behind is not None

    def turn(self, alternate: bool) -> None:
        """To the alternate screen, which is empty, or back."""
        if alternate and self._behind is None:
            self._behind, self.rows = self.rows, self._empty()
        elif not alternate and self._behind is not None:
            self.rows, self._behind = self._behind, None

    # --- printing ------------------------------------------------------------------------------------------

    def put(self, text: str) -> None:
        """Print text at the cursor. What a terminal could take for more than a character is a question mark."""
        if self.drawing:
            text = text.translate(_LINES)
        for character in text:
            cells = 1 if character.isascii() else width(character)
            if inert(character) != character:
                character, cells = "\ufffd", 1
            if cells:
                self._put(character, cells)
            else:
                self._mark(character)

    def _put(self, character: str, cells: int) -> None:
        if cells > self.columns:
            return
        if self.wrapping or self.column + cells > self.columns:
            if not self.autowrap and cells > 1:
                return
            if self.wrapping or self.autowrap:
                self.column, self.wrapping = 0, False
                self.feed()
        row, at = self.rows[self.row], self.column
        if self.inserting:
            row[at:at] = [BLANK] * cells
            del row[self.columns :]
        self._part(row, at)
        self._part(row, at + cells)
        row[at] = (character, self.style)
        if cells == 2:
            row[at + 1] = ("", self.style)
        if at + cells >= self.columns:
            self.column, self.wrapping = self.columns - 1, self.autowrap
        else:
            self.column = at + cells

    @staticmethod
    def _part(row: list[Cell], at: int) -> None:
        """Nobody sees half of a wide character."""
        if 0 < at < len(row) and row[at][0] == "":
            row[at - 1] = (" ", row[at - 1][1])
            row[at] = (" ", row[at][1])

    def _mark(self, mark: str) -> None:
        row = self.rows[self.row]
        at = self.column if self.wrapping else self.column - 1
        if at > 0 and row[at][0] == "":
            at -= 1
        if at >= 0 and len(row[at][0]) <= MAX_MARKS:
            row[at] = (row[at][0] + mark, row[at][1])

    # --- moving --------------------------------------------------------------------------------------------

    def scroll_up(self, count: int) -> None:
        """Rows of the region go up."""
        self._shift(self.first, self.last, count)

    def scroll_down(self, count: int, first: int | None = None) -> None:
        """Rows of the region from ``first`` on go down."""
        start = self.first if first is None else first
        for _ in range(min(count, self.last - start + 1)):
            del self.rows[self.last]
            self.rows.insert(start, [self.blank] * self.columns)

    def delete_lines(self, count: int) -> None:
        """Rows from the cursor's on are taken out of the region."""
        if self.first <= self.row <= self.last:
            self._shift(self.row, self.last, count)

    def _shift(self, first: int, last: int, count: int) -> None:
        for _ in range(min(count, last - first + 1)):
            del self.rows[first]
            self.rows.insert(last, [self.blank] * self.columns)

    # --- erasing -------------------------------------------------------------------------------------------

    def erase_line(self, what: int) -> None:
        """To the end (0), to the beginning (1), or all of it (2)."""
        start, end = {0: (self.column, self.columns), 1: (0, self.column + 1)}.get(what, (0, self.columns))
        self._erase(start, end)

    def erase_screen(self, what: int) -> None:
        """From the cursor on (0), up to it (1), or everything (2, 3)."""
        start, end = {0: (self.row + 1, self.lines), 1: (0, self.row)}.get(what, (0, self.lines))
        for number in range(start, end):
            self.rows[number] = [self.blank] * self.columns
        if what in (0, 1):
            self.erase_line(what)

    def erase(self, count: int) -> None:
        """Cells at the cursor become empty."""
        self._erase(self.column, min(self.column + count, self.columns))

    def _erase(self, start: int, end: int) -> None:
        row = self.rows[self.row]
        self._part(row, start)
        self._part(row, end)
        row[start:end] = [self.blank] * (end - start)

    def delete(self, count: int) -> None:
        """Cells at the cursor go, the rest of the line moves up."""
        row, at = self.rows[self.row], self.column
        count = min(count, self.columns - at)
        self._part(row, at)
        self._part(row, at + count)
        row[at:] = row[at + count :] + [self.blank] * count

    def insert(self, count: int) -> None:
        """Empty cells at the cursor; the rest of the line moves on."""
        row, at = self.rows[self.row], self.column
        self._part(row, at)
        row[at:at] = [self.blank] * min(count, self.columns - at)
        self._part(row, self.columns)
        del row[self.columns :]

    def resize(self, columns: int, lines: int) -> None:
        """Another size; rows go at the top, the cursor stays in its own."""
        columns, lines = _size(columns, lines)
        gone = max(self.row - lines + 1, 0)
        self.columns, self.lines = columns, lines
        self.rows = self._fitted(self.rows[gone:])
        if self._behind is not None:
            self._behind = self._fitted(self._behind)
        self.first, self.last = 0, lines - 1
        self.to(self.row - gone, self.column)

    def _fitted(self, rows: list[list[Cell]]) -> list[list[Cell]]:
        rows = rows[: self.lines]
        for row in rows:
            self._part(row, self.columns)
            row[self.columns :] = [BLANK] * max(self.columns - len(row), 0)
        return rows + [[BLANK] * self.columns for _ in range(self.lines - len(rows))]


class _Nobody:
    """Titles, clipboards and the like are nobody's business."""

    def line_fed(self, at: int) -> None: ...
    def changed(self) -> None: ...
    def mode_set(self, number: int, on: bool, at: int) -> None: ...
    def told(self, text: bytes, at: int) -> None: ...


class Stage(Screen):
    """Draws output on a picture. The alternate screen is drawn as well, so ``alternate`` stays false."""

    grid: Picture  # type: ignore[assignment]  # it does what is asked of a grid here, and not what reads commands

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__(columns, lines, _Nobody())
        self.grid = Picture(columns, lines)
        self.watched = True

    def _sequence(self, token: bytes, at: int) -> None:
        if token[-1:] == b"m" and token[2:-1].translate(None, b"0123456789;:") == b"":
            self.grid.style = restyled(self.grid.style, token[2:-1].decode("ascii"))
        elif token == b"\x1bc":
            self.reset()
        elif token[1:2] == b"(":
            self.grid.drawing = token[2:] == b"0"
        else:
            super()._sequence(token, at)

    def _mode(self, number: int, on: bool, at: int) -> None:
        if number in _ALTERNATE:
            if on and not self.grid.is_alternate:
                self.save()
                self.grid.turn(True)
            elif not on and self.grid.is_alternate:
                self.grid.turn(False)
                self.restore()
        elif number == _CURSOR:
            self.grid.hidden = not on
        else:
            super()._mode(number, on, at)

    def reset(self) -> None:
        self.grid.turn(False)
        self.grid.style, self.grid.drawing, self.grid.hidden = PLAIN, False, False
        super().reset()


def _size(columns: int, lines: int) -> tuple[int, int]:
    return min(max(columns, 1) if columns else 80, MAX_COLUMNS), min(
        max(lines, 1) if lines else 24, MAX_LINES
    )
