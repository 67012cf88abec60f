"""Keeping the data path's threads on one processor.

The reactor and the journal's writer take turns at the interpreter's lock. On two processors each turn wakes the other
one and brings the same objects into the other one's caches: measured, a tenth of a transaction's CPU in ``bounded``
and a quarter in ``strict``. On one processor they lose nothing, since they never run at the same time for long: but
where much is written at a time. Then the writer compresses and writes without the lock, and with
:data:`ROOMY` processors it goes elsewhere for that.

Only these two stay there. Threads that work beside the reactor (:meth:`Processor.thread`) and other processes
(:meth:`Processor.elsewhere`) get all the processors that this process was given.

Whoever runs the machine may take processors away at any time (cpusets of containers). Where a thread can't go any more
it stays: where it runs is a matter of speed, and nothing else may depend on it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from threading import Thread
from typing import Any, Final

from hoopproxy.errors import HoopproxyError

__all__ = ["ANYWHERE", "LARGE_BATCH", "ROOMY", "SMALL_BATCHES", "Anywhere", "Processor", "choose"]

CLAIMS = "hoopproxy/processor"
"""How the names begin by which gateways tell each other where they are: Unix sockets of the abstract name space."""
LARGE_BATCH: Final = 524_288
"""Bytes from which on a batch is better written beside the reactor than in turns with it: it takes about a millisecond
without the interpreter's lock, and a move takes a few microseconds."""
ROOMY: Final = 3
"""Processors from which on there is room for the writer beside the reactor and what else runs."""
SMALL_BATCHES: Final = 16
"""Batches in a row of less, after which a bulk transfer is over."""


class Anywhere:
    """No processor in particular: the system's scheduler decides."""

    number: int | None = None
    thread: Callable[..., Thread] = Thread

    def settle(self) -> None:
        """Keep the calling thread, and those that it starts, to the processor."""

    def elsewhere(self) -> AbstractContextManager[None]:
        """What the calling thread starts inside may run on any processor."""
        return nullcontext()

    def writer(self) -> Callable[[int], None] | None:
        """What the journal's writer calls, on its thread, with the bytes of each batch that it is about to write."""
        return None

    def leave(self) -> None:
        """Let the calling thread run anywhere again, and others have the processor."""


ANYWHERE = Anywhere()


class Processor(Anywhere):
    """One processor, ours among the gateways of this machine as long as ``claim`` is open.

    :param number: as the system counts. :param given: all that this process may use.
    """

    def __init__(self, number: int, given: frozenset[int], claim: socket.socket | None) -> None:
        self.number, self._here, self._given, self._claim = number, (number,), given, claim
        self.thread = self._thread

    def settle(self) -> None:
        _move(self._here)

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        _move(self._given)
        try:
            yield
        finally:
            self.settle()

    def writer(self) -> Callable[[int], None] | None:
        # On two, measured with client and server beside it, it only gets in their way: SSH lost a sixth of its rate.
        return _Writer(self._given, self.settle) if len(self._given) >= ROOMY else None

    def _thread(self, *arguments: Any, **options: Any) -> Thread:
        return _Elsewhere(self._given, *arguments, **options)

    def leave(self) -> None:
        _move(self._given)
        if self._claim is not None:
            self._claim.close()


class _Writer:
    """Moves the thread that calls it: elsewhere for the first large batch, back after a row of small ones."""

    __slots__ = ("_away", "_back", "_given", "_small")

    def __init__(self, given: frozenset[int], back: Callable[[], None]) -> None:
        self._given, self._back = given, back
        self._away, self._small = False, 0

    def __call__(self, size: int) -> None:
        if size >= LARGE_BATCH:
            self._small = 0
            if not self._away:
                self._away = True
                _move(self._given)
        elif self._away:
            self._small += 1
            if self._small == SMALL_BATCHES:
                self._away = False
                self._back()


class _Elsewhere(Thread):
    """A thread that doesn't stay where its starter has to."""

    def __init__(self, given: frozenset[int], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._given = given

    def run(self) -> None:
        _move(self._given)
        super().run()


def _move(numbers: Iterable[int]) -> None:
    """Have the calling thread run on one of these, if there still is any."""
    with suppress(OSError):
        os.sched_setaffinity(0, numbers)


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
        claim.bind(f"\0{CLAIMS}/{number}")
    except OSError:
        claim.close()
        return None
    return claim
