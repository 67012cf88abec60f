"""``hoopproxy audit prove``: one event, proven to somebody who has nothing but a public key."""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from hoopproxy.cli.audit.ledgers import place_options, places
from hoopproxy.cli.audit.options import as_json as json_option
from hoopproxy.errors import HoopproxyError
from hoopproxy.ledger.evidence import find
from hoopproxy.ledger.evidence import prove as made

__all__ = ["prove"]


@click.command()
@click.argument("event")
@place_options
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Default: EVENT.tlog-proof.",
)
@click.option(
    "--without-record", is_flag=True, help="Leave out what the event says: only that it was sealed."
)
@json_option
def prove(
    event: str,
    state: Path | None,
    config: Path | None,
    out: Path | None,
    without_record: bool,
    as_json: bool,
) -> None:
    """Write a proof that EVENT (its id) was sealed, as a c2sp.org/tlog-proof file.

    The file holds the event itself, unless --without-record is given, and the salt of this one record. Whoever has
    a public key of the gateway verifies it with `audit verify-proof`, or with another tool: docs/verify.md.

    \b
      hoopproxy audit prove 01920c2e-... --config gateway.toml
    """
    for folder, ledger in places(state, config):
        try:
            place = find(ledger, event)
            if place is None:
                continue
            proof = made(folder, ledger, place, with_record=not without_record)
        except OSError as error:
            raise HoopproxyError(f"{error.filename or folder.path}: {error.strerror}") from None
        path = out or Path(f"{event}.tlog-proof")
        try:
            path.write_bytes(proof.encode())
        except OSError as error:
            raise HoopproxyError(f"{path}: {error.strerror}") from None
        if as_json:
            said = {"event": event, "file": str(path), "leaf": place.index, "journal": folder.path.name}
            click.echo(orjson.dumps(said))
            return
        click.echo(f"{path}: leaf {place.index} of journal {folder.path.name}")
        return
    raise HoopproxyError(
        "no tree has an event of this id. The id is an event's own (`id` in its envelope); an event of the last"
        " second may not be sealed yet"
    )
