"""An event in one line: who did what, when, in a few words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from hoopproxy.cli.audit.paint import Line, Piece
from hoopproxy.cli.audit.story.carried import WAYS, known_by, moved
from hoopproxy.cli.audit.story.facts import ends, how_it_ended, noted
from hoopproxy.cli.audit.story.gateway import started
from hoopproxy.cli.audit.story.lines import Fields
from hoopproxy.cli.audit.words import clock, duration, many, moment, size, value, whole_text
from hoopproxy.index.screens import KIND
from hoopproxy.inert import fitted, inert
from hoopproxy.reading.filters import Envelope
from hoopproxy.reading.sessions import short_id

__all__ = ["essence_of", "one_line"]


def one_line(event: Envelope, width: int = 0, essence: str | None = None) -> Line:
    """An event in one line. ``width``: cells that the last piece is fitted to; 0 is no limit. ``essence``: that
    piece, if it isn't :func:`essence_of`."""
    kind = str(event.get("kind", "?"))
    line: list[Piece] = [("time", clock(event.get("time"), True)), ("", " ")]
    line.append(("faint", short_id(str(event.get("session") or "-")).rjust(8)))
    who, where = _name(event, "identity", "id"), _name(event, "target", "name")
    line += [("", " "), ("who", f"{who or '-'}{f'@{where}' if where else ''}")]
    outcome = event.get("outcome")
    bad = outcome in ("denied", "failure") or kind in (
        "command.unfinished",
        "session.interrupted",
        "audit.gap",
    )
    line += [("", " "), ("bad" if bad else "verb", kind)]
    essence = inert(essence_of(event) if essence is None else essence)
    if width and essence:
        used = sum(len(inert(text)) for _, text in line)
        essence = fitted(essence, max(width - used - 1, 20))
    if essence:
        line.append(("", f" {essence}"))
    return line


def _name(event: Envelope, part: str, key: str) -> str:
    inner = event.get(part)
    return str(inner.get(key, "")) if isinstance(inner, Mapping) else ""


def essence_of(event: Envelope) -> str:
    """What an event says, in a few words; not safe for a terminal yet."""
    said, kind = event.get("event"), str(event.get("kind", "?"))
    if not isinstance(said, Mapping):
        return ""
    reason = str(event.get("reason") or "")
    if kind in ("command.requested", "command.denied"):
        told = [reason] if reason else []
        told.append(whole_text(said["text"]) if said.get("text") is not None else _untold(said))
        if said.get("parameters"):
            told.append(value(said["parameters"]))
        return "  ".join(told)
    if kind == "command.result":
        return _came(said)
    if kind in _TELLING:
        essence = _TELLING[kind](said)
        if kind == KIND:
            essence = f"[channel {said.get('channel', '?')} at {moment(event.get('mono'))}] {essence}"
        return "  ".join(part for part in (reason, essence) if part)
    if kind == "audit.note":
        return f"{whole_text(said.get('text', ''))}  (about {short_id(str(said.get('session', '')))})"
    if kind == "session.end":
        balance = "" if said.get("balanced") else ", BYTES DO NOT BALANCE"
        commands = many(said.get("commands", 0), "command")
        return f"{said.get('cause', '')}, {commands}, {duration(said.get('duration', 0))}{balance}"
    return "  ".join(part for part in (reason, value(said) if said else "") if part)


def _came(said: Mapping[str, Any]) -> str:
    error = said.get("error")
    parts = [_error(error)] if isinstance(error, Mapping) else []
    if said.get("tag"):
        parts.append(str(said["tag"]))
    if said.get("rows") is not None:
        parts.append(many(said["rows"], "row"))
    parts.append(size(said.get("bytes", 0)))
    if said.get("duration") is not None:
        parts.append(duration(said["duration"]))
    return ", ".join(parts)


def _error(error: Fields) -> str:
    code = next((error[name] for name in ("sqlstate", "status", "code") if error.get(name)), "")
    return f"{code} {value(error.get('message'))}"


def _untold(said: Fields) -> str:
    """A command without a text: its verb, and where it was to go."""
    detail = said.get("detail")
    where = ends({**detail, "type": ""}) if isinstance(detail, Mapping) and "destination" in detail else ""
    return f"{said.get('verb', '')} {where}".rstrip()


def _ended(said: Fields) -> str:
    error, detail = said.get("error"), said.get("detail")
    if isinstance(error, Mapping) or not isinstance(detail, Mapping) or "stdout" not in detail:
        return _came(said)
    moved = f"{size(detail.get('stdin', 0))} in, {size(said.get('bytes', 0))} out"
    return f"{how_it_ended(detail)}, {moved}, {duration(said.get('duration', 0))}"


def _observed(said: Fields) -> str:
    return f"{whole_text(said.get('text', ''))}  [{known_by(said)}]"


def _file(said: Fields) -> str:
    way = WAYS.get(str(said.get("direction")), "?")
    return f"{said.get('via', '?')} {way} {whole_text(said.get('path', '?'))}"


def _transferred(said: Fields) -> str:
    told = [_file(said), moved(said)]
    told += [f"SHA-256 {said[name]}" for name in ("sha256_read", "sha256_written") if said.get(name)]
    if isinstance(said.get("error"), Mapping):
        told.append(_error(said["error"]))
    elif not said.get("complete"):
        told.append("not complete")
    return ", ".join(told)


def _disconnected(said: Fields) -> str:
    told = [f"{size(said.get('sent', 0))} sent", f"{size(said.get('received', 0))} received"]
    told.append(duration(said.get("duration", 0)))
    if isinstance(said.get("error"), Mapping):
        told.append(_error(said["error"]))
    return ", ".join(told)


def _started(said: Fields) -> str:
    told = [f"database {value(said['database'])}"] if said.get("database") is not None else []
    told += [f"role {said.get('role', '?')}", f"mode {said.get('mode', '?')}"]
    return ", ".join([*told, f"recording {said.get('record', '?')}"])


def _noted(said: Fields) -> str:
    what, detail = str(said.get("what", "?")), said.get("detail")
    told = noted(what, detail) if isinstance(detail, Mapping) else None
    return told if told is not None else f"{what}: {value(detail)}" if detail else what


def _sealed(said: Fields) -> str:
    last = f", up to record {said['last']}" if said.get("last") is not None else ""
    return f"{said.get('size', '?')} leaves of {said.get('origin', '?')}{last}"


_TELLING: Final[dict[str, Callable[[Fields], str]]] = {
    "command.completed": _ended,
    "command.observed": _observed,
    "gateway.started": started,
    "session.input": lambda said: whole_text(said.get("text", "")),
    "session.note": _noted,
    KIND: lambda said: whole_text(said.get("text", "")),
    "session.start": _started,
    "transfer.opened": _file,
    "transfer.completed": _transferred,
    "audit.checkpoint": _sealed,
    "audit.witnessed": _sealed,
    "audit.timestamped": _sealed,
    "audit.epoch": lambda said: (
        f"{said.get('epoch', '?')} ({said.get('why', '?')}), key {said.get('key', '?')}"
    ),
    "forward.opened": ends,
    "forward.closed": _disconnected,
}
