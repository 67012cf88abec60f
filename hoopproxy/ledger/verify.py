"""Journal against tree against checkpoints: whether what is on the disk is what was sealed. No reactor here.

Three things must fit. The *tree*: every tile is what the entries below it hash to, up to the newest checkpoint.
The *journal*: every record in the tree is there, in its place, unchanged (or erased, with its commitment left), and
none is between them that isn't in the tree. The *checkpoints*: each that is on record, or that somebody brings
from elsewhere, is signed by the epoch that was to sign it, and its root is that of the tree at its size.

What this proves rests on the keys and checkpoints that the asker brings. Without any, it only finds out whether
the disk agrees with itself, and the report says so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import attrs

from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.chain import recordless
from hoopproxy.journal.folder import Folder
from hoopproxy.ledger.assessment import Assessment, Candidate
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.comparison import Comparison, Progress
from hoopproxy.ledger.epoch import Epochs
from hoopproxy.ledger.folder import CHECKPOINT, COSIGNED, LedgerFolder
from hoopproxy.ledger.merkle import EMPTY, tree_hash
from hoopproxy.ledger.note import BadNote, Note, VerifierKey
from hoopproxy.ledger.report import Report, Unfit
from hoopproxy.ledger.tiles import Tiles

__all__ = ["Said", "Verification"]


@attrs.frozen
class Said:
    """A checkpoint that somebody has: of the trail (``jseq`` in ``where``), a file of the ledger (``is_ours``), or one
    of the asker's."""

    note: bytes
    where: str
    jseq: int | None = None
    is_ours: bool = False


class Verification:
    """Verify the journals of a state directory, one :meth:`journal` after the other, then :meth:`finish`.

    :param pins: public keys that the asker trusts. :param kept: checkpoints that the asker kept elsewhere.
    :param known: losses that an operator accepted and the asker knows of, as ``journal:gap record``.
    """

    def __init__(
        self,
        pins: Sequence[VerifierKey] = (),
        kept: Sequence[Said] = (),
        progress: Progress = lambda folder, record: None,
        known: Collection[str] = (),
    ) -> None:
        self._pins, self._kept, self._progress, self._known = pins, kept, progress, known
        self._said: dict[str, list[Said]] = {}
        self._trees: dict[str, tuple[Epochs, Tiles]] = {}
        self._where: dict[str, tuple[Folder, LedgerFolder, bool]] = {}
        self.reports: dict[str, Report] = {}

    def journal(self, folder: Folder, ledger: LedgerFolder, *, lags: bool = False) -> Report:
        """Verify one journal against its tree. What is wrong is in the report; ``OSError`` is raised.

        :param lags: it is a copy, which may end before the tree does: that is noted, and no problem.
        """
        report = self.reports[folder.path.name] = Report(journal=folder.path.name)
        self._where[folder.path.name] = folder, ledger, lags
        try:
            self._one(folder, ledger, report, lags)
        except Unfit as bad:
            report.problem, report.first_bad = str(bad), bad.jseq
        except (HoopproxyError, ValueError) as error:
            report.problem = str(error)
        return report

    def alone(self, ledger: LedgerFolder) -> None:
        """A tree is here, and its journal is not."""
        name = ledger.path.name
        self.reports[name] = Report(journal=name, problem="there is a tree for this journal, but no journal")

    def finish(self) -> list[Report]:
        """Hold every checkpoint that is known against the trees; of what is not fine, find out how far that reaches."""
        for absent in sorted(self._said.keys() - self.reports.keys()):
            report = next(iter(self.reports.values()))
            report.notes.append(
                f"{self._said[absent][-1].where} is of the journal {absent}, which is not here"
            )
        kept: dict[str, list[Candidate]] = {}
        for said in self._kept:
            name = self._owner(said)
            if name is not None:
                self._said.setdefault(name, []).append(said)
                kept.setdefault(name, []).append(Candidate(said.note, said.where))
            else:
                self._elsewhere(said)
        for name, report in self.reports.items():
            tree = self._trees.get(name)
            if tree is None:
                continue
            for said in self._said.get(name, []):
                try:
                    self._checkpoint(said, *tree, report)
                except (HoopproxyError, ValueError) as error:
                    report.problem = report.problem or _told(said, error)
                    if report.first_bad is None:
                        report.first_bad = said.jseq
        for name, report in self.reports.items():
            if not report.is_fine and name in self._where:
                self._assess(report, kept.get(name, []))
        return list(self.reports.values())

    def _assess(self, report: Report, kept: Sequence[Candidate]) -> None:
        """Read on behind the first thing that doesn't fit. The verdict stays."""
        folder, ledger, lags = self._where[report.journal]
        try:
            report.damage = Assessment(
                folder,
                ledger,
                pins=self._pins,
                kept=kept,
                lost=report.lost,
                lags=lags,
                told=self._progress,
            ).run()
        except (HoopproxyError, ValueError) as error:
            report.notes.append(f"what is behind it could not be looked at: {error}")

    def _elsewhere(self, said: Said) -> None:
        report = next(iter(self.reports.values()), None)
        if report is not None:
            report.problem = (
                report.problem or f"{said.where}: no ledger here has the origin of this checkpoint"
            )

    def _owner(self, said: Said) -> str | None:
        try:
            origin = Checkpoint.of(Note.parse(said.note)).origin
        except BadNote:
            return next(iter(self.reports), None)
        return next((name for name in self.reports if f"/{name}/" in f"{origin}/"), None)

    # -- one journal

    def _one(self, folder: Folder, ledger: LedgerFolder, report: Report, lags: bool) -> None:
        notes = ledger.epochs()
        if not notes:
            raise Unfit("there is no ledger for this journal")
        epochs = Epochs(notes)
        report.epochs, report.origin = len(epochs), epochs.last.origin
        witnessed = ledger.read_or_none(COSIGNED)  # before the newest, which is never older
        head = self._head(ledger, epochs, report)
        if witnessed is not None:
            said = Said(witnessed, COSIGNED, is_ours=True)
            self._said.setdefault(report.journal, []).append(said)
        for name in ledger.given_up():
            report.notes.append(f"an earlier tree was given up and is kept as {name}")
        report.leaves, report.root = head.size, head.root.hex()
        tiles = Tiles(ledger.read, head.size)
        self._trees[report.journal] = epochs, tiles
        Comparison(
            folder, tiles, head, report, lags, known=self._known, told=self._progress, say=self.say
        ).run()
        report.notes += [f"{damage}; nothing that is sealed depends on it" for damage in recordless(folder)]

    def _head(self, ledger: LedgerFolder, epochs: Epochs, report: Report) -> Checkpoint:
        data = ledger.read_or_none(CHECKPOINT)
        if data is None:
            if epochs.last.previous is not None:
                raise Unfit("the ledger's checkpoint is missing")
            report.notes.append("nothing is sealed yet")
            return Checkpoint(epochs.last.origin, 0, EMPTY)
        note = Note.parse(data)
        head = Checkpoint.of(note)
        epoch = epochs.signer(head, note)
        trusted = epochs.trusted(self._pins)
        report.pinned = epoch in trusted
        if self._pins and not report.pinned:
            raise Unfit(f"epoch {epoch.number} is vouched for by none of the keys that were given")
        for each, vouched in zip(epochs.all[1:], epochs.vouched[1:], strict=True):
            if not vouched:
                report.notes.append(f"nobody vouches for epoch {each.number} ({each.why})")
            if each.why in ("restored", "damaged", "key-lost"):
                report.notes.append(f"epoch {each.number} began because of this: {each.why}")
        return head

    def say(self, event: dict[str, Any], jseq: int) -> None:
        """The trail holds a checkpoint, of this journal or another."""
        said = event.get("event")
        if isinstance(said, dict):
            note = Said(str(said.get("note", "")).encode(), f"record {jseq} (audit.checkpoint)", jseq)
            self._said.setdefault(str(said.get("journal", "")), []).append(note)

    def _checkpoint(self, said: Said, epochs: Epochs, tiles: Tiles, report: Report) -> None:
        note = Note.parse(said.note)
        head = Checkpoint.of(note)
        own = {epoch.origin for epoch in epochs.all}
        if head.origin not in own:
            if head.origin in epochs.origins:
                what = f"is of a tree that was lost: {head.size} leaves, {head.origin}"
                if head.size <= tiles.size and tree_hash(head.size, tiles.hash_of) == head.root:
                    report.notes.append(f"{said.where} {what}; so many of the present one are the same")
                else:
                    _lost(said, report, what)
                return
            raise Unfit("this checkpoint's origin is that of no tree of this journal")
        epochs.signer(head, note)
        if head.size > tiles.size:
            lost = [each.previous for each in epochs.all if each.why == "restored" and each.previous]
            if any(each.origin == head.origin and head.size <= each.size for each in lost):
                _lost(said, report, "is newer than the ledger was when it was restored")
                return
            raise Unfit(
                f"a checkpoint of {head.size} leaves was signed, but the tree has {tiles.size}: its tail was cut off"
            )
        if tree_hash(head.size, tiles.hash_of) != head.root:
            raise Unfit(f"the tree of {head.size} leaves is not the one that was signed")
        report.checkpoints += 1


def _told(said: Said, error: Exception) -> str:
    return str(error) if str(error).startswith(said.where) else f"{said.where}: {error}"


def _lost(said: Said, report: Report, what: str) -> None:
    """A checkpoint of what this journal says it has lost. Of the trail's and the ledger's own that is a note. What
    somebody kept elsewhere was kept to be held against what is here, and whoever has the present key can say at any
    time that something was lost.
    """
    what = f"{said.where} {what}"
    if said.jseq is None and not said.is_ours:
        raise Unfit(what + ", and nothing here shows what it covered: find out why, and keep a newer one")
    report.notes.append(what)
