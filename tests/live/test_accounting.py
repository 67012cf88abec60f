"""Every byte is accounted for, by a judge that isn't us: a counting relay on each plain leg."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .clients import psycopg_sync
from .clients.programs import postgres_program, run
from .gateway import Configuration, Gateway
from .judge import Counter, captured_payload, counting
from .need import require
from .postgres import Postgres
from .processes import until
from .raw import query_message, taken_over
from .trail import assert_balanced, recordings

psycopg = pytest.importorskip("psycopg")


def _between(counter: Counter) -> Any:
    def change(settings: Configuration) -> None:
        settings["target"][0]["connect"] = f"tcp:127.0.0.1:{counter.port}"

    return change


def _compare(through: Gateway, clients: Counter, servers: Counter, count: int) -> None:
    ends = assert_balanced(through.wait_for_events("session.end", count=count))
    said = {
        leg: sorted((end["event"][leg].get("received", 0), end["event"][leg].get("sent", 0)) for end in ends)
        for leg in ("client", "target")
    }
    assert said["client"] == sorted((each.up, each.down) for each in clients.connections)
    assert said["target"] == sorted((each.down, each.up) for each in servers.connections)


def _mixed(dsn: Any) -> None:
    """A session of everything: queries, errors, a pipeline, COPY both ways, a large result."""
    with psycopg.connect(dsn.conninfo, autocommit=True) as connection:
        connection.execute("SELECT 1; SELECT 'two'")
        connection.execute("CREATE TEMP TABLE c (n int, t text)")
        with connection.cursor() as cursor, cursor.copy("COPY c FROM STDIN") as copy:
            for n in range(20_000):
                copy.write_row((n, "x" * (n % 300)))
        with connection.cursor() as cursor, cursor.copy("COPY c TO STDOUT (FORMAT binary)") as copy:
            assert sum(len(data) for data in copy) > 1_000_000
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT 1/0")
        with connection.pipeline():
            for n in range(500):
                connection.execute("SELECT %s::int, repeat('y', 100)", (n,))
        connection.execute("SELECT repeat('z', 3000000)").fetchone()


def test_the_totals_equal_what_crossed_the_wire(gateway: Any, postgres15: Postgres) -> None:
    """``session.end`` against a relay that shares no code with us, on both plain legs."""
    with counting(postgres15.port) as servers:
        through: Gateway = gateway(upstream_tls=False, change=_between(servers))
        with counting(through.port()) as clients:
            for _ in range(3):
                _mixed(through.dsn("writer", port=clients.port))
            _compare(through, clients, servers, 3)


def test_the_totals_of_a_whole_battery(gateway: Any, postgres15: Postgres) -> None:
    """The same for the widest of the batteries: notices, notifications, cancels, two-phase commit."""
    with counting(postgres15.port) as servers:
        through: Gateway = gateway(upstream_tls=False, change=_between(servers))
        with counting(through.port()) as clients:
            # In a process of its own: some of libpq's blocking calls hold the interpreter, and with it the judge.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                pool.submit(psycopg_sync.run, through.dsn("writer", port=clients.port)).result(120)
            (end,) = assert_balanced(through.wait_for_events("session.end"))
            assert (end["event"]["client"]["received"], end["event"]["client"]["sent"]) == (
                clients.connections[0].up,
                clients.connections[0].down,
            )


@pytest.mark.parametrize("ending", ["abort", "half-close"])
def test_a_session_that_is_cut_is_balanced_too(gateway: Any, postgres15: Postgres, ending: str) -> None:
    """Totals must add up whatever the end: what arrived and was not decoded is opaque, not forgotten."""
    with counting(postgres15.port) as servers:
        through: Gateway = gateway(upstream_tls=False, change=_between(servers))
        with counting(through.port()) as clients, taken_over(through.dsn("writer", port=clients.port)) as raw:
            raw.sendall(query_message("SELECT repeat('x', 1000) FROM generate_series(1, 20000)"))
            raw.recv(1000)
            raw.sendall(query_message("SELECT 2")[:7])
            if ending == "abort":
                clients.cut()
            else:
                raw.shutdown(1)
                while raw.recv(1 << 20):
                    pass
            (end,) = assert_balanced(through.wait_for_events("session.end"))
        if ending == "half-close":
            assert end["event"]["client"]["received"] == clients.connections[0].up


@pytest.mark.parametrize("record", ["full", "requests", "metadata"])
def test_what_a_target_is_not_to_have_recorded_is_counted_and_not_kept(record: str, gateway: Any) -> None:
    """Rows are as sensitive as the database. Statements and parameters are in the events in any case, and the totals
    say what passed, not what was kept."""
    through: Gateway = gateway(record=record)
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        sql = "SELECT /* asked */ repeat('row', 2) || %s"
        assert connection.execute(sql, ("value",)).fetchone() == ("rowrowvalue",)
    (end,) = assert_balanced(through.wait_for_events("session.end"))
    assert end["event"]["client"]["sent"] > 100
    (asked,) = [each["event"] for each in through.events("command.requested")]
    assert "/* asked */" in asked["text"]
    assert asked["parameters"] == ["value"]
    assert through.terminate() == 0
    if record == "metadata":
        with pytest.raises(AssertionError, match="nothing was recorded"):
            recordings(through.state)
        return
    kept = b"".join(recordings(through.state))
    assert (b"/* asked */" in kept, b"rowrowvalue" in kept) == (True, record == "full")


def test_a_dropped_chunk_is_caught(gateway: Any, postgres15: Postgres) -> None:
    """The mutant: a chunk that vanishes between judge and gateway must make the comparison fail."""
    dropped: list[int] = []

    def drop(offset: int, data: bytes) -> bytes:
        if not dropped and data.startswith(b"d"):
            dropped.append(len(data))
            return b""
        return data

    with counting(postgres15.port) as servers:
        through: Gateway = gateway(upstream_tls=False, change=_between(servers))
        with counting(through.port(), meddle=drop) as clients:
            with taken_over(through.dsn("writer", port=clients.port)) as raw:
                raw.sendall(query_message("COPY (SELECT 1) TO STDOUT"))
                raw.recv(4096)
                raw.sendall(query_message("CREATE TEMP TABLE d (t text)"))
                raw.recv(4096)
                raw.sendall(query_message("COPY d FROM STDIN"))
                raw.recv(4096)
                raw.sendall(b"d\0\0\0\x06x\n")
                until(lambda: dropped, seconds=30, what="it vanished")  # what follows is a chunk of its own
                raw.sendall(b"c\0\0\0\4")
                raw.recv(4096)
                raw.sendall(b"X\0\0\0\4")
                raw.shutdown(1)
                while raw.recv(4096):
                    pass
            assert dropped
            with pytest.raises(AssertionError):
                _compare(through, clients, servers, 1)


def test_a_packet_capture_agrees(gateway: Any, postgres15: Postgres, tmp_path: Path) -> None:
    """A second opinion from the kernel's side, where loopback may be captured."""
    through: Gateway = gateway(upstream_tls=False)
    rows = "SELECT repeat('x', 100) FROM generate_series(1, 20000)"
    for attempt in range(
        1, 6
    ):  # a busy kernel may drop packets, and says so: then it saw nothing that counts
        with captured_payload(through.port(), tmp_path) as found:
            if found is None:
                require("tshark", "it is not allowed to capture on loopback here")
            run(
                postgres_program("psql"), ["-X", "-c", "SELECT 1", "-c", rows], through.dsn("writer")
            ).checked()
            end = through.wait_for_events("session.end", count=attempt)[-1]
        if found.whole:
            break
    assert found.whole, "no capture in five kept every packet"
    totals = end["event"]["client"]
    assert totals["sent"] > 2_000_000
    assert (found.to, found.from_) == (totals["received"], totals["sent"])
