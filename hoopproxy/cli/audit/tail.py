"""``hoopproxy audit tail``: events, one line each, as they become durable."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from hoopproxy.cli.audit.essence import one_line
from hoopproxy.cli.audit.options import (
    as_json,
    event_filters,
    made_filter,
    made_source,
    source_options,
    who_and_where,
)
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.reading.answers import Answer, EventLine, Question

__all__ = ["tail"]

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
