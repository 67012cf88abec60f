"""``hoopproxy audit keys``: the public keys that seal the journals, to be kept elsewhere."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import click
import orjson

from hoopproxy.cli.audit.ledgers import place_options, places
from hoopproxy.cli.audit.options import as_json
from hoopproxy.inert import inert
from hoopproxy.ledger.epoch import Epoch, Epochs

__all__ = ["keys"]


@click.command()
@place_options
@as_json
def keys(state: Path | None, config: Path | None, as_json: bool) -> None:
    """Print the public keys that seal the journals, oldest first, one line each.

    Keep them where the gateway's administrators can't change them. The first key of a journal is enough: each key
    vouches for the next. Lines that begin with # are comments; `--key FILE` of the other commands takes it all.

    \b
      hoopproxy audit keys --config gateway.toml > gateway.keys
    """
    for folder, ledger in places(state, config):
        notes = ledger.epochs()
        if not notes:
            click.echo(f"# journal {folder.path.name}: not sealed yet")
            continue
        epochs = Epochs(notes)
        for epoch, vouched in zip(epochs.all, epochs.vouched, strict=True):
            said = _said(folder.path.name, epoch, vouched)
            if as_json:
                click.echo(orjson.dumps(said).decode())
            else:
                by = f", vouched for by epoch {epoch.number - 1}" if vouched else ""
                click.echo(
                    f"# journal {folder.path.name} epoch {epoch.number} ({epoch.why}) since {said['since']}{by}"
                )
                click.echo(inert(str(epoch.key)))


def _said(journal: str, epoch: Epoch, vouched: bool) -> dict[str, Any]:
    return {
        "journal": journal,
        "epoch": epoch.number,
        "why": epoch.why,
        "since": dt.datetime.fromtimestamp(epoch.began, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "vouched": vouched,
        "origin": epoch.origin,
        "key": str(epoch.key),
    }
