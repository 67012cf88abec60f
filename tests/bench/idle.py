"""Memory of an idle session: resident bytes of the data-path process at N sessions, less at none, over N.

The gateway is measured with plain legs, with TLS to the client, and with TLS on both legs, in a process each.

A few sessions are opened and closed again first, so that what the process keeps for good (imports, tables)
is not charged to a session. A session is idle when nothing has passed for two rounds (``gateway.limits``):
then it has let go of what it can make again.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from hoopproxy.gateway.limits import ROUND_SECONDS
from tests.live.dsn import Dsn
from tests.live.need import python_module
from tests.live.processes import resident

from .measures import save, table
from .paths import Path_, bench

__all__ = ["main", "measure"]

MOST_KIB = {"plain": 12, "tls": 70, "both": 70}
AT_ONCE = 8  # log-ins at the same time


def open_sessions(dsn: Dsn, count: int, *, work: bool = True) -> ExitStack:
    """``count`` logged-in sessions, each of which ran one statement; closed with the stack."""
    psycopg = python_module("psycopg")

    def one(_: int) -> Any:
        connection = psycopg.connect(dsn.conninfo, autocommit=True)
        if work:
            connection.execute("SELECT 1")
        return connection

    stack = ExitStack()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for each in pool.map(one, range(count)):
            stack.enter_context(closing(each))
    return stack


def settled(read: Callable[[], int], *, seconds: float = 3) -> int:
    """The lowest value seen while it settles."""
    lowest, end = read(), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.25)
        lowest = min(lowest, read())
    return lowest


def measure(path: Path_, dsn: Dsn, count: int, leg: str = "plain") -> dict[str, Any]:
    """Open ``count`` idle sessions and compare."""
    pid = path.pid
    assert pid is not None
    open_sessions(dsn, max(5, count // 100)).close()
    before = settled(lambda: resident(pid))
    started = time.monotonic()
    with open_sessions(dsn, count):
        opened = time.monotonic() - started
        during = settled(lambda: resident(pid), seconds=2 * ROUND_SECONDS + 3)
    return {
        "path": path.name,
        "leg": leg,
        "sessions": count,
        "kib_each": (during - before) / count / 1024,
        "before_mib": before / 2**20,
        "during_mib": during / 2**20,
        "after_mib": settled(lambda: resident(pid)) / 2**20,
        "open_seconds": opened,
    }


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table and the goals, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.idle", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000, help="default 1000")
    parser.add_argument("--only", default="", help="paths, comma separated (pgbouncer,relay,bounded,strict)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of gateway and relay")
    options = parser.parse_args(argv)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # ours and, inherited, the proxies'
    names = tuple(each for each in options.only.split(",") if each) or ("pgbouncer", "relay", "bounded")
    rows = []
    with bench(python=options.python, ssl="on") as made:
        for path in made.available(names):
            rows.append(measure(path, path.dsn, options.sessions))
            if path.gateway is not None:
                path.gateway.end()
                for leg in ("tls", "both"):  # a process of its own: memory that was freed is used again
                    fresh = made.gateway(path.name, upstream_tls=leg == "both")
                    assert fresh.gateway is not None
                    secure = fresh.gateway.dsn(fresh.dsn.user, tls=True, password=fresh.dsn.password)
                    rows.append(measure(fresh, secure, options.sessions, leg))
                    fresh.gateway.end()
    columns = ("path", "leg", "sessions", "kib_each", "before_mib", "during_mib", "after_mib", "open_seconds")
    print(table(columns, [[row[each] for each in columns] for row in rows]))
    for row in rows:
        if row["path"] in ("bounded", "strict"):
            most = MOST_KIB[row["leg"]]
            met = "yes" if row["kib_each"] <= most else "NO"
            print(f"{row['path']} {row['leg']}: {row['kib_each']:.1f} KiB a session, at most {most}: {met}")
    return save("idle", {"options": vars(options), "rows": rows, "pid": os.getpid()})


if __name__ == "__main__":
    print(main())
