"""What the forms of turns say (:mod:`hoopproxy.journal.turns`), found out once for all turns that have them. Pure.

A turn's own part is a form and what goes into its holes. Few forms carry nearly all traffic, so where in a form the
client's text is and where the counts are needs no parsing of each event: a specimen is parsed, once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from hoopproxy.events.forms import Asking, Ending

__all__ = ["asking", "ending"]

_KEPT: Final = 1000
"""Forms, with what ends them; some KB each."""
_LONGEST: Final = 2000
"""Bytes of what ends a form: a longer statement is parsed."""
_SPECIMEN: Final = 7_000_000_000_000_000
"""What a specimen has in its holes is this and their numbers: in an event's own part no number is like it by chance,
and if one is, nothing is said of that form."""
_PLAIN: Final = bytes(set(range(0x20, 0x7F)) - set(b'"\\'))
_VALUES: Final = re.compile(rb'(?:"[0-9A-Za-z]*"|null)(?:,(?:"[0-9A-Za-z]*"|null))*').fullmatch


_askings: dict[tuple[bytes, bytes], Asking | None] = {}
_endings: dict[bytes, Ending | None] = {}


def asking(form: bytes, fields: Sequence[Any]) -> Asking | None:
    """What is known of that form when it ends like that and its text, and its parameters, stand for the very same
    characters (printable ASCII, nothing escaped; letters and digits, or null); ``None``: it has to be parsed."""
    end = fields[-1] if fields else None
    if end.__class__ is not bytes or len(end) > _LONGEST:
        return None
    try:
        found = _askings[form, end]
    except KeyError:
        if len(_askings) >= _KEPT:
            _askings.clear()
        found = _askings[form, end] = _asking(form, fields)
    if found is None:
        return None
    if not found.text and fields[found.filled].translate(None, _PLAIN):
        return None
    return None if found.given and _VALUES(fields[0]) is None else found


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
    """The fields are parameters, perhaps; two numbers of the range, or none; a text, perhaps; and what closes it."""
    if not all(type(field) is bytes or type(field) is int for field in fields):
        return None
    kinds = [type(field) for field in fields]
    given = kinds[0] is bytes and int in kinds[1:]
    has_text = len(fields) > 1 and kinds[-2] is bytes
    numbers = range(_SPECIMEN, _SPECIMEN + kinds.count(int))
    if kinds != [*[bytes] * given, *[int] * len(numbers), *[bytes] * has_text, bytes]:
        return None
    parameters, mark = _SPECIMEN + len(numbers), _SPECIMEN + len(numbers) + 1
    holes = [*[b"%d" % parameters] * given, *numbers, *[b"%d" % mark] * has_text, fields[-1]]
    said = _parsed(form, tuple(holes))
    if (
        said is None
        or said.get("range", []) != [*numbers]
        or (given and said.get("parameters") != [parameters])
    ):
        return None
    text, verb, verbs = said.get("text"), said.get("verb"), said.get("verbs")
    if not isinstance(verbs, list) or not all(isinstance(one, str) for one in (text, verb, *verbs)):
        return None
    if has_text != (text == str(mark)):
        return None
    rest = _with_holes(said, [parameters] * given, numbers)
    if rest is None:
        return None
    known = {
        name: said[name]
        for name in said
        if not ((name == "text" and has_text) or (name == "parameters" and given))
    }
    count = len(fields) - 1 - has_text
    return Asking(count, rest, b"" if has_text else orjson.dumps(text), given, known, (verb, *verbs))


def _with_holes(said: Mapping[str, Any], parameters: Sequence[int], numbers: Sequence[int]) -> bytes | None:
    """All but text and verb as JSON; each specimen is a hole again, if it is where it must be and nowhere else."""
    rest = orjson.dumps({name: said[name] for name in said if name not in ("text", "verb")})[1:-1] + b","
    if b"%" in rest:
        return None
    for specimen, hole in [*[(each, b"%b") for each in parameters], *[(each, b"%d") for each in numbers]]:
        before, found, after = rest.partition(b"%d" % specimen)
        if not found or found in after or b"%" in after:
            return None
        rest = before + hole + after
    return rest


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
