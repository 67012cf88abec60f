"""``hoopproxy reload``: read the configuration again, as SIGHUP does, and tell what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hoopproxy.cli.asking import ask, control_of, where_options
from hoopproxy.inert import inert

__all__ = ["reload"]


@click.command()
@where_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def reload(ctx: click.Context, config: Path | None, control: Path | None, as_json: bool) -> None:
    """Have the running gateway read its configuration, certificates and secrets again.

    What changed is in force for new sessions; keys that need a restart are named. A configuration that has
    problems changes nothing, and the exit status is 1.
    """
    found = ask(control_of(config, control), {"do": "reload"})
    found.pop("ok", None)
    if as_json:
        click.echo(json.dumps(found))
    else:
        for problem in found.get("problems", []):
            click.echo(inert(str(problem)), err=True)
        changes, restart = found.get("changes", []), found.get("needs_restart", [])
        for change in changes:
            click.echo(inert(f"{change['key']}: {_shown(change['old'])} -> {_shown(change['new'])}"))
        for key in restart:
            click.echo(inert(f"{key} needs a restart"), err=True)
        if found.get("reloaded"):
            applied = sum(change["key"] not in restart for change in changes)
            click.echo(_done(applied, len(restart)))
        else:
            click.echo("not reloaded: the old configuration stays in force", err=True)
    ctx.exit(0 if found.get("reloaded") else 1)


def _done(applied: int, waiting: int) -> str:
    if waiting and not applied:
        return "reloaded: what changed is in force after a restart"
    return f"reloaded: {applied} change{'' if applied == 1 else 's'}, in force for new sessions"


def _shown(value: object) -> str:
    return "(absent)" if value is None else str(value)
