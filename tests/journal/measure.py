"""What the journal costs, on this machine and disk: ``python -m tests.journal.measure [folder]``. Not a test.

Run it on an idle machine and name the interpreter with every number.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hoopproxy.events import canonical
from hoopproxy.journal.files import RealFiles
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.options import CommitFacts, JournalOptions
from hoopproxy.journal.writer import Journal

from .support import SESSION

QUERY = b"Q\0\0\0:SELECT abalance FROM pgbench_accounts WHERE aid = 12345"


def envelope(kind: str, number: int) -> bytes:
    """An event of about 600 bytes."""
    return canonical(
        {
            "client": {"addr": "10.1.2.3", "port": 50000 + number % 8},
            "event": {"sql": f"SELECT abalance FROM pgbench_accounts WHERE aid = {number * 7919 % 100000};"},
            "id": f"{number * 77777:032x}",
            "identity": {"groups": ["staff"], "id": "alice", "issuer": "file", "method": "scram"},
            "journal": "00000000-0000-0000-0000-000000000007",
            "kind": kind,
            "mono": number * 123457,
            "node": "gw1",
            "op": f"{number:032x}",
            "protocol": "postgres",
            "seq": number,
            "session": "00000000-0000-0000-0000-000000000005",
            "target": {"account": "app_ro", "labels": {"env": "prod"}, "name": "app"},
            "time": f"2026-01-01T00:00:00.{number:06d}Z",
            "v": 1,
        }
    )


class Timed(RealFiles):
    """``spent``: this thread's CPU, in ns, in writes and syncs."""

    spent = 0

    def pwrite(self, handle: int, parts: Sequence[bytes], offset: int) -> None:
        started = time.thread_time_ns()
        super().pwrite(handle, parts, offset)
        self.spent += time.thread_time_ns() - started

    def fdatasync(self, handle: int) -> None:
        started = time.thread_time_ns()
        super().fdatasync(handle)
        self.spent += time.thread_time_ns() - started


def opened(
    state: Path, files: RealFiles | None = None, threaded: bool = True, lag: int = 16 << 20, **more: Any
) -> Journal:
    options = JournalOptions(reserve_bytes=1 << 20, max_lag_bytes=lag)
    journal = Journal(Folder.make(state, files), options=options, threaded=threaded, **more)
    journal.start()
    return journal


def per_call(count: int, call: Callable[[int], object]) -> float:
    started = time.perf_counter()
    for number in range(count):
        call(number)
    spent = time.perf_counter() - started
    started = time.perf_counter()
    for number in range(count):
        (lambda _: None)(number)
    return (spent - (time.perf_counter() - started)) / count * 1e6


def appending(state: Path) -> None:
    disk = Timed()
    journal = opened(state, disk, threaded=False, lag=1 << 40)
    journal._room = 1 << 40
    journal._set_attention()
    key, event = journal.open_key(SESSION), envelope("command.requested", 1)
    op = b"0190b5a0-0000-7000-8000-000000000001"
    calls: dict[str, Callable[[int], object]] = {
        "append_event": lambda _: journal.append_event(event, key),
        "append_event that opens": lambda _: journal.append_event(event, key, False, False, op),
        "append_chunk": lambda n: journal.append_chunk(key, SESSION, 0, 0, n, n, QUERY),
    }
    for name, call in calls.items():
        print(f"{name}: {min(per_call(20000, call) for _ in range(5)):.2f} us (less an empty call)")
    journal.commit_now()
    for size in (1, 8, 40):
        spent, own = [], []
        for rep in range(200):
            for number in range(rep * size, (rep + 1) * size):
                command = b"%036d" % number
                journal.append_chunk(key, SESSION, 0, 0, number, number, QUERY)
                journal.append_event(envelope("command.requested", number), key, False, False, command)
                journal.append_chunk(key, SESSION, 0, 1, number, number, QUERY)
                journal.append_chunk(key, SESSION, 0, 1, number, number, QUERY)
                journal.append_event(envelope("command.completed", number), key, False, False, None, command)
            system, started = disk.spent, time.thread_time_ns()
            journal.commit_now()
            whole = time.thread_time_ns() - started
            spent.append(whole / 1000)
            own.append((whole - disk.spent + system) / 1000)
        least, middle = min(own), statistics.median(spent)
        print(
            f"commit of {size * 5} records: {least:.0f} us CPU of our own at least ({least / size / 5:.2f} a"
            f" record), {middle:.0f} us with the system's as a rule"
        )
    journal.stop()


def bulk(state: Path, name: str, data: bytes) -> None:
    stored = [0]

    def count(facts: CommitFacts) -> None:
        stored[0] += facts.stored_bytes

    journal = opened(state, on_commit=count)
    key, chunks = (
        journal.open_key(SESSION),
        [data[at : at + 262144] for at in range(0, len(data) - 262143, 262144)],
    )
    done, started, cpu = 0, time.perf_counter(), time.process_time()
    while done < 500 << 20:
        while journal.unsynced_bytes > 12 << 20:
            time.sleep(0.0005)
        chunk = chunks[done // 262144 % len(chunks)]
        journal.append_chunk(key, SESSION, 0, 1, done, 0, chunk)
        done += len(chunk)
    last = threading.Event()
    journal.when_durable(journal.next_jseq - 1, last.set)
    journal.commit_now()
    last.wait()
    spent, cpu = time.perf_counter() - started, time.process_time() - cpu
    speed, cost = done / spent / 1e6, cpu / done * 1e9
    print(f"256 KiB chunks, {name}: {speed:.0f} MB/s, {cost:.2f} s CPU/GB, {stored[0] / done:.2f} stored")
    closed(journal)


def closed(journal: Journal) -> None:
    end = threading.Event()
    journal.stop(lambda _: end.set())
    end.wait()
    shutil.rmtree(journal.folder.path)


def strict(state: Path) -> None:
    from twisted.internet import reactor

    loop: Any = reactor
    journal = opened(state, call_from_thread=loop.callFromThread, call_later=loop.callLater)
    key, raw, whole = journal.open_key(SESSION), [], []
    handle = os.open(state / "raw", os.O_CREAT | os.O_RDWR, 0o600)
    body = envelope("command.requested", 1) + QUERY

    def step(number: int) -> None:
        if number == 800:
            journal.stop(lambda _: loop.stop())
            return
        started = time.perf_counter()
        os.write(handle, body)
        os.fdatasync(handle)
        raw.append(time.perf_counter() - started)
        started = time.perf_counter()

        def told() -> None:
            whole.append(time.perf_counter() - started)
            loop.callLater(0, step, number + 1)

        journal.append_chunk(key, SESSION, 0, 0, number, number, QUERY)
        journal.when_durable(journal.append_event(envelope("command.requested", number), key), told)
        journal.commit_now()

    loop.callWhenRunning(step, 0)
    loop.run()
    os.close(handle)
    before, after = statistics.median(raw) * 1e6, statistics.median(whole) * 1e6
    print(
        f"strict, one waiter, through the reactor: {after:.0f} us; write + fdatasync alone: {before:.0f} us"
    )


def main() -> None:
    state = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else "/var/tmp"))
    chance = random.Random(1)
    rows = b"".join(
        b"%d|alice%d|2026-01-%02d|%s\n"
        % (
            chance.randrange(10**7),
            chance.randrange(9999),
            chance.randrange(1, 29),
            bytes(chance.choices(b"abcdefghijklmnop ", k=150)),
        )
        for _ in range(20000)
    )
    padded = b"".join(b"%d\t%d\t0\t%s\n" % (n, chance.randrange(9999), b" " * 84) for n in range(40000))
    try:
        appending(state)
        bulk(state, "rows of random letters", rows)
        bulk(state, "rows of pgbench", padded)
        bulk(state, "noise", os.urandom(3 << 20))
        strict(state)
    finally:
        shutil.rmtree(state)


if __name__ == "__main__":
    main()
