"""What another thread asks for happens on the reactor's, in order, and a failure is nobody else's."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from hoopproxy.gateway.doorbell import Doorbell

from .turns import Turned, turned


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as made:
        yield made


def test_what_is_asked_for_happens_in_order_on_the_reactors_thread(reactor: Turned) -> None:
    bell, done = Doorbell(reactor), list[tuple[int, int]]()

    def ring() -> None:
        for number in range(200):
            bell.call(lambda number=number: done.append((number, threading.get_ident())))  # type: ignore[misc]

    thread = threading.Thread(target=ring)
    thread.start()
    thread.join()
    assert not done, "nothing happens on the thread that asks"
    reactor.turn(3)
    assert done == [(number, threading.get_ident()) for number in range(200)]
    bell.close()


def test_what_is_asked_for_meanwhile_comes_in_another_turn(reactor: Turned) -> None:
    bell, done = Doorbell(reactor), list[str]()

    def again() -> None:
        done.append("again")
        if len(done) < 5:
            bell.call(again)

    bell.call(again)
    reactor.turn(1)
    assert done == ["again"], "a chain of calls must not hold up the connections"
    reactor.turn(8)
    assert len(done) == 5
    bell.close()


def test_one_that_fails_costs_the_others_nothing(reactor: Turned) -> None:
    bell, done = Doorbell(reactor), list[str]()

    def fails() -> None:
        raise RuntimeError("no")

    bell.call(fails)
    bell.call(lambda: done.append("second"))
    reactor.turn(2)
    bell.call(lambda: done.append("third"))
    reactor.turn(2)
    assert done == ["second", "third"]
    bell.close()


def test_closed_from_within_it_still_calls_what_waits(reactor: Turned) -> None:
    bell, done = Doorbell(reactor), list[str]()
    bell.call(bell.close)
    bell.call(lambda: done.append("behind it"))
    reactor.turn(2)
    assert done == ["behind it"]
    bell.close()
    assert bell.fileno() == -1
