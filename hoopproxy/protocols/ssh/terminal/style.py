"""How a character looks: what ECMA-48 and xterm make of SGR, as values, and SGR again from these. Pure.

What blinks or is concealed is shown plainly: whoever looks at a recording wants to see it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["PLAIN", "Colour", "Style", "restyled", "sgr"]

Colour = int | tuple[int, int, int] | None
"""One of 256, red, green and blue, or the terminal's own."""

MAX_CODES: Final = 64
"""Parameters of one sequence that are read."""


class Style(NamedTuple):
    """A rendition. ``flags``: the attributes that are on, by their SGR codes."""

    fore: Colour = None
    back: Colour = None
    flags: frozenset[int] = frozenset()


PLAIN: Final = Style()

_ON: Final = frozenset((1, 2, 3, 4, 7, 9))
_OFF: Final = {22: (1, 2), 23: (3,), 24: (4,), 27: (7,), 29: (9,)}


def restyled(style: Style, parameters: str) -> Style:
    """The style behind a sequence with these parameters, the text between ``ESC [`` and ``m``."""
    codes = [_numbers(each) for each in parameters.split(";")[:MAX_CODES]]
    while codes:
        first, *parts = codes.pop(0)
        if first == 0:
            style = PLAIN
        elif first == 21 or (first == 4 and parts[:1] == [0]):
            style = style._replace(flags=style.flags - {4} if first == 4 else style.flags | {4})
        elif first in _ON:
            style = style._replace(flags=style.flags | {first})
        elif first in _OFF:
            style = style._replace(flags=style.flags.difference(_OFF[first]))
        elif first in (38, 48):
            colour = _within(parts) if parts else _following(codes)
            style = style._replace(fore=colour) if first == 38 else style._replace(back=colour)
        elif first in (39, 49):
            style = style._replace(fore=None) if first == 39 else style._replace(back=None)
        elif 30 <= first <= 37 or 90 <= first <= 97:
            style = style._replace(fore=first - 30 if first < 90 else first - 82)
        elif 40 <= first <= 47 or 100 <= first <= 107:
            style = style._replace(back=first - 40 if first < 100 else first - 92)
    return style


def _numbers(text: str) -> list[int]:
    return [int(each[:5]) if each.isdecimal() else 0 for each in text.split(":")]


def _within(parts: list[int]) -> Colour:
    """``38:5:n``, ``38:2:r:g:b`` and, with a colour space, ``38:2::r:g:b``."""
    if parts[0] == 5 and len(parts) > 1:
        return min(parts[1], 255)
    if parts[0] == 2 and len(parts) >= 4:
        red, green, blue = (min(each, 255) for each in parts[-3:])
        return red, green, blue
    return None


def _following(codes: list[list[int]]) -> Colour:
    """``38;5;n`` and ``38;2;r;g;b``."""
    kind = codes.pop(0)[0] if codes else 0
    if kind == 5 and codes:
        return min(codes.pop(0)[0], 255)
    if kind == 2 and len(codes) >= 3:
        red, green, blue = (min(codes.pop(0)[0], 255) for _ in range(3))
        return red, green, blue
    return None


def sgr(style: Style) -> str:
    """The sequence that sets exactly this style, whatever was set before."""
    codes = ["0", *map(str, sorted(style.flags))]
    codes += _colour(style.fore, 38) + _colour(style.back, 48)
    return f"\x1b[{';'.join(codes)}m"


def _colour(colour: Colour, code: int) -> list[str]:
    if colour is None:
        return []
    if isinstance(colour, tuple):
        return [f"{code};2;{colour[0]};{colour[1]};{colour[2]}"]
    return [f"{code};5;{colour}" if colour > 7 else str(code - 8 + colour)]
