"""The conformance suite for sinks lets ours pass, and catches those that break a promise."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.interfaces import IAuditSink, ISinkPlugin
from hoopproxy.sinks import Delivery, SinkContext
from hoopproxy.sinks import file as module
from hoopproxy.sinks.file import FilePlugin
from hoopproxy.testing import check_sink, deliveries


def test_the_file_sink_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours first."""
    path = tmp_path / "trail.jsonl"

    def received() -> list[bytes]:
        files = [*sorted(tmp_path.glob("trail.jsonl.*")), path]
        return [line for each in files if each.exists() for line in each.read_bytes().splitlines()]

    @contextlib.contextmanager
    def broken() -> Iterator[None]:
        def fail(_: object, data: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(module.os, "write", fail)
            yield

    check_sink(FilePlugin(), {"path": "trail.jsonl"}, received, base=tmp_path, broken=broken)
    assert os.write is module.os.write


@implementer(IPlugin, ISinkPlugin)
class Kept:
    """Keeps everything in a list, and does what ``fault`` says wrong."""

    name, acknowledges, default_format = "kept", "record", "native"

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.bodies: list[bytes] = []
        self.out_of_order = False
        if fault == "acknowledges":
            self.acknowledges = "yes"

    def problems(self, options: Mapping[str, object], base: Path) -> list[str]:
        if self.fault == "options":
            return []
        return [f"{key} is not known" for key in options]

    def make(self, options: Mapping[str, object], context: SinkContext) -> Any:
        return KeptSink(self, context)

    @contextlib.contextmanager
    def broken(self) -> Iterator[None]:
        self.out_of_order = True
        yield
        self.out_of_order = False


@implementer(IAuditSink)
class KeptSink:
    def __init__(self, plugin: Kept, context: SinkContext) -> None:
        self.plugin, self.context, self.lives = plugin, context, 0
        self.token = b""

    async def start(self) -> None:
        self.lives += 1
        token = await self.context.secret("env:TOKEN")
        if self.plugin.fault == "secret":
            self.token = token

    async def deliver(self, batch: Sequence[Delivery]) -> Any:
        fault = self.plugin.fault
        if self.plugin.out_of_order:
            if fault == "swallows":
                return None
            raise OSError("out of order" + (" hunter2" if fault == "tells" else ""))
        bodies = [each.body for each in batch]
        if fault == "drops":
            bodies = bodies[:30]
        elif fault == "reorders":
            bodies.reverse()
        elif fault == "cuts":
            bodies = [body[:100_000] for body in bodies]
        elif fault == "lines":
            bodies = [line for body in bodies for line in body.replace(b"\\n", b"\n").splitlines()]
        elif fault == "value":
            self.plugin.bodies += bodies
            return len(bodies)
        self.plugin.bodies += bodies
        return None

    def reopen(self) -> Any:
        return 1 if self.plugin.fault == "reopen" else None

    def stop(self) -> None:
        if self.plugin.fault == "stop" and not self.lives:
            raise RuntimeError("never started")


def check(plugin: Kept, tmp_path: Path) -> None:
    check_sink(
        plugin,
        {},
        lambda: plugin.bodies,
        base=tmp_path,
        secrets={"env:TOKEN": b"hunter2"},
        broken=plugin.broken,
    )


def test_a_sink_that_keeps_its_promises_passes(tmp_path: Path) -> None:
    """A guard: else everything below could fail for another reason."""
    plugin = Kept()
    check(plugin, tmp_path)
    assert len(plugin.bodies) > 60


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("drops", "30 bodies came for 50"),
        ("reorders", "not in this order"),
        ("cuts", "not these"),
        ("lines", "bodies came for 1"),
        ("value", "not None"),
        ("swallows", "did not fail while its receiver was out of order"),
        ("tells", "can be read"),
        ("secret", "can be read"),
        ("options", "passed over in silence"),
        ("acknowledges", "acknowledges is record, segment or none"),
        ("stop", "stop before start failed"),
        ("reopen", "reopen gives nothing back"),
    ],
)
def test_one_that_breaks_a_promise_is_caught(tmp_path: Path, fault: str, words: str) -> None:
    """A suite that lets it pass would vouch for it."""
    with pytest.raises(AssertionError, match=words):
        check(Kept(fault), tmp_path)


def test_what_a_sink_is_handed_is_what_the_reader_process_hands_it() -> None:
    """Canonical, one line, numbered."""
    one, two = deliveries(7, 2, "a\nb")
    assert (one.place[1], two.place[1]) == (7, 8)
    assert b"\n" not in one.body
    assert one.session == two.session
