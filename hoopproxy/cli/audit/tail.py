"""``hoopproxy audit tail``: events, one line each, as they become durable."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from hoopproxy.cli.audit.options import (
    as_json,
    event_filters,
    made_filter,
    made_source,
    source_options,
    who_and_where,
)
from hoopproxy.cli.audit.paint import Line, Piece
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.cli.audit.words import clock, duration, many, size, value, whole_text
from hoopproxy.inert import fitted, inert
from hoopproxy.reading.answers import Answer, EventLine, Question
from hoopproxy.reading.filters import Envelope
from hoopproxy.reading.sessions import short_id

__all__ = ["essence_of", "one_line", "tail"]

_DEFAULT = 20


@click.command()
@source_options
@who_and_where
@event_filters
@click.option("-f", "--follow", is_flag=True, help="Go on with what becomes durable, until Ctrl-C.")
@click.option(
    "-n",
    "--limit",
    default=None,
    type=click.IntRange(0, 100_000),
    help=f"The last N; 0: all. [default: {_DEFAULT}]",
)
@as_json
@click.pass_context
def tail(
    ctx: click.Context,
    /,
    config: Path | None,
    control: Path | None,
    state: Path | None,
    journal: Path | None,
    follow: bool,
    limit: int | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """Show the last events, one line each; with -f go on as they become durable.

    With --since, all events from then on are shown unless --limit says otherwise. Only what would survive a
    power cut is shown.

    \b
      hoopproxy audit tail -f --config gateway.toml
      hoopproxy audit tail -f --config gateway.toml --outcome denied --outcome failure
      hoopproxy audit tail --config gateway.toml --since 1h --kind login --json
    """
    source = made_source(config, control, state, journal)
    wanted = made_filter(**filters)
    count = limit if limit is not None else 0 if wanted.since else _DEFAULT
    screen = Screen(as_json)
    question = Question(action="tail", filter=wanted, limit=count, follow=follow)
    with screen.closing(ctx):
        try:
            found = _events(screen.pieces(source.ask(question)))
            if follow:
                found = _at_once(found)
            if as_json:
                screen.json(each.body for each in found)
            else:
                screen.lines((one_line(each.event, screen.width) for each in found), paged=not follow)
        except KeyboardInterrupt:
            if not follow:
                raise


def _events(pieces: Iterable[Answer]) -> Iterator[EventLine]:
    return (piece for piece in pieces if isinstance(piece, EventLine))


def _at_once(events: Iterable[EventLine]) -> Iterator[EventLine]:
    """Each is on its way before the next is waited for."""
    for each in events:
        yield each
        sys.stdout.flush()


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
        told.append(whole_text(said["text"]) if said.get("text") is not None else str(said.get("verb", "")))
        if said.get("parameters"):
            told.append(value(said["parameters"]))
        return "  ".join(told)
    if kind in ("command.result", "command.completed"):
        return _came(said)
    if kind == "audit.note":
        return f"{whole_text(said.get('text', ''))}  (about {short_id(str(said.get('session', '')))})"
    if kind == "session.end":
        balance = "" if said.get("balanced") else ", BYTES DO NOT BALANCE"
        commands = many(said.get("commands", 0), "command")
        return f"{said.get('cause', '')}, {commands}, {duration(said.get('duration', 0))}{balance}"
    return "  ".join(part for part in (reason, value(said) if said else "") if part)


def _came(said: Mapping[str, Any]) -> str:
    error = said.get("error")
    parts = (
        [f"{error.get('sqlstate', '')} {value(error.get('message'))}"] if isinstance(error, Mapping) else []
    )
    if said.get("tag"):
        parts.append(str(said["tag"]))
    if said.get("rows") is not None:
        parts.append(many(said["rows"], "row"))
    parts.append(size(said.get("bytes", 0)))
    if said.get("duration") is not None:
        parts.append(duration(said["duration"]))
    return ", ".join(parts)
