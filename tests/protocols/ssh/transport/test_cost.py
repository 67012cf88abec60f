"""What a connection keeps in memory, and what its set-up costs."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from .house import Pair, frame, host_key

MOST_IDLE_KIB = 4
"""Of Python's memory, for one idle layer with its stream, its connection and its ciphers."""
MOST_RESIDENT_KIB = 16
"""Of the process's, OpenSSL's contexts among it."""
MOST_SETUP_MS = 20.0
"""Of CPU, for the key exchanges of both legs of a session."""


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_an_idle_layer_keeps_little() -> None:
    """A thousand people who have a terminal open must not need a gigabyte."""
    held = [Pair().start() for _ in range(20)]
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held += [Pair().start() for _ in range(100)]
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used / 200 < MOST_IDLE_KIB * 1024


@pytest.mark.soak
def test_a_thousand_idle_sessions_are_small() -> None:
    """With what OpenSSL keeps."""
    held = [Pair().start() for _ in range(200)]
    gc.collect()
    before = resident()
    held += [Pair().start() for _ in range(1_000)]
    gc.collect()
    assert (resident() - before) / 2_000 < MOST_RESIDENT_KIB * 1024


@pytest.mark.parametrize("kind", ["ed25519", "nistp256", "rsa"])
def test_a_set_up_of_both_legs_is_cheap(kind: str) -> None:
    """It happens in the reactor, so everybody waits for it."""
    keys = [host_key(kind)]
    Pair(keys).start()
    started = time.process_time()
    for _ in range(20):
        Pair(keys).start()
    assert (time.process_time() - started) / 20 * 1e3 < MOST_SETUP_MS


@pytest.mark.soak
def test_memory_is_flat_over_ten_gibibytes_with_new_keys_on_the_way() -> None:
    """A day of backups through one session leaves nothing behind."""
    pair = Pair().start()
    pair.clock.advance(10)
    chunk = frame(b"\x5e" + os.urandom(32_768)) * 8
    pair.up.on_data = lambda data: pair.up.chunks.clear()
    exchanged = set()
    for round_ in range(10 * 4_096):
        pair.down.transport.write(chunk)
        pair.run()
        exchanged.add(id(pair.server._opener))
        if round_ == 4_096:
            before = resident()
    assert resident() - before < 8 * 2**20
    assert pair.up.transport.received == pair.down.transport.sent == 10 * 4_096 * len(chunk)
    assert pair.up.reason is None
