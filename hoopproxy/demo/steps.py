"""What the demonstration does, with the unmodified psql: each step is a session of its own on record."""

from __future__ import annotations

import os
import subprocess
from typing import Final

import attrs

from hoopproxy.demo.people import psql_program
from hoopproxy.demo.running import DemoFailed, DemoGateway
from hoopproxy.demo.server import NoServer, programs

__all__ = ["STEPS", "Outcome", "Step", "take"]

SECONDS: Final = 60


@attrs.frozen(kw_only=True)
class Step:
    """One psql. ``expected`` is its exit status; ``says`` must be in its output, or the demonstration failed."""

    title: str
    user: str
    database: str = "app"
    script: str
    expected: int = 0
    says: str


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a step. ``output`` is psql's, errors included, in order."""

    step: Step
    exit: int
    output: str


STEPS: Final = (
    Step(
        title="alice reads, writes with parameters, copies, and tries what her role denies",
        user="alice",
        script="""\
SELECT id, customer, total FROM orders ORDER BY id;
INSERT INTO orders (customer, total) VALUES ($1, $2) RETURNING id \\bind 'Barbara' 42.50 \\g
COPY orders TO STDOUT (FORMAT csv);
DROP TABLE orders;
SELECT count(*) AS still_there FROM orders;
""",
        says="the role staff denies DROP",
    ),
    Step(
        title="bob, a contractor, may read and not write",
        user="bob",
        script="""\
SELECT customer FROM orders WHERE total > 100;
DELETE FROM orders;
""",
        says="the role contractor denies DELETE",
    ),
    Step(
        title="nobody gets the database payroll",
        user="bob",
        database="payroll",
        script="SELECT 1;\n",
        expected=2,
        says="payroll",
    ),
)


def take(step: Step, gateway: DemoGateway) -> Outcome:
    """Run one step. :raises DemoFailed: psql can't be run, or it went otherwise than a working gateway makes it."""
    try:
        done = subprocess.run(  # noqa: S603  # psql, no shell
            [_psql(), "-X", "-a", "-P", "pager=off", "-d", gateway.conninfo(step.user, step.database)],
            input=step.script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(gateway),
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        why = getattr(problem, "strerror", None) or f"no end after {SECONDS} s"
        raise DemoFailed(f"psql can't be run: {why}") from None
    if done.returncode != step.expected or step.says not in done.stdout:
        raise DemoFailed(
            f"unexpected: psql of {step.user} ended with {done.returncode} and said:\n{done.stdout}"
        )
    return Outcome(step=step, exit=done.returncode, output=done.stdout)


def _psql() -> str:
    try:
        return str(programs() / "psql")  # new enough for \bind, whatever the system has
    except NoServer:
        return psql_program()


def _environment(gateway: DemoGateway) -> dict[str, str]:
    """Ours without what would change psql's ways; the password is in a file that only we can read."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {
        **kept,
        "PGPASSFILE": str(gateway.pgpass),
        "PGCLIENTENCODING": "UTF8",
        "PGCONNECT_TIMEOUT": "20",
        "LC_ALL": "C.UTF-8",
    }
