"""The usual command, fast: it succeeded, and its datastore, its kind and its decision were met in this session before.

What such an event shares with the last one is kept as bytes; a handful of fields is rendered anew. It says exactly what
:func:`~hoopproxy.export.ocsf.events.event` does, from whose answer the kept part is cut; a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from orjson import dumps, loads

from hoopproxy.export.ocsf.session import Parts, parts_of
from hoopproxy.export.operation import Operation, Record
from hoopproxy.export.summary import millis
from hoopproxy.export.turned import Turned

__all__ = ["Frame", "usual", "usual_turned"]

_FRAMES: Final = 8
"""Frames that a session keeps, 2 KB each; then all are made anew."""

_VARY: Final = frozenset({"duration", "end_time", "metadata", "query_info", "start_time", "time", "unmapped"})
_IN_METADATA: Final = frozenset({"correlation_uid", "original_time", "sequence", "uid"})


class Frame(NamedTuple):
    """What is shared, up to the open end of ``metadata``; and ``unmapped`` up to its open end."""

    fields: bytes
    unmapped: bytes


def usual(operation: Operation, parts: Parts, event: Callable[[Operation], dict[str, Any]]) -> bytes | None:
    """The event as JSON; ``None`` if the command isn't of the usual sort."""
    records = operation.records
    first, last = records[0], records[-1]
    asked, said = first["event"], last["event"]
    text, size, duration = asked.get("text"), said.get("bytes"), said.get("duration")
    if type(text) is not str or type(size) is not int or type(duration) is not int:
        return None
    frame = _frame(operation, parts, event, asked, first.get("decision"))
    if frame is None:
        return None
    op, ended = last["op"], millis(last["time"])
    metadata = {
        "uid": last["id"],
        "sequence": last["jseq"],
        "original_time": last["time"],
        "correlation_uid": op,
    }
    unmapped = {"seq": last["seq"], **asked}
    del unmapped["text"]
    unmapped.pop("verb", None)
    if "parent" in first:
        unmapped["parent"] = first["parent"]
    if len(records) > 2:
        unmapped["results"] = [record["event"] for record in records[1:-1]]
    unmapped["end"] = said
    return b'%b%b%b%b,"query_info":%b,"time":%d,"start_time":%d,"end_time":%d,"duration":%d}' % (
        frame.fields,
        dumps(metadata)[1:],
        frame.unmapped,
        dumps(unmapped)[1:],
        dumps({"query_string": text, "uid": op, "bytes": size}),
        ended,
        millis(first["time"]),
        ended,
        duration // 1_000_000,
    )


_LINE: Final = (
    b'%b"uid":"%b","sequence":%d,"original_time":"%b","correlation_uid":"%b"}%b"seq":%d,%b"results":[%b],"end":%b}'
    b',"query_info":{"query_string":%b,"uid":"%b","bytes":%d},"time":%d,"start_time":%d,"end_time":%d,"duration":%d}'
)


def usual_turned(command: Turned, event: Callable[[Operation], dict[str, Any] | None]) -> bytes | None:
    """The same of a command in halves, byte for byte: almost all of it is what was written already.

    :param event: as above; gives ``None`` of what is never usual.
    """
    asked_half, half, facts = command
    asked = asked_half.first_said
    result, end = half.said
    text, said = asked.get("text"), loads(end)
    size, duration = said.get("bytes"), said.get("duration")
    if type(text) is not str or type(size) is not int or type(duration) is not int:
        return None
    frames = _frames_of(half.like, facts)
    rest = {name: value for name, value in asked.items() if name not in _NOT_REST}
    try:
        key = asked_half.decided, asked["verb"], *asked["verbs"]
        frame = frames.get(key)
    except (KeyError, TypeError):
        return None
    if frame is None:
        frame = _frame_of_turn(command, event)
        if frame is None:
            return None
        if len(frames) >= _FRAMES:
            frames.clear()
        frames[key] = frame
    op, ended_at = half.op, half.time
    ended = _millis(ended_at)
    id_, jseq, seq = half.last
    return _LINE % (
        frame.fields,
        id_,
        jseq,
        ended_at,
        op,
        frame.unmapped,
        seq,
        dumps(rest)[1:-1] + b"," if rest else b"",
        result,
        end,
        dumps(text),
        op,
        size,
        ended,
        _millis(asked_half.time),
        ended,
        duration // 1_000_000,
    )


def _frame_of_turn(command: Turned, event: Callable[[Operation], dict[str, Any] | None]) -> Frame | None:
    operation = command.operation()
    made = event(operation)
    return None if made is None else _cut(made, parts_of(operation.main, command.facts))


@lru_cache(maxsize=3_600)
def _second(text: bytes) -> int:
    return millis(text.decode())


def _millis(time: bytes) -> int:
    """As :func:`~hoopproxy.export.summary.millis`, of a time that the gateway wrote."""
    return _second(time[:19]) + int(time[20:23])


_NOT_REST: Final = frozenset({"text", "verb"})
_SESSIONS: Final = 2_048
_turned: dict[int, tuple[Record, Mapping[str, str], dict[Any, Frame]]] = {}


def _frames_of(like: Record, facts: Mapping[str, str]) -> dict[Any, Frame]:
    """The frames of a session; told by the very objects, which are held here so that no other can be taken for them."""
    kept = _turned.get(id(like))
    if kept is not None and kept[0] is like and kept[1] is facts:
        return kept[2]
    if len(_turned) >= _SESSIONS:
        _turned.clear()
    frames: dict[Any, Frame] = {}
    _turned[id(like)] = like, facts, frames
    return frames


def _frame(
    operation: Operation,
    parts: Parts,
    event: Callable[[Operation], dict[str, Any]],
    asked: Mapping[str, Any],
    decision: Mapping[str, Any] | None,
) -> Frame | None:
    try:
        key = (
            asked["verb"],
            tuple(asked["verbs"]),
            decision and (decision["effect"], tuple(decision["rules"])),
        )
        frame = parts.frames.get(key)
    except (KeyError, TypeError):
        return None
    if frame is None:
        if len(parts.frames) >= _FRAMES:
            parts.frames.clear()
        frame = parts.frames[key] = _cut(event(operation), parts)
    return frame


def _cut(made: Mapping[str, Any], parts: Parts) -> Frame:
    fields = {name: value for name, value in made.items() if name not in _VARY}
    metadata = {name: value for name, value in made["metadata"].items() if name not in _IN_METADATA}
    more = dumps(parts.more)[:-1] + b"," if parts.more else b"{"
    return Frame(dumps(fields)[:-1] + b',"metadata":' + dumps(metadata)[:-1] + b",", b',"unmapped":' + more)
