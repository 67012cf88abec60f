"""Texts as words, and what somebody looks for in them. Pure.

A word is a run of letters and digits, in lower case: ``pgbench_accounts`` is two, ``12.50`` too. Whoever looks
for them together gets them next to each other, in that order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from hoopproxy.errors import HoopproxyError

__all__ = ["MAX_QUERY", "MAX_WORD", "BadQuery", "Query", "Term", "places_of", "stored", "words_of"]

MAX_WORD: Final = 64
"""Characters of a word that count: hashes in hex are that long, and what is longer nobody types."""

MAX_QUERY: Final = 1000
"""Characters of a query; it comes from strangers and goes on record."""

MAX_TERMS: Final = 50

_WORD: Final = re.compile(r"[^\W_]+")
_PLAIN: Final = re.compile(r"[a-hjl-z0-9]+")
# Without i and k: U+0130 and U+212A become these when they are lowered, and a body holds them as other bytes.


class BadQuery(HoopproxyError):
    """A query that can't be used; the text says what would do."""


def words_of(text: str) -> list[str]:
    """The words of a text, in order."""
    found: list[str] = _WORD.findall(text.lower())
    if len(text) > MAX_WORD and any(len(word) > MAX_WORD for word in found):
        return [word[:MAX_WORD] for word in found]
    return found


def places_of(text: str) -> list[tuple[int, int]]:
    """Where in a text of ASCII :func:`words_of` has its words from: the start and the end of each."""
    spans = (found.span() for found in _WORD.finditer(text))
    return [(start, min(end, start + MAX_WORD)) for start, end in spans]


@attrs.frozen(kw_only=True)
class Term:
    """Words next to each other; with ``prefix`` the last is the beginning of one. ``absent``: must not be
    there."""

    words: tuple[str, ...]
    prefix: bool = False
    absent: bool = False

    def within(self, words: Sequence[str], known: frozenset[str]) -> bool:
        """Whether these words of one text (and the same as a set) hold the term."""
        first = self.words[0]
        if len(self.words) == 1:
            return any(word.startswith(first) for word in known) if self.prefix else first in known
        if first not in known:
            return False
        count, last = len(self.words), self.words[-1]
        for at in range(len(words) - count + 1):
            if words[at] == first and tuple(words[at : at + count - 1]) == self.words[:-1]:
                end = words[at + count - 1]
                if end == last or (self.prefix and end.startswith(last)):
                    return True
        return False


@attrs.frozen
class Query:
    """What is looked for: all terms in one event, but none that must be absent."""

    text: str
    terms: tuple[Term, ...] = attrs.field(eq=False, repr=False)
    _look: bytes = attrs.field(init=False, eq=False, repr=False)

    @_look.default
    def _longest(self) -> bytes:
        runs = [run for term in self.wanted for word in term.words for run in _PLAIN.findall(word)]
        return str(max(runs, key=len, default="")).encode()

    @classmethod
    def parse(cls, text: str) -> Query:
        """``alter table``: both words; ``"alter table"``: one behind the other; ``sal*``: the beginning of a
        word; ``-vacuum``: not this one. An empty text asks for nothing, and every event has that.

        :raises BadQuery: when it can't be understood.
        """
        if len(text) > MAX_QUERY:
            raise BadQuery(f"a query has at most {MAX_QUERY} characters")
        terms = tuple(_terms(text))
        if len(terms) > MAX_TERMS:
            raise BadQuery(f"a query has at most {MAX_TERMS} words and phrases")
        if text.strip() and not terms:
            raise BadQuery(f"{text[:80]!r} holds no word; words are letters and digits")
        return cls(text, terms)

    @property
    def wanted(self) -> tuple[Term, ...]:
        """The terms that must be there."""
        return tuple(term for term in self.terms if not term.absent)

    def may_match(self, body: bytes) -> bool:
        """Whether an event with these bytes can match: a cheap look that is never wrong when it says no."""
        return self._look in body.lower() or b'"b64"' in body

    def matches(self, texts: Iterable[str]) -> bool:
        """Whether these texts of one event hold what is looked for."""
        missing = set(range(len(self.terms)))
        for text in texts:
            words = words_of(text)
            known = frozenset(words)
            for number in tuple(missing):
                term = self.terms[number]
                if term.within(words, known):
                    if term.absent:
                        return False
                    missing.discard(number)
        return all(self.terms[number].absent for number in missing)

    def expression(self) -> str:
        """For FTS5: finds every document that holds an event that matches, and some others. Empty: all."""
        return " AND ".join(_found(term) for term in self.wanted)


_ITEM: Final = re.compile(r'(-?)(?:"([^"]*)"|(\S+))')


def _terms(text: str) -> Iterator[Term]:
    for absent, phrase, bare in _ITEM.findall(text):
        said = phrase or bare
        words = words_of(said)
        if words:
            yield Term(words=tuple(words), prefix=said.endswith("*"), absent=bool(absent))


def _found(term: Term) -> str:
    exact = [f'"{stored(word)}"' for word in term.words]
    if not term.prefix:
        return " AND ".join(exact)
    last = term.words[-1]
    beginnings = [f'"{stored(last)}"*']
    if last.isascii():
        beginnings.append(f'"x{last.encode().hex()}"*')  # of a word with other letters further on
    return " AND ".join([*exact[:-1], f"({' OR '.join(beginnings)})"])


def stored(word: str) -> str:
    """A word as the index has it: letters and digits of ASCII, so that no tokenizer can see it otherwise."""
    return word if word.isascii() else "x" + word.encode("utf-8", "surrogatepass").hex()
