"""The window keeps the latest messages, no more than it may, and survives the process."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.sinks.syslog_window import Window

frames = st.lists(
    st.tuples(st.uuids().map(str), st.binary(max_size=50).filter(lambda frame: b"\n" not in frame))
)


@given(frames, st.integers(0, 5), st.integers(0, 100))
def test_it_is_bounded_in_messages_and_bytes_and_keeps_the_latest(
    sent: list[tuple[str, bytes]], messages: int, size: int
) -> None:
    window = Window(messages, size)
    for each in sent:
        window.add([each])
    kept = window.but(frozenset())
    assert len(kept) <= messages
    assert sum(map(len, kept)) == window.bytes <= size
    assert kept == [frame for _, frame in sent][len(sent) - len(kept) :]


def test_what_is_sent_anyway_is_not_sent_twice() -> None:
    window = Window(10, 1000)
    window.add([("a", b"1"), ("b", b"2"), ("", b"gap"), ("c", b"3")])
    assert window.but({"b", "c", ""}) == [b"1", b"gap"]
    window.discard({"c"})
    assert window.but(frozenset()) == [b"1", b"2", b"gap"]


def test_the_next_process_finds_it_once(tmp_path: Path) -> None:
    """What was saved and not taken away would come again after every crash."""
    window, path = Window(10, 1000), tmp_path / "window"
    window.add([("a", b"one frame"), ("b", b"<1>- \xc3\xa9")])
    window.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    for expected in ([b"one frame", b"<1>- \xc3\xa9"], []):
        found = Window(10, 1000)
        found.load(path)
        assert found.but(frozenset()) == expected


def test_a_cut_file_gives_what_is_whole_in_it(tmp_path: Path) -> None:
    path = tmp_path / "window"
    path.write_bytes(b"a one\nb two\nnonsense\nc thr")
    window = Window(10, 1000)
    window.load(path)
    assert window.but(frozenset()) == [b"one", b"two"]


def test_an_empty_one_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "window").write_bytes(b"a old\n")
    Window(0, 0).save(tmp_path / "window")
    assert not list(tmp_path.iterdir())
