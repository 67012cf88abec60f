"""What tests leave open: each is little, and those of a whole run are more than ``select`` knows."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

__all__ = ["nothing_left", "open_files"]

KEPT: Final = {
    "/dev/null": "Twisted's reserve, for when it can't accept a connection for want of a descriptor",
    "/tmp/hoopproxy-test-ports": "the locks of the ports that this run was given",
}
"""Opened once, by whoever is the first to need it, and closed by the end of the process."""

_GRACE_SECONDS: Final = 3.0  # a thread that was told to end is not waited for by everybody


def open_files() -> Counter[str]:
    """What this process has open, in the kernel's words."""
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the folder's own, or one that a thread has just closed
            found[os.readlink(f"/proc/self/fd/{number}")] += 1
    return found


def _of_the_process() -> Counter[str]:
    """The poller and the waker's two ends of its reactor, which the first import of it makes, and the way to the
    process that looks after what those of :mod:`multiprocessing` share."""
    own: list[int] = []
    if (reactor := sys.modules.get("twisted.internet.reactor")) is not None:
        own += reactor._poller.fileno(), reactor.waker.i, reactor.waker.o
    if (tracker := sys.modules.get("multiprocessing.resource_tracker")) is not None:
        own += () if tracker._resource_tracker._fd is None else (tracker._resource_tracker._fd,)
    return Counter(os.readlink(f"/proc/self/fd/{number}") for number in own)


@contextmanager
def nothing_left(excused: Callable[[], bool] = lambda: False, *, forgiving: bool = False) -> Iterator[None]:
    """Fail if what is done inside leaves anything open. Who could have closed it and left it to the garbage collector
    fails, too: when that comes is anybody's guess.

    :param excused: asked at the end. A test that failed keeps what it had, for its traceback.
    :param forgiving: what was left to the garbage collector is a warning. Client libraries hold connections in
        circles of their own, and whether one was collected by now is chance.
    """
    before = open_files() - _of_the_process()
    yield
    if excused():
        return
    end = time.monotonic() + _GRACE_SECONDS
    forgotten: list[str] = []
    while (left := _more(before)) and time.monotonic() < end:
        forgotten += _collected()
        time.sleep(0.02)
    if forgotten and forgiving and not left:
        warnings.warn("left to the garbage collector: " + ", ".join(forgotten), stacklevel=1)
    elif left or forgotten:
        pytest.fail("left open: " + ", ".join([*sorted(left.elements()), *forgotten]), pytrace=False)


def _collected() -> list[str]:
    """Collect, for what nobody could close: a connection that failed is held by its own exception's traceback. Returns
    what its makers complain of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
    return [str(each.message) for each in said]


def _more(before: Counter[str]) -> Counter[str]:
    more = open_files() - before - _of_the_process()
    return Counter({name: count for name, count in more.items() if name not in KEPT})
