"""``hoopproxy sessions``: who is connected now, and ending one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from hoopproxy.cli.asking import ask, ask_many, control_of, where_options
from hoopproxy.inert import inert

__all__ = ["sessions"]

_COLUMNS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("SESSION", lambda line: str(line["session"])[-8:]),
    ("IDENTITY", lambda line: str(line["identity"] or "-")),
    ("FROM", lambda line: str(line["client"])),
    ("LISTENER", lambda line: str(line["listener"])),
    ("TARGET", lambda line: str(line["target"] or "-")),
    ("ACCOUNT", lambda line: str(line["account"] or "-")),
    ("DATABASE", lambda line: str(line["database"] or "-")),
    ("SECONDS", lambda line: str(line["seconds"])),
    ("COMMANDS", lambda line: str(line["commands"])),
)


@click.group()
def sessions() -> None:
    """The sessions of the running gateway. `hoopproxy audit sessions` lists those of the past, too."""


@sessions.command("list")
@where_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_sessions(config: Path | None, control: Path | None, as_json: bool) -> None:
    """List the live sessions that your roles let you see. The look is on record."""
    found = ask_many(control_of(config, control), {"do": "sessions"})
    if as_json:
        for line in found:
            line.pop("ok", None)
            click.echo(json.dumps(line))
        return
    rows = [[inert(of(line)) for _, of in _COLUMNS] for line in found]
    _table([name for name, _ in _COLUMNS], rows)


def _table(names: list[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@sessions.command()
@where_options
@click.argument("session")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def kill(config: Path | None, control: Path | None, session: str, as_json: bool) -> None:
    """End SESSION, named by its id or the last eight characters or more of it. The act is on record."""
    found: Mapping[str, Any] = ask(control_of(config, control), {"do": "kill", "session": session})
    if as_json:
        click.echo(json.dumps({"session": found.get("session")}))
    else:
        click.echo(f"ended {inert(str(found.get('session')))}")
