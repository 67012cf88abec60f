"""psycopg 3 on asyncio: the same libpq, driven without blocking; concurrent sessions."""

from __future__ import annotations

import asyncio
from typing import Any

from ..asleep import until_asleep
from ..dsn import Dsn
from ..need import python_module
from . import Transcript

__all__ = ["run"]


def run(dsn: Dsn) -> list[tuple[str, Any]]:
    seen = Transcript()
    asyncio.run(asyncio.wait_for(_run(seen, python_module("psycopg"), dsn), timeout=100))
    return seen.lines


async def _run(seen: Transcript, psycopg: Any, dsn: Dsn) -> None:
    async with await psycopg.AsyncConnection.connect(dsn.conninfo, autocommit=True) as connection:
        cursor = await connection.execute("SELECT current_user, %s::int8", (2**40,))
        seen.note("row", await cursor.fetchone())
        async with connection.pipeline():
            cursors = [await connection.execute("SELECT %s::text", (str(n),)) for n in range(100)]
        seen.note("pipelined", [await each.fetchone() for each in cursors])
        async with connection.transaction():
            await connection.execute("CREATE TEMP TABLE a (n int)")
            async with connection.cursor() as cursor, cursor.copy("COPY a FROM STDIN") as copy:
                for n in range(500):
                    await copy.write_row((n,))
            cursor = await connection.execute("SELECT sum(n) FROM a")
            seen.note("copied", await cursor.fetchone())
        sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(120)"))
        await asyncio.to_thread(until_asleep, dsn, connection.info.backend_pid)
        await connection.cancel_safe()
        with seen.expecting_error("cancelled"):
            await sleeping
        seen.note("usable", await (await connection.execute("SELECT 1")).fetchone())
    sums = await asyncio.gather(*(_one(psycopg, dsn, n) for n in range(8)))
    seen.note("eight at once", sums)


async def _one(psycopg: Any, dsn: Dsn, number: int) -> int:
    async with await psycopg.AsyncConnection.connect(dsn.conninfo) as connection:
        total = 0
        for n in range(20):
            cursor = await connection.execute("SELECT %s::int + %s::int", (number, n))
            total += (await cursor.fetchone())[0]
        return total
