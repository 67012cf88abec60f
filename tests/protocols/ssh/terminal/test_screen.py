"""Output on a screen: samples of what line editors send, any split, garbage, and bursts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.protocols.ssh.terminal.grid import MAX_COLUMNS, MAX_LINES
from hoopproxy.protocols.ssh.terminal.screen import MAX_STRING, Screen


class Silent:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def line_fed(self, at: int) -> None:
        pass

    def changed(self) -> None:
        pass

    def mode_set(self, number: int, on: bool, at: int) -> None:
        self.said.append((number, on, at))

    def told(self, text: bytes, at: int) -> None:
        self.said.append((text, at))


def screen(*pieces: bytes, columns: int = 20, lines: int = 5) -> Screen:
    made, at = Screen(columns, lines, Silent()), 0
    for piece in pieces:
        made.feed(piece, at)
        at += len(piece)
    return made


def rows(made: Screen) -> list[str]:
    return [made.grid.said(row) for row in made.grid.rows]


SAMPLES: list[tuple[bytes, list[str]]] = [
    (b"hello", ["hello"]),
    (b"ab\x08c", ["ac"]),
    (b"one\r\ntwo", ["one", "two"]),
    (b"x" * 25, ["x" * 20, "x" * 5]),
    (b"x" * 20 + b"\r\ny", ["x" * 20, "y"]),
    (b"x" * 20 + b" \rz", ["x" * 20, "z"]),
    (b"abcdef\x1b[3D\x1b[2P!", ["abc!"]),
    (b"abc\r\x1b[2@XY", ["XYabc"]),
    (b"abc\r\x1b[4hZ\x1b[4l", ["Zabc"]),
    (b"abcdef\x1b[4D\x1b[K", ["ab"]),
    (b"one\r\ntwo\x1b[2J\x1b[Hnew", ["new"]),
    (b"a\tb", ["a       b"]),
    (b"\x1b[3;4Hmid", ["", "", "   mid"]),
    (b"1\r\n2\r\n3\r\n4\r\n5\r\n6", ["2", "3", "4", "5", "6"]),
    (b"\x1b[2;3r\x1b[2;1Ha\r\nb\r\nc", ["", "b", "c"]),
    (b"a\r\nb\r\n\x1b[H\x1b[Lnew", ["new", "a", "b"]),
    (b"a\r\nb\r\nc\x1b[H\x1b[M", ["b", "c"]),
    ("日本\b\b!".encode(), ["日!"]),
    ("e\u0301a".encode(), ["e\u0301a"]),
    (("x" * 19 + "日").encode(), ["x" * 19, "日"]),
    (b"\x1b]0;title\x07shown", ["shown"]),
    (b"\x1bP1;2qsixel\x1b\\shown", ["shown"]),
    (b"main\x1b[?1049h\x1b[2Jeditor\x1b[?1049l!", ["main!"]),
    (b"A\x1b[3b", ["AAAA"]),
    (b"\xff\xc3(", ["\ufffd\ufffd("]),
]


@pytest.mark.parametrize(("data", "expected"), SAMPLES)
def test_a_sample_is_laid_out_as_terminals_do_whole_and_byte_by_byte(
    data: bytes, expected: list[str]
) -> None:
    """What a line editor draws must be read as the person saw it."""
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        found = [row.rstrip() for row in rows(screen(*pieces))]
        assert found == (expected + [""] * 5)[:5]


_BITS = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([data for data, _ in SAMPLES]),
    st.sampled_from([b"\r\n", b"\x1b[", b"\x1b]133;", b"\x07", b"\x1b\\", b"\x1b[?2004h", b"\x1b"]),
    st.just(b"plain text\r\n" * 80),
)


@given(st.lists(_BITS, max_size=30), st.data())
@settings(max_examples=300, deadline=None)
def test_any_split_of_anything_gives_the_same_screen(bits: list[bytes], draw: st.DataObject) -> None:
    """Packets cut where they like; and garbage must not raise."""
    data = b"".join(bits)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole, cut = screen(data), screen(*pieces)
    assert rows(whole) == rows(cut)
    assert (whole.grid.row, whole.grid.column, whole.alternate) == (
        cut.grid.row,
        cut.grid.column,
        cut.alternate,
    )
    assert isinstance(whole._observer, Silent)
    assert isinstance(cut._observer, Silent)
    assert whole._observer.said == cut._observer.said


@given(
    st.lists(
        st.sampled_from([b"some words", b"\r\n", b"\x1b[31m", b"\x1b[K", b"\t", b"x" * 50]), max_size=400
    )
)
@settings(max_examples=60, deadline=None)
def test_what_is_skipped_in_a_burst_would_have_scrolled_away(parts: list[bytes]) -> None:
    """The fast way must end where the slow one does."""
    data = b"".join(parts)
    fast, slow = screen(data), Screen(20, 5, Silent())
    slow.watched = True
    slow.feed(data, 0)
    assert [row.rstrip() for row in rows(fast)] == [row.rstrip() for row in rows(slow)]
    assert (fast.grid.row, fast.grid.column) == (slow.grid.row, slow.grid.column)


def test_a_window_of_any_size_is_bounded() -> None:
    """A client may say that its window has four billion columns."""
    made = screen(b"x" * 100, columns=2**32 - 1, lines=2**32 - 1)
    assert (made.grid.columns, made.grid.lines) == (MAX_COLUMNS, MAX_LINES)
    made.resize(0, 0)
    made.resize(1, 1)
    made.feed("日本abc\r\n".encode(), 0)
    assert len(made.grid.rows) == 1


def test_a_string_that_never_ends_is_not_kept() -> None:
    """A million bytes of an operating system command are somebody's attack."""
    made = screen(b"\x1b]133;", *[b"x" * 10_000] * 100)
    assert made._string is not None
    assert len(made._string) <= MAX_STRING + 1
    made.feed(b"\x07after", 0)
    assert rows(made)[0] == "after"


def test_who_moves_inside_of_a_region_stays_there() -> None:
    """As VT terminals do: up and down end at its margins, and only from outside one passes them."""
    made = screen(b"\x1b[3;4r\x1b[3;1H\x1b[9A", lines=6)
    assert made.grid.row == 2
    made.feed(b"\x1b[9B", 0)
    assert made.grid.row == 3
    made.feed(b"\x1b[9e", 0)
    assert made.grid.row == 5
    made.feed(b"\x1b[1;1H\x1b[1B\x1b[9A", 0)
    assert made.grid.row == 0
