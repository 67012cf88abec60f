"""The words of what is said again and again: of the same texts, and of nearly the same ones, by their shape. Pure.

Of two requests of one form whose texts differ in nothing but digits, the words differ in nothing but those that have
digits, and these are in the same places.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from hoopproxy.events.forms import Asking
from hoopproxy.index.saying import said_of
from hoopproxy.index.words import MAX_WORD, places_of, words_of
from hoopproxy.journal.handed import HandedTurn

__all__ = ["MAX_EVENT_WORDS", "Shape", "Shapes", "Texts", "values"]

MAX_EVENT_WORDS: Final = 50_000
"""Words of one event. A document with more is marked and looked into by every search."""

_KEPT: Final = 2000
_LONGEST: Final = 2000  # characters of a text; longer ones seldom come twice
_VALUES: Final = re.compile('"([0-9a-z]+)"').findall
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")


class Texts:
    """The words of texts that were met."""

    def __init__(self) -> None:
        self._words: dict[str, list[str]] = {}

    def put(self, texts: Sequence[str], words: set[str]) -> bool:
        """Add the words of one event's texts to others; whether there were too many, and some are left out."""
        known, budget = self._words, MAX_EVENT_WORDS
        for text in texts:
            found = known.get(text)
            if found is None:
                found = words_of(text)
                if len(text) <= _LONGEST:
                    if len(known) >= _KEPT:
                        known.clear()
                    known[text] = found
                budget -= len(found)
                if budget < 0:
                    return True
            words.update(found)
        return False


class Shape(NamedTuple):
    """``words`` have no digits of the text; where in it those are that have some, ``places`` says. ``given``: the first
    field has :func:`values`, too."""

    words: frozenset[str]
    places: tuple[tuple[int, int], ...]
    given: bool


def values(field: bytes) -> list[str]:
    """The words of parameters that are letters and digits: each is one."""
    return [word[:MAX_WORD] for word in _VALUES(field.decode().lower())]


class Shapes:
    """The shapes that were met."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[bytes, bytes, bytes], Shape] = {}

    def of(self, turn: HandedTurn) -> Shape | None:
        """The shape of a request; its text is the last field but one, or in the last. ``None``: its words have to be
        looked for."""
        fields, shape = turn.fields, b""
        if len(fields) > 1 and fields[-2].__class__ is bytes:
            shape = fields[-2].translate(_DIGITS)
            found = self._shapes.get((turn.form, fields[-1], shape))
            if found is not None and not found.given:
                return found  # whether a text is plain its digits don't tell, and all else is the same
        known = turn.asking
        if known is None:
            return None
        key = turn.form, fields[-1], shape
        found = self._shapes.get(key)
        return self._made(known, key) if found is None else found

    def _made(self, known: Asking, key: tuple[bytes, bytes, bytes]) -> Shape | None:
        _, _, shape = key
        if len(shape) > _LONGEST:
            return None
        places = places_of(shape.decode())
        words = {word for said in said_of(known.others) for word in words_of(said)}
        plain = {
            shape[start:stop].decode().lower() for start, stop in places if b"0" not in shape[start:stop]
        }
        changing = tuple((start, stop) for start, stop in places if b"0" in shape[start:stop])
        if len(self._shapes) >= _KEPT:
            self._shapes.clear()
        made = self._shapes[key] = Shape(frozenset(words | plain), changing, known.given)
        return made
