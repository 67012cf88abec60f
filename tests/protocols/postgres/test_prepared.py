"""What a Bind or an Execute by name runs, however the name came to mean it."""

from __future__ import annotations

from typing import Any

import pytest

from hoopproxy.protocols.postgres import prepared
from hoopproxy.protocols.postgres.prepared import UNKNOWN, Names
from hoopproxy.protocols.postgres.reading import Reader
from hoopproxy.protocols.postgres.requests import Bind, Parse
from hoopproxy.testing import Player

from .joined import assert_accounted
from .talk import (
    BOUND,
    CLOSED,
    NO_DATA,
    PARSED,
    SUSPENDED,
    SYNC,
    bind,
    columns,
    complete,
    describe,
    error,
    execute,
    logged_in,
    m,
    parse,
    query,
    ready,
    refuse,
    row,
)

ONE = BOUND + row(b"1") + complete("SELECT 1")


def requested(player: Player) -> list[dict[str, Any]]:
    return [event["event"] for event in player.journal.of("command.requested")]


@pytest.mark.parametrize("name", ["", "by_name"])
def test_a_statement_that_runs_again_names_its_sql_and_its_parameters(name: str) -> None:
    """Re-execution without a text was where the record was lost."""
    player = logged_in()
    player.client(parse("SELECT $1::int + $2", name, (23, 0)) + SYNC)
    player.target(PARSED + ready())
    for n in (b"7", b"8"):
        player.client(bind(n, None, statement=name) + execute() + SYNC)
        player.target(ONE + ready())
    found = requested(player)
    assert [event["text"] for event in found] == ["SELECT $1::int + $2"] * 2
    assert [event["parameters"] for event in found] == [["7", None], ["8", None]]
    assert [event.get("statement") for event in found] == [name or None] * 2
    player.end()
    assert_accounted(player)


def test_binary_parameters_are_decoded_by_the_types_that_the_target_told() -> None:
    """A hex string is nothing that an auditor can read."""
    player = logged_in()
    player.client(parse("SELECT $1", "s") + describe("S", "s") + SYNC)
    player.target(PARSED + m("t", b"\0\1\0\0\0\x17") + columns("a") + ready())
    player.client(bind(b"\0\0\1\0", statement="s", formats=(1,)) + execute() + SYNC)
    player.target(ONE + ready())
    assert requested(player)[0]["parameters"] == ["256"]


def test_types_of_an_older_statement_are_not_taken_for_those_of_a_newer_one() -> None:
    """The answer to a Describe comes later than the next Parse of the same name."""
    player = logged_in()
    player.client(parse("SELECT $1") + describe("S") + SYNC + parse("SELECT $1::float4") + SYNC)
    player.target(PARSED + m("t", b"\0\1\0\0\0\x17") + columns("a") + ready() + PARSED + ready())
    player.client(bind(b"\0\0\1\0", formats=(1,)) + execute() + SYNC)
    assert requested(player)[0]["parameters"] == [{"hex": "00000100", "oid": 0}]


def test_a_suspended_portal_goes_on_as_an_operation_with_a_parent() -> None:
    """Rows that are fetched in parts belong together, and each part is on record."""
    player = logged_in()
    player.client(parse("SELECT g") + bind(portal="p") + execute("p", 2) + m("H"))
    player.target(PARSED + BOUND + row(b"1") + row(b"2") + SUSPENDED)
    player.client(execute("p", 2) + SYNC)
    player.target(row(b"3") + complete("SELECT 1") + ready())
    first, second = player.journal.of("command.requested")
    assert second["parent"] == first["op"]
    assert "parent" not in first
    assert first["event"]["detail"] == {"max_rows": 2}
    results = [event["event"] for event in player.journal.of("command.result")]
    assert [(event["rows"], event.get("detail")) for event in results] == [
        (2, {"suspended": True}),
        (1, None),
    ]
    player.end()
    assert_accounted(player)


def test_what_was_closed_or_never_there_is_unclassified_and_policy_takes_it_for_the_worst() -> None:
    """A name that was not prepared in our sight can be anything."""
    player = logged_in(decide=refuse("UNCLASSIFIED"))
    player.client(bind(statement="nobody") + execute() + SYNC)
    (denied,) = player.journal.of("command.denied")
    assert denied["event"]["verbs"] == ["UNCLASSIFIED"]
    player = logged_in(decide=refuse("UNCLASSIFIED"))
    player.client(parse("SELECT 1", "s") + m("C", b"Ss\0") + SYNC)
    player.target(PARSED + CLOSED + ready())
    player.client(bind(statement="s") + execute() + SYNC)
    assert len(player.journal.of("command.denied")) == 1


@pytest.mark.parametrize("in_one_flight", [True, False])
def test_a_discarded_parse_changes_nothing_and_the_record_says_what_ran(in_one_flight: bool) -> None:
    """Otherwise the trail names a harmless statement while another one runs."""
    player = logged_in()
    player.client(parse("DELETE FROM payroll") + SYNC)
    player.target(PARSED + ready())
    failing = bind(statement="nobody") + parse("SELECT 1") + SYNC
    running = bind() + execute() + SYNC
    failed = error("26000", "no such statement") + ready()
    if in_one_flight:
        player.client(failing + running)
        player.target(failed)
    else:
        player.client(failing)
        player.target(failed)
        player.client(running)
    player.target(BOUND + complete("DELETE 5") + ready())
    (asked,) = requested(player)
    (done,) = player.journal.of("command.completed")
    ran = done["event"].get("detail", {}).get("ran", asked["text"])
    assert ran == "DELETE FROM payroll"
    player.end()
    assert_accounted(player)


def test_a_failed_parse_behind_a_newer_one_does_not_bring_the_oldest_back() -> None:
    """A, then B that fails, then C, all in flight: the name means C."""
    player = logged_in()
    player.client(parse("SELECT 'A'") + SYNC)
    player.target(PARSED + ready())
    player.client(bind(statement="nobody") + parse("SELECT 'B'") + SYNC + parse("SELECT 'C'") + SYNC)
    player.target(error("26000", "no") + ready() + PARSED + ready())
    player.client(bind() + execute() + SYNC)
    assert requested(player)[0]["text"] == "SELECT 'C'"


def test_what_follows_a_refused_parse_by_name_is_not_taken_for_the_older_statement() -> None:
    """Within the batch it is about the refused one; behind the Sync the older one is there again."""
    player = logged_in(decide=refuse("DROP"))
    player.client(parse("SELECT 'old'") + SYNC + parse("DROP TABLE t") + bind() + execute() + SYNC)
    player.target(PARSED + ready() + error("42601", "syntax") + ready())
    denied = [event["event"]["text"] for event in player.journal.of("command.denied")]
    assert set(denied) == {"DROP TABLE t"}
    player.client(bind() + execute() + SYNC)
    player.target(ONE + ready())
    assert requested(player)[-1]["text"] == "SELECT 'old'"
    assert player.relay.closed is None
    player.end()
    assert_accounted(player)


def test_prepare_as_text_is_followed_in_both_protocols() -> None:
    """EXECUTE names what it runs; DEALLOCATE and PREPARE again change it, whichever way they are sent."""
    player = logged_in()
    player.client(query("PREPARE p AS SELECT 'one'"))
    player.target(complete("PREPARE") + ready())
    player.client(query("EXECUTE p"))
    player.target(columns("a") + row(b"one") + complete("SELECT 1") + ready())
    for text, tag in (("DEALLOCATE p", "DEALLOCATE"), ("PREPARE p AS DELETE FROM t", "PREPARE")):
        player.client(parse(text) + bind() + execute() + SYNC)
        player.target(PARSED + BOUND + complete(tag) + ready())
    player.client(query("SELECT 1; EXECUTE p"))
    player.target(complete("SELECT 1") + complete("DELETE 3") + ready())
    player.client(parse("EXECUTE p") + bind() + execute() + SYNC)
    player.target(PARSED + BOUND + complete("DELETE 0") + ready())
    found = requested(player)
    assert found[1]["detail"] == {"executes": "PREPARE p AS SELECT 'one'"}
    assert "DELETE" in found[4]["verbs"]
    assert found[4]["detail"] == {"executes": "PREPARE p AS DELETE FROM t"}
    assert found[5]["detail"] == {"executes": "PREPARE p AS DELETE FROM t"}
    assert "DELETE" in found[5]["verbs"]


def test_several_executes_in_one_text_are_all_looked_up() -> None:
    """The second could be the one that a role may not run."""
    player = logged_in(decide=refuse("DELETE"))
    for name, what in (("harmless", "SELECT 1"), ("harm", "SELECT 2")):
        player.client(query(f"PREPARE {name} AS {what}"))
        player.target(complete("PREPARE") + ready())
    player.client(query("EXECUTE harmless; EXECUTE harm; EXECUTE nobody"))
    (_, _, third) = requested(player)
    assert third["detail"]["executes"] == ["PREPARE harmless AS SELECT 1", "PREPARE harm AS SELECT 2"]
    assert "UNCLASSIFIED" in third["verbs"]


def test_a_name_that_is_on_the_move_means_nothing() -> None:
    """EXECUTE sent behind a PREPARE whose end isn't known: better unclassified than wrong."""
    player = logged_in()
    player.client(query("PREPARE p AS SELECT 1"))
    player.target(complete("PREPARE") + ready())
    player.client(query("DEALLOCATE p; PREPARE p AS DELETE FROM t") + query("EXECUTE p"))
    assert "UNCLASSIFIED" in requested(player)[-1]["verbs"]
    player.target(complete("DEALLOCATE") + complete("PREPARE") + ready() + complete("DELETE 1") + ready())
    player.client(query("EXECUTE p"))
    assert "DELETE" in requested(player)[-1]["verbs"]


def test_memory_of_names_is_bounded_and_what_is_forgotten_is_unclassified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that prepares for ever must not fill the gateway."""
    monkeypatch.setattr(prepared, "MAX_NAMES", 100)
    monkeypatch.setattr(prepared, "MAX_KEPT", 10_000)
    names = Names(Reader())
    for n in range(1000):
        names.confirmed(names.parse(Parse(b"s%d" % n, b"x" * 500, ()), ("SELECT",), "x"))
        names.bind(Bind(b"p%d" % n, b"s%d" % n, (), (b"y" * 300,), (9,), ()), 0, 320)
        assert len(names._statements) <= 100
        assert names._kept <= 10_000 + 820
    assert names.statement(b"s0") is UNKNOWN
    assert names.statement(b"s999").text == "x"
    assert names.portal(b"p999").statement.text == "x"
    names.transaction_ended()
    assert names.portal(b"p999").statement is UNKNOWN
    assert 0 <= names._kept <= 10_000


def test_portals_end_with_their_transaction() -> None:
    """And not before: a named one can be fetched from in the next batch."""
    player = logged_in()
    player.client(query("BEGIN"))
    player.target(complete("BEGIN") + ready("T"))
    player.client(parse("SELECT 1") + bind(portal="p") + SYNC)
    player.target(PARSED + BOUND + ready("T"))
    player.client(execute("p") + SYNC)
    player.target(row(b"1") + complete("SELECT 1") + ready("T"))
    assert requested(player)[-1]["text"] == "SELECT 1"
    player.client(query("COMMIT"))
    player.target(complete("COMMIT") + ready())
    player.client(execute("p") + SYNC)
    assert "text" not in requested(player)[-1]


def test_no_data_answers_a_describe_too() -> None:
    """Guards the order of the queue."""
    player = logged_in()
    player.client(parse("SET x = 1") + describe("S") + bind() + describe() + execute() + SYNC)
    player.target(PARSED + m("t", b"\0\0") + NO_DATA + BOUND + NO_DATA + complete("SET") + ready())
    assert player.relay.closed is None
    assert len(player.journal.of("command.completed")) == 1
