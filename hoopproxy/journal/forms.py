"""What the forms of turns say (:mod:`hoopproxy.journal.turns`), found out once for all turns that have them. Pure.

A turn's own part is a form and what goes into its holes. Few forms carry nearly all traffic, so where in a form the
client's text is and where the counts are needs no parsing of each event: a specimen is parsed, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

__all__ = ["Asking", "Ending", "asking", "ending"]

_KEPT: Final = 1000
"""Forms, with what ends them; about 1 KB each."""
_SPECIMEN: Final = 7_000_000_000_000_000
"""What a specimen has in its holes is this and their numbers: in an event's own part no number is like it by chance,
and if one is, nothing is said of that form."""
_PLAIN: Final = bytes(set(range(0x20, 0x7F)) - set(b'"\\'))


class Asking(NamedTuple):
    """Of a request's form and its last field, which closes it.

    ``text`` is the number of the field that is the whole of the client's ``text``, as it stands in JSON. ``rest`` is
    the form of all but ``text`` and ``verb``, each with its comma, to be filled with the fields before the text: they
    are the ``range``. ``others`` is all but the text, parsed, with a specimen's range. ``verbs`` are ``verb`` and what
    is in ``verbs``.
    """

    text: int
    rest: bytes
    others: Mapping[str, Any]
    verbs: tuple[Any, ...]


class Ending(NamedTuple):
    """Of an end's form: the numbers of the fields that are its ``bytes`` and its ``duration``."""

    size: int
    duration: int


_askings: dict[tuple[bytes, Any], Asking | None] = {}
_endings: dict[bytes, Ending | None] = {}


def asking(form: bytes, fields: Sequence[Any]) -> Asking | None:
    """What is known of that form when it ends like that and its text stands for the very same characters (printable
    ASCII, nothing escaped); ``None``: it has to be parsed."""
    key = form, fields[-1] if fields else None
    try:
        found = _askings[key]
    except KeyError:
        if len(_askings) >= _KEPT:
            _askings.clear()
        found = _askings[key] = _asking(form, fields)
    return None if found is None or fields[found.text].translate(None, _PLAIN) else found


def ending(form: bytes) -> Ending | None:
    """The same of the form of an end."""
    try:
        return _endings[form]
    except KeyError:
        if len(_endings) >= _KEPT:
            _endings.clear()
        found = _endings[form] = _ending(form)
        return found


def _asking(form: bytes, fields: Sequence[Any]) -> Asking | None:
    text = len(fields) - 2
    if text < 0 or not isinstance(fields[-1], bytes) or not isinstance(fields[text], bytes):
        return None
    if not all(type(field) is int for field in fields[:text]):
        return None
    numbers = range(_SPECIMEN, _SPECIMEN + text)
    mark = b"%d" % (_SPECIMEN + text)
    said = _parsed(form, (*numbers, mark, fields[-1]))
    if said is None or said.pop("text", None) != mark.decode() or said.get("range", []) != [*numbers]:
        return None
    verb, verbs = said.get("verb"), said.get("verbs")
    if not isinstance(verbs, list) or not all(isinstance(one, str) for one in (verb, *verbs)):
        return None
    rest = orjson.dumps({name: value for name, value in said.items() if name != "verb"})[1:-1] + b","
    if b"%" in rest or mark in rest:
        return None
    for number in numbers:
        before, hole, after = rest.partition(b"%d" % number)
        if not hole or hole in after:
            return None  # somewhere else, too
        rest = before + b"%d" + after
    return Asking(text, rest, said, (verb, *verbs))


def _ending(form: bytes) -> Ending | None:
    holes = form.count(b"%")
    if form.count(b"%d") != holes:
        return None
    numbers = range(_SPECIMEN, _SPECIMEN + holes)
    said = _parsed(form, tuple(numbers)) or {}
    size, duration = said.get("bytes"), said.get("duration")
    if size is None or duration is None or size not in numbers or duration not in numbers:
        return None
    return Ending(numbers.index(size), numbers.index(duration))


def _parsed(form: bytes, fields: tuple[Any, ...]) -> dict[str, Any] | None:
    try:
        said = orjson.loads(form % fields)
    except (TypeError, ValueError):
        return None
    return said if isinstance(said, dict) else None
