"""How much a terminal may cost to read. What it shows is the target's to choose, and some of it is dear to lay out."""

from __future__ import annotations

from typing import Final

__all__ = ["BURST", "REFILL", "Effort"]

BURST: Final = 2_000_000
"""Units of work that a terminal may cost at once; a unit is about a microsecond of a core. That is 2 MB of random
bytes, 10 MB of redraws, 200 MB of listings with colours."""

REFILL: Final = 20_000
"""Units that come back in a second: a fiftieth of a core for each terminal, whatever it shows, for ever."""

_SECOND: Final = 1_000_000_000


class Effort:
    """One terminal's budget. Units are counted, not measured: the same bytes always come to the same."""

    __slots__ = ("_at", "left")

    def __init__(self) -> None:
        self.left = BURST
        self._at = 0

    def refill(self, now: int) -> None:
        """Time has passed; ``now`` is monotonic nanoseconds."""
        gained = (now - self._at) * REFILL // _SECOND
        if gained > 0:
            self.left = min(BURST, self.left + gained)
            self._at = now if self.left == BURST else self._at + gained * _SECOND // REFILL

    @property
    def rested(self) -> bool:
        """Whether there is enough to begin again: a half of it all."""
        return self.left >= BURST // 2
