"""``hoopproxy journal check``: read every byte, and say where one isn't what was written."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import click

from hoopproxy.cli.audit.screen import Bar
from hoopproxy.cli.damage import places_told, sessions_told, stretches_told
from hoopproxy.cli.journal.place import chosen, place_options, state_of
from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import UnsupportedFormat
from hoopproxy.journal.record import Record
from hoopproxy.journal.survey import Broken, Checked, damage_of
from hoopproxy.journal.survey import check as look
from hoopproxy.reading.journals import Looking

__all__ = ["check"]


@click.command()
@place_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def check(
    ctx: click.Context, config: Path | None, state: Path | None, journal_id: str | None, as_json: bool
) -> None:
    """Check checksums, numbers, the chain of segments and the key file; exit with 1 at damage.

    Each damaged place is named, with the sessions that are known to be touched, and what can be read around it.

    A journal that is being written is checked up to what is durable. That the trail is the one that was
    sealed is for `hoopproxy audit verify` to say.
    """
    failed = False
    for folder in chosen(state_of(config, state), journal_id, config):
        name = folder.path.name
        try:
            with _progress(folder) as progress:
                found = look(folder, progress)
        except (Damaged, UnsupportedFormat) as problem:
            failed = True
            broken = _reach(folder)
            told = {"journal": name, "sound": False, "problem": str(problem)}
            if as_json:
                told["damage"] = None if broken is None else attrs.asdict(broken)
                click.echo(json.dumps(told))
            else:
                click.echo("\n  ".join([f"{name}: {problem}", *_damage(broken)]), err=True)
        else:
            told = {"journal": name, "sound": True, **attrs.asdict(found)}
            click.echo(json.dumps(told) if as_json else f"{name}: {_told(found)}")
    ctx.exit(1 if failed else 0)


def _reach(folder: Folder) -> Broken | None:
    """What is behind the first damage; ``None`` where nothing can be read."""
    with _progress(folder) as progress:
        try:
            return damage_of(folder, progress)
        except (HoopproxyError, OSError, ValueError):
            return None


@contextlib.contextmanager
def _progress(folder: Folder) -> Iterator[Callable[[Folder, Record], None]]:
    """A bar on a terminal, for a journal that takes long."""
    looking = Looking([folder])
    with contextlib.closing(Bar(sys.stderr.isatty())) as bar:

        def progress(folder: Folder, record: Record) -> None:
            report = looking.report(folder, record)
            if report is not None:
                bar.update(report)

        yield progress


def _damage(broken: Broken | None) -> Iterator[str]:
    if broken is None:
        return
    yield from places_told(broken.places, broken.more)
    yield from sessions_told(broken.sessions, broken.perhaps, broken.more_sessions)
    yield f"{broken.records:,} records are sound by their own checksums; behind damage only the ledger proves more:"
    yield from stretches_told(broken.stretches, broken.more_stretches)


def _told(found: Checked) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items()))
    text = f"sound: {found.records} records" + (f" ({kinds})" if kinds else "")
    for number, event in found.rewritten:
        text += f"\n  segment {number} was rewritten by the order of record {event}"
    return text
