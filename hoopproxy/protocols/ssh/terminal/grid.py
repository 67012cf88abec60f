"""Rows of cells and a cursor: what is left on a terminal of what was printed on it. Everything in it is bounded.

A cell is one character of a row's text. The second cell of a wide character is :data:`REST`; a character with
marks on it is one of the last private plane that stands for both (:meth:`Grid.said` puts them back). Colours and
other renditions are not kept.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from hoopproxy.protocols.ssh.terminal.cursor import Cursor
from hoopproxy.protocols.ssh.terminal.widths import is_narrow, width

__all__ = ["MAX_COLUMNS", "MAX_LINES", "Grid"]

MAX_COLUMNS: Final = 1000
MAX_LINES: Final = 500
"""Cells that are kept, whatever size a client says its window has."""

MAX_HISTORY: Final = 500
"""Rows that scrolled away and are remembered, for a line that is longer than the screen."""

MAX_MARKS: Final = 8
MAX_COMPOSED: Final = 4096
"""Marks on one character, and different characters with marks: more of them lose theirs."""

REST: Final = "\0"
_PLANE: Final = 0x100000
_COMPOSED: Final = re.compile("[\U00100000-\U0010ffff]")


class Grid(Cursor):
    """:ivar rows: what stands in each row, up to the last cell that was written. :ivar wraps: whether a row goes on in
    the next. :ivar top: the number of the first row, counting from the beginning. :ivar wrapping: the last column
    was written, the next character wraps first. :ivar work: what it has cost, in units (see
    :mod:`~hoopproxy.protocols.ssh.terminal.effort`)."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = _size(columns, lines)
        self.rows, self.wraps = [""] * self.lines, [False] * self.lines
        self.history: deque[tuple[str, bool]] = deque(maxlen=MAX_HISTORY)
        self.top = self.row = self.column = 0
        self.wrapping = self.inserting = False
        self.autowrap = True
        self.first, self.last = 0, self.lines - 1
        self.work = 0
        self._composed: dict[str, str] = {}
        self._whole: list[str] = []

    # --- printing ------------------------------------------------------------------------------------------

    def put(self, text: str) -> None:
        """Print text without controls at the cursor."""
        if is_narrow(text):
            self.work += len(text) >> 6
            self._put_narrow(text)
            return
        self.work += len(text) >> 1
        for character in text:
            if ord(character) >= _PLANE:
                character = "\ufffd"
            cells = width(character)
            if cells == 1:
                self._put_narrow(character)
            elif cells == 2:
                self._put_wide(character)
            else:
                self._put_mark(character)

    def _put_narrow(self, text: str) -> None:
        columns, rows = self.columns, self.rows
        screen = columns * self.lines
        if len(text) > 2 * screen and self.autowrap:
            room = 0 if self.wrapping else columns - self.column
            gone = (len(text) - room - screen) // columns * columns
            text = text[:room] + text[room + gone :]
            self.top += gone // columns
            self.history.clear()
        while text:
            if self.wrapping:
                self._wrap()
            column = self.column
            part = text[: columns - column]
            text = text[len(part) :]
            row, end = rows[self.row], column + len(part)
            if column == len(row):
                rows[self.row] = row + part
            elif column > len(row):
                rows[self.row] = row.ljust(column) + part
            elif self.inserting:
                rows[self.row] = (row[:column] + part + row[column:])[:columns]
            else:
                rows[self.row] = row[:column] + part + row[end:]
            if end >= columns:
                self.column, self.wrapping = columns - 1, self.autowrap
            else:
                self.column = end

    def _put_wide(self, character: str) -> None:
        if self.columns < 2:
            return
        if self.wrapping or self.column > self.columns - 2:
            if not self.autowrap:
                return
            self._wrap()
        self._put_narrow(character + REST)

    def _put_mark(self, mark: str) -> None:
        """A mark on the character before the cursor."""
        row = self.rows[self.row]
        at = self.column if self.wrapping else self.column - 1
        if 0 < at < len(row) and row[at] == REST:
            at -= 1
        if not 0 <= at < len(row):
            return
        whole = self.said(row[at]) + mark
        known = self._composed.get(whole)
        if known is None:
            if len(whole) > MAX_MARKS or len(self._whole) >= MAX_COMPOSED:
                return
            known = self._composed[whole] = chr(_PLANE + len(self._whole))
            self._whole.append(whole)
        self.rows[self.row] = row[:at] + known + row[at + 1 :]

    def _wrap(self) -> None:
        self.wraps[self.row] = True
        self.wrapping, self.column = False, 0
        self.feed()

    def said(self, cells: str) -> str:
        """The text that cells stand for."""
        if cells.isascii():
            return cells.replace(REST, "")
        return _COMPOSED.sub(self._put_back, cells.replace(REST, ""))

    def _put_back(self, found: re.Match[str]) -> str:
        number = ord(found[0]) - _PLANE
        return self._whole[number] if number < len(self._whole) else "\ufffd"

    # --- moving --------------------------------------------------------------------------------------------

    def scroll_up(self, count: int) -> None:
        """Rows of the region go up; those of a whole screen are remembered for a while."""
        rows, wraps, first, last = self.rows, self.wraps, self.first, self.last
        count = min(count, last - first + 1)
        self.work += count >> 2
        for _ in range(count):
            if last - first + 1 == self.lines:
                self.history.append((rows[0], wraps[0]))
                self.top += 1
            del rows[first], wraps[first]
            rows.insert(last, "")
            wraps.insert(last, False)

    def scroll_down(self, count: int, first: int | None = None) -> None:
        """Rows of the region from ``first`` on go down."""
        start = self.first if first is None else first
        count = min(count, self.last - start + 1)
        self.work += count >> 1
        for _ in range(count):
            del self.rows[self.last], self.wraps[self.last]
            self.rows.insert(start, "")
            self.wraps.insert(start, False)

    def delete_lines(self, count: int) -> None:
        """Rows from the cursor's on are taken out of the region."""
        if self.first <= self.row <= self.last:
            count = min(count, self.last - self.row + 1)
            self.work += count >> 2
            for _ in range(count):
                del self.rows[self.row], self.wraps[self.row]
                self.rows.insert(self.last, "")
                self.wraps.insert(self.last, False)

    def fits(self, lines: list[str]) -> bool:
        """Whether :meth:`append` can take these lines."""
        return (
            self.row == self.last == self.lines - 1
            and not self.first
            and not self.inserting
            and max(map(len, lines), default=0) < self.columns
        )

    def append(self, lines: list[str]) -> None:
        """A line feed; then these lines, with one behind each. The cursor is in the last row."""
        rows = [*self.rows, *lines, ""]
        wraps = self.wraps + [False] * (len(lines) + 1)
        gone = len(rows) - self.lines
        self.history.extend(zip(rows[:gone], wraps[:gone], strict=True))
        self.rows[:], self.wraps[:] = rows[gone:], wraps[gone:]
        self.top += gone
        self.column, self.wrapping = 0, False

    def skip(self, count: int) -> None:
        """``count`` lines, a screenful at least, scrolled past unseen: the cursor is at the start of an empty last
        row."""
        self.rows[:] = [""] * self.lines
        self.wraps[:] = [False] * self.lines
        self.history.clear()
        self.top += count
        self.row, self.column, self.wrapping = self.lines - 1, 0, False

    # --- erasing -------------------------------------------------------------------------------------------

    def erase_line(self, what: int) -> None:
        """To the end (0), to the beginning (1), or all of it (2)."""
        row = self.rows[self.row]
        if what == 1:
            self.rows[self.row] = " " * min(self.column + 1, len(row)) + row[self.column + 1 :]
            return
        self.rows[self.row] = row[: self.column] if what == 0 else ""
        self.wraps[self.row] = False

    def erase_screen(self, what: int) -> None:
        """From the cursor on (0), up to it (1), or everything (2, 3)."""
        start, end = {0: (self.row + 1, self.lines), 1: (0, self.row)}.get(what, (0, self.lines))
        self.work += (end - start) >> 4
        for number in range(start, end):
            self.rows[number], self.wraps[number] = "", False
        if what in (0, 1):
            self.erase_line(what)

    def delete(self, count: int) -> None:
        """Cells at the cursor go, the rest of the line moves up."""
        row = self.rows[self.row]
        self.rows[self.row] = row[: self.column] + row[self.column + count :]

    def insert(self, count: int) -> None:
        """Empty cells at the cursor; the rest of the line moves on."""
        row = self.rows[self.row]
        if self.column < len(row):
            blank = " " * min(count, self.columns)
            self.rows[self.row] = (row[: self.column] + blank + row[self.column :])[: self.columns]

    def erase(self, count: int) -> None:
        """Cells at the cursor become empty."""
        row = self.rows[self.row]
        end = self.column + count
        if end >= len(row):
            self.rows[self.row] = row[: self.column]
        else:
            self.rows[self.row] = row[: self.column] + " " * count + row[end:]

    # --- looking -------------------------------------------------------------------------------------------

    @property
    def number(self) -> int:
        """The cursor's row, counted from the beginning."""
        return self.top + self.row

    def at(self, number: int) -> tuple[str, bool] | None:
        """A row by its number: its cells, and whether it goes on; ``None`` if it isn't known any more."""
        index = number - self.top
        if 0 <= index < self.lines:
            return self.rows[index], self.wraps[index]
        if index < 0 and -index <= len(self.history):
            return self.history[index]
        return None

    def line_start(self, number: int) -> int:
        """The first row of the line that a row is part of."""
        first = number
        while (before := self.at(first - 1)) is not None and before[1]:
            first -= 1
        self.work += (number - first) >> 1
        return first

    def line_end(self, number: int) -> int:
        """The last row of the line that a row is part of."""
        last = number
        while (row := self.at(last)) is not None and row[1] and self.at(last + 1) is not None:
            last += 1
        self.work += (last - number) >> 1
        return last

    def cells(self, start: tuple[int, int], end: tuple[int, int | None]) -> list[str] | None:
        """The lines from a place (row's number and column) to another (``None``: to the row's end), as cells; ``None``
        if they aren't known any more."""
        lines, parts = [], []
        self.work += 2 + (end[0] - start[0])
        for number in range(start[0], end[0] + 1):
            row = self.at(number)
            if row is None:
                return None
            text = row[0][: end[1]] if number == end[0] and end[1] is not None else row[0]
            parts.append(text[start[1] :] if number == start[0] else text)
            if not row[1] or number == end[0]:
                lines.append("".join(parts))
                parts = []
        return lines

    def resize(self, columns: int, lines: int) -> None:
        """Another size; rows go at the top, the cursor stays in its own."""
        columns, lines = _size(columns, lines)
        gone = max(self.row - lines + 1, 0)
        for _ in range(gone):
            self.history.append((self.rows.pop(0), self.wraps.pop(0)))
        self.top += gone
        more = max(lines - len(self.rows), 0)
        self.rows = (self.rows + [""] * more)[:lines]
        self.wraps = (self.wraps + [False] * more)[:lines]
        self.columns, self.lines = columns, lines
        self.rows = [row[:columns] for row in self.rows]
        self.first, self.last = 0, lines - 1
        self.to(self.row - gone, self.column)


def _size(columns: int, lines: int) -> tuple[int, int]:
    return min(max(columns, 1) if columns else 80, MAX_COLUMNS), min(
        max(lines, 1) if lines else 24, MAX_LINES
    )
