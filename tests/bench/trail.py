"""CPU of the process that reads the trail, by consumer: ``python -m tests.bench.trail [--state FOLDER] [--profile]``.

A real gateway records ``pgbench -S`` once, simple and prepared; the journal that it wrote (turns folded by its writer,
as ``strict`` commits them) is then followed as the process does it: read in batches, sealed, indexed, mapped to OCSF.
Microseconds of CPU a transaction, all threads; the best of the rounds counts: what else the machine does only adds.
Not in it: looking for news, and writing the sink's file (:mod:`tests.bench.whole` has all of it).
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hoopproxy.config.model import Sink
from hoopproxy.delivery.selection import Selection
from hoopproxy.delivery.stream import Stream, View
from hoopproxy.index.consumer import Index
from hoopproxy.index.shelf import Shelf
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.sealing.consumer import Ledger
from tests.bench.measures import table
from tests.bench.paths import bench
from tests.bench.pgbench import run_pgbench
from tests.live.clients.pgbench import initialise

MODES = ("simple", "prepared")
CONSUMERS = ("read", "ledger", "index", "ocsf")


def record(into: Path, transactions: int, clients: int, modes: Sequence[str] = MODES) -> None:
    """A state directory for each mode, made by a gateway in ``strict``."""
    with bench() as made:
        initialise(made.server.dsn("app_rw"), scale=1)
        for mode in modes:
            path = made.gateway("strict", name=mode)
            assert path.gateway is not None
            run_pgbench(path, mode, clients, "-t", str(transactions // clients))
            path.gateway.terminate()
            folder = into / mode / "journals"
            shutil.copytree(path.gateway.state / "journals", folder)


def followed(state: Path, folder: Folder) -> dict[str, float]:
    """CPU seconds by consumer, of one way through the journal."""
    spent = dict.fromkeys(CONSUMERS, 0.0)
    selection = Selection(Sink(name="file", type="file"), "ocsf")
    with tempfile.TemporaryDirectory() as scratch:
        index = Index(Shelf(Path(scratch)))
        ledger = Ledger(state, lambda _: None, origin="bench")
        stream = Stream(folder)
        stream.look()
        view = View(stream, 1)

        def timed(name: str, work: object, *given: object) -> object:
            began = time.process_time()
            found = work(*given)  # type: ignore[operator]
            spent[name] += time.process_time() - began
            return found

        try:
            while True:
                batch = timed("read", view.read)
                if batch is None:
                    break
                timed("ledger", ledger.take, folder.id, batch.records)  # type: ignore[attr-defined]
                timed("index", index.take, folder.id, batch.records)  # type: ignore[attr-defined]
                timed("ocsf", selection.take, batch.records)  # type: ignore[attr-defined]
                view.position = batch.last + 1  # type: ignore[attr-defined]
        finally:
            view.close()
            stream.close()
            timed("ledger", ledger.stop)
            timed("index", index.stop)
    return spent


def measured(state: Path, rounds: int) -> dict[str, float]:
    """The best of some ways through the journal."""
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            shutil.copytree(state, name, dirs_exist_ok=True)
            (folder,) = journals(Path(name))
            gc.collect()
            found.append(followed(Path(name), folder))
    return {name: min(each[name] for each in found) for name in CONSUMERS}


def profiled(state: Path) -> None:
    """Where it goes, in place of numbers."""
    (folder,) = journals(state)
    profile = cProfile.Profile()
    profile.runcall(followed, state, folder)
    pstats.Stats(profile).sort_stats("tottime").print_stats(40)
    shutil.rmtree(state / "trail")


def _table(modes: Sequence[str], found: dict[str, dict[str, float]], transactions: int) -> str:
    rows = [[name, *(found[mode][name] / transactions * 1e6 for mode in modes)] for name in CONSUMERS]
    total = ["all", *(sum(found[mode].values()) / transactions * 1e6 for mode in modes)]
    return table(("us CPU a transaction", *modes), [*rows, total])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trail", description=__doc__)
    parser.add_argument("--transactions", type=int, default=16_000, help="to record (default 16,000)")
    parser.add_argument("--clients", type=int, default=8, help="at once (default 8)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--state", type=Path, help="keep what was recorded here; it is used again if it is there"
    )
    parser.add_argument("--profile", action="store_true", help="where it goes, in place of numbers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        states: Path = options.state or Path(scratch)
        if not (states / MODES[-1]).exists():
            record(states, options.transactions, options.clients)
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)  # as the process itself has it
        if options.profile:
            for mode in MODES:
                print(mode)
                profiled(states / mode)
            return
        found = {mode: measured(states / mode, options.rounds) for mode in MODES}
        print(_table(MODES, found, options.transactions))


if __name__ == "__main__":
    main()
