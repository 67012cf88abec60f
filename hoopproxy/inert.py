"""Text that a terminal, a log file or a web page can't take for anything but text."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["cells", "fitted", "inert"]

_DANGEROUS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3164\ud800-\udfff\ufeff"
    "\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""C0, DEL, C1; line separators; bidirectional and other invisible controls; surrogates; tags."""


def inert(text: str, keep: str = "") -> str:
    """`text` with every character that controls instead of showing as an escape (``\\x1b``, ``\\u202e``).

    :param keep: controls to leave alone, out of newline and tab.
    """
    if text.isascii() and text.isprintable():
        return text
    return _DANGEROUS.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    number = ord(character)
    return short or (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def cells(text: str) -> int:
    """Columns of a terminal that `text` (already inert) takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, width: int) -> str:
    """`text` (already inert) cut to `width` columns, the last one an ellipsis where something is missing.

    Combining marks are no columns, so their number is bounded too: at most four times the width in
    characters are kept.
    """
    if len(text) <= width and cells(text) <= width:
        return text
    kept: list[str] = []
    room = width - 1
    for character in text[: 4 * width]:
        room -= _width(character)
        if room < 0:
            break
        kept.append(character)
    else:
        if len(text) <= 4 * width and cells(text) <= width:
            return text
    return "".join(kept) + "…"
