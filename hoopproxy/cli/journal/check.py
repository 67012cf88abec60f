"""``hoopproxy journal check``: read every byte, and say where one isn't what was written."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import click

from hoopproxy.cli.journal.place import chosen, place_options, state_of
from hoopproxy.errors import Damaged
from hoopproxy.journal.format import UnsupportedFormat
from hoopproxy.journal.survey import Checked
from hoopproxy.journal.survey import check as look

__all__ = ["check"]


@click.command()
@place_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def check(
    ctx: click.Context, config: Path | None, state: Path | None, journal_id: str | None, as_json: bool
) -> None:
    """Check checksums, numbers, the chain of segments and the key file; exit with 1 at damage, which is named.

    A journal that is being written is checked up to what is durable. That the trail is the one that was
    sealed is for `hoopproxy audit verify` to say.
    """
    failed = False
    for folder in chosen(state_of(config, state), journal_id, config):
        name = folder.path.name
        try:
            found = look(folder)
        except (Damaged, UnsupportedFormat) as problem:
            failed = True
            told = {"journal": name, "sound": False, "problem": str(problem)}
            click.echo(json.dumps(told) if as_json else f"{name}: {problem}", err=not as_json)
        else:
            told = {"journal": name, "sound": True, **attrs.asdict(found)}
            click.echo(json.dumps(told) if as_json else f"{name}: {_told(found)}")
    ctx.exit(1 if failed else 0)


def _told(found: Checked) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items()))
    text = f"sound: {found.records} records" + (f" ({kinds})" if kinds else "")
    for number, event in found.rewritten:
        text += f"\n  segment {number} was rewritten by the order of record {event}"
    return text
