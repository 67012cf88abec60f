"""The one way to the terminal: a line is pieces with a style each, made inert here and coloured here.

Whatever a client, a target or a configuration could have put into the trail is text in a piece. It loses its
escapes in :func:`painted`, whoever made the piece, so no command can forget to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from hoopproxy.inert import inert

__all__ = ["Line", "Piece", "indented", "inert_json", "painted", "plain"]

Piece = tuple[str, str]
"""Style and text."""

Line = Sequence[Piece]

_STYLES: Final[dict[str, dict[str, Any]]] = {
    "": {},
    "title": {"bold": True},
    "who": {"fg": "cyan"},
    "time": {"dim": True},
    "faint": {"dim": True},
    "verb": {"bold": True},
    "text": {},
    "good": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
    "warn": {"fg": "yellow"},
}

_BEYOND_ASCII: Final = re.compile("[^\x20-\x7e]")


def painted(line: Line, colour: bool) -> str:
    """The line as it may be printed; no line end."""
    parts = []
    for style, text in line:
        shown = inert(text, "\t" if style == "text" else "")
        parts.append(click.style(shown, **_STYLES.get(style, {})) if colour and style else shown)
    return "".join(parts)


def plain(text: str, style: str = "") -> Line:
    """A line of one piece."""
    return ((style, text),)


def indented(text: str, margin: str, style: str = "text") -> Iterable[Line]:
    """A text of several lines, each behind a margin: a line end in it is ours, all else is inert."""
    for line in text.replace("\r\n", "\n").split("\n"):
        yield (("", margin), (style, line.replace("\t", "    ")))


def inert_json(line: str) -> str:
    """JSON with what a terminal would act upon as escapes too: still the same JSON.

    JSON itself escapes C0 alone; DEL, C1 and what turns or hides text go through it as they are.
    """
    return line if line.isascii() and line.isprintable() else _BEYOND_ASCII.sub(_escaped, line)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if inert(character) == character:
        return character
    number = ord(character)
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 | number >> 10:04x}\\u{0xDC00 | number & 0x3FF:04x}"
