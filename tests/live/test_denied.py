"""Refusals: what a role may not do never reaches the server, and client and server stay in one state.

Ruling 3: dropping a refused message and going on would *commit* what came before it. So the first question of
each test is whether the row is there, asked of the server directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .gateway import Configuration, Gateway
from .postgres import Postgres
from .trail import assert_balanced, assert_whole

psycopg = pytest.importorskip("psycopg")

MOST = 4096


def _rules(settings: Configuration) -> None:
    writer = settings["role"][0]
    writer |= {"databases": ["app"], "deny": ["DROP", "DO", "COPY PROGRAM"], "max_statement": MOST}


@pytest.fixture(scope="module")
def refusing(certificates: Any, postgres15: Postgres) -> Iterator[Gateway]:
    """Writers may use database ``app`` only, no DROP, no statement over 4 KiB."""
    from .servers import built

    built()
    through = Gateway.make(certificates, {"app": postgres15}, change=_rules).up()
    yield through
    through.end()
    events = through.events()
    assert_whole(events)
    assert_balanced(events)


@pytest.fixture
def table(postgres15: Postgres) -> Iterator[str]:
    """An empty table, watched directly."""
    postgres15.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept (n int)", user="app_rw")
    yield "kept"
    postgres15.execute("DROP TABLE kept", user="app_rw")


def _rows(server: Postgres) -> list[int]:
    return [n for (n,) in server.execute("SELECT n FROM kept ORDER BY n")]


def _connect(through: Gateway, **changes: Any) -> Any:
    return psycopg.connect(through.dsn("writer", **changes).conninfo, autocommit=True)


PREPARED = {"simple": False, "extended": True}


def _execute(connection: Any, sql: str, how: str) -> None:
    if how == "simple":
        result = connection.pgconn.exec_(sql.encode())
        if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
            code = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE).decode()
            raise psycopg.errors.lookup(code)(result.error_message.decode())
    else:
        connection.execute(sql, prepare=True)


@pytest.mark.parametrize("how", PREPARED)
def test_a_denied_statement_is_refused_and_the_session_goes_on(
    refusing: Gateway, postgres15: Postgres, table: str, how: str
) -> None:
    """The plainest case: the client's own kind of error, the table still there, the next statement fine."""
    with _connect(refusing) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _execute(connection, "DROP TABLE kept", how)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert _rows(postgres15) == []
    denied = refusing.wait_for_events("command.denied")[-1]
    assert denied["event"]["text"] == "DROP TABLE kept"
    assert denied["decision"]["effect"] == "deny"


@pytest.mark.parametrize("how", PREPARED)
def test_begin_insert_refused_commit_leaves_no_row(
    refusing: Gateway, postgres15: Postgres, table: str, how: str
) -> None:
    """The refusal must fail the transaction on the server too: COMMIT answers ROLLBACK."""
    with _connect(refusing) as connection:
        _execute(connection, "BEGIN", how)
        _execute(connection, "INSERT INTO kept VALUES (1)", how)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _execute(connection, "DROP TABLE kept", how)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            _execute(connection, "SELECT 1", how)
        assert connection.execute("COMMIT").statusmessage == "ROLLBACK"
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert _rows(postgres15) == []


def test_a_refused_statement_in_a_pipeline_undoes_what_came_before_its_sync(
    refusing: Gateway, postgres15: Postgres, table: str
) -> None:
    """One Sync is one transaction: INSERT, refused, INSERT, Sync leaves nothing; the next one stays."""
    with _connect(refusing) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.pipeline() as pipeline:  # noqa: PT012 - the error may come at any step of the block
            connection.execute("INSERT INTO kept VALUES (1)")
            connection.execute("DROP TABLE kept")
            connection.execute("INSERT INTO kept VALUES (2)")
            pipeline.sync()
        with connection.pipeline():
            connection.execute("INSERT INTO kept VALUES (3)")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert _rows(postgres15) == [3]


def test_a_refused_statement_in_a_pipelined_transaction(
    refusing: Gateway, postgres15: Postgres, table: str
) -> None:
    """BEGIN, Sync, INSERT, refused, COMMIT, Sync, all sent at once: no row, COMMIT rolls back."""
    with _connect(refusing) as connection:
        with pytest.raises(psycopg.Error), connection.pipeline() as pipeline:  # noqa: PT012 - the error may come at any step of the block
            connection.execute("BEGIN")
            connection.execute("INSERT INTO kept VALUES (1)")
            pipeline.sync()
            connection.execute("DROP TABLE kept")
            pipeline.sync()
            connection.execute("COMMIT")
            pipeline.sync()
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert _rows(postgres15) == []


def test_simple_queries_sent_without_waiting(refusing: Gateway, postgres15: Postgres, table: str) -> None:
    """``BEGIN; INSERT; DROP; COMMIT`` as four Query messages in one segment: answers in order, no row."""
    from .raw import query_message, taken_over

    with taken_over(refusing.dsn("writer")) as raw:
        statements = ("BEGIN", "INSERT INTO kept VALUES (1)", "DROP TABLE kept", "COMMIT", "SELECT 5")
        raw.sendall(b"".join(query_message(each) for each in statements))
        received = b""
        while received.count(b"Z\0\0\0\5") < 5:
            data = raw.recv(65536)
            assert data, received
            received += data
    states = [received[at + 5 : at + 6] for at in _positions(received, b"Z\0\0\0\5")]
    assert states == [b"T", b"T", b"E", b"I", b"I"]
    assert b"C42501\0" in received
    assert b"ROLLBACK\0" in received
    assert b"\0\0\0\x015" in received
    assert _rows(postgres15) == []


def test_a_refused_query_inside_a_batch_undoes_it(
    refusing: Gateway, postgres15: Postgres, table: str
) -> None:
    """``BEGIN``, then INSERT as an extended batch without Sync, the refused Query, COMMIT: no row."""
    from tests.protocols.postgres.talk import SYNC, bind, execute, parse

    from .raw import query_message, taken_over

    batch = parse("INSERT INTO kept VALUES (1)") + bind() + execute()
    refused = query_message("DROP TABLE kept")
    for before, after, expected in (
        (query_message("BEGIN"), query_message("COMMIT"), "TEEII"),
        (b"", b"", "III"),
    ):
        with taken_over(refusing.dsn("writer")) as raw:
            raw.sendall(before + batch + refused + SYNC + after + query_message("SELECT 5"))
            received = b""
            while received.count(b"Z\0\0\0\5") < len(expected):
                data = raw.recv(65536)
                assert data, received
                received += data
        states = b"".join(received[at + 5 : at + 6] for at in _positions(received, b"Z\0\0\0\5"))
        assert states.decode() == expected
        assert b"C42501\0" in received
        assert b"C42601\0" not in received
    assert _rows(postgres15) == []


@pytest.mark.parametrize("extended", [True, False])
def test_a_refused_query_inside_a_copy_ends_as_any_command_there(
    refusing: Gateway, postgres15: Postgres, table: str, extended: bool
) -> None:
    """PostgreSQL ends a session that sends it a command among CopyData; no row of the COPY is kept."""
    from tests.protocols.postgres.talk import bind, execute, m, parse

    from .raw import query_message, taken_over

    sql = "COPY kept FROM STDIN"
    with taken_over(refusing.dsn("writer")) as raw:
        raw.sendall(parse(sql) + bind() + execute() + m("H") if extended else query_message(sql))
        received = b""
        while b"G\0\0\0" not in received:
            received += raw.recv(65536)
        raw.sendall(m("d", b"1\n") + query_message("DROP TABLE kept"))
        while data := raw.recv(65536):
            received += data
    assert received.count(b"C08P01\0") == 2
    assert b"SFATAL\0" in received
    assert _rows(postgres15) == []
    denied = refusing.wait_for_events("command.denied")[-1]
    assert denied["event"]["text"] == "DROP TABLE kept"


def _positions(data: bytes, what: bytes) -> Iterator[int]:
    at = data.find(what)
    while at >= 0:
        yield at
        at = data.find(what, at + 1)


def test_one_denied_statement_of_several_refuses_the_whole_query(
    refusing: Gateway, postgres15: Postgres, table: str
) -> None:
    """``INSERT; DROP`` in one Query is one unit for the server: none of it may run."""
    with _connect(refusing) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _execute(connection, "INSERT INTO kept VALUES (1); DROP TABLE kept", "simple")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert _rows(postgres15) == []


@pytest.mark.parametrize(
    "sql",
    [
        "dRoP\tTABLE kept",
        "/* harmless */ DROP TABLE kept",
        "-- SELECT 1\nDROP TABLE kept",
        "DO $$ BEGIN DROP TABLE kept; END $$",
        "PREPARE p AS SELECT 1; DROP TABLE kept",
        "/* a /* nested */ comment */ DROP TABLE kept",
        "SELECT ';'; DROP TABLE kept",
        "SELECT $a$;$a$; DROP TABLE kept",
        r"SELECT E'\''; DROP TABLE kept",
    ],
)
def test_a_denied_statement_does_not_hide(
    refusing: Gateway, postgres15: Postgres, table: str, sql: str
) -> None:
    """Case, comments, quotes. What a DO block does can't be seen in its text: it has a verb of its own."""
    with _connect(refusing) as connection, pytest.raises(psycopg.Error):
        _execute(connection, sql, "simple")
    assert _rows(postgres15) == []


def test_a_statement_over_the_roles_size_is_refused_and_skipped_in_step(
    refusing: Gateway, postgres15: Postgres, table: str
) -> None:
    """54000, nothing of it upstream, and the session goes on, simple and extended."""
    with _connect(refusing) as connection:
        fits = "SELECT '" + "x" * (MOST - 15) + "'"  # and 6 bytes of message: its type, length and NUL
        connection.execute(fits)
        for how in PREPARED:
            for size in (MOST + 100, 1_000_000, 20_000_000):
                with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                    _execute(connection, "SELECT '" + "x" * size + "'", how)
                assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_message_over_the_gateways_limit_is_skipped_without_being_held(gateway: Any) -> None:
    """65 MiB of statement: refused with 54000, recorded by digest, the session goes on."""
    through = gateway(upstream_tls=False)
    with _connect(through) as connection:
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            _execute(connection, "SELECT '" + "y" * (65 << 20) + "'", "simple")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    through.wait_for_events("session.end")
    (denied,) = through.events("command.denied")
    assert "sha256" in str(denied["event"]["text"])
    assert_balanced(through.events())


@pytest.mark.parametrize(
    ("user", "dbname"),
    [
        ("writer", "other"),
        ("writer", "postgres"),
        ("writer+app_ro", "app"),
        ("nobody", "app"),
        ("writer=gone", "app"),
    ],
)
def test_a_database_or_account_that_no_role_gives_is_refused(
    refusing: Gateway, user: str, dbname: str
) -> None:
    """Default deny: identified is not admitted. Nothing goes upstream, and the trail says who wanted what."""
    before = len(refusing.events("session.refused"))
    starts = len(refusing.events("session.start"))
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(refusing.dsn(user, dbname).conninfo)
    assert "app_rw" not in str(refused.value), "the account's name is none of the client's business"
    assert len(refusing.wait_for_events("session.refused", count=before + 1)) == before + 1
    assert len(refusing.events("session.start")) == starts


def test_a_role_can_be_chosen_by_account(gateway: Any) -> None:
    """``both`` is in two roles: the first in file order, or the account that was asked for."""
    through = gateway()
    for user, account in (("both", "app_rw"), ("both+app_ro", "app_ro"), ("both+app_rw", "app_rw")):
        with psycopg.connect(through.dsn(user).conninfo) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (account,)


def test_a_reader_is_stopped_by_the_server_itself(gateway: Any, postgres15: Postgres, table: str) -> None:
    """The account's own rights still count: the server's refusal passes through unchanged."""
    through = gateway()
    with psycopg.connect(through.dsn("alice").conninfo, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table kept"):
            connection.execute("INSERT INTO kept VALUES (1)")
