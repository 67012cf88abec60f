"""What every format says of an operation: when, what was asked, what came of it. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from hoopproxy.events import OPENING
from hoopproxy.export.operation import Operation, Record

__all__ = ["Summary", "millis", "number_of", "sentence", "severity", "summarised", "text_of"]

_ASKING = frozenset({*OPENING, "command.denied"})
_FEW: Final = 3_600
_SAID: Final = {"started": "the end was not seen yet", "unknown": "the end is not on record"}


class Summary(NamedTuple):
    """Of an operation. ``asked`` and ``said`` are the fields (``event``) of its first and its last record.

    ``asked`` is empty where nothing was asked, or the asking is not among the records. Times are in Unix
    milliseconds, ``duration`` in nanoseconds (-1: not known). ``code`` is for machines, ``detail`` a
    sentence; either can quote a client or a target.
    """

    began: int
    ended: int
    duration: int
    asked: Mapping[str, Any]
    said: Mapping[str, Any]
    code: str
    detail: str


@lru_cache(maxsize=_FEW)
def _second(text: str) -> int:
    try:
        return int(dt.datetime.fromisoformat(text + "+00:00").timestamp()) * 1000
    except ValueError:
        return 0


def millis(time: str) -> int:
    """RFC 3339 text in UTC as Unix milliseconds; 0 for what is no time."""
    second = _second(time[:19])
    rest = time[20:23]
    return second + int(rest) if rest.isdecimal() and rest.isascii() else second


def text_of(value: object) -> str:
    """A text of an event that may be cut, redacted or not valid: as a text, always."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        if isinstance(value.get("head"), str):
            return f"{value['head']}…"
        if "sha256" in value:
            return f"sha256:{value['sha256']}:{value.get('length', value.get('bytes', '?'))}"
        if isinstance(value.get("b64"), str):
            return f"b64:{value['b64']}"
    return "" if value is None else orjson.dumps(value).decode()


def number_of(value: object) -> int:
    """A count of an event; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def summarised(operation: Operation) -> Summary:
    """The summary of an operation."""
    records = operation.records
    first, last = records[0], records[-1]
    said = last["event"]
    asked = first["event"] if first["kind"] in _ASKING else {}
    began = millis(first["time"])
    ended = began if first is last else millis(last["time"])
    duration = said.get("duration")
    if type(duration) is not int:
        duration = -1
    outcome = operation.outcome
    if outcome == "success":
        return Summary(began, ended, duration, asked, said, "", "")
    code, detail = _trouble(said, last)
    return Summary(began, ended, duration, asked, said, code, detail or _SAID.get(outcome, ""))


def _trouble(said: Mapping[str, Any], record: Record) -> tuple[str, str]:
    error = said.get("error")
    if isinstance(error, Mapping):
        code = error.get("sqlstate") or error.get("code")
        return text_of(code), text_of(error.get("message"))
    code = said.get("code") or said.get("cause") or said.get("stage")
    detail = record.get("reason") or said.get("because") or said.get("why") or said.get("sentence") or error
    return text_of(code), text_of(detail)


def sentence(title: str, main: Record, told: Summary) -> str:
    """What, who, where, for people."""
    verb = told.asked.get("verb")
    if verb:
        title = f"{title}: {text_of(verb)}"
    identity, target = main.get("identity"), main.get("target")
    if identity:
        title = f"{title} by {text_of(identity.get('id'))}"
    return f"{title} at {text_of(target.get('name'))}" if target else title


_AT_LEAST: Final = {"failure": 2, "unfinished": 2, "denied": 3}


def severity(usual: int, operation: Operation) -> int:
    """OCSF's number: the kind's own, or more by what came of it."""
    least = _AT_LEAST.get(operation.outcome, 1)
    return usual if usual > least else least
