"""Much data: nothing that flows is held, whatever its size. Memory is asked of the kernel."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Any

import pytest

from .gateway import Gateway
from .processes import forget_peak, resident, resident_peak
from .raw import query_message, taken_over
from .trail import assert_balanced

psycopg = pytest.importorskip("psycopg")

MIB = 1 << 20
COPY_BYTES = 200 * MIB
BYTEA_BYTES = 300 * MIB
#: Buffers of both legs, the journal's un-synced lag (16 MiB), batches under compression, allocator slack.
MOST_GROWTH = 96 * MIB


@pytest.fixture
def bounded_memory(gateway: Any) -> Any:
    """A gateway whose peak memory is checked after the test against what it had at the start."""
    through: Gateway = gateway(upstream_tls=False)
    with psycopg.connect(through.dsn("writer").conninfo) as connection:  # imports, tables, first buffers
        connection.execute("SELECT repeat('x', 1000000)").fetchone()
    before = resident(through.pid)
    forget_peak(through.pid)
    yield through
    grown = resident_peak(through.pid) - before
    assert grown < MOST_GROWTH, f"grew by {grown / MIB:.0f} MiB"


def _line(number: int) -> bytes:
    return b"%d\t%s\n" % (number, hashlib.sha256(str(number).encode()).hexdigest().encode() * 3)


def test_a_copy_of_200_mib_both_ways(bounded_memory: Gateway) -> None:
    """A COPY that is held makes the gateway die of the first large restore."""
    block = b"".join(_line(number) for number in range(5000))
    times = COPY_BYTES // len(block) + 1
    with psycopg.connect(bounded_memory.dsn("writer").conninfo, autocommit=True) as connection:
        connection.execute("CREATE UNLOGGED TABLE bulk (n int, t text)")
        try:
            with connection.cursor() as cursor, cursor.copy("COPY bulk FROM STDIN") as copy:
                for _ in range(times):
                    copy.write(block)
            digest, total = hashlib.sha256(), 0
            with connection.cursor() as cursor, cursor.copy("COPY bulk TO STDOUT") as copy:
                for data in copy:
                    digest.update(data)
                    total += len(data)
        finally:
            connection.execute("DROP TABLE bulk")
    expected = hashlib.sha256()
    for _ in range(times):
        expected.update(block)
    assert total == len(block) * times
    assert digest.digest() == expected.digest()
    results = [each["event"] for each in bounded_memory.events("command.result")]
    copies = [
        (each["detail"]["copy"]["way"], each["rows"]) for each in results if "copy" in each.get("detail", {})
    ]
    assert copies == [("in", 5000 * times), ("out", 5000 * times)]
    assert_balanced(bounded_memory.wait_for_events("session.end", count=2))


def test_a_bytea_of_300_mib_runs_through_in_flat_memory(bounded_memory: Gateway) -> None:
    """One DataRow of 300 MiB: a gateway that assembles messages holds all of it."""
    with psycopg.connect(bounded_memory.dsn("writer").conninfo, autocommit=True) as connection:
        sql = f"SELECT convert_to(repeat('0123456789abcdef', {BYTEA_BYTES // 16}), 'UTF8')"
        (value,) = connection.execute(sql, binary=True).fetchone()
        assert len(value) == BYTEA_BYTES
        assert value[:16] == value[-16:] == b"0123456789abcdef"
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_client_that_does_not_read_stops_the_server_and_not_the_gateways_memory(
    bounded_memory: Gateway,
) -> None:
    """Back-pressure: the server must wait, nothing may pile up between."""
    connection = psycopg.connect(bounded_memory.dsn("writer").conninfo, autocommit=True)
    connection.pgconn.send_query(b"SELECT repeat('x', 1000) FROM generate_series(1, 300000)")
    time.sleep(3)
    sizes = {resident(bounded_memory.pid)}
    time.sleep(1)
    sizes.add(resident(bounded_memory.pid))
    assert max(sizes) - min(sizes) < 16 * MIB
    connection.close()


def test_ten_thousand_pipelined_statements(gateway: Any) -> None:
    """Answering by recursion dies here; so does a list that grows by copying."""
    through: Gateway = gateway(upstream_tls=False)
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:  # noqa: SIM117 - the pipeline must end before the next line
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int", (n,)) for n in range(10_000)]
            assert [each.fetchone() for each in cursors] == [(n,) for n in range(10_000)]
    done = through.wait_for_events("command.completed", count=10_000, seconds=30)
    assert len({each["op"] for each in done}) == len(done)


def test_ten_thousand_queries_in_one_write(gateway: Any) -> None:
    """The same by a client that sends all of it before it reads anything."""
    through: Gateway = gateway(upstream_tls=False)
    with taken_over(through.dsn("writer")) as raw:
        batch = b"".join(query_message(f"SELECT {n}") for n in range(10_000))
        sender = threading.Thread(target=raw.sendall, args=(batch,))
        sender.start()
        answers, tail = 0, b""
        while answers < 10_000:
            data = tail + raw.recv(1 << 20)
            assert len(data) > len(tail), f"ended after {answers} answers"
            answers += data.count(b"Z\0\0\0\5I")
            tail = data[-5:] if not data.endswith(b"Z\0\0\0\5I") else b""
        sender.join()
    requested = through.wait_for_events("command.requested", count=10_000, seconds=30)
    assert [each["event"]["text"] for each in requested][-3:] == ["SELECT 9997", "SELECT 9998", "SELECT 9999"]


def test_a_flood_behind_a_sleeping_command_waits_outside(bounded_memory: Gateway) -> None:
    """A Sync costs its sender 5 bytes; only so many are taken in while nobody answers, and none is lost."""
    syncs = 100_000
    with taken_over(bounded_memory.dsn("writer")) as raw:
        raw.sendall(query_message("SELECT pg_sleep(2)"))
        sender = threading.Thread(target=raw.sendall, args=(b"S\0\0\0\4" * syncs,))
        sender.start()
        answers, tail = 0, b""
        while answers <= syncs:
            data = raw.recv(1 << 20)
            assert data, f"{answers} of {syncs} were answered"
            tail += data
            answers += tail.count(b"Z\0\0\0\5")
            tail = tail[-4:]
        sender.join()
    assert 'hoopproxy_pauses_total{why="unanswered"}' in bounded_memory.ops("/metrics")[1]
