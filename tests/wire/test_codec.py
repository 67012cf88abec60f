"""Codecs: what they keep, where they keep it, and what they never forget."""

from __future__ import annotations

import errno
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import JournalRefused, ProtocolViolation, TooLarge
from hoopproxy.testing import every_split, frames_of
from hoopproxy.wire.codec import Codec, Lines
from hoopproxy.wire.frames import Frame


class Counted(Codec):
    """One byte says how many follow, in hundreds; a zero is a violation."""

    def scan(self, data: bytes, base: int, frames: list[Frame]) -> int:
        used = 0
        while used < len(data):
            size = 1 + 100 * data[used]
            if size == 1:
                raise ProtocolViolation("a message of nothing")
            if used + size > len(data):
                self.need = size
                break
            frames.append(Frame(1, base + used, base + used + size, data[used + 1 : used + size]))
            used += size
        return used


def counted(hundreds: int, fill: bytes = b"x") -> bytes:
    return bytes([hundreds]) + fill * (100 * hundreds)


@pytest.mark.parametrize("pieces", list(every_split(b"one\ntwo\r\n\nthree")))
def test_lines_are_the_same_however_they_are_cut(pieces: tuple[bytes, ...]) -> None:
    """A line that is lost at the border of two segments is a command that nobody decided on."""
    frames, tail = frames_of(Lines, pieces)
    assert [(f.start, f.end, f.body) for f in frames] == [(0, 4, b"one"), (4, 9, b"two"), (9, 10, b"")]
    assert tail == b"three"


def test_a_line_that_never_ends_is_refused_at_its_limit() -> None:
    """Otherwise a stranger's first bytes fill the memory."""
    codec = Lines(10)
    assert codec.feed(b"123456789") == []
    with pytest.raises(TooLarge):
        codec.feed(b"0")
    assert Lines(10).feed(b"123456789\n")[0].body == b"123456789"
    with pytest.raises(TooLarge):
        Lines(10).feed(b"1234567890\n")


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(1, 150), min_size=1))
def test_a_stream_that_went_wrong_stays_wrong_and_counts_on(sizes: list[int], cuts: list[int]) -> None:
    """Whoever catches the error and feeds on must not read on behind a gap."""
    data = b"".join(counted(size) for size in sizes) + b"\0" + counted(1)
    codec, position, seen, wrong = Counted(), 0, 0, False
    for cut in cuts * (len(data) // sum(cuts) + 1):
        piece = data[position : position + cut]
        position += len(piece)
        try:
            frames = codec.feed(piece)
        except ProtocolViolation:
            frames, wrong = codec.frames, True
        else:
            assert not wrong
        seen = frames[-1].end if frames else seen
        assert seen + codec.waiting == position
    assert wrong
    assert codec.tail() == data[seen:]


def spooling(max_held: int = 1000) -> tuple[Codec, list[io.BytesIO]]:
    files: list[io.BytesIO] = []
    codec = Counted()
    codec.max_held = max_held

    def make() -> io.BytesIO:
        files.append(io.BytesIO())
        return files[-1]

    codec.spool = make
    return codec, files


@pytest.mark.parametrize("cut", [1, 7, 100, 999, 1000, 1001, 5000])
def test_a_long_message_waits_in_a_file_and_comes_back_whole(cut: int) -> None:
    """Ruling 2: over max_held it must not sit in memory while it trickles in."""
    codec, files = spooling()
    data = counted(200, b"y") + counted(1)
    found: list[Frame] = []
    most = 0
    for at in range(0, len(data), cut):
        found += codec.feed(data[at : at + cut])
        most = max(most, codec.held)
    assert [f.body for f in found] == [b"y" * 20_000, b"x" * 100]
    assert most <= 1000 + cut
    assert [file.closed for file in files] == [True]
    assert codec.waiting == codec.held == 0


def test_what_fits_into_memory_makes_no_file() -> None:
    """A file for each statement would cost more than it saves."""
    codec, files = spooling()
    data = counted(9)
    for at in range(0, len(data), 50):
        codec.feed(data[at : at + 50])
    codec.feed(counted(200))
    assert files == []


def test_the_tail_of_a_stream_that_ends_inside_a_spooled_message_is_all_of_it() -> None:
    """What was received and never met is accounted for, wherever it was kept."""
    codec, files = spooling()
    data = counted(50)[:-1]
    for at in range(0, len(data), 300):
        codec.feed(data[at : at + 300])
    assert codec.tail() == codec.tail() == data
    assert codec.waiting == len(data)
    assert codec.held < 1300
    codec.forget()
    assert files[0].closed


class Sick(io.BytesIO):
    def __init__(self, number: int, fails: str) -> None:
        super().__init__()
        self._error, self._fails = OSError(number, "no"), fails

    def write(self, data: Any) -> int:
        if self._fails == "write":
            raise self._error
        return super().write(data)

    def read(self, size: int | None = -1) -> bytes:
        if self._fails == "read":
            raise self._error
        return b"" if self._fails == "short" else super().read(size)

    def close(self) -> None:
        super().close()
        if self._fails == "close":
            raise self._error


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "full"), (errno.EDQUOT, "full"), (errno.EIO, "io")]
)
@pytest.mark.parametrize("fails", ["make", "write", "read", "short"])
def test_a_disk_that_fails_under_a_long_message_refuses_it(number: int, code: str, fails: str) -> None:
    """What can't be kept can't be recorded, so it must not happen; and nobody crashes."""
    codec = Counted()
    codec.max_held = 1000

    def make() -> io.BytesIO:
        if fails == "make":
            raise OSError(number, "no")
        return Sick(number, fails)

    codec.spool = make
    data = counted(20)
    with pytest.raises(JournalRefused) as refused:  # noqa: PT012 - it may come at any step of the block
        for at in range(0, len(data), 500):
            codec.feed(data[at : at + 500])
    assert refused.value.code == ("io" if fails == "short" else code)


def test_a_file_that_does_not_close_is_forgotten_all_the_same() -> None:
    """The contents were not wanted any more."""
    codec = Counted()
    codec.max_held, codec.spool = 100, lambda: Sick(errno.EIO, "close")
    codec.feed(counted(9)[:500])
    codec.feed(counted(9)[500:600])
    codec.forget()


class Stretched(Codec):
    """``(`` begins a message, ``)`` ends it; its stretches are given as they come. ``.`` is a message."""

    def __init__(self) -> None:
        super().__init__()
        self.within = False

    def scan(self, data: bytes, base: int, frames: list[Frame]) -> int:
        start = 0
        for at, byte in enumerate(data):
            if byte == ord("("):
                self.within, start = True, at
            elif byte == ord(")"):
                self.within = False
                frames.append(Frame(1, base + start, base + at + 1, None, 1, False))
                start = at + 1
            elif not self.within:
                frames.append(Frame(2, base + at, base + at + 1, b"."))
                start = at + 1
        if self.within:
            frames.append(Frame(1, base + start, base + len(data), None, 0, True))
        return len(data)


@given(
    st.lists(st.sampled_from([b".", b"(xxx)", b"()"]), max_size=6), st.lists(st.integers(1, 5), min_size=1)
)
def test_it_is_known_whether_a_place_is_inside_a_message(parts: list[bytes], cuts: list[int]) -> None:
    """Our last words inside a half-sent message of the target's would be taken for its contents."""
    data = b"".join(parts)
    borders = {sum(map(len, parts[:i])) for i in range(len(parts) + 1)}
    codec, position = Stretched(), 0
    for number, cut in enumerate(cuts * (len(data) + 1)):
        if position >= len(data):
            break
        piece = data[position : position + cut]
        before = position
        position += len(piece)
        codec.feed(piece)
        assert codec.inside(before) == (before not in borders)
        assert codec.inside(position) == (position not in borders)
        if number % 2:
            codec.release()
            assert codec.data == b""
            assert codec.inside(position) == (position not in borders)
