"""What control sequences do to a screen: ECMA-48's and xterm's, as far as shells and line editors use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hoopproxy.protocols.ssh.terminal.screen import Screen

__all__ = ["ESCAPES", "SEQUENCES"]


def _count(numbers: list[int]) -> int:
    return max(numbers[0], 1)


def _position(screen: Screen, numbers: list[int]) -> None:
    screen.grid.to(max(numbers[0], 1) - 1, max(numbers[1] if len(numbers) > 1 else 1, 1) - 1)


def _inserting(screen: Screen, numbers: list[int], on: bool) -> None:
    if 4 in numbers:
        screen.grid.inserting = on


def _moving(rows: int, columns: int, start: bool = False) -> Callable[[Screen, list[int]], None]:
    def move(screen: Screen, numbers: list[int]) -> None:
        grid, count = screen.grid, _count(numbers)
        row = grid.row + rows * count
        if rows < 0 and grid.row >= grid.first:
            row = max(row, grid.first)  # who is inside of the region stays there
        elif rows > 0 and grid.row <= grid.last:
            row = min(row, grid.last)
        grid.to(row, 0 if start else grid.column + columns * count)

    return move


def _region(screen: Screen, numbers: list[int]) -> None:
    grid = screen.grid
    first = max(numbers[0], 1) - 1
    last = min((numbers[1] if len(numbers) > 1 else 0) or grid.lines, grid.lines) - 1
    if first < last:
        grid.first, grid.last = first, last
        grid.to(0, 0)


def _next_line(screen: Screen) -> None:
    screen.grid.to(screen.grid.row, 0)
    screen.grid.feed()


SEQUENCES: Final[dict[bytes, Callable[[Screen, list[int]], None]]] = {
    b"A": _moving(-1, 0),
    b"B": _moving(1, 0),
    b"C": _moving(0, 1),
    b"D": _moving(0, -1),
    b"E": _moving(1, 0, True),
    b"F": _moving(-1, 0, True),
    b"a": _moving(0, 1),
    b"e": lambda screen, numbers: screen.grid.to(screen.grid.row + _count(numbers), screen.grid.column),
    b"G": lambda screen, numbers: screen.grid.to(screen.grid.row, _count(numbers) - 1),
    b"`": lambda screen, numbers: screen.grid.to(screen.grid.row, _count(numbers) - 1),
    b"d": lambda screen, numbers: screen.grid.to(_count(numbers) - 1, screen.grid.column),
    b"H": _position,
    b"f": _position,
    b"J": lambda screen, numbers: screen.grid.erase_screen(numbers[0]),
    b"K": lambda screen, numbers: screen.grid.erase_line(numbers[0]),
    b"X": lambda screen, numbers: screen.grid.erase(_count(numbers)),
    b"P": lambda screen, numbers: screen.grid.delete(_count(numbers)),
    b"@": lambda screen, numbers: screen.grid.insert(_count(numbers)),
    b"L": lambda screen, numbers: screen.grid.scroll_down(_count(numbers), screen.grid.row),
    b"M": lambda screen, numbers: screen.grid.delete_lines(_count(numbers)),
    b"S": lambda screen, numbers: screen.grid.scroll_up(_count(numbers)),
    b"T": lambda screen, numbers: screen.grid.scroll_down(_count(numbers)),
    b"b": lambda screen, numbers: screen.repeat(_count(numbers)),
    b"r": _region,
    b"s": lambda screen, numbers: screen.save(),
    b"u": lambda screen, numbers: screen.restore(),
    b"h": lambda screen, numbers: _inserting(screen, numbers, True),
    b"l": lambda screen, numbers: _inserting(screen, numbers, False),
}
"""Of control sequences (CSI), by their final byte; with their parameters, of which there is one at least."""

ESCAPES: Final[dict[bytes, Callable[[Screen], None]]] = {
    b"7": lambda screen: screen.save(),
    b"8": lambda screen: screen.restore(),
    b"D": lambda screen: screen.grid.feed(),
    b"E": _next_line,
    b"M": lambda screen: screen.grid.feed_back(),
    b"c": lambda screen: screen.reset(),
}
"""Of escape sequences, by what follows the escape."""
