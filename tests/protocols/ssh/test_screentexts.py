"""What a session showed, as texts for the search index: whole lines, no secrets, in bounds, and from any place on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh import screentexts
from hoopproxy.protocols.ssh.packets import boolean, packet, string, uint32
from hoopproxy.protocols.ssh.screentexts import ScreenTexts
from tests.protocols.ssh.recording import Chunk, Recording

Text = tuple[str, str]


def shown(chunks: Iterable[Chunk], texts: ScreenTexts | None = None) -> list[Text]:
    texts = texts or ScreenTexts()
    return [*(each for chunk in chunks for each in texts.feed(chunk)), *texts.rest()]


def terminal() -> Recording:
    """A shell in channel 0 (7 at the target), and a program in channel 1 (8 there)."""
    made = Recording()
    made.login()
    made.opened(0, 7)
    made.pty(7)
    made.asks(7, "shell")
    made.opened(1, 8)
    made.asks(8, "exec", string("make"))
    return made


def test_a_terminal_shows_lines_as_the_cursor_left_them() -> None:
    """What was typed wrong and taken back was not shown; colours and titles are no text."""
    made = terminal()
    made.data(1, 0, b"$ sl\b\bls\x1b[K\r\n\x1b]0;title\x07\x1b[1;31mbu\x1b[0msiness\r\n")
    made.data(1, 0, b"Downloading 10%\rDownloading 99%\r\n" + b"long" * 30 + b"\r\n$ wait")
    assert shown(made.chunks) == [
        ("0", "$ ls"),
        ("0", "business"),
        ("0", "Downloading 99%"),
        ("0", "long" * 30),
        ("0", "$ wait"),
    ]


def test_an_editor_shows_what_it_prints() -> None:
    """On the alternate screen there are no lines; a word is not cut by its colours."""
    made = terminal()
    made.data(1, 0, b"$ vi\r\n\x1b[?1049h\x1b[2J\x1b[1;1Hsal\x1b[1mary\x1b[m list\x1b[5;3Hbob\x1b[K")
    made.data(1, 0, b"\x1b[6;3Hcarol\x1b]52;c;c2VjcmV0\x07\r\n")
    made.data(1, 0, b"\x1b[?1049l$ exit\r\n")
    assert [text for _, text in shown(made.chunks)] == ["$ vi", "salary list", "bob", "carol", "$ exit"]


def test_a_program_shows_its_output_and_its_errors() -> None:
    """Without a terminal: each stream by its own lines."""
    made = terminal()
    made.data(1, 1, b"out one\nout")
    made.say(1, packet(95, uint32(1), uint32(1), string("an error\n")))
    made.data(1, 1, b" two\n\x1b[32mgreen\x1b[0m leaves\n")
    assert shown(made.chunks) == [
        ("1", "out one"),
        ("1", "an error"),
        ("1", "out two"),
        ("1", "green leaves"),
    ]


def test_nothing_that_was_typed_is_shown_and_nothing_that_is_filled() -> None:
    """Only the target's side counts; of that no stretch that was held out."""
    made = terminal()
    made.data(0, 7, b"typed-secret\r", filled=True)
    made.data(0, 8, b"stdin of the program\n")
    made.data(1, 1, b"content of a file\n", filled=True)
    made.data(1, 1, b"seen\n")
    assert shown(made.chunks) == [("1", "seen")]


def test_what_speaks_in_no_text_is_left_alone() -> None:
    """Archives, file transfers, subsystems, forwarded connections: their bytes are nobody's words."""
    made = terminal()
    made.data(1, 1, b"total 3\n\0binary\nwords\n")
    made.data(1, 1, b"more words\n")
    made.opened(2, 9)
    made.asks(9, "subsystem", string("sftp"))
    made.data(1, 2, b"names of files\n")
    made.say(0, packet(90, string("direct-tcpip"), uint32(3), uint32(9), uint32(9)))
    made.say(1, packet(91, uint32(3), uint32(10), uint32(9), uint32(9)))
    made.data(1, 3, b"a forwarded line\n")
    assert shown(made.chunks) == [("1", "total 3")]


def test_a_number_that_is_used_again_is_another_channel() -> None:
    """Clients take the lowest number that is free."""
    made = terminal()
    made.data(1, 1, b"first\n")
    made.say(1, packet(97, uint32(1)))
    made.say(0, packet(97, uint32(8)))
    made.opened(1, 8)
    made.asks(8, "exec", string("true"))
    made.data(1, 1, b"second\n")
    assert shown(made.chunks) == [("1", "first"), ("1.2", "second")]


def test_what_is_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that shows gigabytes costs what its beginning costs."""
    monkeypatch.setattr(screentexts, "MAX_CHUNK", 20)
    monkeypatch.setattr(screentexts, "MAX_SESSION", 30)
    made = terminal()
    made.data(1, 1, b"0123456789\n" * 5)
    made.data(1, 1, b"abcdefghij\n" * 5)
    made.data(1, 1, b"never\n")
    assert [text for _, text in shown(made.chunks)] == ["0123456789", "012345678", "abcdefghij"]


def test_a_long_line_is_given_in_pieces() -> None:
    """A line without an end is no reason to hold it."""
    assert len(max((text for _, text in shown(line("x" * 9000))), key=len)) == screentexts.MAX_LINE


def test_a_screen_that_is_made_to_be_dear_is_read_without_laying_it_out() -> None:
    """Work is counted: hundreds of scrolled rows for six bytes are no reason to stop the reader process."""
    made = terminal()
    made.asks(7, "window-change", *(uint32(each) for each in (1000, 500, 0, 0)))
    made.data(1, 0, b"word\x1b[500S\x1b[500T" * 10_000 + b"\r\nlast")
    made.data(1, 0, b"\r\nafter it\r\n")
    began = time.process_time()
    found = [text for _, text in shown(made.chunks)]
    assert {"word", "last", "after it"} <= set(found)
    assert time.process_time() - began < 10


def line(text: str) -> list[Chunk]:
    made = terminal()
    made.data(1, 1, text.encode() + b"\n")
    return made.chunks


def busy() -> Recording:
    made = terminal()
    made.data(1, 0, b"$ vi notes\r\n\x1b[?1049hinside ")
    made.data(1, 1, b"half a")
    made.data(1, 0, b"the editor\x1b[?1049l")
    made.asks(7, "window-change", *(uint32(each) for each in (30, 10, 0, 0)))
    made.data(1, 0, b"$ wrapped ")
    made.data(1, 1, b" line\n")
    made.data(1, 0, b"over two rows of it\r\n\xc3\xa4\xe4\xb8\xad$ ")
    made.data(1, 0, b"end")
    made.say(1, packet(98, uint32(1), string("exit-status"), boolean(False), uint32(3)))
    made.say(1, packet(97, uint32(1)))
    made.say(0, packet(97, uint32(8)))
    return made


@given(st.data())
def test_reading_goes_on_from_a_mark_as_if_it_had_not_stopped(draw: st.DataObject) -> None:
    """The index and the search read the same texts, wherever a document begins."""
    chunks: list[Chunk] = []
    for each in busy().chunks:
        cuts = sorted({0, len(each.data), *draw.draw(st.lists(st.integers(0, len(each.data)), max_size=2))})
        for start, end in pairwise(cuts):
            spans = tuple(
                (max(a, start) - start, min(a + n, end) - max(a, start), r) for a, n, r in each.redactions
            )
            spans = tuple(span for span in spans if span[1] > 0)
            chunks.append(Chunk(each.direction, each.offset + start, each.mono, each.data[start:end], spans))
    at = draw.draw(st.integers(0, len(chunks)))
    first = ScreenTexts()
    for chunk in chunks[:at]:
        list(first.feed(chunk))
    second = ScreenTexts(first.mark())
    assert shown(chunks[at:], first) == shown(chunks[at:], second)


def test_a_mark_between_messages_loses_no_word() -> None:
    """A line that had begun is gone on with."""
    whole = [text for _, text in shown(busy().chunks)]
    assert "$ wrapped over two rows of it" in whole
    assert "half a line" in whole
    assert "\u00e4\u4e2d$ end" in whole
    for at in range(len(busy().chunks)):
        texts = ScreenTexts()
        found = [text for chunk in busy().chunks[:at] for _, text in texts.feed(chunk)]
        found += [text for _, text in shown(busy().chunks[at:], ScreenTexts(texts.mark()))]
        assert {"half a line", "\u00e4\u4e2d$ end"} <= set(found), at


def test_the_middle_of_a_session_is_read_without_its_beginning() -> None:
    """A reader that was started late knows no channels; it still finds words."""
    made = terminal()
    made.data(1, 0, b"\x1b[31msudden\x1b[m death\r\n")
    assert shown(made.chunks[-1:]) == [("0", "sudden death")]


@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=60)), max_size=10))
def test_garbage_is_no_harm(parts: list[tuple[int, bytes]]) -> None:
    """A target may have said anything; what is found is text, and a mark can always be made."""
    made = terminal()
    for direction, data in parts:
        made.add(direction, data)
        made.data(1, 0, data)
        made.data(1, 1, data)
    texts = ScreenTexts()
    for chunk in made.chunks:
        assert all(isinstance(text, str) for _, text in texts.feed(chunk))
        texts = ScreenTexts(texts.mark())
    list(texts.rest())
