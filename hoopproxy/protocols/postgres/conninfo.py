"""Where a password is in a connection string: libpq's ``key=value`` form, and URIs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["looks_like_conninfo", "passwords_in"]

_KEY: Final = re.compile(rb"(?i)passw[a-z0-9_]{0,64}+['\"]?\s*+=\s*+")
_PARAMETER: Final = re.compile(rb"[?&]([^=&\s?]{1,256}+)=([^&\s'\"]*+)")
_RUN: Final = re.compile(rb"\S*+")
_PORT: Final = re.compile(rb":\d++|.*\]:?\d*+", re.DOTALL)
_PATH: Final = re.compile(rb"[/?#]")
_VALUE: Final = re.compile(rb"(?:[^\s\\]++|\\.){0,256}", re.DOTALL)
_QUOTED: Final = re.compile(rb"(?:[^'\\]++|\\.){0,256}", re.DOTALL)
_START: Final = re.compile(rb"\s*+(?:[A-Za-z_]++\s*+=|[A-Za-z][A-Za-z0-9+.:-]*+://)")
_MOST: Final = 1000
"""Passwords of one value that are told apart; beyond, all from the first one on is one."""
_NOT_SECRET: Final = (b"password_encryption", b"passwordcheck", b"password_required")


def looks_like_conninfo(value: bytes) -> bool:
    """Whether `value` begins as a connection string does: with a key and ``=``, or with a scheme."""
    return _START.match(value) is not None


def passwords_in(value: bytes) -> tuple[list[tuple[int, int]], bool]:
    """The byte ranges of passwords in `value`, quotes left out, and whether the last one is still open.

    "Open" means that `value` ends where the password would begin or go on, so that what is appended to
    it belongs to the secret. A URI's user information up to the last ``@`` counts, in every scheme.
    """
    found, pending = _after_keys(value)
    for start, end, ours in _authorities(value):
        if len(found) > 2 * _MOST:
            found.append((start, len(value)))
            break
        at = value.rfind(b"@", start, end)
        colon = value.find(b":", start, at if at >= 0 else end)
        if colon >= 0 and at > colon + 1:
            found.append((colon + 1, at))
        elif ours and colon >= 0 and at < 0 and end == len(value) and _PORT.fullmatch(value, colon) is None:
            found += [(colon + 1, end)] if end > colon + 1 else []
            pending = True
    if b"%" in value:
        for pair in _PARAMETER.finditer(value):
            if b"%" in pair[1] and b"passw" in unquote_to_bytes(pair[1]).lower() and pair[2]:
                found.append(pair.span(2))
    return (found if len(found) <= _MOST else [(min(found)[0], len(value))]), pending


def _after_keys(value: bytes) -> tuple[list[tuple[int, int]], bool]:
    """The passwords after ``password=`` and its like, and whether one is open."""
    found: list[tuple[int, int]] = []
    pending, values = False, _Values(value)
    for key in _KEY.finditer(value):
        if key[0].lower().startswith(_NOT_SECRET):
            continue
        start, end = values.at(key.end(), key.start())
        pending = (
            pending or (end >= len(value) and value[end - 1 : end] != b"'") or start == end == len(value)
        )
        if end > start:
            found.append((start, end))
        if len(found) > _MOST:  # all is secret from the first on, and what is appended may be
            return [*found, (start, len(value))], True
    return found, pending


def _authorities(value: bytes) -> Iterator[tuple[int, int, bool]]:
    """Where URIs have user and host, and whether they are PostgreSQL's.

    A password may hold anything but a space, so in PostgreSQL's own URIs, ``/`` and ``?`` end nothing as
    long as an ``@`` follows; in others (``https://h:8080/a@b``) they do.
    """
    following = value.find(b"://")
    while following >= 0:
        start = following + 3
        following = value.find(b"://", start)
        run = _RUN.match(value, start, following if following >= 0 else len(value))
        assert run is not None  # it matches nothing, too
        end = run.end()
        ours = value[max(0, start - 13) : start - 3].lower().endswith((b"postgres", b"postgresql"))
        slash = _PATH.search(value, start, end)
        stop = slash.start() if slash is not None else end
        if ours:
            query = value.find(b"?", start, end)
            at = value.rfind(b"@", start, query if query >= 0 else end)
            at = value.rfind(b"@", start, end) if at < 0 else at
            stop = max(stop, at + 1)
        yield start, stop, ours


class _Values:
    """The values of keys, asked for from left to right.

    A value may be full of further keys, whose values end where it does: that is looked for once, or the time would grow
    with the square of the length.
    """

    __slots__ = ("_ampersand", "_plain", "_value")

    def __init__(self, value: bytes) -> None:
        self._value = value
        self._plain = -1  # where the last value without quotes ended
        self._ampersand = -1  # the first one behind the last that was looked for

    def at(self, start: int, key: int) -> tuple[int, int]:
        """The range of the value that begins at `start`; its key begins at `key`."""
        value = self._value
        if value[start : start + 1] == b"'":
            return start + 1, _end(_QUOTED, value, start + 1)
        if value[start : start + 1] == b'"':
            close = value.find(b'"', start + 1)
            return start + 1, close if close >= 0 else len(value)
        if start > self._plain:
            self._plain = _end(_VALUE, value, start)
        end = self._plain
        if key and value[key - 1 : key] in (b"?", b"&"):  # a URI's parameter
            if start > self._ampersand:
                stop = value.find(b"&", start)
                self._ampersand = stop if stop >= 0 else len(value)
            end = min(end, self._ampersand)
        return start, end


def _end(pattern: re.Pattern[bytes], value: bytes, pos: int) -> int:
    while True:
        found = pattern.match(value, pos)
        assert found is not None  # it matches nothing, too
        if found.end() == pos:
            return len(value) if value[pos : pos + 1] == b"\\" else pos
        pos = found.end()
