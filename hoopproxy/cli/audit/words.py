"""Numbers, times and values in words. Pure; nothing here is safe for a terminal yet (see ``paint``)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["clock", "duration", "many", "moment", "size", "value", "whole_text"]

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def many(count: object, noun: str) -> str:
    """``1 row``, ``1,234 rows``."""
    if not isinstance(count, int):
        return f"{count} {noun}s"
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: object) -> str:
    """Bytes: exact below 10,000, then in binary units with one digit."""
    if not isinstance(count, int) or isinstance(count, bool):
        return str(count)
    if abs(count) < 10_000:
        return many(count, "byte")
    amount = float(count)
    for unit in _UNITS:
        amount /= 1024
        if amount < 1000 or unit == _UNITS[-1]:
            break
    return f"{amount:.1f} {unit}"


def duration(ns: object) -> str:
    """Nanoseconds with three digits: ``120 us``, ``1.25 ms``, ``3.2 s``, ``2 min 5 s``, ``1 h 20 min``."""
    if not isinstance(ns, int) or isinstance(ns, bool):
        return str(ns)
    if ns < 1_000_000:
        return f"{ns // 1000} us"
    if ns < 1_000_000_000:
        return f"{ns / 1e6:.3g} ms" if ns < 999_500_000 else "1 s"
    seconds = ns / 1e9
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def moment(ns: object) -> str:
    """When in a session, from nanoseconds since its start: ``+0.012``, ``+1:02:03.4``."""
    if not isinstance(ns, int) or isinstance(ns, bool) or ns < 0:
        return "+?"
    millis = ns // 1_000_000
    minutes, millis = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{millis // 1000:02d}.{millis % 1000:03d}"
    if hours:
        return f"+{hours}:{minutes:02d}:{seconds}"
    return f"+{minutes}:{seconds}" if minutes else f"+{millis // 1000}.{millis % 1000:03d}"


def clock(time: object, fraction: bool = False) -> str:
    """The trail's RFC 3339 text for people: ``2026-11-23 18:00:05`` (UTC, as recorded)."""
    text = str(time).replace("T", " ").removesuffix("Z")
    return text[:23] if fraction else text[:19]


def whole_text(text: object) -> str:
    """A command's text as the event has it: itself, decoded as far as it goes, or head and digest."""
    if isinstance(text, str):
        return text
    if isinstance(text, Mapping):
        if "b64" in text:
            try:
                return base64.b64decode(str(text["b64"]), validate=True).decode("utf-8", "backslashreplace")
            except (binascii.Error, ValueError):
                return str(text["b64"])
        if "bytes" in text:
            head = str(text.get("head", ""))
            digest = str(text.get("sha256", "?"))
            return f"{head}... ({size(text['bytes'])} in all, SHA-256 {digest}; whole in the recording)"
    return compact(text)


def value(item: Any) -> str:
    """A parameter or detail: text as it is, NULL, and the forms that stand for what can't be shown."""
    if item is None:
        return "NULL"
    if isinstance(item, str):
        return f"'{item}'" if item != item.strip() or not item else item
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, int):
        return str(item)
    if isinstance(item, Mapping):
        if set(item) == {"redacted"}:
            return f"[redacted {size(item['redacted'])}]"
        if "hex" in item:
            kind = next((f" of type {item[name]}" for name in ("type", "oid") if name in item), "")
            return f"\\x{item['hex']} (binary{kind})"
        if "b64" in item or "sha256" in item:
            return whole_text(item)
        return ", ".join(f"{key}={_inner(inner)}" for key, inner in item.items())
    if isinstance(item, (list, tuple)):
        return "[" + ", ".join(map(value, item)) + "]"
    return compact(item)


def _inner(item: Any) -> str:
    told = value(item)
    is_plain = not isinstance(item, Mapping) or not item or {"redacted", "hex", "b64", "sha256"} & set(item)
    return told if is_plain else f"({told})"


def compact(item: object) -> str:
    """JSON in one line."""
    return orjson.dumps(item, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
