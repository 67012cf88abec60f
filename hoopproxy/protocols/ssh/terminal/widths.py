"""How many cells of a terminal a character takes. As ``wcwidth`` has it: wide is 2, what combines is 0."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

__all__ = ["is_narrow", "width"]

_NARROW: Final = re.compile(
    "[\x20-\x7e\xa0-\xac\xae-\u02ff\u0370-\u0377\u037a-\u037f\u0384-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e"
    "\u2070-\u209c\u20a0-\u20c0\u2100-\u2319\u2500-\u25fc\ufffd]*"
)
"""Scripts and signs without wide and combining characters: most of what shells and tables are made of."""


def is_narrow(text: str) -> bool:
    """Whether every character certainly takes one cell; ``False`` says only that each must be looked at."""
    return text.isascii() or _NARROW.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def width(character: str) -> int:
    """0, 1 or 2 cells."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc", "Cs"):
        return 0
    if "\u1160" <= character <= "\u11ff":  # Jamo that join the one before them
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
