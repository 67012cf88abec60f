"""How another thread has something done on the reactor's: at a third of ``callFromThread``'s cost.

The journal's writer rings after each commit, and in ``strict`` every command waits for that. Twisted's way takes a
lock, writes to a pipe, and goes through its queues and timers; here it is one system call, and the reactor calls back
as for any connection that has something to read.
"""

# Twisted's reactors are untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Doorbell"]


@implementer(IReadDescriptor)
class Doorbell:
    """Made, and closed, on the reactor's thread; :meth:`call` from any."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: deque[Callable[[], None]] = deque()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        reactor.addReader(self)

    def call(self, function: Callable[[], None]) -> None:
        """Have ``function`` called on the reactor's thread, soon, in the order of these calls. After :meth:`close` the
        reactor's own way takes them."""
        self._waiting.append(function)
        descriptor = self._descriptor
        if descriptor < 0:
            self._reactor.callFromThread(self._call_all)
        else:
            os.eventfd_write(descriptor, 1)

    def close(self) -> None:
        """Call what still waits, and give the descriptor back. Nobody else may call meanwhile."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(descriptor)
        self._call_all()

    def _call_all(self) -> None:
        waiting = self._waiting
        for _ in range(len(waiting)):  # what these add comes with the next ring
            try:
                waiting.popleft()()
            except Exception:
                self.log.failure("unhandled error in what another thread asked for")

    # --- what the reactor calls ----------------------------------------------------------------------

    def doRead(self) -> None:
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            return
        self._call_all()

    def fileno(self) -> int:
        return self._descriptor

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def logPrefix(self) -> str:
        return "doorbell"
