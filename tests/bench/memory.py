"""Resident memory under load, over time: the process that carries the data, and the one that reads the trail.

Everything on (ledger, index, a file sink with OCSF), ``strict``; eight sessions of ``pgbench -S`` that stay, and one
client that logs in for each transaction. Sampled each second; the slope is that of the straight line through the
samples of the second half. The load has a rate; a backlog of the trail is on the disk, not in memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.live.clients.pgbench import initialise
from tests.live.clients.programs import postgres_program
from tests.live.processes import processes_of, resident

from .measures import line, save, table
from .paths import Path_, bench
from .whole import everything_on

__all__ = ["main", "sampled"]

MIB = 1 << 20


def load(path: Path_, seconds: int, rate: int, *more: str) -> subprocess.Popen[bytes]:
    """``pgbench`` beside this process."""
    arguments = ["-n", "-S", "-j", "1", "-T", str(seconds), "-R", str(rate), *more]
    return subprocess.Popen(
        [postgres_program("pgbench"), *arguments],
        env=path.dsn.environment | {"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def sampled(
    path: Path_, seconds: int, loads: list[subprocess.Popen[bytes]]
) -> dict[str, list[tuple[float, float]]]:
    """Seconds and MiB of each process, while the loads last."""
    assert path.pid is not None
    others = [pid for pid in processes_of(path.pid) if pid != path.pid]
    assert len(others) == 1, "one process reads the trail"
    found: dict[str, list[tuple[float, float]]] = {"data path": [], "trail": []}
    began = time.monotonic()
    while any(each.poll() is None for each in loads) and time.monotonic() - began < seconds + 30:
        time.sleep(1)
        at = time.monotonic() - began
        found["data path"].append((at, resident(path.pid) / MIB))
        found["trail"].append((at, resident(others[0]) / MIB))
    return found


def log_ins(path: Path_) -> int:
    """How many there were, by the gateway's own metrics."""
    assert path.gateway is not None
    lines = path.gateway.ops("/metrics")[1].splitlines()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith("hoopproxy_logins_total{") and 'outcome="success"' in line
    )


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--seconds", type=int, default=180, help="default 180")
    parser.add_argument("--rate", type=int, default=1000, help="transactions a second (default 1000)")
    parser.add_argument("--log-ins", type=int, default=10, help="a second (default 10)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the gateway")
    options = parser.parse_args(argv)
    with bench(python=options.python) as made:
        initialise(made.server.dsn("app_rw"), scale=10)
        path = made.gateway("strict", name="everything", more=everything_on)
        loads = [
            load(path, options.seconds, options.rate, "-c", "8"),
            load(path, options.seconds, options.log_ins, "-c", "1", "-C"),
        ]
        try:
            found = sampled(path, options.seconds, loads)
        finally:
            for each in loads:
                each.kill()
                each.wait()
        sessions = log_ins(path)
    rows: list[list[Any]] = []
    for name, points in found.items():
        half = points[len(points) // 2 :]
        rise = line(half)[0]
        sizes = [size for _, size in points]
        rows.append([name, sizes[0], half[0][1], sizes[-1], max(sizes), rise * 60])
    print(table(("process", "MiB at first", "at half", "at last", "at most", "MiB a minute, 2nd half"), rows))
    print(f"{sessions:,} sessions were logged in")
    return save("memory", {"options": vars(options), "rows": rows, "samples": found, "sessions": sessions})


if __name__ == "__main__":
    print(main())
