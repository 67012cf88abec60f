"""The search for credentials behind ``redact``: one pass over the tokens of a text.

Iterative over the text and linear in it; literals within literals are read to a fixed depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from hoopproxy.protocols.postgres.conninfo import looks_like_conninfo, passwords_in
from hoopproxy.protocols.postgres.sql import lexer
from hoopproxy.protocols.postgres.sql.lexer import Literal, Unreadable, read_literal, skimmer
from hoopproxy.protocols.postgres.sql.literals import has_escapes, resolve_unicode, value_of
from hoopproxy.protocols.postgres.suspicion import LOUD, suspicious

__all__ = ["Search", "Span"]


@frozen
class Span:
    """A secret: bytes `start` to `end` of the text, and why it's taken for one."""

    start: int
    end: int
    reason: str


_SECRET_NAME: Final = re.compile(
    rb"(?i)passw|passfile|passphrase|pwd|secret|token|credential|private|api_?key|access_?key|jwt|\\"
)
_PLAIN_NAME: Final = re.compile(rb"(?i)password_encryption|password_required|.*passwordcheck\Z")
_WORDS: Final = "password|identified|options|dblink[a-z0-9_]*|set|set_config"
_ROLE: Final = (b"ROLE", b"USER", b"GROUP")
_ROLE_TEXT: Final = re.compile(rb"(?i)\b(?:role|user|group|mapping|server)\b")
_DANGLING: Final = re.compile(rb"(?i)\bpassword\s*+(?:'*+\Z|%|\$)")
_DEPTH: Final = 5
"""Literals within literals that are read; what is deeper and suspicious is redacted whole."""
_PARTS: Final = 4
"""Parts of a dotted name that are read."""
_MOST: Final = 10_000
"""Secrets of one text that are told apart; beyond, the rest of the text is one."""
_MOST_IN_LITERAL: Final = 64
"""Secrets of one literal that are told apart; beyond, the whole literal is one."""
_ARGUMENTS: Final = 200
"""Tokens of a dblink call that are looked at; beyond, everything up to the statement's end is redacted."""


class Search:
    """One reading of one text (or of the inside of a literal, `depth` levels down)."""

    def __init__(self, text: bytes, backslash: bool, depth: int) -> None:
        self._text, self._backslash, self._depth = text, backslash, depth
        self._found: list[Span] = []
        self._open = False
        self._first: tuple[bytes, bytes] = (b"", b"")
        self.parameters: set[int] = set()
        self.every_parameter = False
        self.unfinished = False

    def spans(self) -> list[Span]:
        self._begin(0)
        pos: int | None = 0
        while pos is not None:
            pos = self._stretch(pos)
        return self._found

    def _stretch(self, pos: int) -> int | None:
        """Search from `pos` until a secret goes on in other literals, or no longer does: where that is, if anywhere.

        Only then is a literal looked at that by itself holds nothing to be looked at.
        """
        text, was_open = self._text, self._open
        for kind, start, end in self._skim(_WORDS, "", pos, harmless=not was_open):
            self._token(kind, start, end)
            if len(self._found) > _MOST:
                self._found.append(Span(start, len(text), "too many"))
                break
            if self._open != was_open:
                return end
        return None

    def _token(self, kind: str, start: int, end: int) -> None:
        if kind == "word":
            self._word(self._text[start:end].upper(), end)
        elif kind == "punct":
            self._open = False
            self._begin(end)
        elif kind == "param":
            self._parameter(start, end, self._open)
        elif kind == "comment":
            self._inside(start + 2, end, "comment")
        elif kind == "quoted":
            self._quoted(start, end)
        else:
            self._literal(start)

    def _skim(
        self, words: str, brackets: str, pos: int, harmless: bool = False
    ) -> Iterator[tuple[str, int, int]]:
        wanted = skimmer(words, brackets, literals=True, backslash=self._backslash, harmless=harmless)
        return wanted.over(self._text, pos)

    def _begin(self, pos: int) -> None:
        """Note the first two words of the statement at `pos`."""
        first, pos = self._next(pos)
        self._first = (first, self._next(pos)[0])

    def _next(self, pos: int) -> tuple[bytes, int]:
        try:
            return lexer.next_word(self._text, pos)
        except Unreadable:
            return b"", len(self._text)

    def _skip(self, pos: int) -> int:
        try:
            return lexer.skip(self._text, pos)
        except Unreadable:
            return len(self._text)

    def _read(self, pos: int) -> Literal | None:
        return read_literal(self._text, pos, self._backslash)

    def _whole(self, literal: Literal, reason: str) -> None:
        self._found += [Span(start, end, reason) for start, end in literal.pieces]
        self.unfinished = self.unfinished or not literal.closed

    def _parameter(self, start: int, end: int, secret: bool) -> None:
        if secret and end - start < 10:
            self.parameters.add(int(self._text[start + 1 : end]))

    # What words announce

    def _word(self, word: bytes, end: int) -> None:
        if word == b"PASSWORD":
            self._password(end)
        elif word == b"IDENTIFIED":
            by, after = self._next(end)
            if by == b"BY":
                self._password(after)
        elif word == b"OPTIONS":
            self._options(end)
        elif word == b"SET":
            if self._first[0] in (b"SET", b"ALTER", b"CREATE"):
                self._setting(end)
        elif word == b"SET_CONFIG" and not self._open:
            self._set_config(end)
        elif word.startswith(b"DBLINK") and not self._open:
            self._dblink(end, 2 if word.startswith(b"DBLINK_CONNECT") else 1)

    def _password(self, pos: int) -> None:
        """``PASSWORD`` and a value; about roles, wrong spellings (``= 'x'``, ``"x"``, a bare word) too."""
        text, pos = self._text, self._skip(pos)
        role = self._first[0] in (b"CREATE", b"ALTER") and self._first[1] in _ROLE
        while role and text[pos : pos + 1] in (b"=", b":", b"("):
            pos = self._skip(pos + 1)
        literal = self._read(pos)
        if literal is not None:
            self._whole(literal, "PASSWORD")
        elif text[pos : pos + 1] == b'"' and (role or self._first[0] == b""):
            end = lexer.quoted_end(text, pos)
            self._found.append(Span(pos + 1, end - 1 if end >= 0 else len(text), "PASSWORD"))
        elif role:
            word, end = lexer.word_at(text, pos)
            bare = re.compile(rb"[^\s;]*+").match(text, pos)
            if word != b"NULL" and bare is not None and text[pos : pos + 1] != b"$":
                self._found.append(Span(pos, bare.end(), "PASSWORD"))

    def _options(self, pos: int) -> None:
        """``OPTIONS (name 'value', ...)``: values whose name says that they are secret."""
        text, pos = self._text, self._skip(pos)
        if text[pos : pos + 1] != b"(":
            return
        while True:
            name, pos = self._name(pos + 1)
            if name.upper() in (b"ADD", b"SET", b"DROP") and self._read(self._skip(pos)) is None:
                name, pos = self._name(pos)
            pos = self._skip(pos)
            literal = self._read(pos)  # none after DROP name
            if literal is not None:
                if _SECRET_NAME.search(name) and not _PLAIN_NAME.match(name):
                    self._whole(literal, "OPTIONS")
                pos = self._skip(literal.end)
            if text[pos : pos + 1] != b",":
                return

    def _name(self, pos: int) -> tuple[bytes, int]:
        """An identifier (dots too) after spaces, and its end. ``U&`` names come with a backslash."""
        text, pos = self._text, self._skip(pos)
        parts: list[bytes] = []
        while True:
            if text[pos : pos + 1] == b'"' or text[pos : pos + 3].upper() == b'U&"':
                end = lexer.quoted_end(text, pos)
                end = end if end >= 0 else len(text)
                raw = text[pos : end - 1]
                parts.append(b"\\" + resolve_unicode(raw) if raw[:1] != b'"' else raw[1:])
                if raw[:1] != b'"' and self._next(end)[0] == b"UESCAPE":
                    escape = self._read(self._skip(self._next(end)[1]))
                    end = escape.end if escape is not None else end
            else:
                end = lexer.word_at(text, pos)[1]
                parts.append(text[pos:end])
            pos = self._skip(end)
            if text[pos : pos + 1] != b"." or len(parts) >= _PARTS:
                return b".".join(parts), end
            pos = self._skip(pos + 1)

    def _setting(self, pos: int) -> None:
        """``SET [LOCAL] name {TO | =} value, ...``, also within ALTER and CREATE."""
        word, end = self._next(pos)
        if word in (b"LOCAL", b"SESSION"):
            pos = end
        name, pos = self._name(pos)
        if not _SECRET_NAME.search(name) or _PLAIN_NAME.match(name):
            return
        word, end = self._next(pos)
        pos = self._skip(pos)
        if word != b"TO" and self._text[pos : pos + 1] != b"=":
            return
        pos = end if word == b"TO" else pos + 1
        while True:
            pos = self._skip(pos)
            literal = self._read(pos)
            if literal is None:
                bare = re.compile(rb"[^\s;,]*+").match(self._text, pos)
                assert bare is not None
                if bare[0].upper() not in (b"", b"DEFAULT"):
                    self._found.append(Span(pos, bare.end(), "SET"))
                end = bare.end()
            else:
                self._whole(literal, "SET")
                end = literal.end
            pos = self._skip(end)
            if self._text[pos : pos + 1] != b",":
                return
            pos += 1

    def _set_config(self, pos: int) -> None:
        """``set_config('name', 'value', local)``."""
        pos = self._skip(pos)
        literal = self._read(self._skip(pos + 1))
        if self._text[pos : pos + 1] != b"(" or literal is None:
            return
        name = value_of(self._text, literal)
        if _SECRET_NAME.search(name) and not _PLAIN_NAME.match(name):
            self._call(literal.end, 2, "set_config", first=1)

    def _dblink(self, pos: int, arguments: int) -> None:
        pos = self._skip(pos)
        if self._text[pos : pos + 1] == b"(":
            self._call(pos + 1, arguments, "dblink", first=0)

    def _call(self, pos: int, arguments: int, reason: str, first: int) -> None:
        """The arguments from number `first` on, before number `arguments`; `pos` is in argument 0.

        Parameters in them are secret. Literals are, unless they stand alone and read as what they are:
        a connection string (whose password is found by itself) or a connection's name.
        """
        depth, number, begin = 0, 0, pos
        inside: list[Literal] = []
        for count, (kind, start, end) in enumerate(self._skim("", "(),", pos)):
            if count > _ARGUMENTS:
                self._open = self.every_parameter = True
                return
            mark = self._text[start:end]
            if kind == "punct" and (depth == 0 or mark == b";") and mark in (b",", b")", b";"):
                if number >= first:
                    self._argument(begin, start, inside, reason)
                number, begin, inside = number + 1, end, []
                if mark != b"," or number >= arguments:
                    return
            elif kind == "punct":
                depth += {b"(": 1, b")": -1}.get(mark, 0)
            elif kind == "param":
                self._parameter(start, end, number >= first)
            elif kind in ("quote", "dollar"):
                literal = self._read(start)
                inside += [literal] if literal is not None else []
        self._argument(begin, len(self._text), inside, reason)

    def _argument(self, begin: int, end: int, literals: list[Literal], reason: str) -> None:
        if len(literals) == 1 and reason == "dblink":
            literal = literals[0]
            alone = self._skip(begin) == literal.start and self._skip(literal.end) >= end
            if alone and not has_escapes(self._text, literal):
                return
        for literal in literals:
            self._whole(literal, reason)

    # What literals hold

    def _literal(self, start: int) -> None:
        literal = self._read(start)
        if literal is None:
            return
        if self._open:
            self._whole(literal, "continued secret")
            return
        value = value_of(self._text, literal)
        if not suspicious(value, False):
            return
        found, pending = self._of_value(value, literal.style)
        if literal.style == "$" and not literal.closed:
            pending = False
        if not found and not pending:
            return
        self._open = self._open or pending
        if pending and b"$" in self._text:
            self._pending_parameters(literal.end)
        if has_escapes(self._text, literal) or len(found) > _MOST_IN_LITERAL:
            self._whole(literal, found[0].reason if found else "escaped")
            return
        for span in found:
            self._found += _placed(self._text, literal, span)

    def _pending_parameters(self, pos: int) -> None:
        for kind, start, end in self._skim("", "", pos):
            if kind == "punct":
                return
            if kind == "param":
                self._parameter(start, end, True)

    def _of_value(self, value: bytes, style: str) -> tuple[list[Span], bool]:
        """The secrets of a literal's value, and whether what is appended to the value is one too."""
        found: list[Span] = []
        pending = False
        if style != "$" or looks_like_conninfo(value):
            ranges, pending = passwords_in(value)
            found += [Span(start, end, "connection string") for start, end in ranges]
        if self._depth >= _DEPTH:
            return ([Span(0, len(value), "deep")] if LOUD.search(value) else found), pending
        inner = Search(value, self._backslash, self._depth + 1)
        found += inner.spans()
        self.parameters |= inner.parameters if style == "$" else set()
        if _DANGLING.search(value) and _ROLE_TEXT.search(value) and style != "$":
            pending = True
        return found, pending or (inner.unfinished and style != "$")

    def _quoted(self, start: int, end: int) -> None:
        inside = self._text.find(b'"', start) + 1
        self._inside(inside, max(end - 1, inside), "quoted")
        if not self._open and b"dblink" in resolve_unicode(self._text[inside:end]).lower():
            self._dblink(end, 2)

    def _inside(self, start: int, end: int, reason: str) -> None:
        """The inside of a comment or quoted identifier: searched as text, nothing in it runs."""
        if end <= start:
            return
        value = self._text[start:end]
        if not suspicious(value, False):
            return
        found, _ = self._of_value(value, "")
        self._found += [
            Span(start + span.start, start + span.end, f"{reason}: {span.reason}") for span in found
        ]


def _placed(text: bytes, literal: Literal, span: Span) -> list[Span]:
    """Where a span of a literal's value is in the text: one span for each of its pieces."""
    placed: list[Span] = []
    base = 0  # of the value
    for start, end in literal.pieces:
        doubled = literal.style != "$"
        length = end - start - (text.count(b"''", start, end) if doubled else 0)
        low, high = max(span.start - base, 0), min(span.end - base, length)
        if low < high:
            placed.append(
                Span(_raw(text, start, end, low, doubled), _raw(text, start, end, high, doubled), span.reason)
            )
        base += length
    return placed


def _raw(text: bytes, start: int, end: int, offset: int, doubled: bool) -> int:
    """The position of byte `offset` of the value of a quoted piece, doubled quotes counted once."""
    if not doubled:
        return start + offset
    pos = start
    while True:
        quote = text.find(b"''", pos, end)
        if quote < 0 or pos + offset <= quote:
            return pos + offset
        offset -= quote + 1 - pos
        pos = quote + 2
