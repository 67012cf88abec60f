"""CPU of the process that reads the trail, by consumer: ``python -m tests.bench.trail [--profile]``.

A journal of ``pgbench -S`` transactions is followed as the process does it: read in batches, sealed, indexed, mapped
to OCSF. Microseconds of CPU a transaction; the best of the rounds counts: what else the machine does only adds. No
gateway, no network. Not in it: unfolding (the gate alone folds no turns), and writing the sink's file.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hoopproxy.config.model import Sink
from hoopproxy.delivery.consumer import Taken
from hoopproxy.delivery.selection import Selection
from hoopproxy.delivery.stream import Stream, View
from hoopproxy.index.consumer import Index
from hoopproxy.index.shelf import Shelf
from hoopproxy.journal.folder import Folder
from hoopproxy.sealing.consumer import Ledger
from tests.cli.trail import Played, Trail
from tests.protocols.postgres.talk import columns, complete, query, ready, row

SESSIONS = 8
"""At once: the turns of all of them go into one block, as eight clients' do that wait for the same sync."""


def made(state: Path, transactions: int) -> Folder:
    """The journal."""
    trail = Trail(state)
    for session in played(trail, transactions):
        session.end()
    trail.stop()
    return trail.folder


def played(trail: Trail, transactions: int) -> list[Played]:
    """The sessions that did it, still there."""
    sessions = [trail.session(f"user{number}") for number in range(SESSIONS)]
    answer = columns("abalance") + row(b"0") + complete("SELECT 1") + ready()
    for number in range(transactions // SESSIONS):
        with _one_commit(trail):
            for place, session in enumerate(sessions):
                aid = (number * SESSIONS + place) * 7919 % 1_000_000
                session.client(query(f"SELECT abalance FROM pgbench_accounts WHERE aid = {aid};"))
        with _one_commit(trail):
            for session in sessions:
                session.target(answer)
    return sessions


@contextmanager
def _one_commit(trail: Trail) -> Iterator[None]:
    """What is asked for inside is committed at the end, as if the disk had been at work."""
    trail.journal._working = True
    yield
    trail.journal._working = False
    trail.journal.commit_now()


def followed(state: Path, folder: Folder) -> dict[str, float]:
    """CPU seconds by consumer, of one way through the journal."""
    spent = dict.fromkeys(("read", "ledger", "index", "ocsf"), 0.0)
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
                records: Sequence[Taken] = batch.records  # type: ignore[attr-defined]
                timed("ledger", ledger.take, folder.id, records)
                timed("index", index.take, folder.id, records)
                timed("ocsf", selection.take, records)
                view.position = records[-1].jseq + 1
        finally:
            view.close()
            stream.close()
            timed("ledger", ledger.stop)
            timed("index", index.stop)
    return spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trail", description=__doc__)
    parser.add_argument("--transactions", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="where it goes, in place of numbers")
    options = parser.parse_args()
    rounds = []
    for _ in range(1 if options.profile else options.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = made(Path(name), options.transactions)
            gc.collect()
            gc.freeze()
            gc.set_threshold(100_000, 50, 100)  # as the process itself has it
            if options.profile:
                profile = cProfile.Profile()
                profile.runcall(followed, Path(name), folder)
                pstats.Stats(profile).sort_stats("tottime").print_stats(35)
                return
            rounds.append(followed(Path(name), folder))
    best = {name: min(each[name] for each in rounds) for name in rounds[0]}
    for name, seconds in [*best.items(), ("all", sum(best.values()))]:
        print(f"{name:8} {seconds / options.transactions * 1e6:7.2f} us CPU a transaction")


if __name__ == "__main__":
    main()
