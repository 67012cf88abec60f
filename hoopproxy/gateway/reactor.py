"""Choosing the reactor of the process, and the clock that its timers go by.

Imports no reactor by itself, and none of Twisted's that could install one.
"""

# Twisted's reactors are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import sys
import time
from typing import Any

from hoopproxy.gateway.memory import keep_freed

__all__ = ["by_monotonic_time", "install"]


def install() -> str:
    """Install the slim reactor, unless a reactor is installed already (``twistd --reactor`` wins), have its
    transports' buffers used again, and its timers go by a clock that nobody sets.

    To be called before anything imports ``twisted.internet.reactor``.

    :return: the class name of the reactor that the process has now: ``"SlimEPollReactor"``, or
        whichever was there, or Twisted's default where there is no epoll.
    """
    keep_freed()
    if "twisted.internet.reactor" not in sys.modules:
        try:
            from hoopproxy.gateway.slim import SlimEPollReactor
        except ImportError:  # no epoll on this system
            from twisted.internet import default

            default.install()
        else:
            from twisted.internet.main import installReactor

            installReactor(SlimEPollReactor())
    reactor = sys.modules["twisted.internet.reactor"]
    by_monotonic_time(reactor)
    return type(reactor).__name__


def by_monotonic_time(reactor: Any) -> None:
    """Have the timers of one of Twisted's reactors go by monotonic time.

    They go by the time of day: one that is set back by an hour would hold every deadline for an hour. A reactor that
    has timers already, or tells time its own way, is left alone.
    """
    from twisted.python import runtime

    if reactor.seconds in (runtime.seconds, runtime.platform.seconds) and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
