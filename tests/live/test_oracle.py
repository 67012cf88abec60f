"""The differential oracle: PostgreSQL's log against the trail, and each class of difference."""

from __future__ import annotations

from typing import Any

import pytest

from .clients import asyncpg_battery, psql, psycopg_sync
from .clients import pgbench as pgbench_battery
from .gateway import Configuration, Gateway
from .oracle import CLASSES, Comparison, compare, spelled_alike
from .postgres import Postgres

psycopg = pytest.importorskip("psycopg")


class Watched:
    """A gateway, and the server's log from this moment on."""

    def __init__(self, through: Gateway, server: Postgres) -> None:
        self.through, self._server, self._start = through, server, server.log_size()

    def compared(self) -> Comparison:
        """End the gateway and compare."""
        assert self.through.terminate() == 0
        records = self._server.log_records(start=self._start)
        return compare(self.through.events(), records, alike=spelled_alike(self._server)).checked()


@pytest.fixture
def watched(gateway: Any, postgres15: Postgres) -> Watched:
    def rules(settings: Configuration) -> None:
        settings["role"][0] |= {"deny": ["DROP"]}

    return Watched(gateway(change=rules), postgres15)


def _connect(watched: Watched) -> Any:
    return psycopg.connect(watched.through.dsn("writer").conninfo, autocommit=True)


@pytest.mark.parametrize("battery", [psql, psycopg_sync, asyncpg_battery, pgbench_battery])
def test_the_trail_says_what_the_server_says(gateway: Any, postgres15: Postgres, battery: Any) -> None:
    """What ran and isn't on record, or is on record and never ran, shows here."""
    watched = Watched(gateway(), postgres15)
    battery.run(watched.through.dsn("writer"))
    done = watched.compared()
    assert done.equal > 20
    assert set(done.classes) <= set(CLASSES)


def test_class_refused(watched: Watched) -> None:
    """Denied here: on record, and never in the server's log."""
    with _connect(watched) as connection:
        connection.execute("SELECT 1")
        for prepare in (False, True):
            with pytest.raises(psycopg.Error):
                connection.execute("DROP TABLE nothing", prepare=prepare)
    assert watched.compared().classes == {"refused": 2}


def test_class_syntax_error(gateway: Any, postgres15: Postgres) -> None:
    """The server logs a statement after parsing it. (With a deny rule, what can't be read is refused here.)"""
    watched = Watched(gateway(), postgres15)
    with _connect(watched) as connection:
        connection.execute("SELECT 1")
        connection.pgconn.exec_(b"SELEKT 1")
    assert watched.compared().classes == {"syntax error": 1}


def test_class_failed_before_execute(watched: Watched) -> None:
    """Parse fails, Execute is discarded to Sync: requested, and skipped."""
    with _connect(watched) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.Error), connection.pipeline():  # noqa: PT012 - the error may come at any step of the block
            connection.execute("SELECT %s::int", ("not a number",))
            connection.execute("SELECT 2")
    assert watched.compared().classes["failed before execute"] >= 1


def test_class_empty(watched: Watched) -> None:
    """An empty query executes nothing; the extended protocol doesn't even log it."""
    with _connect(watched) as connection:
        connection.execute("SELECT 1")
        connection.pgconn.exec_(b"")
        connection.pgconn.exec_params(b"", [])
    assert watched.compared().classes == {"empty": 1}


def test_class_fast_path(watched: Watched) -> None:
    """Large objects of libpq use the FunctionCall message."""
    from .clients.programs import postgres_program, run

    script = r"\lo_import /etc/hostname" + "\n\\lo_unlink :LASTOID\nSELECT 1;\n"
    run(postgres_program("psql"), ["-X"], watched.through.dsn("writer"), text=script).checked()
    assert watched.compared().classes["fast path"] > 2


def test_class_aborted_transaction(watched: Watched) -> None:
    """In a failed transaction the server refuses at Parse or Bind, and discards the Execute."""
    with _connect(watched) as connection:
        connection.execute("SELECT 1")
        connection.execute("BEGIN")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT %s::int", (1,))
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 'logged, and then refused'")
        connection.execute("ROLLBACK")
    assert watched.compared().classes == {"aborted transaction": 1}


def test_class_other_spelling(watched: Watched) -> None:
    """Sent as text, recorded as sent; the server logs the value as its type prints it."""
    with _connect(watched) as connection:
        connection.execute("SELECT 1")
        connection.execute("SELECT %t::float8, %t::uuid", ("1e3", "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}"))
    assert watched.compared().classes == {"other spelling": 1}


def test_class_undecoded(watched: Watched) -> None:
    """A composite in binary: hex with its OID, never dropped."""
    with _connect(watched) as connection:
        connection.execute("SELECT 1")
        pair = b"\0\0\0\2\0\0\0\x17\0\0\0\4\0\0\0\1\0\0\0\x19\0\0\0\1x"
        connection.execute("CREATE TYPE pg_temp.pair AS (a int, b text)")
        result = connection.pgconn.exec_params(b"SELECT $1::pg_temp.pair", [pair], param_formats=[1])
        assert result.get_value(0, 0) == b"(1,x)"
    assert watched.compared().classes == {"undecoded": 1}


def test_class_redacted(watched: Watched, postgres15: Postgres) -> None:
    """The secret is in the server's log (its affair), in the trail there are marks; the rest is equal."""
    postgres15.execute(
        "DROP ROLE IF EXISTS oracle_role; CREATE ROLE oracle_role; ALTER ROLE app_rw CREATEROLE"
    )
    try:
        with _connect(watched) as connection:
            connection.execute("SELECT 1")
            connection.execute("ALTER ROLE oracle_role PASSWORD 'hidden'")
    finally:
        postgres15.execute("ALTER ROLE app_rw NOCREATEROLE; DROP ROLE oracle_role")
    assert watched.compared().classes == {"redacted": 1}


def test_class_re_fetched_portal(watched: Watched) -> None:
    """Going on with a suspended portal is a command of its own, on both sides."""
    import asyncio

    async def fetch() -> None:
        asyncpg = pytest.importorskip("asyncpg")
        dsn = watched.through.dsn("writer")
        connection = await asyncpg.connect(
            host=dsn.host, port=dsn.port, user=dsn.user, password=dsn.password, database=dsn.dbname, ssl=False
        )
        async with connection.transaction():
            cursor = await connection.cursor("SELECT generate_series(1, $1::int)", 30)
            assert [len(await cursor.fetch(10)) for _ in range(4)] == [10, 10, 10, 0]
        await connection.close()

    asyncio.run(fetch())
    assert watched.compared().classes["re-fetched portal"] >= 2


def test_a_multi_statement_query_is_one_command(watched: Watched) -> None:
    """One Query, one log line, one ``requested``; a ``result`` for each statement in it."""
    with _connect(watched) as connection:
        connection.pgconn.exec_(b"SELECT 1; SELECT 2; SELECT 3")
    watched.compared()
    (requested,) = watched.through.events("command.requested")
    results = [e for e in watched.through.events("command.result") if e["op"] == requested["op"]]
    assert [each["event"]["index"] for each in results] == [0, 1, 2]
