"""How long a gateway takes to start on what its journal holds: from the start of the process to ``/readyz``.

By GiB of segments, after an end in order and after ``kill -9`` with a torn tail (noise where the next block would have
been); and by statements in the last segment, which is all that recovery reads after a kill: 64 MiB unless it is
configured otherwise. The segments are not in the page cache. The gateway starts without consumers of the trail: they
follow in a process of their own, and nobody waits for them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.watermark import read_mark
from tests.cli.trail import Trail
from tests.live.certificates import Certificates
from tests.live.clients.pgbench import initialise
from tests.live.gateway import Gateway
from tests.live.postgres import Postgres
from tests.live.processes import work_folder

from .measures import cpu_seconds, folder_bytes, line, median, save, table
from .paths import Bench, bench, for_bench
from .pgbench import run_pgbench

__all__ = ["main", "recordings", "statements"]

SEGMENT = 64 << 20
CHUNK = 64 << 10
TORN = 200_000
SESSIONS = 8
"""At once: the turns of all of them go into one block, as eight clients' do that wait for the same sync."""


def recordings(state: Path, size: int) -> Trail:
    """A journal of about that many bytes: chunks that don't compress."""
    trail = Trail(state, segment_bytes=SEGMENT)
    session = trail.session("bulk")
    pool = os.urandom(CHUNK * 64)
    for number in range(size // CHUNK):
        at = number % 63 * CHUNK + number // 63 % CHUNK  # nothing comes twice in a block
        data = pool[at : at + CHUNK]
        trail.journal.append_chunk(session.recorder.key_id, bytes(16), 0, 1, number * CHUNK, number, data)
        if number % 64 == 63:
            trail.journal.commit_now()
    trail.journal.commit_now()
    return trail


def statements(made: Bench, count: int) -> Path:
    """The state of a gateway that was killed after so many statements of eight clients; all in its last segment."""
    path = made.gateway("strict", name="killed", more=one_segment)
    assert path.gateway is not None
    run_pgbench(path, "simple", 8, "-t", str(count // 8))
    path.gateway.kill9()
    return path.gateway.state


def one_segment(settings: dict[str, Any]) -> None:
    """As large as it must be."""
    settings["journal"] = {"segment_bytes": 1 << 30}


def tear(folder: Folder) -> None:
    """What a kill in the middle of a write leaves: the beginning of something after the last block."""
    mark = read_mark(folder.files, folder.watermark)
    handle = os.open(folder.segment(mark.segment), os.O_WRONLY)
    try:
        os.pwrite(handle, os.urandom(TORN), mark.offset)
    finally:
        os.close(handle)


def forget(state: Path) -> None:
    """Have the file system read it again."""
    for path in state.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def copied(state: Path, to: Path) -> None:
    """A copy of the journals, to change: segments before the last one are links, nobody writes to these."""
    last = max(state.rglob("*.segment"), default=None)

    def copy(source: str, target: str) -> None:
        if source.endswith(".segment") and Path(source) != last:
            os.link(source, target)
        else:
            shutil.copy2(source, target)

    shutil.copytree(state / "journals", to / "journals", copy_function=copy)


def started(
    certificates: Certificates, server: Postgres, state: Path | None, python: str
) -> tuple[float, float]:
    """Seconds of the clock until the process takes sessions, and of its CPU."""
    gateway = Gateway.make(certificates, {"app": server}, change=for_bench, upstream_tls=False)
    gateway.python = python
    if state is not None:
        copied(state, gateway.state)
        forget(gateway.state)
    began = time.monotonic()
    try:
        gateway.up(seconds=240)
        return time.monotonic() - began, cpu_seconds(gateway.pid)
    finally:
        gateway.kill9()
        shutil.rmtree(gateway.folder)


def cases(made: Bench, folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, float, Path | None]]:
    """What it starts on, how much of it (GiB or statements), and where; each is removed when the next is asked for."""
    yield "nothing", 0.0, None
    for gib in options.gib:
        state = folder / "recordings"
        trail = recordings(state, int(gib * (1 << 30)))
        tear(trail.folder)
        yield "recordings, killed", gib, state
        trail.stop()
        yield "recordings, ended", gib, state
        shutil.rmtree(state)
    for count in options.statements:
        state = statements(made, count)
        tear(journals(state)[0])
        yield "statements, killed", count, state
        shutil.rmtree(state)


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table and the lines, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recovery", description=__doc__)
    parser.add_argument("--gib", type=float, nargs="*", default=[0.5, 1, 2], help="default 0.5 1 2")
    parser.add_argument(
        "--statements", type=int, nargs="*", default=[10_000, 40_000], help="default 10000 40000"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the gateway")
    options = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    with bench(python=options.python) as made, tempfile.TemporaryDirectory(dir=work_folder()) as name:
        initialise(made.server.dsn("app_rw"))
        started(made.certificates, made.server, None, options.python)  # the interpreter is in the cache
        for what, amount, state in cases(made, Path(name), options):
            size = folder_bytes(state, ".segment") if state is not None else 0
            runs = [
                started(made.certificates, made.server, state, options.python) for _ in range(options.rounds)
            ]
            rows.append(
                {
                    "what": what,
                    "amount": amount,
                    "mib": size / 2**20,
                    "clock_s": median(clock for clock, _ in runs),
                    "cpu_s": median(cpu for _, cpu in runs),
                    "runs": runs,
                }
            )
    columns = ("what", "amount", "mib", "clock_s", "cpu_s")
    print(table(columns, [[row[each] for each in columns] for row in rows]))
    fits = {}
    for what, at, unit in (
        ("recordings, ended", 10.0, "GiB"),
        ("recordings, killed", 10.0, "GiB"),
        ("statements, killed", 1e6, "statements in the last segment"),
    ):
        for of in ("clock_s", "cpu_s"):
            points = [(row["amount"], row[of]) for row in rows if row["what"] in (what, "nothing")]
            if len(points) > 2:
                rise, start = line(points)
                fits[f"{what}, {of}"] = {"a_unit": rise, "at_0": start}
                print(
                    f"{what}, {of}: {start:.2f} + {rise:.3g} x {unit}; at {at:,.0f}: {start + rise * at:.1f}"
                )
    return save("recovery", {"options": vars(options), "rows": rows, "lines": fits})


if __name__ == "__main__":
    print(main())
