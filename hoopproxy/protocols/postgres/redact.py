"""Where credentials are in SQL text, so that they never enter the trail.

Listed forms: ``PASSWORD '...'``, secret-like ``OPTIONS``, connection strings in literals and comments,
arguments of ``dblink*``, ``SET`` and ``set_config`` of secret-like settings, and all of these inside
literals, function bodies and quoted error text. What people keep in tables is data and stays. Where it is
doubtful how much is secret, more is redacted rather than less; where a text can't be read, everything from
the first suspicious word on is.
Passwords that a program assembles (``chr()``, ``'PASS' || 'WORD'``) can't be seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from hoopproxy.protocols.postgres.conninfo import passwords_in
from hoopproxy.protocols.postgres.secret_search import Search, Span
from hoopproxy.protocols.postgres.suspicion import LOUD, suspicious

__all__ = ["ALL", "Span", "echoes", "looks_secret", "redacted", "secret_parameters", "secrets_in"]


@frozen
class _All:
    """Every parameter. ``n in ALL`` is true."""

    def __contains__(self, number: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True


ALL: Final = _All()

_MOST_ECHOES: Final = 1000
"""Credentials of one command that are looked for in a target's message."""

_PROSE: Final = re.compile(rb"(?i)\bpassword\s++(?:e|u&)?'((?:[^']|''){1,4096})")


def secrets_in(
    text: bytes,
    *,
    standard_conforming_strings: bool | None = True,
    safe_encoding: bool = True,
    prose: bool = False,
) -> tuple[Span, ...]:
    """The secrets of an SQL text (or of a server's message about one), in order, not overlapping.

    :param standard_conforming_strings: as in :func:`sql.statements`; None tries both readings.
    :param safe_encoding: false where bytes of a character can look like quotes: everything from the first
        suspicious word on is then redacted.
    :param prose: the text is a field of ErrorResponse or NoticeResponse; quotes may not pair up.
    """
    if not suspicious(text, standard_conforming_strings):
        return ()
    if not safe_encoding:
        loud = LOUD.search(text)
        return (Span(loud.start(), len(text), "unsafe encoding"),) if loud is not None else ()
    spans: list[Span] = []
    if standard_conforming_strings is not False:
        spans += Search(text, False, 0).spans()
    if standard_conforming_strings is not True:
        spans += Search(text, True, 0).spans()
    if prose:
        spans += [Span(*found.span(1), "PASSWORD") for found in _PROSE.finditer(text)]
    return _merged(spans)


def redacted(text: bytes, spans: Iterable[Span], fill: bytes = b"*") -> bytes:
    """`text` with the bytes of `spans` replaced by the one byte `fill`. The length stays."""
    parts: list[bytes] = []
    done = 0
    for span in spans:
        start, end = max(span.start, done), min(span.end, len(text))
        if end > start:
            parts += (text[done:start], fill * (end - start))
            done = end
    return b"".join((*parts, text[done:])) if parts else text


def echoes(text: bytes, values: Iterable[bytes]) -> tuple[Span, ...]:
    """Where `text` (a server's message) repeats one of the secret `values` of at least three bytes.

    Of very many values it isn't looked which: then all of the text is one.
    """
    wanted = {value for value in values if len(value) >= 3}
    if len(wanted) > _MOST_ECHOES:
        return (Span(0, len(text), "echo"),) if text else ()
    spans: list[Span] = []
    for value in wanted:
        at = text.find(value)
        while at >= 0:
            spans.append(Span(at, at + len(value), "echo"))
            at = text.find(value, at + len(value))
    return _merged(spans)


def looks_secret(value: bytes) -> bool:
    """Whether a parameter's value is a connection string with a password, or SQL that sets one."""
    return suspicious(value) and (bool(passwords_in(value)[0]) or bool(secrets_in(value)))


def secret_parameters(
    text: bytes, *, standard_conforming_strings: bool | None = True
) -> frozenset[int] | _All:
    """The numbers of the parameters (``$1`` is 1) that carry a secret; :data:`ALL` if that can't be told."""
    if b"$" not in text:
        return frozenset()
    lowered = text.lower()
    if b"dblink" not in lowered and not suspicious(text, standard_conforming_strings):
        return frozenset()
    numbers: set[int] = set()
    for backslash in (
        (False, True) if standard_conforming_strings is None else (not standard_conforming_strings,)
    ):
        search = Search(text, backslash, 0)
        search.spans()
        if search.every_parameter:
            return ALL
        numbers |= search.parameters
    return frozenset(numbers)


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    """In order, empty ones left out, overlapping ones joined."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if span.end <= span.start:
            continue
        if merged and span.start < merged[-1].end:
            last = merged.pop()
            span = Span(last.start, max(last.end, span.end), last.reason)
        merged.append(span)
    return tuple(merged)
