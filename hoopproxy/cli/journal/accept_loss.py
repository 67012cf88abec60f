"""``hoopproxy journal accept-loss``: go on although committed records are damaged, and say so for ever."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hoopproxy.cli.journal.author import author
from hoopproxy.cli.journal.place import chosen, place_options, state_of
from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.events import AuditGap
from hoopproxy.journal.files import RealFiles
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.recovery import recover, sound_segments
from hoopproxy.journal.vault import sealing_at_rest
from hoopproxy.journal.watermark import read_mark
from hoopproxy.journal.writer import Journal

__all__ = ["accept_loss"]


@click.command()
@place_options
@click.option("--yes", is_flag=True, help="Do it. Without this, say what would be lost.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def accept_loss(
    config: Path | None, state: Path | None, journal_id: str | None, yes: bool, as_json: bool
) -> None:
    """Have a damaged journal continued after the damage. What is behind it in that segment is given up.

    The damaged segment stays as it is. A gap record and an `audit.gap` event, with who accepted it, take the
    place of what is lost. The gateway must not be running.
    """
    for folder in chosen(state_of(config, state), journal_id, config):
        told, sentence = _accept(folder, yes)
        name = folder.path.name
        click.echo(json.dumps({"journal": name, **told}) if as_json else f"{name}: {sentence}")


def _accept(folder: Folder, yes: bool) -> tuple[dict[str, object], str]:
    """What was found and done, and the same as a sentence."""
    locked = Folder(folder.path, folder.files, RealFiles().lock(folder.lock_file))
    locked.keyring = folder.keyring
    if not locked.is_locked:
        return {"state": "live"}, "a gateway writes it, so it isn't damaged; left alone"
    try:
        damage = _damage(locked)
        if damage is None:
            return (
                {"state": "sound"},
                "not damaged where it ends, and left alone: a gateway goes on in it (`journal check` reads all of it)",
            )
        if _is_beyond(locked):
            raise _Beyond(locked, damage)
        if not yes:
            sentence = f"{damage}\n  what follows in that segment would be given up; say --yes to do it"
            return {"state": "damaged", "problem": str(damage)}, sentence
        return _continue(locked)
    finally:
        locked.release()


def _damage(folder: Folder) -> Damaged | None:
    """Why the journal refuses to start. Cuts a torn tail, as the start itself would."""
    try:
        recover(folder)
    except Damaged as damage:
        return damage
    return None


def _is_beyond(folder: Folder) -> bool:
    """Whether it isn't the last segment's contents that are damaged: every reader's chain ends there."""
    try:
        return not sound_segments(folder, read_mark(folder.files, folder.watermark))
    except Damaged:
        return True


class _Beyond(HoopproxyError):
    """Nothing can be accepted as lost here; the sentence says what to do."""

    def __init__(self, folder: Folder, damage: Damaged) -> None:
        super().__init__(
            f"{damage}. This can't be continued: move the folder {folder.path} away whole, and the gateway "
            "begins a new journal"
        )


def _continue(folder: Folder) -> tuple[dict[str, object], str]:
    try:
        journal = Journal(folder, options=JournalOptions(), threaded=False, sealing=sealing_at_rest(folder))
        recovered = journal.start(accept_loss=True)
    except Damaged as damage:
        raise _Beyond(folder, damage) from None
    lost = recovered.lost
    assert lost is not None
    last = recovered.next_jseq - 1
    count = max(last - lost.first + 1, 0)
    why = f"an operator accepted the loss of segment {lost.segment} from byte {lost.offset} on: {lost.what}"
    voice, identity = author(journal)
    voice.say(AuditGap(why=why, records=count, bytes=0), outcome="success", identity=identity)
    failed: list[HoopproxyError] = []
    journal.stop(lambda problem: failed.append(problem) if problem is not None else None)
    if failed:
        raise failed[0]
    what = f"records {lost.first} to {last}" if count else "no record that was known of"
    told = {"state": "continued", "last": last, "lost": count, "first_lost": lost.first if count else None}
    return told, f"continues after record {last}; lost: {what}"
