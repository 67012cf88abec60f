"""A sink past its quota: an optional one is moved on and hears of it, a required one never is."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from hoopproxy.events import AuditGap, AuditSinkRecovered
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.writer import Journal

from .delivering import Delivering, sink
from .following import write


def test_an_optional_sink_past_its_quota_is_moved_on_and_hears_of_it_first(
    files: MemoryFiles, journal: Journal
) -> None:
    """The disk is not its to fill; and it can't believe that it has everything."""
    there = Delivering(files, sink(quota_bytes=200_000))
    there.plugin.answers += [OSError(111, "Connection refused")] * 12
    there.start()
    for _ in range(30):
        write(journal, 10, size=3000)
        there.poke(journal).turn(1.0)
    gaps = [each for each in there.emitted if isinstance(each, AuditGap)]
    assert gaps
    there.plugin.answers.clear()
    for _ in range(70):
        there.turn(1.0)
    assert [each.kind for each in there.plugin.accepted[: len(gaps)]] == ["audit.gap"] * len(gaps)
    missing = {number for gap in gaps for number in range(gap.first or 0, (gap.last or 0) + 1)}
    events = [each.place[1] for each in there.plugin.accepted if each.kind != "audit.gap"]
    assert sorted(missing | set(events)) == list(range(1, 301))
    assert not missing & set(events)
    assert len(events) >= 20, "the newest are kept, within the quota"
    assert there.runners[0].status()["gaps"] == len(gaps)
    assert AuditSinkRecovered in there.kinds


def test_a_batch_that_hangs_when_the_quota_is_passed_is_let_go_of(
    files: MemoryFiles, journal: Journal
) -> None:
    """And the sink that holds it is not handed a second one meanwhile."""
    there = Delivering(files, sink(quota_bytes=100_000, batch_seconds=3600))
    there.plugin.answers += [OSError(5, "no"), Deferred()]
    there.start()
    for _ in range(20):
        write(journal, 10, size=3000)
        there.poke(journal).turn(1.0)
    there.turn(1.0)
    assert there.plugin.kinds[0] == "audit.gap"
    assert there.plugin.calls[:5] == ["make", "start", "stop", "make", "start"]


def test_a_required_sink_is_never_moved_on(files: MemoryFiles, journal: Journal) -> None:
    """It says that it is past its quota, and everything waits."""
    there = Delivering(files, sink(required=True, quota_bytes=100_000))
    there.plugin.answers += [OSError(111, "Connection refused")] * 6
    there.start()
    for _ in range(10):
        write(journal, 10, size=3000)
        there.poke(journal).turn(1.0)
    assert there.runners[0].is_over
    for _ in range(120):
        there.turn(1.0)
    assert there.plugin.numbers == list(range(1, 101))
    assert not there.runners[0].is_over
    assert AuditGap not in there.kinds


def test_a_quota_of_time(files: MemoryFiles, journal: Journal) -> None:
    """Whoever may not wait longer than that is told."""
    there = Delivering(files, sink(required=True, quota_seconds=60))
    there.plugin.answers += [OSError(111, "Connection refused")] * 3
    write(journal, 1)
    there.clock.advance(30)
    there.start()
    for _ in range(3):
        there.turn(1.0)
    assert not there.runners[0].is_over
    there.plugin.answers += [OSError(111, "Connection refused")] * 20
    for _ in range(40):
        there.turn(1.0)
    assert there.runners[0].is_over


def test_a_clock_that_is_set_forth_makes_nothing_older(files: MemoryFiles, journal: Journal) -> None:
    """What had waited for seconds was an hour old at once, and a sink that was fine never got it."""
    there = Delivering(files, sink(quota_seconds=60))
    there.plugin.answers += [OSError(111, "Connection refused")] * 4
    write(journal, 3)
    there.start().turn(1.0)
    (runner,) = there.runners
    runner._wall = lambda: there.clock.seconds() + 3600
    for _ in range(30):
        there.turn(1.0)
    assert AuditGap not in there.kinds
    assert there.plugin.numbers == [1, 2, 3]


def test_gaps_that_were_not_told_yet_survive_a_restart(files: MemoryFiles, journal: Journal) -> None:
    """The sink that was down hears of them when it comes back, whoever runs it then."""
    there = Delivering(files, sink(quota_bytes=50_000))
    there.plugin.answers += [OSError(111, "Connection refused")] * 100
    there.start()
    for _ in range(20):
        write(journal, 10, size=3000)
        there.poke(journal).turn(1.0)
    there.follower.stop()
    there.turn()
    again = Delivering(files, sink(quota_bytes=50_000)).start().turn(1.0)
    assert again.plugin.kinds[0] == "audit.gap"
