"""A body made to fit a receiver's limit: what is too long becomes its digest and its length. Pure.

In JSON a long text becomes ``{"length": ..., "sha256": ...}``, in CEF and LEEF a long value becomes
``sha256:...:length``. The longest go first and no more go than must, so that who, where and when stay. The digest is
over the text as UTF-8 (of what is no text: over its JSON), which the journal still holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Final

import orjson

__all__ = ["MINIMUM", "digest_text", "escaped", "fit"]

MINIMUM: Final = 256
"""Bytes that a limit must leave: what is left when nothing fits takes up to 230."""

_WORTH: Final = 96
"""Bytes of a JSON value below which its digest is no shorter."""

_KEPT: Final = ("id", "kind")
"""What a body keeps that was replaced whole. Both are the gateway's own and short; who changes them is cut."""
_KEPT_MAX: Final = 60

_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""What ends a line, or a message, or changes how a line looks, for some receiver."""

_CEF_FIELD: Final = re.compile(r"(?:^|(?<= ))([A-Za-z0-9_.\[\]]+)=")
"""A key of a CEF extension. In a value ``=`` is written ``\\=``, so none begins inside one."""
_PIPE: Final = re.compile(r"(?<!\\)(?:\\\\)*\|")

Escape = Callable[[bytes], bytes]


def escaped(body: bytes, keep: str = "") -> bytes:
    """The body as one line of UTF-8 with nothing in it that a receiver could take for the line's end.

    Controls, line separators and marks of direction become ``\\uXXXX``, which in JSON means the same. What is not
    UTF-8 becomes ``\\xXX``.

    :param keep: characters to leave alone: LEEF's separator.
    """
    text = body.decode("utf-8", "backslashreplace")
    if text.isascii() and text.isprintable():
        return text.encode()
    return _UNSAFE.sub(
        lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", text
    ).encode()


def digest_text(text: bytes) -> str:
    """``sha256:<hex>:<length>``: what stands for a value where there is only text."""
    return f"sha256:{sha256(text).hexdigest()}:{len(text)}"


def fit(body: bytes, limit: int, escape: Escape = escaped) -> bytes:
    """The escaped body in at most ``limit`` bytes (at least :data:`MINIMUM`).

    :param escape: what is done to the bytes before they are counted.
    """
    whole = escape(body)
    if len(whole) <= limit:
        return whole
    if body.startswith((b"CEF:", b"LEEF:")):
        return _fit_fields(whole, limit)
    try:
        value = orjson.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return escape(orjson.dumps(_digest(body)))
    rest = _dumps(_rest(value, body))
    try:
        found = _fit_json(value, limit, escape)
    except TypeError:  # nested deeper than can be written again
        found = None
    return escape(rest) if found is None else found


# -- JSON ----------------------------------------------------------------------------------------


def _dumps(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _digest(text: bytes) -> dict[str, object]:
    return {"length": len(text), "sha256": sha256(text).hexdigest()}


def _rest(value: dict[str, Any], body: bytes) -> dict[str, object]:
    kept = {
        key: value[key] for key in _KEPT if isinstance(value.get(key), str) and len(value[key]) <= _KEPT_MAX
    }
    return {**kept, **_digest(body)}


def _fit_json(value: dict[str, Any], limit: int, escape: Escape) -> bytes | None:
    """Replace the longest texts; then whole lists and tables, the innermost that suffice; ``None`` if nothing does."""
    for places in (_texts, _inner_tables, _tables):
        sized = sorted(
            (
                (len(escape(_dumps(each[key]))), number, each, key)
                for number, (each, key) in enumerate(places(value))
            ),
            key=lambda found: (-found[0], found[1]),
        )
        over = len(escape(_dumps(value))) - limit
        for size, _, holder, key in sized:
            if over <= 0 or size < _WORTH:
                break
            text = holder[key]
            stands = _digest(text.encode() if isinstance(text, str) else _dumps(text))
            holder[key] = stands
            over -= size - len(_dumps(stands))
        whole = escape(_dumps(value))
        if len(whole) <= limit:
            return whole
    return None


def _texts(value: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Every text, wherever it is: what holds it, and under which key. No recursion: a body nests as it likes."""
    waiting: list[Any] = [value]
    found = []
    while waiting:
        each = waiting.pop()
        for key, item in each.items() if isinstance(each, dict) else enumerate(each):
            if isinstance(item, str):
                found.append((each, key))
            elif isinstance(item, (dict, list)):
                waiting.append(item)
    return iter(found)


def _inner_tables(value: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The lists and tables right below ``event``: what was said, before who said it."""
    event = value.get("event")
    return _tables(event if isinstance(event, dict) else {})


def _tables(value: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The lists and tables right below the top."""
    return iter([(value, key) for key, item in value.items() if isinstance(item, (dict, list))])


# -- CEF and LEEF --------------------------------------------------------------------------------


def _fit_fields(line: bytes, limit: int) -> bytes:
    """Replace the longest values of the extension; the header when that doesn't do."""
    text = line.decode()
    head, fields, join = _parted(text)
    over = len(line) - limit
    for place in sorted(range(len(fields)), key=lambda each: -len(fields[each][1].encode())):
        key, value = fields[place]
        size = len(value.encode())
        stands = digest_text(value.encode())
        if over <= 0 or size <= len(stands):
            break
        fields[place] = (key, stands)
        over -= size - len(stands)
    whole = (head + join.join(f"{key}={value}" for key, value in fields)).encode()
    if len(whole) <= limit:
        return whole
    short = f"{text[: text.find(':') + 2]}|hoopproxy|hoopproxy|0|too-long|"
    if text.startswith("CEF:"):
        return f"{short}too long|5|msg={digest_text(line)}".encode()
    return f"{short}sha256={digest_text(line)}".encode()


def _parted(text: str) -> tuple[str, list[tuple[str, str]], str]:
    """Header, fields of the extension, and what stands between two of them."""
    if text.startswith("CEF:"):
        end = _after_pipes(text, 7)
        keys = list(_CEF_FIELD.finditer(text, end))
        ends = [each.start() - 1 for each in keys[1:]] + [len(text)] * bool(keys)
        fields = [(key[1], text[key.end() : stop]) for key, stop in zip(keys, ends, strict=True)]
        return text[: keys[0].start()] if keys else text, fields, " "
    end = _after_pipes(text, 6 if text.startswith("LEEF:2") else 5)
    delimiter = text[:end].rstrip("|").rpartition("|")[2] if text.startswith("LEEF:2") else "\t"
    if re.fullmatch("(?:0?x)[0-9A-Fa-f]{1,4}", delimiter):
        delimiter = chr(int(delimiter.partition("x")[2], 16))
    parts = (part.partition("=") for part in text[end:].split(delimiter or "\t"))
    return text[:end], [(key, value) for key, _, value in parts], delimiter or "\t"


def _after_pipes(text: str, count: int) -> int:
    end = 0
    for _ in range(count):
        found = _PIPE.search(text, end)
        if found is None:
            return len(text)
        end = found.end()
    return end
