"""Bulk data in MB/s: SELECT, COPY out, COPY in; messages of 200 and of 24 bytes on the wire.

The client is a bare socket, so that server and path are what is measured. COPY in ends in ``WHERE false``:
the server parses each row and keeps none. The goal compares with the plain relay in pure Python.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from tests.live.raw import copy_data, query_message, receive_all, send_copy, taken_over

from .measures import cpu_seconds, folder_bytes, median, save, spread, table
from .paths import PATHS, Bench, Path_, bench

__all__ = ["main", "prepare"]

LEAST_OF_RELAY = 0.5
WIDTHS = (200, 24)
WHATS = ("select", "copy-out", "copy-in")
DATA_ROW_EXTRA, COPY_EXTRA = 11, 6  # type, length, columns, column length; type, length, newline


def prepare(made: Bench, total: int) -> None:
    """A table for each width and message kind, of about ``total`` bytes on the wire."""
    for width in WIDTHS:
        for kind, extra in (("row", DATA_ROW_EXTRA), ("copy", COPY_EXTRA)):
            made.server.execute(
                f"CREATE UNLOGGED TABLE {kind}{width} AS SELECT repeat('x', {width - extra}) AS v"
                f" FROM generate_series(1, {total // width})",
                user="app_rw",
            )
    made.server.execute("VACUUM ANALYZE")


def measure(path: Path_, what: str, width: int, total: int) -> dict[str, Any]:
    """One transfer: MB/s, and CPU seconds a GB of the data-path process."""
    before = None if path.pid is None else cpu_seconds(path.pid)
    journal = 0 if path.gateway is None else folder_bytes(path.gateway.journal_dir, ".segment")
    with taken_over(path.dsn) as raw:
        if what == "copy-in":
            block, times = copy_data(width, total)
            count, seconds = send_copy(raw, f"COPY copy{width} FROM STDIN WHERE false", block, times)
        else:
            sql = f"SELECT v FROM row{width}" if what == "select" else f"COPY copy{width} TO STDOUT"
            started = time.perf_counter()
            raw.sendall(query_message(sql))
            count = receive_all(raw)
            seconds = time.perf_counter() - started
    after = None if path.pid is None else cpu_seconds(path.pid)
    return {
        "what": what,
        "width": width,
        "path": path.name,
        "mb_s": count / seconds / 1e6,
        "cpu_s_gb": None if before is None or after is None else (after - before) / (count / 1e9),
        "journal_share": None
        if path.gateway is None
        else (folder_bytes(path.gateway.journal_dir, ".segment") - journal) / count,
    }


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table and the goals, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bulk", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="of each transfer (default 200)")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--only", default="", help="select, copy-in, copy-out, 200, 24 and paths")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of gateway and relay")
    options = parser.parse_args(argv)
    words = {each for each in options.only.split(",") if each}
    whats = [each for each in WHATS if each in words] or list(WHATS)
    widths = [each for each in WIDTHS if str(each) in words] or list(WIDTHS)
    names = tuple(each for each in PATHS if each in words or each == "relay") if words & set(PATHS) else PATHS
    total = options.megabytes * 1_000_000
    found: list[list[dict[str, Any]]] = []
    with bench(python=options.python) as made:
        prepare(made, total)
        paths = made.available(names)
        for number in range(options.rounds):
            turned = paths[number % len(paths) :] + paths[: number % len(paths)]
            found.append(
                [measure(path, what, width, total) for what in whats for width in widths for path in turned]
            )
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    rows = summary(found)
    columns = ("what", "width", "path", "mb_s", "to_relay", "cpu_s_gb", "journal_share")
    print(table(columns, [["-" if row[each] is None else row[each] for each in columns] for row in rows]))
    for row in rows:
        if row["path"] == "bounded" and row["to_relay"] is not None:
            goal = f"at least {LEAST_OF_RELAY}" if row["width"] == 200 else "reported"
            print(f"bounded {row['what']} {row['width']}: {row['to_relay']:.2f} of the plain relay, {goal}")
    return save("bulk", {"options": vars(options), "rows": rows, "runs": found})


def summary(found: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Medians, and medians of each round's ratio to the plain relay."""
    rows = []
    for sample in sorted(
        found[0], key=lambda each: (WHATS.index(each["what"]), -each["width"], PATHS.index(each["path"]))
    ):
        key = ("what", "width")
        same = [next(e for e in runs if all(e[k] == sample[k] for k in (*key, "path"))) for runs in found]
        relays = [
            next((e for e in runs if all(e[k] == sample[k] for k in key) and e["path"] == "relay"), None)
            for runs in found
        ]
        ratios = [each["mb_s"] / relay["mb_s"] for each, relay in zip(same, relays, strict=True) if relay]
        rows.append(
            {
                **{name: sample[name] for name in (*key, "path")},
                "mb_s": median(each["mb_s"] for each in same),
                "mb_s_spread": spread([each["mb_s"] for each in same]),
                "to_relay": median(ratios) if ratios else None,
                "cpu_s_gb": None if sample["cpu_s_gb"] is None else median(e["cpu_s_gb"] for e in same),
                "journal_share": None
                if sample["journal_share"] is None
                else median(e["journal_share"] for e in same),
            }
        )
    return rows


if __name__ == "__main__":
    print(main())
