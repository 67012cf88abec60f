"""What ``strict`` adds to one client's transaction, counted in the disk's own ``fdatasync``.

Per-transaction latencies come from pgbench's log; the disk's median is measured in the gateway's state folder
in the same rounds, with the same two shapes of write: appended to a growing file, and into allocated space.
Two answers: what it adds to the direct way, the relaying included, and what it adds to ``bounded``, which is
the mode's own part.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.live.clients.pgbench import initialise
from tests.live.clients.programs import postgres_program, run

from .measures import median, save, table
from .paths import Path_, bench

__all__ = ["fdatasync_p50", "main", "transaction_p50"]

MOST_FDATASYNCS = 1.5
RECORD = 1500  # bytes: about what one transaction of pgbench -S leaves in the journal
SYNCS = 200


def fdatasync_p50(folder: Path, *, allocated: bool) -> float:
    """Median microseconds of a small write and its fdatasync in ``folder``."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        descriptor = file.fileno()
        if allocated:
            os.posix_fallocate(descriptor, 0, 4 * SYNCS * RECORD)
            os.fsync(descriptor)
        data = os.urandom(RECORD)
        for _ in range(SYNCS):
            started = time.perf_counter_ns()
            os.write(descriptor, data)
            os.fdatasync(descriptor)
            taken.append((time.perf_counter_ns() - started) / 1000)
    return median(taken)


def transaction_p50(path: Path_, seconds: int, mode: str = "simple") -> float:
    """Median microseconds of a ``pgbench -S`` transaction, one client."""
    with tempfile.TemporaryDirectory(prefix="pgbench-") as name:
        arguments = ["-n", "-S", "-M", mode, "-c", "1", "-T", str(seconds), "-l", f"--log-prefix={name}/log"]
        run(postgres_program("pgbench"), arguments, path.dsn, folder=Path(name)).checked()
        lines = next(Path(name).glob("log*")).read_text().splitlines()
    return median(float(line.split()[2]) for line in lines)


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table and the goal, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.latency", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of each run (default 4)")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--only", default="", help="paths, comma separated")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of gateway and relay")
    options = parser.parse_args(argv)
    names = tuple(each for each in options.only.split(",") if each)
    found: dict[str, list[float]] = {}
    with bench(python=options.python) as made:
        initialise(made.server.dsn("app_rw"))
        paths = made.available(names or ("direct", "pgbouncer", "relay", "bounded", "strict"))
        folder = next((p.gateway.state for p in paths if p.gateway), Path(made.server.folder))
        for _ in range(options.rounds):
            found.setdefault("fdatasync, growing file", []).append(fdatasync_p50(folder, allocated=False))
            found.setdefault("fdatasync, allocated", []).append(fdatasync_p50(folder, allocated=True))
            for path in paths:
                found.setdefault(path.name, []).append(transaction_p50(path, options.seconds))
    middle = {name: median(values) for name, values in found.items()}
    rows: list[dict[str, Any]] = [
        {
            "what": name,
            "p50_us": value,
            "over_direct_us": None if "fdatasync" in name else _over(middle, name),
        }
        for name, value in middle.items()
    ]
    columns = ("what", "p50_us", "over_direct_us")
    print(table(columns, [["-" if row[each] is None else row[each] for each in columns] for row in rows]))
    for base in ("direct", "bounded"):
        if "strict" not in found or base not in found:
            continue
        for disk in ("fdatasync, growing file", "fdatasync, allocated"):
            ratio = median(
                (strict - other) / sync
                for strict, other, sync in zip(found["strict"], found[base], found[disk], strict=True)
            )
            met = "yes" if ratio <= MOST_FDATASYNCS else "NO"
            print(f"strict adds to {base} {ratio:.2f} x {disk} p50, at most {MOST_FDATASYNCS}: {met}")
    return save("latency", {"options": vars(options), "rows": rows, "rounds": found})


def _over(middle: dict[str, float], name: str) -> float | None:
    return middle[name] - middle["direct"] if "direct" in middle else None


if __name__ == "__main__":
    print(main())
