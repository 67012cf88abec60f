"""``hoopproxy journal compact``: let expire what is over its time."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import MappingProxyType

import click

from hoopproxy.cli.journal.needed import needed_from
from hoopproxy.cli.journal.orders import put_on_record
from hoopproxy.cli.journal.place import chosen, control_of, place_options, state_of
from hoopproxy.config import Config, load
from hoopproxy.discovery import installed
from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditRetention
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.holds import Holds
from hoopproxy.journal.retention import Days, Done, Policy, carry_out, due
from hoopproxy.journal.upkeep import Upkeep

__all__ = ["compact"]

_NICENESS = 15


@click.command()
@place_options
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--events-days", type=int, help="With --state: as [retention] events_days.")
@click.option("--payload-days", type=int, help="With --state: as [retention] payload_days.")
@click.option("--nice", is_flag=True, help="At low priority.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def compact(
    ctx: click.Context,
    config: Path | None,
    state: Path | None,
    journal_id: str | None,
    dry_run: bool,
    events_days: int | None,
    payload_days: int | None,
    nice: bool,
    as_json: bool,
) -> None:
    """Let expire what is over the time of `[retention]`: bodies become stubs, whole segments are removed.

    What is under a hold stays, and so does what a required reader has not had. The order is an event before
    anything is touched. A running gateway does this by itself.
    """
    if nice:
        os.nice(_NICENESS)
    where = state_of(config, state)
    read = None if config is None else _read(config)
    policy = _policy(read, events_days, payload_days)
    holds, failed = Holds(where), False
    for folder in chosen(where, journal_id, config):
        needed = needed_from(where, folder.id)
        try:
            done = _compact(folder, policy, holds, needed, control_of(config, state), dry_run)
        except HoopproxyError as problem:
            failed = True
            told: dict[str, object] = {"state": "failed", "problem": str(problem)}
            _tell(folder, told, str(problem), as_json, err=True)
        else:
            _tell(folder, *done, as_json)
    ctx.exit(1 if failed else 0)


def _tell(folder: Folder, told: dict[str, object], sentence: str, as_json: bool, err: bool = False) -> None:
    name = folder.path.name
    if as_json:
        click.echo(json.dumps({"journal": name, **told}))
    else:
        click.echo(f"{name}: {sentence}", err=err)


def _read(path: Path) -> Config:
    plugins = installed(lambda _: None)
    return load(path, protocols=plugins.protocols, checkers=plugins.checkers, schemes=plugins.schemes)


def _policy(config: Config | None, events_days: int | None, payload_days: int | None) -> Policy:
    given = (events_days, payload_days)
    if config is None:
        if None in given:
            raise click.UsageError("with --state, say --events-days and --payload-days (0: for ever)")
        assert events_days is not None
        assert payload_days is not None
        if min(events_days, payload_days) < 0:
            raise click.UsageError("a number of days is 0 (for ever) or more")
        return Policy(default=Days(events=events_days, payload=payload_days))
    if given != (None, None):
        raise click.UsageError("with --config, the configuration says how long: leave the days out")
    wanted = config.retention
    targets = {
        name: Days(events=each.events_days, payload=each.payload_days)
        for name, each in wanted.targets.items()
    }
    return Policy(
        default=Days(events=wanted.events_days, payload=wanted.payload_days),
        targets=MappingProxyType(targets),
    )


def _compact(
    folder: Folder, policy: Policy, holds: Holds, needed: int, control: Path, dry_run: bool
) -> tuple[dict[str, object], str]:
    """What was done, and the same as a sentence."""
    now, name = time.time_ns(), folder.path.name
    with Upkeep(folder) as upkeep:
        numbers = due(folder, policy, holds, now=now, needed_from=needed)
        if folder.is_live and numbers:
            numbers = [number for number in numbers if number != folder.segments()[-1]]
        if not numbers:
            return {"state": "nothing_due"}, "nothing is due"
        if dry_run:
            told = {"state": "due", "segments": len(numbers), "first": numbers[0], "last": numbers[-1]}
            return told, f"{len(numbers)} segments are due, {numbers[0]} to {numbers[-1]}"
        ordered = AuditRetention(state="ordered", journal=name, segments=len(numbers))
        jseq = put_on_record(folder, ordered, control)
        done = carry_out(upkeep, policy, holds, now=now, needed_from=needed, ordered_by=jseq)
        put_on_record(folder, _completed(name, done), control)
    sentence = (
        f"{done.stubs} records expired in {done.rewritten} segments,"
        f" {done.segments_removed} segments removed, {done.bytes_freed / (1 << 20):.1f} MiB freed"
    )
    return {
        "state": "compacted",
        "records": done.stubs,
        "segments": done.rewritten,
        "segments_removed": done.segments_removed,
        "bytes_freed": done.bytes_freed,
    }, sentence


def _completed(name: str, done: Done) -> AuditRetention:
    first, last = done.removed or (None, None)
    return AuditRetention(
        state="completed",
        journal=name,
        segments=done.rewritten,
        records=done.stubs,
        segments_removed=done.segments_removed,
        removed_from=first,
        removed_to=last,
    )
