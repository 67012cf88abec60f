"""kill -9 of client, server and gateway at random moments: what a client was told is on record.

``strict``: a reply that the client saw implies that its ``requested`` record survives. Twenty rounds by
default; ``-m soak`` (or ``HOOPPROXY_KILL_ROUNDS``) does more. The seed is printed; ``HOOPPROXY_KILL_SEED``
repeats a run's moments (not the machine's).
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .clients.counting_client import statement
from .clients.pgbench import initialise
from .clients.programs import postgres_program
from .dsn import Dsn
from .gateway import Configuration, Gateway
from .need import REPOSITORY
from .postgres import Postgres
from .processes import until
from .trail import assert_whole, texts

psycopg = pytest.importorskip("psycopg")

ROUNDS = int(os.environ.get("HOOPPROXY_KILL_ROUNDS", "20"))
SOAK_PARTS, SOAK_ROUNDS = 6, 50
MOST_WAITED_FOR = 40
"""Replies that a client saw before the moment comes, at most: twenty on average, however slow the disk is."""
HOWS = ("simple", "extended", "pipeline")
VICTIMS = ("client", "server", "gateway")


class Load:
    """``pgbench`` that changes rows, as a process of its own. The server counts what it did in a table."""

    def __init__(self, dsn: Dsn) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        self.process = subprocess.Popen(
            [postgres_program("pgbench"), "-n", "-N", "-c", "2", "-j", "1", "-T", "60"],
            env={**kept, **dsn.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class Client:
    """``counting_client`` as a process of its own."""

    def __init__(self, dsn: Dsn, how: str, start: int, folder: Path) -> None:
        self._said = folder / f"said-{start}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with self._said.open("wb") as said, (folder / f"err-{start}").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.live.clients.counting_client", how, str(start)],
                env={**kept, **dsn.environment},
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=errors,
            )

    def seen(self) -> list[int]:
        """The numbers whose replies it saw. A last line that was cut counts as not said."""
        return [int(line) for line in self._said.read_bytes().split(b"\n")[:-1]]

    def wait_for_work(self, replies: int = 1, seconds: float = 90) -> None:
        """Until it saw so many replies."""
        end = time.monotonic() + seconds
        while len(self.seen()) < replies:
            assert self.process.poll() is None, "the client ended before it worked"
            assert time.monotonic() < end, f"the client saw {len(self.seen())} of {replies} replies"
            time.sleep(0.01)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def _rounds(through: Gateway, server: Postgres, folder: Path, count: int) -> None:
    seed = int(os.environ.get("HOOPPROXY_KILL_SEED", time.time_ns() % 1_000_000))
    print(f"HOOPPROXY_KILL_SEED={seed}")
    chance = random.Random(seed)
    told: set[int] = set()
    initialise(server.dsn("app_rw"))
    try:
        for number in range(count):
            victim, how = VICTIMS[number % 3], chance.choice(HOWS)
            if not through.running:
                through.up()
            clients = [
                Client(through.dsn("writer"), how, (number * 10 + n) * 1_000_000 + 1, folder)
                for n in range(2)
            ]
            load = Load(through.dsn("writer"))
            for each in clients:
                each.wait_for_work(chance.randint(1, MOST_WAITED_FOR))
            if number == 0:
                until(lambda: _history(server) > count, seconds=60, what="pgbench is at work")
            time.sleep(chance.uniform(0.0, 0.3))
            if victim == "client":
                clients[0].end()
            elif victim == "server":
                server.kill()
            else:
                through.kill9()
            time.sleep(0.1)
            load.end()
            for each in clients:
                each.end()
                told.update(each.seen())
            if victim == "server":
                server.up()
        if not through.running:
            through.up()
        assert through.terminate() == 0, through.stderr[-2000:]
    finally:
        if not server.running:
            server.up()
    assert len(told) > count * 10, f"only {len(told)} replies were seen: this would prove little"
    events = through.events()
    assert_whole(events)
    recorded = set(texts(events))
    missing = [number for number in sorted(told) if statement(number) not in recorded]
    assert missing == [], f"{len(missing)} of {len(told)} seen replies have no record: {missing[:5]}"
    done = _history(server)
    asked = sum(text.startswith("INSERT INTO pgbench_history") for text in texts(events))
    assert done > count, f"pgbench changed {done} rows: this would prove little"
    assert asked >= done, f"the server counts {done} changes, and {asked} are on record"
    kinds = {each["kind"] for each in events}
    assert {"session.end", "session.interrupted", "command.unfinished"} <= kinds


def _history(server: Postgres) -> int:
    """Transactions of pgbench that the server committed."""
    with psycopg.connect(server.dsn("app_rw").conninfo) as connection:
        (count,) = connection.execute("SELECT count(*) FROM pgbench_history").fetchone()
    return int(count)


def test_what_a_client_was_told_is_on_record_after_kill_9(
    gateway: Any, postgres15: Postgres, tmp_path: Path
) -> None:
    """``No record, no action``, tried the hard way, in ``strict``."""
    _rounds(gateway(mode="strict"), postgres15, tmp_path, ROUNDS)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(SOAK_PARTS))
def test_what_a_client_was_told_is_on_record_after_kill_9_for_long(
    gateway: Any, postgres15: Postgres, tmp_path: Path, part: int
) -> None:
    """The same, until rare moments have come up too."""
    _rounds(gateway(mode="strict"), postgres15, tmp_path, SOAK_ROUNDS)


def test_in_bounded_mode_the_journal_is_whole_after_kill_9(gateway: Any, tmp_path: Path) -> None:
    """``bounded`` may lose the last milliseconds, and nothing before them."""
    through: Gateway = gateway(mode="bounded")
    client = Client(through.dsn("writer"), "simple", 1, tmp_path)
    began = time.monotonic()
    client.wait_for_work(101)
    time.sleep(max(0.0, 1.5 - (time.monotonic() - began)))
    through.kill9()
    client.end()
    through.up()
    assert through.terminate() == 0
    events = through.events()
    assert_whole(events)
    recorded = set(texts(events))
    seen = client.seen()
    missing = [number for number in seen if statement(number) not in recorded]
    assert len(seen) > 100
    assert missing == seen[len(seen) - len(missing) :], "lost from the middle, not from the end"
    assert len(missing) < len(seen) / 2, f"{len(missing)} of {len(seen)} lost: over the bound of 200 ms"


def test_who_logged_in_and_came_no_further_has_an_end_after_kill_9(gateway: Any) -> None:
    """The target never answered: there is a log-in on record, and no session.start."""
    psycopg = pytest.importorskip("psycopg")
    with socket.create_server(("127.0.0.1", 0)) as mute:

        def changed(settings: Configuration) -> None:
            settings["target"][0]["connect"] = f"tcp:127.0.0.1:{mute.getsockname()[1]}"

        through: Gateway = gateway(upstream_tls=False, change=changed)
        pending = psycopg.pq.PGconn.connect_start(through.dsn("writer").conninfo.encode())

        def logged_in() -> bool:
            pending.connect_poll()
            return bool(through.events("login.succeeded"))

        until(logged_in, seconds=60, what="it is logged in", step=0.05)
        through.kill9()
        pending.finish()
        through.up()
        assert through.terminate() == 0
    events = through.events()
    assert_whole(events)
    (login,) = [each for each in events if each["kind"] == "login.succeeded"]
    (end,) = [each for each in events if each["kind"] == "session.interrupted"]
    assert end["session"] == login["session"]
    assert end["identity"] == login["identity"]
    assert not [each for each in events if each["kind"] == "session.start"]
