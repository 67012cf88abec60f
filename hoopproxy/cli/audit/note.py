"""``hoopproxy audit note``: a remark about a session, appended to the trail under one's own name."""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from hoopproxy.cli.asking import ask, control_of, where_options
from hoopproxy.cli.audit.options import as_json as json_option
from hoopproxy.inert import inert

__all__ = ["note"]


@click.command()
@click.argument("session")
@click.argument("text", nargs=-1, required=True)
@where_options
@json_option
def note(
    session: str, text: tuple[str, ...], config: Path | None, control: Path | None, as_json: bool
) -> None:
    """Note TEXT about SESSION: an id, the beginning or the end of one, or the id of one of its operations or events.

    The note is an event of its own, with the name that the system knows you by. It can't be changed or taken back.
    Whoever may read the session sees it: in `show`, in searches and in exports.

    \b
      hoopproxy audit note 9f3a01c2 'INC-42: agreed with the owner' --config gateway.toml
    """
    answer = ask(control_of(config, control), {"do": "note", "session": session, "text": " ".join(text)})
    if as_json:
        click.echo(orjson.dumps({"session": answer["session"], "op": answer.get("op")}))
        return
    about = f"operation {answer['op']} of session" if answer.get("op") else "session"
    click.echo(inert(f"noted about {about} {answer['session']}"))
