"""CPU microseconds an event: appended to the journal, and taken by each of those who read it.

``append`` is the gate's work on the statement, its envelope, the journal's block and its ``fdatasync``, eight sessions
a commit, without a network. The others are the real process that reads the trail, on a journal of a real gateway, with
one consumer at a time: its CPU until the last record is taken, less that of one with an empty journal. Reading is in
each, so they don't add up; ``all`` has ledger, index and the file as OCSF in one process. Syslog goes over TCP to a
receiver that throws away, Kafka to librdkafka's mock cluster; the CPU of those is not counted. A transaction of
``pgbench -S`` is three events. The least of the rounds is the number: what else a machine does only adds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hoopproxy.config import Config
from hoopproxy.config.carried import carried
from hoopproxy.config.model import Gateway, Index, JournalOptions, LedgerConfig, Limits, Log, Ops, Sink
from hoopproxy.delivery.pipe import encoded
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.watermark import read_mark
from tests.live.gateway import clean_environment
from tests.live.kafka import MockCluster
from tests.live.need import REPOSITORY

from .measures import cpu_seconds, median, save, spread, table
from .played import made
from .trail import record

__all__ = ["Reader", "config_of", "drain", "main"]

EVENTS_EACH = 3
SESSIONS = 8
CATCH_UP_SECONDS = 120.0
WHATS = ("append", "seal", "index", "file native", "file ocsf", "syslog", "kafka", "all")


def config_of(state: Path, *sinks: Sink, ledger: bool = False, index: bool = False) -> Config:
    """What the process that reads needs to know."""
    return Config(
        path=state / "gateway.toml",
        files=(),
        gateway=Gateway(node="bench", state=state, control=state / "control.sock"),
        log=Log(),
        journal=JournalOptions(),
        ledger=LedgerConfig(enabled=ledger),
        index=Index(enabled=index),
        ops=Ops(),
        limits=Limits(),
        listeners=(),
        targets=(),
        checkers=(),
        roles=(),
        sinks=sinks,
    )


class Reader:
    """``python -m hoopproxy.trail --follow``, and this process in the gateway's place at its pipe."""

    def __init__(self, config: Config, python: str = sys.executable) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "hoopproxy.trail", "--follow"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=REPOSITORY,
            env=clean_environment(),
        )
        self.pid = self._process.pid
        self._tell("start", config=carried(config), pauses={})

    def _tell(self, do: str, **said: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(encoded(do, **said))
        self._process.stdin.flush()

    def statuses(self) -> Iterator[list[Mapping[str, Any]]]:
        """Its consumers' facts, each time it says them. :raises RuntimeError: it ended."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if said["do"] == "status" and said["state"] == "running":
                yield said["consumers"]
            elif said["do"] == "told":
                print(f"the reader says: {said['sentence']}", file=sys.stderr)
        raise RuntimeError("the process that reads ended")

    def caught_up(self, folder: Folder) -> tuple[float, float]:
        """Wait until all of a journal is taken: CPU seconds of its life so far, and seconds of the clock since
        this was asked.

        :raises RuntimeError: somebody can't take it.
        """
        began, journal = time.monotonic(), str(uuid.UUID(bytes=folder.id))
        last = read_mark(folder.files, folder.watermark).jseq
        late = threading.Timer(CATCH_UP_SECONDS, self._process.kill)
        late.start()
        try:
            for consumers in self.statuses():
                troubled = [each for each in consumers if each["state"] not in ("ok", "retrying")]
                if troubled:
                    raise RuntimeError(f"{troubled[0]['name']}: {troubled[0]['error']}")
                if consumers and all(each["positions"].get(journal, 0) > last for each in consumers):
                    break
        finally:
            late.cancel()
        return cpu_seconds(self.pid), time.monotonic() - began

    def stop(self) -> None:
        """Have it end in order; what it has is durable then."""
        self._tell("stop", seconds=10.0)
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.end()
            raise

    def end(self) -> None:
        """Kill it: what it has is thrown away."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def drain() -> Iterator[int]:
    """A TCP port that takes everything, for as long as the block lasts."""
    script = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0)); print(server.getsockname()[1], flush=True)\n"
        "while True:\n"
        "    peer, _ = server.accept()\n"
        "    while peer.recv(1 << 20): pass\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def taken(
    read: Mapping[Path, Folder], *sinks: Sink, python: str = sys.executable, **consumers: bool
) -> float:
    """CPU seconds of a reader on the second journal, less those on the first, an empty one: what a start costs."""
    found = []
    for state, folder in read.items():
        shutil.rmtree(
            state / "trail", ignore_errors=True
        )  # what readers keep: each begins at the first record
        reader = Reader(config_of(state, *sinks, **consumers), python)
        try:
            found.append(reader.caught_up(folder)[0])
        finally:
            reader.end()
    return found[1] - found[0]


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the table, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.consumers", description=__doc__)
    parser.add_argument("--transactions", type=int, default=20_000, help="of the journal (default 20,000)")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--only", default="", help=f"of {', '.join(WHATS)}; comma separated")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the process that reads")
    options = parser.parse_args(argv)
    whats = [each for each in options.only.split(",") if each] or list(WHATS)
    found: dict[str, list[float]] = {what: [] for what in whats}
    cluster = MockCluster() if "kafka" in whats else None
    with drain() as port, tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        record(Path(name), options.transactions, SESSIONS, ("simple",))
        for number in range(options.rounds):
            folder = Path(name) / f"round{number}"
            shutil.copytree(Path(name) / "simple", folder / "state")
            _round(folder, found, options, port, cluster, number)
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    rows = [[what, min(values), median(values), spread(values)] for what, values in found.items()]
    print(table(("what", "us CPU an event, least", "median", "spread"), rows))
    return save("consumers", {"options": vars(options), "us": found})


def _round(
    folder: Path,
    found: dict[str, list[float]],
    options: argparse.Namespace,
    port: int,
    cluster: MockCluster | None,
    number: int,
) -> None:
    (recorded,) = journals(folder / "state")
    read = {folder / "empty": made(folder / "empty", 0), folder / "state": recorded}
    made(folder / "first", 800)  # the interpreter warms up
    began = time.process_time()
    made(folder / "made", options.transactions)
    spent = time.process_time() - began
    events = options.transactions * EVENTS_EACH

    def file(format: str) -> Sink:
        return Sink(name="it", type="file", format=format, options={"path": str(folder / "delivered")})

    syslog = {"transport": "tcp", "address": f"127.0.0.1:{port}"}
    ways: dict[str, tuple[tuple[Sink, ...], dict[str, bool]]] = {
        "seal": ((), {"ledger": True}),
        "index": ((), {"index": True}),
        "file native": ((file("native"),), {}),
        "file ocsf": ((file("ocsf"),), {}),
        "syslog": ((Sink(name="it", type="syslog", options=syslog),), {}),
        "all": ((file("ocsf"),), {"ledger": True, "index": True}),
    }
    if cluster is not None:
        kafka = {"brokers": (cluster.address.split(",")), "topic": cluster.topic(f"bench{number}")}
        ways["kafka"] = ((Sink(name="it", type="kafka", options=kafka),), {})
    for what, values in found.items():
        if what == "append":
            values.append(spent / events * 1e6)
            continue
        sinks, consumers = ways[what]
        values.append(taken(read, *sinks, python=options.python, **consumers) / events * 1e6)


if __name__ == "__main__":
    print(main())
