"""The wall clock is set back and forth under a running gateway: nothing stalls, nothing ends, nothing is hidden."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from .gateway import Configuration, Gateway
from .processes import until
from .trail import assert_balanced, assert_whole

psycopg = pytest.importorskip("psycopg")

HOUR = 3600
WRONG = """
import os, time
_seconds, _nanoseconds, _file = time.time, time.time_ns, os.environ["WRONG_CLOCK"]
def _wrong():
    with open(_file) as file:
        return int(file.read() or 0)
time.time = lambda: _seconds() + _wrong()
time.time_ns = lambda: _nanoseconds() + _wrong() * 10**9
"""
"""What an interpreter runs when it starts (``sitecustomize``): its time of day is off by what a file says."""


class Wrong:
    """By how much the clock of a process is wrong."""

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(WRONG)
        self._file, self._folder = folder / "wrong", folder
        self.by(0)

    def by(self, seconds: int) -> None:
        new = self._file.with_name("new")
        new.write_text(str(seconds))
        os.replace(new, self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self._folder), "WRONG_CLOCK": str(self._file)}


@pytest.mark.parametrize("reactor", ["slim", "stock"])
def test_a_clock_that_jumps_holds_nothing_up_and_hides_nothing(
    reactor: str, gateway: Any, tmp_path: Path
) -> None:
    """Deadlines go on, resting sessions rest on, sinks deliver; the steps are on record; and ``audit show`` has what a
    session did while it was earlier than its beginning."""
    wrong, sink = Wrong(tmp_path), tmp_path / "events.jsonl"

    def change(settings: Configuration) -> None:
        settings["sink"] = [{"name": "file", "type": "file", "path": sink, "format": "native"}]
        settings["limits"]["idle_seconds"] = 3000
        settings["gateway"]["reactor"] = reactor

    through: Gateway = gateway(start=False, change=change)
    through.environment |= wrong.environment
    through.up()

    def steps() -> list[int]:
        return [
            round(each["event"]["step"] / 1000)
            for each in through.events("gateway.clock")
            if "step" in each["event"]
        ]

    resting = psycopg.connect(through.dsn("alice").conninfo, autocommit=True)
    with psycopg.connect(
        through.dsn("writer", application_name="jumper").conninfo, autocommit=True
    ) as connection:
        connection.execute("SELECT 'before'")
        for offset, said in ((-3 * HOUR, "back"), (20 * HOUR, "forth")):
            wrong.by(offset)
            connection.execute(f"SELECT '{said}'")
            until(
                lambda said=said: sink.exists() and f"SELECT '{said}'" in sink.read_text(),
                seconds=20,
                what="it is delivered",
            )
            began = time.monotonic()
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(through.dsn("writer", password="wrong").conninfo)
            assert time.monotonic() - began < 10
            expected = [-3 * HOUR] if said == "back" else [-3 * HOUR, 23 * HOUR]
            until(
                lambda expected=expected: steps() == expected,
                seconds=15,
                what=f"{expected} on record",
                step=0.5,
            )
    assert resting.execute("SELECT 1").fetchone() == (1,), "it rested for seconds, whatever the clock says"
    resting.close()
    session = through.session_of("jumper")
    shown = through.hoopproxy("audit", "show", session, "--config", str(through.config)).stdout
    replayed = through.hoopproxy(
        "audit", "replay", session, "--config", str(through.config), "--no-wait"
    ).stdout
    for said in ("before", "back", "forth"):
        assert f"SELECT '{said}'" in shown
        assert f"SELECT '{said}'" in replayed
    assert through.terminate() == 0
    assert_whole(through.events())
    assert_balanced(through.events())
