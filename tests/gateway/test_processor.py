"""The data path stays on one processor, and nothing else has to."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections.abc import Iterator

import pytest
from twisted.python.threadpool import ThreadPool

from hoopproxy.errors import HoopproxyError
from hoopproxy.gateway import processor
from hoopproxy.gateway.processor import ANYWHERE, LARGE_BATCH, SMALL_BATCHES, Anywhere, Processor, choose

GIVEN = frozenset(os.sched_getaffinity(0))
several = pytest.mark.skipif(len(GIVEN) < 2, reason="this process was given one processor only")
SHOW = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Anywhere]]:
    """What a test chose; the test's thread may run anywhere again afterwards. Gateways of this machine don't count."""
    monkeypatch.setattr(processor, "CLAIMS", f"hoopproxy/test/{os.getpid()}")
    made: list[Anywhere] = []
    yield made
    for each in made:
        each.leave()
    os.sched_setaffinity(0, GIVEN)


def where() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0))


@several
def test_the_last_processor_is_taken_and_the_next_gateway_takes_another(chosen: list[Anywhere]) -> None:
    """Two gateways on one processor would have half of it each, while others idle."""
    chosen += [choose("auto"), choose("auto")]
    assert [each.number for each in chosen] == sorted(GIVEN, reverse=True)[:2]


@several
def test_a_gateway_that_left_gives_its_processor_back(chosen: list[Anywhere]) -> None:
    first = choose("auto")
    first.settle()
    first.leave()
    assert where() == GIVEN
    chosen.append(choose("auto"))
    assert chosen[0].number == first.number


@several
def test_when_every_processor_is_taken_the_scheduler_decides(chosen: list[Anywhere]) -> None:
    chosen += [choose("auto") for _ in GIVEN]
    assert choose("auto") is ANYWHERE


@several
def test_nothing_moves_before_it_is_told_to(chosen: list[Anywhere]) -> None:
    """The choice is made before the threads are there."""
    chosen.append(choose("auto"))
    assert where() == GIVEN
    chosen[0].settle()
    assert where() == {chosen[0].number}


@several
def test_threads_beside_it_and_other_processes_run_anywhere(chosen: list[Anywhere]) -> None:
    """Two hundred bad log-ins, hashed on the data path's processor, would stall it."""
    chosen.append(choose("auto"))
    chosen[0].settle()
    pool, seen = ThreadPool(0, 1), queue.Queue[frozenset[int]]()
    pool.threadFactory = chosen[0].thread
    pool.start()
    pool.callInThread(lambda: seen.put(where()))
    with chosen[0].elsewhere():
        child = subprocess.run(SHOW, check=True, capture_output=True, text=True, timeout=60).stdout
    assert seen.get(timeout=30) == GIVEN
    pool.stop()
    assert child.strip() == str(sorted(GIVEN))
    assert where() == {chosen[0].number}


def test_the_writer_goes_elsewhere_for_large_batches_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it compresses and writes then would stop the reactor for as long."""
    moves: list[tuple[int, ...]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, where: moves.append(tuple(sorted(where))))
    writer = Processor(2, frozenset({0, 1, 2}), None).writer()
    assert writer is not None
    seen = []
    for size in (LARGE_BATCH - 1, LARGE_BATCH, *[1] * (SMALL_BATCHES - 1), LARGE_BATCH, *[1] * SMALL_BATCHES):
        writer(size)
        seen.append(len(moves))
    assert seen == [0, *[1] * (2 * SMALL_BATCHES), 2]
    assert moves == [(0, 1, 2), (2,)]


def test_on_two_processors_the_writer_stays() -> None:
    """The other one is for everybody else."""
    assert Processor(1, frozenset({0, 1}), None).writer() is None


@several
def test_a_failure_elsewhere_comes_back_to_the_processor(chosen: list[Anywhere]) -> None:
    chosen.append(choose("auto"))
    chosen[0].settle()
    with pytest.raises(ZeroDivisionError), chosen[0].elsewhere():
        _ = 1 / 0
    assert where() == {chosen[0].number}


def test_one_by_its_number_is_taken_whoever_is_there(chosen: list[Anywhere]) -> None:
    """Who names it has planned it."""
    number = min(GIVEN)
    chosen += [choose(number), choose(number)]
    assert [each.number for each in chosen] == [number, number]


def test_one_that_the_process_may_not_use_is_a_sentence() -> None:
    with pytest.raises(HoopproxyError, match=r"gateway\.cpu_affinity is 4096, but this process may run on"):
        choose(4096)


def test_where_the_system_forbids_it_the_scheduler_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hardened unit filters system calls; the gateway is slower there, not down."""

    def forbidden(thread: int, processors: frozenset[int]) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    assert choose("auto") is ANYWHERE


@pytest.mark.parametrize("size", [LARGE_BATCH, 1])
def test_processors_that_are_taken_away_take_nothing_with_them(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The cpuset of a running container shrinks when its host gives processors to others: then the journal's writer
    failed and commands were refused, and a process that had been started was taken for one that was not."""
    stays = Processor(2, frozenset({0, 1, 2}), None)
    writer = stays.writer()
    assert writer is not None
    writer(LARGE_BATCH)
    asked: list[object] = []

    def gone(thread: int, processors: object) -> None:
        asked.append(processors)
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sched_setaffinity", gone)
    for _ in range(SMALL_BATCHES):
        writer(size)
    stays.settle()
    with stays.elsewhere():
        asked.append("inside")
    ran: list[str] = []
    thread = stays.thread(target=lambda: ran.append("ran"))
    thread.start()
    thread.join(timeout=30)
    stays.leave()
    assert "inside" in asked
    assert ran == ["ran"]


def test_none_leaves_it_to_the_scheduler() -> None:
    assert choose("none") is ANYWHERE
    ANYWHERE.settle()
    assert ANYWHERE.writer() is None
    with ANYWHERE.elsewhere():
        assert where() == GIVEN
    assert ANYWHERE.thread is __import__("threading").Thread
