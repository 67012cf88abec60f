"""``hoopproxy journal stat``: the journals in figures."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import attrs
import click

from hoopproxy.cli.journal.place import chosen, place_options, state_of
from hoopproxy.journal.survey import Figures, survey

__all__ = ["stat"]


@click.command()
@place_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def stat(config: Path | None, state: Path | None, journal_id: str | None, as_json: bool) -> None:
    """Say how much each journal holds, since when, and whether a gateway writes it."""
    for folder in chosen(state_of(config, state), journal_id):
        figures = survey(folder)
        click.echo(json.dumps(attrs.asdict(figures)) if as_json else _told(figures))


def _told(figures: Figures) -> str:
    lines = [
        f"{figures.journal}: {'being written' if figures.live else 'at rest'}, epoch {figures.epoch}",
        f"  {figures.segments} segments, {figures.bytes / (1 << 20):.1f} MiB, {figures.keys} sessions",
        f"  records {figures.first_jseq} to {figures.durable} (durable)"
        if figures.durable >= figures.first_jseq
        else "  no record",
    ]
    if figures.created:
        since = dt.datetime.fromtimestamp(figures.created // 10**9, dt.UTC)
        lines.append(f"  since {since:%Y-%m-%dT%H:%M:%SZ}")
    if figures.sealed:
        lines.append(f"  {figures.sealed} segments are sealed")
    if figures.rewritten:
        lines.append(f"  {figures.rewritten} segments were rewritten: what was erased left its commitment")
    return "\n".join(lines)
