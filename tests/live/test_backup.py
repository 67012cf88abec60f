"""A backup that is made while clients are at work, and a gateway that goes on with it."""

from __future__ import annotations

import shutil
import threading
from typing import Any

import pytest

from .gateway import Gateway
from .processes import until
from .trail import assert_whole

psycopg = pytest.importorskip("psycopg")


def test_a_backup_under_load_is_a_copy_that_a_gateway_goes_on_with(gateway: Any) -> None:
    """Each of several, at whatever moment: nothing in them looks damaged, and no size of the tree has two roots."""

    def small(settings: dict[str, Any]) -> None:
        settings["journal"] = {"segment_bytes": 1 << 20}

    running: Gateway = gateway(change=small)
    over = threading.Event()
    asked = [0, 0]

    def ask(number: int) -> None:
        with psycopg.connect(running.dsn("writer").conninfo, autocommit=True) as connection:
            while not over.is_set():
                connection.execute("SELECT %s, repeat('x', 2000)", (asked[number],))
                asked[number] += 1

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for each in askers:
        each.start()
    copies = []
    try:
        until(lambda: min(asked) > 300, seconds=60, what="clients are at work")
        for number in range(4):
            before = list(asked)
            copies.append(running.folder / f"backup-{number}")
            running.hoopproxy("journal", "backup", "--config", str(running.config), str(copies[-1]))
            assert asked > before, "nobody waited for it"
    finally:
        over.set()
        for each in askers:
            each.join()
    assert running.terminate() == 0
    for copy in copies:
        running.hoopproxy("journal", "check", "--state", str(copy))
    shutil.rmtree(running.state)
    copies[-1].rename(running.state)
    running.up()
    with psycopg.connect(running.dsn("writer").conninfo, autocommit=True) as connection:
        connection.execute("SELECT 'afterwards'")
    running.wait_for_events("audit.epoch", count=2)
    found = running.hoopproxy(
        "audit", "search", "afterwards", "--config", str(running.config), "--json"
    ).stdout
    assert len(found.splitlines()) == 1
    assert running.terminate() == 0
    assert_whole(running.events())
    assert [each["event"]["why"] for each in running.events("audit.epoch")] == ["first", "restored"]
    assert "note: epoch 2 began" in running.hoopproxy("audit", "verify", "--state", str(running.state)).stdout
