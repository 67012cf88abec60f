"""A terminal's course played on the auditor's own: its picture, at the pace that it had.

What is written is made here, from cells (:mod:`hoopproxy.protocols.ssh.terminal.picture`): places, colours, characters
that only show, erasing to a line's end, and whether there is a cursor. Nothing of the recording is passed on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from hoopproxy.cli.audit.words import moment
from hoopproxy.inert import fitted, inert
from hoopproxy.protocols.ssh.terminal.picture import BLANK, Cell, Stage
from hoopproxy.protocols.ssh.terminal.style import PLAIN, sgr

__all__ = ["Course", "Player", "play"]

Course = Iterable[tuple[str, int, bytes]]
"""What a protocol offers as ``terminal``: ``r`` (a size), ``o`` (output) or ``i`` (input), ns since the start."""

LEAST: Final = 1 / 60
"""Seconds; what follows within is one frame."""

_SIZE: Final = (80, 24)


def play(
    course: Course,
    player: Player,
    *,
    speed: float = 1.0,
    idle_limit: float = 2.0,
    start: int = 0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show it with the pauses that there were, divided by ``speed``, none over ``idle_limit`` seconds.

    :param start: ns since the session's start; what was before is drawn at once.
    """
    stage, last, now = Stage(*_SIZE), start, start
    player.begin()
    try:
        for what, mono, data in course:
            pause = min((mono - last) / 1e9 / speed, idle_limit)
            if pause >= LEAST:
                player.draw(stage, now)
                sleep(pause)
                last = mono
            now = max(now, mono)
            if what == "r":
                columns, _, lines = data.partition(b"x")
                stage.resize(int(columns), int(lines))
            elif what == "o":
                stage.feed(data, 0)
        player.draw(stage, now, "end")
    finally:
        player.end()


class Player:
    """Draws pictures on a terminal.

    :param write: the terminal's. :param window: its columns and rows now. :param title: what is played.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        window: Callable[[], tuple[int, int]],
        *,
        title: str = "",
        colour: bool = True,
    ) -> None:
        self._write, self._window, self._title, self._colour = write, window, inert(title), colour
        self._seen = (0, 0)
        self._rows: list[str] = []
        self._top = 0

    def begin(self) -> None:
        """An empty screen without a cursor."""
        self._write("\x1b[0m\x1b[?25l\x1b[2J")

    def end(self) -> None:
        """What was last seen stays; whatever comes is below it."""
        self._write(f"\x1b[0m\x1b[{self._seen[1] or 1};1H\x1b[?25h\r\n")

    def draw(self, stage: Stage, mono: int, note: str = "") -> None:
        """What has changed since the last time, and the state in the last row."""
        columns, lines = window = self._window()
        picture = stage.grid
        parts: list[str] = []
        if window != self._seen:
            self._seen, self._rows = window, [""] * lines
            parts.append("\x1b[0m\x1b[2J")
        room = max(lines - 1, 1)
        self._follow(picture.row, picture.lines, room)
        shown = [self._row(row, columns) for row in picture.rows[self._top : self._top + room]]
        shown += [""] * (room - len(shown))
        size = f"{picture.columns}x{picture.lines}"
        told = " ".join(filter(None, (self._title, size, moment(mono), note)))
        shown += [f"\x1b[0;7m{fitted(told, columns)}"][: lines - 1]
        for number, (row, before) in enumerate(zip(shown, self._rows, strict=True)):
            if row != before:
                parts.append(f"\x1b[{number + 1};1H\x1b[0m{row}\x1b[0m\x1b[K")
        self._rows = shown
        if picture.hidden or picture.column >= columns:
            parts.append("\x1b[?25l")
        else:
            parts.append(f"\x1b[{picture.row - self._top + 1};{picture.column + 1}H\x1b[?25h")
        self._write("".join(parts))

    def _follow(self, row: int, lines: int, room: int) -> None:
        """A picture that is higher than the window is shown around its cursor."""
        self._top = min(max(self._top, row - room + 1), row, max(lines - room, 0))

    def _row(self, row: Sequence[Cell], columns: int) -> str:
        cells = list(row[:columns])
        if len(row) > columns and row[columns][0] == "":
            cells[-1] = BLANK  # half of a wide character
        while cells and cells[-1] == BLANK:
            cells.pop()
        return "".join(self._pieces(cells))

    def _pieces(self, row: Sequence[Cell]) -> Iterator[str]:
        current = PLAIN
        for text, style in row:
            if not self._colour:
                style = style._replace(fore=None, back=None)
            if style != current:
                current = style
                yield sgr(style)
            yield text
