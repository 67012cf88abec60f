"""``hoopproxy audit timeline``: every session, every protocol and every change, in one ordered story."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from hoopproxy.cli.audit.essence import one_line
from hoopproxy.cli.audit.options import (
    as_json,
    made_filter,
    made_source,
    search_filters,
    source_options,
    who_and_where,
)
from hoopproxy.cli.audit.paint import Line
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.reading.answers import Answer, EventLine, Question
from hoopproxy.reading.filters import Envelope

__all__ = ["plain_course", "timeline", "told_in_order"]

_EXPECTED: Final = frozenset(
    (
        *("command.result", "command.completed", "session.altered", "session.input"),
        *("audit.checkpoint", "audit.witnessed", "audit.timestamped"),
    )
)
"""What was typed is told by the commands that it made, and that the trail is sealed each second is nobody's deed;
``--all`` has both, too."""


@click.command()
@source_options
@who_and_where
@search_filters
@click.option("--from", "begin", default="", metavar="WHEN", help="As --since.")
@click.option("--to", "end", default="", metavar="WHEN", help="As --until.")
@click.option(
    "--all", "everything", is_flag=True, help="With results that came as expected, and checkpoints."
)
@as_json
@click.pass_context
def timeline(
    ctx: click.Context,
    /,
    config: Path | None,
    control: Path | None,
    state: Path | None,
    journal: Path | None,
    begin: str,
    end: str,
    everything: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Tell everything between two times in its order: all sessions, all protocols, log-ins, notes.

    Who may read everything also sees what changed around it: starts and stops, the configuration, gaps, holds
    and erasures, also when a --target or --identity narrows down the sessions. Results that came as expected
    and the seal's checkpoints are left out; --all has them. A --kind, --outcome or word leaves out the surroundings.

    \b
      hoopproxy audit timeline --config gateway.toml --from 2h --target payroll
      hoopproxy audit timeline --state /var/lib/hoopproxy --from 2026-11-23T18:00 --to 2026-11-23T19:00
    """
    for name, given in (("since", begin), ("until", end)):
        if given and filters[name]:
            raise click.UsageError(
                f"--{'from' if name == 'since' else 'to'} and --{name} are the same; say one"
            )
        filters[name] = filters[name] or given
    if not filters["since"]:
        raise click.UsageError("say from when: --from 2h, --from 2026-11-23T18:00")
    source = made_source(config, control, state, journal)
    screen = Screen(as_json)
    with screen.closing(ctx):
        pieces = screen.pieces(source.ask(Question(action="timeline", filter=made_filter(**filters))))
        found = _events(pieces)
        if as_json:
            screen.json(each.body for each in found)
        else:
            screen.lines(told_in_order(found, everything, screen.width))


def _events(pieces: Iterable[Answer]) -> Iterator[EventLine]:
    return (piece for piece in pieces if isinstance(piece, EventLine))


def plain_course(event: Envelope) -> bool:
    """Whether an event only says that a command went as expected."""
    said = event.get("event")
    failed = event.get("outcome") in ("failure", "denied") or (isinstance(said, dict) and "error" in said)
    return event.get("kind") in _EXPECTED and not failed


def told_in_order(events: Iterable[EventLine], everything: bool = False, width: int = 0) -> Iterator[Line]:
    """A line an event, and a heading where a day begins."""
    day = ""
    empty = True
    for each in events:
        if not everything and plain_course(each.event):
            continue
        empty = False
        today = str(each.event.get("time", ""))[:10]
        if today != day:
            day = today
            yield (("title", f"{today} (UTC)"),)
        yield one_line(each.event, width)
    if empty:
        yield (("faint", "nothing happened then that you may see"),)
