"""``pgbench -S``: CPU microseconds of the data-path process a transaction, transactions a second.

Simple, extended and prepared protocol; 1, 8 and 32 clients; every path in turn. What the log-ins cost is
measured with a run of one transaction a client and taken off.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import attrs

from tests.live.clients.pgbench import initialise
from tests.live.clients.programs import postgres_program, run

from .measures import cpu_seconds, folder_bytes, median, save, spread, table
from .paths import PATHS, Bench, Path_, bench

__all__ = ["Run", "main", "measure", "run_pgbench"]

MODES = ("simple", "extended", "prepared")
CLIENTS = (1, 8, 32)
#: What issue and design ask for: CPU against PgBouncer at 8 clients, rate against PgBouncer at 32.
MOST_CPU, LEAST_RATE = 2.0, {"bounded": 0.6, "strict": 0.4}

_TPS = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)", re.M)
_DONE = re.compile(r"^number of transactions actually processed: (\d+)", re.M)


@attrs.frozen(kw_only=True)
class Run:
    """One run of pgbench on one path. ``cpu`` in microseconds a transaction of the data-path process."""

    path: str
    mode: str
    clients: int
    tps: float
    transactions: int
    cpu: float | None
    journal: float | None = None
    """Journal bytes a transaction (gateways only)."""


def run_pgbench(path: Path_, mode: str, clients: int, *length: str) -> tuple[float, int]:
    """Transactions a second, and how many there were."""
    arguments = ["-n", "-S", "-M", mode, "-c", str(clients), "-j", "1", *length]
    done = run(postgres_program("pgbench"), arguments, path.dsn, seconds=600).checked()
    return float(_TPS.search(done.text)[1]), int(_DONE.search(done.text)[1])  # type: ignore[index]


def measure(path: Path_, mode: str, clients: int, seconds: int, *more: str) -> Run:
    """One run of ``seconds`` seconds. :param more: arguments for pgbench."""
    login = _cpu(path)
    run_pgbench(path, mode, clients, "-t", "1")
    before, journal = _cpu(path), _journal(path)
    tps, transactions = run_pgbench(path, mode, clients, "-T", str(seconds), *more)
    after = _cpu(path)
    used = None
    if before is not None and after is not None and login is not None:
        used = max(0.0, (after - before) - (before - login)) / transactions * 1e6
    written = None if journal is None else (_journal(path) - journal) / transactions  # type: ignore[operator]
    return Run(
        path=path.name, mode=mode, clients=clients, tps=tps, transactions=transactions, cpu=used,
        journal=written,
    )  # fmt: skip


def _cpu(path: Path_) -> float | None:
    return None if path.pid is None else cpu_seconds(path.pid)


def _journal(path: Path_) -> int | None:
    return None if path.gateway is None else folder_bytes(path.gateway.journal_dir, ".segment")


def rounds(
    made: Bench, paths: list[Path_], cases: list[tuple[str, int]], seconds: int, count: int
) -> list[list[Run]]:
    """``count`` rounds; in each, every case and every path in turn, the order turned each time."""
    found = []
    for number in range(count):
        turned = paths[number % len(paths) :] + paths[: number % len(paths)]
        found.append([measure(path, *case, seconds) for case in cases for path in turned])
        print(f"round {number + 1} of {count} done", file=sys.stderr)
    return found


def summary(found: list[list[Run]], reference: str = "pgbouncer") -> list[dict[str, Any]]:
    """Medians a case and path, and the medians of each round's ratio to the reference."""
    by_key: dict[tuple[str, int, str], list[Run]] = {}
    base: dict[tuple[int, str, int], Run] = {}
    for number, runs in enumerate(found):
        for each in runs:
            by_key.setdefault((each.mode, each.clients, each.path), []).append(each)
            if each.path == reference:
                base[number, each.mode, each.clients] = each
    rows = []
    for (mode, clients, path), runs in sorted(
        by_key.items(), key=lambda item: (MODES.index(item[0][0]), item[0][1], PATHS.index(item[0][2]))
    ):
        pairs = [
            (each, base[number, mode, clients])
            for number, each in enumerate(runs)
            if (number, mode, clients) in base
        ]
        cpus = [each.cpu for each in runs if each.cpu is not None]
        rows.append(
            {
                "mode": mode,
                "clients": clients,
                "path": path,
                "tps": median(each.tps for each in runs),
                "tps_spread": spread([each.tps for each in runs]),
                "tps_ratio": median(each.tps / ref.tps for each, ref in pairs) if pairs else None,
                "cpu_us": median(cpus) if cpus else None,
                "cpu_spread": spread(cpus) if cpus else None,
                "cpu_ratio": _cpu_ratio(pairs),
                "journal_bytes": _middle([each.journal for each in runs if each.journal is not None]),
            }
        )
    return rows


def _cpu_ratio(pairs: list[tuple[Run, Run]]) -> float | None:
    return _middle([each.cpu / ref.cpu for each, ref in pairs if each.cpu is not None and ref.cpu])


def _middle(values: list[float]) -> float | None:
    return median(values) if values else None


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """Each goal that was measured, and whether it was met."""
    said = []
    for row in rows:
        name = f"{row['path']} {row['mode']} {row['clients']}"
        wanted = row["path"] == "bounded" and row["clients"] == 8 and row["mode"] in ("simple", "prepared")
        if wanted and row["cpu_ratio"] is not None:
            met = row["cpu_ratio"] <= MOST_CPU
            said.append(f"{name}: CPU {row['cpu_ratio']:.2f} of PgBouncer's, at most {MOST_CPU}: {_yes(met)}")
        if row["path"] in LEAST_RATE and row["clients"] == 32 and row["tps_ratio"] is not None:
            least = LEAST_RATE[row["path"]]
            met = row["tps_ratio"] >= least
            said.append(f"{name}: rate {row['tps_ratio']:.2f} of PgBouncer's, at least {least}: {_yes(met)}")
    return said


def _yes(met: bool) -> str:
    return "yes" if met else "NO"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pgbench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="of each run (default 8)")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument(
        "--only", default="", help="modes, client counts and paths, comma separated: simple,8,bounded"
    )
    parser.add_argument("--scale", type=int, default=10, help="of pgbench's tables (default 10)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of gateway and relay")
    return parser.parse_args(argv)


def chosen(only: str) -> tuple[list[str], list[int], tuple[str, ...]]:
    """Modes, client counts and paths that ``--only`` leaves; the reference stays in."""
    words = {each for each in only.split(",") if each}
    modes = [each for each in MODES if each in words] or list(MODES)
    clients = [int(each) for each in words if each.isdigit()] or list(CLIENTS)
    paths = tuple(each for each in PATHS if each in words or each == "pgbouncer")
    return modes, sorted(clients), paths if words & set(PATHS) else PATHS


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table and the goals, save the JSON; its path."""
    options = _arguments(argv)
    modes, clients, names = chosen(options.only)
    with bench(python=options.python) as made:
        initialise(made.server.dsn("app_rw"), scale=options.scale)
        made.server.execute("VACUUM ANALYZE")
        paths = made.available(names)
        cases = [(mode, count) for mode in modes for count in clients]
        for path in paths:  # warm up caches, pools and the interpreter
            run_pgbench(path, modes[0], clients[-1], "-T", "1")
        found = rounds(made, paths, cases, options.seconds, options.rounds)
    rows = summary(found)
    columns = ("mode", "clients", "path", "tps", "tps_ratio", "cpu_us", "cpu_ratio", "journal_bytes")
    print(table(columns, [["-" if row[each] is None else row[each] for each in columns] for row in rows]))
    print("\n".join(verdicts(rows)))
    return save(
        "pgbench",
        {"options": vars(options), "rows": rows, "runs": [[attrs.asdict(r) for r in each] for each in found]},
    )


if __name__ == "__main__":
    print(main())
