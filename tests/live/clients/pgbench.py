"""pgbench: simple, extended, prepared, pipelined; the numbers that have to come out."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from ..dsn import Dsn
from . import Transcript
from .programs import postgres_program
from .programs import run as run_program

__all__ = ["initialise", "run"]

PIPELINE = r"""
\set id random(1, 1000)
\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :id;
SELECT 1;
\endpipeline
"""

_COUNTED = re.compile(
    r"^number of (?:transactions actually processed|failed transactions): .*$|^pgbench: error.*$", re.M
)


def initialise(dsn: Dsn, *, scale: int = 1) -> None:
    """Make pgbench's tables (100,000 accounts a unit of scale)."""
    run_program(postgres_program("pgbench"), ["-i", "-q", "-s", str(scale)], dsn).checked()


def run(dsn: Dsn) -> list[tuple[str, Any]]:
    seen = Transcript()
    pgbench = postgres_program("pgbench")
    initialise(dsn)
    with tempfile.TemporaryDirectory(prefix="pgbench-") as name:
        script = Path(name) / "pipeline.sql"
        script.write_text(PIPELINE)
        fixed = ["-n", "-j", "1", "-c", "4", "-t", "50", "--random-seed=1"]
        for mode in ("simple", "extended", "prepared"):
            for what in (["-S"], ["-N"], ["-b", "tpcb-like"]):
                _note(
                    seen, f"{mode} {' '.join(what)}", run_program(pgbench, [*fixed, "-M", mode, *what], dsn)
                )
        for mode in ("extended", "prepared"):
            arguments = [*fixed, "-M", mode, "-f", str(script)]
            _note(seen, f"{mode} pipelined", run_program(pgbench, arguments, dsn))
        # A connection a transaction: the log-in path, 60 times.
        _note(seen, "reconnecting", run_program(pgbench, ["-n", "-C", "-S", "-c", "3", "-t", "20"], dsn))
    psql = postgres_program("psql")
    sums = "SELECT sum(bbalance), (SELECT sum(tbalance) FROM pgbench_tellers) FROM pgbench_branches"
    seen.note("sums", run_program(psql, ["-X", "-At", "-c", sums], dsn).text)
    run_program(pgbench, ["-i", "-I", "d"], dsn).checked()
    return seen.lines


def _note(seen: Transcript, step: str, done: Any) -> None:
    seen.note(step, (done.status, _COUNTED.findall(done.text) + _COUNTED.findall(done.err)))
