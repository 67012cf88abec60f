"""``hoopproxy journal erase``: take the contents of sessions out of the trail, lawfully and on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import click

from hoopproxy.cli.journal.needed import readers_of
from hoopproxy.cli.journal.orders import put_on_record
from hoopproxy.cli.journal.place import chosen, control_of, place_options, state_of
from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditErasure
from hoopproxy.journal.erasure import Found, erase_from, find
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.holds import Holds
from hoopproxy.journal.upkeep import Upkeep

__all__ = ["erase"]

_NAMED: int = 500
"""Sessions that one event names: what is more is said in several."""


@click.command()
@place_options
@click.option("--session", metavar="ID", help="One session.")
@click.option("--identity", metavar="ID", help="All sessions of one identity.")
@click.option("--reason", required=True, help="For the record, which keeps it: write nothing personal here.")
@click.option("--yes", is_flag=True, help="Do it. Without this, say what would be erased.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def erase(
    config: Path | None,
    state: Path | None,
    journal_id: str | None,
    session: str | None,
    identity: str | None,
    reason: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase what sessions did and said: events and recordings become stubs, salts and data keys are destroyed.

    The seal over the trail stays good: it covers commitments, and a stub keeps its record's. A session that is
    open, or under a hold, is not erased. Copies that have left the journal are listed: they are not in reach.
    """
    if bool(session) == bool(identity):
        raise click.UsageError("say whose, once: --session or --identity")
    where = state_of(config, state)
    control, what = control_of(config, state), "session" if session else "identity"
    plans = [
        (folder, found)
        for folder, found in _plans(where, config, journal_id, session, identity)
        if found.keys
    ]
    if not plans:
        raise HoopproxyError(f"no {what} of that id is in the trail, or all of it is erased already")
    _check(plans, Holds(where))
    copies = [name for name in readers_of(where) if name not in _WITHOUT_COPIES]
    for folder, found in plans:
        if not yes:
            sentence = f"{_counted(len(found.sessions), 'session')} would be erased; say --yes to do it"
            _tell(folder, {"state": "would_erase", **_whose(found), "copies": copies}, sentence, as_json)
            continue
        with Upkeep(folder) as upkeep:
            ordered = AuditErasure(
                state="ordered",
                what=what,
                sessions=sorted(found.sessions)[:_NAMED],
                reason=reason,
                journal=folder.path.name,
            )
            jseq = 0
            for start in range(0, len(found.sessions), _NAMED):
                names = sorted(found.sessions)[start : start + _NAMED]
                jseq = put_on_record(folder, attrs.evolve(ordered, sessions=names), control)
            done = erase_from(upkeep, found.keys, ordered_by=jseq)
            completed = attrs.evolve(
                ordered,
                state="completed",
                sessions=(),
                records=done.records,
                segments=done.segments,
                keys=done.keys,
            )
            put_on_record(folder, completed, control)
        sentence = (
            f"{_counted(done.records, 'record')} of"
            f" {_counted(len(found.sessions), 'session')} erased in {_counted(done.segments, 'segment')},"
            f" {_counted(done.keys, 'key')} destroyed"
        )
        counts = {"records": done.records, "segments": done.segments, "keys": done.keys}
        _tell(folder, {"state": "erased", **_whose(found), **counts, "copies": copies}, sentence, as_json)
    if copies and not as_json:
        click.echo(
            "These readers of the trail may have copies, which are not erased by this: " + ", ".join(copies)
        )


def _whose(found: Found) -> dict[str, object]:
    return {"sessions": sorted(found.sessions)}


def _tell(folder: Folder, told: dict[str, object], sentence: str, as_json: bool) -> None:
    name = folder.path.name
    click.echo(json.dumps({"journal": name, **told}) if as_json else f"{name}: {sentence}")


def _plans(
    state: Path, config: Path | None, journal_id: str | None, session: str | None, identity: str | None
) -> Iterator[tuple[Folder, Found]]:
    for folder in chosen(state, journal_id, config):
        yield folder, find(folder, session=session, identity=identity)


def _check(plans: list[tuple[Folder, Found]], holds: Holds) -> None:
    for folder, found in plans:
        if found.open:
            raise HoopproxyError(
                f"{folder.path.name}: session {min(found.open)} is still open; end it first"
                " (hoopproxy sessions kill)"
            )
        for whose in found.whose:
            for hold in holds:
                if hold.covers(whose):
                    raise HoopproxyError(
                        f"session {whose.session} is under a hold on {hold.kind} {json.dumps(hold.value)}"
                        f" since {hold.since}; nothing was erased"
                    )


_WITHOUT_COPIES: Final = ("ledger", "index")
"""Digests are no copies; the index lets go of what is erased."""


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
