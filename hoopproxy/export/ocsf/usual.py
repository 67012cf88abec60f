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
from hoopproxy.export.operation import Operation
from hoopproxy.export.summary import millis
from hoopproxy.export.turned import Half, Turned

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
    b',"query_info":{"query_string":%b,"uid":"%b","bytes":%d},"time":%b,"start_time":%b,"end_time":%b,"duration":%d}'
)


def usual_turned(command: Turned, event: Callable[[Operation], dict[str, Any] | None]) -> bytes | None:
    """The same of a command in halves, byte for byte: almost all of it is what was written already.

    :param event: as above; gives ``None`` of what is never usual.
    """
    asked, half, facts = command
    asking, ending = asked.asking, half.ending
    if asking is not None and ending is not None:
        # The form says where everything is, and that the text stands for itself.
        count, rest, text, _, _, verbs = asking
        fields, ended_fields = asked.fields, half.fields
        rest %= tuple(fields[:count])
        text = text or b'"%b"' % fields[count]
        size, duration = ended_fields[ending[0]], ended_fields[ending[1]]
    else:
        parsed = _parsed(asked, half)
        if parsed is None:
            return None
        verbs, rest, text, size, duration = parsed
    frames = _frames_of(half.envelope, facts)
    key = asked.decided, verbs
    frame = frames.get(key)
    if frame is None:
        frame = _frame_of_turn(command, event)
        if frame is None:
            return None
        if len(frames) >= _FRAMES:
            frames.clear()
        frames[key] = frame
    result, end = half.said
    op, ended_at = half.op, half.said_time
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
        rest,
        result,
        end,
        text,
        op,
        size,
        ended,
        _millis(asked.said_time),
        ended,
        duration // 1_000_000,
    )


_Parsed = tuple[tuple[Any, ...], bytes, bytes, int, int]
"""``verb`` and ``verbs``; all else that was asked but the text, with a comma behind each; the text, as JSON; how many
bytes the answer had, and how long it took (ns)."""


def _parsed(asked_half: Half, half: Half) -> _Parsed | None:
    """What their JSON says; ``None`` if it is not usual."""
    asked, said = asked_half.first_said, loads(half.said[-1])
    text, size, duration = asked.get("text"), said.get("bytes"), said.get("duration")
    if type(text) is not str or type(size) is not int or type(duration) is not int:
        return None
    try:
        verbs = asked["verb"], *asked["verbs"]
        hash(verbs)
    except (KeyError, TypeError):
        return None
    rest = {name: value for name, value in asked.items() if name not in _NOT_REST}
    return verbs, dumps(rest)[1:-1] + b"," if rest else b"", dumps(text), size, duration


def _frame_of_turn(command: Turned, event: Callable[[Operation], dict[str, Any] | None]) -> Frame | None:
    operation = command.operation()
    made = event(operation)
    return None if made is None else _cut(made, parts_of(operation.main, command.facts))


@lru_cache(maxsize=3_600)
def _second(text: bytes) -> bytes:
    second = millis(text.decode()) // 1000
    return b"%d" % second if second > 0 else b""


def _millis(time: bytes) -> bytes:
    """The digits of :func:`~hoopproxy.export.summary.millis`: those of the second, and three that the time has."""
    second, rest = _second(time[:19]), time[20:23]
    return second + rest if second and rest.isdigit() else b"%d" % millis(time.decode())


_NOT_REST: Final = frozenset({"text", "verb"})
_SESSIONS: Final = 2_048
_turned: dict[int, tuple[object, Mapping[str, str], dict[Any, Frame]]] = {}


def _frames_of(envelope: object, facts: Mapping[str, str]) -> dict[Any, Frame]:
    """The frames of a session; told by the very objects, which are held here so that no other can be taken for them."""
    kept = _turned.get(id(envelope))
    if kept is not None and kept[0] is envelope and kept[1] is facts:
        return kept[2]
    if len(_turned) >= _SESSIONS:
        _turned.clear()
    frames: dict[Any, Frame] = {}
    _turned[id(envelope)] = envelope, facts, frames
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
