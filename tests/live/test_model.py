"""The model that stands for PostgreSQL in the property tests is held against PostgreSQL; then the gateway is.

Random legal conversations, refusals anywhere in them: what the real server says to each is what the model says,
and what the gateway's client sees is what it would see of a server that refuses by itself.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.protocols.postgres.model import Model, told
from tests.protocols.postgres.moves import COPY, conversations
from tests.protocols.postgres.talk import SYNC, bind, execute, m, parse, query

from .dsn import Dsn
from .gateway import Configuration, Gateway
from .postgres import Postgres
from .raw import taken_over

pytest.importorskip("psycopg")

DONE, TERMINATE = m("c"), m("X")
FUNCTIONS = {7: "ok()", 666: "fail()"}
"""What the model calls by number, and what it is called here."""


@pytest.fixture(scope="module")
def server(postgres15: Postgres) -> Iterator[Postgres]:
    """The model's table and functions."""
    postgres15.execute(
        "CREATE TABLE kept (n int);"
        "CREATE FUNCTION ok() RETURNS text LANGUAGE sql AS $$ SELECT 'ok' $$;"
        "CREATE FUNCTION fail() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'failed'; END $$",
        user="app_rw",
    )
    yield postgres15
    postgres15.execute("DROP TABLE kept; DROP FUNCTION ok(); DROP FUNCTION fail()", user="app_rw")


def _rules(settings: Configuration) -> None:
    settings["role"][0]["deny"] = ["DROP"]


@pytest.fixture(scope="module")
def refusing(certificates: Any, server: Postgres) -> Iterator[Gateway]:
    """Writers may not DROP."""
    from .servers import built

    built()
    through = Gateway.make(certificates, {"app": server}, mode="bounded", change=_rules).up()
    yield through
    through.end()


def _held_against(
    messages: Sequence[bytes], server: Postgres, dsn: Dsn, refuses: str | tuple[str, ...]
) -> None:
    """Say it to the model and over a socket; both answers, and the rows that are kept, are the same."""
    model = Model(refuses=refuses)
    # A COPY that is still open reads up to here, and a batch ends.
    messages = [*messages, DONE, SYNC]
    expected = model.receive(b"".join(messages))
    server.execute("TRUNCATE kept", user="app_rw")
    oids = {n: server.execute(f"SELECT '{name}'::regprocedure::oid")[0][0] for n, name in FUNCTIONS.items()}
    with taken_over(dsn) as raw:
        raw.sendall(b"".join(_numbered(message, oids) for message in messages) + TERMINATE)
        seen = b""
        try:
            while data := raw.recv(1 << 16):
                seen += data
        except ConnectionResetError:
            assert model.closed  # it ended the session with bytes of ours unread
    if model.closed:  # a command inside a COPY: what was said last may be lost with the connection
        return
    found, meant = told(seen), told(expected)
    if "DROP" in refuses:
        pairs = zip(found, meant, strict=False)
        found[: len(meant)] = [m if (f, m) == (REFUSED, NO_PORTAL) else f for f, m in pairs]
    assert found == meant
    kept = [str(n) for (n,) in server.execute("SELECT n FROM kept")]
    assert sorted(kept) == sorted(model.committed)


def _numbered(message: bytes, oids: dict[int, int]) -> bytes:
    if message[:1] != b"F":
        return message
    return message[:5] + struct.pack(">I", oids[struct.unpack_from(">I", message, 5)[0]]) + message[9:]


_FEW = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@settings(_FEW, max_examples=100)
@given(messages=conversations.filter(lambda messages: not any(b"DROP" in each for each in messages)))
def test_the_model_says_what_postgresql_says(messages: list[bytes], server: Postgres) -> None:
    """Or every property test of the command phase would prove something about nothing."""
    _held_against(messages, server, server.dsn("app_rw"), "nothing")


UNCLASSIFIED = "SELEC "
"""No parser takes it: what it would do can't be told, so a role that denies anything denies it."""
NO_PORTAL, REFUSED = ("E", b"34000"), ("E", b"42501")


@settings(_FEW, max_examples=60)
@given(messages=conversations)
def test_a_client_of_the_gateway_sees_a_server_that_refuses_by_itself(
    messages: list[bytes], server: Postgres, refusing: Gateway
) -> None:
    """Rows, transaction states, the order of replies, whatever was refused where.

    What a portal runs that nobody has bound can't be told either: it is refused, or it fails, and nothing else.
    """
    _held_against(messages, server, refusing.dsn("writer"), ("DROP", UNCLASSIFIED))


@pytest.mark.parametrize("extended", [True, False])
def test_commands_behind_spoiled_data_of_a_copy_are_answered_as_by_the_server(
    extended: bool, server: Postgres, refusing: Gateway
) -> None:
    """The target has failed the COPY when it reads them, and the gateway doesn't know yet: nobody ends the session."""
    begin = parse(COPY) + bind() + execute() if extended else query(COPY)
    behind = m("d", b"bad\n") + query("SELECT 7") + SYNC
    answers = []
    for dsn in (server.dsn("app_rw"), refusing.dsn("writer")):
        with taken_over(dsn) as raw:
            raw.sendall(begin)
            seen = raw.recv(1 << 16)
            while b"G\0\0\0" not in seen:
                seen += raw.recv(1 << 16)
            raw.sendall(behind + query("SELECT 8") + TERMINATE)
            while data := raw.recv(1 << 16):
                seen += data
        answers.append(told(seen))
    assert answers[0] == answers[1]
    assert sum("SELECT 1" in str(each) for each in answers[0]) == (1 if extended else 2)


BATCH = parse("SELECT 7") + bind() + execute() + SYNC
SPOILED, FAIL = m("d", b"bad\n"), m("f", b"no\0")
SYNCS_IN_COPY = {
    "read": [SYNC + SPOILED, DONE + BATCH],
    "not read": [SPOILED + SYNC, DONE + BATCH],
    "one of each": [SYNC + SPOILED + SYNC, DONE + BATCH],
    "several read": [SYNC * 3 + m("d", b"1\n") + FAIL, BATCH],
    "several not read": [SPOILED + SYNC * 3, DONE + BATCH],
    "before the error comes": [SYNC + SPOILED + DONE + BATCH * 2],
    "behind the data, before the error comes": [SPOILED + SYNC + DONE + BATCH * 2],
    "one by one": [SYNC, SPOILED, DONE, BATCH],
    "behind the error": [SPOILED, SYNC, DONE, BATCH],
    "twice behind the error": [SPOILED, SYNC, SYNC, DONE, BATCH],
    "before and behind the error": [SYNC, SPOILED, SYNC, DONE, BATCH],
    "a query": [SYNC + SPOILED, DONE + query("SELECT 7") + SYNC],
    "a copy that succeeds": [SYNC + m("d", b"1\n"), DONE + BATCH],
    "a copy that fails late": [SYNC + m("d", b"1\n") + SYNC, SPOILED, SYNC, DONE, BATCH],
}
PAUSE = 0.03
"""Seconds between two pieces: what the first one brings has come by then, or nothing depends on it."""


@pytest.mark.parametrize("blind", [True, False])
@pytest.mark.parametrize("block", [True, False])
@pytest.mark.parametrize("what", SYNCS_IN_COPY)
def test_a_sync_inside_a_copy_that_fails_means_what_it_means_to_the_server(
    what: str, block: bool, blind: bool, server: Postgres, refusing: Gateway
) -> None:
    """Read by the COPY it is the end of nothing; behind the data that spoiled it, it ends the discarding."""
    begin = (query("BEGIN") if block else b"") + parse(COPY) + bind() + execute()
    pieces = [begin, *SYNCS_IN_COPY[what], query("COMMIT") + query("SELECT 8") + TERMINATE]
    answers = []
    for dsn in (server.dsn("app_rw"), refusing.dsn("writer")):
        server.execute("TRUNCATE kept", user="app_rw")
        with taken_over(dsn) as raw:
            if blind:
                raw.sendall(b"".join(pieces))
            else:
                for piece in pieces:
                    raw.sendall(piece)
                    time.sleep(PAUSE)
            seen = b""
            while data := raw.recv(1 << 16):
                seen += data
        answers.append((told(seen), server.execute("SELECT n FROM kept", user="app_rw")))
    assert answers[0] == answers[1]
    assert answers[0] == (told(Model().receive(b"".join(pieces))), answers[0][1])
