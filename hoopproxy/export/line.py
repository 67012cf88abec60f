"""JSON on one line, for whoever splits at more than a line feed. Pure."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["one_line"]

_ENDS: Final = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
_ESCAPES: Final = {b"\xc2\x85": rb"\u0085", b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029"}


def one_line(data: bytes) -> bytes:
    """The same JSON with Unicode's line separators escaped; those of ASCII are in any JSON."""
    return data if data.isascii() else _ENDS.sub(lambda found: _ESCAPES[found[0]], data)
