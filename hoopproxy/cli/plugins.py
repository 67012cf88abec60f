"""``hoopproxy plugins``: what is installed, and what is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import click
from attrs import asdict, frozen

from hoopproxy.discovery import installed
from hoopproxy.gateway.plugins import broken_plugins

__all__ = ["plugins"]


@frozen(kw_only=True)
class Listed:
    """One plugin. ``name`` is what the configuration calls it, ``module`` where its class is."""

    kind: str
    name: str
    version: str
    module: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List the installed plugins by the names that a configuration calls them.

    Exits with 1 if one is broken: it is named, and keeps nobody else from being used.
    """
    notes: list[str] = []
    found = list(_listed(notes))
    broken = broken_plugins()
    if as_json:
        rows = [asdict(each) for each in found]
        click.echo(json.dumps({"plugins": rows, "broken": broken, "notes": notes}))
    else:
        for line in _table(found):
            click.echo(line)
        for note in notes:
            click.echo(f"note: {note}", err=True)
        for name, problem in broken.items():
            click.echo(f"{name} can't be used: {problem}", err=True)
    ctx.exit(1 if broken else 0)


def _table(found: Sequence[Listed]) -> Iterator[str]:
    rows = [("kind", "name", "version", "module")]
    rows += [(each.kind, each.name, each.version or "-", each.module) for each in found]
    kind, name, version = (max(len(row[at]) for row in rows) for at in range(3))
    for row in rows:
        yield f"{row[0]:<{kind}}  {row[1]:<{name}}  {row[2]:<{version}}  {row[3]}"


def _listed(notes: list[str]) -> Iterator[Listed]:
    for kind, named in installed(notes.append).by_kind:
        for name, plugin in named.items():
            version = str(getattr(plugin, "version", ""))
            yield Listed(kind=kind, name=name, version=version, module=type(plugin).__module__)
