"""What is kept of a journal that several follow: no more than somebody who is near its end has still to take."""

from __future__ import annotations

import gc

import pytest

from hoopproxy.delivery.stream import Stream, View
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.writer import Journal

from .following import opened, write

COMMITS, RECORDS = 12, 800  # more than one batch, which is of whole commits


@pytest.fixture
def journal() -> Journal:
    return opened(MemoryFiles())


def more(journal: Journal, stream: Stream) -> None:
    for _ in range(COMMITS):
        write(journal, RECORDS)
    stream.look()


def followed(journal: Journal, count: int) -> tuple[Stream, list[View]]:
    stream = Stream(journal.folder)
    more(journal, stream)
    return stream, [View(stream, 1) for _ in range(count)]


def take(view: View) -> bool:
    batch = view.read()
    if batch is not None:
        assert batch.first == view.position
        view.position = batch.last + 1
    return batch is not None


def test_what_everybody_had_is_let_go_of(journal: Journal) -> None:
    stream, (one, other) = followed(journal, 2)
    for _ in range(3):
        while take(one) | take(other):
            pass
        more(journal, stream)
        assert take(one)
        assert len(stream._window) == 1
        assert stream._window_size == stream._window[0].size
        assert take(other)


def test_the_slower_one_finds_all_of_it_there(journal: Journal) -> None:
    stream, (fast, slow) = followed(journal, 2)
    while take(fast):
        pass
    assert len(stream._window) > 1
    reads = len(stream._window)
    while take(slow):
        assert slow._own is None, "it had to read the disk"
        reads -= 1
    assert reads == 0


def test_nothing_is_kept_for_one_who_is_far_behind_or_gone(journal: Journal) -> None:
    stream, (one, far, gone) = followed(journal, 3)
    stream._window_bytes = 1
    while take(one):
        pass
    stream._window_bytes = 1 << 30
    assert not stream._window, "it is kept for one who is too far behind to find it"
    gone.position = one.position
    del gone
    gc.collect()
    more(journal, stream)
    assert take(one)
    assert len(stream._window) == 1
    while take(far):
        pass
    assert far.position > one.position
