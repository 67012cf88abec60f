"""What all processes that the gateway starts have in common: their environment, and how they ended."""

# Twisted's processes are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

__all__ = ["Child", "environment"]

_PASSED_ON: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
_LAST_WORDS: Final = 4096


def environment(more: Iterable[str] = ()) -> dict[str, str]:
    """What an interpreter needs, and the variables of these names.

    The gateway's own environment can hold passwords of targets, which no process has a use for that it starts.
    """
    return {name: os.environ[name] for name in sorted({*_PASSED_ON, *more}) if name in os.environ}


class Child(ProcessProtocol):
    """A process whose complaints are read for their kind alone: their text may quote what it was given."""

    _last = b""

    def kill(self) -> None:
        """End it at once."""
        try:
            if self.transport is not None:
                self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return

    def errReceived(self, data: bytes) -> None:
        self._last = (self._last + data)[-_LAST_WORDS:]

    def how(self, reason: Failure) -> str:
        """How it ended."""
        status: Any = reason.value
        why = f"signal {status.signal}" if getattr(status, "signal", None) else f"exit {status.exitCode}"
        kind = re.findall(rb"^([A-Za-z_.]+(?:Error|Exception|Exit))\b", self._last, re.MULTILINE)
        return f"{why}, {kind[-1].decode()}" if kind else why
