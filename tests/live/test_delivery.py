"""The trail delivered by a real process to a real file, while that process is killed again and again.

At least once and in order: every event of the journal is in the file, each session's in the order of its numbers
when repetitions are dropped, and a repetition only where a life of the process ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from .gateway import Configuration, Gateway
from .postgres import Postgres
from .processes import command_line, processes_of, until
from .test_kill import Client

ROUNDS = 4
SOAK_PARTS, SOAK_ROUNDS = 6, 10
"""Parts of so many rounds: the pauses before the next process grow to half a minute, and begin anew in each part."""


def to_file(folder: Path, **more: Any) -> Callable[[Configuration], None]:
    """A change that adds a file sink."""

    def change(settings: Configuration) -> None:
        settings["sink"] = [
            {"name": "here", "type": "file", "path": folder / "trail.jsonl", "format": "native", **more}
        ]

    return change


def delivered(path: Path) -> list[dict[str, Any]]:
    """What is in the file: whole lines, every one an event."""
    data = path.read_bytes() if path.exists() else b""
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def reader_of(gateway: Gateway) -> int:
    """The process that follows the trail."""
    found: list[int] = []

    def there() -> bool:
        found[:] = [pid for pid in processes_of(gateway.pid) if "--follow" in command_line(pid)]
        return bool(found)

    until(there, seconds=40, what="the process that follows the trail")
    return found[0]


def assert_all_delivered(gateway: Gateway, path: Path) -> int:
    """Every event up to the gateway's last word, in order; returns how many lines are repetitions.

    What the readers themselves say when they stop is on record after that, and delivered at the next start.
    """
    there = delivered(path)
    first: dict[str, dict[str, Any]] = {}
    for event in there:
        first.setdefault(event["id"], event)
    events = gateway.events()
    last = {each["journal"]: each["jseq"] for each in events if each["kind"] == "gateway.stopped"}
    expected = [each for each in events if each["jseq"] <= last.get(each["journal"], 0)]
    assert expected
    missing = [event["jseq"] for event in expected if event["id"] not in first]
    assert missing == [], f"{len(missing)} of {len(expected)} events were not delivered: {missing[:10]}"
    assert first.keys() <= {each["id"] for each in events}, (
        "something was delivered that is not in the journal"
    )
    order: dict[str, int] = {}
    for event in first.values():
        journal = event["journal"]
        assert event["jseq"] > order.get(journal, 0), "out of order"
        order[journal] = event["jseq"]
    return len(there) - len(first)


@contextlib.contextmanager
def clients_at_work(gateway: Gateway, folder: Path, start: int) -> Iterator[list[Client]]:
    """Two clients that ask without a pause."""
    clients = [Client(gateway.dsn("writer"), "simple", (start + n) * 1_000_000 + 1, folder) for n in range(2)]
    try:
        for each in clients:
            each.wait_for_work()
        yield clients
    finally:
        for each in clients:
            each.end()


def _lag(gateway: Gateway) -> float:
    """Records that are durable and wait for the sink."""
    name = 'hoopproxy_trail_lag_records{consumer="sink-here"} '
    return next(
        (
            float(line.removeprefix(name))
            for line in gateway.ops("/metrics")[1].splitlines()
            if line.startswith(name)
        ),
        float("inf"),
    )


def _rounds(gateway: Gateway, folder: Path, rounds: int) -> None:
    seed = int(os.environ.get("HOOPPROXY_KILL_SEED", time.time_ns() % 1_000_000))
    print(f"HOOPPROXY_KILL_SEED={seed}")
    chance = random.Random(seed)
    seen = 0
    with clients_at_work(gateway, folder, 1) as clients:
        for _ in range(rounds):
            os.kill(reader_of(gateway), signal.SIGKILL)
            time.sleep(chance.uniform(0.05, 1.2))
        reader_of(gateway)
        assert all(each.process.poll() is None for each in clients), "a session died with the reader"
        seen = sum(len(each.seen()) for each in clients)
    assert seen > 100
    if rounds > ROUNDS:  # what came in half a minute's pause takes longer than a stop waits for its readers
        until(lambda: _lag(gateway) < 1000, seconds=1800, what="the backlog is delivered", step=2)
    assert gateway.terminate() == 0, gateway.stderr[-2000:]
    repeated = assert_all_delivered(gateway, folder / "trail.jsonl")
    print(f"{len(delivered(folder / 'trail.jsonl'))} lines, {repeated} of them repetitions, {rounds} kills")
    assert gateway.events("gateway.stopped"), "the last word is there, too"


def test_nothing_is_lost_when_the_process_that_delivers_is_killed(
    gateway: Any, postgres15: Postgres, tmp_path: Path
) -> None:
    """A SIEM that misses what happened while a process was restarted is no SIEM."""
    _rounds(gateway(change=to_file(tmp_path)), tmp_path, ROUNDS)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(SOAK_PARTS))
def test_nothing_is_lost_when_it_is_killed_for_long(
    gateway: Any, postgres15: Postgres, tmp_path: Path, part: int
) -> None:
    """The same, often enough to meet the rare moments."""
    _rounds(gateway(change=to_file(tmp_path)), tmp_path, SOAK_ROUNDS)


def test_nothing_is_lost_when_everything_is_killed(
    gateway: Any, postgres15: Postgres, tmp_path: Path
) -> None:
    """Gateway and reader at once; the next start delivers what the last one had made durable."""
    through: Gateway = gateway(change=to_file(tmp_path))
    for number in range(3):
        if not through.running:
            through.up()
        with clients_at_work(through, tmp_path, 10 * (number + 1)):
            time.sleep(0.5)
            reader = reader_of(through)
            through.kill9()
            with contextlib.suppress(ProcessLookupError):
                os.kill(reader, signal.SIGKILL)
    through.up()
    assert through.terminate() == 0, through.stderr[-2000:]
    assert_all_delivered(through, tmp_path / "trail.jsonl")


def test_a_reply_implies_that_the_record_is_at_the_sink(
    gateway: Any, postgres15: Postgres, tmp_path: Path
) -> None:
    """``durable_at``: the file has the command before the client has its answer."""

    def change(settings: Configuration) -> None:
        to_file(tmp_path, required=True)(settings)
        settings["target"][0]["durable_at"] = ["here"]

    through: Gateway = gateway(change=change, mode="strict")
    path = tmp_path / "trail.jsonl"
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        for number in range(20):
            connection.execute(f"SELECT {number} AS waited")
            asked = [
                each["event"].get("text") for each in delivered(path) if each["kind"] == "command.requested"
            ]
            assert f"SELECT {number} AS waited" in asked
        os.kill(reader_of(through), signal.SIGKILL)
        connection.execute("SELECT 99 AS waited")  # waits for the next one
    assert through.terminate() == 0, through.stderr[-2000:]
    assert_all_delivered(through, path)


def test_a_required_sink_past_its_quota_stops_commands_until_it_is_back(
    gateway: Any, postgres15: Postgres, tmp_path: Path
) -> None:
    """In PostgreSQL's words, with the reason; what was recorded meanwhile is delivered then."""
    folder = tmp_path / "missing"
    through: Gateway = gateway(change=to_file(folder, required=True, quota_bytes=65_536))
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        refused = None
        end = time.monotonic() + 40
        while refused is None and time.monotonic() < end:
            try:
                connection.execute("SELECT md5(random()::text) FROM generate_series(1, 2000)")
            except psycopg.Error as problem:
                refused = problem
        assert refused is not None
        assert "here" in str(refused)
        assert "required" in str(refused)
        told = ""

        def failing() -> bool:
            nonlocal told
            done = through.hoopproxy("audit", "sinks", "--config", str(through.config), check=False)
            told = done.stdout
            return done.returncode == 1 and f"{folder}" in told and "No such file" in told

        until(failing, seconds=20, what="the sink's error is told", step=0.5)
        assert "over quota" in told
        until(
            lambda: "audit.sink_failed" in [each["kind"] for each in through.events()],
            seconds=30,
            what="the failure is on record",
            step=0.5,
        )
        folder.mkdir()

        def taken() -> bool:
            try:
                connection.execute("SELECT 'again'")
            except psycopg.Error:
                return False
            return True

        until(taken, seconds=70, what="commands are taken again", step=0.5)
    done = through.hoopproxy("audit", "sinks", "--config", str(through.config))
    assert "ok" in done.stdout
    assert through.terminate() == 0, through.stderr[-2000:]
    assert_all_delivered(through, folder / "trail.jsonl")
    kinds = [each["kind"] for each in through.events()]
    assert kinds.count("audit.sink_failed") == kinds.count("audit.sink_recovered") == 1
