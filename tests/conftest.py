"""For all tests: ``soak`` tests run only when asked for (``-m soak`` or ``HOOPPROXY_SOAK=1``); how hypothesis looks.

An example has no deadline: a busy machine is no defect, and speed is measured in tests/bench. Under ``CI=true`` the
examples are the same in every run, so that a change is judged by what it changed; everywhere else they are new each
time, and what they find is kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.descriptors import nothing_left
from tests.ending import ending
from tests.interrupts import let_children_hear

LIVE = Path(__file__).parent / "live"

settings.register_profile("house", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
let_children_hear()
settings.load_profile("ci" if os.environ.get("CI") == "true" else "house")


def pytest_configure(config: pytest.Config) -> None:
    """A process that dies of a test (:data:`tests.live.conftest.GRACE`) ends the run, however many it has: the next
    one would be given the same test, and die of it."""
    if getattr(config.option, "maxworkerrestart", "") is None:
        config.option.maxworkerrestart = "0"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = "soak" in (config.option.markexpr or "") or os.environ.get("HOOPPROXY_SOAK")
    if asked:
        return
    reason = pytest.mark.skip(reason="the long version: `tox -e soak` (or HOOPPROXY_SOAK=1)")
    for item in items:
        if item.get_closest_marker("soak") is not None:
            item.add_marker(reason)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Of ``-n 2``; without it the tests run one after the other, and xdist isn't needed."""
    from tests.scheduling import FromBothEnds

    return FromBothEnds(config, log)


@pytest.fixture(autouse=True, scope="module")
def _module_ends(request: pytest.FixtureRequest) -> Iterator[None]:
    failed = request.session.testsfailed
    is_live = LIVE in request.path.parents
    with nothing_left(lambda: request.session.testsfailed > failed, forgiving=is_live), ending():
        yield


@pytest.fixture(autouse=True)
def _test_ends(_module_ends: None) -> Iterator[None]:
    with ending():
        yield
