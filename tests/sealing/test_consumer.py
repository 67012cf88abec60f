"""The consumer's time: one checkpoint a second, when its second is over, and never two hands on one tree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hoopproxy.journal.reader import JournalReader
from hoopproxy.sealing.consumer import Ledger, is_quiet
from tests.ending import at_end
from tests.ledger.sealed import Given, House


class Timed:
    """A ledger on a clock, whose thread a test lets finish by hand."""

    def __init__(self, state: Path) -> None:
        self.house = House(state)
        self.clock = Clock()
        self.threads: list[tuple[Deferred[Any], Callable[[], Any]]] = []
        self.threaded = False
        self.ledger = self.house.ledger = Ledger(
            state,
            self.house._emit,
            origin="gw1",
            later=self.clock.callLater,
            in_thread=self.in_thread,
            now=lambda: 1_700_000_000.0,
            monotonic=self.clock.seconds,
            sleep=lambda seconds: None,
        )
        at_end(partial(self.ledger._close, None))
        self.ledger.position(self.house.folder.id)
        self.clock.advance(100)
        self.session = self.house.trail.session()

    def in_thread(self, work: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.threads.append((done, work))
        if not self.threaded:
            self.finish()
        return done

    def finish(self) -> None:
        done, work = self.threads.pop(0)
        try:
            result = work()
        except OSError as error:
            done.errback(error)
        else:
            done.callback(result)

    def asks(self, number: int = 1) -> Deferred[None] | None:
        for _ in range(number):
            self.session.selects("SELECT 1", ("n",), (b"1",))
        self.house.trail.journal.commit_now()
        with JournalReader(self.house.folder, since=self.house.sealer.next_jseq) as reader:
            return self.ledger.take(self.house.folder.id, [Given(record) for record in reader])

    @property
    def signed(self) -> int:
        return self.house.kinds().count("audit.checkpoint")


@pytest.fixture
def timed(tmp_path: Path) -> Timed:
    return Timed(tmp_path)


def test_a_trickle_is_signed_once_a_second_and_none_waits_longer(timed: Timed) -> None:
    """The first at once, then when the second is over, however often the follower ticks."""
    timed.asks()
    assert timed.signed == 1
    for _ in range(60):
        timed.clock.advance(0.05)
        timed.asks()
        timed.ledger.tick()
    assert 3 <= timed.signed <= 5
    timed.clock.advance(1.0)
    assert timed.house.sealer.wait() is None, "nothing of the traffic waits"


def test_nothing_is_armed_without_traffic(timed: Timed) -> None:
    """An idle process costs nothing."""
    timed.asks()
    timed.clock.advance(5)
    timed.house.follow()  # the checkpoint's own event
    assert not timed.clock.getDelayedCalls()


def test_a_batch_waits_while_a_thread_signs(timed: Timed) -> None:
    """A leaf that came in between tiles and root would be signed and not written."""
    timed.asks()
    timed.asks()
    timed.threaded = True
    timed.clock.advance(1)
    assert len(timed.threads) == 1
    size = timed.house.sealer.size
    waiting = timed.asks()
    assert waiting is not None
    assert not waiting.called
    assert timed.house.sealer.size == size
    timed.threaded = False
    timed.finish()
    assert waiting.called
    assert timed.house.sealer.size > size
    timed.clock.advance(2)
    assert timed.house.verified().problem is None


def test_the_end_signs_what_waits_and_holds_no_timer(timed: Timed) -> None:
    """The process that ends has delivered."""
    timed.asks()
    timed.asks()
    assert timed.clock.getDelayedCalls()
    ended = timed.ledger.stop()
    assert ended is not None
    assert ended.called
    assert not timed.clock.getDelayedCalls()
    assert timed.signed == 2


@pytest.mark.parametrize(
    ("event", "quiet"),
    [
        ({"kind": "audit.checkpoint"}, True),
        ({"kind": "gateway.clock", "event": {"why": "hour"}}, True),
        ({"kind": "gateway.clock", "event": {"why": "step"}}, False),
        ({"kind": "audit.read"}, False),
        ({}, False),
    ],
)
def test_what_is_quiet_is_the_ledgers_own_and_the_hourly_sign_of_life(
    event: dict[str, Any], quiet: bool
) -> None:
    """Anything else is sealed within the second."""
    assert is_quiet(event) is quiet
