"""What a text means in *this* session: its encoding, its string rules, its verbs, its secrets.

The reading of SQL depends on settings that the session can move (``client_encoding``,
``standard_conforming_strings``). The target reports both; while earlier commands are still under way a
report may be on its way too, so a text whose reading depends on it is read both ways, and is unclassified
where they differ.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from typing import NamedTuple

import attrs

from hoopproxy.events import canonical, safe_text
from hoopproxy.protocols.postgres.redact import redacted, secrets_in
from hoopproxy.protocols.postgres.sql import (
    UNCLASSIFIED,
    deallocated_name,
    executed_name,
    prepared_name,
    statements,
)
from hoopproxy.wire.frames import Span

__all__ = [
    "DIGITS",
    "EVENT_TEXT",
    "REMEMBERED",
    "SHAPES_READ",
    "Part",
    "Reader",
    "Reading",
    "bounded_text",
]

EVENT_TEXT = 1 << 20
"""Bytes of a statement's text that an event holds; a longer one is there by digest, and whole in the recording."""

_STATEMENT = 2  # position in events.REDACTIONS

HEAD = 1024
"""Bytes of the beginning that stand beside a digest."""

_UNSAFE = frozenset({"sjis", "shiftjis2004", "big5", "gbk", "gb18030", "uhc", "johab"})
"""Client encodings in which a byte of a character can look like a quote or a backslash."""

_PYTHON = {
    "utf8": "utf-8",
    "unicode": "utf-8",
    "sqlascii": "utf-8",
    "eucjp": "euc_jp",
    "euckr": "euc_kr",
    "euccn": "gb2312",
    "win866": "cp866",
    "win874": "cp874",
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    "uhc": "cp949",
    "sjis": "cp932",
    "shiftjis2004": "shift_jis_2004",
}
_ISO = {
    str(n): f"iso8859_{part}"
    for n, part in zip(range(1, 11), (1, 2, 3, 4, 9, 10, 13, 14, 15, 16), strict=True)
}

SHAPE = 2048
"""Bytes of a text whose shape is remembered."""

SHAPES = 4096
"""Shapes that are remembered, by all sessions together: 8 MiB at the most."""

REMEMBERED = frozenset({"EXECUTE", "PREPARE", "DEALLOCATE", "DISCARD", "DISCARD ALL"})
"""What concerns a prepared statement by name, and so means something else each time."""

DIGITS = bytes.maketrans(b"123456789", b"000000000")
SHAPES_READ: dict[bytes, tuple[tuple[str, ...], bytes]] = {}
"""Texts by shape, which is the text with all digits 0; to their verbs, and the end of their event's JSON. Only
plain texts are in it: printable ASCII without quotes, backslashes and dollar-quotes, so that neither a setting
nor a digit can change how such a text is read, and JSON needs no escapes for it."""

_DOLLARS = re.compile(rb"\$(?![0-9])|[A-Za-z0-9_]\$")
"""A dollar sign that isn't the beginning of a parameter's number: of a quote's tag, or of a name."""
_MOVES_ENCODING = (b"encoding", b"names", b"set_config", b"reset", b"discard", b"execute", b"do", b"call")


class Reading(NamedTuple):
    """What was read of one text.

    :ivar verbs: of all its statements, in order, for deny rules; ``("EMPTY",)`` of a text without any.
    :ivar secrets: credentials, in offsets of the text.
    :ivar text: what an event may hold of it.
    """

    verbs: tuple[str, ...]
    secrets: tuple[Span, ...]
    text: object


class Part(NamedTuple):
    """One statement of a text of so many bytes, and the names of prepared statements in it: of the one that it
    ``executes``, ``prepares`` or ``deallocates``."""

    verbs: tuple[str, ...]
    size: int
    executes: bytes | None = None
    prepares: bytes | None = None
    deallocates: bytes | None = None


def bounded_text(data: bytes, encoding: str, limit: int = EVENT_TEXT) -> object:
    """Text for an event: itself, ``{"b64"}`` if invalid, or digest, size and head over ``limit`` bytes."""
    if len(data) <= limit:
        return safe_text(data, encoding)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "head": data[:HEAD].decode(encoding, "replace"),
    }


@attrs.define
class Reader:
    """The session's way of reading SQL. ``encoding`` is Python's name for the client encoding."""

    encoding: str = "utf-8"
    safe: bool = True
    conforming: bool = True
    _doubtful: bool = False

    def report(self, name: str, value: str) -> None:
        """The target reported a setting (ParameterStatus)."""
        if name == "client_encoding":
            self._set_encoding(value)
        elif name == "standard_conforming_strings":
            self.conforming = value != "off"

    def doubt(self) -> None:
        """A command may have changed how the next ones are read."""
        self._doubtful = True

    def settled(self) -> None:
        """Nothing is under way any more: what the target reported is what is."""
        self._doubtful = False

    def _set_encoding(self, value: str) -> None:
        name = value.lower().replace("_", "").replace("-", "")
        self.safe = name not in _UNSAFE
        python = _PYTHON.get(name) or (name.replace("win", "cp") if name.startswith("win") else name)
        if name.startswith("iso8859"):
            python = "iso8859_" + name[7:]
        if name.startswith("latin"):
            python = _ISO.get(name[5:], python)
        try:
            self.encoding = codecs.lookup(python).name
        except LookupError:
            # A name that Python doesn't know: text that isn't plain ASCII is kept as bytes.
            self.encoding = "ascii"

    @property
    def strings(self) -> bool | None:
        """``standard_conforming_strings`` as reported, or ``None`` while it may have been changed."""
        return None if self._doubtful else self.conforming

    def parts(self, text: bytes, under_way: bool) -> tuple[Part, ...]:
        """The statements of a text, one by one. For the few texts whose names matter."""
        conforming = None if under_way and b"\\" in text else self.conforming
        safe = self.safe and not (under_way and self._doubtful and not text.isascii())
        found = statements(text, standard_conforming_strings=conforming, safe_encoding=safe)
        return tuple(_part(text[each.start : each.end], each.verbs) for each in found)

    def parts_of(self, text: bytes, verbs: tuple[str, ...], under_way: bool) -> tuple[Part, ...]:
        """The same if names of statements may be told by its ``verbs``, else none."""
        return () if REMEMBERED.isdisjoint(verbs) else self.parts(text, under_way)

    @property
    def is_plain(self) -> bool:
        """Whether a text of a shape that was read before means what it meant then."""
        return not self._doubtful and self.encoding == "utf-8"

    def plain(self, text: bytes) -> tuple[tuple[str, ...], bytes] | None:
        """For a text of a shape that was read before: its verbs, and the end of its event's JSON behind the text."""
        if len(text) > SHAPE or not self.is_plain:
            return None
        return SHAPES_READ.get(text.translate(DIGITS))

    def read(self, text: bytes, under_way: bool) -> Reading:
        """Read a statement text. ``under_way``: earlier commands were sent whose end isn't known yet."""
        known = self.plain(text)
        if known is not None:
            return Reading(known[0], (), text.decode("ascii"))
        return self._read(text, under_way)

    def _read(self, text: bytes, under_way: bool) -> Reading:
        conforming: bool | None = self.conforming
        safe = self.safe
        if under_way:
            if b"\\" in text:
                conforming = None
            if self._doubtful and not text.isascii():
                safe = False
        found = statements(text, standard_conforming_strings=conforming, safe_encoding=safe)
        verbs = found[0].verbs if len(found) == 1 else _all_verbs(found)
        # A credential in SQL stands in quotes, so a text without any has none.
        quoted = b"'" in text or b"$" in text
        secrets = (
            secrets_in(text, standard_conforming_strings=conforming, safe_encoding=safe) if quoted else ()
        )
        if self._moves_encoding(verbs, text):
            self._doubtful = True
        elif safe and not secrets and REMEMBERED.isdisjoint(verbs) and len(text) <= SHAPE and _plain(text):
            if len(SHAPES_READ) >= SHAPES:
                SHAPES_READ.clear()
            SHAPES_READ[text.translate(DIGITS)] = (
                verbs,
                b'","verb":%b,"verbs":%b}' % (canonical(verbs[0]), canonical(verbs)),
            )
        if secrets:
            places = tuple(Span(span.start, span.end, _STATEMENT) for span in secrets)
            return Reading(verbs, places, bounded_text(redacted(text, secrets), self.encoding))
        return Reading(verbs, (), bounded_text(text, self.encoding))

    @staticmethod
    def _moves_encoding(verbs: tuple[str, ...], text: bytes) -> bool:
        if verbs and verbs[0] in ("SET", "RESET", "DISCARD", "DO", "CALL", "EXECUTE", UNCLASSIFIED):
            return True
        return b"set_config" in text or (
            len(verbs) > 1 and any(word in text.lower() for word in _MOVES_ENCODING)
        )


def _part(text: bytes, verbs: tuple[str, ...]) -> Part:
    return Part(verbs, len(text), executed_name(text), prepared_name(text), deallocated_name(text))


def _plain(text: bytes) -> bool:
    if b"'" in text or b'"' in text or b"\\" in text or not (text.isascii() and text.decode().isprintable()):
        return False
    return b"$" not in text or _DOLLARS.search(text) is None


def _all_verbs(found: tuple[object, ...]) -> tuple[str, ...]:
    if not found:
        return ("EMPTY",)
    seen: dict[str, None] = {}
    for statement in found:
        seen.update(dict.fromkeys(statement.verbs))  # type: ignore[attr-defined]
    return tuple(seen)
