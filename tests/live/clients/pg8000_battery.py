"""pg8000: a pure-Python implementation of the protocol, text format, no libpq."""

from __future__ import annotations

import datetime
import decimal
import io
from typing import Any

from ..dsn import Dsn
from ..need import python_module
from . import Transcript
from .asyncpg_battery import context

__all__ = ["run"]


def run(dsn: Dsn) -> list[tuple[str, Any]]:
    native, dbapi = python_module("pg8000.native"), python_module("pg8000.dbapi")
    arguments: dict[str, Any] = {
        "host": dsn.host,
        "port": dsn.port,
        "user": dsn.user,
        "password": dsn.password,
    }
    arguments |= {"database": dsn.dbname, "ssl_context": context(dsn), "timeout": 30}
    seen = Transcript()
    connection = native.Connection(**arguments)
    try:
        _native(seen, connection)
    finally:
        connection.close()
    connection = dbapi.connect(**arguments)
    try:
        _dbapi(seen, connection)
    finally:
        connection.close()
    return seen.lines


def _native(seen: Transcript, connection: Any) -> None:
    seen.note("who", connection.run("SELECT current_user, current_database()"))
    for kind, value in (
        *(
            ("int4", 5),
            ("int8", 2**60),
            ("float8", 1.5),
            ("numeric", decimal.Decimal("1.10")),
            ("bool", True),
        ),
        *(
            ("text", "ünï"),
            ("bytea", b"\x00\x01"),
            ("date", datetime.date(2020, 2, 2)),
            ("int4[]", [1, 2, None]),
        ),
        *(("json", {"a": 1}), ("text", None)),
    ):
        with seen.expecting_error(f"bind {kind}"):
            seen.note(kind, repr(connection.run(f"SELECT cast(:v AS {kind})", v=value)))
    statement = connection.prepare("SELECT cast(:a AS int) + 1")
    seen.note("prepared", [statement.run(a=n) for n in range(3)])
    statement.close()
    connection.run("CREATE TEMP TABLE t (id int, v text)")
    connection.run("COPY t FROM STDIN WITH (FORMAT csv)", stream=io.StringIO("1,one\n2,two\n"))
    out = io.BytesIO()
    connection.run("COPY t TO STDOUT WITH (FORMAT csv)", stream=out)
    seen.note("copied", out.getvalue())
    with seen.expecting_error("division"):
        connection.run("SELECT 1/0")
    connection.run("LISTEN battery8")
    connection.run("NOTIFY battery8, 'eight'")
    connection.run("SELECT 1")
    seen.note("heard", [(channel, payload) for _pid, channel, payload in connection.notifications])
    seen.note("multi", connection.run("SELECT 1; SELECT 2"))


def _dbapi(seen: Transcript, connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TEMP TABLE d (id int PRIMARY KEY, v text)")
    cursor.executemany("INSERT INTO d VALUES (%s, %s)", [(n, f"v{n}") for n in range(50)])
    connection.commit()
    cursor.execute("INSERT INTO d VALUES (100, 'x')")
    connection.rollback()
    cursor.execute("SELECT count(*), max(v) FROM d WHERE id > %s", (10,))
    seen.note("counted", (cursor.fetchall(), [each[0] for each in cursor.description]))
    with seen.expecting_error("duplicate"):
        cursor.execute("INSERT INTO d VALUES (1, 'dup')")
    with seen.expecting_error("aborted transaction"):
        cursor.execute("SELECT 1")
    connection.rollback()
    connection.tpc_begin(connection.xid(1, "battery8", "branch"))
    cursor.execute("SELECT 1")
    connection.tpc_rollback()
    cursor.execute("SELECT 'usable'")
    seen.note("usable", cursor.fetchall())
