"""Caps, counters and counted failures: bounded in number, in memory and in events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from hoopproxy.identity.throttle import (
    ELSEWHERE,
    TRUSTED_SECONDS,
    FailureReports,
    FailureSummary,
    PreLogin,
    Throttle,
    network_of,
)

HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (HERE, HERE),
        ("::ffff:192.0.2.1", HERE),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("/run/app.sock", "/run/app.sock"),
    ],
)
def test_one_client_is_one_address_or_a_64(address: str, network: str) -> None:
    """A household has 2^64 IPv6 addresses; each would have a cap of its own."""
    assert network_of(address) == network


def test_a_cap_fills_and_drains_over_a_minute() -> None:
    """Six a minute: six at once, then one each ten seconds."""
    clock = Clock()
    throttle = Throttle(clock, per_address=6, per_user=0)
    for _ in range(6):
        assert throttle.allows(HERE, "alice")
        throttle.failed(HERE, "alice")
    assert not throttle.allows(HERE, "bob")
    assert throttle.allows(THERE, "alice")
    clock.advance(9)
    assert not throttle.allows(HERE, "alice")
    clock.advance(1.01)
    assert throttle.allows(HERE, "alice")
    clock.advance(100)
    assert throttle.allows(HERE, "alice")


def test_a_users_cap_holds_from_everywhere() -> None:
    """Guessing from many addresses is one guesser."""
    throttle = Throttle(Clock(), per_address=0, per_user=3)
    for number in range(3):
        throttle.failed(f"192.0.2.{number}", "alice")
    assert not throttle.allows("198.51.100.1", "alice")
    assert throttle.allows("198.51.100.1", "bob")


def test_strangers_can_not_lock_somebody_out() -> None:
    """Where alice logged in today she has a cap of her own, also for guessers there."""
    clock = Clock()
    throttle = Throttle(clock, per_address=0, per_user=3)
    throttle.succeeded(HERE, "alice")
    for _ in range(3):
        throttle.failed(THERE, "alice")
    assert not throttle.allows(THERE, "alice")
    assert throttle.allows(HERE, "alice")
    for _ in range(3):
        throttle.failed(HERE, "alice")
    assert not throttle.allows(HERE, "alice")
    clock.advance(TRUSTED_SECONDS)
    for _ in range(3):
        throttle.failed(THERE, "alice")
    assert not throttle.allows(HERE, "alice")


def test_no_cap_means_no_memory() -> None:
    """0 turns a cap off."""
    throttle = Throttle(Clock(), per_address=0, per_user=0)
    for _ in range(1000):
        throttle.failed(HERE, "alice")
    assert throttle.allows(HERE, "alice")


def test_memory_is_bounded_and_the_busiest_stay_known() -> None:
    """A flood of new names must neither grow the process nor free the address that sends it."""
    throttle = Throttle(Clock(), per_address=30, per_user=10, remembered=50)
    for number in range(500):
        throttle.failed(HERE, f"user{number}")
    assert not throttle.allows(HERE, "alice")
    assert len(throttle._users) == 50
    assert len(throttle._addresses) == 1


def test_connections_before_log_in_are_counted() -> None:
    """The one above the limit is refused, and a place that gets free is given again."""
    present = PreLogin(2)
    assert [present.enter() for _ in range(3)] == [True, True, False]
    assert (present.present, present.refused) == (2, 1)
    present.leave()
    assert present.enter()


def reports(clock: Clock, **more: int) -> tuple[FailureReports, list[FailureSummary]]:
    emitted: list[FailureSummary] = []
    return FailureReports(clock, emitted.append, **more), emitted


def test_the_first_failure_is_told_and_the_others_are_counted() -> None:
    """A thousand failures of one address are two events, and the count is right."""
    clock = Clock()
    found, emitted = reports(clock)
    told = [found.failed(HERE, "mismatch", "alice")]
    for number in range(999):
        told.append(found.failed(HERE, "unknown", f"user{number}"))
    assert told == [True] + [False] * 999
    assert emitted == []
    clock.advance(60)
    users = ("user0", "user1", "user2", "user3", "user4")
    assert emitted == [
        FailureSummary(address=HERE, count=999, seconds=60.0, causes=("unknown",), users=users, tls=("none",))
    ]
    assert found.failed(HERE, "mismatch", "alice")


def test_what_differs_is_kept_in_few_words() -> None:
    """By which methods, over which TLS, with which keys: that is asked later, and a flood must not fill the journal."""
    clock = Clock()
    found, emitted = reports(clock)
    found.failed(HERE, "mismatch", "alice", listener="pg", method="password", tls="TLSv1.3")
    for number in range(50):
        found.failed(HERE, "mismatch", "alice", listener="pg", method="scram", tls="TLSv1.2")
        found.failed(HERE, "mismatch", "alice", listener="ssh", method="publickey", key=f"SHA256:{number}")
    clock.advance(60)
    (summary,) = emitted
    assert (summary.count, summary.users, summary.causes) == (100, ("alice",), ("mismatch",))
    assert (summary.listeners, summary.methods) == (("pg", "ssh"), ("scram", "publickey"))
    assert summary.tls == ("TLSv1.2", "none")
    assert summary.keys == tuple(f"SHA256:{number}" for number in range(5))


def test_a_single_failure_makes_no_summary() -> None:
    """Nothing was counted, so there is nothing to tell; and no timer stays."""
    clock = Clock()
    found, emitted = reports(clock)
    assert found.failed(HERE, "mismatch")
    clock.advance(60)
    assert emitted == []
    assert clock.getDelayedCalls() == []


def test_a_storm_from_everywhere_is_bounded_in_events_and_memory() -> None:
    """A botnet gets ``rate`` events and one count a minute, however many addresses it has."""
    clock = Clock()
    found, emitted = reports(clock, rate=10, remembered=20)
    told = [found.failed(f"10.0.{number // 250}.{number % 250}", "unknown") for number in range(1000)]
    assert told.count(True) == 10
    clock.advance(60)
    assert [(summary.address, summary.count) for summary in emitted] == [(ELSEWHERE, 990)]


def test_what_is_forgotten_or_interrupted_is_told_first() -> None:
    """A count that nobody hears of would be silence."""
    clock = Clock()
    found, emitted = reports(clock, remembered=2)
    for address in (HERE, THERE, "192.0.2.3"):
        found.failed(address, "unknown")
        found.failed(address, "unknown")
    assert [summary.address for summary in emitted] == [HERE]
    found.flush()
    assert sorted(summary.address for summary in emitted) == [HERE, THERE, "192.0.2.3"]
    assert clock.getDelayedCalls() == []


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 40)), max_size=60))
def test_every_failure_is_told_or_counted(history: list[tuple[int, float]]) -> None:
    """No failure is lost between the two, whatever their times and addresses."""
    clock = Clock()
    found, emitted = reports(clock, rate=3, remembered=3)
    told = 0
    for number, wait in history:
        told += found.failed(f"192.0.2.{number}", "unknown")
        clock.advance(wait)
    found.flush()
    assert told + sum(summary.count for summary in emitted) == len(history)
    assert clock.getDelayedCalls() == []
