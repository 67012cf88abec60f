"""Who waits for which record to be durable."""

from __future__ import annotations

import bisect
import contextlib
from collections import deque
from collections.abc import Callable

__all__ = ["Errands", "Waiters"]

Waiter = tuple[int, Callable[[], None]]


def _jseq_of(waiter: Waiter) -> int:
    return waiter[0]


class Waiters:
    """Callbacks in the order of their ``jseq``; the usual one, at the end, costs an append."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Waiter] = deque()

    def add(self, jseq: int, callback: Callable[[], None]) -> None:
        """Have it called by the first :meth:`release` that reaches ``jseq``."""
        waiting = self._waiting
        if not waiting or jseq >= waiting[-1][0]:
            waiting.append((jseq, callback))
        else:
            bisect.insort(waiting, (jseq, callback), key=_jseq_of)

    def is_due(self, durable: int) -> bool:
        """Whether somebody could be called."""
        return bool(self._waiting) and self._waiting[0][0] <= durable

    def release(self, durable: int) -> None:
        """Call, in order, whoever waits for ``durable`` or less. What a callback raises ends it early."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= durable:
            waiting.popleft()[1]()


class Errands:
    """What the writer's thread does for who waits: added on the reactor's, in the order of their ``jseq``."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Waiter] = deque()

    def add(self, jseq: int, errand: Callable[[], None]) -> None:
        """Have it done by the first :meth:`carry` that reaches ``jseq``."""
        self._waiting.append((jseq, errand))

    def carry(self, durable: int) -> None:
        """Do, in order, what waits for ``durable`` or less. On the writer's thread; never raises: whoever waits on the
        reactor's finds undone what failed, and does it."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= durable:
            with contextlib.suppress(Exception):
                waiting.popleft()[1]()
