"""What a terminal may cost to read, whatever it shows."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hoopproxy.events import CommandObserved, SessionInput, SessionNote
from hoopproxy.protocols.ssh.terminal.effort import BURST, REFILL, Effort
from hoopproxy.protocols.ssh.terminal.shell import Shell
from hoopproxy.wire.commands import Note, Redact

PIECE = 32_768
SECOND = 1_000_000_000
LEFT = BURST // 20
"""So that a test needs a tenth of a second."""


class Terminal:
    """A watcher, and what it says. Time stands still unless it is told."""

    def __init__(self, size: tuple[int, int] = (80, 24), left: int = BURST) -> None:
        self.shell = Shell("op", 3, None, {}, size)
        self.shell._effort.left = left
        self.now = self.shown_bytes = self.typed_bytes = 0
        self.events: list[Any] = []
        self.marked: list[tuple[int, int]] = []

    def shows(self, data: bytes) -> Terminal:
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self._keep(self.shell.server_data(piece, self.shown_bytes, self.now, False))
            self.shown_bytes += len(piece)
        return self

    def types(self, data: bytes) -> Terminal:
        self._keep(self.shell.client_data(data, self.typed_bytes, self.now))
        self.typed_bytes += len(data)
        return self

    def _keep(self, said: Any) -> None:
        for command in said or ():
            if isinstance(command, Redact):
                self.marked.append((command.span.start, command.span.end))
            elif isinstance(command, Note):
                self.events.append(command.event)

    @property
    def notes(self) -> list[object]:
        return [each.detail["inference"] for each in self.events if isinstance(each, SessionNote)]


WIDE = "\u6f22".encode()
DEAR = {
    "random bytes": random.Random(1).randbytes(PIECE),
    "repeated wide characters": WIDE + b"\x1b[9999b" * 4000,
    "repeated characters": b"a" + b"\x1b[9999b" * 4000,
    "scrolling": b"\x1b[9999S" * 4000,
    "scrolling back": b"\x1b[9999T" * 4000,
    "lines put in": b"\x1b[H" + b"\x1b[9999L" * 4000,
    "lines taken out": b"\x1b[H" + b"\x1b[9999M" * 4000,
    "erasing": b"\x1b[2J" * 8000,
    "line feeds in a long input": b"\x1b]133;A\x07\x1b]133;B\x07" + b"x" * 9000 + b"\n" * 20_000,
    "marks": b"\x1b]133;A\x07\x1b]133;B\x07x\r\n\x1b]133;C\x07\x1b]133;D;0\x07" * 800,
    "characters with marks": "a\u0301\u0302".encode() * 6000,
}


@pytest.mark.parametrize("what", list(DEAR))
def test_whatever_is_shown_it_is_given_up_in_the_end(what: str) -> None:
    """A unit is about a microsecond: a target that shows this for ever would have the gateway do nothing else."""
    terminal = Terminal((1000, 500), LEFT)
    shown = 0
    while not terminal.notes and shown < 60_000_000 * LEFT // BURST:
        terminal.shows(DEAR[what])
        shown += len(DEAR[what])
    assert terminal.notes == ["not read: it costs too much"]
    assert terminal.shell.facts()["not_read"] == 1
    for _ in range(1000):
        terminal.shows(DEAR[what][:PIECE])
    assert len(terminal.notes) == 1


def test_one_sequence_can_not_cost_a_second() -> None:
    """Seven bytes laid out ten thousand wide characters, and 32 KiB of them took 40 s of the whole gateway."""
    terminal = Terminal((80, 24))
    terminal.shows(WIDE + b"\x1b[9999b" * 100)
    assert BURST - terminal.shell._effort.left < 100 * 80


@pytest.mark.parametrize(
    ("what", "times"),
    [
        (b"".join(b"\x1b[0m\x1b[01;34mdir%d\x1b[0m  file%d\r\n" % (i, i) for i in range(1000)), 300),
        (b"plain lines of some length\r\n" * 1000, 2000),
        (b"".join(b"\x1b[%d;1H\x1b[K%06d progress" % (i % 24 + 1, i) for i in range(1000)), 100),
        (b"\x1b[?1049h" + b"\x1b[9999S" * 4000, 1000),
    ],
    ids=["11 MB of listing", "50 MB of lines", "2 MB of redraws", "the alternate screen"],
)
def test_what_people_look_at_is_read_to_the_end(what: bytes, times: int) -> None:
    """All at once, without a second to rest."""
    terminal = Terminal()
    for _ in range(times):
        terminal.shows(what)
    assert not terminal.notes


def test_while_nothing_is_read_all_that_is_typed_is_marked() -> None:
    """It can't be told what is echoed, nor whether an editor has the screen."""
    terminal = Terminal(left=LEFT)
    while not terminal.notes:
        terminal.shows(DEAR["random bytes"])
    terminal.shows(b"\x1b[?1049h")
    terminal.types(b"s3cret\r").types(b"\x1b[A")
    terminal.shows(b"\r\n$ s3cret\r\n")
    assert terminal.marked == [(0, 7), (7, 10)]
    assert not [each for each in terminal.events if isinstance(each, SessionInput)]


def test_it_is_read_again_when_it_has_rested() -> None:
    """One ``cat`` of the wrong file must not blind the record of a whole day; and what is dear pauses it again."""
    terminal = Terminal(left=LEFT)
    while not terminal.notes:
        terminal.shows(DEAR["random bytes"])
    terminal.now = BURST // 2 // REFILL * SECOND - 2 * SECOND
    terminal.shows(b"\x1bc$ ")
    assert len(terminal.notes) == 1
    terminal.now += 3 * SECOND
    terminal.shows(b"\x1bc$ ").types(b"id\r").shows(b"id\r\nuid=0\r\n$ ")
    assert terminal.notes[1:] == ["read again"]
    assert [each.text for each in terminal.events if isinstance(each, CommandObserved)] == ["id"]
    terminal.shell._effort.left = LEFT
    while len(terminal.notes) < 3:
        terminal.shows(DEAR["random bytes"])
    assert terminal.shell.facts() == {"observed": 1, "not_read": 2}


def test_what_was_held_back_is_told_when_reading_stops() -> None:
    """A command that was seen is not unseen because of its output."""
    terminal = Terminal(left=LEFT)
    terminal.shows(b"\x1b]133;A\x07$ \x1b]133;B\x07cat it\r\n\x1b]133;C\x07")
    while not terminal.notes:
        terminal.shows(DEAR["random bytes"])
    assert [each.text for each in terminal.events if isinstance(each, CommandObserved)] == ["cat it"]


def test_time_comes_back_in_small_pieces_too() -> None:
    """A refill that rounds down at each packet would never come."""
    effort = Effort()
    effort.left = 0
    for now in range(0, SECOND + 1, 10_000):
        effort.refill(now)
    assert abs(effort.left - REFILL) <= 1
    effort.refill(SECOND * 10_000)
    assert effort.left == BURST
