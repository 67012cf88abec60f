"""What kinds of statement a text holds: the verbs that a role's deny list is compared with.

This reads heads, not grammars: the server is the parser. Where two readings are possible the verbs of
both are told, and where none is, :data:`UNCLASSIFIED`, which every deny list matches. What a function
does when it is called (``SELECT dblink_exec(...)``, ``DO``, ``CALL``, triggers) can't be seen in the text.

Short texts of one simple statement are told by one pattern; all others by :mod:`~.bodies`.
"""

from __future__ import annotations

import re
from typing import Final

from hoopproxy.protocols.postgres.sql.bodies import Reader, Statement
from hoopproxy.protocols.postgres.sql.lexer import Text
from hoopproxy.protocols.postgres.sql.verbs import PLAIN, UNCLASSIFIED

__all__ = ["UNCLASSIFIED", "Statement", "statements"]

_BODY: Final = (
    rb"[^'\"$;\\/\-\0]*+"
    rb"(?:(?:\$\d|-(?!-)|/(?!\*)|\"[^\"\0]*+\"|'[^'\\\0]*+')[^'\"$;\\/\-\0]*+){0,128}"
)
_FAST: Final = re.compile(rb"([A-Za-z]++)(?![0-9_$\x80-\xff])" + _BODY + rb"(;?)\s*\Z").match
_FAST_VERBS: dict[bytes, tuple[tuple[str, ...], bytes, bytes]] = {
    **{word: (verbs, b"", b"") for word, verbs in PLAIN.items() if b"_" not in word},
    b"SELECT": (("SELECT",), b"INTO", b"INTO"),
    b"INSERT": (("INSERT",), b"CONFLICT", b"WITH"),
    b"COMMIT": (("COMMIT",), b"PREPARED", b"PREPARED"),
    b"ROLLBACK": (("ROLLBACK",), b"PREPARED", b"PREPARED"),
}
_FAST_VERBS.update({word.lower(): told for word, told in _FAST_VERBS.items()})
_FAST_LIMIT: Final = 4096
"""Bytes: longer texts take the general way, whose cost is in proportion anyway."""
_MEMORY: Final = 4096
"""Fast answers that are remembered, by first word and extent."""
_remembered: dict[tuple[bytes, int], tuple[Statement, ...]] = {}


def statements(
    text: bytes | memoryview | Text,
    *,
    standard_conforming_strings: bool | None = True,
    safe_encoding: bool = True,
) -> tuple[Statement, ...]:
    """The statements of a Query's or Parse's text, empty ones left out. Never raises, never recurses.

    :param standard_conforming_strings: the session's setting; None where it can't be known: both readings
        are tried, and where they differ the text is unclassified.
    :param safe_encoding: false for a client encoding in which a byte of a character can look like a quote
        or backslash (SJIS, BIG5, GBK, GB18030, UHC, JOHAB): nothing can be told then.
    """
    if not safe_encoding:
        return (Statement((UNCLASSIFIED,), 0, len(text)),) if len(text) else ()
    if type(text) is bytes and len(text) <= _FAST_LIMIT:
        found = _FAST(text)
        if found is not None:
            word, end = found[1], found.start(2)
            told = _FAST_VERBS.get(word) or _FAST_VERBS.get(word.upper())
            if told is not None and not (
                (unless := told[1]) and (unless in (upper := text.upper()) or told[2] in upper)
            ):
                return _remembered.get((word, end)) or _remember(word, end, told[0])
    if isinstance(text, memoryview):
        text = bytes(text)
    if standard_conforming_strings is None:
        on, off = Reader(text, False).read(), Reader(text, True).read()
        return on if on == off else (Statement((UNCLASSIFIED,), 0, len(text)),)
    return Reader(text, not standard_conforming_strings).read()


def _remember(word: bytes, end: int, verbs: tuple[str, ...]) -> tuple[Statement, ...]:
    if len(_remembered) >= _MEMORY:
        _remembered.clear()
    answer = _remembered[word, end] = (Statement(verbs, 0, end),)
    return answer
