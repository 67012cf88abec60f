"""``hoopproxy audit sessions``: who was where, one line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import orjson

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
from hoopproxy.cli.audit.table import aligned
from hoopproxy.cli.audit.words import clock, duration, size
from hoopproxy.reading.answers import Answer, Question
from hoopproxy.reading.sessions import short_id
from hoopproxy.reading.summary import SessionSummary

__all__ = ["sessions", "table"]

_NAMES: Final = (
    "SESSION", "STARTED (UTC)", "TOOK", "IDENTITY", "BY", "FROM", "TARGET", "COMMANDS", "DENIED", "ROWS",
    "BYTES", "END",
)  # fmt: skip
_RIGHT: Final = frozenset(("TOOK", "COMMANDS", "DENIED", "ROWS", "BYTES"))
_CELL: Final = 40
_STATES: Final = {"live": "good", "ended": "", "refused": "bad", "failed": "bad"}


@click.command()
@source_options
@who_and_where
@event_filters
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(0, 100_000), help="The newest N; 0: all."
)
@click.option("--all", "every", is_flag=True, help="List failed log-ins as well.")
@as_json
@click.pass_context
def sessions(
    ctx: click.Context,
    /,
    config: Path | None,
    control: Path | None,
    state: Path | None,
    journal: Path | None,
    limit: int,
    every: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """List sessions, the newest last.

    A session is listed when it is of the identity, target and protocol asked for, and one of its events is of
    the time, kind, outcome and words asked for.

    \b
      hoopproxy audit sessions --config gateway.toml --since 2d
      hoopproxy audit sessions --config gateway.toml --identity alice --kind command.denied
      hoopproxy audit sessions --state /var/lib/hoopproxy --text 'drop table' --json
    """
    source = made_source(config, control, state, journal)
    question = Question(action="sessions", filter=made_filter(**filters), limit=limit, every=every)
    screen = Screen(as_json)
    with screen.closing(ctx):
        found = screen.pieces(source.ask(question))
        if as_json:
            screen.json(orjson.dumps(each.as_json()) for each in _summaries(found))
        else:
            screen.lines(table(list(_summaries(found)), _CELL if screen.is_terminal else 0))


def _summaries(pieces: Iterable[Answer]) -> Iterator[SessionSummary]:
    return (piece for piece in pieces if isinstance(piece, SessionSummary))


def table(found: list[SessionSummary], cut: int = 0) -> Iterator[Line]:
    """The sessions as a table, or a line that says that there are none."""
    if not found:
        return iter(((("faint", "no session matches"),),))
    return aligned(_NAMES, [_row(each) for each in found], _RIGHT, cut)


def _row(each: SessionSummary) -> list[Piece]:
    where = "/".join(part for part in (each.target, each.account, each.database) if part)
    at_least = ">=" if each.partial else ""
    state = each.state if each.how is None or each.state == "live" else f"{each.state}: {each.how}"
    if each.how is not None and each.state in ("ended", "refused", "failed"):
        state = each.how
    unbalanced = " (bytes unaccounted for)" if each.balanced is False else ""
    return [
        ("title", short_id(each.session)),
        ("", clock(each.started)),
        ("", duration(each.duration)),
        ("who", each.identity or "-"),
        ("", each.method or ""),
        ("", each.client or ""),
        ("", where),
        ("", f"{each.commands:,}"),
        ("bad" if each.denied else "", f"{each.denied:,}"),
        ("", f"{at_least}{each.rows:,}"),
        ("", size(each.bytes).replace(" bytes", " B").replace(" byte", " B")),
        ("bad" if unbalanced else _STATES.get(each.state, "warn"), f"{state}{unbalanced}"),
    ]
