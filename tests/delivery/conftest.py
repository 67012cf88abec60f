"""A journal in memory, for the readers of it."""

from __future__ import annotations

import pytest

from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.writer import Journal

from .following import opened


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles()


@pytest.fixture
def journal(files: MemoryFiles) -> Journal:
    return opened(files, wall=lambda: 1_000_000_000)
