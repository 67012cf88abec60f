"""``hoopproxy audit verify``: is what is on the disk what was sealed?"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import orjson

from hoopproxy.cli.audit.ledgers import key_options, keys_given, left_alone, place_options, places
from hoopproxy.cli.audit.options import archive_named, as_json, identity_option
from hoopproxy.cli.audit.screen import Bar
from hoopproxy.cli.damage import places_told, sessions_told, stretches_told
from hoopproxy.errors import HoopproxyError
from hoopproxy.inert import inert
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.record import Record
from hoopproxy.ledger.damage import Damage
from hoopproxy.ledger.report import Report
from hoopproxy.ledger.verify import Said, Verification
from hoopproxy.reading.journals import Looking

__all__ = ["verify"]

_EVERY = 64
"""Batches between looks at the clock."""


@click.command()
@place_options
@key_options
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A checkpoint that you kept elsewhere (the `note` of an audit.checkpoint). Can be given often.",
)
@click.option(
    "--lost",
    "lost",
    multiple=True,
    metavar="JOURNAL:RECORD",
    help="You know of the loss that an operator accepted and this record tells of. Can be given often.",
)
@identity_option
@as_json
@click.pass_context
def verify(
    ctx: click.Context,
    state: Path | None,
    config: Path | None,
    keys: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    lost: tuple[str, ...],
    as_json: bool,
) -> None:
    """Verify every journal against its tree, and the tree against its checkpoints. Changes nothing.

    Without --key or --checkpoint it only finds out whether the disk agrees with itself: whoever could change the
    journal, the tree and the newest key could make that so. Bring what you kept elsewhere.

    \b
      hoopproxy audit verify --state /var/lib/hoopproxy --key gateway.keys
      hoopproxy audit verify --config gateway.toml --checkpoint yesterday.note

    Where a journal is encrypted, the checkpoints in it are looked at by who opens its events: with the readers' key, of
    the state directory or as --config says, or with --identity-file.

    \b
    Exit codes: 0 all is what was sealed; 1 something is not, and each place of it is named; 2 wrong usage.
    """
    pins = keys_given(keys)
    kept = [Said(path.read_bytes(), str(path)) for path in checkpoints]
    found = places(state, config)
    looking = Looking(folder for folder, _ in found)
    with contextlib.closing(Bar(sys.stderr.isatty())) as bar:

        def progress(folder: Folder, record: Record) -> None:
            for _ in range(_EVERY):  # a batch stands for many records
                report = looking.report(folder, record)
                if report is not None:
                    bar.update(report)

        verification = Verification(pins, kept, progress, lost)
        for folder, ledger in found:
            try:
                verification.journal(folder, ledger, lags=archive_named() is not None)
            except OSError as error:
                raise HoopproxyError(f"{error.filename or folder.path}: {error.strerror}") from None
        for ledger in left_alone(state, config):
            verification.alone(ledger)
        reports = verification.finish()
    for report in reports:
        click.echo(_json(report) if as_json else _text(report, bool(pins or kept)))
    ctx.exit(0 if all(report.is_fine for report in reports) else 1)


def _json(report: Report) -> str:
    said = attrs.asdict(report)
    for name in ("erased", "unsalted"):
        said[name] = {str(event): count for event, count in said[name].items()}
    if report.damage is not None:
        said["damage"]["holds"] = report.damage.holds
    return orjson.dumps({**said, "fine": report.is_fine}).decode()


def _text(report: Report, has_anchor: bool) -> str:
    lines = [f"journal {report.journal}: " + ("fine" if report.is_fine else "NOT WHAT WAS SEALED")]
    if report.problem is not None:
        lines.append(f"  {inert(report.problem)}")
        if report.first_bad is not None:
            lines.append(f"  the first bad record is {report.first_bad}")
    lines.append(
        f"  {report.checked:,} records checked against a tree of {report.leaves:,} leaves, epoch {report.epochs}"
    )
    lines.append(f"  {report.checkpoints:,} checkpoints on record hold")
    for event, count in report.erased.items():
        lines.append(f"  {count:,} records were erased by event {event}; their commitments are left")
    for event, count in report.unsalted.items():
        order = f"event {event}" if event else "an order that this copy doesn't have yet"
        lines.append(
            f"  {count:,} records are of sessions that {order} erased; this copy still has them, and their salts are"
            " destroyed: nothing proves them"
        )
    for loss in report.lost:
        which = "records up to" if loss.first is None else f"records {loss.first} to"
        lines.append(
            f"  {which} {loss.last} are lost, as record {loss.gap} tells; {loss.sealed:,} of them are in the tree"
        )
    if report.retired:
        lines.append(f"  {report.retired:,} records are in the tree and no longer in the journal (retention)")
    if report.unsealed:
        lines.append(f"  {report.unsealed:,} records are newer than the newest checkpoint")
    if report.closed:
        lines.append(
            f"  {report.closed:,} events are encrypted and no key to them is at hand; they are what was sealed, but"
            " checkpoints among them were not looked at"
        )
    lines += [f"  note: {inert(note)}" for note in report.notes]
    if report.damage is not None:
        lines += [f"  {line}" for line in _damage(report.damage)]
    if not has_anchor:
        lines.append("  note: no key and no checkpoint was given: the disk was only held against itself")
    return "\n".join(lines)


def _damage(damage: Damage) -> Iterator[str]:
    """How far it reaches, and what holds nevertheless. Behind damage the chain says nothing: the leaves do."""
    yield from places_told(damage.places, damage.more)
    yield from sessions_told(damage.sessions, damage.perhaps, damage.more_sessions)
    if damage.by:
        yield f"{damage.intact:,} records are what leaves under {inert(damage.by)} say:"
        yield from stretches_told(damage.stretches, damage.more_stretches)
        if damage.erased:
            yield f"{damage.erased:,} of these are erased: only their commitments are left"
    else:
        yield "no signed checkpoint is of a tree that is here: of no record it is proven that it is what was sealed"
    if damage.changed:
        yield f"{damage.changed:,} records are not what was sealed"
    if damage.missing:
        yield f"{damage.missing:,} records were sealed and can't be read here"
    if damage.unproven:
        yield f"{damage.unproven:,} records can be read, and no leaf proves them"
    if damage.unsealed:
        yield f"{damage.unsealed:,} records are newer than that checkpoint"
    if damage.holds:
        yield "what holds nevertheless:"
        yield from (f"  {inert(each)}" for each in damage.holds)
