"""A running gateway seals what it records, in the process that follows: verified from the outside, over restarts."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from .gateway import Configuration, Gateway
from .processes import until

psycopg = pytest.importorskip("psycopg")


def verified(through: Gateway, *words: str) -> list[dict[str, Any]]:
    done = through.hoopproxy("audit", "verify", "--state", str(through.state), "--json", *words, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def work(through: Gateway, count: int, name: str) -> None:
    with psycopg.connect(
        through.dsn("writer", application_name=name).conninfo, autocommit=True
    ) as connection:
        for number in range(count):
            connection.execute("SELECT %s::int", (number,))


def wait_for_sealed(through: Gateway, count: int) -> None:
    def enough() -> bool:
        return sum(report["sealed"] for report in verified(through)) > count

    until(enough, seconds=30, what=f"{count} sealed records", step=0.3)


def test_what_a_gateway_records_is_sealed_and_proven_over_kills(gateway: Any, tmp_path: Any) -> None:
    """Within seconds, without being asked; after kill -9 the same trees go on."""
    through: Gateway = gateway()
    keys = tmp_path / "gateway.keys"
    for round_ in range(2):
        work(through, 60, f"round-{round_}")
        (requested, *_) = through.wait_for_events("command.requested", seconds=30)
        wait_for_sealed(through, 200 * (round_ + 1))
        if round_ == 0:
            keys.write_text(through.hoopproxy("audit", "keys", "--state", str(through.state)).stdout)
        reports = verified(through, "--key", str(keys))
        assert all(report["fine"] for report in reports), reports
        through.kill9()
        through.up()
    checkpoints = through.events("audit.checkpoint")
    assert checkpoints
    kept = tmp_path / "kept.note"
    kept.write_text(checkpoints[-1]["event"]["note"])
    out = tmp_path / "event.tlog-proof"
    through.hoopproxy("audit", "prove", requested["id"], "--state", str(through.state), "--out", str(out))
    assert through.terminate() == 0
    reports = verified(through, "--key", str(keys), "--checkpoint", str(kept))
    assert all(report["fine"] for report in reports), reports
    assert sum(report["checkpoints"] for report in reports) >= len(checkpoints) - 1
    proven = json.loads(
        through.hoopproxy("audit", "verify-proof", str(out), "--key", str(keys), "--json").stdout
    )
    assert proven["event"] == requested


def test_an_idle_gateway_signs_nothing_over_and_over(gateway: Any) -> None:
    """Its own checkpoints are no reason for another."""
    through: Gateway = gateway()
    work(through, 5, "once")
    wait_for_sealed(through, 20)

    def rests() -> bool:
        before = len(through.events("audit.checkpoint"))
        time.sleep(4)
        return len(through.events("audit.checkpoint")) == before

    until(rests, seconds=20, what="four seconds without a checkpoint")


def test_a_ledger_that_is_off_is_off(gateway: Any) -> None:
    """No process, no folder, no event."""

    def off(settings: Configuration) -> None:
        settings["ledger"] = {"enabled": False}

    through: Gateway = gateway(change=off)
    work(through, 3, "unsealed")
    assert through.wait_for_events("command.completed", seconds=30)
    assert not (through.state / "trail" / "ledger").exists()
    assert not through.events("audit.epoch", "audit.checkpoint")
