"""How fast ``hoopproxy audit verify`` is: events a second of statements, MB a second of recordings.

The whole command as an auditor runs it, start of the interpreter included, on a journal that the process that reads the
trail has sealed. The events are those of ``pgbench -S`` through a gateway, with their chunks; the recordings are chunks
of 64 KiB, half of each noise. Seconds of the clock, and of CPU: the machine may have other work.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hoopproxy.journal.folder import Folder, journals
from tests.live.gateway import clean_environment
from tests.live.need import REPOSITORY

from .consumers import EVENTS_EACH, SESSIONS, Reader, config_of
from .ledger import bulk
from .measures import median, save, table
from .trail import record

__all__ = ["main", "sealed", "verified"]

LEAST = {"events": 20_000.0, "recordings": 100.0}
"""Events a second; MB a second."""


def sealed(state: Path, folder: Folder, python: str) -> None:
    """Have the process that reads seal all of it; it signs the last checkpoint when it is told to end."""
    reader = Reader(config_of(state, ledger=True), python)
    try:
        reader.caught_up(folder)
    finally:
        reader.stop()


def verified(state: Path, python: str) -> dict[str, float]:
    """Run the command: seconds of the clock and of CPU, and the records that it checked."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [python, "-m", "hoopproxy.cli", "audit", "verify", "--state", str(state), "--json"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=clean_environment(),
        timeout=240,
        check=False,
    )
    clock, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    said = json.loads(done.stdout.splitlines()[0])
    assert done.returncode == 0, said
    assert said["fine"], said
    assert said["unsealed"] == 0, "not all of it was sealed"
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"clock": clock, "cpu": cpu, "records": said["checked"]}


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table and the goals, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.verify", description=__doc__)
    parser.add_argument("--transactions", type=int, default=50_000, help="three events each (default 50,000)")
    parser.add_argument("--megabytes", type=int, default=600, help="of recordings (default 600)")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the command")
    options = parser.parse_args(argv)
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        record(Path(name), options.transactions, SESSIONS, ("simple",))
        events, recordings = Path(name) / "simple", Path(name) / "recordings"
        (folder,) = journals(events)
        sealed(events, folder, options.python)
        sealed(recordings, bulk(recordings, options.megabytes), options.python)
        for _ in range(options.rounds):
            found.setdefault("events", []).append(verified(events, options.python))
            found.setdefault("recordings", []).append(verified(recordings, options.python))
    amounts = {"events": options.transactions * EVENTS_EACH, "recordings": (options.megabytes << 20) / 1e6}
    rows: list[dict[str, Any]] = []
    for what, runs in found.items():
        clock, cpu = (median(run[of] for run in runs) for of in ("clock", "cpu"))
        rows.append(
            {
                "what": what,
                "amount": amounts[what],
                "records": int(runs[0]["records"]),
                "clock_s": clock,
                "cpu_s": cpu,
                "a_second": amounts[what] / clock,
                "a_cpu_second": amounts[what] / cpu,
            }
        )
    columns = ("what", "amount", "records", "clock_s", "cpu_s", "a_second", "a_cpu_second")
    print(table(columns, [[row[each] for each in columns] for row in rows]))
    for row in rows:
        least = LEAST[row["what"]]
        met = "yes" if row["a_cpu_second"] >= least else "NO"
        unit = "events" if row["what"] == "events" else "MB"
        print(
            f"{row['what']}: {row['a_cpu_second']:,.0f} {unit} a second of CPU, at least {least:,.0f}: {met}"
        )
    return save("verify", {"options": vars(options), "rows": rows, "runs": found})


if __name__ == "__main__":
    print(main())
