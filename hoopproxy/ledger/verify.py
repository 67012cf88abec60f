"""Journal against tree against checkpoints: whether what is on the disk is what was sealed. No reactor here.

Three things must fit. The *tree*: every tile is what the entries below it hash to, up to the newest checkpoint.
The *journal*: every record in the tree is there, in its place, unchanged (or erased, with its commitment left), and
none is between them that isn't in the tree. The *checkpoints*: each that is on record, or that somebody brings
from elsewhere, is signed by the epoch that was to sign it, and its root is that of the tree at its size.

What this proves rests on the keys and checkpoints that the asker brings. Without any, it only finds out whether
the disk agrees with itself, and the report says so.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

import attrs
import orjson

from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import REWRITTEN, Kind, SegmentHeader
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.reader import JournalReader, Record
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.epoch import Epochs
from hoopproxy.ledger.folder import CHECKPOINT, LedgerFolder
from hoopproxy.ledger.leaf import BadLeaf, Leaf, Mismatch, Sealed, leaves_of, marker_of
from hoopproxy.ledger.merkle import EMPTY, HASH_SIZE, fold, leaf_hash, tree_hash
from hoopproxy.ledger.note import BadNote, Note, VerifierKey
from hoopproxy.ledger.sealer import Salts
from hoopproxy.ledger.tiles import ENTRIES, WIDTH, Tiles, tile_path

__all__ = ["Report", "Said", "Verification"]

_BATCH: Final = 512
_NO_SALT: Final = bytes(16)

Progress = Callable[[Folder, Record], None]


class _Bad(HoopproxyError):
    """The first thing that doesn't fit. ``jseq`` names the record, if it is one."""

    def __init__(self, what: str, jseq: int | None = None) -> None:
        super().__init__(what)
        self.jseq = jseq


@attrs.frozen
class Said:
    """A checkpoint that somebody has: of the trail (``jseq`` in ``where``), or a file of the asker's."""

    note: bytes
    where: str
    jseq: int | None = None


@attrs.define(kw_only=True)
class Report:
    """What was found of one journal. ``problem`` is the first thing that doesn't fit; ``None``: all does.

    :ivar leaves: under the newest checkpoint, and ``sealed``: the records in those that were looked at.
    :ivar checked: records that are what was sealed.
    :ivar erased: by event (its ``jseq``): records that were lawfully erased.
    :ivar unsalted: by event: records that it erased where they came from, and that this copy still has; their salts
        are destroyed, so nothing proves them. 0: the copy ends before the order. :ivar retired: records that the
        tree has and the journal's retention took. :ivar unsealed: records after the newest checkpoint.
    :ivar closed: events that are encrypted and could not be read: checkpoints among them were not looked at.
    :ivar pinned: a key that the asker brought vouches for the newest checkpoint.
    """

    journal: str
    origin: str = ""
    epochs: int = 0
    leaves: int = 0
    sealed: int = 0
    root: str = ""
    checked: int = 0
    retired: int = 0
    unsealed: int = 0
    closed: int = 0
    checkpoints: int = 0
    erased: dict[int, int] = attrs.field(factory=dict)
    unsalted: dict[int, int] = attrs.field(factory=dict)
    pinned: bool = False
    notes: list[str] = attrs.field(factory=list)
    problem: str | None = None
    first_bad: int | None = None

    @property
    def is_fine(self) -> bool:
        """Whether nothing was found that doesn't fit."""
        return self.problem is None


class Verification:
    """Verify the journals of a state directory, one :meth:`journal` after the other, then :meth:`finish`.

    :param pins: public keys that the asker trusts. :param kept: checkpoints that the asker kept elsewhere.
    """

    def __init__(
        self,
        pins: Sequence[VerifierKey] = (),
        kept: Sequence[Said] = (),
        progress: Progress = lambda folder, record: None,
    ) -> None:
        self._pins, self._kept, self._progress = pins, kept, progress
        self._said: dict[str, list[Said]] = {}
        self._trees: dict[str, tuple[Epochs, Tiles]] = {}
        self.reports: dict[str, Report] = {}

    def journal(self, folder: Folder, ledger: LedgerFolder, *, lags: bool = False) -> Report:
        """Verify one journal against its tree. What is wrong is in the report; ``OSError`` is raised.

        :param lags: it is a copy, which may end before the tree does: that is noted, and no problem.
        """
        report = self.reports[folder.path.name] = Report(journal=folder.path.name)
        try:
            self._one(folder, ledger, report, lags)
        except _Bad as bad:
            report.problem, report.first_bad = str(bad), bad.jseq
        except (HoopproxyError, ValueError) as error:
            report.problem = str(error)
        return report

    def finish(self) -> list[Report]:
        """Hold every checkpoint that is known against the trees."""
        for said in self._kept:
            name = self._owner(said)
            if name is not None:
                self._said.setdefault(name, []).append(said)
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
                    report.problem = report.problem or f"{said.where}: {error}"
                    if report.first_bad is None:
                        report.first_bad = said.jseq
        return list(self.reports.values())

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
            raise _Bad("there is no ledger for this journal")
        epochs = Epochs(notes)
        report.epochs, report.origin = len(epochs), epochs.last.origin
        head = self._head(ledger, epochs, report)
        for name in ledger.given_up():
            report.notes.append(f"an earlier tree was given up and is kept as {name}")
        report.leaves, report.root = head.size, head.root.hex()
        tiles = Tiles(ledger.read, head.size)
        self._trees[report.journal] = epochs, tiles
        _Comparison(self, folder, tiles, head, report, lags).run()

    def _head(self, ledger: LedgerFolder, epochs: Epochs, report: Report) -> Checkpoint:
        data = ledger.read_or_none(CHECKPOINT)
        if data is None:
            if epochs.last.previous is not None:
                raise _Bad("the ledger's checkpoint is missing")
            report.notes.append("nothing is sealed yet")
            return Checkpoint(epochs.last.origin, 0, EMPTY)
        note = Note.parse(data)
        head = Checkpoint.of(note)
        epoch = epochs.signer(head, note)
        trusted = epochs.trusted(self._pins)
        report.pinned = epoch in trusted
        if self._pins and not report.pinned:
            raise _Bad(f"epoch {epoch.number} is vouched for by none of the keys that were given")
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

    def told(self, folder: Folder, record: Record) -> None:
        """One more batch was read."""
        self._progress(folder, record)

    def _checkpoint(self, said: Said, epochs: Epochs, tiles: Tiles, report: Report) -> None:
        note = Note.parse(said.note)
        head = Checkpoint.of(note)
        own = {epoch.origin for epoch in epochs.all}
        if head.origin not in own:
            if head.origin in epochs.origins:
                report.notes.append(
                    f"{said.where} is of a tree that was lost: {head.size} leaves, {head.origin}"
                )
                return
            raise _Bad("this checkpoint's origin is that of no tree of this journal")
        epochs.signer(head, note)
        if head.size > tiles.size:
            lost = [each.previous for each in epochs.all if each.why == "restored" and each.previous]
            if any(each.origin == head.origin and head.size <= each.size for each in lost):
                report.notes.append(f"{said.where} is newer than the ledger was when it was restored")
                return
            raise _Bad(
                f"a checkpoint of {head.size} leaves was signed, but the tree has {tiles.size}: its tail was cut off"
            )
        if tree_hash(head.size, tiles.hash_of) != head.root:
            raise _Bad(f"the tree of {head.size} leaves is not the one that was signed")
        report.checkpoints += 1


class _Comparison:
    """One pass over a journal and the leaves of its tree, side by side."""

    def __init__(
        self,
        verification: Verification,
        folder: Folder,
        tiles: Tiles,
        head: Checkpoint,
        report: Report,
        lags: bool,
    ) -> None:
        self._verification, self._folder, self._lags = verification, folder, lags
        self._tiles, self._head, self._report = tiles, head, report
        self._salts, self._marker = Salts(folder), marker_of(folder.path.name)
        self._headers: dict[int, SegmentHeader] = {}
        self._counts: dict[int, int] = {}
        self._unsalted: dict[int, tuple[int, int]] = {}  # of each key: how many records, and the first
        self._orders: dict[str, int] = {}  # session: the event that erased it
        self._last = 0
        self._ends: int | None = None  # the first record that is sealed and beyond the journal's end

    def run(self) -> None:
        """:raises _Bad: at the first thing that doesn't fit."""
        leaves = self._leaves()
        try:
            with JournalReader(self._folder) as reader:
                self._walk(iter(reader), leaves)
        except Damaged as error:
            raise _Bad(str(error), self._last + 1) from error
        finally:
            self._salts.close()
        ends = self._ends
        if ends is not None and not self._lags:
            raise _Bad(f"record {ends} was sealed, but the journal ends before it", ends)
        if ends is not None:
            self._report.notes.append(f"this copy ends before record {ends}, which is sealed: not here yet")
        if self._unsalted:
            self._find_orders(is_whole=ends is None)

    def _find_orders(self, is_whole: bool) -> None:
        """Each session without a salt was erased by an order that is on record."""
        report = self._report
        keys = KeyFile.open(self._folder.files, self._folder.keys, self._folder.id)
        try:
            for key_id, (count, first) in self._unsalted.items():
                by = self._orders.get(str(uuid.UUID(bytes=keys.get(key_id).session)), 0)
                if not by and is_whole and not report.closed:
                    raise _Bad(f"the salt of record {first} was destroyed, but nobody ordered that", first)
                report.unsalted[by] = report.unsalted.get(by, 0) + count
                report.checked -= count
        finally:
            keys.close()

    def _walk(self, records: Iterator[Record], leaves: Iterator[bytes]) -> None:
        first = next(records, None)
        if first is None:
            return
        records = chain([first], records)
        for data in leaves:
            leaf = self._leaf(data)
            self._report.sealed += len(leaf)
            gone = min(max(first.jseq - leaf.jseq, 0), len(leaf))
            self._report.retired += gone
            if gone == len(leaf):
                continue
            batch = list(islice(records, len(leaf) - gone))
            self._side_by_side(batch, leaf, data, gone)
            if len(batch) < len(leaf) - gone:
                self._ends = leaf.jseq + gone + len(batch)
                return
        while batch := list(islice(records, _BATCH)):
            self._report.unsealed += len(batch)
            self._read(batch)

    def _leaf(self, data: bytes) -> Leaf:
        try:
            return Leaf.decode(data)
        except BadLeaf as error:
            raise _Bad(str(error), self._last + 1) from error

    def _side_by_side(self, batch: Sequence[Record], leaf: Leaf, data: bytes, gone: int) -> None:
        """Records, and the leaf that they were sealed in; ``gone``: how many of it the journal no longer has."""
        is_plain = not gone and all(record.kind != Kind.STUB for record in batch)
        if not is_plain or leaves_of(batch, self._salts.__getitem__, self._marker, len(leaf)) != [data]:
            for record, sealed in zip(batch, leaf.records[gone:], strict=False):
                self._pair(record, sealed)
        self._report.checked += len(batch)
        if batch:
            self._read(batch)

    def _read(self, batch: Sequence[Record]) -> None:
        self._collect(batch)
        self._last = batch[-1].jseq
        self._verification.told(self._folder, batch[-1])

    def _pair(self, record: Record, leaf: Sealed) -> None:
        """One record and what was sealed of it, looked at closely."""
        if leaf.jseq < record.jseq:
            raise _Bad(
                f"record {leaf.jseq} was sealed, but is missing: record {record.jseq} follows", leaf.jseq
            )
        if leaf.jseq > record.jseq:
            raise _Bad(
                f"record {record.jseq} is in the journal, but was never sealed: {leaf.jseq} is in its place",
                record.jseq,
            )
        if self._lags and record.kind != Kind.STUB and self._salts[record.key_id] == _NO_SALT:
            count, first = self._unsalted.get(record.key_id, (0, record.jseq))
            self._unsalted[record.key_id] = count + 1, first
            try:
                leaf.check_place(record, self._marker)
            except Mismatch as error:
                raise _Bad(str(error), record.jseq) from error
            return
        if record.kind == Kind.STUB:
            by = self._header(record.segment).rewritten_by
            self._report.erased[by] = self._report.erased.get(by, 0) + 1
        try:
            leaf.check(record, self._salts[record.key_id] if record.kind != Kind.STUB else b"", self._marker)
        except (Mismatch, ValueError) as error:
            raise _Bad(str(error), record.jseq) from error

    def _header(self, number: int) -> SegmentHeader:
        if number not in self._headers:
            self._headers = {header.number: header for header in sound_segments(self._folder)}
        header = self._headers[number]
        if not header.flags & REWRITTEN:
            raise _Bad(f"segment {number} holds erased records, but doesn't say who ordered that")
        return header

    def _collect(self, batch: Sequence[Record]) -> None:
        for record in batch:
            if record.is_closed and record.kind == Kind.EVENT:
                self._report.closed += 1
            if record.key_id != 0 or record.kind != Kind.EVENT:
                continue
            if b'"kind":"audit.erasure"' in record.body:
                self._order(orjson.loads(record.body), record.jseq)
            elif b'"kind":"audit.checkpoint"' in record.body:
                event = orjson.loads(record.body)
                if event.get("kind") == "audit.checkpoint":
                    self._verification.say(event, record.jseq)

    def _order(self, event: dict[str, Any], jseq: int) -> None:
        if event.get("kind") == "audit.erasure":
            for session in event["event"].get("sessions", ()):
                self._orders.setdefault(session, jseq)

    def _leaves(self) -> Iterator[bytes]:
        """Every leaf; its bundle and its tile are checked before it is given, and in the end all of the tiles."""
        tiles = self._tiles
        edge: list[list[bytes]] = [[]]
        for number in range(-(-tiles.size // WIDTH)):
            leaves = tiles.leaves(number)
            hashes = [leaf_hash(leaf) for leaf in leaves]
            if b"".join(hashes) != tiles.hashes(0, number):
                raise self._differing(number, leaves, hashes)
            if len(hashes) == WIDTH:
                self._fill(edge, fold(hashes))
            yield from leaves
        for level, hashes in enumerate(edge, 1):
            self._same(level, (tiles.size >> 8 * level) // WIDTH, hashes)
        if tiles.root() != self._head.root:
            raise _Bad("the tree's root is not the one that was signed")

    def _fill(self, edge: list[list[bytes]], found: bytes) -> None:
        """One more full tile at the lowest level."""
        for level in range(1, 8):
            if len(edge) < level:
                edge.append([])
            hashes = edge[level - 1]
            hashes.append(found)
            if len(hashes) < WIDTH:
                return
            self._counts[level] = self._counts.get(level, -1) + 1
            self._same(level, self._counts[level], hashes)
            found = fold(hashes)
            hashes.clear()

    def _same(self, level: int, number: int, hashes: list[bytes]) -> None:
        if hashes and self._tiles.hashes(level, number) != b"".join(hashes):
            raise _Bad(f"{tile_path(level, number, len(hashes))} is not what the tiles below it hash to")

    def _differing(self, number: int, leaves: list[bytes], made: list[bytes]) -> _Bad:
        """Which leaf of a bundle is not what its tile says."""
        stored = self._tiles.hashes(0, number)
        place = next(
            index
            for index, each in enumerate(made)
            if stored[index * HASH_SIZE : (index + 1) * HASH_SIZE] != each
        )
        width = len(made)
        bundle, tile = tile_path(ENTRIES, number, width), tile_path(0, number, width)
        what = f"leaf {number * WIDTH + place} in {bundle} is not what {tile} has for it"
        try:
            return _Bad(what, Leaf.decode(leaves[place]).jseq)
        except BadLeaf:
            return _Bad(what)
