"""Reading SQL text the way PostgreSQL's own scanner does, without building tokens that nobody asked for.

Follows ``src/backend/parser/scan.l``: nested comments, ``''`` and backslashes, the continuation of a
literal after a newline, dollar quotes, quoted identifiers, operators cut at ``--`` and ``/*``.
Statements run to tens of megabytes, so a compiled pattern skips what is boring (whole words, numbers,
operators) in bounded runs, and Python only sees what a caller named as interesting. Everything here is
iterative and linear.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from attrs import frozen

__all__ = ["Literal", "Skimmer", "Text", "Unreadable", "comment_end", "quoted_end", "read_literal", "skimmer"]

Text = bytes | bytearray | mmap.mmap
"""What can be read in place. (A memoryview is copied by the callers: it has no ``find``.)"""

_START: Final = rb"A-Za-z_\x80-\xff"
_PART: Final = rb"A-Za-z0-9_$\x80-\xff"
_RUN: Final = b"256"
"""Repeats of one match: `re` keeps a frame for each, so an unbounded one would eat gigabytes."""

_DOLLAR: Final = rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*+)?\$"
_PREFIXED: Final = rb"(?:[eEbBxXnN]|[uU]&)'"
_SPACE: Final = re.compile(rb"(?:\s++|--[^\n\r]*+|/\*[^*/]*+\*/){0,256}")
_GAP: Final = re.compile(rb"(?:\s++|--[^\n\r]*+){0,256}")
_WORD: Final = re.compile(rb"[%s][%s]*+" % (_START, _PART))
_COMMENT_EDGE: Final = re.compile(rb"/\*|\*/")
_ESCAPED: Final = re.compile(rb"(?:[^'\\]++|\\.|''){0,256}", re.DOTALL)
_LITERAL_START: Final = re.compile(rb"((?:[eEbBxXnN]|[uU]&)?)'")
_DOLLAR_START: Final = re.compile(_DOLLAR)


def _tame(plain: bytes, odd: bytes) -> bytes:
    """Any number of bytes that are not in the set `plain`, and up to 64 times what is `odd`.

    Not one repeated alternative: possessive, CPython before 3.11.5 matches what a lookahead in it forbids; greedy, it
    keeps a frame for each byte.
    """
    return rb"[^%s]*+(?:(?:%s)[^%s]*+){0,64}" % (plain, odd, plain)


_NO_PASSWORD: Final = rb"[pP](?!(?i:assw))"
_NO_QUOTE: Final = rb"\$(?![$A-Za-z_\x80-\xff])"
_QUIET: Final = rb"\"'$\\pP:", _NO_PASSWORD + rb"|:(?!//)|" + _NO_QUOTE
_LINK: Final = rb"\"'$\\pP:@%*\s", _NO_PASSWORD + rb"|:(?!//)|(?<=(?i:ttp)):|(?<=(?i:ttps)):"
"""One word that may have ``http://`` or ``https://`` in it: without an ``@`` no password is there."""
_HARMLESS: Final = (
    # Not followed by another literal, or by what may stand between it and one that it goes on with.
    rb"'(?:%s|%s)'(?!'|[ \t\v\f]*+(?:[\n\r]|--))" % (_tame(*_QUIET), _tame(*_LINK)),
    rb"\"%s\"(?!\")" % _tame(_QUIET[0] + b"dD", _QUIET[1] + rb"|[dD](?!(?i:blink))"),
    rb"--%s(?=[\n\r]|\Z)" % _tame(_QUIET[0] + rb"\n\r", _QUIET[1]),
    rb"/\*%s\*/" % _tame(_QUIET[0] + b"*/", _QUIET[1]),
)
"""Literal, name and comments in which nothing is to be searched: no ``passw``, no ``://``, no quotes; see
:func:`hoopproxy.protocols.postgres.suspicion.suspicious`."""


class Unreadable(Exception):
    """The text can't be a sequence of PostgreSQL tokens: something is unterminated, or a byte is illegal."""


@frozen
class Literal:
    """One string constant, with its continuations.

    ``start``, ``end``: all of it, prefix and quotes too. ``pieces``: the inside of each quoted part.
    ``style``: ``""`` (quotes are doubled), ``"e"`` (backslashes too), ``"u"`` (``U&``), ``"$"``, ``"b"``
    (bits, also ``x``). ``closed`` is false where the text ended first.
    """

    start: int
    end: int
    pieces: tuple[tuple[int, int], ...]
    style: str
    closed: bool


@frozen
class Skimmer:
    """A way through a text: what is skipped and what is told. Made by :func:`skimmer`."""

    pattern: re.Pattern[bytes]
    literals: bool
    backslash: bool

    def over(self, text: Text, pos: int) -> Iterator[tuple[str, int, int]]:
        """What is interesting from `pos` on: ``(kind, start, end)``.

        Kinds: ``word``, ``punct`` (``;`` and, if asked for, brackets), and with `literals` also ``quote``,
        ``dollar``, ``quoted``, ``comment``, ``param``.

        :raises Unreadable: without `literals` only; with it, an unterminated thing reaches to the end.
        """
        size, match, told = len(text), self.pattern.match, self.literals
        while pos < size:
            found = match(text, pos)
            assert found is not None  # every part is optional
            kind = found.lastgroup
            if kind is None:
                if found.end() == pos:
                    raise Unreadable
                pos = found.end()
                continue
            start, pos = found.span(kind)
            if kind == "word" or kind == "punct" or kind == "param":
                yield kind, start, pos
                continue
            pos = self._end(text, kind, start)
            if told:
                yield kind, start, pos

    def _end(self, text: Text, kind: str, start: int) -> int:
        if kind == "comment":
            end = line_end(text, start) if text[start] == 45 else comment_end(text, start)
        elif kind == "quoted":
            end = quoted_end(text, start)
        else:
            literal = read_literal(text, start, self.backslash)
            assert literal is not None  # the pattern saw its start
            end = literal.end if literal.closed else -1
        if end >= 0:
            return end
        if self.literals:
            return len(text)
        raise Unreadable


@lru_cache(maxsize=64)
def skimmer(
    words: str = "",
    brackets: str = "",
    *,
    literals: bool = False,
    backslash: bool = False,
    harmless: bool = False,
) -> Skimmer:
    """A way through SQL text that stops at `words` and at ``;``.

    :param words: an alternation of interesting words (a regular expression without groups), any case.
    :param brackets: further single characters to stop at, out of ``(),``.
    :param literals: stop at string constants, quoted identifiers, comments and parameters too.
    :param backslash: ``standard_conforming_strings`` is off.
    :param harmless: with `literals`, pass over those (and comments, and names) that by themselves hold neither a
        credential nor anything that could hide one: most of a large text, in a tenth of the time.
    """
    wanted = rb"(?:(?i:%s)(?![%s]))" % (words.encode(), _PART) if words else b"(?!)"
    marks = b";" + brackets.encode()
    prefixed = _PREFIXED if literals or backslash else rb"[eE]'"
    if literals:
        prefixed = prefixed + rb"|[uU]&" + b'"'
    skipped = [
        rb"[^%s'\"$/\-%s%s]++" % (_START, b"" if literals else rb"\\\0", re.escape(marks)),
        rb"(?!%s|%s)[%s][%s]*+" % (wanted, prefixed, _START, _PART),
        rb"-(?!-)",
        rb"/(?!\*)",
    ]
    if literals:
        skipped.append(rb"\$(?!\d|%s)" % _DOLLAR[2:])
        skipped += _HARMLESS if harmless else ()
        told = rb"|(?P<param>\$\d++)|(?P<quoted>(?:[uU]&)?\")|(?P<comment>/\*|--)"
        told += rb"|(?P<quote>(?:[eEbBxXnN]|[uU]&)?')"
    else:
        skipped += [rb"\$\d++", rb"\"[^\"]*+\"", rb"--[^\n\r]*+", rb"/\*[^*/]*+\*/"]
        skipped += [] if backslash else [rb"'[^']*+'"]
        told = rb"|(?P<comment>/\*)|(?P<quote>(?:%s))" % (rb"[eE]'" if not backslash else _PREFIXED + b"|'")
    pattern = rb"(?:%s){0,%s}(?:(?P<word>%s)|(?P<punct>[%s])|(?P<dollar>%s)%s)?" % (
        b"|".join(skipped), _RUN, wanted, re.escape(marks), _DOLLAR, told,
    )  # fmt: skip
    return Skimmer(re.compile(pattern), literals, backslash)


def skip(text: Text, pos: int) -> int:
    """The first byte at or after `pos` that is neither space nor comment.

    :raises Unreadable: a comment has no end.
    """
    while True:
        found = _SPACE.match(text, pos)
        assert found is not None  # it matches nothing, too
        if found.end() > pos:
            pos = found.end()
        elif text[pos : pos + 2] == b"/*":
            pos = comment_end(text, pos)
            if pos < 0:
                raise Unreadable
        else:
            return pos


def word_at(text: Text, pos: int) -> tuple[bytes, int]:
    """The word at `pos` in upper case and its end; ``(b"", pos)`` if no word begins there."""
    found = _WORD.match(text, pos)
    if found is None:
        return b"", pos
    return bytes(found[0]).upper(), found.end()


def next_word(text: Text, pos: int) -> tuple[bytes, int]:
    """The word after spaces and comments, in upper case, and its end; ``(b"", where)`` if it's no word."""
    return word_at(text, skip(text, pos))


def line_end(text: Text, start: int) -> int:
    """The end of the ``--`` comment at `start`."""
    found = re.compile(rb"[^\n\r]*+").match(text, start)
    assert found is not None
    return found.end()


def comment_end(text: Text, start: int) -> int:
    """The end of the (nested) comment that begins with ``/*`` at `start`; -1 if there is none."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == b"/*" else -1
        if not depth:
            return edge.end()
    return -1


def quoted_end(text: Text, start: int) -> int:
    """The end of the quoted identifier at `start` (``"`` or ``U&"``); -1 if there is none."""
    pos = text.find(b'"', start) + 1
    while True:
        pos = text.find(b'"', pos) + 1
        if not pos:
            return -1
        if text[pos : pos + 1] != b'"':
            return pos
        pos += 1


def read_literal(text: Text, start: int, backslash: bool = False) -> Literal | None:
    """The string constant that begins at `start` (prefix included), or None if none does.

    :param backslash: ``standard_conforming_strings`` is off: plain constants have backslash escapes.
    """
    found = _LITERAL_START.match(text, start)
    if found is None:
        return _dollar_quoted(text, start)
    prefix = bytes(found[1]).lower()
    style = {b"e": "e", b"u&": "u", b"b": "b", b"x": "b"}.get(prefix, "e" if backslash else "")
    pieces: list[tuple[int, int]] = []
    inside = found.end()
    while True:
        quote = _escaped_end(text, inside) if style == "e" else _plain_end(text, inside)
        if quote < 0:
            return Literal(start, len(text), (*pieces, (inside, len(text))), style, False)
        pieces.append((inside, quote))
        inside = _continued(text, quote + 1)
        if inside < 0:
            return Literal(start, quote + 1, tuple(pieces), style, True)


def _dollar_quoted(text: Text, start: int) -> Literal | None:
    found = _DOLLAR_START.match(text, start)
    if found is None:
        return None
    close = text.find(bytes(found[0]), found.end())
    if close < 0:
        return Literal(start, len(text), ((found.end(), len(text)),), "$", False)
    return Literal(start, close + len(found[0]), ((found.end(), close),), "$", True)


def _plain_end(text: Text, pos: int) -> int:
    """Where the closing quote is, quotes doubled; -1 if nowhere."""
    while True:
        pos = text.find(b"'", pos)
        if pos < 0 or text[pos + 1 : pos + 2] != b"'":
            return pos
        pos += 2


def _escaped_end(text: Text, pos: int) -> int:
    """Where the closing quote is, quotes doubled or escaped; -1 if nowhere."""
    while True:
        found = _ESCAPED.match(text, pos)
        assert found is not None
        if found.end() == pos:
            return pos if text[pos : pos + 1] == b"'" else -1
        pos = found.end()


def _continued(text: Text, pos: int) -> int:
    """Where a literal closed before `pos` goes on (SQL's rule: space with a newline in it); -1 if not."""
    begin = pos
    while True:
        found = _GAP.match(text, pos)
        assert found is not None
        if found.end() == pos:
            break
        pos = found.end()
    if text[pos : pos + 1] != b"'" or pos == begin:
        return -1
    newline = re.compile(rb"[\n\r]").search(text, begin, pos)
    return pos + 1 if newline is not None else -1
