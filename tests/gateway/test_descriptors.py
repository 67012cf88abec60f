"""Enough files and connections for what the configuration lets come."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from twisted.logger import LogLevel, globalLogPublisher

from hoopproxy.gateway import descriptors
from hoopproxy.gateway.descriptors import USUAL, ample, needed
from tests.gateway.running import Running
from tests.gateway.turns import Turned

INFINITE = resource.RLIM_INFINITY


class Limits:
    """The system's, in the test's hands."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = (soft, hard)

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.now

    def setrlimit(self, which: int, now: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        self.now = now


@pytest.mark.parametrize(
    ("soft", "hard", "then"),
    [
        (1024, 4096, 4096),
        (1024, 1 << 20, USUAL),
        (1024, INFINITE, USUAL),
        (1 << 20, 1 << 20, 1 << 20),
        (INFINITE, INFINITE, INFINITE),
        (512, 512, 512),
    ],
)
def test_the_process_takes_what_the_system_lets_it_and_never_less_than_it_had(
    reactor: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, then: int
) -> None:
    """A shell gives 1,024: the default of a thousand sessions came to an end at five hundred."""
    limits = Limits(soft, hard)
    for name in ("getrlimit", "setrlimit"):
        monkeypatch.setattr(descriptors.resource, name, getattr(limits, name))
    assert ample(Running(reactor, tmp_path).load()) == then
    assert limits.now == (then, hard)


def test_limits_that_the_system_does_not_cover_are_said(
    reactor: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs it has to hear it before the first client is turned away."""
    config = Running(reactor, tmp_path).load()
    said: list[str] = []

    def hear(event: dict[str, object]) -> None:
        if event.get("log_level") is LogLevel.warn:
            said.append(str(event["wanted"]))

    globalLogPublisher.addObserver(hear)  # type: ignore[arg-type]
    try:
        for hard in (needed(config) - 1, needed(config)):
            limits = Limits(64, hard)
            for name in ("getrlimit", "setrlimit"):
                monkeypatch.setattr(descriptors.resource, name, getattr(limits, name))
            ample(config)
    finally:
        globalLogPublisher.removeObserver(hear)  # type: ignore[arg-type]
    assert said == [str(needed(config))]
    assert needed(config) > 2 * config.limits.sessions_per_listener
