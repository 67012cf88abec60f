"""All that a transaction costs with everything on: CPU of every process of the gateway, and bytes on its disk.

``strict``, sealed by the ledger, indexed, delivered to a file as OCSF. What the reader of the trail does later than
the transaction counts too: each run is over when it has caught up. PgBouncer in the same rounds. A segment's blocks
are allocated before they are written, so a store's blocks grow in steps; the end of its file is the finer number.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from tests.live.clients.pgbench import initialise
from tests.live.processes import processes_of

from .measures import cpu_seconds, folder_blocks, folder_bytes, median, save, table
from .paths import Bench, Path_, bench
from .pgbench import run_pgbench

__all__ = ["everything_on", "main", "measure", "settled"]

MOST, MOST_BYTES = 5.0, 1536
CAUGHT_UP = 3.0
"""Seconds in which the reader of the trail does next to nothing: then it has caught up."""
_STORES = ("journals", "trail/ledger", "trail/index")


def everything_on(settings: dict[str, Any]) -> None:
    """Ledger, index and a file sink."""
    settings["ledger"] = {"enabled": True}
    settings["index"] = {"enabled": True}
    path = settings["gateway"]["state"].parent / "delivered.jsonl"
    settings["sink"] = [{"name": "file", "type": "file", "format": "ocsf", "path": path}]


def _used(pid: int) -> dict[int, float]:
    return {each: cpu_seconds(each) for each in processes_of(pid)}


def settled(path: Path_) -> dict[int, float]:
    """The CPU seconds of each process of a path once nobody works any more."""
    assert path.pid is not None
    pid = path.pid
    before = _used(pid)
    while True:
        time.sleep(CAUGHT_UP)
        after = _used(pid)
        if sum(after.values()) - sum(before.values()) < 0.02 * CAUGHT_UP:
            return after
        before = after


def _stored(path: Path_) -> dict[str, int]:
    """Bytes by store: what the files hold, and what they take in the file system's blocks."""
    assert path.gateway is not None
    state = path.gateway.state
    return {
        **{name: folder_bytes(state / name) for name in _STORES},
        **{f"{name}, blocks": folder_blocks(state / name) for name in _STORES},
    }


def measure(path: Path_, mode: str, clients: int, seconds: int) -> dict[str, float]:
    """CPU microseconds a transaction by process (``data path``, ``trail``), and bytes a transaction by store."""
    assert path.pid is not None
    before, stored = settled(path), _stored(path) if path.gateway else {}
    tps, transactions = run_pgbench(path, mode, clients, "-T", str(seconds))
    after = settled(path)
    used = {pid: (cpu - before.get(pid, 0.0)) / transactions * 1e6 for pid, cpu in after.items()}
    found = {"tps": tps, "data path": used.pop(path.pid), "trail": sum(used.values())}
    now = _stored(path) if path.gateway else {}
    return {**found, **{name: (now[name] - stored[name]) / transactions for name in now}}


def _assert_delivered(path: Path_) -> None:
    """A sink that fails costs nothing, and would make the numbers look good."""
    assert path.gateway is not None
    assert (path.gateway.folder / "delivered.jsonl").stat().st_size, "nothing was delivered"


def _path(made: Bench) -> Path_:
    return made.gateway("strict", name="everything", more=everything_on)


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table and the goals, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.whole", description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="of each run (default 8)")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--clients", type=int, default=8, help="default 8")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the gateway")
    options = parser.parse_args(argv)
    rounds: list[dict[str, dict[str, float]]] = []
    with bench(python=options.python) as made:
        initialise(made.server.dsn("app_rw"), scale=10)
        paths = [made.path("pgbouncer"), _path(made)]
        for path in paths:
            run_pgbench(path, "simple", options.clients, "-T", "2")
        for number in range(options.rounds):
            rounds.append(
                {path.name: measure(path, "simple", options.clients, options.seconds) for path in paths}
            )
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
        _assert_delivered(paths[1])
    ours, theirs = ([each[name] for each in rounds] for name in ("everything", "pgbouncer"))
    middle = {what: median(each[what] for each in ours) for what in ours[0]}
    reference = median(each["data path"] for each in theirs)
    rows = [[what, value] for what, value in middle.items()] + [["PgBouncer's CPU", reference]]
    print(table(("a transaction", "us, bytes or tps"), rows))
    ratio = median(
        (mine["data path"] + mine["trail"]) / other["data path"]
        for mine, other in zip(ours, theirs, strict=True)
    )
    size = sum(middle[f"{name}, blocks"] for name in _STORES)
    print(
        f"CPU of all processes: {ratio:.2f} of PgBouncer's, at most {MOST}: {'yes' if ratio <= MOST else 'NO'}"
    )
    print(
        f"bytes on disk, in blocks: {size:,.0f}, at most {MOST_BYTES:,}: {'yes' if size <= MOST_BYTES else 'NO'}"
    )
    return save("whole", {"options": vars(options), "middle": middle, "ratio": ratio, "rounds": rounds})


if __name__ == "__main__":
    print(main())
