"""Memory that was freed is kept, to be used again: a chunk is large and short-lived, and another one follows."""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["KEPT_BYTES", "LARGE_BYTES", "keep_freed"]

LARGE_BYTES: Final = 4_194_304
"""Allocations of less come from the heap; by default those of 128 KiB and more are mapped and unmapped each time."""
KEPT_BYTES: Final = 16_777_216
"""What may lie unused at the heap's end before it is given back; by default it is 128 KiB."""

# Of <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed() -> bool:
    """Have the C library keep what is freed, up to :data:`KEPT_BYTES`.

    Each read makes one object of up to 256 KiB, and of SSH of 512: with the C library's defaults their pages are given
    back and faulted in again every time, which was a third of the CPU of a bulk transfer.

    :return: whether this C library knows how; only glibc does.
    """
    try:
        tune = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(tune(_MMAP_THRESHOLD, LARGE_BYTES)) and bool(tune(_TRIM_THRESHOLD, KEPT_BYTES))
