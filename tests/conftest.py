"""For all tests: ``soak`` tests run only when asked for (``-m soak`` or ``HOOPPROXY_SOAK=1``)."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = "soak" in (config.option.markexpr or "") or os.environ.get("HOOPPROXY_SOAK")
    if asked:
        return
    reason = pytest.mark.skip(reason="the long version: `tox -e soak` (or HOOPPROXY_SOAK=1)")
    for item in items:
        if item.get_closest_marker("soak") is not None:
            item.add_marker(reason)
