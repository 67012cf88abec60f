"""The words of what is said again and again: of the same texts, and of nearly the same ones, by their shape. Pure.

Of two requests of one form whose texts differ in nothing but digits, the words differ in nothing but those that have
digits, and these are in the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from hoopproxy.index.saying import said_of
from hoopproxy.index.words import places_of, words_of
from hoopproxy.journal.handed import HandedTurn

__all__ = ["MAX_EVENT_WORDS", "Shape", "Shapes", "Texts"]

MAX_EVENT_WORDS: Final = 50_000
"""Words of one event. A document with more is marked and looked into by every search."""

_KEPT: Final = 2000
_LONGEST: Final = 2000  # characters of a text, and of what follows it; longer ones seldom come twice
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
    """``words`` have no digits of the text; where in it those are that have some, ``places`` says."""

    words: frozenset[str]
    places: tuple[tuple[int, int], ...]


class Shapes:
    """The shapes that were met."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[bytes, bytes, bytes], Shape] = {}

    def of(self, turn: HandedTurn) -> Shape | None:
        """The shape of a request; its text is the last field but one. ``None``: its words have to be looked for."""
        fields = turn.fields
        if len(fields) < 2:
            return None
        text, end = fields[-2:]
        if text.__class__ is not bytes or end.__class__ is not bytes:
            return None
        # Digits don't make a text plain or not, and the form is known by what is equal: so is all that follows.
        key = turn.form, end, text.translate(_DIGITS)
        found = self._shapes.get(key)
        return self._made(turn, key) if found is None else found

    def _made(self, turn: HandedTurn, key: tuple[bytes, bytes, bytes]) -> Shape | None:
        known = turn.asking
        _, end, shape = key
        if known is None or len(shape) > _LONGEST or len(end) > _LONGEST:
            return None
        places = places_of(shape.decode())
        words = {word for said in said_of(known.others) for word in words_of(said)}
        plain = {
            shape[start:stop].decode().lower() for start, stop in places if b"0" not in shape[start:stop]
        }
        changing = tuple((start, stop) for start, stop in places if b"0" in shape[start:stop])
        if len(self._shapes) >= _KEPT:
            self._shapes.clear()
        made = self._shapes[key] = Shape(frozenset(words | plain), changing)
        return made
