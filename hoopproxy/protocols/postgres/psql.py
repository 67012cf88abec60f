"""Commands, parameters, errors and COPY data as psql shows them, as lines of ``(style, text)`` pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hoopproxy.protocols.postgres.recorded import Message
from hoopproxy.protocols.postgres.rows import shown
from hoopproxy.protocols.postgres.types import decode

__all__ = [
    "CopyLines",
    "Fields",
    "Line",
    "Piece",
    "error_lines",
    "heading",
    "milliseconds",
    "quoted",
    "returned",
    "statement",
]

Piece = tuple[str, str]
Line = Sequence[Piece]
Fields = Mapping[str, Any]

_LONGEST: Final = 64 * 1024
"""Bytes of COPY data that are shown as one line."""


class CopyLines:
    """COPY data as lines, however the messages cut them."""

    def __init__(self, binary: bool, encoding: str = "utf-8") -> None:
        self.binary, self._encoding = binary, encoding
        self._line = bytearray()
        self._bytes = 0

    def feed(self, message: Message) -> Iterator[Line]:
        """The lines that are complete now."""
        self._bytes += len(message.body)
        if self.binary:
            return
        self._line += _marked(message)
        *whole, rest = bytes(self._line).split(b"\n")
        for line in whole:
            yield self._shown(line)
        while len(rest) > _LONGEST:
            yield (*self._shown(rest[:_LONGEST]), ("faint", " ..."))
            rest = rest[_LONGEST:]
        self._line = bytearray(rest)

    def _shown(self, line: bytes) -> Line:
        return (("text", line.rstrip(b"\r").decode(self._encoding, "backslashreplace")),)

    def finish(self) -> Iterator[Line]:
        """What is left."""
        if self._line:
            yield self._shown(bytes(self._line))
        elif self.binary and self._bytes:
            yield (("faint", f"[{self._bytes} bytes of binary COPY data]"),)
        self._line.clear()


def returned(message: Message) -> str:
    length = int.from_bytes(message.body[:4], "big", signed=True)
    return "NULL" if length < 0 else shown(decode(0, 1, _marked(message)[4:4100]))


def _marked(message: Message) -> bytes:
    """A body with a mark in the place of what was redacted."""
    body = message.body
    for begin, stop in reversed(message.hidden):
        start, end = max(begin - message.at, 0), min(stop - message.at, len(body))
        if start < end:
            body = body[:start] + b"[redacted %d bytes]" % (end - start) + body[end:]
    return body


def heading(prompt: str, said: Fields) -> Iterator[Line]:
    if said.get("text") is not None:
        yield from statement(prompt, said["text"])
    else:
        yield (("verb", prompt), ("text", str(said.get("verb", "?"))))
    if said.get("redacted"):
        yield (("warn", f"-- [redacted {said['redacted']} bytes]"),)
    parameters = said.get("parameters")
    if isinstance(parameters, list):
        for number, item in enumerate(parameters, 1):
            yield (("faint", f"-- ${number} = "), ("text", _parameter(item)))


def statement(prompt: str, text: object) -> Iterator[Line]:
    if isinstance(text, Mapping):
        if "b64" in text:
            text = f"-- not valid in its encoding, base64: {text['b64']}"
        else:
            text = f"{text.get('head', '')}\n-- ... {text.get('bytes', '?')} bytes in all"
    first, *more = str(text).replace("\r\n", "\n").split("\n")
    yield (("verb", prompt), ("text", first))
    for line in more:
        yield (("faint", prompt[:-3] + "-> "), ("text", line))


def quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def _parameter(item: object) -> str:
    if item is None:
        return "NULL"
    if not isinstance(item, Mapping):
        return quoted(item) if isinstance(item, str) else str(item)
    if "redacted" in item:
        return f"[redacted {item['redacted']} bytes]"
    if "hex" in item:
        return f"\\x{item['hex']} (type {item.get('oid', 0)})"
    if "sha256" in item:
        return f"{item.get('head', '')}... ({item.get('bytes')} bytes)"
    return str(dict(item))


def error_lines(error: Fields) -> Iterator[Line]:
    """As psql prints it, with the SQLSTATE."""
    severity = str(error.get("severity", "ERROR"))
    code = f" ({error['sqlstate']})" if error.get("sqlstate") else ""
    style = "bad" if severity in ("ERROR", "FATAL", "PANIC") else "warn"
    yield ((style, f"{severity}:  "), ("", f"{error.get('message', '')}{code}"))
    for name in ("detail", "hint", "where"):
        if error.get(name) is not None:
            yield (("", f"{name.upper() if name != 'where' else 'CONTEXT'}:  {error[name]}"),)


def milliseconds(ns: object) -> str:
    return f"{ns / 1e6:.3f} ms" if isinstance(ns, int) else "?"
