"""PostgreSQL as a plugin: what its options may say, and how its words are held against a deny list."""

from __future__ import annotations

import pytest

from hoopproxy.protocols.postgres.plugin import PostgresProtocol
from hoopproxy.protocols.postgres.sql import statements
from hoopproxy.wire.commands import Refusal


def test_a_deny_list_knows_postgresqls_synonyms() -> None:
    """CREATE USER is CREATE ROLE: denying one and not the other would deny nothing."""
    verbs = statements(b"CREATE ROLE mallory SUPERUSER")[0].verbs
    assert PostgresProtocol().denies(verbs, frozenset({"create user"})) == "create user"
    assert PostgresProtocol().denies(verbs, frozenset({"DROP"})) is None


@pytest.mark.parametrize(
    ("listener", "target", "named"),
    [
        ({"replication": "maybe"}, None, "replication"),
        ({"replicaton": "record"}, None, "replicaton"),
        (None, {"application_name": 5}, "application_name"),
        (None, {"insecure_cleartext": "yes"}, "insecure_cleartext"),
        (None, {"hoop_settings": 1}, "hoop_settings"),
        (None, {"aplication_name": "x"}, "aplication_name"),
    ],
)
def test_a_wrong_option_is_named(
    listener: dict[str, object] | None, target: dict[str, object] | None, named: str
) -> None:
    """An option that nobody reads is a setting that somebody believes in."""
    (sentence,) = PostgresProtocol().problems(listener, target)
    assert sentence.startswith(f"{named}: ")


def test_right_options_are_fine() -> None:
    """Every option that the pages name."""
    assert PostgresProtocol().problems({"replication": "record"}, None) == []
    target = {"application_name": "hp:{session}", "insecure_cleartext": False, "hoop_settings": False}
    assert PostgresProtocol().problems(None, target) == []


def test_a_limit_before_any_conversation_is_said_in_postgresqls_words() -> None:
    """libpq shows an ErrorResponse even in answer to an SSLRequest; anything else is "received invalid response"."""
    words = PostgresProtocol().refusal(Refusal("too_many", "too many connections"))
    assert words[:1] == b"E"
    assert b"C53300\0" in words
