"""What the trail's readers cost the sessions: the data path with everything on, and with it off, in turns.

Two gateways in one mode: ``off`` records and nothing else; ``on`` has ledger, index and a file sink (OCSF) beside it.
CPU microseconds a ``pgbench -S`` transaction of the process that carries the data, with 8 clients, and CPU seconds a GB
of a bulk SELECT (200-byte rows), as ratios on to off of each round; rates beside them, and PgBouncer and the plain
relay for scale. Before each measurement the reader of the last one has caught up; during it, it works. The fewer
transactions come at once, the more a turn of the reactor costs each, and on two cores the reader takes its share from
everybody: so the same is measured at a given rate. What else a machine does only adds, so the least of the rounds are
compared; the medians of the rounds' ratios stand beside them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tests.live.clients.pgbench import initialise

from .bulk import measure as transferred
from .bulk import prepare
from .measures import median, save, spread, table
from .paths import Path_, bench
from .pgbench import measure as asked
from .pgbench import run_pgbench
from .whole import everything_on, settled

__all__ = ["main"]

MOST_CHANGE = 0.05
CLIENTS, WIDTH = 8, 200
#: What is measured, its unit, and the process's measure in it.
COSTS = {"oltp": "cpu_us", "oltp at a rate": "rated_us", "bulk": "cpu_s_gb"}


def measure(path: Path_, seconds: int, total: int, rate: int) -> dict[str, float | None]:
    """One round's numbers of one path."""
    found: dict[str, float | None] = {}
    if path.name != "relay":
        run = asked(path, "simple", CLIENTS, seconds)
        rated = asked(path, "simple", CLIENTS, seconds, "-R", str(rate))
        found |= {"tps": run.tps, "cpu_us": run.cpu, "rated_us": rated.cpu}
    if path.name != "pgbouncer":
        bulk = transferred(path, "select", WIDTH, total)
        found |= {"mb_s": bulk["mb_s"], "cpu_s_gb": bulk["cpu_s_gb"]}
    return found


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table and the goal, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.beside", description=__doc__)
    parser.add_argument("--seconds", type=int, default=6, help="of each run of pgbench (default 6)")
    parser.add_argument("--megabytes", type=int, default=200, help="of each SELECT (default 200)")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--rate", type=int, default=1000, help="transactions a second (default 1000)")
    parser.add_argument("--mode", default="bounded", help="of both gateways (default bounded)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of gateways and relay")
    options = parser.parse_args(argv)
    total = options.megabytes * 1_000_000
    rounds: list[dict[str, dict[str, float | None]]] = []
    with bench(python=options.python) as made:
        initialise(made.server.dsn("app_rw"), scale=10)
        prepare(made, total)
        paths = [
            made.gateway(options.mode, name="off"),
            made.gateway(options.mode, name="on", more=everything_on),
            *made.available(("pgbouncer", "relay")),
        ]
        for path in paths:
            run_pgbench(path, "simple", CLIENTS, "-t", "200")
        for number in range(options.rounds):
            turned = paths[number % len(paths) :] + paths[: number % len(paths)]
            rounds.append({})
            for path in turned:
                rounds[-1][path.name] = measure(path, options.seconds, total, options.rate)
                if path.name == "on":
                    settled(path)
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    return report(rounds, options)


def report(rounds: list[dict[str, dict[str, float | None]]], options: argparse.Namespace) -> Path:
    """Print and save."""
    what = ("tps", "cpu_us", "rated_us", "mb_s", "cpu_s_gb")
    rows: list[list[Any]] = []
    for name in rounds[0]:
        values = [[each[name][of] for each in rounds if each[name].get(of) is not None] for of in what]
        rows.append([name, *(median(found) if found else "-" for found in values)])  # type: ignore[type-var]
    print(table(("path", *what), rows))
    ratios = {}
    for case, of in COSTS.items():
        found = [each["on"][of] / each["off"][of] for each in rounds]  # type: ignore[operator]
        least = min(each["on"][of] for each in rounds) / min(each["off"][of] for each in rounds)  # type: ignore[operator,type-var]
        ratios[case] = {"least": least, "median": median(found), "rounds": found}
        met = "yes" if least <= 1 + MOST_CHANGE else "NO"
        print(
            f"{case}: the data path's CPU with everything on, to that with it off: least to least {least:.3f}, at most"
            f" {1 + MOST_CHANGE}: {met}; median of the rounds' {median(found):.3f} ({spread(found)})"
        )
    return save("beside", {"options": vars(options), "rows": rows, "ratios": ratios, "rounds": rounds})


if __name__ == "__main__":
    print(main())
