"""Counting who is here, and rounds that only run while somebody is."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from hoopproxy.config import Limits
from hoopproxy.gateway.limits import ROUND_SECONDS, Account, Crowd, Deadlines, Rounds


def test_zero_means_no_limit() -> None:
    """As the configuration says."""
    crowd = Crowd(
        attrs.evolve(
            Limits(),
            sessions_per_listener=0,
            sessions_per_address=0,
            sessions_per_identity=0,
            held_bytes=0,
            spooled_bytes=0,
        )
    )
    for _ in range(2000):
        assert crowd.enter("l", "192.0.2.1") is None
        assert crowd.name("alice") is None
    assert Account(crowd).now(1 << 40, 1 << 40, "alice") is None


def test_new_numbers_are_for_who_comes_from_now_on() -> None:
    """A reload must not throw anybody out, and must let more in."""
    crowd = Crowd(attrs.evolve(Limits(), sessions_per_address=1, pre_login_connections=1))
    assert crowd.enter("l", "192.0.2.1") is None
    assert crowd.enter("l", "192.0.2.1") is not None
    assert crowd.knock() is None
    assert crowd.knock() is not None
    crowd.apply(attrs.evolve(Limits(), sessions_per_address=2, pre_login_connections=2))
    assert crowd.enter("l", "192.0.2.1") is None
    assert crowd.knock() is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["192.0.2.1", "2001:db8::1"])), max_size=30
    )
)
def test_who_left_left_nothing(visits: list[tuple[str, str]]) -> None:
    """A count that drifts locks everybody out in the end; a key that stays is a leak."""
    crowd = Crowd(Limits())
    for listener, address in visits:
        assert crowd.enter(listener, address) is None
        assert crowd.name(listener) is None
    for listener, address in visits:
        crowd.leave(listener, address)
        crowd.unname(listener)
    assert not crowd._listeners
    assert not crowd._addresses
    assert not crowd._identities


def test_less_is_never_refused() -> None:
    """Giving bytes back while over the limit must not end the one who does."""
    account = Account(Crowd(attrs.evolve(Limits(), held_bytes=10, spooled_bytes=10)))
    assert account.now(100, 0) is not None
    assert account.now(50, 0) is None
    assert account.now(50, 100) is not None
    assert account.now(50, 50) is None


def held_and_spooled(held: int, spooled: int) -> tuple[Crowd, Account, Account]:
    crowd = Crowd(
        attrs.evolve(Limits(), held_bytes=8000, max_held=1000, spooled_bytes=8000, max_statement=1000)
    )
    for _ in range(4):
        assert Account(crowd).now(held, spooled, "mallory") is None
    return crowd, Account(crowd), Account(crowd)


@pytest.mark.parametrize(("held", "spooled", "key"), [(1000, 0, "held_bytes"), (0, 1000, "spooled_bytes")])
def test_one_identity_can_not_have_all_that_all_may_hold(held: int, spooled: int, key: str) -> None:
    """A hundred sessions of one person, each with half a statement, would be in everybody's way."""
    crowd, hers, his = held_and_spooled(held, spooled)
    refused = hers.now(held, spooled, "mallory")
    assert refused is not None
    assert refused.sentence.startswith("of mallory alone the gateway ")
    assert refused.sentence.endswith(f"(half of {key} = 8000)")
    hers.close()
    assert his.now(held, spooled, "alice") is None
    his.close()
    assert (crowd.in_memory.total, crowd.on_disk.total) == (4 * held, 4 * spooled)


def test_who_holds_next_to_nothing_is_not_ended_for_what_others_hold() -> None:
    """Everybody who moves data has some bytes of a message for a moment."""
    crowd, small, large = held_and_spooled(1000, 1000)
    assert Account(crowd).now(4000, 4000, "bob") is None
    assert small.now(8, 8, "alice") is None
    assert large.now(9, 0, "alice") is not None


def test_thousands_who_hold_next_to_nothing_do_not_hold_many_times_the_limit() -> None:
    """Each of 10,000 sessions had a thousandth of the limit for nothing: ten times as much memory as there may be."""
    crowd = Crowd(attrs.evolve(Limits(), held_bytes=8000, max_held=1000))
    answers = [Account(crowd).now(8, 0, f"user{number}") for number in range(10_000)]
    assert answers[:2000] == [None] * 2000
    assert None not in answers[2000:]


def test_what_a_session_holds_goes_with_it_to_its_identity() -> None:
    """Bytes that came before the log-in are those of whoever logged in."""
    crowd, account, other = held_and_spooled(500, 500)
    account.now(700, 700)
    account.now(700, 700, "alice")
    account.close()
    assert (crowd.in_memory.total, crowd.on_disk.total) == (2000, 2000)
    assert other.now(2000, 2000, "mallory") is None
    assert other.now(2001, 2000, "mallory") is not None


class One:
    def __init__(self) -> None:
        self.looked: list[float] = []

    def look(self, now: float) -> None:
        self.looked.append(now)


class Late:
    def __init__(self, deadlines: Deadlines, again: float = 0) -> None:
        self.deadlines, self.again, self.times = deadlines, again, 0

    def late(self) -> None:
        self.times += 1
        if self.again:
            self.deadlines.set(self, self.again)


def test_who_is_late_is_told_then_and_by_one_timer_for_all() -> None:
    """A timer for each session would cost an idle one half a kibibyte."""
    clock = Clock()
    deadlines = Deadlines(clock)
    first, second, third = (Late(deadlines) for _ in range(3))
    deadlines.set(first, 3)
    clock.advance(1)
    deadlines.set(second, 3)
    deadlines.set(third, 1)  # the configuration was changed meanwhile
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(0.9)
    assert third.times == 0
    clock.advance(0.2)
    assert (first.times, second.times, third.times) == (0, 0, 1)
    deadlines.set(first, 10)
    clock.advance(2)
    assert (first.times, second.times) == (0, 1)
    deadlines.end(second)
    clock.advance(7.9)
    assert first.times == 0
    clock.advance(0.2)
    assert (first.times, second.times, third.times) == (1, 1, 1)
    assert not clock.getDelayedCalls()


def test_without_deadlines_no_timer_runs_and_being_late_may_set_another() -> None:
    """An idle process sleeps."""
    clock = Clock()
    deadlines = Deadlines(clock)
    one, again = Late(deadlines), Late(deadlines, again=2)
    deadlines.set(one, 3)
    deadlines.end(one)
    deadlines.end(one)
    assert not clock.getDelayedCalls()
    deadlines.set(again, 1)
    clock.advance(1)
    clock.advance(2)
    assert (one.times, again.times) == (0, 2)
    assert again in deadlines
    assert len(clock.getDelayedCalls()) == 1


def test_rounds_run_while_there_are_sessions() -> None:
    """An idle process sleeps."""
    clock, one = Clock(), One()
    present = [one]
    rounds = Rounds(clock, lambda: present)
    also: list[int] = []
    rounds.also = lambda: also.append(1)
    assert not clock.getDelayedCalls()
    rounds.wake()
    rounds.wake()
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(ROUND_SECONDS)
    clock.advance(ROUND_SECONDS)
    assert len(one.looked) == len(also) == 2
    present.clear()
    clock.advance(ROUND_SECONDS)
    assert not clock.getDelayedCalls()
    present.append(one)
    rounds.wake()
    rounds.stop()
    assert not clock.getDelayedCalls()
