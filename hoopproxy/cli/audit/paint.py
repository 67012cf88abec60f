"""The one way to the terminal: a line is pieces with a style each, made inert here and coloured here.

Whatever a client, a target or a configuration could have put into the trail is text in a piece. It loses its
escapes in :func:`painted`, whoever made the piece, so no command can forget to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import click

from hoopproxy.inert import inert

__all__ = ["Line", "Piece", "indented", "inert_json", "painted", "plain"]

Piece = tuple[str, str]
"""Style and text."""

Line = Sequence[Piece]

_STYLES: Final[dict[str, dict[str, object]]] = {
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
    if not colour:
        return "".join([inert(text) for _, text in line])
    return "".join(
        [click.style(inert(text), **_STYLES.get(style, {})) if style else inert(text) for style, text in line]  # type: ignore[arg-type]
    )


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
