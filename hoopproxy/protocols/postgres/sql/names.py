"""What statements say about a session: names of prepared statements, and settings that change its reading."""

from __future__ import annotations

import re
from typing import Final
from typing import Literal as Choice

from attrs import frozen

from hoopproxy.protocols.postgres.sql import lexer
from hoopproxy.protocols.postgres.sql.lexer import Text, Unreadable, next_word, skimmer, skip, word_at
from hoopproxy.protocols.postgres.sql.literals import value_of

__all__ = ["ALL", "Setting", "deallocated_name", "executed_name", "prepared_name", "setting"]

ALL: Final = b"*"
"""What ``DEALLOCATE ALL`` and ``RESET ALL`` name. A quoted ``"*"`` is told as unknown."""
_NAME_LIMIT: Final = 63
"""Bytes of an identifier that PostgreSQL keeps (NAMEDATALEN - 1)."""
_VALUE_LIMIT: Final = 1024
"""Bytes of a setting's value that are reported; a longer one is unknown."""
_NUMBER: Final = re.compile(rb"[+-]?[0-9.]++")


@frozen(kw_only=True)
class Setting:
    """What SET, RESET or DISCARD ALL does to a setting.

    ``name`` in lower case, ``*`` for all of them. ``value``: the text, list items joined by ``", "``; None
    when it's reset or can't be told. ``action``: ``set`` or ``reset``. ``local``: to the transaction's end.
    """

    name: str
    value: str | None
    action: Choice["set", "reset"]
    local: bool = False


def prepared_name(text: Text) -> bytes | None:
    """The name that ``PREPARE name AS`` gives, as PostgreSQL folds it; None if it's no such thing or unclear.

    `text` is one statement (a slice by a Statement's extent). Never raises.
    """
    try:
        word, pos = next_word(text, 0)
        return _name(text, pos)[0] if word == b"PREPARE" else None
    except Unreadable:
        return None


def executed_name(text: Text) -> bytes | None:
    """The prepared statement that ``EXECUTE name`` runs, also inside EXPLAIN and CREATE TABLE AS."""
    try:
        word, pos = next_word(text, 0)
        if word in (b"EXPLAIN", b"CREATE"):
            for kind, _, end in skimmer("execute").over(text, pos):
                return _name(text, end)[0] if kind == "word" else None
            return None
        return _name(text, pos)[0] if word == b"EXECUTE" else None
    except Unreadable:
        return None


def deallocated_name(text: Text) -> bytes | None:
    """What ``DEALLOCATE [PREPARE] name`` forgets; :data:`ALL` for all of them (also ``DISCARD ALL``)."""
    try:
        word, pos = next_word(text, 0)
        second, end = next_word(text, pos)
        if word == b"DISCARD":
            return ALL if second == b"ALL" else None
        if word != b"DEALLOCATE":
            return None
        if second == b"PREPARE":
            third = skip(text, end)
            if text[third : third + 1] not in (b"", b";"):
                pos = end
                second, end = next_word(text, pos)
        return ALL if second == b"ALL" else _name(text, pos)[0]
    except Unreadable:
        return None


def _name(text: Text, pos: int) -> tuple[bytes | None, int]:
    """The identifier after spaces, folded and cut as PostgreSQL does, and its end; None if unclear."""
    pos = skip(text, pos)
    if text[pos : pos + 1] == b'"':
        end = lexer.quoted_end(text, pos)
        if end < 0:
            raise Unreadable
        raw = bytes(text[pos + 1 : end - 1]).replace(b'""', b'"')
        return (None if raw == ALL else _cut(raw)), end
    word, end = word_at(text, pos)
    if not word or text[end : end + 2] == b'&"':
        return None, end
    return _cut(bytes(text[pos:end]).lower()), end


def _cut(name: bytes) -> bytes:
    if len(name) <= _NAME_LIMIT:
        return name
    end = _NAME_LIMIT
    while end and name[end] & 0xC0 == 0x80:  # not inside a UTF-8 character
        end -= 1
    return name[:end]


def setting(text: Text, *, standard_conforming_strings: bool = True) -> Setting | None:
    """What one statement does to a setting, or None if it is no SET, RESET or DISCARD ALL. Never raises.

    ``SET ROLE`` is ``role``, ``SET SESSION AUTHORIZATION`` is ``session_authorization``, ``SET NAMES`` is
    ``client_encoding``, ``SET SCHEMA`` is ``search_path``, ``SET TIME ZONE`` is ``timezone``. A setting
    whose name can't be told (``U&"..."``) has the name ``?``. ``set_config()`` can't be seen here; the
    server's ParameterStatus tells of what it reports.
    """
    try:
        return _setting(text, not standard_conforming_strings)
    except Unreadable:
        return None


def _setting(text: Text, backslash: bool) -> Setting | None:
    verb, pos = next_word(text, 0)
    if verb == b"DISCARD":
        return Setting(name="*", value=None, action="reset") if next_word(text, pos)[0] == b"ALL" else None
    if verb not in (b"SET", b"RESET"):
        return None
    local = False
    word, end = next_word(text, pos)
    if word in (b"SESSION", b"LOCAL") and not _assigned(text, end):
        local, pos = word == b"LOCAL", end
        word, end = next_word(text, pos)
        if word == b"SESSION":
            pos, (word, end) = end, next_word(text, end)
    name, pos = _setting_name(text, pos, word, end)
    if verb == b"RESET":
        return Setting(name="*" if name == "all" else name, value=None, action="reset")
    value, reset = _value(text, pos, backslash)
    if name == "role" and value is not None and value.lower() == "none":
        value, reset = None, True
    return Setting(name=name, value=value, action="reset" if reset else "set", local=local)


def _assigned(text: Text, pos: int) -> bool:
    """Whether a value follows: the word before is a setting's name, not a scope."""
    word, where = next_word(text, pos)
    return word == b"TO" or text[where : where + 1] in (b"=", b".", b";", b"")


def _setting_name(text: Text, pos: int, word: bytes, end: int) -> tuple[str, int]:
    """The setting's name and where its value (or ``=``, ``TO``) begins."""
    two = {b"AUTHORIZATION": "session_authorization", b"NAMES": "client_encoding", b"SCHEMA": "search_path"}
    if word in two:
        return two[word], end
    second, after = next_word(text, end)
    if word == b"TIME" and second == b"ZONE":
        return "timezone", after
    if word == b"XML" and second == b"OPTION":
        return "xmloption", after
    if word == b"SESSION" and second == b"AUTHORIZATION":
        return "session_authorization", after
    parts: list[bytes] = []
    while True:
        part, end = _name(text, pos)
        if part is None:
            return "?", end
        parts.append(part.lower())
        pos = skip(text, end)
        if text[pos : pos + 1] != b".":
            return b".".join(parts).decode("utf-8", "backslashreplace"), end
        pos += 1


def _value(text: Text, pos: int, backslash: bool) -> tuple[str | None, bool]:
    """The value from `pos` to the statement's end, and whether it is DEFAULT."""
    word, end = next_word(text, pos)
    pos = skip(text, pos)
    if word == b"TO":
        pos = skip(text, end)
    elif text[pos : pos + 1] == b"=":
        pos = skip(text, pos + 1)
    if word_at(text, pos)[0] == b"DEFAULT":
        return None, True
    items: list[bytes] = []
    while True:
        item, pos = _item(text, pos, backslash)
        if item is None:
            return None, False
        items.append(item)
        pos = skip(text, pos)
        rest = text[pos : pos + 1]
        if rest in (b"", b";"):
            break
        if rest != b"," or sum(map(len, items)) > _VALUE_LIMIT:
            return None, False
        pos = skip(text, pos + 1)
    value = b", ".join(items)
    if len(value) > _VALUE_LIMIT:
        return None, False
    return value.decode("utf-8", "backslashreplace"), False


def _item(text: Text, pos: int, backslash: bool) -> tuple[bytes | None, int]:
    literal = lexer.read_literal(text, pos, backslash)
    if literal is not None:
        return (value_of(text, literal) if literal.closed and literal.style != "b" else None), literal.end
    number = _NUMBER.match(text, pos)
    if number is not None:
        return bytes(number[0]), number.end()
    return _name(text, pos)
