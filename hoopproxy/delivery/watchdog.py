"""Code of others that doesn't give the reactor back: the process ends itself, and says whose code it was.

Python can't stop a thread that runs, so whoever blocks the reader process blocks every other consumer. A thread
looks whether the reactor still turns; if it hasn't for long, the process says who was at work and is gone. The
gateway starts another and lets the culprit wait while the others go on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

__all__ = ["STUCK_SECONDS", "Watchdog"]

STUCK_SECONDS: Final = 30.0
_LOOKS: Final = 5


class Watchdog:
    """``at_work(name)`` says whose code is about to run, ``at_work("")`` that it is back.

    :param bark: called, on a thread, with the name once it has been at work for :data:`STUCK_SECONDS`.
    """

    def __init__(
        self,
        bark: Callable[[str], None],
        seconds: float = STUCK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bark, self._seconds, self._clock = bark, seconds, clock
        self._at: tuple[str, float] | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look; a daemon thread."""
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def at_work(self, name: str) -> None:
        """Called around each call into code of others; two stores, no lock."""
        self._at = (name, self._clock()) if name else None

    def look(self) -> bool:
        """Whether somebody has been at work for too long; barks once then."""
        at = self._at
        if at is None or self._clock() - at[1] < self._seconds:
            return False
        self._bark(at[0])
        return True

    def _run(self, wait: Any = None) -> None:
        while not self._over.wait(self._seconds / _LOOKS):
            if self.look():
                return
