"""Choosing the reactor of the process.

Imports no reactor by itself, and none of Twisted's that could install one.
"""

# Twisted's reactors are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import sys

from hoopproxy.gateway.memory import keep_freed

__all__ = ["install"]


def install() -> str:
    """Install the slim reactor, unless a reactor is installed already (``twistd --reactor`` wins), and have
    its transports' buffers used again.

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
    return type(sys.modules["twisted.internet.reactor"]).__name__
