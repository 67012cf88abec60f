"""CSV (RFC 4180): an event a row, for a spreadsheet."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from hoopproxy.export.session.material import About, Told
from hoopproxy.inert import inert

__all__ = ["COLUMNS", "csv_rows"]

COLUMNS: Final = (
    "time", "session", "seq", "kind", "outcome", "identity", "target", "account", "client", "verb", "text",
    "parameters", "rows", "bytes", "duration_ns", "error", "reason", "details", "op", "id", "journal", "jseq",
    "checkpoint",
)  # fmt: skip

_OWN: Final = frozenset(("verb", "text", "parameters", "rows", "bytes", "duration", "error"))
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_rows(about: About, events: Iterable[Told]) -> Iterator[bytes]:
    """The heading and the rows.

    A text that a spreadsheet would take for a formula gets an apostrophe before it, as spreadsheets write it
    themselves; line ends and control characters in a text become ``\\n``, ``\\x1b``.
    """
    yield _line(COLUMNS)
    heads = {each.journal: each.head if each.covered else "" for each in about.covers}
    for told in events:
        yield _line(_row(told.event, heads))


def _line(cells: Iterable[object]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue().encode("utf-8", "backslashreplace")


def _row(event: Mapping[str, Any], heads: Mapping[str, str]) -> list[object]:
    said = event.get("event")
    said = said if isinstance(said, Mapping) else {}
    target, client = _part(event, "target"), _part(event, "client")
    address = str(client.get("addr", ""))
    if client.get("port") is not None:
        address += f" {client['port']}"
    rest = {name: value for name, value in said.items() if name not in _OWN}
    return [
        _cell(event.get("time")),
        _cell(event.get("session")),
        _cell(event.get("seq")),
        _cell(event.get("kind")),
        _cell(event.get("outcome")),
        _cell(_part(event, "identity").get("id")),
        _cell(target.get("name")),
        _cell(target.get("account")),
        _cell(address),
        _cell(said.get("verb")),
        _cell(said.get("text")),
        _cell(said.get("parameters")),
        _cell(said.get("rows")),
        _cell(said.get("bytes")),
        _cell(said.get("duration")),
        _cell(said.get("error")),
        _cell(event.get("reason")),
        _cell(rest or None),
        _cell(event.get("op")),
        _cell(event.get("id")),
        _cell(event.get("journal")),
        _cell(event.get("jseq")),
        _cell(heads.get(str(event.get("journal")), "")),
    ]


def _part(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = event.get(name)
    return part if isinstance(part, Mapping) else {}


def _cell(value: object) -> object:
    if value is None or isinstance(value, int):
        return "" if value is None else value
    if isinstance(value, str):
        text = value
    elif isinstance(value, Mapping) and len(value) == 1 and isinstance(value.get("b64"), str):
        text = _readable(value["b64"])
    else:
        text = orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS).decode()
    text = inert(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _readable(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "backslashreplace")
    except ValueError:
        return text
