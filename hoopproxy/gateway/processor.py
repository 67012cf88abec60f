"""Keeping the data path's threads on one processor.

The reactor and the journal's writer take turns at the interpreter's lock. On two processors each turn wakes the other
one and brings the same objects into the other one's caches: measured, a tenth of a transaction's CPU in ``bounded``
and a quarter in ``strict``. On one processor they lose nothing, since they never run at the same time for long.

Only these two stay there. Threads that work beside the reactor (:meth:`Processor.thread`) and other processes
(:meth:`Processor.elsewhere`) get all the processors that this process was given.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Thread
from typing import Any

from hoopproxy.errors import HoopproxyError

__all__ = ["ANYWHERE", "Anywhere", "Processor", "choose"]


class Anywhere:
    """No processor in particular: the system's scheduler decides."""

    number: int | None = None
    thread: Callable[..., Thread] = Thread

    def settle(self) -> None:
        """Keep the calling thread, and those that it starts, to the processor."""

    def elsewhere(self) -> AbstractContextManager[None]:
        """What the calling thread starts inside may run on any processor."""
        return nullcontext()

    def leave(self) -> None:
        """Let the calling thread run anywhere again, and others have the processor."""


ANYWHERE = Anywhere()


class Processor(Anywhere):
    """One processor, ours among the gateways of this machine as long as ``claim`` is open.

    :param number: as the system counts. :param given: all that this process may use.
    """

    def __init__(self, number: int, given: frozenset[int], claim: socket.socket | None) -> None:
        self.number, self._given, self._claim = number, given, claim
        self.thread = self._thread

    def settle(self) -> None:
        os.sched_setaffinity(0, (self.number or 0,))

    @contextmanager
    def _elsewhere(self) -> Iterator[None]:
        os.sched_setaffinity(0, self._given)
        try:
            yield
        finally:
            self.settle()

    def elsewhere(self) -> AbstractContextManager[None]:
        return self._elsewhere()

    def _thread(self, *arguments: Any, **options: Any) -> Thread:
        return _Elsewhere(self._given, *arguments, **options)

    def leave(self) -> None:
        os.sched_setaffinity(0, self._given)
        if self._claim is not None:
            self._claim.close()


class _Elsewhere(Thread):
    """A thread that doesn't stay where its starter has to."""

    def __init__(self, given: frozenset[int], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._given = given

    def run(self) -> None:
        os.sched_setaffinity(0, self._given)
        super().run()


def choose(wanted: int | str) -> Anywhere:
    """The processor to stay on. Nothing has moved there yet.

    :param wanted: a processor's number; ``"auto"``: the last one that no other gateway of this machine stays on, if
        this process was given more than one and may choose; or ``"none"``.
    :raises HoopproxyError: if the process may not run on the one that is wanted; the message is a sentence.
    """
    if wanted == "none" or not hasattr(os, "sched_setaffinity"):
        return ANYWHERE
    given = frozenset(os.sched_getaffinity(0))
    if isinstance(wanted, int):
        if wanted not in given:
            shown = ", ".join(map(str, sorted(given)))
            raise HoopproxyError(
                f"gateway.cpu_affinity is {wanted}, but this process may run on {shown} only; "
                'name one of these, or use "auto"'
            )
        return Processor(wanted, given, None)
    if len(given) < 2 or not _may_move(given):
        return ANYWHERE
    # From the last: the first one is where many systems serve their devices.
    for number in sorted(given, reverse=True):
        claim = _claimed(number)
        if claim is not None:
            return Processor(number, given, claim)
    return ANYWHERE


def _may_move(given: frozenset[int]) -> bool:
    """Whether this process may choose; a filter of system calls may forbid it."""
    try:
        os.sched_setaffinity(0, given)
    except OSError:
        return False
    return True


def _claimed(number: int) -> socket.socket | None:
    """A name that one process of the machine holds at a time and that ends with it, or ``None`` if another one does."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0hoopproxy/processor/{number}")
    except OSError:
        claim.close()
        return None
    return claim
