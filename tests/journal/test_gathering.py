"""Who is waited for before a commit: those who are about to ask, and nobody who won't. And when the writer is woken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.inbox import Inbox
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.pace import GATHERING_SECONDS, Pace
from hoopproxy.journal.writer import Journal

from .support import Timer, Timers, opened
from .turns import ask, session


class Crowd:
    """Sessions over a journal without a thread, whose writer waits for them all the same."""

    def __init__(self, count: int) -> None:
        self.timers = Timers()
        self.journal = opened(MemoryFiles(), call_later=self.timers)
        self.keys = [self.journal.open_key(session(number)) for number in range(count)]
        self.seqs = [0] * count
        assert self.journal._committer is not None
        self.journal._committer.is_shared = True

    def ask(self, number: int) -> None:
        self.seqs[number] += 1
        ask(self.journal, self.keys[number], number, 20 * self.seqs[number], self.seqs[number])
        self.journal.commit_now()

    @property
    def is_durable(self) -> bool:
        return self.journal.durable + 1 == self.journal.next_jseq

    def together(self, coming: int) -> None:
        """All of them are in one commit, as when they ask while the disk is at work."""
        self.journal._working = True
        for number in range(coming):
            self.ask(number)
        self.journal._working = False
        self.journal._pace.look()
        assert self.is_durable

    def commit(self, coming: int) -> int:
        """So many ask, one after the other: how many of them the first commit waited for."""
        for number in range(coming):
            self.ask(number)
            if self.is_durable:
                for late in range(number + 1, coming):
                    self.ask(late)
                if not self.is_durable:
                    self.time_is_up()
                return number + 1
        self.time_is_up()
        return coming + 1

    def time_is_up(self) -> None:
        """Those who didn't come were waited for long enough."""
        assert not self.is_durable
        if not self.fire():  # it was of those before
            assert self.fire()

    def commit_soon(self) -> Timer:
        """Something is to be committed that nobody waits for: the timer that asks for it."""
        self.journal.append(Kind.EVENT, b"{}")
        self.journal.commit_soon()
        (timer,) = [each for each in self.timers.waiting if each.seconds != GATHERING_SECONDS]
        self.timers.waiting.remove(timer)
        return timer

    def fire(self) -> bool:
        (timer,) = [each for each in self.timers.waiting if each.seconds == GATHERING_SECONDS]
        self.timers.waiting.remove(timer)
        timer.function()
        return self.is_durable


def test_a_few_sessions_wait_for_nobody() -> None:
    crowd = Crowd(3)
    assert [crowd.commit(3) for _ in range(5)] == [1] * 5


def test_those_who_asked_lately_are_waited_for_and_nobody_else() -> None:
    crowd = Crowd(6)
    assert crowd.commit(1) == 1, "nobody is known yet"
    crowd.together(6)
    found = []
    for _ in range(60):
        found.append(crowd.commit(6))
    assert found[-30:] == [6] * 30
    assert 7 not in found, "it waited for one who isn't there"


def test_who_did_not_come_is_not_waited_for_again_and_again() -> None:
    """One in nine times somebody more is hoped for."""
    crowd = Crowd(8)
    for _ in range(60):
        crowd.together(8)
    assert crowd.commit(8) == 8
    assert crowd.commit(5) == 6, "in vain"
    found = [crowd.commit(5) for _ in range(30)]
    assert set(found) <= {5, 6}
    assert found.count(6) <= 4


def test_what_comes_while_the_time_is_up_for_others_has_a_time_of_its_own() -> None:
    crowd = Crowd(6)
    for _ in range(60):
        crowd.together(6)
    crowd.ask(0)
    crowd.together(6)  # they came after all, and the timer is armed still
    crowd.ask(1)
    assert not crowd.fire(), "it was hurried by the timer of those before it"
    assert crowd.fire()


def test_what_only_the_timer_asks_for_waits_for_nobody() -> None:
    """In `bounded` no command waits for the disk: who gathers them gathers nothing, and the loss at a crash grows."""
    crowd = Crowd(8)
    for _ in range(60):
        crowd.together(8)
    crowd.commit_soon().function()  # it was armed for the first of those
    crowd.together(8)
    crowd.commit_soon().function()
    assert crowd.is_durable


def test_the_timer_does_not_hurry_a_commit_that_others_asked_for() -> None:
    crowd = Crowd(8)
    for _ in range(60):
        crowd.together(8)
    timer = crowd.commit_soon()
    crowd.ask(0)
    timer.function()
    assert not crowd.is_durable, "seven more are about to come"
    crowd.together(7)


def test_a_timer_whose_records_others_had_committed_hurries_nobody() -> None:
    """In `strict` each answer arms it, and somebody's next command takes that along."""
    crowd = Crowd(8)
    timer = crowd.commit_soon()
    for _ in range(60):
        crowd.together(8)
    timer.function()
    crowd.ask(0)
    assert not crowd.is_durable, "seven more are about to come"
    crowd.together(7)


class Clockwork:
    """A pace without threads: what is to be called at rest, and how often the writer was rung for."""

    def __init__(self) -> None:
        self.inbox, self.timers = Inbox(), Timers()
        self.at_rest: list[Callable[[], None]] = []
        self.rung = 0
        self.pace = Pace(self.inbox, self.timers, self.at_rest.append, self.ring)

    def ring(self) -> None:
        self.rung += 1

    def ask(self) -> None:
        self.inbox.want = True
        self.inbox.asked += 1
        self.pace.ask()

    def rest(self) -> None:
        due, self.at_rest[:] = list(self.at_rest), []
        for each in due:
            each()


@pytest.fixture
def clockwork() -> Clockwork:
    return Clockwork()


def test_the_writer_is_woken_once_when_the_turn_is_over(clockwork: Clockwork) -> None:
    for _ in range(5):
        clockwork.ask()
    assert (clockwork.rung, len(clockwork.at_rest)) == (0, 1)
    clockwork.rest()
    assert clockwork.rung == 1
    clockwork.ask()
    clockwork.rest()
    assert clockwork.rung == 1, "it is at work already, and looks again by itself"


def test_many_who_ask_are_not_kept_until_the_turn_is_over(clockwork: Clockwork) -> None:
    for _ in range(64):
        clockwork.ask()
    assert clockwork.rung == 1


def test_a_stop_waits_for_nobody(clockwork: Clockwork) -> None:
    clockwork.inbox.enough = 6
    clockwork.ask()
    clockwork.rest()
    assert clockwork.rung == 0
    clockwork.pace.hurry()
    assert clockwork.rung == 1


def test_a_thread_that_waits_goes_on_as_soon_as_they_are_there() -> None:
    """And not only when the time is up, which here is never."""
    inbox = Inbox()
    inbox.enough = 3
    pace = Pace(inbox, Timers(), None)
    over = threading.Event()
    thread = threading.Thread(target=lambda: (pace.wait(None), over.set()))
    thread.start()
    for number in range(3):
        assert not over.wait(0.05), f"after {number}"
        inbox.want = True
        inbox.asked += 1
        pace.ask()
    assert over.wait(10)
    thread.join(10)


def test_a_thread_that_nobody_wants_says_so_after_a_while() -> None:
    inbox = Inbox()
    pace = Pace(inbox, Timers(), None)
    assert not pace.wait(0.001)
    inbox.want = True
    assert pace.wait(0.001)


class Loop:
    """The reactor's thread of a real writer, in a few lines."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        self.later.append((time.monotonic() + seconds, function))

    def until(self, true: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it was never durable"
            due = [each for each in self.later if each[0] <= time.monotonic()]
            self.later = [each for each in self.later if each not in due]
            for _, function in due:
                function()
            with suppress(Empty):
                self.calls.get(timeout=0.001)()


def test_a_real_writer_makes_durable_whatever_it_is_asked_for(tmp_path: Path) -> None:
    """However those who ask and the writer come to look at one another."""
    loop = Loop()
    journal = Journal(
        Folder.acquire(tmp_path),
        options=JournalOptions(reserve_bytes=0, sync_ms=60_000),
        call_from_thread=loop.calls.put,
        call_later=loop.call_later,
    )
    journal.start()
    keys = [journal.open_key(session(number)) for number in range(6)]
    for seq in range(1, 120):
        for number in range(6 if seq % 7 else 2):
            ask(journal, keys[number], number, 20 * seq, seq)
            journal.commit_now()
            if seq % 5 == 0:
                time.sleep(0.0002)
        loop.until(lambda: journal.durable + 1 == journal.next_jseq)
    stopped: list[object] = []
    journal.stop(stopped.append)
    loop.until(lambda: bool(stopped))
    assert stopped == [None]
