"""Events a second, and what a transaction waits longer than without us: by mode, and by sessions at once.

``pgbench -S``, simple protocol, in ``strict``, ``bounded`` and ``best-effort`` and direct in the same rounds. Added is
the median (and the 99th percentile) of the latencies through the gateway less that of the direct ones of the round. A
transaction is three events. pgbench asks again at once, so with many sessions the latency is the queue before the
cores; ``--rate`` asks at a given rate instead, and the latency counts from when a transaction was due. In ``strict``
each waits for the disk: what a small ``fdatasync`` takes there stands below the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.live.clients.pgbench import initialise

from .latency import fdatasync_p50
from .measures import median, quantile, save, spread, table
from .paths import Bench, Path_, bench
from .pgbench import run_pgbench

__all__ = ["latencies", "main"]

MODES = ("strict", "bounded", "best-effort")
SESSIONS = (1, 8, 32)
EVENTS_EACH = 3


def latencies(path: Path_, sessions: int, seconds: int, rate: int = 0) -> tuple[list[int], float]:
    """Microseconds of each transaction, and transactions a second."""
    with tempfile.TemporaryDirectory(prefix="pgbench-") as name:
        said = ["-T", str(seconds), "-l", f"--log-prefix={name}/log", *(["-R", str(rate)] if rate else [])]
        tps, _ = run_pgbench(path, "simple", sessions, *said)
        lines = [line for log in Path(name).glob("log*") for line in log.read_text().splitlines()]
    if not lines:
        raise RuntimeError(f"{path.name}: no transaction of {sessions} sessions in {seconds} s")
    return [int(line.split()[2]) for line in lines], tps


def measure(path: Path_, sessions: int, seconds: int, rate: int) -> dict[str, Any]:
    """One run."""
    found, tps = latencies(path, sessions, seconds, rate)
    return {
        "path": path.name,
        "sessions": sessions,
        "tps": tps,
        "p50": quantile(found, 0.5),
        "p99": quantile(found, 0.99),
    }


def _paths(made: Bench) -> list[Path_]:
    direct = made.path("direct")
    return [direct, *(made.gateway(mode) for mode in MODES)]


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.modes", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each run (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--rate", type=int, default=0, help="transactions a second (default: as many as go)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the gateways")
    options = parser.parse_args(argv)
    found: list[dict[tuple[str, int], dict[str, Any]]] = []
    syncs: list[float] = []
    with bench(python=options.python) as made:
        initialise(made.server.dsn("app_rw"), scale=10)
        paths = _paths(made)
        for path in paths:
            run_pgbench(path, "simple", 8, "-t", "100")
        for number in range(options.rounds):
            turned = paths[number % len(paths) :] + paths[: number % len(paths)]
            syncs.append(fdatasync_p50(made.server.folder, allocated=True))
            found.append(
                {
                    (path.name, sessions): measure(path, sessions, options.seconds, options.rate)
                    for sessions in SESSIONS
                    for path in turned
                }
            )
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    rows = summary(found)
    columns = ("sessions", "path", "tps", "events", "p50_us", "p99_us", "added_p50_us", "added_p99_us")
    print(table(columns, [["-" if row[each] is None else row[each] for each in columns] for row in rows]))
    print(f"the disk's own fdatasync: {median(syncs):,.0f} us ({spread(syncs)}), between the rounds")
    return save(
        "modes",
        {
            "options": vars(options),
            "rows": rows,
            "rounds": [[*each.values()] for each in found],
            "fdatasync_us": syncs,
        },
    )


def summary(found: list[dict[tuple[str, int], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Medians over the rounds; of what is added, of each round's own differences."""
    rows = []
    for sessions in SESSIONS:
        for name in ("direct", *MODES):
            runs = [each[name, sessions] for each in found]
            direct = [each["direct", sessions] for each in found]
            is_ours = name != "direct"
            rows.append(
                {
                    "sessions": sessions,
                    "path": name,
                    "tps": median(run["tps"] for run in runs),
                    "tps_spread": spread([run["tps"] for run in runs]),
                    "events": EVENTS_EACH * median(run["tps"] for run in runs) if is_ours else None,
                    "p50_us": median(run["p50"] for run in runs),
                    "p99_us": median(run["p99"] for run in runs),
                    "added_p50_us": _added(runs, direct, "p50") if is_ours else None,
                    "added_p99_us": _added(runs, direct, "p99") if is_ours else None,
                }
            )
    return rows


def _added(runs: list[dict[str, Any]], direct: list[dict[str, Any]], what: str) -> float:
    return median(run[what] - base[what] for run, base in zip(runs, direct, strict=True))


if __name__ == "__main__":
    print(main())
