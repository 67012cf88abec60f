"""Records become operations: nothing twice, nothing lost, and bounded whatever comes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import CATALOGUE, canonical
from hoopproxy.export import FOLDED, BadState, Join, Operation
from hoopproxy.export.operation import NO_BEGINNING, NO_END, NO_ROOM, STARTED, UNKNOWN
from tests.export.records import completed, record, requested, result


def feed(join: Join, *events: dict[str, Any]) -> list[Operation]:
    return [operation for event in events for operation in join.feed(event)]


def test_a_command_is_one_operation_at_its_end() -> None:
    """Three lines for one statement is what an analyst of a SIEM would have to join by hand."""
    first, second, last = requested(), result(), completed()
    join = Join()
    assert feed(join, first, second) == []
    assert len(join) == 1
    assert feed(join, last) == [Operation((first, second, last), "success")]
    assert (len(join), join.bytes) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "outcome"), [("command.skipped", "skipped"), ("command.unfinished", "unfinished")]
)
def test_what_was_skipped_or_never_ended_comes_out_too(kind: str, outcome: str) -> None:
    """A command without a completion is the one that an auditor asks about."""
    first, last = requested(), record(kind, {"because": "it"}, op="op1", outcome="failure")
    assert feed(Join(), first, last) == [Operation((first, last), outcome)]


def test_what_was_denied_comes_out_at_once() -> None:
    """Nothing follows it."""
    denied = record("command.denied", {"verb": "DROP", "code": "policy"}, op="op1", outcome="denied")
    join = Join()
    assert feed(join, denied) == [Operation((denied,), "denied")]
    assert len(join) == 0


def test_a_record_without_an_operation_is_one_of_itself() -> None:
    """So are those with an ``op`` whose kind folds into nothing."""
    note, gateway = record("session.note", op="op1"), record("gateway.stopped", session=None)
    assert feed(Join(), note, gateway) == [Operation((note,)), Operation((gateway,))]


def test_operations_of_several_sessions_mix() -> None:
    """Their records come as they were written, not one after the other."""
    a, b = requested("a"), requested("b", session="other")
    a_end, b_end = completed("a"), completed("b", session="other")
    assert feed(Join(), a, b, b_end, a_end) == [
        Operation((b, b_end), "success"),
        Operation((a, a_end), "success"),
    ]


def test_what_is_open_for_long_is_told_once_and_then_again_at_its_end() -> None:
    """A statement that runs for an hour must not be unknown to the SIEM for an hour."""
    join, first, later, last = Join(), requested(), result(), completed()
    assert join.due(100.0) == []
    assert feed(join, first) == []
    assert join.due(109.9) == []
    assert join.due(110.0) == [Operation((first,), STARTED)]
    assert join.due(200.0) == []
    assert feed(join, later, last) == [Operation((first, later, last), "success")]
    assert join.due(300.0) == []


def test_a_started_operation_is_called_by_its_first_record_and_a_finished_one_by_its_last() -> None:
    """The id is the key to drop repetitions by: each export of an operation has its own, always the same."""
    first, later, last = requested(), result(), completed()
    assert Operation((first, later), STARTED).id == first["id"]
    assert Operation((first, later, last), "success").id == last["id"]
    assert Operation((first, later, last), "success").kind == "command.completed"


def test_a_session_that_ends_leaves_nothing_open() -> None:
    """A best-effort target may have lost the end's record: without this it would stay open for ever."""
    join, first, other = Join(), requested(), requested("op2", session="other")
    end = record("session.end", {"cause": "closed"}, outcome="success")
    assert feed(join, first, other, end) == [
        Operation((first,), UNKNOWN, NO_END),
        Operation((end,), "success"),
    ]
    assert len(join) == 1


def test_what_began_before_the_join_did_is_marked() -> None:
    """``from = "now"`` begins in the middle of a command."""
    late, last = result(), completed()
    assert feed(Join(), late, last) == [
        Operation((late,), STARTED, NO_BEGINNING),
        Operation((last,), "success", NO_BEGINNING),
    ]


def test_a_full_join_lets_the_oldest_go_with_a_mark() -> None:
    """10,001 open commands must not cost the memory of 10,001, nor one of them its line."""
    join = Join(max_open=2)
    a, b, c = (requested(op, session=op) for op in "abc")
    end = completed("a", session="a")
    assert feed(join, a, b) == []
    assert feed(join, c, end) == [
        Operation((a,), STARTED, NO_ROOM),
        Operation((end,), "success", NO_BEGINNING),
    ]
    assert len(join) == 2


def test_one_large_operation_does_not_drive_out_the_others() -> None:
    """The large one is what doesn't fit."""
    join = Join(max_bytes=8000)
    small, large = requested("a"), requested("b", text="x" * 7900)
    assert feed(join, small, large) == [Operation((large,), STARTED, NO_ROOM)]
    assert len(join) == 1
    assert join.bytes == len(canonical(small))


def test_results_without_number_come_one_by_one() -> None:
    """A text of 100,000 statements has 100,000 results."""
    join = Join(max_records=3)
    first, results, last = requested(), [result(index=n) for n in range(4)], completed()
    assert feed(join, first, *results) == [Operation((each,), STARTED, NO_ROOM) for each in results[2:]]
    assert feed(join, last) == [Operation((first, *results[:2], last), "success")]


def test_what_was_told_as_started_is_not_told_again_when_it_has_to_go() -> None:
    """It is exported already; the mark would say something else."""
    join = Join(max_open=1)
    join.due(0.0)
    feed(join, requested("a"))
    assert len(join.due(20.0)) == 1
    assert feed(join, requested("b")) == []


def test_a_record_that_comes_again_changes_nothing() -> None:
    """At least once: the reader begins again at its cursor."""
    first, second, last = requested(), result(), completed()
    assert feed(Join(), first, second, first, second, last) == [Operation((first, second, last), "success")]


def test_the_database_and_the_application_of_a_session_are_remembered() -> None:
    """Only its first record says them, and every line of a SIEM is read by itself."""
    join = Join()
    said = {"database": "shop", "client_parameters": {"application_name": "psql"}}
    (start,) = feed(join, record("session.start", said, outcome="success"))
    (command,) = feed(join, requested(), completed())
    assert start.facts == command.facts == {"database": "shop", "application": "psql"}
    (end,) = feed(join, record("session.end"))
    assert end.facts == start.facts
    (after,) = feed(join, record("session.note"))
    assert after.facts == {}


def test_facts_of_too_many_sessions_are_forgotten_oldest_first() -> None:
    """And what is no short text is no fact."""
    join = Join(max_sessions=2)
    for session in "abc":
        feed(join, record("session.start", {"database": session}, session=session))
    feed(join, record("session.start", {"database": "x" * 1000, "client_parameters": 1}, session="d"))
    found = [feed(join, record("session.note", session=session))[0].facts for session in "abcd"]
    assert found == [{}, {"database": "b"}, {"database": "c"}, {}]


def test_what_is_open_survives_a_restart() -> None:
    """Without it every restart of the reader tears the commands under way in two."""
    join, first, later, last = Join(), requested(), result(), completed()
    feed(join, record("session.start", {"database": "shop"}), first)
    join = Join.restore(join.state())
    assert join.due(5.0) == []
    assert [each.outcome for each in join.due(15.0)] == [STARTED]
    join = Join.restore(join.state())
    assert join.due(30.0) == join.due(60.0) == []
    (found,) = feed(join, later, last)
    assert found == Operation((first, later, last), "success", "", {"database": "shop"})


def test_a_state_is_one_line_and_the_same_each_time() -> None:
    """It is stored in a cursor file."""
    join = Join()
    feed(join, requested(text="a\nb\u2028c"))
    assert b"\n" not in join.state()
    assert Join.restore(join.state()).state() == join.state()
    assert Join.restore(Join().state()).state() == Join().state()


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"{}",
        b"[]",
        b'{"v":2,"open":[],"facts":{}}',
        b'{"v":1,"open":[{"records":[],"told":0}],"facts":{}}',
        b'{"v":1,"open":[{"records":[{"kind":"gateway.clock","jseq":1}],"told":0}],"facts":{}}',
        b'{"v":1,"open":[{"records":[{"kind":"command.requested","jseq":"1","op":"a"}],"told":0}],"facts":{}}',
        b'{"v":1,"open":[{"records":[{"kind":"command.requested","jseq":1,"op":"a"}],"told":2}],"facts":{}}',
        b'{"v":1,"open":7,"facts":{}}',
        b'{"v":1,"open":[],"facts":{"s":1}}',
    ],
)
def test_a_state_that_is_none_is_said_to_be(state: bytes) -> None:
    """A cursor file can be anything; going on without what was open would lose it in silence."""
    with pytest.raises(BadState, match=r"state of a join"):
        Join.restore(state)


def test_only_kinds_of_the_catalogue_are_folded_and_only_into_such() -> None:
    """A misspelled kind would fold nothing."""
    assert set(FOLDED) | {end for ends in FOLDED.values() for end in ends} <= set(CATALOGUE)
    assert not set(FOLDED) & {end for ends in FOLDED.values() for end in ends}


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from(["requested", "result", "completed", "end", "due", "restore"]),
    ),
    max_size=40,
)
MAKE = {"requested": requested, "result": result, "completed": completed}


@given(STEPS, st.integers(1, 4), st.integers(500, 6000), st.integers(1, 4))
def test_no_record_is_lost_and_limits_hold_whatever_comes(
    steps: list[tuple[str, str]], max_open: int, max_bytes: int, max_records: int
) -> None:
    """Each record is in an operation by the end of its session, and complete ones come once."""
    limits = {"max_open": max_open, "max_bytes": max_bytes, "max_records": max_records, "age": 3}
    join, fed, ends = Join(**limits), set(), set()
    found: list[Operation] = []
    opened: set[str] = set()
    for now, (op, step) in enumerate(steps):
        if step == "due":
            found += join.due(float(now))
        elif step == "restore":
            join = Join.restore(join.state(), **limits)
        elif step == "requested" and op in opened:
            continue  # an op is opened once
        else:
            made = record("session.end", session=op) if step == "end" else MAKE[step](op, session=op)
            opened |= {op} if step == "requested" else set()
            ends |= {made["id"]} if step in ("completed", "end") else set()
            fed.add(made["id"])
            found += join.feed(made)
        assert len(join) <= max_open
        assert join.bytes <= max_bytes
    for op in "abcd":
        found += join.feed(record("session.end", session=op))
    assert (len(join), join.bytes) == (0, 0)
    assert fed <= {each["id"] for operation in found for each in operation.records}
    names = [operation.id for operation in found]
    assert all(names.count(end) == 1 for end in ends)
