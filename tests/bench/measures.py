"""Reading what a process used, and saying on what machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "cpu_seconds",
    "folder_blocks",
    "folder_bytes",
    "line",
    "machine",
    "median",
    "quantile",
    "save",
    "spread",
    "table",
]

RESULTS = Path(__file__).with_name("results")


def cpu_seconds(pid: int) -> float:
    """CPU time that a process used so far, user and system, all its threads, in seconds.

    From the scheduler's nanoseconds (``schedstat``); the ticks of ``stat`` where the kernel has none.
    Threads that ended are not in the former, so it is taken only while no thread comes or goes.
    """
    try:
        return (
            sum(
                int((each / "schedstat").read_text().split()[0])
                for each in Path(f"/proc/{pid}/task").iterdir()
            )
            / 1e9
        )
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def folder_bytes(folder: Path, suffix: str = "") -> int:
    """Bytes in the files of a folder and below, by their size."""
    return sum(each.stat().st_size for each in folder.rglob(f"*{suffix}") if each.is_file())


def folder_blocks(folder: Path) -> int:
    """Bytes that the files of a folder and below take on the disk, in whole blocks."""
    return sum(each.stat().st_blocks * 512 for each in folder.rglob("*") if each.is_file())


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of the values don't exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The straight line that fits the points best, by least squares: its slope (y's units per x's), and y at 0."""
    found = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    return found.slope, found.intercept


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Lowest and highest, to go beside a median."""
    return f"{min(values):.4g}..{max(values):.4g}"


def machine() -> dict[str, Any]:
    """Interpreter, CPU, kernel: what a number is worth nothing without."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    import twisted

    return {
        "python": sys.version.split()[0],
        "interpreter": os.path.realpath(sys.executable),
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
        "twisted": twisted.__version__,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def save(name: str, results: Mapping[str, Any]) -> Path:
    """Write ``results`` with the machine's description as JSON."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    path.write_text(json.dumps({"machine": machine(), **results}, indent=1, default=str) + "\n")
    return path


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns of text, numbers to the right."""
    cells = [[_cell(each) for each in row] for row in [list(header), *rows]]
    widths = [max(len(row[n]) for row in cells) for n in range(len(header))]
    left = [isinstance(row[n], str) for row in rows[:1] for n in range(len(header))] or [True] * len(header)
    lines = [
        "  ".join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
