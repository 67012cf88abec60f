"""Every test below here is ``live`` and has a deadline; the fixtures come from ``servers`` and ``ssh_servers``."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import certificates, gateway, postgres15, postgres18, shared_gateway
from .ssh_servers import make, sshd

__all__ = ["certificates", "gateway", "make", "postgres15", "postgres18", "shared_gateway", "sshd"]

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("HOOPPROXY_TEST_SECONDS", "240"))
SOAK_SECONDS = 3600
GRACE = 60  # for a test that sits in C code and can't hear the alarm: then the whole run ends


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(autouse=True)
def deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    """A hang is a failure with a traceback, not a run that never ends."""
    seconds = SOAK_SECONDS if request.node.get_closest_marker("soak") else SECONDS

    def expired(number: int, frame: object) -> None:
        raise TimeoutError(f"the test took over {seconds} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(seconds + GRACE, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
