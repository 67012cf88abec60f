"""``hoopproxy status``: is the gateway well?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from hoopproxy.cli.asking import ask, control_of, where_options
from hoopproxy.inert import inert

__all__ = ["status"]


@click.command()
@where_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status(ctx: click.Context, config: Path | None, control: Path | None, as_json: bool) -> None:
    """Tell how the running gateway is. Exits with 0 when new clients are served, else with 1."""
    found = ask(control_of(config, control), {"do": "status"})
    found.pop("ok", None)
    if as_json:
        click.echo(json.dumps(found))
    else:
        for name, value in _told(found):
            click.echo(f"{name + ':':<10} {inert(value)}")
    ctx.exit(0 if found.get("ready") else 1)


def _told(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    state = "draining" if found.get("draining") else "ready" if found.get("ready") else "not ready"
    journal, sessions = found.get("journal", {}), found.get("sessions", {})
    yield "gateway", f"{found.get('node')}, version {found.get('version')}, process {found.get('pid')}"
    yield "state", f"{state}, up for {_long(int(found.get('uptime_seconds', 0)))}"
    yield "sessions", f"{sessions.get('open', 0)} open, {sessions.get('login', 0)} logging in"
    yield "listeners", ", ".join(map(str, found.get("listeners", [])))
    yield "journal", str(journal.get("path"))
    waiting = journal.get("unsynced_bytes", 0)
    yield "records", f"{journal.get('durable')} durable of {journal.get('records')}, {waiting} bytes waiting"
    if journal.get("refusal"):
        yield "refuses", str(journal["refusal"])
    trail = found.get("trail")
    if trail:
        failing = ", ".join(map(str, trail.get("failing", [])))
        yield "trail", f"its readers: {trail.get('state')}" + (f"; failing: {failing}" if failing else "")
    for name, problem in found.get("broken_plugins", {}).items():
        yield "plugin", f"{name} can't be used: {problem}"
    yield "config", str(found.get("config"))


def _long(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    clock = f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{days} d {clock}" if days else clock
