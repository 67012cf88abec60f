"""``hoopproxy audit search``: events by what was said in them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from hoopproxy.cli.audit.essence import essence_of, one_line
from hoopproxy.cli.audit.options import (
    as_json,
    made_filter,
    made_source,
    search_filters,
    source_options,
    who_and_where,
)
from hoopproxy.cli.audit.paint import Line
from hoopproxy.cli.audit.replay import shown
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.cli.audit.show import told
from hoopproxy.cli.audit.source import Source
from hoopproxy.cli.audit.story import generic
from hoopproxy.errors import HoopproxyError
from hoopproxy.index.saying import texts_of
from hoopproxy.index.screens import KIND
from hoopproxy.index.words import Query, words_of
from hoopproxy.reading.answers import Answer, EventLine, Question
from hoopproxy.reading.filters import Envelope
from hoopproxy.reading.sessions import short_id

__all__ = ["search", "session_of"]

_COMMANDS: Final = 5  # sessions whose commands are spelled out
_EARLIER: Final = 2_000_000_000  # ns of a replay before what was found
_BEFORE: Final = 24  # characters of context before what was found


@click.command()
@click.argument("words", nargs=-1)
@source_options
@who_and_where
@search_filters
@click.option(
    "-n",
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="The newest N.",
)
@click.option(
    "--show", "show_number", type=click.IntRange(1), metavar="N", help="Tell the session of match N."
)
@click.option("--replay", "replay_number", type=click.IntRange(1), metavar="N", help="Replay it instead.")
@as_json
@click.pass_context
def search(
    ctx: click.Context,
    /,
    words: tuple[str, ...],
    config: Path | None,
    control: Path | None,
    state: Path | None,
    journal: Path | None,
    limit: int,
    show_number: int | None,
    replay_number: int | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """Find events by the WORDS that were said in them, the newest last.

    In statements, parameters, names of objects, errors, identities, targets, notes; in result rows where the
    target's configuration has them indexed. All WORDS must be in one event. '"alter table"': one behind the
    other; 'sal*': how a word begins; '-vacuum': not this one (after a --). Words are runs of letters and
    digits, whatever the case.

    \b
      hoopproxy audit search 'alter table' --config gateway.toml --identity alice --since 2d
      hoopproxy audit search salary --config gateway.toml --show 1
      hoopproxy audit search --config gateway.toml --outcome denied --since 1h
    """
    source = made_source(config, control, state, journal)
    query = Query.parse(" ".join(words))
    wanted = made_filter(**filters)
    if not query.terms and not wanted.as_json():
        raise click.UsageError("say what to look for: words, or at least one filter")
    question = Question(action="search", query=query.text, filter=wanted, limit=limit)
    where = _source_options(config, control, state, journal)
    screen = Screen(as_json)
    with screen.closing(ctx):
        pieces = screen.pieces(source.ask(question))
        found = [piece for piece in pieces if isinstance(piece, EventLine)]
        number = show_number or replay_number
        if number is not None:
            _open(screen, source, _match(found, number), replay_number is not None)
        elif as_json:
            screen.json(each.body for each in found)
        else:
            screen.lines(_lines(found, query, where, screen.width))


def _source_options(*given: Path | None) -> str:
    names = ("--config", "--control", "--state", "--journal")
    return " ".join(
        f"{name} {shlex.quote(str(path))}"
        for name, path in zip(names, given, strict=True)
        if path is not None
    )


def session_of(event: Envelope) -> str | None:
    """The session that an event is of, or (a note) about."""
    said = event.get("event")
    for session in (event.get("session"), said.get("session") if isinstance(said, Mapping) else None):
        if isinstance(session, str):
            return session
    return None


# --- one of them -------------------------------------------------------------------------------------------


def _match(found: Sequence[EventLine], number: int) -> EventLine:
    if number > len(found):
        many = f"there are {len(found)} matches" if found else "nothing matches"
        raise HoopproxyError(f"no match {number}: {many}")
    return found[-number]


def _open(screen: Screen, source: Source, match: EventLine, replayed: bool) -> None:
    session = session_of(match.event)
    if session is None:
        screen.lines(generic(match.event, str(match.event.get("kind"))))
        return
    question = Question(action="replay" if replayed else "show", session=session)
    pieces = screen.pieces(source.ask(question))
    screen.note(f"the session of {match.event.get('kind')} at {match.event.get('time')}")
    if replayed and match.event.get("kind") == KIND:
        channel, start = _where(match.event)
        screen.lines(shown(pieces, channel=channel, start=start))
    elif replayed:
        screen.lines(shown(pieces))
    else:
        screen.lines(told(_events(pieces)))


def _where(event: Envelope) -> tuple[str, int]:
    """The channel of what was shown, and a moment before it (ns since the session's start)."""
    said, mono = event.get("event"), event.get("mono")
    channel = str(said.get("channel")) if isinstance(said, Mapping) else ""
    return channel, max(mono - _EARLIER, 0) if isinstance(mono, int) else 0


def _events(pieces: Iterable[Answer]) -> Iterator[EventLine]:
    return (piece for piece in pieces if isinstance(piece, EventLine))


# --- all of them -------------------------------------------------------------------------------------------


def _lines(found: Sequence[EventLine], query: Query, where: str, width: int) -> Iterator[Line]:
    if not found:
        yield (("faint", "nothing matches"),)
        return
    digits = len(str(len(found)))
    sessions: dict[str, str] = {}
    for number, each in zip(range(len(found), 0, -1), found, strict=True):
        lead = f"#{number}".rjust(digits + 1)
        yield [("faint", f"{lead} "), *_one_match(each.event, query, max(width - digits - 2, 0))]
        session = session_of(each.event)
        if session is not None:
            sessions.pop(session, None)
            sessions[session] = _command(each.event, short_id(session))
    yield ()
    for command in list(sessions.values())[-_COMMANDS:]:
        yield (("faint", f"hoopproxy audit {command} {where}"),)
    if len(sessions) > _COMMANDS:
        yield (("faint", f"and {len(sessions) - _COMMANDS} more sessions; --show N tells that of match N"),)


def _command(event: Envelope, session: str) -> str:
    """What opens a match: its session's story, or the replay of what was shown from a moment before."""
    if event.get("kind") != KIND:
        return f"show {session}"
    channel, start = _where(event)
    return f"replay {session} --channel {shlex.quote(channel)} --from {start / 1e9:.3f}"


def _one_match(event: Envelope, query: Query, width: int) -> Line:
    if query.terms and not query.matches(texts_of(event)):
        return [*one_line(event, max(width - 16, 0) if width else 0), ("warn", "  (in its rows)")]
    essence = essence_of(event)
    at = _place(essence, query)
    if width and at > width // 3:
        essence = f"...{essence[at - _BEFORE :]}"
        return one_line(event, width, essence)
    return one_line(event, width)


def _place(text: str, query: Query) -> int:
    """Where the first of the words is, roughly; 0 if it isn't there."""
    lowered = text.lower()
    places = [lowered.find(term.words[0]) for term in query.wanted]
    found = [place for place in places if place > _BEFORE]
    return min(found, default=0) if len(found) == len(places) and words_of(text) else 0
