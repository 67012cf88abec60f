"""A shell played on the auditor's terminal: as it looked, at its pace, and nothing besides."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.cli.audit.movie import Player, play
from hoopproxy.inert import inert

OURS = re.compile(r"\x1b\[(?:\d+;\d+H|[0-9;]*m|K|2J|\?25[hl])|\r\n")
"""All that a player writes besides text."""

HOSTILE = b"".join(
    (
        b"\x1b]52;c;aGk=\x07\x1b]0;owned\x07\x1bP$qm\x1b\\\x1bP+q544e\x1b\\\x1b[6n\x1b[c\x1b[?1003h\x1b[?2004h\x1b[21t",
        b"\x05\xc2\x9b6n\xc2\x90$qm\xc2\x9c\x9b6n\x1b_apc\x1b\\\x1b^pm\x1b\\\x1bX sos\x1b\\\x1b[>c\x1b[=1h\x1bZ\x1b[5i",
    )
)


class Terminal:
    """What a player wrote, and when it was paused."""

    def __init__(self, size: tuple[int, int] = (40, 6)) -> None:
        self.size, self.written, self.slept = size, "", list[float]()
        self.frames: list[str] = []
        self._from = 0

    def player(self, **options: Any) -> Player:
        return Player(self._write, lambda: self.size, **options)

    def _write(self, text: str) -> None:
        self.written += text

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.frames.append(self.written[self._from :])
        self._from = len(self.written)

    def play(self, *course: tuple[str, int, bytes], **options: Any) -> str:
        play(course, self.player(title="session x"), sleep=self.sleep, **options)
        return OURS.sub("\n", self.written)


def seconds(value: float) -> int:
    return round(value * 1e9)


COURSE = (
    ("r", seconds(1), b"30x4"),
    ("o", seconds(1), b"$ ls\r\n"),
    ("o", seconds(1.001), b"\x1b[1;32mfile\x1b[0m\r\n"),
    ("o", seconds(3), b"$ "),
    ("i", seconds(4), b"\r"),
    ("o", seconds(100), b"exit"),
)


def test_it_is_played_at_its_pace() -> None:
    """Pauses divided by the speed, none over the limit; what comes at once is one frame."""
    terminal = Terminal()
    text = terminal.play(*COURSE, idle_limit=5, speed=2)
    assert terminal.slept == [0.5, 1, 0.5, 5]
    assert "session x 30x4 +1.001" in OURS.sub("", terminal.frames[1])
    assert "$ ls" in text
    assert "\x1b[1;1H\x1b[0m$ ls\x1b[0m\x1b[K" in terminal.written
    assert "\x1b[2;1H\x1b[0m\x1b[0;1;32mfile\x1b[0m\x1b[K" in terminal.written
    assert "+1:40.000 end" in text


def test_it_begins_where_it_is_asked_to() -> None:
    """What was before is drawn at once."""
    terminal = Terminal()
    text = terminal.play(*COURSE, start=seconds(99), idle_limit=5)
    assert terminal.slept == [1]
    assert "file" in text


def test_only_what_changed_is_written() -> None:
    """A key typed costs a row, not a screen."""
    terminal = Terminal()
    terminal.play(*COURSE, idle_limit=5)
    assert terminal.written.count("$ ls") == 1
    assert "\x1b[3;1H\x1b[0m$ \x1b[0m" not in terminal.frames[1]


def test_nothing_of_the_recording_but_its_picture_reaches_the_terminal() -> None:
    """Clipboards, titles, DECRQSS, device reports, modes, C1 controls: none of them, in no form."""
    terminal = Terminal((60, 10))
    text = terminal.play(("r", 0, b"80x24"), ("o", 1, b"before " + HOSTILE + b" behind"))
    rest = OURS.sub("", terminal.written)
    assert rest == inert(rest)
    assert "before" in text
    assert "behind" in text
    assert "owned" not in text
    assert "aGk=" not in text


@given(st.lists(st.binary(max_size=60), max_size=6), st.integers(1, 30), st.integers(1, 8))
def test_whatever_a_target_said_what_is_written_is_ours(parts: list[bytes], columns: int, lines: int) -> None:
    """On a window of any size; no row is longer than it."""
    terminal = Terminal((columns, lines))
    terminal.play(
        ("r", 0, b"25x6"), *(("o", seconds(at), part) for at, part in enumerate((*parts, HOSTILE), 1))
    )
    rest = OURS.sub("", terminal.written)
    assert rest == inert(rest)
    rows = [int(each) for each in re.findall(r"\x1b\[(\d+);\d+H", terminal.written)]
    assert max(rows) <= lines


def test_a_small_window_shows_what_is_around_the_cursor() -> None:
    """The recorded terminal may be higher and wider than the auditor's."""
    terminal = Terminal((10, 3))
    lines = b"".join(b"line %d of many\r\n" % number for number in range(20))
    text = terminal.play(("r", 0, b"80x24"), ("o", 1, lines + b"here"))
    assert "line 19 of" in text
    assert "line 19 of " not in text
    assert "here" in text
    assert "line 2 of" not in text


def test_a_window_that_changes_is_drawn_anew() -> None:
    """The auditor may resize theirs."""
    terminal = Terminal((40, 6))

    sizes = [(40, 6), (30, 5), (30, 5), (30, 5)]

    def sleep(_: float) -> None:
        terminal.size = sizes.pop(0)

    play(COURSE, terminal.player(), sleep=sleep, idle_limit=5)
    assert terminal.written.count("\x1b[2J") == 3
    assert terminal.written.count("$ ls") == 2


def test_without_colours_there_are_none() -> None:
    """``NO_COLOR``: bold and reverse stay."""
    terminal = Terminal()
    player = terminal.player(colour=False)
    play((("r", 0, b"20x3"), ("o", 1, b"\x1b[1;31;44mred")), player, sleep=terminal.sleep)
    assert "\x1b[0;1mred" in terminal.written
    assert "31" not in terminal.written


def test_the_terminal_is_left_as_it_was_found() -> None:
    """Also when the auditor has seen enough."""
    terminal = Terminal()

    def enough(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(COURSE, terminal.player(), sleep=enough)
    assert terminal.written.endswith("\x1b[0m\x1b[6;1H\x1b[?25h\r\n")
