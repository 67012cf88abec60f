"""``hoopproxy audit mine``: one's own sessions."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import click
import orjson

from hoopproxy.cli.audit.options import as_json, event_filters, made_filter, made_source, source_options
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.cli.audit.sessions import table
from hoopproxy.reading.answers import Question
from hoopproxy.reading.summary import SessionSummary

__all__ = ["mine"]

_CELL = 40


@click.command()
@source_options
@event_filters
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(0, 100_000), help="The newest N; 0: all."
)
@as_json
@click.pass_context
def mine(
    ctx: click.Context,
    /,
    config: Path | None,
    control: Path | None,
    state: Path | None,
    journal: Path | None,
    limit: int,
    as_json: bool,
    **filters: Any,
) -> None:
    """List your own sessions: those of the identity with the name that this system knows you by.

    It takes a role with read = "own" or more. `show` and `replay` open them.

    \b
      hoopproxy audit mine --config gateway.toml --since 1d
    """
    source = made_source(config, control, state, journal)
    user = getpass.getuser()
    wanted = made_filter(identities=(user, f"unix:{user}"), **filters)
    screen = Screen(as_json)
    with screen.closing(ctx):
        pieces = screen.pieces(source.ask(Question(action="sessions", filter=wanted, limit=limit)))
        found = (piece for piece in pieces if isinstance(piece, SessionSummary))
        if as_json:
            screen.json(orjson.dumps(each.as_json()) for each in found)
        else:
            screen.lines(table(list(found), _CELL if screen.is_terminal else 0))
