"""``hoopproxy audit sinks``: how far everybody is who reads the trail, and what is wrong where."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from hoopproxy.cli.asking import ask, control_of, where_options
from hoopproxy.cli.audit.words import duration, size
from hoopproxy.delivery.at_rest import at_rest
from hoopproxy.delivery.lag import Lag
from hoopproxy.errors import HoopproxyError
from hoopproxy.inert import inert

__all__ = ["sinks"]

_FINE: Final = ("ok", "retrying")


@click.command()
@where_options
@click.option(
    "--state", type=click.Path(path_type=Path), help="A state directory at rest: tells by the cursors alone."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def sinks(
    ctx: click.Context, config: Path | None, control: Path | None, state: Path | None, as_json: bool
) -> None:
    """List the sinks, and who else reads the trail: state, what waits, the last error, the cursor.

    Exits with 1 if one fails, is past its quota, or has a damaged cursor.
    """
    if sum(each is not None for each in (config, control, state)) != 1:
        raise click.UsageError(
            "say where to look, once: --config FILE, --control SOCKET, or --state DIR at rest"
        )
    if state is not None:
        told = _at_rest(state)
    else:
        told = ask(control_of(config, control), {"do": "sinks"})
        told.pop("ok", None)
    if as_json:
        click.echo(json.dumps(told))
    else:
        _show(told)
    ctx.exit(0 if told["state"] in ("running", "at rest", "standby") and not _bad(told) else 1)


def _bad(told: Mapping[str, Any]) -> bool:
    return bool(told["refuse"]) or any(each["state"] not in _FINE for each in told["consumers"])


def _at_rest(state: Path) -> dict[str, Any]:
    try:
        found = at_rest(state)
    except OSError as problem:
        raise HoopproxyError(f"{state}: {problem.strerror or type(problem).__name__}") from None
    return {
        "state": "at rest",
        "refuse": "",
        "consumers": [
            {
                "name": each.name,
                "state": "damaged" if each.damage else "ok",
                "error": each.damage,
                "records": each.lag.records,
                "bytes": each.lag.bytes,
                "since": each.lag.since,
                "positions": {str(uuid.UUID(bytes=journal)): at for journal, at in each.positions.items()},
            }
            for each in found
        ],
    }


def _show(told: Mapping[str, Any]) -> None:
    if told["state"] not in ("running", "at rest"):
        click.echo(f"the process that reads the trail: {inert(str(told['state']))}", err=True)
    if told["refuse"]:
        click.echo(f"new commands are refused: {inert(str(told['refuse']))}", err=True)
    if not told["consumers"]:
        click.echo("nobody reads the trail", err=True)
        return
    names = ["NAME", "TYPE", "STATE", "WAITING", "BYTES", "OLDEST", "CURSOR", "ERROR"]
    rows = [_row(each) for each in told["consumers"]]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(each: Mapping[str, Any]) -> list[str]:
    lag = Lag(records=each["records"], bytes=each["bytes"], since=each["since"])
    positions = [f"{name[-8:]}:{at}" for name, at in sorted(each["positions"].items())]
    what = str(each.get("type", "-")) + (" required" if each.get("required") else "")
    return [
        inert(str(each["name"])),
        inert(what),
        inert(str(each["state"])),
        str(lag.records),
        size(lag.bytes),
        duration(round(lag.seconds(time.time()) * 1e9)) if lag.since else "-",
        inert(" ".join(positions[-2:]) or "-"),
        inert(str(each["error"]) or "-"),
    ]
