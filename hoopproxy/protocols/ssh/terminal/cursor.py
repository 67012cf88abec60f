"""Where a terminal prints next, and how that moves: what all that draws has in common, whatever its cells are. Pure."""

from __future__ import annotations

__all__ = ["Cursor"]


class Cursor:
    """A place on ``lines`` rows of ``columns`` cells, of which those from ``first`` to ``last`` scroll.

    :ivar wrapping: the last cell of a row was printed on: the next character begins a new one.
    """

    columns: int
    lines: int
    row: int
    column: int
    first: int
    last: int
    wrapping: bool

    def scroll_up(self, count: int) -> None:
        """Rows of the region go up."""
        raise NotImplementedError

    def scroll_down(self, count: int, first: int | None = None) -> None:
        """Rows of the region from ``first`` on go down."""
        raise NotImplementedError

    def to(self, row: int, column: int) -> None:
        """Put the cursor somewhere, as near as there is a cell."""
        self.row = min(max(row, 0), self.lines - 1)
        self.column = min(max(column, 0), self.columns - 1)
        self.wrapping = False

    def feed(self) -> None:
        """A line down; at the end of the region it scrolls."""
        if self.row == self.last:
            self.scroll_up(1)
        elif self.row < self.lines - 1:
            self.row += 1
        self.wrapping = False

    def feed_back(self) -> None:
        """A line up; at the start of the region it scrolls."""
        if self.row == self.first:
            self.scroll_down(1)
        elif self.row:
            self.row -= 1
        self.wrapping = False
