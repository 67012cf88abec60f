"""psycopg 3 (libpq): text and binary parameters, pipelines, COPY, cursors, cancel, two-phase commit."""

from __future__ import annotations

import datetime
import decimal
import threading
import time
import uuid
from typing import Any

from ..dsn import Dsn
from ..need import python_module
from . import Transcript

__all__ = ["VALUES", "run"]

SCHEMA = "battery_psycopg"

#: One value of each type that people bind, and the edges of them.
VALUES: tuple[tuple[str, Any], ...] = (
    ("bool", True),
    ("int2", -32768),
    ("int4", 2147483647),
    ("int8", -9223372036854775808),
    ("float8", 0.1),
    ("float8", float("inf")),
    ("numeric", decimal.Decimal("-12345678901234567890.000000001")),
    ("numeric", decimal.Decimal("NaN")),
    ("text", "Grüße, 世界 🐘 'quoted' \\ back"),
    ("text", ""),
    ("text", None),
    ("varchar", "x" * 3000),
    ("bytea", bytes(range(256))),
    ("uuid", uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF)),
    ("date", datetime.date(1999, 12, 31)),
    ("time", datetime.time(23, 59, 59, 999999)),
    ("timestamp", datetime.datetime(2024, 2, 29, 12, 0, 0, 1)),
    ("timestamptz", datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)),
    ("interval", datetime.timedelta(days=-1, seconds=3, microseconds=5)),
    ("int4[]", [1, None, 3]),
    ("text[]", ["a", "b,c", 'd"e', None]),
    ("int4[]", [[1, 2], [3, 4]]),
)


def run(dsn: Dsn) -> list[tuple[str, Any]]:
    psycopg = python_module("psycopg")
    seen = Transcript()
    with psycopg.connect(dsn.conninfo, autocommit=True) as connection:
        notices: list[str] = []
        connection.add_notice_handler(lambda each: notices.append(f"{each.severity}: {each.message_primary}"))
        info = connection.info
        names = (
            "server_version",
            "client_encoding",
            "integer_datetimes",
            "session_authorization",
            "TimeZone",
        )
        seen.note("parameters", [info.parameter_status(name) for name in names])
        seen.note("who", connection.execute("SELECT current_user, current_database()").fetchone())
        seen.note("pid is the server's", _pid_matches(connection))
        connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
        connection.execute(f"SET search_path = {SCHEMA}")
        notices.clear()
        _parameters(seen, connection)
        _prepared(seen, connection)
        _transactions(seen, psycopg, connection)
        _pipeline(seen, connection)
        _copy(seen, connection)
        _cursors(seen, connection)
        _low_level(seen, psycopg, connection)
        _notify(seen, connection)
        _cancel(seen, connection)
        connection.execute("DO $$ BEGIN RAISE NOTICE 'seen: %', 1; END $$")
        seen.note("notices", notices)
        connection.execute(f"SET client_min_messages = error; DROP SCHEMA {SCHEMA} CASCADE")
    return seen.lines


def _pid_matches(connection: Any) -> bool:
    (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    return bool(pid == connection.info.backend_pid)


def _parameters(seen: Transcript, connection: Any) -> None:
    for kind, value in VALUES:
        for marker, binary in (("%t", False), ("%b", True), ("%s", True)):
            sql = f"SELECT {marker}::{kind}, {marker}::{kind} IS NULL"
            with seen.expecting_error(f"{kind} {marker} binary results: {binary}"):
                row = connection.execute(sql, (value, value), binary=binary).fetchone()
                seen.note(f"{kind} {marker} {binary}", repr(row))
    with seen.expecting_error("NUL in text"):
        connection.execute("SELECT %s::text", ("a\0b",))
    with seen.expecting_error("bad cast"):
        connection.execute("SELECT %s::int", ("not a number",))
    seen.note("2 MB parameter", connection.execute("SELECT length(%s::text)", ("y" * 2_000_000,)).fetchone())
    many = connection.execute("SELECT " + " + ".join(["%s::int"] * 500), list(range(500))).fetchone()
    seen.note("500 parameters", many)


def _prepared(seen: Transcript, connection: Any) -> None:
    for number in range(4):
        row = connection.execute("SELECT %s::int * 2", (number,), prepare=True).fetchone()
        seen.note("prepared", row)
    connection.execute("CREATE TABLE p (a int)")
    connection.execute("SELECT * FROM p", prepare=True)
    connection.execute("ALTER TABLE p ADD b int")
    with seen.expecting_error("cached plan must not change result type"):
        connection.execute("SELECT * FROM p", prepare=True)


def _transactions(seen: Transcript, psycopg: Any, connection: Any) -> None:
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    with seen.expecting_error("rolled back"), connection.transaction():
        connection.execute("INSERT INTO t VALUES (1, 'one')")
        with seen.expecting_error("inner"), connection.transaction():
            connection.execute("INSERT INTO t VALUES (1, 'again')")
        connection.execute("INSERT INTO t VALUES (2, 'two')")
        raise RuntimeError("on purpose")
    seen.note("no rows", connection.execute("SELECT count(*) FROM t").fetchone())
    connection.cursor().executemany("INSERT INTO t VALUES (%s, %s)", [(n, f"v{n}") for n in range(50)])
    returning = connection.cursor()
    returning.executemany(
        "INSERT INTO t VALUES (%s, 'r') RETURNING id", [(n,) for n in (60, 61)], returning=True
    )
    seen.note("returning", [each.fetchall() for each in returning.results()])
    try:
        connection.execute("INSERT INTO t VALUES (1, 'dup')")
    except psycopg.errors.UniqueViolation as error:
        seen.note("diag", (error.diag.constraint_name, error.diag.table_name, error.diag.message_detail))
    connection.autocommit = False
    connection.tpc_begin("battery-xid")
    connection.execute("INSERT INTO t VALUES (70, 'two-phase')")
    connection.tpc_prepare()
    connection.tpc_rollback()
    seen.note("none in doubt", connection.tpc_recover())
    connection.autocommit = True


def _pipeline(seen: Transcript, connection: Any) -> None:
    with connection.pipeline() as pipeline:
        cursors = [connection.execute("SELECT %s::int", (n,)) for n in range(300)]
        pipeline.sync()
        seen.note("pipelined", [each.fetchone() for each in cursors])
    # Which call raises depends on how fast the answers come; that one does, doesn't.
    with seen.expecting_error("pipeline with an error"), connection.pipeline() as pipeline:
        for sql in ("SELECT 1", "SELECT 1/0", "SELECT 3"):
            connection.execute(sql)
        pipeline.sync()
        connection.execute("SELECT 4")
    seen.note("usable", connection.execute("SELECT 5").fetchone())
    # Everything before one Sync is one transaction: an error must undo what came before it.
    with seen.expecting_error("implicit transaction"), connection.pipeline():
        connection.execute("INSERT INTO t VALUES (80, 'gone')")
        connection.execute("SELECT 1/0")
    seen.note("undone", connection.execute("SELECT count(*) FROM t WHERE id = 80").fetchone())


def _copy(seen: Transcript, connection: Any) -> None:
    connection.execute("CREATE TABLE c (n int8, t text, b bytea)")
    with connection.cursor() as cursor:
        with cursor.copy("COPY c FROM STDIN") as copy:
            for n in range(1000):
                copy.write_row((n, f"row {n}\twith\ttabs", bytes([n % 256]) * 10))
        seen.note("copied in", cursor.rowcount)
        with cursor.copy("COPY c FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(("int8", "text", "bytea"))
            for n in range(1000):
                copy.write_row((n, None, b"\0" * n))
        for form in ("text", "binary", "csv"):
            with cursor.copy(f"COPY (SELECT * FROM c ORDER BY n, t) TO STDOUT (FORMAT {form})") as copy:
                data = b"".join(bytes(each) for each in copy)
            seen.note(f"copied out {form}", (len(data), hash_of(data)))
        with seen.expecting_error("copy given up"), cursor.copy("COPY c FROM STDIN") as copy:
            copy.write("1\tx\t\\\\x00\n")
            raise RuntimeError("on purpose")
        with seen.expecting_error("copy refused by the server"), cursor.copy("COPY c FROM STDIN") as copy:
            for _ in range(2000):
                copy.write("not a number\tx\ty\n")
        with seen.expecting_error("copy out given up"), cursor.copy("COPY c TO STDOUT") as copy:
            next(iter(copy))
            raise RuntimeError("on purpose")
    seen.note("rows", connection.execute("SELECT count(*) FROM c").fetchone())


def hash_of(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _cursors(seen: Transcript, connection: Any) -> None:
    with connection.transaction(), connection.cursor(name="walk", scrollable=True) as cursor:
        cursor.execute("SELECT n, repeat('z', n) FROM generate_series(1, 500) n")
        cursor.itersize = 64
        seen.note("server cursor", (len(cursor.fetchmany(100)), cursor.fetchone()))
        cursor.scroll(-50)
        seen.note("scrolled", cursor.fetchone())
    cursor = connection.cursor()
    seen.note("row by row", sum(row[0] for row in cursor.stream("SELECT n FROM generate_series(1, 2000) n")))
    seen.note(
        "chunks", sum(row[0] for row in cursor.stream("SELECT n FROM generate_series(1, 2000) n", size=100))
    )


def _low_level(seen: Transcript, psycopg: Any, connection: Any) -> None:
    pg = connection.pgconn
    for sql in (b"", b"-- only a comment", b";;", b"SELECT 1; SELECT 2; SELECT 3"):
        result = pg.exec_(sql)
        seen.note(f"exec {sql!r}", (psycopg.pq.ExecStatus(result.status).name, result.ntuples))
    pg.prepare(b"named", b"SELECT $1::int, $2::text", None)
    described = pg.describe_prepared(b"named")
    seen.note("describe", (described.nparams, [described.param_type(n) for n in range(2)], described.nfields))
    for values, formats in (([b"7", b"x"], None), ([b"\0\0\0\7", b"x"], [1, 0]), ([None, None], None)):
        result = pg.exec_prepared(b"named", values, formats, 1)
        seen.note("exec prepared", [result.get_value(0, n) for n in range(2)])
    result = pg.exec_prepared(b"absent", [], None, 0)
    seen.note("absent statement", result.error_field(psycopg.pq.DiagnosticField.SQLSTATE))
    if psycopg.pq.version() >= 170000:
        pg.close_prepared(b"named")
    with connection.transaction():
        pg.exec_(b"DECLARE portal CURSOR FOR SELECT 1 AS one")
        seen.note("describe portal", pg.describe_portal(b"portal").fname(0))


def _notify(seen: Transcript, connection: Any) -> None:
    connection.execute("LISTEN battery")
    connection.execute("SELECT pg_notify('battery', 'payload ' || n) FROM generate_series(1, 3) n")
    heard = list(connection.notifies(timeout=60, stop_after=3))
    seen.note("notified", [(each.channel, each.payload) for each in heard])
    seen.note("notified by own pid", {each.pid for each in heard} == {connection.info.backend_pid})


def _cancel(seen: Transcript, connection: Any) -> None:
    for name in ("cancel", "cancel_safe"):
        # Once the server says that it is at it: a cancel that comes before the statement strikes nothing.
        canceller = threading.Thread(target=getattr(connection, name))
        connection.add_notice_handler(begin := lambda _, thread=canceller: thread.start())
        started = time.monotonic()
        with seen.expecting_error(f"{name} of pg_sleep"):
            connection.execute("DO $$ BEGIN RAISE NOTICE 'asleep'; PERFORM pg_sleep(50); END $$")
        connection.remove_notice_handler(begin)
        canceller.join()
        seen.note("in time", time.monotonic() - started < 45)
        seen.note("usable after cancel", connection.execute("SELECT 'yes'").fetchone())
