"""asyncpg: its own implementation of the protocol, binary throughout, portals with row limits."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import io
import ssl
import uuid
from typing import Any

from ..dsn import Dsn
from ..need import python_module
from . import Transcript

__all__ = ["run"]

SCHEMA = "battery_asyncpg"


def run(dsn: Dsn) -> list[tuple[str, Any]]:
    seen = Transcript()
    asyncio.run(asyncio.wait_for(_run(seen, python_module("asyncpg"), dsn), timeout=60))
    return seen.lines


def context(dsn: Dsn) -> ssl.SSLContext | bool:
    """The TLS context that ``dsn`` asks for, with the client's certificate; ``False`` for plain."""
    if dsn.sslmode == "disable":
        return False
    made = ssl.create_default_context(cafile=None if dsn.sslrootcert is None else str(dsn.sslrootcert))
    if dsn.sslcert is not None and dsn.sslkey is not None:
        made.load_cert_chain(dsn.sslcert, dsn.sslkey)
    return made


async def _run(seen: Transcript, asyncpg: Any, dsn: Dsn) -> None:
    arguments = {
        **{"host": dsn.host, "port": dsn.port, "user": dsn.user, "password": dsn.password},
        **{"database": dsn.dbname, "ssl": context(dsn), "timeout": 20},
    }
    connection = await asyncpg.connect(**arguments)
    try:
        seen.note("who", tuple(await connection.fetchrow("SELECT current_user, current_database()")))
        await connection.execute(
            f"SET client_min_messages = error; DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;"
            f"CREATE SCHEMA {SCHEMA}; SET search_path = {SCHEMA}; SET client_min_messages = notice"
        )
        await _types(seen, connection)
        await _statements(seen, asyncpg, connection)
        await _copy(seen, connection)
        await _listen(seen, connection)
        with seen.expecting_error("timed out, so cancelled"):
            await connection.execute("SELECT pg_sleep(20)", timeout=0.3)
        seen.note("usable", await connection.fetchval("SELECT 1"))
        await connection.execute(f"SET client_min_messages = error; DROP SCHEMA {SCHEMA} CASCADE")
    finally:
        await connection.close()
    async with asyncpg.create_pool(min_size=2, max_size=4, **arguments) as pool:
        numbers = await asyncio.gather(*(pool.fetchval("SELECT $1::int * 2", n) for n in range(50)))
        seen.note("pool", numbers)


async def _types(seen: Transcript, connection: Any) -> None:
    for kind, value in (
        *(("int2", -1), ("int4", 1 << 30), ("int8", -(1 << 62)), ("float4", 0.5), ("float8", -1e300)),
        *(("numeric", decimal.Decimal("1e-20")), ("bool", False), ("text", "ü🐘"), ("bytea", b"\0\xff")),
        *(("uuid", uuid.UUID(int=7)), ("date", datetime.date(1, 1, 1)), ("json", '{"a": [1]}')),
        ("timestamptz", datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)),
        *(("interval", datetime.timedelta(days=400)), ("int4[]", [1, None]), ("text[]", [])),
        *(("inet", "10.0.0.0/8"), ("point", (1.0, 2.0)), ("int4range", None), ("oid", 4294967295)),
    ):
        with seen.expecting_error(f"encode {kind}"):
            seen.note(kind, repr(await connection.fetchval(f"SELECT $1::{kind}", value)))
    await connection.execute("CREATE TYPE pair AS (a int, b text)")
    seen.note("composite", tuple(await connection.fetchval("SELECT $1::pair", (1, "x"))))


async def _statements(seen: Transcript, asyncpg: Any, connection: Any) -> None:
    statement = await connection.prepare("SELECT n, $2::text FROM generate_series(1, $1::int) n")
    seen.note("parameters", [each.name for each in statement.get_parameters()])
    seen.note("attributes", [each.name for each in statement.get_attributes()])
    for count in (0, 1, 3):
        seen.note("rows", [tuple(row) for row in await statement.fetch(count, "x")])
    async with connection.transaction():  # a portal with a row limit: Execute, PortalSuspended, Execute ...
        cursor = await statement.cursor(100, "y")
        seen.note("suspended", [len(await cursor.fetch(30)) for _ in range(5)])
        seen.note("prefetch", [row[0] async for row in statement.cursor(25, "z", prefetch=10)])
    await connection.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(n, str(n)) for n in range(1000)])
    with seen.expecting_error("executemany is atomic"):
        await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(5000, "a"), (1, "dup")])
    seen.note("count", await connection.fetchval("SELECT count(*) FROM t"))
    with seen.expecting_error("syntax"):
        await connection.fetch("SELEKT $1", 1)
    with seen.expecting_error("division"):
        await connection.fetch("SELECT 1 / $1::int", 0)
    transaction = connection.transaction(isolation="serializable", readonly=True)
    await transaction.start()
    with seen.expecting_error("read only"):
        await connection.execute("DELETE FROM t")
    await transaction.rollback()
    seen.note("script", await connection.execute("SELECT 1; UPDATE t SET v = 'u' WHERE id < 10"))


async def _copy(seen: Transcript, connection: Any) -> None:
    rows = [(10_000 + n, f"copied {n}") for n in range(500)]
    seen.note("records", await connection.copy_records_to_table("t", schema_name=SCHEMA, records=rows))
    out = io.BytesIO()
    seen.note(
        "out", await connection.copy_from_query("SELECT * FROM t ORDER BY id", output=out, format="csv")
    )
    seen.note("csv", out.getvalue())
    with seen.expecting_error("bad copy"):
        await connection.copy_to_table("t", schema_name=SCHEMA, source=io.BytesIO(b"x,y\n"), format="csv")


async def _listen(seen: Transcript, connection: Any) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    await connection.add_listener(
        "battery_a", lambda _c, _pid, channel, payload: heard.put_nowait((channel, payload))
    )
    await connection.execute("NOTIFY battery_a, 'one'; NOTIFY battery_a, 'two'")
    seen.note("heard", [await asyncio.wait_for(heard.get(), 5) for _ in range(2)])
    await connection.reset()
