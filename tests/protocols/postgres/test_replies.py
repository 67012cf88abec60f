"""Results, errors and ends: what the record says of what came back."""

from __future__ import annotations

import struct
from typing import Any
from unittest.mock import patch

import pytest

from hoopproxy.events import canonical
from hoopproxy.protocols.postgres import reports
from hoopproxy.protocols.postgres.redact import secrets_in
from hoopproxy.protocols.postgres.reports import SEARCHED, read_report
from hoopproxy.wire.filling import fill
from hoopproxy.wire.frames import Frame

from .joined import assert_accounted
from .talk import SYNC, bind, columns, complete, error, execute, logged_in, m, parse, query, ready, row


def events(player: Any, kind: str) -> list[dict[str, Any]]:
    return [event["event"] for event in player.journal.of(kind)]


def test_each_statement_of_a_query_has_its_result_and_the_error_stands_in_its_place() -> None:
    """Multi-statement strings are one command with several results."""
    player = logged_in()
    player.client(query("SELECT 1; UPDATE t SET a = 1; SELECT 1/0; SELECT 2"))
    player.target(columns("a") + row(b"1") + complete("SELECT 1") + complete("UPDATE 7"))
    player.target(error("22012", "division by zero") + ready())
    results = events(player, "command.result")
    assert [(r["index"], r.get("tag"), r.get("rows")) for r in results[:2]] == [
        (0, "SELECT 1", 1),
        (1, "UPDATE 7", 7),
    ]
    assert results[2]["error"]["sqlstate"] == "22012"
    (done,) = player.journal.of("command.completed")
    assert done["outcome"] == "failure"
    assert (done["event"]["results"], done["event"]["rows"]) == (3, 8)
    start, end = results[0]["range"]
    assert player.journal.stream(0, 1)[start:end] == columns("a") + row(b"1") + complete("SELECT 1")
    player.end()
    assert_accounted(player)


def test_an_empty_query_is_a_command_with_an_empty_result() -> None:
    """It ran, and nothing came of it."""
    player = logged_in()
    player.client(query("") + query(" ; ") + parse("") + bind() + execute() + SYNC)
    player.target((m("I") + ready()) * 2 + m("1") + m("2") + m("I") + ready())
    assert [r["tag"] for r in events(player, "command.result")] == ["", "", ""]
    assert [r["verbs"] for r in events(player, "command.requested")] == [["EMPTY"]] * 3
    assert player.relay.closed is None


def test_a_function_call_is_a_command_with_its_number_and_arguments() -> None:
    """The fast path runs functions without a word of SQL."""
    player = logged_in()
    player.client(m("F", struct.pack(">IHHi", 1598, 0, 1, 2) + b"42" + b"\0\0"))
    reply = m("V", struct.pack(">i", 300_000) + b"x" * 300_000)
    player.target(reply[:100_000])
    player.target(reply[100_000:] + ready())
    (asked,) = events(player, "command.requested")
    assert (asked["verb"], asked["detail"], asked["parameters"]) == (
        "FUNCTION CALL",
        {"function": 1598},
        ["42"],
    )
    (result,) = events(player, "command.result")
    assert result["bytes"] == 300_009
    player.end()
    assert_accounted(player)


@pytest.mark.parametrize("value", [0, 1, 10**15 - 1, 10**15, 10**17])
def test_a_count_in_a_tag_is_an_integer_that_json_keeps(value: int) -> None:
    """A target can say any number; a reader must not round it."""
    player = logged_in()
    player.client(query("UPDATE t SET a = 1"))
    player.target(complete(f"UPDATE {value}") + ready())
    (result,) = events(player, "command.result")
    assert result["rows"] == (value if value < 10**15 else 0)


@pytest.mark.parametrize("tag", ['SE"LECT 1', "SEL\\ECT 1", "ÄNDERE 1", "A\nB 1", ""])
def test_a_strange_tag_is_recorded_as_it_is(tag: str) -> None:
    """The short way must not be taken for what JSON has to escape; the memory journal checks each record."""
    player = logged_in()
    player.client(query("SELECT 1"))
    player.target(complete(tag) + ready())
    assert events(player, "command.result")[0]["tag"] == tag


def test_everything_that_an_error_says_is_on_record_bounded() -> None:
    """SQLSTATE, message, position, context; source lines of the server are its own affair."""
    player = logged_in()
    player.client(query("SELEC 1"))
    player.target(
        error("42601", "x" * 100_000, D="detail", H="hint", P="1", W="where", F="scan.l", L="1", R="r")
    )
    found = events(player, "command.result")[0]["error"]
    assert found["sqlstate"] == "42601"
    assert len(found["message"]) == 16 * 1024
    assert (found["detail"], found["hint"], found["position"], found["where"]) == (
        "detail",
        "hint",
        "1",
        "where",
    )
    assert not {"file", "line", "routine"} & set(found)


def test_an_empty_field_hides_no_secret_behind_it() -> None:
    """A reader that stops at the first empty text would leave the rest of the error as it is."""
    player = logged_in()
    player.client(query("ALTER ROLE r PASSWORD 'hunter2'"))
    player.target(error("42601", "", D="", H="near PASSWORD 'hunter2'", W="hunter2") + ready())
    assert b"hunter2" not in player.journal.everything
    player.end()
    assert_accounted(player)


@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
@pytest.mark.parametrize("sent", [b"", query("SELECT 1"), parse("SELECT 1"), SYNC])
def test_a_target_may_end_the_session_at_any_time(severity: str, sent: bytes) -> None:
    """Killed by an administrator: said to the client, on record, and what ran has an end."""
    player = logged_in()
    player.client(sent)
    player.target(error("57P01", "terminating connection", severity))
    player.exchange.server_lost()
    assert player.relay.closed == "target closed"
    assert events(player, "session.note")[-1]["detail"]["sqlstate"] == "57P01"
    player.end()
    assert len(player.journal.of("command.unfinished")) == (sent == query("SELECT 1"))
    assert_accounted(player)


def test_an_old_server_says_the_severity_in_its_own_language() -> None:
    """Before 9.6 there is no field V; the end of a session must not be taken for a violation."""
    player = logged_in()
    player.target(m("E", b"SFATALE\0C57P01\0Mfin\0\0"))
    assert player.relay.closed is None


def test_what_fails_before_an_execute_is_on_record_and_what_follows_is_skipped() -> None:
    """Discarded to Sync: requested, and never run."""
    player = logged_in()
    player.client(parse("SELEC") + bind() + execute() + execute() + SYNC + query("SELECT 1"))
    player.target(error("42601", "syntax") + ready() + complete("SELECT 1") + ready())
    assert events(player, "session.note")[0]["what"] == "Parse failed"
    assert events(player, "session.note")[0]["detail"]["text"] == "SELEC"
    assert len(player.journal.of("command.skipped")) == 2
    assert len(player.journal.of("command.completed")) == 1
    player.end()
    assert_accounted(player)


def test_a_commit_that_fails_at_the_sync_is_on_record() -> None:
    """A deferred constraint: the Execute succeeded, the transaction did not."""
    player = logged_in()
    player.client(parse("INSERT") + bind() + execute() + SYNC)
    player.target(m("1") + m("2") + complete("INSERT 0 1") + error("23503", "constraint") + ready())
    assert events(player, "session.note")[0]["what"] == "Sync failed"
    assert player.relay.closed is None


@pytest.mark.parametrize("status", ["I", "T", "E"])
def test_the_transactions_state_is_in_the_record_where_there_is_one(status: str) -> None:
    """Whoever reads the record must see that nothing was committed yet."""
    player = logged_in()
    player.client(query("SELECT 1"))
    player.target(complete("SELECT 1") + ready(status))
    (done,) = events(player, "command.completed")
    assert done.get("detail") == (None if status == "I" else {"transaction": status})


def test_rows_of_any_size_and_number_are_counted_and_never_held() -> None:
    """Results are not our memory's affair."""
    player = logged_in(mode="bounded")
    player.client(query("SELECT"))
    big = row(b"x" * 3_000_000)
    stream = columns("a") + big + row(b"1") * 10_000 + big + complete("SELECT 10002") + ready()
    for at in range(0, len(stream), 50_000):
        player.target(stream[at : at + 50_000])
        assert player.exchange.held < 64
    (result,) = events(player, "command.result")
    assert (result["rows"], result["bytes"]) == (10_002, len(stream) - 6)
    player.end()
    assert_accounted(player)


LONG_ERRORS = {
    "with a URL": ("x, " * 50_000 + "'http://a/b', " * 10_000, ()),
    "with a password": ("x" * (SEARCHED - 5) + " PASSWORD 'hunter2' " + "x" * 200_000, (b"hunter2",)),
    "that repeats a secret": ("x" * 200_000 + "hunter2", (b"hunter2",)),
    "in many fields": ("", (b"hunter2",)),
}


@pytest.mark.parametrize(("text", "secrets"), LONG_ERRORS.values(), ids=LONG_ERRORS.keys())
def test_of_an_error_so_much_is_searched_and_what_is_longer_is_filled(
    text: str, secrets: tuple[bytes, ...]
) -> None:
    """A client chooses what its target's error says: to search 16 MiB of it took as many seconds."""
    message = error("42000", text or "x")
    if not text:
        fields = b"".join(b"D%b hunter2\0" % (b"x" * 9000) for _ in range(40))
        message = m("E", b"SERROR\0VERROR\0C42000\0Mx\0" + fields + b"\0")
    frame = Frame(ord("E"), 100, 100 + len(message), message[5:])
    searched: list[int] = []

    def counted(text: bytes, **options: bool) -> object:
        searched.append(len(text))
        return secrets_in(text, **options)  # type: ignore[arg-type]

    with patch.object(reports, "secrets_in", counted):
        told, spans = read_report(frame, secrets, "utf-8")
    assert sum(searched) <= SEARCHED
    filled, _ = fill(message, 100, spans)
    assert b"hunter2" not in filled
    assert b"hunter2" not in canonical(told)
    assert filled[: 5 + SEARCHED // 2] == message[: 5 + SEARCHED // 2] or not text


def test_a_long_error_that_can_hold_no_secret_is_recorded_as_it_is() -> None:
    """Promise of the recording: only what may be a credential is filled."""
    message = error("42000", "line 1: x, y, z; " * 50_000)
    told, spans = read_report(Frame(ord("E"), 0, len(message), message[5:]), (), "utf-8")
    assert spans == []
    assert str(told["message"]).startswith("line 1: x")
