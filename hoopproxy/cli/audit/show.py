"""``hoopproxy audit show``: one session as a story."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from hoopproxy.cli.audit.options import as_json, event_filters, made_filter, made_source, source_options
from hoopproxy.cli.audit.paint import Line
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.cli.audit.story import Story
from hoopproxy.reading.answers import Answer, EventLine, Question

__all__ = ["show", "told"]


@click.command()
@click.argument("session")
@source_options
@event_filters
@as_json
@click.pass_context
def show(
    ctx: click.Context,
    /,
    session: str,
    config: Path | None,
    control: Path | None,
    state: Path | None,
    journal: Path | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """Tell what happened in SESSION: who, from where, what ran and what came of it.

    SESSION is an id, the beginning or the end of one (`audit sessions` shows the end), `last`, or the id of an
    event in it, as it was told to a client that was refused.

    \b
      hoopproxy audit show last --config gateway.toml
      hoopproxy audit show 9f3a01c2 --config gateway.toml --kind command --text salary
      hoopproxy audit show last --state /var/lib/hoopproxy --json | jq .event.text
    """
    source = made_source(config, control, state, journal)
    question = Question(action="show", session=session, filter=made_filter(**filters))
    screen = Screen(as_json)
    with screen.closing(ctx):
        found = _events(screen.pieces(source.ask(question)))
        if as_json:
            screen.json(each.body for each in found)
        else:
            screen.lines(told(found))


def _events(pieces: Iterable[Answer]) -> Iterator[EventLine]:
    return (piece for piece in pieces if isinstance(piece, EventLine))


def told(events: Iterable[EventLine]) -> Iterator[Line]:
    """The story of these events."""
    story = Story()
    for each in events:
        yield from story.tell(each.event)
