"""Every test below here is ``live``; the fixtures come from ``servers``."""

from __future__ import annotations

from pathlib import Path

import pytest

from .servers import certificates, gateway, postgres15, postgres18, shared_gateway

__all__ = ["certificates", "gateway", "postgres15", "postgres18", "shared_gateway"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)
