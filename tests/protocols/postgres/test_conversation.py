"""The session's ends, in PostgreSQL's words and on the record."""

from __future__ import annotations

from typing import Any

import pytest

from hoopproxy.wire.commands import Refusal

from .joined import assert_accounted
from .model import told
from .talk import SYNC, bind, complete, execute, logged_in, m, parse, query, ready, row

TERMINATE = m("X")


@pytest.mark.parametrize(
    ("sent", "cause"),
    [
        (TERMINATE, "client ended"),
        (b"", "client closed without Terminate"),
        (b"X\0\0", "client closed without"),
    ],
)
def test_how_a_client_leaves_is_on_record(sent: bytes, cause: str) -> None:
    """psql's \\q and a pulled cable are two things."""
    player = logged_in()
    player.client(sent)
    player.exchange.client_lost()
    end: Any = player.end()
    assert end["event"]["cause"].startswith(cause)
    assert player.relay.server.endswith(TERMINATE) == (sent == TERMINATE)
    assert_accounted(player)


def test_a_target_that_hangs_up_after_terminate_is_no_loss() -> None:
    """It does what it was told."""
    player = logged_in()
    player.client(TERMINATE)
    player.exchange.server_lost()
    end: Any = player.end()
    assert end["event"]["cause"] == "client ended"


def test_what_nobody_saw_the_end_of_is_unfinished_with_what_was_seen() -> None:
    """Rows that reached the client are on record although the command has no end."""
    player = logged_in()
    player.client(query("SELECT 1; SELECT 2") + parse("SELECT 3") + bind() + execute() + SYNC)
    player.target(row(b"1") + complete("SELECT 1") + row(b"2") + row(b"3"))
    player.exchange.server_lost()
    player.end()
    unfinished = [event["event"] for event in player.journal.of("command.unfinished")]
    assert [event["rows"] for event in unfinished] == [3, 0]
    assert [event["outcome"] for event in player.journal.of("command.unfinished")] == ["unknown"] * 2
    assert_accounted(player)


@pytest.mark.parametrize(
    ("code", "sqlstate"),
    [
        ("idle", "57P05"),
        ("lifetime", "57P01"),
        ("shutdown", "57P01"),
        ("killed", "57P01"),
        ("internal", "XX000"),
    ],
)
def test_the_gateways_reasons_to_end_are_fatal_errors(code: str, sqlstate: str) -> None:
    """The client shows them as its own kind of error."""
    player = logged_in()
    player.client(query("SELECT 1"))
    player.exchange.refuse(Refusal(code, "a reason in a sentence"))
    assert told(bytes(player.relay.client))[-1] == ("E", sqlstate.encode())
    assert b"SFATAL\0" in player.relay.client
    assert player.relay.closed == code
    player.end()
    assert len(player.journal.of("command.unfinished")) == 1
    assert_accounted(player)


@pytest.mark.parametrize("kind", ["p", "R", "K", "1", "Z", "\x7f"])
def test_a_message_that_no_client_sends_after_its_log_in_ends_the_session(kind: str) -> None:
    """A second password, a server's message, an unknown one."""
    player = logged_in()
    before = len(player.relay.server)
    player.client(m(kind, b"secret\0") + query("SELECT 1"))
    assert player.relay.closed == "violation by the client"
    assert player.relay.server[before:] == b""
    assert told(bytes(player.relay.client))[-1] == ("E", b"08P01")
    player.end()
    assert_accounted(player)


def test_commands_sent_with_the_last_message_of_the_log_in_are_not_lost() -> None:
    """Drivers that talk ahead: what came early is met when the target is ready."""
    from hoopproxy.protocols.postgres.plugin import PostgresProtocol
    from hoopproxy.testing import FakeSession, Player

    from .talk import hello

    session = FakeSession()
    PostgresProtocol().build_pair(session)
    assert session.built is not None
    player = Player(session.built)
    player.exchange.open()
    player.client(hello() + m("p", b"pw\0") + query("SELECT 1"))
    assert b"SELECT" not in player.relay.server
    player.target(m("R", b"\0\0\0\0") + ready())
    assert player.relay.server.endswith(query("SELECT 1"))
    player.end()
    assert_accounted(player)
