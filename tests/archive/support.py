"""A trail of several segments on disk, and places that fail when they are told to."""

from __future__ import annotations

import random
from pathlib import Path
from typing import BinaryIO

from hoopproxy.archive.store import FolderStore, StoreFailed
from tests.cli.trail import Trail

SEGMENT = 64 << 10


def trail_of(state: Path, sessions: int = 3, stop: bool = True) -> Trail:
    """Sessions that each fill more than a segment: what a row holds doesn't compress."""
    trail = Trail(state, segment_bytes=SEGMENT)
    for number in range(sessions):
        session = trail.session()
        noise = random.Random(number).randbytes(90_000).hex()
        session.selects(f"SELECT {number}", ("a",), (noise.encode(),))
        session.selects(f"SELECT later {number}", ("a",), (b"short",))
        session.end()
        trail.now += 1_000_000_000
    if stop:
        trail.stop()
    return trail


class Dying(FolderStore):
    """A folder whose machine dies at the ``after``-th thing that is put, in the middle of it."""

    def __init__(self, path: Path, after: int) -> None:
        super().__init__(path)
        self.after = after

    def put_new(self, key: str, source: BinaryIO, size: int, digest: str) -> None:
        self._count(key, source.read(size // 2))
        super().put_new(key, source, size, digest)

    def put(self, key: str, data: bytes) -> None:
        self._count(key, data[: len(data) // 2])
        super().put(key, data)

    def _count(self, key: str, half: bytes) -> None:
        self.after -= 1
        if self.after < 0:
            self._written(self._place(key), lambda target: target.write(half))
            raise StoreFailed("power cut")
