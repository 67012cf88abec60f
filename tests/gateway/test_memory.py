"""Freed memory is used again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
from hoopproxy.gateway.memory import keep_freed
if {keep}:
    assert keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
held = bytes(600_000)
before = faults()
for _ in range(200):
    first = bytes(400_000)
    second = bytes(300_000)
    del first, second
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_chunk_takes_the_pages_of_the_one_before() -> None:
    """Faulting them in again was a third of the CPU of a bulk transfer."""

    def faults(keep: bool) -> int:
        script = SCRIPT.format(keep=keep)
        return int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout)

    kept, given_back = faults(True), faults(False)
    assert kept < 1_000
    assert given_back > 10 * kept
