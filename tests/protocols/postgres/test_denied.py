"""Refusals keep client and target in one state (ruling 3): what the client hears, what the target does."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from hoopproxy.errors import JournalRefused
from hoopproxy.protocols.postgres.sql import UNCLASSIFIED
from hoopproxy.wire.commands import Decide, Refusal, Verdict

from .joined import assert_accounted, joined
from .model import Model, split_messages, told
from .talk import (
    SYNC,
    bind,
    columns,
    complete,
    describe,
    execute,
    logged_in,
    m,
    parse,
    query,
    ready,
    refuse,
    row,
)

INSERT = "INSERT INTO kept VALUES (1)"
DROP = "DROP TABLE kept"


def states(data: bytes) -> str:
    return "".join(body.decode() for kind, body in split_messages(data) if kind == "Z")


def codes(data: bytes) -> list[str]:
    return [body.decode() for kind, body in told(data) if kind == "E"]


@pytest.mark.parametrize("pipelined", [True, False])
def test_begin_insert_refused_commit_leaves_no_row(pipelined: bool) -> None:
    """Dropping the refused message and going on would commit what came before it."""
    through, model = joined()
    for message in map(query, ("BEGIN", INSERT, DROP, "COMMIT")):
        through.say(message)
        if not pipelined:
            through.run([])
    through.run([])
    assert model.committed == []
    assert states(through.client) == "TTEI"
    assert codes(through.client) == ["42501"]
    assert ("C", b"ROLLBACK\0") in told(through.client)
    through.player.end()
    assert_accounted(through.player)


@pytest.mark.parametrize("at", range(3))
def test_a_refusal_anywhere_in_a_batch_undoes_the_batch(at: int) -> None:
    """One Sync is one transaction."""
    through, model = joined()
    texts = [INSERT, INSERT, INSERT]
    texts[at] = DROP
    batch = b"".join(parse(text) + bind() + execute() for text in texts) + SYNC
    through.run([batch, query("SELECT 7")])
    assert model.committed == []
    assert states(through.client) == "II"
    assert codes(through.client) == ["42501"]
    assert through.client.endswith(ready())
    through.player.end()
    assert_accounted(through.player)


def test_with_nothing_open_the_target_hears_nothing() -> None:
    """The gateway answers by itself: no round trip, no trace in the server."""
    through, _ = joined()
    through.run([query(DROP), parse(DROP) + bind() + describe() + execute() + m("H") + SYNC])
    assert through.server == b""
    assert told(through.client) == [("E", b"42501"), ("Z", b"I"), ("E", b"42501"), ("Z", b"I")]
    (note,) = through.player.journal.of("session.note")
    assert note["event"]["detail"] == {"messages": 3}


def test_a_refusal_names_its_event_and_is_on_record_with_its_reason() -> None:
    """The person can ask the auditor, and the auditor finds it."""
    through, _ = joined()
    through.run([query(DROP)])
    (denied,) = through.player.journal.of("command.denied")
    assert denied["id"].encode() in through.client
    assert denied["id"] == denied["op"]
    assert denied["reason"] == "the role test refuses DROP"
    assert denied["event"]["text"] == DROP
    assert denied["decision"] == {"effect": "deny", "rules": ["role:test"]}


def test_the_injected_message_is_on_record_with_what_it_replaced() -> None:
    """Only deliberate changes alter bytes, and they are events themselves."""
    through, _ = joined()
    through.run([query("BEGIN"), query(DROP)])
    altered = through.player.journal.of("session.altered")
    assert [event["event"]["where"] for event in altered] == ["to_target", "to_client"]
    start, end = altered[0]["event"]["instead_of"]
    assert through.player.journal.stream(0, 0)[start:end] == query(DROP)
    assert b"hoopproxy_refused" in through.server
    assert b"hoopproxy_refused" not in through.client


CALL = m("F", struct.pack(">IHHH", 7, 0, 0, 0))
BATCH = parse(INSERT) + bind() + execute()


def refuse_calls(decide: Decide) -> Verdict:
    """Refuses FunctionCall, as :func:`refuse` does statements."""
    return refuse("FUNCTION CALL")(decide)


@pytest.mark.parametrize("refused", ["query", "call"])
@pytest.mark.parametrize("pipelined", [True, False])
@pytest.mark.parametrize("block", [True, False])
def test_a_refused_query_inside_an_open_batch_undoes_the_batch_and_the_session_goes_on(
    refused: str, pipelined: bool, block: bool
) -> None:
    """Without a Sync the batch and the Query are one transaction; what comes behind the Query is another."""
    through, model = joined(decide=refuse_calls) if refused == "call" else joined()
    messages = [query("BEGIN")] if block else []
    messages += [BATCH, CALL if refused == "call" else query(DROP), SYNC, query("COMMIT")]
    for message in messages:
        through.say(message)
        if not pipelined:
            through.run([])
    through.run([])
    assert through.player.relay.closed is None
    assert model.committed == []
    assert codes(through.client) == ["42501"]
    assert states(through.client) == ("TEEI" if block else "III")
    through.player.end()
    assert_accounted(through.player)


def test_a_refused_query_behind_an_error_does_not_end_the_discarding() -> None:
    """A Sync of ours would: what the client sent behind its own error would be carried out, and committed."""
    through, model = joined()
    through.run([parse("SELEC 1") + query(DROP) + BATCH + SYNC, query("SELECT 7")])
    assert model.committed == []
    assert codes(through.client) == ["42601"]
    assert states(through.client) == "II"
    through.player.end()
    assert_accounted(through.player)


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("refused", ["query", "parse"])
def test_a_refusal_inside_a_copy_is_the_end_that_any_command_there_is(extended: bool, refused: str) -> None:
    """The server gives a session up that sends it a command in the midst of COPY data: nothing is kept."""
    through, model = joined()
    copy = "COPY kept FROM STDIN"
    through.run([parse(copy) + bind() + execute() if extended else query(copy)])
    through.run([m("d", b"1\n"), query(DROP) if refused == "query" else parse(DROP)])
    assert model.closed
    assert model.committed == []
    assert DROP.encode() not in through.server
    assert codes(through.client) == ["08P01", "08P01"]
    assert b"SFATAL\0" in through.client
    (denied,) = through.player.journal.of("command.denied")
    assert denied["event"]["text"] == DROP
    through.player.exchange.server_lost()
    through.player.end()
    assert_accounted(through.player)


@pytest.mark.parametrize("extended", [True, False])
def test_a_refusal_behind_a_copy_that_failed_meanwhile_is_one_like_any_other(extended: bool) -> None:
    """What the client can't know yet: the COPY is over, so the refused Query is a Query, or discarded."""
    through, model = joined()
    copy = "COPY kept FROM STDIN"
    through.run([parse(copy) + bind() + execute() if extended else query(copy)])
    through.say(m("d", b"bad\n"))
    through.say(query(DROP))
    through.run([SYNC, query("SELECT 7")])
    assert through.player.relay.closed is None
    assert codes(through.client) == (["22P02"] if extended else ["22P02", "42501"])
    assert states(through.client) == ("II" if extended else "IIII")
    assert model.committed == []
    through.player.end()
    assert_accounted(through.player)


def test_a_target_that_is_ready_without_an_error_for_the_replacement_lies() -> None:
    """It would let the client believe that the refused statement was carried out."""
    player = logged_in(decide=refuse("DROP"))
    player.client(BATCH + query(DROP))
    player.target(m("1") + m("2") + complete("INSERT 0 1") + ready())
    assert player.relay.closed == "violation by the target"
    player.end()
    assert_accounted(player)


@pytest.mark.parametrize("size", [1, 200, 70_000, 1_000_000])
@pytest.mark.parametrize("kind", ["Q", "P", "B", "F"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_statement_over_the_limit_is_refused_and_skipped_in_step(
    size: int, kind: str, inside: bool
) -> None:
    """54000, nothing of it kept or sent, and the session goes on; the record has its digest."""
    from hoopproxy.protocols.postgres.plugin import PostgresProtocol
    from hoopproxy.testing import FakeSession, Player

    from .talk import hello

    session = FakeSession(limits={"max_statement": 1000, "max_held": 500})
    PostgresProtocol().build_pair(session)
    assert session.built is not None
    player = Player(session.built)
    player.exchange.open()
    player.client(hello() + m("p", b"pw\0"))
    player.target(m("R", b"\0\0\0\0") + ready())
    model = Model()
    if inside:
        player.client(query("BEGIN"))
        player.target(model.receive(query("BEGIN")))
    given = len(player.relay.server)
    seen = len(player.relay.client)
    body = b"SELECT '" + b"x" * (1000 + size) + b"'\0"
    message = m(kind, body)
    for at in range(0, len(message), 65_536):
        player.client(message[at : at + 65_536])
        assert player.exchange.held <= 500
    if kind in "PB":
        player.client(execute() + SYNC)
    player.target(model.receive(bytes(player.relay.server[given:])))
    client = bytes(player.relay.client[seen:])
    assert told(client) == [("E", b"54000"), ("Z", b"E" if inside else b"I")]
    assert b"xxx" not in player.relay.server
    (denied,) = player.journal.of("command.denied")
    assert denied["event"]["text"]["bytes"] == len(message)
    start, end = denied["event"]["range"]
    assert end - start == len(message)
    assert b"xxxxx" not in player.journal.everything
    given = len(player.relay.server)
    player.client(query("ROLLBACK") if inside else query("SELECT 7"))
    player.target(model.receive(bytes(player.relay.server[given:])))
    assert player.relay.client.endswith(ready())
    player.end()
    assert_accounted(player)


def late(decide: Decide) -> Verdict | None:
    return None


def test_verdicts_may_come_later_and_replies_meanwhile() -> None:
    """The state is judged when the verdict is there, not when the question was put."""
    player = logged_in(decide=late)
    given = len(player.relay.server)
    player.client(query("SELECT 1") + query(DROP))
    player.answer(Verdict(True, ()))
    assert player.relay.server[given:] == query("SELECT 1")
    player.target(columns("a") + row(b"1") + complete("SELECT 1") + ready())
    player.answer(Verdict(False, (), Refusal("policy", "no")))
    assert player.relay.server[given:] == query("SELECT 1")
    assert told(bytes(player.relay.client))[-2:] == [("E", b"42501"), ("Z", b"I")]
    player.end()
    assert_accounted(player)


@pytest.mark.parametrize(("code", "sqlstate"), [("full", "53100"), ("io", "58030"), ("lagging", "58030")])
def test_a_journal_that_refuses_is_told_in_postgresqls_words(code: str, sqlstate: str) -> None:
    """No record, no action, and the client is told so."""
    player = logged_in()
    player.journal.refusal = JournalRefused(code, "the journal can't take it")
    given = len(player.relay.server)
    player.client(query("SELECT 1"))
    assert player.relay.server[given:] == b""
    assert told(bytes(player.relay.client))[-1] == ("E", sqlstate.encode())
    assert b"the journal can't take it" in player.relay.client
    assert player.relay.closed is not None
    player.end()
    assert_accounted_but_for_the_recording(player)


def assert_accounted_but_for_the_recording(player: Any) -> None:
    assert player.ended["event"]["balanced"]
    assert player.journal.of("session.opaque")


def test_without_payload_on_record_a_refusing_journal_costs_only_the_command() -> None:
    """metadata: there is nothing but the event that could not be written, and its refusal fits the reserve."""
    player = logged_in(record="metadata")
    player.journal.refusal = JournalRefused("full", "no space")
    player.client(query("SELECT 1"))
    assert told(bytes(player.relay.client))[-2:] == [("E", b"53100"), ("Z", b"I")]
    player.journal.refusal = None
    player.client(query("SELECT 1"))
    assert player.relay.server.endswith(query("SELECT 1"))


def test_a_portal_whose_close_was_discarded_is_still_the_one_that_is_known() -> None:
    """Else its Execute would be refused as that of a portal nobody has bound, where the target has an answer."""
    through, _ = joined(decide=refuse(UNCLASSIFIED))
    failing = parse("SELECT fail()") + bind() + execute()
    begin = query("BEGIN") + parse("SELECT 7") + bind(portal="p1")
    through.run([begin, failing + m("C", b"Pp1\0") + SYNC, execute("p1") + SYNC])
    assert codes(through.client) == ["P0001", "25P02"]
    through.run([query("ROLLBACK")])
    through.run([begin, m("C", b"Pp1\0") + SYNC])
    through.run([execute("p1") + SYNC])
    assert codes(through.client) == ["P0001", "25P02", "42501"], "the target has closed this one"
    through.player.end()
    assert_accounted(through.player)
