"""Pauses that grow after each failure, with a share of chance so that not everybody comes back at once."""

from __future__ import annotations

from collections.abc import Callable
from random import random
from typing import Final

__all__ = ["Backoff"]

FIRST: Final = 0.5
MOST: Final = 60.0


class Backoff:
    """The first pause is about ``first`` seconds, each further one twice as long, up to ``most``.

    :param chance: gives numbers from 0 to 1; a pause is from half of its length to all of it.
    """

    def __init__(
        self, first: float = FIRST, most: float = MOST, chance: Callable[[], float] = random
    ) -> None:
        self._first, self._most, self._chance = first, most, chance
        self.failures = 0

    def pause(self) -> float:
        """It failed again: how long to wait, in seconds."""
        length = min(self._first * 2.0 ** min(self.failures, 30), self._most)
        self.failures += 1
        return length * (0.5 + self._chance() / 2)

    def reset(self) -> None:
        """It went well."""
        self.failures = 0
