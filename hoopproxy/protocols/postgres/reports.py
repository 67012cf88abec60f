"""What a target's ErrorResponse or NoticeResponse says, for the record, and the credentials that it repeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hoopproxy.events import safe_text
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.redact import Span as Secret
from hoopproxy.protocols.postgres.redact import echoes, redacted, secrets_in
from hoopproxy.protocols.postgres.suspicion import suspicious
from hoopproxy.wire.frames import Frame, Span

__all__ = ["SEARCHED", "Report", "read_report"]

_HEADER = 5
_RESPONSE = 4  # position in events.REDACTIONS
_MOST = 16 * 1024
"""Bytes of one field on record; the whole stands in the recording."""

SEARCHED = _MOST
"""Bytes of one report in which credentials are told apart. A target's error quotes what its client likes, and everybody
would wait for the search of megabytes."""

_NAMES = {
    "V": "severity",
    "C": "sqlstate",
    "M": "message",
    "D": "detail",
    "H": "hint",
    "P": "position",
    "p": "internal_position",
    "q": "internal_query",
    "W": "where",
    "s": "schema",
    "t": "table",
    "c": "column",
    "d": "datatype",
    "n": "constraint",
}
"""Fields that are told. Not told: file, line and routine, which are places in the server's own source."""


class Report(NamedTuple):
    """``told`` by name; ``spans`` of credentials, in the target's stream."""

    told: dict[str, object]
    spans: list[Span]


def read_report(frame: Frame, echo: Sequence[bytes], encoding: str) -> Report:
    """An error or a notice.

    :param echo: credentials that the command carried, which the target may repeat. :param encoding: Python's
        name for the session's. :raises ProtocolViolation: it is neither.
    """
    body = frame.body or b""
    found = list(_secrets(body, echo))
    found.sort(key=lambda secret: (secret.start, secret.end))
    told: dict[str, object] = {}
    for key, value in messages.read_error(redacted(body, found) if found else body).items():
        name = _NAMES.get(key)
        if name is not None:
            told[name] = safe_text(value[:_MOST], encoding)
        elif key == "S":  # a server of before 9.6 says the severity in its own language only
            told.setdefault("severity", value[:_MOST].decode("utf-8", "replace"))
    start = frame.start + _HEADER
    return Report(told, [Span(start + span.start, start + span.end, _RESPONSE) for span in found])


def _secrets(body: bytes, echo: Sequence[bytes]) -> Iterator[Secret]:
    """The credentials in all fields. What is longer than is searched is filled whole, if it can hold any."""
    left = SEARCHED
    for at, text in _texts(body):
        searched = text[:left]
        left -= len(searched)
        for span in (*secrets_in(searched, prose=True), *echoes(searched, echo)):
            yield Secret(at + span.start, at + span.end, span.reason)
        if len(searched) < len(text) and (echo or suspicious(text)):
            yield Secret(at + len(searched), at + len(text), "long")


def _texts(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Each field's place and value. An empty one is a field like any other."""
    at = 0
    while at < len(body) and body[at]:
        end = body.find(b"\0", at + 1)
        if end < 0:
            return
        yield at + 1, body[at + 1 : end]
        at = end + 1
