"""A journal on a full file system: refused in the protocol's words, ended in order, well again by itself."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .gateway import Configuration, Gateway
from .processes import until, work_folder
from .small_disk import SmallDisk, small_disk
from .trail import assert_whole

psycopg = pytest.importorskip("psycopg")

DISK_FULL, IO_ERROR = "53100", "58030"


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir=work_folder()))
    with small_disk(folder) as made:
        yield made


def _on(disk: SmallDisk) -> Any:
    def change(settings: Configuration) -> None:
        settings["gateway"]["state"] = disk.path / "state"
        settings["journal"] |= {"segment_bytes": 4 << 20, "reserve_bytes": 2 << 20, "compression": "none"}

    return change


def _refused(connection: Any, seconds: float = 60) -> str:
    """Work until the gateway refuses; the code that it gave.

    What is said to an idle client (a result had room yet, what is on record of it had none) is an error for libpq if
    it has sent the next query before it reads that, and a notice if it reads that with the result.
    """
    codes: list[str] = []
    connection.add_notice_handler(lambda notice: codes.append(notice.sqlstate))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            connection.execute("SELECT repeat('x', 100000)").fetchone()
        except psycopg.Error as error:
            codes += [error.sqlstate] if error.sqlstate is not None else []
            break
    (code,) = codes
    return code


@pytest.mark.parametrize("mode", ["strict", "bounded"])
def test_a_full_disk_refuses_commands_and_recovers_without_a_restart(
    gateway: Any, disk: SmallDisk, mode: str
) -> None:
    """No record, no action: nothing runs unrecorded, and nobody has to restart anything afterwards."""
    through: Gateway = gateway(mode=mode, change=_on(disk))
    pid = through.pid
    connection = psycopg.connect(through.dsn("writer").conninfo, autocommit=True)
    idle = psycopg.connect(through.dsn("writer").conninfo, autocommit=True)
    connection.execute("SELECT 1")
    disk.fill()
    assert _refused(connection) in (DISK_FULL, IO_ERROR)
    until(lambda: through.ops("/readyz")[0] != 200, seconds=30, what="/readyz says no")
    assert through.ops("/livez")[0] == 200
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(through.dsn("writer").conninfo)
    for each in (connection, idle):
        each.close()
    disk.relieve()
    until(lambda: through.ops("/readyz")[0] == 200, seconds=30, what="/readyz says yes again")
    with psycopg.connect(through.dsn("writer").conninfo) as again:
        assert again.execute("SELECT 'well'").fetchone() == ("well",)
    assert through.pid == pid
    assert through.running
    assert through.terminate() == 0
    events = through.events()
    assert_whole(events)
    states = [each["event"]["state"] for each in events if each["kind"] == "gateway.journal"]
    assert "refusing" in states
    assert states[-1] == "recovered"


def test_every_statement_that_ran_is_on_record_although_the_disk_filled_up(
    gateway: Any, disk: SmallDisk
) -> None:
    """Asked of the server: a sequence counts how often it was called, and the trail must know each call."""
    through: Gateway = gateway(change=_on(disk))
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE IF NOT EXISTS counted")
        connection.execute("ALTER SEQUENCE counted RESTART")
        disk.fill(leave=1 << 20)
        with pytest.raises(psycopg.Error):  # noqa: PT012 - the error may come at any step of the block
            for _ in range(100_000):
                connection.execute("SELECT nextval('counted'), repeat('x', 5000)")
    disk.relieve()
    until(lambda: through.ops("/readyz")[0] == 200, seconds=30, what="/readyz says yes again")
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        (last,) = connection.execute("SELECT last_value FROM counted").fetchone()
        connection.execute("DROP SEQUENCE counted")
    assert through.terminate() == 0
    requested = [
        each for each in through.events("command.requested") if "nextval('counted')" in each["event"]["text"]
    ]
    assert last > 3
    assert len(requested) >= last, "a statement ran without a record"


def test_a_start_on_a_full_disk_says_so(gateway: Any, disk: SmallDisk) -> None:
    """A gateway that can't make its journal must not come up and audit nothing."""
    disk.fill()
    through: Gateway = gateway(start=False, change=_on(disk))
    status, said = through.refuse_to_start()
    assert status != 0
    assert "Traceback" not in said
    assert "space" in said.lower()
