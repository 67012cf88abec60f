"""Which texts of an event can be searched: what was said, of whom and where. Pure.

Names of fields, counts, ranges and times are left out: nobody looks for them by their words.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import orjson

__all__ = ["QUIET", "names_of", "said_in", "said_in_body", "said_of", "texts_of"]

QUIET: Final = frozenset((b"command.result", b"command.completed", b"command.skipped"))
"""Kinds of which only an error and a detail count: the rest repeats the command, or is numbers."""

_QUIET: Final = frozenset(kind.decode() for kind in QUIET)
_SPOKEN: Final = ("error", "detail")

MAX_DEPTH: Final = 50
_NUMBERS: Final = ("parameters",)
"""Fields in which a number is something that was said."""

_UNSAID: Final = frozenset(("range", "instead_of"))
_NAMES: Final = (("identity", ("id", "on_behalf_of")), ("target", ("name", "account")), ("client", ("addr",)))


def texts_of(event: Mapping[str, Any]) -> list[str]:
    """Every text that a search looks into."""
    return said_in(event) + names_of(event)


def said_in(event: Mapping[str, Any]) -> list[str]:
    """What was said: the event's own fields, and its reason."""
    found: list[str] = []
    said = event.get("event")
    if said.__class__ is dict:
        if event.get("kind") in _QUIET:
            said = {name: said[name] for name in _SPOKEN if name in said}
        _collect(said, False, found, 0)
    reason = event.get("reason")
    if isinstance(reason, str):
        found.append(reason)
    return found


def said_of(part: Mapping[str, Any]) -> list[str]:
    """What was said in an event of none of the :data:`QUIET` kinds and without a reason, whose own part this is."""
    found: list[str] = []
    _collect(part, False, found, 0)
    return found


def said_in_body(body: bytes) -> list[str] | None:
    """What was said in an event of a document whose names are known already: only that part of it is parsed.
    ``None`` if it can't be told apart.

    A text can't hold these marks: its quotes are behind backslashes. An object inside can hold the second one, and
    then what is before it is no JSON.
    """
    start = body.find(b',"event":{')
    end = body.find(b'},"id":"', start)
    if start < 0 or end < 0 or b'"reason":"' in body:
        return None
    try:
        said = orjson.loads(body[start + 9 : end + 1])
    except orjson.JSONDecodeError:
        return None
    return said_in({"event": said})


def names_of(event: Mapping[str, Any]) -> list[str]:
    """Who and where."""
    found = []
    for part, names in _NAMES:
        inner = event.get(part)
        if isinstance(inner, Mapping):
            found += [inner[name] for name in names if isinstance(inner.get(name), str)]
    return found


def _collect(value: Any, numbers: bool, found: list[str], depth: int) -> None:
    # By exact class: what a JSON parser gives has no other, and this is done for every command.
    items: Any
    if value.__class__ is dict:
        if len(value) == 1 and isinstance(hidden := value.get("b64"), str):
            found.append(_unhidden(hidden))
            return
        items = value.items()
    else:
        items = ((None, item) for item in value)
    for key, item in items:
        kind = item.__class__
        if kind is str:
            found.append(item)
        elif kind is int:
            if numbers:
                found.append(str(item))
        elif (kind is dict or kind is list) and depth < MAX_DEPTH and key not in _UNSAID:
            _collect(item, numbers or key in _NUMBERS, found, depth + 1)


def _unhidden(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return text
