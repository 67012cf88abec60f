"""A reactor that tests turn by hand, and a whole gateway on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import Running
from .turns import Turned, turned


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as reactor:
        yield reactor


@pytest.fixture
def running(reactor: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("HOOP_TEST_PASSWORD", "up")
    gateway = Running(reactor, tmp_path, broken={"hoopproxy.plugins.bad": "ImportError at x.py:1"}).up()
    yield gateway
    if gateway.gateway.running:
        gateway.down()
