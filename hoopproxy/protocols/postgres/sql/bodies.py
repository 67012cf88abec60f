"""One reading of one text, statement by statement, with what rules and routines hold."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from hoopproxy.protocols.postgres.sql.heads import Heads
from hoopproxy.protocols.postgres.sql.lexer import Unreadable, skimmer, skip
from hoopproxy.protocols.postgres.sql.verbs import CHANGES, QUERIES, UNCLASSIFIED

__all__ = ["Reader", "Statement"]


@frozen
class Statement:
    """One statement of a text.

    ``verbs``: upper case, single spaces; the statement's own kind from the general to the special
    (``DROP``, ``DROP TABLE``), then those of the statements inside it. ``start``, ``end``: bytes in the
    text, from its first token to before its ``;``.
    """

    verbs: tuple[str, ...]
    start: int
    end: int


_EMPTY: Final = re.compile(rb";[\s;]*+")
_MOST: Final = 65536
"""Statements of one text that are told apart; the rest is unclassified. Bounds the answer's memory."""
_ACTIONS: Final = QUERIES | (CHANGES - {b"MERGE"}) | {b"NOTIFY"}
"""What a rule can do."""


class Reader(Heads):
    """One reading of one text."""

    def read(self) -> tuple[Statement, ...]:
        """All its statements, empty ones left out. Never raises, never recurses."""
        found: list[Statement] = []
        while True:
            start = self._pos
            try:
                start = self._pos = skip(self._text, self._pos)
                if start >= len(self._text):
                    return tuple(found)
                if (empty := _EMPTY.match(self._text, start)) is not None:
                    self._pos = empty.end()
                    continue
                end = self._statement()
            except Unreadable:
                found.append(Statement((UNCLASSIFIED,), start, len(self._text)))
                return tuple(found)
            found.append(Statement(tuple(dict.fromkeys(self._verbs)), start, end))
            self._verbs = []
            if len(found) >= _MOST:
                return (*found, Statement((UNCLASSIFIED,), end, len(self._text)))

    def _statement(self) -> int:
        """Read one statement, all of its bodies too. Returns where its ``;`` is."""
        self._segment()
        if self._verbs[:1] == ["CREATE"] and "CREATE RULE" in self._verbs:
            return self._rule()
        if self._verbs[-1] in ("CREATE FUNCTION", "CREATE PROCEDURE") and self._atomic():
            return self._routine()
        return self._finish()

    def _segment(self) -> None:
        """Read a statement's head and what is of interest in the rest, up to before its ``;``."""
        self._classify(self._first())

    def _finish(self) -> int:
        """Where the statement ends. What follows its ``;`` is next."""
        for _, start, end in skimmer(backslash=self._backslash).over(self._text, self._pos):
            self._pos = end
            return start
        self._pos = len(self._text)
        return self._pos

    def _rule(self) -> int:
        """CREATE RULE: what it will do counts. A ``;`` in brackets belongs to the rule.

        DO is reserved, so it is no name; where it is a column's (``old.do``) nothing that a rule can do follows.
        """
        depth, acts = 0, False
        for kind, start, end in skimmer("do", "()", backslash=self._backslash).over(self._text, self._pos):
            mark = self._text[start]
            depth += (mark == 0x28) - (mark == 0x29)
            if mark == 0x3B and depth <= 0:
                break
            if (mark == 0x3B and acts) or (kind == "word" and depth <= 0 and not acts):
                acts = True
                self._action(end)
        else:
            start = end = len(self._text)
        if not acts:
            self._verbs.append(UNCLASSIFIED)
        self._pos = end
        return start

    def _action(self, pos: int) -> None:
        """Add the verbs of a rule's action, which begins at `pos`."""
        self._pos = pos
        word = self._first()
        if word in (b"ALSO", b"INSTEAD"):
            word = self._first()
        if word in _ACTIONS:
            self._classify(word)
        elif word != b"NOTHING" and (word or self._text[self._pos : self._pos + 1] not in (b";", b")")):
            self._verbs.append(UNCLASSIFIED)
        self._verbs = list(dict.fromkeys(self._verbs))  # there may be many actions

    def _atomic(self) -> bool:
        """Step behind ``BEGIN ATOMIC`` if this routine has such a body."""
        for kind, start, end in skimmer("begin", backslash=self._backslash).over(self._text, self._pos):
            self._pos = start
            if kind == "punct":
                return False
            self._pos = end
            word, after = self._next()
            if word == b"ATOMIC":
                self._pos = after
                return True
        return False

    def _routine(self) -> int:
        """The statements of a SQL body, up to the END that follows a ``;``.

        Their verbs count as the routine's: ``BEGIN ATOMIC`` may also be a parameter's name and type, and
        then what we take for a body is run.
        """
        while True:
            word, end = self._next()
            if word == b"END":
                self._pos = end
                return self._finish()
            if not word and end >= len(self._text):
                return end
            if self._text[end : end + 1] == b";":
                self._pos = end + 1
                continue
            if word == b"RETURN":
                self._verbs.append("SELECT")
                self._pos = end
            else:
                self._segment()
            self._finish()
