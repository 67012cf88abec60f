"""What a session showed, as texts: what a protocol offers for output that no event tells of. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

__all__ = ["KIND", "MAX_BYTES", "ScreenTexts", "Screens"]

KIND: Final = "recording.output"
"""What a search calls a text that was shown: no event on record, it is read from the recording."""

MAX_BYTES: Final = 256 << 10
"""Bytes of output that one document is about: reading them again to find a line takes a fraction of a second."""


class ScreenTexts(Protocol):
    """Reads the recording of one session, chunk by chunk, in order."""

    def feed(self, chunk: Any, /) -> Iterable[tuple[str, str]]:
        """Texts that are whole with this chunk, each with where it was shown (a channel)."""

    def rest(self) -> Iterable[tuple[str, str]]:
        """Texts that have not ended yet."""

    def mark(self) -> str:
        """Where this stands. From here on it gives what another gives that begins with the mark."""


Screens = Callable[[str], ScreenTexts]
"""Begins at a mark (empty: at the session's beginning): what a protocol's plugin offers as ``screen_texts``."""
