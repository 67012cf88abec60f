"""What a string constant says once its quotes, escapes and continuations are resolved."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from hoopproxy.protocols.postgres.sql import lexer
from hoopproxy.protocols.postgres.sql.lexer import Literal, Text, Unreadable

__all__ = ["has_escapes", "resolve_unicode", "value_of"]

_BACKSLASHED: Final = re.compile(
    rb"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))|''", re.DOTALL
)
_LONG: Final = 65_536
_CONTROL: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def value_of(text: Text, literal: Literal) -> bytes:
    """The constant's value. ``U&`` reads the ``UESCAPE`` that follows. Wrong escapes are left as they are."""
    raw = b"".join(bytes(text[start:end]) for start, end in literal.pieces)
    if literal.style in ("$", "b"):
        return raw
    if literal.style == "e":
        return _replaced(_BACKSLASHED, _backslashed, raw)
    plain = raw.replace(b"''", b"'")
    return resolve_unicode(plain, _escape_byte(text, literal.end)) if literal.style == "u" else plain


def has_escapes(text: Text, literal: Literal) -> bool:
    """Whether the value's bytes are elsewhere than they seem: backslashes or Unicode escapes."""
    if literal.style == "u":
        return True
    return literal.style == "e" and any(text.find(b"\\", start, end) >= 0 for start, end in literal.pieces)


def resolve_unicode(raw: bytes, escape: bytes = b"\\") -> bytes:
    """The text of a ``U&`` constant or identifier: ``\\0061`` and ``\\+000061``, as UTF-8."""
    mark = re.escape(escape)
    pattern = re.compile(mark + rb"(?:\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4})|(" + mark + rb"))")
    return _replaced(pattern, lambda found: found[3] or _character(found[1] or found[2]), raw)


def _replaced(pattern: re.Pattern[bytes], replace: Callable[[re.Match[bytes]], bytes], raw: bytes) -> bytes:
    """As ``pattern.sub``, which keeps each piece of the text until the end: 3 GB for 64 MiB of escapes."""
    if len(raw) <= _LONG:
        return pattern.sub(replace, raw)
    text, done = bytearray(), 0
    for found in pattern.finditer(raw):
        text += raw[done : found.start()]
        text += replace(found)
        done = found.end()
    text += raw[done:]
    return bytes(text)


def _escape_byte(text: Text, end: int) -> bytes:
    try:
        word, pos = lexer.next_word(text, end)
        if word != b"UESCAPE":
            return b"\\"
        chosen = lexer.read_literal(text, lexer.skip(text, pos))
    except Unreadable:
        return b"\\"
    start, stop = chosen.pieces[0] if chosen is not None else (0, 0)
    return bytes(text[start:stop]) if stop - start == 1 else b"\\"


def _backslashed(found: re.Match[bytes]) -> bytes:
    hexadecimal, octal, short, long, other = found.groups()
    if hexadecimal or octal:
        return bytes([int(hexadecimal, 16) if hexadecimal else int(octal, 8) & 0xFF])
    if short or long:
        return _character(short or long)
    return b"'" if other is None else _CONTROL.get(other, other)


def _character(digits: bytes) -> bytes:
    number = int(digits, 16)
    return chr(number).encode("utf-8", "surrogatepass") if number <= 0x10FFFF else b"?"
