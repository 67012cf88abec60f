"""PostgreSQL as a plugin: what it is built of, and what it says about its options."""

from __future__ import annotations

import io

import pytest
from zope.interface.verify import verifyObject

from hoopproxy.interfaces import IAuditableProtocol
from hoopproxy.protocols.postgres.plugin import PostgresProtocol
from hoopproxy.testing import FakeSession, Player
from hoopproxy.wire.commands import Refusal

from .joined import assert_accounted
from .talk import hello, m, query, ready


def test_it_is_what_it_says() -> None:
    """The interface is the contract with the gateway."""
    verifyObject(IAuditableProtocol, PostgresProtocol())


@pytest.mark.parametrize(
    ("listener", "target", "words"),
    [
        ({"replication": "refuse"}, None, []),
        ({"replication": "record"}, None, []),
        ({"replication": "yes"}, None, ["replication", "yes", "record"]),
        ({"replicatoin": "record"}, None, ["replicatoin", "not an option"]),
        (None, {"hoop_settings": False, "insecure_cleartext": True, "application_name": "x"}, []),
        (None, {"hoop_settings": "no"}, ["hoop_settings", "true or false"]),
        (None, {"insecure_cleartext": 1}, ["insecure_cleartext", "true or false"]),
        (None, {"application_name": 5}, ["application_name", "text"]),
        (None, {"hoop_setting": False}, ["hoop_setting", "hoop_settings"]),
        (None, None, []),
    ],
)
def test_options_are_checked_with_what_would_do(
    listener: dict[str, object] | None, target: dict[str, object] | None, words: list[str]
) -> None:
    """A typo in an option must not be an option that is silently off."""
    problems = PostgresProtocol().problems(listener, target)
    assert len(problems) == bool(words)
    assert all(word in problems[0] for word in words)


def test_the_words_before_any_conversation_are_an_error_response() -> None:
    """libpq shows it even in answer to an SSLRequest."""
    said = PostgresProtocol().refusal(Refusal("too_many", "too many connections"))
    assert said.startswith(b"E")
    assert b"C53300\0" in said


def test_a_long_statement_waits_in_the_sessions_file() -> None:
    """Ruling 2: between max_held and max_statement it is spooled, and then goes on like any other."""
    files: list[io.BytesIO] = []

    def spool() -> io.BytesIO:
        files.append(io.BytesIO())
        return files[-1]

    session = FakeSession(limits={"max_held": 10_000, "max_statement": 1_000_000}, spool=spool)
    PostgresProtocol().build_pair(session)
    assert session.built is not None
    player = Player(session.built)
    player.exchange.open()
    player.client(hello() + m("p", b"pw\0"))
    player.target(m("R", b"\0\0\0\0") + ready())
    message = query("SELECT '" + "x" * 500_000 + "'")
    for at in range(0, len(message), 8_192):
        player.client(message[at : at + 8_192])
        assert player.exchange.held < 20_000
    assert player.relay.server.endswith(message)
    assert [file.closed for file in files] == [True]
    player.client(message[:300_000])
    player.client(message[300_000:400_000])
    assert player.exchange.held < 310_000
    player.end()
    assert_accounted(player)
    assert player.ended is not None
    assert player.ended["event"]["client"]["redacted"] >= 400_000
    assert all(file.closed for file in files)
