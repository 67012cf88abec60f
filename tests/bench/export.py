"""CPU of an exported command: three records of a ``pgbench -S`` transaction joined, mapped and serialised.

::

    python -m tests.bench.export            # microseconds a transaction, by format
    python -m tests.bench.export --profile  # where they go, for OCSF

The records are made by the gate itself and parsed beforehand, as the reader hands them to every consumer alike. The
best of the rounds counts: what else the machine does only adds.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import sys
import tempfile
import time
from pathlib import Path

import orjson

from hoopproxy.export import FORMATS, Join, alone
from hoopproxy.export.operation import Operation, Record
from hoopproxy.journal.reader import JournalReader
from tests.cli.trail import Trail

SESSIONS, EACH = 8, 500


def records() -> list[tuple[Record, int]]:
    """What a journal holds of some sessions that do ``SELECT abalance ...``, interleaved, and the sizes."""
    with tempfile.TemporaryDirectory() as folder:
        trail = Trail(Path(folder))
        sessions = [trail.session(f"user{number}") for number in range(SESSIONS)]
        for number in range(EACH):
            for session in sessions:
                text = f"SELECT abalance FROM pgbench_accounts WHERE aid = {number * 7919 % 100_000};"
                session.selects(text, ("abalance",), (b"0",))
        for session in sessions:
            session.end()
        trail.stop()
        with JournalReader(trail.folder) as reader:
            bodies = [bytes(each.body) for each in reader if bytes(each.body[:1]) == b"{"]
    return [(orjson.loads(body), len(body)) for body in bodies if b'"kind":"command.' in body]


def joined(fed: list[tuple[Record, int]]) -> list[Operation]:
    """All of it through a join."""
    feed = Join().feed
    return [operation for event, size in fed for operation in feed(event, size)]


def run(name: str, fed: list[tuple[Record, int]]) -> int:
    """One pass; bytes that it made."""
    format = FORMATS[name]
    made = joined(fed) if format.joins else [alone(event) for event, _ in fed]
    return sum(len(format.write(operation)) for operation in made)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    fed = records()
    gc.collect()
    gc.freeze()  # a reader holds a batch, not all of them: looking through these again and again isn't its work
    transactions = SESSIONS * EACH
    if chosen.profile:
        profile = cProfile.Profile()
        profile.runcall(run, "ocsf", fed)
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)
        return
    found = {"join alone": _micros(lambda: len(joined(fed)), chosen.rounds, transactions)}
    sizes = {}
    for name in FORMATS:
        found[name] = _micros(lambda name=name: run(name, fed), chosen.rounds, transactions)  # type: ignore[misc]
        sizes[name] = run(name, fed) // transactions
    print(f"{transactions:,} transactions of 3 records, Python {sys.version.split()[0]}")
    for name, micros in found.items():
        print(f"{name:12} {micros:6.1f} us a transaction  {sizes.get(name, 0):6,} bytes")
    print(json.dumps({"python": sys.version.split()[0], "us": found, "bytes": sizes}))


def _micros(call: object, rounds: int, transactions: int) -> float:
    assert callable(call)
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return round(min(taken) / transactions * 1e6, 2)


if __name__ == "__main__":
    main()
