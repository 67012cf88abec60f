"""How the trail's readers do, in Prometheus' families."""

# prometheus_client is partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from hoopproxy.delivery.lag import Lag

__all__ = ["FINE", "Rate", "ledger_families", "trail_families"]

FINE: Final = frozenset({"ok", "retrying"})
"""States of a reader that gets on, or is likely to at the next attempt."""

WINDOW_SECONDS: Final = 600.0
"""Over which a rate is taken: long enough for a batch job to be an hour's news and not a minute's."""


class Rate:
    """How fast something grows, from looks at it whenever somebody asks."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def seconds(self, now: float, value: int, room: int) -> float:
        """Seconds until ``room`` more is there at the rate of the last minutes; infinite before the second look,
        and while nothing grows."""
        looks = self._looks
        looks.append((now, value))
        while len(looks) > 2 and looks[1][0] <= now - WINDOW_SECONDS:
            looks.popleft()
        began, first = looks[0]
        grown = value - first
        return room * (now - began) / grown if grown > 0 and now > began else math.inf


def ledger_families(state: Path, wall: float) -> Iterator[Any]:
    """The age of the newest checkpoint of any journal, by its file; infinite before the first."""
    age = math.inf
    for path in (state / "trail" / "ledger").glob("*/checkpoint"):
        with contextlib.suppress(OSError):
            age = min(age, max(0.0, wall - path.stat().st_mtime))
    yield GaugeMetricFamily(
        "hoopproxy_ledger_checkpoint_age_seconds", "Time since a checkpoint was signed.", value=age
    )


def trail_families(told: Mapping[str, Any], wall: float) -> Iterator[Any]:
    """From what the control command ``sinks`` answers; ``wall`` is Unix time in seconds."""
    yield GaugeMetricFamily(
        "hoopproxy_trail_up", "1 while the process that reads the trail runs.", value=int(bool(told["up"]))
    )
    yield CounterMetricFamily(
        "hoopproxy_trail_starts", "Times that it was started.", value=int(told["starts"])
    )
    consumers = [each for each in told["consumers"] if isinstance(each, Mapping)]
    lag = {str(each["name"]): _lag(each) for each in consumers}
    for name, text, of in (
        ("records", "Records that are durable and wait.", lambda lag: lag.records),
        ("bytes", "Bytes of the journal on disk that wait.", lambda lag: lag.bytes),
        ("seconds", "Age of the oldest record that waits.", lambda lag: lag.seconds(wall)),
    ):
        family = GaugeMetricFamily(f"hoopproxy_trail_lag_{name}", text, labels=["consumer"])
        for consumer, behind in lag.items():
            family.add_metric([consumer], of(behind))
        yield family
    failing = GaugeMetricFamily(
        "hoopproxy_trail_failing", "1 while it takes nothing, or can't be made.", labels=["consumer"]
    )
    for each in consumers:
        failing.add_metric([str(each["name"])], int(each.get("state") not in FINE))
    yield failing
    yield from _sinks([each for each in consumers if "delivered" in each])


def _lag(each: Mapping[str, Any]) -> Lag:
    return Lag(records=int(each["records"]), bytes=int(each["bytes"]), since=int(each["since"]))


def _sinks(sinks: list[Mapping[str, Any]]) -> Iterator[Any]:
    delivered = CounterMetricFamily("hoopproxy_sink_delivered", "Events accepted.", labels=["sink"])
    gaps = CounterMetricFamily("hoopproxy_sink_gaps", "Stretches that it did not get.", labels=["sink"])
    quota = GaugeMetricFamily(
        "hoopproxy_sink_quota_used",
        "Share of quota_bytes that waits; 1: used up.",
        labels=["sink", "required"],
    )
    for each in sinks:
        name = str(each["name"]).removeprefix("sink-")
        delivered.add_metric([name], int(each["delivered"]))
        gaps.add_metric([name], int(each["gaps"]))
        if each["quota_bytes"]:
            required = "true" if each["required"] else "false"
            quota.add_metric([name, required], int(each["bytes"]) / int(each["quota_bytes"]))
    yield delivered
    yield gaps
    yield quota
