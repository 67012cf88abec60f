"""``[ops] listen``: ``/livez``, ``/readyz`` and ``/metrics``, for machines that watch machines."""

# twisted.web is mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.protocols.policies import WrappingFactory
from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from hoopproxy import __version__
from hoopproxy.gateway.figures import SYNC_BUCKETS
from hoopproxy.gateway.trail_figures import Rate, ledger_families, trail_families

if TYPE_CHECKING:
    from hoopproxy.gateway.service import GatewayService

__all__ = ["Collector", "OpsSite"]

CONNECTIONS = 64
"""Connections to it at one time."""
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class _Answer(Resource):
    isLeaf = True

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    def render_GET(self, request: Request) -> bytes:
        status, kind, body = self._answer()
        request.setResponseCode(status)
        request.setHeader(b"content-type", kind)
        return bytes(body)


class _Root(Resource):
    def getChild(self, path: bytes, request: Request) -> Resource:
        return notFound()  # type: ignore[return-value]  # an IResource


class _QuietSite(Site):
    noisy = False

    def log(self, request: Any) -> None:
        """A scrape every few seconds is no news."""


class _Bounded(WrappingFactory):
    """Who comes when all places are taken gets that of who has had one for longest.

    Probes take milliseconds. Nobody is asked who they are here, so nobody may use up what sessions need, nor keep a
    load balancer from its answer.
    """

    noisy = False

    def registerProtocol(self, p: Any) -> None:
        super().registerProtocol(p)
        if len(self.protocols) > CONNECTIONS:
            oldest = next(iter(self.protocols))
            del self.protocols[oldest]
            oldest.abortConnection()

    def unregisterProtocol(self, p: Any) -> None:
        self.protocols.pop(p, None)


class OpsSite:
    """The HTTP server for operations. It shows figures, no names of people and no data."""

    def __init__(self, gateway: GatewayService) -> None:
        self._gateway = gateway
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Collector(gateway))
        self._port: Any = None

    def start(self) -> Deferred[Any]:
        """Listen."""
        root = _Root()
        root.putChild(b"livez", _Answer(self._live))
        root.putChild(b"readyz", _Answer(self._ready))
        root.putChild(b"metrics", _Answer(self._metrics))
        site = _QuietSite(root, timeout=30)
        endpoint = serverFromString(self._gateway.reactor, self._gateway.config.ops.listen or "")
        listening: Deferred[Any] = endpoint.listen(_Bounded(site))
        return listening.addCallback(self._listening)

    def _listening(self, port: Any) -> None:
        self._port = port

    def stop(self) -> Deferred[Any]:
        """Stop listening."""
        return succeed(None) if self._port is None else self._port.stopListening() or succeed(None)

    def _live(self) -> tuple[int, bytes, bytes]:
        return 200, b"text/plain", b"ok\n"

    def _ready(self) -> tuple[int, bytes, bytes]:
        gateway = self._gateway
        if gateway.ready:
            return 200, b"text/plain", b"ready\n"
        refusal = gateway.journal.refusal_for_new_sessions
        why = "draining" if gateway.shared.draining else "starting" if refusal is None else refusal.sentence
        return 503, b"text/plain; charset=utf-8", f"not ready: {why}\n".encode()

    def _metrics(self) -> tuple[int, bytes, bytes]:
        return 200, METRICS_TYPE, generate_latest(self._registry)


class Collector:
    """The gateway's figures in Prometheus' families, made when they are asked for."""

    def __init__(self, gateway: GatewayService) -> None:
        self._gateway = gateway
        self._rate = Rate()

    def collect(self) -> Iterator[Any]:
        """What ``prometheus_client`` asks a collector for."""
        yield from self._sessions()
        yield from self._logins()
        yield from self._journal()
        yield from self._trail()
        yield from self._process()

    def _sessions(self) -> Iterator[Any]:
        gateway, figures = self._gateway, self._gateway.figures
        present: dict[tuple[str, str], int] = {
            (name, state): 0 for name in gateway.shared.settings.entrances for state in ("login", "open")
        }
        live = list(gateway.shared.sessions.values())
        for session in live:
            key = session.listener, "open" if session.started else "login"
            present[key] = present.get(key, 0) + 1
        gauge = GaugeMetricFamily("hoopproxy_sessions", "Sessions present.", labels=["listener", "state"])
        for (listener, state), count in sorted(present.items()):
            gauge.add_metric([listener, state], count)
        yield gauge
        yield _counter("hoopproxy_connections", "Connections accepted.", "listener", figures.accepted)
        yield _counter("hoopproxy_sessions_ended", "Sessions that ended.", "listener", figures.ended)
        yield _counter("hoopproxy_refusals", "Refusals of sessions.", "code", figures.refusals)
        yield _counter("hoopproxy_pauses", "Times that reading from a leg stopped.", "why", figures.pauses)
        for name, text, value in (
            ("commands", "Commands requested.", figures.commands + sum(each.commands for each in live)),
            ("commands_denied", "Commands denied.", figures.denied + sum(each.denied for each in live)),
            ("client_received_bytes", "Bytes from clients, of sessions that ended.", figures.bytes_in),
            ("client_sent_bytes", "Bytes to clients, of sessions that ended.", figures.bytes_out),
            ("cancels", "Cancel requests passed on.", figures.cancels),
            ("unknown_cancels", "Cancel requests with a key that no session has.", figures.unknown_cancels),
            ("failures", "Failures of the gateway itself.", figures.failures),
        ):
            yield CounterMetricFamily(f"hoopproxy_{name}", text, value=value)
        yield GaugeMetricFamily(
            "hoopproxy_held_bytes",
            "Bytes of unfinished input held.",
            value=gateway.shared.crowd.in_memory.total,
        )
        yield GaugeMetricFamily(
            "hoopproxy_spooled_bytes",
            "Bytes of unfinished input in files.",
            value=gateway.shared.crowd.on_disk.total,
        )

    def _logins(self) -> Iterator[Any]:
        family = CounterMetricFamily("hoopproxy_logins", "Log-ins.", labels=["outcome", "method"])
        for (outcome, method), count in sorted(self._gateway.figures.logins.items()):
            family.add_metric([outcome, method], count)
        yield family

    def _journal(self) -> Iterator[Any]:
        journal, figures = self._gateway.journal, self._gateway.figures
        oldest = journal.oldest_unsynced
        lag = 0.0 if oldest is None else max(0.0, (time.monotonic_ns() - oldest) / 1e9)
        free = _free(journal.folder.path)
        gauges = (
            ("unsynced_bytes", "Bytes accepted and not durable.", journal.unsynced_bytes),
            ("unsynced_seconds", "Age of the oldest record that is not durable.", lag),
            ("refusing", "1 while the journal refuses.", int(journal.refusal is not None)),
            ("free_bytes", "Free space on the journal's file system.", free),
            (
                "full_seconds",
                "Seconds until the file system is full at the rate of the last minutes; +Inf: not foreseeable.",
                self._rate.seconds(time.monotonic(), figures.stored_bytes, free),
            ),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"hoopproxy_journal_{name}", text, value=value)
        for name, text, count in (
            ("records", "Records made durable.", figures.records),
            ("raw_bytes", "Bytes of those records.", figures.raw_bytes),
            ("stored_bytes", "Bytes written for them.", figures.stored_bytes),
            ("alarms", "Failures of the disk that were survived.", figures.alarms),
        ):
            yield CounterMetricFamily(f"hoopproxy_journal_{name}", text, value=count)
        buckets, total = [], 0
        for bound, count in zip((*map(str, SYNC_BUCKETS), "+Inf"), figures.sync_counts, strict=True):
            total += count
            buckets.append((bound, total))
        histogram = HistogramMetricFamily("hoopproxy_journal_sync_seconds", "Time of an fdatasync.")
        histogram.add_metric([], buckets, figures.sync_ns / 1e9)
        yield histogram

    def _trail(self) -> Iterator[Any]:
        trail = self._gateway.trail
        if trail is None or not trail.config.follows:
            return
        yield from trail_families(trail.command(None, {}), time.time())
        if trail.config.ledger.enabled:
            yield from ledger_families(trail.config.gateway.state, time.time())

    def _process(self) -> Iterator[Any]:
        gateway = self._gateway
        info = GaugeMetricFamily("hoopproxy_info", "What runs.", labels=["version", "config"])
        info.add_metric([__version__, gateway.shared.settings.digest[:12]], 1)
        yield info
        yield GaugeMetricFamily(
            "hoopproxy_ready", "1 while new clients are served.", value=int(gateway.ready)
        )
        uptime = time.monotonic() - gateway.began
        yield GaugeMetricFamily("hoopproxy_uptime_seconds", "Time since the start.", value=uptime)


def _counter(name: str, text: str, label: str, counts: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, count in sorted(counts.items()):
        family.add_metric([key], count)
    return family


def _free(path: Any) -> int:
    try:
        facts = os.statvfs(path)
    except OSError:
        return 0
    return facts.f_bavail * facts.f_frsize
