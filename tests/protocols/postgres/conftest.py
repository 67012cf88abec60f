"""What the tests of PostgreSQL may ask for."""

from __future__ import annotations

import pytest

from hoopproxy.protocols.postgres import reading


@pytest.fixture
def nothing_is_known() -> None:
    """Shapes are remembered for the whole process; a test must not live on another's."""
    reading.SHAPES_READ.clear()
