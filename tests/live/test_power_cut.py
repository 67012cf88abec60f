"""The power goes while a real gateway works for real clients: a page cache survives kill -9, but not this.

The state is on an ext4 of its own, which is shut down under the running gateway: nothing reaches the device
any more, and what only the page cache had is gone when it is mounted again. Needs root and a loop device, no
device mapper.

The same rounds must turn red without the ``fdatasync``, and when bytes go on before their record is durable.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoopproxy.errors import Damaged

from .clients.counting_client import statement
from .gateway import Gateway
from .postgres import Postgres
from .processes import until, work_folder
from .small_disk import SmallDisk, small_disk
from .test_kill import HOWS, Client
from .trail import assert_whole, texts

psycopg = pytest.importorskip("psycopg")

ROUNDS = int(os.environ.get("HOOPPROXY_CUT_ROUNDS", "4"))
SOAK_PARTS, SOAK_ROUNDS = 4, 15

#: What a mutant does to itself when its interpreter starts.
NO_SYNC = "import os\nos.fdatasync = lambda handle: None\n"
#: A disk that takes its time makes the mistake visible: what goes on before the sync is answered before it.
FORWARD_FIRST = """
import os, time
sync = os.fdatasync
def slow(handle):
    time.sleep(0.3)
    sync(handle)
os.fdatasync = slow
from hoopproxy.wire.turn import Turn
Turn._hold = Turn._go
"""


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir=work_folder()))
    with small_disk(folder, megabytes=96) as made:
        yield made


def _on(disk: SmallDisk) -> Any:
    def change(settings: dict[str, Any]) -> None:
        settings["gateway"]["state"] = disk.path / "state"
        settings["journal"] |= {"segment_bytes": 1 << 20, "reserve_bytes": 2 << 20}

    return change


def _mutate(through: Gateway, source: str) -> None:
    """Have the gateway's interpreter change itself as it starts."""
    (through.folder / "sitecustomize.py").write_text(source)
    through.environment["PYTHONPATH"] = str(through.folder)


def missing_after_cuts(through: Gateway, disk: SmallDisk, folder: Path, rounds: int) -> tuple[list[int], int]:
    """Cut the power that many times at random moments; the numbers whose replies were seen and that the
    trail doesn't know, and how many were seen."""
    seed = int(os.environ.get("HOOPPROXY_CUT_SEED", time.time_ns() % 1_000_000))
    print(f"HOOPPROXY_CUT_SEED={seed}")
    chance = random.Random(seed)
    told: set[int] = set()
    for number in range(rounds):
        if not through.running:
            through.up()
        clients = [
            Client(through.dsn("writer"), chance.choice(HOWS), (number * 10 + n) * 1_000_000 + 1, folder)
            for n in range(2)
        ]
        for each in clients:
            each.wait_for_work(chance.randint(3, 20))
        time.sleep(chance.uniform(0.0, 0.3))
        disk.cut_power()
        time.sleep(0.1)  # what could be told although nothing can be written any more
        through.kill9()
        for each in clients:
            each.end()
            told.update(each.seen())
        disk.power_on()
    through.up()
    assert through.terminate() == 0, through.stderr[-2000:]
    events = through.events()
    assert_whole(events)
    recorded = set(texts(events))
    return [number for number in sorted(told) if statement(number) not in recorded], len(told)


def test_what_a_client_was_told_is_on_record_after_a_power_cut(
    gateway: Any, postgres15: Postgres, disk: SmallDisk, tmp_path: Path
) -> None:
    """``strict``: the reply implies that the ``requested`` record survives, also the loss of the page cache."""
    through: Gateway = gateway(mode="strict", start=False, change=_on(disk))
    missing, told = missing_after_cuts(through, disk, tmp_path, ROUNDS)
    assert told > 5 * ROUNDS, f"only {told} replies were seen: this would prove little"
    assert missing == [], f"{len(missing)} of {told} seen replies have no record: {missing[:5]}"


def test_a_disk_that_fails_altogether_lets_nothing_happen(
    gateway: Any, postgres15: Postgres, disk: SmallDisk
) -> None:
    """Every write and sync is EIO, a new segment's as well: commands are refused in the protocol's words, and the
    process lives to say why."""
    through: Gateway = gateway(mode="strict", change=_on(disk))
    with psycopg.connect(postgres15.dsn("app_rw").conninfo, autocommit=True) as server:
        server.execute("CREATE SEQUENCE IF NOT EXISTS counted_in_eio")
        server.execute("ALTER SEQUENCE counted_in_eio RESTART")
        connection = psycopg.connect(through.dsn("writer").conninfo, autocommit=True)
        connection.execute("SELECT nextval('counted_in_eio')")
        disk.cut_power()
        with pytest.raises(psycopg.Error) as caught:  # noqa: PT012 - which of them is the first to be refused
            for _ in range(5):
                connection.execute("SELECT nextval('counted_in_eio')")
        error = caught.value
        assert error.sqlstate in ("58030", "57P01", None), error
        connection.close()
        (last,) = server.execute("SELECT last_value FROM counted_in_eio").fetchone()
        assert last == 1, "a statement ran without a record"
        server.execute("DROP SEQUENCE counted_in_eio")
    until(lambda: through.ops("/readyz")[0] != 200, seconds=30, what="/readyz says no")
    assert through.ops("/livez")[0] == 200
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(through.dsn("writer").conninfo)
    through.kill9()


@pytest.mark.soak
@pytest.mark.parametrize("part", range(SOAK_PARTS))
def test_what_a_client_was_told_is_on_record_after_many_power_cuts(
    gateway: Any, postgres15: Postgres, disk: SmallDisk, tmp_path: Path, part: int
) -> None:
    """The same, until rare moments have come up too."""
    through: Gateway = gateway(mode="strict", start=False, change=_on(disk))
    missing, told = missing_after_cuts(through, disk, tmp_path, SOAK_ROUNDS)
    assert told > 5 * SOAK_ROUNDS, f"only {told} replies were seen: this would prove little"
    assert missing == []


@pytest.mark.parametrize("mutant", [NO_SYNC, FORWARD_FIRST], ids=["no-fdatasync", "forward-first"])
def test_the_rounds_turn_red_for_a_gateway_that_breaks_the_promise(
    gateway: Any, postgres15: Postgres, disk: SmallDisk, tmp_path: Path, mutant: str
) -> None:
    """A test that can't fail proves nothing: these two mistakes are found."""
    through: Gateway = gateway(mode="strict", start=False, change=_on(disk))
    _mutate(through, mutant)
    try:
        # Others of our processes sync the same file system: of a few replies, all can be lucky.
        missing, told = missing_after_cuts(through, disk, tmp_path, 4)
    except Damaged as problem:
        assert mutant == NO_SYNC
        assert "was expected" in str(problem)  # noqa: PT017
        return
    assert told > 1
    assert missing, "the checker did not notice"
