"""An operation made to fit a receiver's limit: what is long goes by its digest and its length. Pure.

It is cut before it is mapped, so that each field keeps the type that its format gives it. The journal has it whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from hoopproxy.events import canonical
from hoopproxy.export.facts import claimed
from hoopproxy.export.operation import Operation, Record

__all__ = ["LEAST", "within"]

LEAST: Final = 4096
"""Bytes that every operation fits into, in every format, whatever is in it."""

_LONGEST: Final = (4096, 1024, 256, 96)
"""Bytes that a value may keep, tried in this order."""

_SHAPES: Final = (AttributeError, KeyError, TypeError, ValueError)
"""What a format raises at an event of a shape that it wasn't made for: nested too deep to be written, or a plugin's."""

_DEEP: Final = 16
"""Levels of an event that are looked into; what is nested deeper goes as one."""

_NAME, _NAMES, _RECORDS = 76, 3, 8
"""Of an envelope that has to be cut: bytes of a name, members of a list or a label's table; records of an
operation."""


def within(operation: Operation, limit: int, write: Callable[[Operation], bytes]) -> bytes:
    """The operation as ``write`` writes it, in at most ``limit`` bytes (of :data:`LEAST` or more).

    One that it can't write goes by its digest: it must not stop all that wait behind it.
    """
    try:
        line = write(operation)
    except _SHAPES:
        return write(_bare(operation))
    for longest in _LONGEST:
        if len(line) <= limit:
            return line
        records = tuple(
            _with_event(record, _cut(record["event"], longest, 0)) for record in operation.records
        )
        line = write(operation._replace(records=records))
    return line if len(line) <= limit else write(_bare(operation))


def _with_event(record: Record, event: object) -> Record:
    return {**record, "event": event}


def _claim(value: object) -> dict[str, object]:
    """Of a text the digest is over its UTF-8, of all else over its canonical JSON."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else canonical(value)
    return {"length": len(data), "sha256": sha256(data).hexdigest()}


def _cut(value: Any, longest: int, level: int) -> Any:
    if isinstance(value, str):
        return _claim(value) if len(value.encode("utf-8", "surrogatepass")) > longest else value
    if isinstance(value, Mapping):
        if level > _DEEP or (level and len(value) * 8 > longest):
            return _claim(value)
        return {name: _cut(item, longest, level + 1) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        if level > _DEEP or len(value) * 4 > longest:
            return _claim(value)
        return [_cut(item, longest, level + 1) for item in value]
    return value


def _bare(operation: Operation) -> Operation:
    """Who, where and when, in short; what was said, by its digest."""
    records = operation.records
    kept = records if len(records) <= _RECORDS else (records[0], records[-1])
    return operation._replace(
        records=tuple(_bare_record(record) for record in kept),
        facts={name: _brief(value, 0) for name, value in operation.facts.items()},
    )


def _bare_record(record: Record) -> Record:
    kept = {name: _brief(value, 1) for name, value in record.items() if name != "event"}
    return {**kept, "event": _claim(record["event"])}


def _brief(value: Any, levels: int) -> Any:
    """``levels`` of tables keep all their names: those of an envelope are ours; below them they are an operator's."""
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        return claimed(data) if len(data) > _NAME else value
    if isinstance(value, Mapping):
        names = list(value.items()) if levels else list(value.items())[:_NAMES]
        return {name: _brief(item, max(levels - 1, 0)) for name, item in names}
    if isinstance(value, (list, tuple)):
        return [_brief(item, 0) for item in value[:_NAMES]]
    return value
