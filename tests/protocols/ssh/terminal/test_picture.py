"""A terminal as it looked: the same emulation as the one that reads commands, with colours and full screens."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.inert import inert
from hoopproxy.protocols.ssh.terminal.picture import MAX_MARKS, Stage
from hoopproxy.protocols.ssh.terminal.screen import Screen
from hoopproxy.protocols.ssh.terminal.style import PLAIN, Style, restyled, sgr


class Nobody:
    def line_fed(self, at: int) -> None: ...
    def changed(self) -> None: ...
    def mode_set(self, number: int, on: bool, at: int) -> None: ...
    def told(self, text: bytes, at: int) -> None: ...


def drawn(*data: bytes, size: tuple[int, int] = (20, 4)) -> Stage:
    stage = Stage(*size)
    for part in data:
        stage.feed(part, 0)
    return stage


def texts(stage: Stage) -> list[str]:
    return ["".join(text for text, _ in row).rstrip() for row in stage.grid.rows]


PIECES = st.sampled_from(
    (
        *(
            b"word",
            b" ",
            b"\r\n",
            b"\n",
            b"\r",
            b"\b",
            b"\t",
            b"x" * 25,
            b"\x1bc",
            b"\x1b]0;t\x07",
            b"\x1b[31m",
        ),
        *(
            b"\x1b[2J",
            b"\x1b[J",
            b"\x1b[K",
            b"\x1b[1K",
            b"\x1b[2P",
            b"\x1b[2@",
            b"\x1b[3X",
            b"\x1b[L",
            b"\x1b[M",
        ),
        *(
            b"\x1b[3;5H",
            b"\x1b[A",
            b"\x1b[B",
            b"\x1b[4C",
            b"\x1b[3D",
            b"\x1b[5G",
            b"\x1b[2d",
            b"\x1b7",
            b"\x1b8",
        ),
        *(b"\x1b[2;3r", b"\x1b[r", b"\x1b[S", b"\x1b[T", b"\x1bM", b"\x1bD", b"\x1bE"),
        *(b"\x1b[4h", b"\x1b[4l", b"\x1b[?7l", b"\x1b[?7h"),
    )
)


@given(st.lists(PIECES, max_size=40))
def test_it_shows_the_text_that_the_other_emulation_knows(parts: list[bytes]) -> None:
    """Two emulations that disagree would show an auditor two sessions."""
    known = Screen(20, 4, Nobody())
    known.watched = True
    known.feed(b"".join(parts), 0)
    stage = drawn(b"".join(parts))
    assert texts(stage) == [row.rstrip() for row in known.grid.rows]
    assert (stage.grid.row, stage.grid.column) == (known.grid.row, known.grid.column)


@given(st.lists(PIECES, max_size=20), st.data())
def test_any_split_draws_the_same(parts: list[bytes], draw: st.DataObject) -> None:
    """Packets end anywhere."""
    data = b"".join(parts)
    at = draw.draw(st.integers(0, len(data)))
    assert drawn(data).grid.rows == drawn(data[:at], data[at:]).grid.rows


def test_a_full_screen_comes_and_goes() -> None:
    """Behind it stands what stood there, and the cursor."""
    stage = drawn(b"$ vi", b"\x1b[?1049h\x1b[2;3Hinside")
    assert texts(stage) == ["", "  inside", "", ""]
    stage.feed(b"\x1b[?1049l gone", 0)
    assert texts(stage) == ["$ vi gone", "", "", ""]


def test_characters_have_their_colours() -> None:
    """Of 16, of 256, of all; erased cells keep the background."""
    stage = drawn(b"\x1b[1;31ma\x1b[0mb\x1b[38;5;200mc\x1b[48:2::1:2:3md\x1b[K\x1b[39;49me")
    row = stage.grid.rows[0]
    assert row[:5] == [
        ("a", Style(fore=1, flags=frozenset((1,)))),
        ("b", PLAIN),
        ("c", Style(fore=200)),
        ("d", Style(fore=200, back=(1, 2, 3))),
        ("e", PLAIN),
    ]
    assert row[5] == (" ", Style(back=(1, 2, 3)))


def test_concealed_text_is_seen() -> None:
    """What a session tried to hide is what an auditor wants to see; and nothing blinks."""
    assert drawn(b"\x1b[8;5mhidden").grid.rows[0][0] == ("h", PLAIN)


@given(st.text("0123456789;:", max_size=40))
def test_any_parameters_make_a_style_that_can_be_said_again(parameters: str) -> None:
    """And what is said has nothing but numbers."""
    style = restyled(PLAIN, parameters)
    said = sgr(style)
    assert re.fullmatch(r"\x1b\[0(;[0-9]+)*m", said)
    assert restyled(Style(fore=3, flags=frozenset((7,))), said[2:-1]) == style


def test_wide_characters_take_two_cells_and_are_seen_whole_or_not() -> None:
    """Half of one is a blank."""
    stage = drawn("\u4e2d\u6587ab".encode(), b"\x1b[1;2Hx", b"\x1b[1;3H\x1b[P")
    assert [text for text, _ in stage.grid.rows[0][:5]] == [" ", "x", " ", "a", "b"]


def test_lines_are_drawn() -> None:
    """DEC's special graphics: what dialogs and tmux frame with."""
    assert texts(drawn(b"\x1b(0lqk\x1b(Bq"))[0] == "\u250c\u2500\u2510q"


@pytest.mark.parametrize("hostile", ["\x9b6n", "\u202e", "\u2028", "\U000e0041", "\x85", "\ufeff"])
def test_what_acts_on_a_terminal_is_no_character(hostile: str) -> None:
    """C1 controls in UTF-8, what turns text around, tags: shown as what they are not."""
    (first, *_) = texts(drawn(b"a" + hostile.encode() + b"z"))
    assert first == inert(first)
    assert "\ufffd" in first


def test_marks_are_bounded() -> None:
    """A character with thousands of accents is a way to eat memory."""
    stage = drawn(b"e" + "\u0301".encode() * 1000 + b"\r\n")
    assert len(stage.grid.rows[0][0][0]) <= MAX_MARKS + 1


@given(st.binary(max_size=200), st.integers(0, 5000), st.integers(0, 5000))
def test_garbage_is_no_harm(data: bytes, columns: int, lines: int) -> None:
    """A target may say anything, of any size; every cell shows and does nothing else."""
    stage = drawn(data, size=(columns % 50, lines % 20))
    stage.resize(columns, lines)
    stage.feed(data, 0)
    grid = stage.grid
    assert len(grid.rows) == grid.lines <= 500
    for row in grid.rows:
        assert len(row) == grid.columns <= 1000
        text = "".join(each for each, _ in row)
        assert text == inert(text)


def test_a_screen_that_was_not_there_is_not_left() -> None:
    """Programs say goodbye to the alternate screen twice; the cursor stays where it is."""
    stage = drawn(b"\x1b7\x1b[3;4Hhere\x1b[?1049l", b"!")
    assert texts(stage) == ["", "", "   here!", ""]
