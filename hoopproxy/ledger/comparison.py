"""A journal beside its tree: whether each record is there, in its place, as it was sealed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

import orjson

from hoopproxy.errors import Damaged
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import REWRITTEN, Kind, SegmentHeader
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.leaf import BadLeaf, Leaf, Mismatch, Sealed, leaves_of, marker_of
from hoopproxy.ledger.losses import Loss, is_gap, loss_of
from hoopproxy.ledger.merkle import HASH_SIZE, fold, leaf_hash
from hoopproxy.ledger.orders import KINDS, Orders
from hoopproxy.ledger.report import Report, Unfit
from hoopproxy.ledger.salts import Salts
from hoopproxy.ledger.tiles import ENTRIES, WIDTH, Tiles, tile_path

__all__ = ["Comparison", "Progress"]

_BATCH: Final = 512
_NO_SALT: Final = bytes(16)
_LONG_NS: Final = 60 * 10**9
_ORDERS: Final = tuple(f'"kind":"{kind}"'.encode() for kind in KINDS)

Progress = Callable[[Folder, Record], None]


class Comparison:
    """One pass over a journal and the leaves of its tree, side by side.

    :param lags: the journal is a copy, which may end before the tree does. :param known: the losses that the asker
        knows of, as ``journal:gap record``. :param told: called after each batch, with its last record. :param say:
        called with each checkpoint that is on record, and the record's ``jseq``.
    """

    def __init__(
        self,
        folder: Folder,
        tiles: Tiles,
        head: Checkpoint,
        report: Report,
        lags: bool,
        *,
        known: Collection[str] = (),
        told: Progress,
        say: Callable[[dict[str, Any], int], None],
    ) -> None:
        self._folder, self._lags, self._told, self._say = folder, lags, told, say
        self._known = known
        self._tiles, self._head, self._report = tiles, head, report
        self._salts, self._marker = Salts(folder), marker_of(folder.path.name)
        self._headers: dict[int, SegmentHeader] = {}
        self._counts: dict[int, int] = {}
        self._unsalted: dict[int, tuple[int, int]] = {}  # of each key: how many records, and the first
        self._orders = Orders()
        self._unread: set[int] = set()  # events that are said to be orders, and can't be read any more
        self._first = self._last = 0
        self._sealed_from = self._sealed_to = 0  # the first and the last record that were sealed
        self._loss: Loss | None = None  # the one that the leaves are in now
        self._ends: int | None = None  # the first record that is sealed and beyond the journal's end

    def run(self) -> None:
        """:raises Unfit: at the first thing that doesn't fit."""
        leaves = self._leaves()
        try:
            with JournalReader(self._folder) as reader:
                self._walk(iter(reader), leaves)
        except Damaged as error:
            raise Unfit(str(error), self._last + 1) from error
        finally:
            self._salts.close()
        ends = self._ends
        if ends is not None and not self._lags:
            raise Unfit(f"record {ends} was sealed, but the journal ends before it", ends)
        if ends is not None:
            self._report.notes.append(f"this copy ends before record {ends}, which is sealed: not here yet")
        if self._unsalted:
            self._find_orders(is_whole=ends is None)
        self._orders.finish()
        self._account_for_erased()
        self._account_for_retired()
        self._account_for_lost()

    def _account_for_erased(self) -> None:
        """Each stub was ordered by an event that is on record behind it."""
        for by in sorted(self._report.erased):
            if by in self._orders.events or (self._lags and by > self._last):
                continue
            if any(loss.covers(by) for loss in self._report.lost):
                self._report.notes.append(f"event {by}, which is said to have ordered an erasing, is lost")
                continue
            if by not in self._unread:
                raise Unfit(
                    f"records were erased, and event {by}, which is said to have ordered it, did not", by
                )
            self._report.notes.append(f"event {by}, which is said to have ordered an erasing, can't be read")

    def _account_for_retired(self) -> None:
        """What the journal no longer begins with was removed by retention, whose own events tell it."""
        report = self._report
        if not report.retired or self._lags or self._orders.removed_to >= self._first - 1:
            return
        what = (
            f"the journal begins with record {self._first}, and nothing on record says that retention removed what was"
            " before: it was moved away, or removed by somebody else"
        )
        if not (report.closed or report.erased or report.lost or self._orders.interrupted):
            raise Unfit(what, self._sealed_from)
        report.notes.append(
            what + "; the event that would say so may be one that was interrupted, is lost or can't be read"
        )

    def _account_for_lost(self) -> None:
        """Who gives up what was sealed may have had a reason of his own: somebody has to look, and to say so."""
        for loss in self._report.lost:
            if not loss.sealed:
                continue
            count = "1 sealed record" if loss.sealed == 1 else f"{loss.sealed:,} sealed records"
            what = f"{count} before record {loss.gap} {'is' if loss.sealed == 1 else 'are'} lost"
            first = loss.first
            if loss.gap > self._sealed_to:
                raise Unfit(
                    f"{what}, and that record, which says that this was accepted, is not sealed yet", first
                )
            if first is None:
                raise Unfit(
                    f"{what}, and that record, which may say that this was accepted, can't be read", first
                )
            name = f"{self._report.journal}:{loss.gap}"
            if name not in self._known:
                raise Unfit(
                    f"{what}: an operator accepted that, and the event after that record says who. When you have looked"
                    f" at it, --lost {name} makes it no problem any more",
                    first,
                )

    def _find_orders(self, is_whole: bool) -> None:
        """Each session without a salt was erased by an order that is on record."""
        report = self._report
        keys = KeyFile.open(self._folder.files, self._folder.keys, self._folder.id)
        try:
            for key_id, (count, first) in self._unsalted.items():
                by = self._orders.of(str(uuid.UUID(bytes=keys.get(key_id).session)))
                if not by and is_whole and not report.closed and not report.lost:
                    raise Unfit(f"the salt of record {first} was destroyed, but nobody ordered that", first)
                report.unsalted[by] = report.unsalted.get(by, 0) + count
                report.checked -= count
        finally:
            keys.close()

    def _walk(self, records: Iterator[Record], leaves: Iterator[bytes]) -> None:
        first = next(records, None)
        if first is None:
            return self._emptied(leaves)
        self._first, records = first.jseq, chain([first], records)
        loss = self._loss_before(first)
        if loss is not None and loss.first is not None:
            self._first = min(loss.first, first.jseq)
        for data in leaves:
            leaf = self._leaf(data)
            self._sealed_from, self._sealed_to = self._sealed_from or leaf.jseq, leaf.last
            self._report.sealed += len(leaf)
            gone = min(max(self._first - leaf.jseq, 0), len(leaf))
            self._report.retired += gone
            if gone == len(leaf) or self._is_lost(leaf.jseq + gone, leaf.last):
                continue
            batch = list(islice(records, len(leaf) - gone))
            wanted = len(leaf) - gone
            if batch and batch[-1].jseq != leaf.jseq + gone + len(batch) - 1:
                batch, behind = self._without_lost(batch, leaf.jseq + gone, leaf.last)
                records = chain(behind, records)
                wanted = len(batch) if behind else wanted
            self._side_by_side(batch, leaf, data, gone)
            if len(batch) < wanted:
                self._ends = leaf.jseq + gone + len(batch)
                return
        self._unsealed(records)

    def _is_lost(self, first: int, last: int) -> bool:
        """Whether all of these sealed records are in the loss that the leaves have come to."""
        loss = self._loss
        if loss is None or not (loss.covers(first) and loss.covers(last)):
            return False
        loss.sealed += last - first + 1
        return True

    def _without_lost(self, batch: list[Record], first: int, last: int) -> tuple[list[Record], list[Record]]:
        """A batch that leaves out a number from ``first`` on: what is before an accepted loss, and what is behind it.
        All of it, and nothing, if no loss accounts for what is missing.
        """
        at = next(at for at, record in enumerate(batch) if record.jseq != first + at)
        loss = self._loss_before(batch[at])
        if loss is None or not (loss.covers(first + at) and loss.covers(last)):
            return batch, []
        self._loss = loss
        self._is_lost(first + at, last)
        return batch[:at], batch[at:]

    def _loss_before(self, record: Record) -> Loss | None:
        """The accepted loss in whose place a record stands; each is told of once, where it is come to."""
        if record.kind != Kind.GAP or not is_gap(record, self._any_header(record.segment)):
            return None
        known = self._report.lost
        if not known or known[-1].gap != record.jseq:
            try:
                known.append(loss_of(record))
            except ValueError as error:
                raise Unfit(str(error), record.jseq) from error
        return known[-1]

    def _unsealed(self, records: Iterator[Record]) -> None:
        """What is newer than the newest checkpoint: of a second or so, while the process that seals runs."""
        report, since, until = self._report, 0, 0
        while batch := list(islice(records, _BATCH)):
            report.unsealed += len(batch)
            self._read(batch)
            times = [record.time for record in batch if not _is_quiet(record)]
            since, until = since or min(times, default=0), max([until, *times])
        if until - since > _LONG_NS:
            report.notes.append(
                f"the records that are newer than the newest checkpoint are of {(until - since) // 10**9} s: nothing"
                " sealed them meanwhile, or an older checkpoint was put in its place"
            )

    def _emptied(self, leaves: Iterator[bytes]) -> None:
        """There is no record. Retention never takes the last one."""
        data = next(leaves, None)
        if data is not None:
            self._ends = self._leaf(data).jseq

    def _leaf(self, data: bytes) -> Leaf:
        try:
            return Leaf.decode(data)
        except BadLeaf as error:
            raise Unfit(str(error), self._last + 1) from error

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
        self._told(self._folder, batch[-1])

    def _pair(self, record: Record, leaf: Sealed) -> None:
        """One record and what was sealed of it, looked at closely."""
        if leaf.jseq < record.jseq:
            raise Unfit(
                f"record {leaf.jseq} was sealed, but is missing: record {record.jseq} follows", leaf.jseq
            )
        if leaf.jseq > record.jseq:
            raise Unfit(
                f"record {record.jseq} is in the journal, but was never sealed: {leaf.jseq} is in its place",
                record.jseq,
            )
        if self._lags and record.kind != Kind.STUB and self._salts[record.key_id] == _NO_SALT:
            count, first = self._unsalted.get(record.key_id, (0, record.jseq))
            self._unsalted[record.key_id] = count + 1, first
            try:
                leaf.check_place(record, self._marker)
            except Mismatch as error:
                raise Unfit(str(error), record.jseq) from error
            return
        if record.kind == Kind.STUB:
            by = self._header(record.segment).rewritten_by
            self._report.erased[by] = self._report.erased.get(by, 0) + 1
        try:
            leaf.check(record, self._salts[record.key_id] if record.kind != Kind.STUB else b"", self._marker)
        except (Mismatch, ValueError) as error:
            raise Unfit(str(error), record.jseq) from error

    def _any_header(self, number: int) -> SegmentHeader:
        if number not in self._headers:
            self._headers = {header.number: header for header in sound_segments(self._folder)}
        return self._headers[number]

    def _header(self, number: int) -> SegmentHeader:
        header = self._any_header(number)
        if not header.flags & REWRITTEN:
            raise Unfit(f"segment {number} holds erased records, but doesn't say who ordered that")
        return header

    def _collect(self, batch: Sequence[Record]) -> None:
        erased = self._report.erased
        for record in batch:
            if record.kind == Kind.GAP:
                self._loss_before(record)
            if record.is_closed and record.kind == Kind.EVENT:
                self._report.closed += 1
            if record.jseq in erased and (record.is_closed or record.kind == Kind.STUB):
                self._unread.add(record.jseq)
            if record.key_id != 0 or record.kind != Kind.EVENT:
                continue
            if any(kind in record.body for kind in _ORDERS):
                self._orders.hear(orjson.loads(record.body), record.jseq)
            elif b'"kind":"audit.checkpoint"' in record.body:
                event = orjson.loads(record.body)
                if event.get("kind") == "audit.checkpoint":
                    self._say(event, record.jseq)

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
            raise Unfit("the tree's root is not the one that was signed")

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
            raise Unfit(f"{tile_path(level, number, len(hashes))} is not what the tiles below it hash to")

    def _differing(self, number: int, leaves: list[bytes], made: list[bytes]) -> Unfit:
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
            return Unfit(what, Leaf.decode(leaves[place]).jseq)
        except BadLeaf:
            return Unfit(what)


def _is_quiet(record: Record) -> bool:
    """Whether it may wait an hour for its seal: what the trail says of itself, or may be that."""
    return record.kind == Kind.EVENT and (record.is_closed or b'"kind":"audit.' in record.body)
