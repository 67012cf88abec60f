"""What is kept of a journal that several follow: no more than somebody who is near its end has still to take."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

from hoopproxy.delivery.stream import BATCH_BYTES, BATCH_ENTRIES, Stream, View
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


class Seconds:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def followed(
    journal: Journal, count: int, monotonic: Callable[[], float] = time.monotonic, **given: int
) -> tuple[Stream, list[View]]:
    stream = Stream(journal.folder, monotonic=monotonic, **given)
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
    clock = Seconds()
    stream, (one, far, gone) = followed(journal, 3, clock, window_bytes=1)
    while take(one) or stream.is_held:
        clock.now += 1
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


def test_those_in_front_wait_for_one_who_would_drop_out(journal: Journal) -> None:
    stream, (fast, slow) = followed(journal, 2, Seconds(), window_bytes=2 * BATCH_BYTES)
    while take(fast):
        pass
    assert stream.is_held
    assert fast.position <= stream.head.jseq
    while take(slow):
        assert slow._own is None, "it had to read the disk"
        while take(fast):
            pass
    assert not stream.is_held
    assert fast.position == slow.position == stream.head.jseq + 1


def test_nobody_waits_for_long(journal: Journal) -> None:
    clock = Seconds()
    stream, (fast, stuck) = followed(journal, 2, clock, window_bytes=2 * BATCH_BYTES)
    waited = 0.0
    while take(fast) or stream.is_held:
        if stream.is_held:
            clock.now += 0.005
            waited += 0.005
    assert fast.position == stream.head.jseq + 1
    assert 0.19 < waited < 0.22
    more(journal, stream)
    while take(fast):
        pass
    assert not stream.is_held, "it waits again for one whom it has left behind"
    assert take(stuck)
    assert stuck._own is not None


def test_one_who_is_always_slow_costs_the_others_no_more_than_half_of_their_time(journal: Journal) -> None:
    clock = Seconds()
    stream, (fast, slow) = followed(journal, 2, clock, window_bytes=2 * BATCH_BYTES)
    waited, slow_at = 0.0, clock.now
    while clock.now < 1003:
        if clock.now >= slow_at:
            take(slow)
            slow_at = clock.now + 0.3
        if take(fast):
            clock.now += 0.05
        elif stream.is_held:
            clock.now += 0.005
            waited += 0.005
        else:
            more(journal, stream)
    assert 0 < waited <= 0.2 + 0.5 * (clock.now - 1000)


def test_a_pause_of_the_process_does_not_use_up_the_patience_of_the_minutes_after_it(
    journal: Journal,
) -> None:
    """Nobody waited in that time; and whoever drops out then costs all of them a second decoding."""
    clock = Seconds()
    stream, (fast, slow) = followed(journal, 2, clock, window_bytes=2 * BATCH_BYTES)
    while take(fast):
        pass
    assert stream.is_held
    clock.now += 60
    while take(slow):
        while take(fast):
            pass
    clock.now += 1
    more(journal, stream)
    while take(fast):
        pass
    assert stream.is_held, "the one behind is left to drop out"


@pytest.mark.parametrize("alone", [False, True])
def test_a_batch_that_ends_where_the_journal_did_hides_nothing_that_came_meanwhile(
    journal: Journal, alone: bool
) -> None:
    """What is next to come may be waiting for just these to be acknowledged."""
    stream = Stream(journal.folder)
    view = View(stream, 1)
    read = (lambda: view._alone(view.position)) if alone else view.read
    write(journal, BATCH_ENTRIES)
    stream.look()
    first = read()
    assert first is not None
    view.position = first.last + 1
    assert view.position == stream.head.jseq + 1, "it ends elsewhere, so this shows nothing"
    write(journal, 5)
    stream.look()
    more = read()
    assert more is not None, "nothing but another commit brings them"
    assert more.last == stream.head.jseq
    view.position = more.last + 1
    assert read() is None
