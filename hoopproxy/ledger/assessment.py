"""How far damage reaches, once a journal is known not to be what was sealed. No reactor here.

The verdict has been given by then (:mod:`hoopproxy.ledger.verify`) and this changes nothing in it. It reads on where
the verification stopped, and places what it comes to. Behind damage the chain of segments proves nothing; a record
there is *intact* if the leaf that it was sealed in is proven by a signed checkpoint, and it is what that leaf says.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.damage import LISTED, Place, Places, Stretches
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind, UnsupportedFormat
from hoopproxy.journal.record import Record
from hoopproxy.journal.salvage import Salvage
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.comparison import Progress
from hoopproxy.ledger.damage import Damage
from hoopproxy.ledger.epoch import Epochs
from hoopproxy.ledger.folder import CHECKPOINT, COSIGNED, LedgerFolder
from hoopproxy.ledger.leaf import BadLeaf, Leaf, Mismatch, Sealed, marker_of
from hoopproxy.ledger.losses import Loss
from hoopproxy.ledger.merkle import tree_hash
from hoopproxy.ledger.note import BadNote, Note, VerifierKey
from hoopproxy.ledger.orders import RETENTION, Orders
from hoopproxy.ledger.proven import ProvenTree, Unproven
from hoopproxy.ledger.salts import Salts

__all__ = ["Assessment", "Candidate"]

_RECENT: Final = 64
"""Checkpoints on record that are tried, the newest first, where none of the ledger's files is one of this tree."""
_NO_SALT: Final = bytes(16)
_RETENTION: Final = f'"kind":"{RETENTION}"'.encode()


class Candidate(NamedTuple):
    """A checkpoint that may be of this tree."""

    note: bytes
    where: str


class _Signed(NamedTuple):
    head: Checkpoint
    where: str
    epoch: int
    pinned: bool


class Assessment:
    """One journal beside its tree, to the end of both.

    :param kept: checkpoints of this journal that the asker brings, and where from. :param lost: what an operator
        accepted as lost, as far as the verification came. Other parameters as of the verification.
    """

    def __init__(
        self,
        folder: Folder,
        ledger: LedgerFolder,
        *,
        pins: Sequence[VerifierKey] = (),
        kept: Sequence[Candidate] = (),
        lost: Sequence[Loss] = (),
        lags: bool = False,
        told: Progress = lambda folder, record: None,
    ) -> None:
        self._folder, self._ledger, self._pins, self._kept = folder, ledger, pins, kept
        self._lost, self._lags, self._told = lost, lags, told
        self._salts, self._marker = Salts(folder), marker_of(folder.path.name)
        self._places, self._stretches = Places(), Stretches()
        self._recent: deque[Place] = deque(maxlen=16)
        self._salvage = Salvage(folder, self._found)
        self._epochs: Epochs | None = None
        self._tree: ProvenTree | None = None
        self._signed: _Signed | None = None
        self._changed = self._missing = self._unproven = self._unsealed = self._checkpoints = 0
        self._erased = 0
        self._orders, self._gone, self._gone_from = Orders(), 0, 0
        self._bad_keys: set[int | None] = set()

    def run(self) -> Damage:
        """Read all of it. Raises ``OSError``."""
        try:
            self._epochs = self._known_epochs()
            self._find_tree()
            self._compare()
            self._account_for_gone()
            return self._damage()
        finally:
            self._salts.close()
            self._salvage.close()

    def _damage(self) -> Damage:
        signed, salvage = self._signed, self._salvage
        return Damage(
            places=self._places.all,
            more=self._places.more,
            sessions=list(salvage.touched.sessions),
            perhaps=salvage.touched.perhaps(),
            more_sessions=salvage.touched.more,
            by="" if signed is None else signed.where,
            size=0 if signed is None else signed.head.size,
            epoch=0 if signed is None else signed.epoch,
            pinned=signed is not None and signed.pinned,
            intact=self._stretches.records,
            stretches=self._stretches.all,
            more_stretches=self._stretches.more,
            erased=self._erased,
            changed=self._changed,
            missing=self._missing,
            unproven=self._unproven,
            unsealed=self._unsealed,
            tree=self._tree is not None and self._tree.is_whole,
            links=(salvage.links, max(salvage.segments - 1, 0)),
            checkpoints=self._checkpoints,
            keys=salvage.has_keys,
        )

    def _found(self, place: Place) -> None:
        if place.kind == "keys":
            self._bad_keys.add(place.offset)
        self._places.add(place)
        self._recent.append(place)

    # -- who signed what

    def _known_epochs(self) -> Epochs | None:
        """The epochs up to the first note that doesn't follow."""
        notes = self._ledger.epochs()
        for count in range(len(notes), 0, -1):
            try:
                found = Epochs(notes[:count])
            except (HoopproxyError, ValueError) as error:
                problem = str(error)
                continue
            if count < len(notes):
                self._found(Place(kind="epoch", file=f"epochs/{count + 1:06d}.note", what=problem))
            return found
        what = problem if notes else "there is no note of an epoch: nothing says who signs"
        self._found(Place(kind="epoch", file="epochs/000001.note", what=what))
        return None

    def _signer(self, note: Note, head: Checkpoint) -> tuple[int, bool]:
        """The epoch that signed, and whether a key that was brought vouches for it. :raises BadNote:"""
        if self._epochs is not None:
            try:
                epoch = self._epochs.signer(head, note)
            except BadNote:
                if not self._pins:
                    raise
            else:
                return epoch.number, epoch in self._epochs.trusted(self._pins)
        note.verified(self._pins)
        return 0, True

    def _read(self, each: Candidate) -> _Signed:
        """:raises BadNote: it is none that is signed by somebody who is trusted."""
        note = Note.parse(each.note)
        head = Checkpoint.of(note)
        epoch, pinned = self._signer(note, head)
        if self._pins and not pinned:
            raise BadNote(f"epoch {epoch} is vouched for by none of the keys that were given")
        return _Signed(head, each.where, epoch, pinned)

    def _find_tree(self) -> None:
        """The largest tree that is here and that a signed checkpoint is of."""
        read = [(each, self._or_told(each)) for each in itertools.chain(self._files(), self._kept)]
        if not self._choose([signed for _, signed in read if signed is not None]):
            told = (self._of_record(each) for each in self._on_record())
            self._choose([signed for signed in told if signed is not None])
        for each, signed in read:
            if signed is not None and self._is_same(signed.head) is not True:
                self._differs(each, signed.head)

    def _differs(self, each: Candidate, head: Checkpoint) -> None:
        if self._signed is None:
            what = (
                f"no tree of {head.size} leaves with this root is here: it, or the tree, is not what it was"
            )
        elif head.size > self._signed.head.size:
            what = f"it is of {head.size} leaves; no more than {self._signed.head.size} are proven here"
        else:
            what = f"the tree of {head.size} leaves is not the one that was signed"
        self._found(Place(kind="checkpoint", file=each.where, what=what))

    def _choose(self, found: Sequence[_Signed]) -> bool:
        for signed in sorted(found, key=lambda each: each.head.size, reverse=True):
            tree = ProvenTree(self._ledger.read, signed.head)
            if tree.begin():
                self._signed, self._tree = signed, ProvenTree(self._ledger.read, signed.head, self._found)
                self._tree.begin()
                return True
        return False

    def _files(self) -> Iterator[Candidate]:
        data = self._ledger.read_or_none(CHECKPOINT)
        if data is None:
            self._found(Place(kind="missing", file=CHECKPOINT, what="the ledger's checkpoint is missing"))
        else:
            yield Candidate(data, CHECKPOINT)
        data = self._ledger.read_or_none(COSIGNED)
        if data is not None:
            yield Candidate(data, COSIGNED)

    def _or_told(self, each: Candidate) -> _Signed | None:
        try:
            return self._read(each)
        except (HoopproxyError, ValueError) as error:
            self._found(Place(kind="checkpoint", file=each.where, what=str(error)))
            return None

    def _of_record(self, each: Candidate) -> _Signed | None:
        try:
            return self._read(each)
        except (HoopproxyError, ValueError):
            return None  # it is told where it is come to

    def _on_record(self) -> Iterator[Candidate]:
        """The newest checkpoints that the trail itself holds, the newest first."""
        salvage, found = Salvage(self._folder, lambda place: None), deque[Candidate](maxlen=_RECENT)
        try:
            for block in salvage.blocks():
                found += filter(None, map(self._said, block))
                self._told(self._folder, block[-1])
        finally:
            salvage.close()
        return reversed(found)

    def _said(self, record: Record) -> Candidate | None:
        """The checkpoint of this journal that a record holds."""
        if record.kind != Kind.EVENT or record.key_id or b'"kind":"audit.checkpoint"' not in record.body:
            return None
        try:
            event: Any = orjson.loads(record.body)
            said = event["event"]
            if event["kind"] != "audit.checkpoint" or said["journal"] != self._folder.path.name:
                return None
            return Candidate(said["note"].encode(), f"record {record.jseq} (audit.checkpoint)")
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _is_same(self, head: Checkpoint) -> bool | None:
        """Whether the proven tree begins with that one; ``None``: nobody can tell."""
        tree = self._tree
        if tree is None or head.size > tree.head.size:
            return None
        try:
            return tree_hash(head.size, tree.hash_of) == head.root
        except Unproven:
            return None

    # -- records and leaves

    def _compare(self) -> None:
        records = self._records()
        record = next(records, None)
        between = (
            True  # whether the leaf before was proven: what stands between two that follow is in no leaf
        )
        for leaf in self._leaves():
            if leaf is None:
                between = False
                continue
            for sealed in leaf.records:
                while record is not None and record.jseq < sealed.jseq:
                    self._stray(record, between)
                    record = next(records, None)
                if record is None or record.jseq > sealed.jseq:
                    self._absent(sealed.jseq)
                else:
                    self._pair(record, sealed)
                    record = next(records, None)
                between = True
        while record is not None:
            if between and self._tree is not None:
                self._unsealed += 1
            else:
                self._unproven += 1
            record = next(records, None)

    def _records(self) -> Iterator[Record]:
        for block in self._salvage.blocks():
            self._told(self._folder, block[-1])
            for record in block:
                self._hold(record)
                yield record

    def _leaves(self) -> Iterator[Leaf | None]:
        if self._tree is None:
            return
        for bundle in self._tree.leaves():
            for data in bundle:
                try:
                    yield None if data is None else Leaf.decode(data)
                except BadLeaf:
                    yield None

    def _hold(self, record: Record) -> None:
        """A checkpoint on record is held against the tree; what retention says it removed is heard."""
        if record.kind == Kind.EVENT and not record.key_id and _RETENTION in record.body:
            with contextlib.suppress(ValueError):
                event = orjson.loads(record.body)
                if isinstance(event, dict):
                    self._orders.hear(event, record.jseq)
        said = self._said(record)
        if said is None:
            return
        try:
            signed = self._read(said)
        except (HoopproxyError, ValueError) as error:
            self._at(record, "checkpoint", str(error))
            return
        same = self._is_same(signed.head)
        self._checkpoints += same is True
        if same is False:
            self._at(
                record, "checkpoint", f"the tree of {signed.head.size} leaves is not the one that was signed"
            )

    def _pair(self, record: Record, sealed: Sealed) -> None:
        try:
            salt = b"" if record.kind == Kind.STUB else self._salts[record.key_id]
        except (Damaged, UnsupportedFormat) as error:
            self._unproven += 1
            offset = error.offset if isinstance(error, Damaged) else 0
            if offset not in self._bad_keys and len(self._bad_keys) < LISTED and self._salvage.has_keys:
                self._found(Place(kind="keys", file="keys", what=error.what, offset=offset))
            return
        if self._lags and salt == _NO_SALT:
            self._unproven += 1
            return
        try:
            sealed.check(record, salt, self._marker)
        except (Mismatch, ValueError) as error:
            self._changed += 1
            self._at(record, "leaf", str(error))
        else:
            self._stretches.add(record.jseq, record.jseq)
            self._erased += record.kind == Kind.STUB

    def _stray(self, record: Record, between: bool) -> None:
        if between:
            self._changed += 1
            self._at(record, "leaf", f"record {record.jseq} is in the journal, but was never sealed")
        else:
            self._unproven += 1

    def _at(self, record: Record, kind: Any, what: str) -> None:
        self._found(
            Place(
                kind=kind,
                file=self._folder.segment(record.segment).name,
                what=what,
                offset=record.offset,
                segment=record.segment,
                first=record.jseq,
                last=record.jseq,
                sessions=self._salvage.touched.name((record.key_id,)),
            )
        )

    def _absent(self, jseq: int) -> None:
        """A record was sealed, and is not here."""
        if any(loss.covers(jseq) for loss in self._lost):
            return
        if jseq < self._salvage.begins:
            self._gone, self._gone_from = self._gone + 1, self._gone_from or jseq
            return
        self._missing += 1
        if not any(
            each.first is not None and each.first <= jseq <= (each.last or jseq) for each in self._recent
        ):
            what = f"record {jseq} was sealed, and is not here"
            self._found(Place(kind="missing", file=self._folder.path.name, what=what, first=jseq, last=jseq))

    def _account_for_gone(self) -> None:
        """What the journal no longer begins with was removed by retention, if that is on record."""
        begins = self._salvage.begins
        if not self._gone or self._lags or self._orders.removed_to >= begins - 1:
            return
        self._missing += self._gone
        before = self._salvage.before
        name = self._folder.segment(before).name if before else self._folder.path.name
        what = "the journal begins behind it, and nothing that can be read says that retention removed it"
        self._found(Place(kind="missing", file=name, what=what, first=self._gone_from, last=begins - 1))
