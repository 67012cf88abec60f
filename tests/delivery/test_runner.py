"""Sinks that raise, hang, answer nonsense, fall behind: nothing is lost that is owed, nobody else is held up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hoopproxy.delivery import stream as streams
from hoopproxy.delivery.cursors import Cursor, CursorFile
from hoopproxy.delivery.selection import NoFormat
from hoopproxy.delivery.track import Track
from hoopproxy.events import AuditCursorDamaged, AuditGap, AuditSinkFailed, AuditSinkRecovered
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.writer import Journal
from hoopproxy.sinks import Delivery

from .delivering import Delivering, Recorded, sink
from .following import CURSORS, STATE, Following, Taker, opened, write


def test_a_sink_gets_every_event_as_it_is_in_the_journal(files: MemoryFiles, journal: Journal) -> None:
    """The very bytes that get sealed, in order; chunks and the like are not for it."""
    there = Delivering(files, sink())
    key = journal.open_key(b"0123456789abcdef")
    write(journal, 3)
    journal.append_chunk(key, b"0123456789abcdef", 0, 0, 0, 0, b"rows")
    write(journal, 2)
    there.start()
    assert there.plugin.numbers == [1, 2, 3, 5, 6]
    assert there.plugin.accepted[0].body.startswith(b'{"event":')
    assert there.plugin.accepted[0].format == "native"
    assert there.plugin.calls == ["make", "start"]
    assert there.acks == [("siem", journal.folder.id, 6)]


def test_batches_are_bounded_in_count_and_bytes(files: MemoryFiles, journal: Journal) -> None:
    """A receiver has limits; one event that is longer than a batch still goes."""
    write(journal, 7)
    write(journal, 1, size=3000)
    write(journal, 2)
    there = Delivering(files, sink(batch_events=4, batch_bytes=2000)).start()
    assert there.plugin.numbers == list(range(1, 11))
    sizes = [sum(len(each.body) for each in batch) for batch in there.plugin.batches]
    assert max(len(batch) for batch in there.plugin.batches) == 4
    assert all(
        size <= 2000 or len(batch) == 1 for size, batch in zip(sizes, there.plugin.batches, strict=True)
    )


@pytest.mark.parametrize(
    "trouble",
    [
        OSError(111, "Connection refused"),
        ValueError("quotes the secret row"),
        SystemExit(3),
        7,
        "accepted",
        [],
    ],
)
def test_a_sink_that_raises_or_answers_nonsense_gets_the_same_batch_again(
    files: MemoryFiles, journal: Journal, trouble: Any
) -> None:
    """Whatever it did, nothing of it counts as accepted, and nothing it said is on record."""
    write(journal, 2)
    there = Delivering(files, sink())
    there.plugin.answers += [trouble, trouble]
    there.start().turn(0.5).turn(1.0)
    assert [len(batch) for batch in there.plugin.batches] == [2, 2, 2]
    assert there.plugin.numbers == [1, 2]
    assert "secret" not in " ".join(there.told)
    assert there.kinds == [], "two failures are no news"


def test_a_sink_that_never_answers_is_given_up_and_made_anew(files: MemoryFiles, journal: Journal) -> None:
    """A connection that hangs must not hang the trail; what comes twice has the same id."""
    write(journal, 2)
    there = Delivering(files, sink(batch_seconds=30))
    never: Deferred[None] = Deferred()
    there.plugin.answers.append(never)
    there.start()
    there.turn(29.9)
    assert there.plugin.calls == ["make", "start"]
    there.turn(0.2).turn(0.6)
    assert there.plugin.calls == ["make", "start", "stop", "make", "start"]
    assert there.plugin.numbers == [1, 2]
    assert there.runners[0].status()["state"] == "ok"


def test_a_failure_is_told_once_and_so_is_the_recovery(files: MemoryFiles, journal: Journal) -> None:
    """An hour of outage is two events, not a thousand."""
    there = Delivering(files, sink(required=True)).start()
    there.plugin.answers += [OSError(111, "Connection refused")] * 9
    write(journal, 4)
    there.poke(journal)
    for _ in range(200):
        there.turn(1.0)
    failed, recovered = there.emitted
    assert isinstance(failed, AuditSinkFailed)
    assert (failed.sink, failed.error, failed.required) == (
        "siem",
        "ConnectionRefusedError: Connection refused",
        True,
    )
    assert failed.records == 4
    assert isinstance(recovered, AuditSinkRecovered)
    assert 100 < recovered.seconds < 200
    assert there.plugin.numbers == [1, 2, 3, 4]
    assert there.runners[0].status()["error"] == ""


def test_a_plugin_that_makes_nothing_of_use_is_tried_again(files: MemoryFiles, journal: Journal) -> None:
    """It raises, gives back something else, or its start fails or hangs."""
    write(journal, 1)
    there = Delivering(files, sink())
    there.plugin.make_answers += [RuntimeError("no"), object()]
    there.plugin.start_answers += [OSError(13, "Permission denied"), Deferred(), None]
    there.start()
    for _ in range(40):
        there.turn(5.0)
    assert there.plugin.numbers == [1]
    assert there.plugin.calls.count("make") == 5
    assert there.kinds == [AuditSinkFailed, AuditSinkRecovered]


def test_one_sink_that_is_down_holds_up_no_other(files: MemoryFiles, journal: Journal) -> None:
    """And a consumer that is no sink neither."""
    down = Recorded()
    down.answers += [OSError(111, "Connection refused")] * 1000
    first = Delivering(files, sink("down"), plugin=down)
    second = Delivering(files, sink("up"), plugin=Recorded())
    taker = Taker()
    third = Following(files, taker)
    for each in (first, second, third):
        each.start()
    write(journal, 50)
    for each in (first, second, third):
        each.poke(journal)
    assert down.numbers == []
    assert second.plugin.numbers == taker.numbers() == list(range(1, 51))


@pytest.mark.parametrize(("start", "first"), [("oldest", 1), ("now", 6), (3, 3), (99, 6)])
def test_a_new_sink_begins_where_it_is_told(
    files: MemoryFiles, journal: Journal, start: Any, first: int
) -> None:
    """Back-fill: everything that is kept, nothing of it, or from a record on. Only when there is no cursor yet."""
    write(journal, 5)
    there = Delivering(files, sink(from_=start)).start()
    assert there.plugin.numbers == list(range(first, 6))
    write(journal, 1)
    there.poke(journal)
    there.follower.stop()
    again = Delivering(files, sink(from_="oldest")).start()
    assert again.plugin.numbers == []


def test_a_restart_repeats_only_what_was_not_saved(files: MemoryFiles, journal: Journal) -> None:
    """Killed at any time: at least once, and by id at most once."""
    there = Delivering(files, sink()).start()
    write(journal, 3)
    there.poke(journal).turn(1.1)
    write(journal, 2)
    there.poke(journal)
    assert there.plugin.numbers == [1, 2, 3, 4, 5]
    killed = Delivering(files, sink()).start()
    assert killed.plugin.numbers == [4, 5]
    killed.follower.stop()
    stopped = Delivering(files, sink()).start()
    assert stopped.plugin.numbers == []


def test_the_place_is_saved_while_a_backlog_is_worked_off(files: MemoryFiles, journal: Journal) -> None:
    """A sink that is busy all the time would else begin again from the start."""
    write(journal, 9000)
    there = Delivering(files, sink(batch_events=2048))
    there.plugin.answers += [task.deferLater(there.clock, 0.6 * (each + 1)) for each in range(6)]
    there.start()
    for _ in range(19):
        there.turn(0.1)
    saved = CursorFile(CURSORS / "sink-siem", files).read().cursor
    assert saved is not None
    assert saved.positions.get(journal.folder.id, 1) > 2048
    assert there.plugin.numbers == list(range(1, 6145))


def test_a_damaged_cursor_is_told_and_goes_on_from_the_oldest(files: MemoryFiles, journal: Journal) -> None:
    """``from = "now"`` would make a hole of it."""
    files.make_dir(CURSORS)
    files.replace(CURSORS / "sink-siem.cursor", b"junk")
    write(journal, 3)
    there = Delivering(files, sink(from_="now")).start()
    assert there.plugin.numbers == [1, 2, 3]
    assert there.kinds == [AuditCursorDamaged]


def test_a_state_that_cannot_be_read_loses_what_was_open_and_not_the_place(
    files: MemoryFiles, journal: Journal
) -> None:
    """The position is sound by its sum; what was folded is of another release, say."""
    files.make_dir(CURSORS)
    write(journal, 3)
    CursorFile(CURSORS / "sink-siem", files).write(
        Cursor({journal.folder.id: 3}, b'{"gaps":[{}],"joins":{}}')
    )
    there = Delivering(files, sink()).start()
    assert there.plugin.numbers == [3]
    assert there.kinds == [AuditCursorDamaged]


def test_segments_that_are_gone_are_told_to_the_sink_first(files: MemoryFiles, journal: Journal) -> None:
    """Its reader sees the hole where it is."""
    for _ in range(20):
        write(journal, 10, size=3000)
    for number in journal.folder.segments()[:2]:
        files.unlink(journal.folder.segment(number))
    there = Delivering(files, sink()).start()
    gap, *rest = there.plugin.accepted
    assert gap.kind == "audit.gap"
    told = json.loads(gap.body)["event"]
    assert (told["first"], told["last"]) == (1, rest[0].place[1] - 1)
    assert gap.id == ""
    assert there.kinds == [AuditGap]


def test_only_what_is_asked_for(files: MemoryFiles, journal: Journal) -> None:
    """By kind, family, target; a gap is everybody's."""
    write(journal, 1, kind="command.requested", target={"name": "app"})
    write(journal, 1, kind="session.end", target={"name": "app"})
    write(journal, 1, kind="command.denied", target={"name": "other"})
    write(journal, 1, kind="login.failed")
    write(journal, 1, kind="audit.gap")
    numbers = {(): [1, 2, 3, 4, 5], ("command",): [1, 3, 5], ("command.denied", "login"): [3, 4, 5]}
    for position, (kinds, wanted) in enumerate(numbers.items()):
        there = Delivering(files, sink(f"s{position}", kinds=kinds)).start()
        assert there.plugin.numbers == wanted
    there = Delivering(files, sink("app", targets=("app",))).start()
    assert there.plugin.numbers == [1, 2, 4, 5]
    assert there.acks[-1] == ("app", journal.folder.id, 5)


def test_an_event_that_is_too_long_goes_by_its_sum(files: MemoryFiles) -> None:
    """A hundred mebibytes among small ones: all arrive, one of them as a claim check."""
    journal = opened(files)
    write(journal, 1)
    write(journal, 1, size=2_000_000)
    write(journal, 1)
    there = Delivering(files, sink(max_event_bytes=10_000)).start()
    assert there.plugin.numbers == [1, 2, 3]
    long = json.loads(there.plugin.accepted[1].body)
    assert long["event"]["text"]["length"] == 2_000_000
    assert (long["journal"], long["jseq"]) == (journal.id, 2)


def test_a_sink_may_say_itself_how_long_an_event_may_be(files: MemoryFiles) -> None:
    """What its receiver takes; the table's own number comes first."""

    class Narrow(Recorded):
        def event_bytes(self, options: object) -> int:
            return 5000

    journal = opened(files)
    write(journal, 1, size=20_000)
    plugins = Narrow(), Narrow()
    for number, (plugin, most) in enumerate(zip(plugins, (None, 100_000), strict=True)):
        there = Delivering(files, sink(f"s{number}", max_event_bytes=most), plugin=plugin).start()
        text = json.loads(there.plugin.accepted[0].body)["event"]["text"]
        assert isinstance(text, dict) == (most is None)


@pytest.mark.parametrize("format", ["ocsf", "ecs", "cef", "leef"])
def test_an_operation_that_is_too_long_in_its_format_is_made_to_fit(files: MemoryFiles, format: str) -> None:
    """Each record fits; joined and in other words they don't."""
    journal = opened(files)
    body = {"text": "x" * 3000, "detail": {"text": "y" * 3000}, "bytes": 1, "duration": 1}
    for kind in ("command.requested", "command.result", "command.completed"):
        write(journal, event=body, kind=kind, op="op1", outcome="success")
    there = Delivering(files, sink(format=format, max_event_bytes=8000)).start()
    (found,) = there.plugin.accepted
    assert len(found.body) <= 8000
    assert found.kind == "command.completed"
    assert found.id.encode() in found.body


def test_a_format_that_is_not_there_is_said(files: MemoryFiles) -> None:
    """A sink must not fall back to another one that its receiver can't read."""
    with pytest.raises(NoFormat, match="there is no format nothing"):
        Delivering(files, sink(format="nothing"))


def test_a_sink_is_told_where_it_lives_and_reads_secrets_by_reference(
    files: MemoryFiles, journal: Journal
) -> None:
    """Nothing secret is in what it is made with."""
    write(journal, 1)
    there = Delivering(files, sink(base=Path("/etc/hoopproxy"))).start()
    (context,) = there.plugin.contexts
    assert (context.name, context.node, context.base) == ("siem", "gw1", Path("/etc/hoopproxy"))
    assert context.folder == STATE / "trail" / "sinks" / "siem"
    assert isinstance(context.reactor, Clock)
    found: list[bytes] = []
    Deferred.fromCoroutine(context.secret("file:token")).addCallback(found.append)  # type: ignore[arg-type]
    assert found == [b"secret of file:token"]
    assert "secret" not in repr(context)


def test_a_stop_lets_go_of_a_batch_that_hangs(files: MemoryFiles, journal: Journal) -> None:
    """An orderly stop is bounded; the batch comes again with the next start."""
    write(journal, 2)
    there = Delivering(files, sink())
    there.plugin.answers.append(Deferred())
    there.start()
    stopped: list[Any] = []
    there.follower.stop().addCallback(stopped.append)
    assert stopped
    assert there.plugin.calls[-1] == "stop"
    again = Delivering(files, sink()).start()
    assert again.plugin.numbers == [1, 2]


def test_reopening_is_passed_on(files: MemoryFiles, journal: Journal) -> None:
    """And a sink that fails at it is told of, no more."""
    write(journal, 1)
    there = Delivering(files, sink()).start()
    there.runners[0].reopen()
    assert there.plugin.calls[-1] == "reopen"


@pytest.mark.parametrize("also_gaps", [False, True])
@pytest.mark.parametrize("name", ["native", "ocsf"])
def test_an_event_that_no_line_can_be_made_of_is_a_gap_and_in_nobodys_way(
    files: MemoryFiles, journal: Journal, name: str, also_gaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in a mapper must not keep the rest of the trail from the SIEM for good."""
    from hoopproxy.delivery import selection

    real = selection.Delivery

    def faulty(**fields: Any) -> Delivery:
        if fields["event"]["jseq"] == 2 and (also_gaps or fields["event"]["kind"] != "audit.gap"):
            raise RuntimeError("holds a secret")
        return real(**fields)

    monkeypatch.setattr(selection, "Delivery", faulty)
    write(journal, 4, session="0190a000-0000-7000-8000-00000000aaaa", seq=1)
    there = Delivering(files, sink(format=name)).start()
    kinds = [each.kind for each in there.plugin.accepted]
    assert sorted(kinds) == [*([] if also_gaps else ["audit.gap"]), *["session.note"] * 3]
    (gap,) = [each for each in there.emitted if isinstance(each, AuditGap)]
    assert (gap.first, gap.last, gap.consumer) == (2, 2, "sink-siem")
    assert "secret" not in gap.why
    assert [each.place[1] for each in there.plugin.accepted if each.kind != "audit.gap"] == [1, 3, 4]


def test_a_sink_that_is_down_for_long_takes_no_more_memory(files: MemoryFiles, journal: Journal) -> None:
    """What waits, waits on the disk."""
    there = Delivering(files, sink())
    taker = Taker()
    there.follower.tracks.append(
        Track(taker, clock=there.clock, cursor=CursorFile(CURSORS / "one", files), emit=there.emitted.append)
    )
    there.plugin.answers.append(Deferred())
    there.start()
    for _ in range(40):
        write(journal, 100, size=3000)
        there.poke(journal)
        for _ in range(10):  # in all, longer than anybody waits for it
            there.clock.advance(0.005)
        taker.objects.clear()
    (stream,) = there.follower.streams.values()
    assert stream._window_size <= streams.WINDOW_BYTES
    assert len(stream._window) < 40
    (position,) = there.follower.tracks[-1].positions.values()
    assert position == 4001


def test_one_that_blocked_the_process_waits_and_says_so(files: MemoryFiles, journal: Journal) -> None:
    """The others have their turn first; an operator sees which one it was."""
    write(journal, 1)
    there = Delivering(files)
    runner = there._runner(sink(), pause=60.0)
    there.runners.append(runner)
    there.follower.tracks.append(
        Track(runner, clock=there.clock, cursor=None, emit=there.emitted.append, tell=there.told.append)
    )
    there.start()
    assert there.plugin.calls == []
    assert (runner.status()["state"], "blocked" in runner.status()["error"]) == ("failing", True)
    there.turn(60.1)
    assert there.plugin.numbers == [1]
    assert (runner.status()["state"], runner.status()["error"]) == ("ok", "")
