"""Figures of those who read the trail, and the alerts over them."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from hoopproxy.gateway.trail_figures import Rate, ledger_families, trail_families

from .test_trail import Watched, reactor, watched  # noqa: F401  # fixtures

ALERTS = Path(__file__).parents[2] / "examples" / "alerts.yml"
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def shown(told: dict[str, Any], wall: float) -> str:
    class Collector:
        def collect(self) -> Any:
            return trail_families(told, wall)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry).decode()


def facts(**more: Any) -> dict[str, Any]:
    return {"name": "sink-siem", "state": "ok", "records": 0, "bytes": 0, "since": 0, **more}


def test_lag_failures_gaps_and_quota_of_each_are_told() -> None:
    """An operator sees it coming."""
    siem = facts(
        records=3,
        bytes=500,
        since=50 * 10**9,
        state="failing",
        delivered=7,
        gaps=1,
        quota_bytes=1000,
        required=True,
    )
    text = shown({"up": True, "starts": 2, "consumers": [siem, facts(name="ledger")]}, 60.0)
    for line in (
        "hoopproxy_trail_up 1.0",
        "hoopproxy_trail_starts_total 2.0",
        'hoopproxy_trail_lag_records{consumer="sink-siem"} 3.0',
        'hoopproxy_trail_lag_bytes{consumer="sink-siem"} 500.0',
        'hoopproxy_trail_lag_seconds{consumer="sink-siem"} 10.0',
        'hoopproxy_trail_lag_seconds{consumer="ledger"} 0.0',
        'hoopproxy_trail_failing{consumer="sink-siem"} 1.0',
        'hoopproxy_trail_failing{consumer="ledger"} 0.0',
        'hoopproxy_sink_delivered_total{sink="siem"} 7.0',
        'hoopproxy_sink_gaps_total{sink="siem"} 1.0',
        'hoopproxy_sink_quota_used{required="true",sink="siem"} 0.5',
    ):
        assert line in text, line
    assert 'sink="ledger"' not in text


def test_the_age_of_the_newest_checkpoint_is_told_and_infinite_before_the_first(tmp_path: Path) -> None:
    """A ledger that never sealed must ring, too."""

    def age() -> float:
        (family,) = ledger_families(tmp_path, 1_000_000.0)
        (sample,) = family.samples
        return float(sample.value)

    assert age() == math.inf
    for name, when in (("a", 999_000), ("b", 999_990)):
        path = tmp_path / "trail" / "ledger" / name / "checkpoint"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (when, when))
    assert age() == 10


def test_when_the_disk_is_full_is_foreseen_from_the_rate_of_the_last_minutes() -> None:
    """A batch job of an hour ago says nothing of now."""
    rate = Rate()
    assert rate.seconds(0.0, 0, 1000) == math.inf
    assert rate.seconds(10.0, 100, 1000) == 100
    assert rate.seconds(20.0, 200, 500) == 50
    for minute in range(1, 40):
        last = rate.seconds(20.0 + 60 * minute, 200, 500)
    assert last == math.inf


def test_the_gateways_page_has_them_and_every_alert_is_over_one_that_is_there(watched: Watched) -> None:  # noqa: F811
    """An alert over a metric with another name never fires, and nobody notices."""
    watched.process.says(
        "status",
        state="running",
        consumers=[facts(delivered=1, gaps=0, quota_bytes=10, required=True)],
        refuse="",
    )
    code, text = watched.http("/metrics")
    assert code == 200
    there = set(re.findall(r"^(hoopproxy_\w+)", text, re.MULTILINE))
    used = set(re.findall(r"hoopproxy_\w+", re.sub(r"summary:.*|description:.*", "", ALERTS.read_text())))
    assert len(used) > 8
    assert used <= there
    told = PAGE.read_text()
    assert all(name in told or name.rpartition("_")[2] in ("bytes", "seconds") for name in used)
    status = watched.ask({"do": "status"})
    assert status["trail"] == {"up": True, "state": "running", "failing": []}
