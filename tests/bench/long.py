"""Long statements: milliseconds a MiB to read each shape of them, and what another's log-in waits meanwhile.

The first table is what the process beside the data path does (``protocols/postgres/long_texts.py``), in CPU time.
The second is of a gateway in ``strict``: so many sessions of one identity send a statement each, all at once, while
somebody else logs in and selects, over and over; beside it the same with nobody there.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

from hoopproxy.protocols.postgres.long_texts import read_text, read_values, text_options, values_options
from hoopproxy.protocols.postgres.reading import Reader
from hoopproxy.wire.aside import performed
from hoopproxy.wire.commands import Compute
from tests.live.need import python_module
from tests.live.raw import query_message, receive_all, taken_over

from .measures import quantile, save, table
from .paths import Path_, bench

__all__ = ["SHAPES", "log_ins", "main", "milliseconds", "of_size"]

MIB = 1 << 20

#: How a text begins, what is in it over and over, how it ends.
SHAPES = {
    "a literal": (b"SELECT '", b"x", b"'"),
    "a literal, and a password": (b"ALTER ROLE a PASSWORD 'p'; SELECT '", b"x", b"'"),
    "a dollar-quoted body": (b"DO $$", b" perform 1; select 'a'; ", b"$$"),
    "numbers": (b"SELECT 1", b",1", b""),
    "names": (b"SELECT a", b", abc", b""),
    "an INSERT of rows": (b"INSERT INTO t VALUES (1,'a')", b",(123,'some text, it''s')", b""),
    "statements": (b"", b"SELECT 1;", b""),
    "comments": (b"SELECT 1 ", b"/*x*/ ", b""),
    "lines of comment": (b"SELECT 1", b"\n--x", b""),
    "quoted names": (b"SELECT 1", b',"a"', b""),
    "many literals": (b"SELECT ''", b",'a'", b""),
    "URLs": (b"SELECT ''", b",'http://a/b'", b""),
    "connection strings": (b"SELECT ''", b",'host=h password=p'", b""),
    "escapes": (b"SELECT e'", b"\\n", b"'"),
    "keys in keys": (b"SELECT '", b"passw=", b"'"),
}


def of_size(shape: str, size: int) -> bytes:
    """A text of about that many bytes."""
    before, unit, after = SHAPES[shape]
    return before + unit * ((size - len(before) - len(after)) // len(unit)) + after


def milliseconds(question: Compute) -> float:
    """CPU milliseconds of an answer, packed and unpacked."""
    began = time.process_time()
    performed(question)
    return 1000 * (time.process_time() - began)


def reading(sizes: list[float], rounds: int) -> list[dict[str, Any]]:
    """The first table."""
    text, values = text_options(Reader(), False), values_options(frozenset(), (), "utf-8")
    rows = []
    for shape in [*SHAPES, "a parameter"]:
        row: dict[str, Any] = {"ms a MiB": shape}
        for mib in sizes:
            size = int(mib * MIB)
            if shape in SHAPES:
                question = Compute(read_text, of_size(shape, size), text)
            else:
                bind = bytes(5) + b"\1" + size.to_bytes(4, "big") + b"x" * size + bytes(2)
                question = Compute(read_values, bind, values)
            row[f"{mib:g} MiB"] = min(milliseconds(question) for _ in range(rounds)) / mib
        rows.append(row)
    return rows


def log_ins(path: Path_, message: bytes, sessions: int, seconds: float) -> list[float]:
    """The seconds of each log-in and SELECT while ``sessions`` of somebody else send that; if none, for ``seconds``."""
    psycopg, gateway = python_module("psycopg"), path.gateway
    assert gateway is not None
    taken: list[float] = []

    def send() -> None:
        with taken_over(gateway.dsn("writer")) as raw:
            raw.sendall(message)
            receive_all(raw)

    threads = [Thread(target=send) for _ in range(sessions)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    while any(thread.is_alive() for thread in threads) or (not threads and time.monotonic() < until):
        began = time.monotonic()
        with psycopg.connect(path.dsn.conninfo) as other:
            other.execute("SELECT 1")
        taken.append(time.monotonic() - began)
    return taken


def waiting(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The second table."""
    rows = []
    size = int(options.megabytes * MIB)
    message = query_message(of_size("a literal", size).decode())
    with bench(python=options.python) as made:
        for path in made.available(("strict",)):
            for sessions in (0, 1, options.sessions):
                taken = log_ins(path, message, sessions, 5)
                rows.append(
                    {
                        "sessions": sessions,
                        "log-ins": len(taken),
                        "p50 ms": 1000 * quantile(taken, 0.5),
                        "p99 ms": 1000 * quantile(taken, 0.99),
                        "longest ms": 1000 * max(taken),
                    }
                )
    return rows


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the tables, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.long", description=__doc__)
    parser.add_argument(
        "--sizes", type=float, nargs="+", default=[1 / 16, 1, 16, 63], help="MiB; the first table"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="of the first table (default 3); the least counts"
    )
    parser.add_argument("--sessions", type=int, default=8, help="that send at once (default 8)")
    parser.add_argument("--megabytes", type=float, default=63, help="MiB of a statement (default 63)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the gateway")
    options = parser.parse_args(argv)
    found = {"reading": reading(options.sizes, options.rounds), "waiting": waiting(options)}
    for rows in found.values():
        if rows:
            columns = list(rows[0])
            print(table(columns, [[row[each] for each in columns] for row in rows]))
    return save("long", {"options": vars(options), **found})


if __name__ == "__main__":
    print(main())
