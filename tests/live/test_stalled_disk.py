"""A disk that hangs: reading pauses, memory is bounded, and everything goes on when the disk does."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .gateway import Configuration, Gateway
from .processes import until, work_folder
from .small_disk import SmallDisk, small_disk
from .trail import assert_balanced, assert_whole

psycopg = pytest.importorskip("psycopg")

MIB = 1 << 20
MAX_LAG = 4 * MIB
ROWS, ROW = 150_000, 1000
STALL_SECONDS = 2.0


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir=work_folder()))
    with small_disk(folder, megabytes=96) as made:
        yield made


class Copying(threading.Thread):
    """A client that reads rows as fast as it can; ``received`` counts bytes."""

    def __init__(self, conninfo: str) -> None:
        super().__init__(daemon=True)
        self.conninfo, self.received, self.failure = conninfo, 0, ""

    def run(self) -> None:
        rows = f"COPY (SELECT repeat('x', {ROW - 1}) FROM generate_series(1, {ROWS})) TO STDOUT"
        try:
            with psycopg.connect(self.conninfo) as connection, connection.cursor().copy(rows) as copy:
                for data in copy:
                    self.received += len(data)
        except psycopg.Error as error:
            self.failure = str(error)


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


@pytest.mark.parametrize("mode", ["strict", "bounded"])
def test_a_stalled_disk_pauses_the_stream_in_bounded_memory(gateway: Any, disk: SmallDisk, mode: str) -> None:
    """Without the pause the gateway would take in the whole table while nothing of it is on record."""

    def change(settings: Configuration) -> None:
        settings["gateway"]["state"] = disk.path / "state"
        settings["journal"] |= {"segment_bytes": 4 * MIB, "reserve_bytes": MIB, "max_lag_bytes": MAX_LAG}

    through: Gateway = gateway(mode=mode, change=change)
    client = Copying(through.dsn("writer").conninfo)
    client.start()
    until(lambda: client.received > 5 * MIB, seconds=20, what="rows arrive")
    before = _resident(through.pid)
    with disk.stalled():
        time.sleep(1.0)
        paused_at = client.received
        end = time.monotonic() + STALL_SECONDS
        most = before
        while time.monotonic() < end:
            most = max(most, _resident(through.pid))
            time.sleep(0.1)
        assert client.is_alive(), "it was too fast: nothing was stalled"
        # What was in sockets' buffers may still arrive.
        assert client.received - paused_at < 8 * MIB, "rows go on although nothing can be recorded"
        assert through.ops("/livez")[0] == 200
    assert most - before < 4 * MAX_LAG + 32 * MIB, f"{(most - before) >> 20} MiB more during the stall"
    client.join(60)
    assert not client.is_alive()
    assert client.failure == ""
    assert client.received == ROWS * ROW
    assert through.terminate() == 0
    events = through.events()
    assert_whole(events)
    assert_balanced(events)
