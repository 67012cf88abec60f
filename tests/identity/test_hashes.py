"""The pool that hashes: bounded, off the reactor's thread, and right."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock

from hoopproxy.errors import LoginFailed
from hoopproxy.identity.hashes import HashPool, ScryptHash
from hoopproxy.identity.portal import Portal

from .doubles import CHEAP, settled


class ThreadCalls:
    """The part of a reactor that a pool needs: collects calls for the test's thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.came = threading.Semaphore(0)

    def callFromThread(self, function: Any, *arguments: Any, **named: Any) -> None:
        self.calls.append((function, arguments, named))
        self.came.release()

    def run(self, count: int) -> None:
        for _ in range(count):
            assert self.came.acquire(timeout=60)
            function, arguments, named = self.calls.pop(0)
            function(*arguments, **named)


@pytest.fixture
def reactor() -> ThreadCalls:
    return ThreadCalls()


@pytest.fixture
def pool(reactor: ThreadCalls) -> Iterator[HashPool]:
    pool = HashPool(reactor, workers=2, queue=3)  # type: ignore[arg-type]  # what it uses of a reactor
    yield pool
    pool.stop()


def test_work_runs_on_at_most_so_many_other_threads(pool: HashPool, reactor: ThreadCalls) -> None:
    """The data path's thread must never hash."""
    together = threading.Barrier(2, timeout=60)

    def work() -> str:
        together.wait()
        return threading.current_thread().name

    answers = [pool.run(work) for _ in range(4)]
    reactor.run(4)
    names = {settled(answer) for answer in answers}
    assert threading.current_thread().name not in names
    assert len(names) == 2


def test_the_queue_ends_and_what_is_over_fails_at_once(pool: HashPool, reactor: ThreadCalls) -> None:
    """200 log-ins at once: the surplus is refused, not collected."""
    go = threading.Event()
    answers = [pool.run(go.wait, 10) for _ in range(200)]
    causes = [settled(answer) for answer in answers]
    assert causes.count("throttled") == 195
    assert pool.pending == 5
    go.set()
    reactor.run(5)
    assert pool.pending == 0
    again = pool.run(lambda: "free again")
    reactor.run(1)
    assert settled(again) == "free again"


def test_a_failing_call_frees_its_place(pool: HashPool, reactor: ThreadCalls) -> None:
    """Otherwise errors would use the pool up."""
    answer = pool.run(int, "x")
    reactor.run(1)
    assert isinstance(settled(answer), ValueError)
    assert pool.pending == 0


def test_after_the_stop_everything_is_refused(pool: HashPool) -> None:
    """A log-in during the shutdown fails instead of starting threads again."""
    pool.stop()
    assert settled(pool.run(int)) == "throttled"
    assert LoginFailed("throttled").cause == "throttled"


def test_a_hash_matches_its_password_only() -> None:
    """And two hashes of one password differ."""
    one, two = ScryptHash.make(b"pencil", CHEAP), ScryptHash.make(b"pencil", CHEAP)
    assert one.matches(b"pencil")
    assert not one.matches(b"pencil ")
    assert one.digest != two.digest


def test_the_default_costs_fit_in_the_memory_given() -> None:
    """hashlib refuses to work above ``maxmem``; the largest costs that a file may name must work too."""
    assert ScryptHash.make(b"x").matches(b"x")
    assert ScryptHash.make(b"x", (1024, 32, 16)).matches(b"x")


def test_the_example_of_rfc_7914() -> None:
    """Section 12: what others made is what we check."""
    digest = bytes.fromhex("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162")
    assert ScryptHash(n=1024, r=8, p=16, salt=b"NaCl", digest=digest).matches(b"password")


def test_short_checks_have_a_thread_of_their_own(reactor: ThreadCalls) -> None:
    """Somebody with a key must not wait for a minute of other people's passwords; and it ends with the rest."""
    checks = HashPool(reactor, 1)  # type: ignore[arg-type]
    pool = HashPool(reactor, checks=checks)  # type: ignore[arg-type]
    found = Portal([], clock=Clock(), hashes=pool)
    assert found._checks is checks
    pool.stop()
    assert settled(checks.run(int)) == "throttled"
