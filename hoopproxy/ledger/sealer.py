"""One journal's tree, sealed: records in, tiles and signed checkpoints out, events about it. No reactor here.

The order on the disk: tiles, then the checkpoint over them, and only then does anybody hear of it. So after a
crash the tree is as large as the checkpoint says, and what was beyond it is made again from the journal. A
signature over another tree of the same size can't come of that; where it could (a state directory that was copied
or restored, a tree that is damaged, a key that is lost) the sealer begins an epoch with a new origin.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, Final

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditCheckpoint, AuditEpoch, AuditGap, Event
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Entry, records_of
from hoopproxy.journal.turns import Told
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.epoch import Epoch, Epochs, Why, origin_of
from hoopproxy.ledger.folder import CHECKPOINT, LedgerFolder
from hoopproxy.ledger.leaf import BadLeaf, Leaf, Mismatch, Sealed, leaves_of, marker_of
from hoopproxy.ledger.merkle import EMPTY
from hoopproxy.ledger.note import BadNote, Note, SigningKey
from hoopproxy.ledger.salts import Salts
from hoopproxy.ledger.tiles import BadTile, Tiles
from hoopproxy.ledger.tree import Tree

__all__ = ["ENTRIES", "HEARTBEAT_SECONDS", "INTERVAL_SECONDS", "Sealer"]

INTERVAL_SECONDS: Final = 0.7
"""A record of traffic is signed no later than this after it was taken. It is taken up to a quarter of a second after it
was durable, and so it is signed within a second."""

ENTRIES: Final = 1000
"""So many records of traffic have a checkpoint of their own, but see :data:`SOONEST_SECONDS`."""

SOONEST_SECONDS: Final = 0.5
"""Between checkpoints: each costs some waits for the disk, and an event."""

MOST: Final = 50_000
"""Records without a checkpoint, when a journal is read up: about 5 MB of leaves in memory."""

HEARTBEAT_SECONDS: Final = 3600.0
_AHEAD_SECONDS: Final = 60.0
"""So much later than now an epoch may have begun; one that a clock put further ahead would keep its key for as long."""
_BEHIND_SECONDS: Final = 0.1
_BEHIND_LOOKS: Final = 50


class Sealer:
    """See the module. ``take`` what the journal has; when :meth:`is_due`, ``seal``.

    :ivar next_jseq: the next record that is wanted. :ivar durable_jseq: the same, as another start would find it.

    :param base: what the origin begins with. :param epoch_seconds: how long a key signs.
    :param tell: is given each event; never raises. :param now: Unix seconds. :param monotonic: seconds.
    :raises OSError: from every method that writes.
    """

    def __init__(
        self,
        ledger: LedgerFolder,
        journal: Folder,
        *,
        base: str,
        epoch_seconds: float,
        tell: Callable[[Event], None],
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.ledger, self.journal = ledger, journal
        self._id = journal.path.name
        self._marker = marker_of(self._id)
        self._base, self._epoch_seconds = base, epoch_seconds
        self._tell, self._now, self._monotonic, self._sleep = tell, now, monotonic, sleep
        self._salts = Salts(journal)
        self._tree = Tree()
        self._lost: Checkpoint | None = None
        self._lost_last: object = None  # the last record under it, as the trail has it
        self._doubt = ""
        self.next_jseq = self.durable_jseq = 1
        self._traffic = 0
        self._sealed_at = monotonic()
        self.head: Checkpoint | None = None
        """The newest checkpoint of this origin."""
        try:
            self._open()
            if self._lost is None:
                self.ledger.write_place()  # anew each time: what a backup of an earlier run has is another file
        except BaseException:
            self.close()  # whoever asked for it asks again, and would open one more each time
            raise

    # -- opening

    def _open(self) -> None:
        if not self.ledger.epochs():
            if self.ledger.read_or_none(CHECKPOINT) is None:
                self._begin("first", None)
            else:
                self._start_over("damaged", "its epochs are missing", None)
            return
        known: Checkpoint | None = None
        try:
            self._epochs = Epochs(self.ledger.epochs())
            known = self._last_known()
            self._load(known)
        except (BadNote, BadTile, BadLeaf) as error:
            self._start_over("damaged", str(error), known)
            return
        except Mismatch as error:
            self._start_over("restored", str(error), known)
            return
        self.ledger.erase_keys(keep=len(self._epochs))
        key = self._kept_key()
        if key is None or key.public != self._epochs.last.key:
            self._begin("key-lost", self.head or self._epochs.last.previous)
        else:
            self._key = key
            self._sign_nothing()
            if self.ledger.is_copy():
                origin = self._epochs.last.origin
                self.doubt(origin, f"the ledger of {self._id} is a copy, and the original may have gone on")

    def _kept_key(self) -> SigningKey | None:
        try:
            return self.ledger.key(len(self._epochs))
        except BadNote:
            return None

    def _last_known(self) -> Checkpoint | None:
        """What the checkpoint file says, verified; it is never older than what the newest epoch names."""
        data = self.ledger.read_or_none(CHECKPOINT)
        named = self._epochs.last.previous
        if data is None:
            if named is not None or self.ledger.has_entries():
                raise BadNote("the checkpoint is missing")
            return None  # a crash at the very beginning
        note = Note.parse(data)
        head = Checkpoint.of(note)
        self._epochs.signer(head, note)
        if named is not None and named.origin == head.origin and head.size < named.size:
            raise BadNote(f"the checkpoint of {head.size} is older than epoch {len(self._epochs)}")
        return head

    def _load(self, head: Checkpoint | None) -> None:
        if head is None:
            return
        tiles = Tiles(self.ledger.read, head.size)
        if tiles.root() != head.root:
            raise BadTile("tile", f"the tree of {head.size} has not the root that was signed")
        self._tree = Tree.load(tiles)
        if head.size:
            leaf = Leaf.decode(tiles.leaf(head.size - 1))
            self._compare(leaf.record(leaf.last))
            self.next_jseq = self.durable_jseq = leaf.last + 1
        if head.origin == self._epochs.last.origin:
            self.head = head

    def _compare(self, last: Sealed) -> None:
        """The journal still has what was sealed last, or has retired it.

        A writer that opens a journal says how far it is good a moment later: that is waited for.
        """
        record = None
        for _ in range(_BEHIND_LOOKS):
            with JournalReader(self.journal, since=last.jseq) as reader:
                record = next(iter(reader), None)
            if record is not None or not self.journal.is_live:
                break
            self._sleep(_BEHIND_SECONDS)
        if record is None:
            raise Mismatch(f"record {last.jseq} was sealed, but the journal ends before it")
        if record.jseq == last.jseq:
            last.check(record, self._salts[record.key_id], self._marker)

    def _start_over(self, why: Why, what: str, known: Checkpoint | None) -> None:
        old = self._newest_key()
        aside = self.ledger.set_aside()
        self._tree, self.head = Tree(), None
        self.next_jseq = self.durable_jseq = 1
        self._tell(AuditGap(why=f"the ledger of {self._id} begins anew: {what}"[:400], records=0, bytes=0))
        self._begin(why, known, old)
        LedgerFolder(aside, self.ledger.files).erase_keys(keep=0)

    def _newest_key(self) -> SigningKey | None:
        """The key of a tree that is given up: it still can vouch."""
        try:
            return self.ledger.key(len(self.ledger.epochs()))
        except (BadNote, OSError):
            return None

    # -- epochs

    def _begin(self, why: Why, previous: Checkpoint | None, old: SigningKey | None = None) -> None:
        """Begin an epoch under an origin of its own. ``old`` vouches for it, if there is one."""
        seed = SigningKey.new("x")
        origin = origin_of(self._base, self._id, seed.public.public)
        key = seed.renamed(origin)
        if not self.ledger.epochs():
            self._epochs = Epochs([])
        self._change_key(key, why, previous, old)
        self.head, self._traffic = None, self._traffic + 1
        self._sign_nothing()

    def _sign_nothing(self) -> None:
        """There is a checkpoint before there is a tile: one that is missing later was taken away."""
        if self._tree.size == 0 and self.ledger.read_or_none(CHECKPOINT) is None:
            self.head = Checkpoint(self._epochs.last.origin, 0, EMPTY)
            self.ledger.write(CHECKPOINT, self.head.signed(self._key))

    def _rotate(self) -> None:
        key = SigningKey.new(self._epochs.last.origin)
        self._change_key(key, "rotation", self.head, self._key)

    def _change_key(
        self, key: SigningKey, why: Why, previous: Checkpoint | None, old: SigningKey | None
    ) -> None:
        number = len(self._epochs) + 1
        epoch = Epoch(number=number, key=key.public, began=int(self._now()), why=why, previous=previous)
        note = epoch.signed([key] if old is None else [key, old])
        self.ledger.write_key(number, key)
        self.ledger.write_epoch(number, note)
        self.ledger.erase_keys(keep=number)
        self._key, self._epochs = key, Epochs(self.ledger.epochs())
        self._tell(
            AuditEpoch(
                journal=self._id,
                origin=epoch.origin,
                epoch=number,
                key=str(key.public),
                why=why,
                previous=previous.size if previous else None,
                note=note.decode(),
            )
        )

    @property
    def epochs(self) -> Epochs:
        """All of them."""
        return self._epochs

    # -- records

    def take(self, entries: Sequence[Entry], traffic: int) -> None:
        """Put records into the tree; those that it has are passed over. ``traffic``: how many of them are more
        than the ledger's own and the gateway's heartbeat.

        :raises Damaged: the key file lacks a salt.
        """
        if entries and entries[0].jseq < self.next_jseq:
            entries = _since(entries, self.next_jseq)
        if not entries:
            return
        leaves = leaves_of(entries, self._salts.__getitem__, self._marker)
        self._tree.extend(leaves)
        last = entries[-1]
        self.next_jseq = (last.last_jseq if isinstance(last, Told) else last.jseq) + 1
        self._traffic += traffic

    def told(self, said: Any) -> None:
        """What the trail has of an ``audit.checkpoint`` of this journal: it must be one of ours."""
        try:
            head = Checkpoint.of(Note.parse(str(said["note"]).encode()))
        except (HoopproxyError, KeyError, TypeError):
            return
        if head.origin == self._epochs.last.origin:
            lost = self.head is None or head.size > self.head.size
        else:
            lost = head.origin not in self._epochs.origins
        if lost and (self._lost is None or head.size > self._lost.size):
            self._lost, self._lost_last, self._doubt = head, said.get("last"), ""

    def is_due(self, interval: float = INTERVAL_SECONDS) -> bool:
        """Whether a checkpoint should be signed now. ``interval``: seconds that traffic may wait."""
        if self._tree.size == self._signed_size and self._lost is None:
            return False
        age = self._monotonic() - self._sealed_at
        if self._lost is not None or age >= HEARTBEAT_SECONDS:
            return True
        behind = self.next_jseq - self.durable_jseq
        if not self._traffic:
            return behind >= MOST
        soon = behind >= ENTRIES and age >= SOONEST_SECONDS
        return soon or behind >= MOST or age >= interval

    def wait(self) -> float | None:
        """Seconds until the traffic that was taken should be under a checkpoint; ``None`` if there is none."""
        if not self._traffic:
            return None
        return max(0.0, INTERVAL_SECONDS - (self._monotonic() - self._sealed_at))

    @property
    def _signed_size(self) -> int:
        return self.head.size if self.head is not None else 0

    @property
    def size(self) -> int:
        """Leaves in the tree, signed or not."""
        return self._tree.size

    def seal(self) -> Checkpoint | None:
        """Write what is new and sign it; ``None`` if there is nothing. May take some waits for the disk."""
        if self._lost is not None:
            self._fork(self._lost)
        if self._tree.size == self._signed_size:
            return None
        if self.head is not None and not -_AHEAD_SECONDS < self._age() < self._epoch_seconds:
            self._rotate()
        written = list(self._tree.files())
        try:
            self.ledger.write_tiles(written)
        except OSError:
            self._tree.put_back(written)
            raise
        head = Checkpoint(self._epochs.last.origin, self._tree.size, self._tree.root())
        note = head.signed(self._key)
        self.ledger.write(CHECKPOINT, note)
        self.head, self._traffic, self._sealed_at = head, 0, self._monotonic()
        self.durable_jseq = self.next_jseq
        self.ledger.drop_partial(name for name, _ in written)
        self._tell(
            AuditCheckpoint(
                journal=self._id,
                origin=head.origin,
                epoch=len(self._epochs),
                size=head.size,
                last=self.next_jseq - 1,
                root=b64encode(head.root).decode(),
                note=note.decode(),
            )
        )
        return head

    def _age(self) -> float:
        """Seconds since the epoch began; less than 0 when the clock was ahead then."""
        return self._now() - self._epochs.last.began

    def _fork(self, lost: Checkpoint) -> None:
        why = f"a checkpoint of {lost.size} leaves is on record, newer than the ledger of {self._id}"
        records = 0
        if self._doubt:
            why = self._doubt
        elif isinstance(self._lost_last, int):
            records = max(0, self._lost_last - self.durable_jseq + 1)
        self._tell(AuditGap(why=why[:400], records=records, bytes=0))
        self._begin("restored", lost, self._key)
        self.ledger.write_place()
        self._lost = None

    def shown(self) -> tuple[bytes, Checkpoint | None, list[bytes]]:
        """The newest signed checkpoint, what it says, and the notes of the epochs: for those outside."""
        data = self.ledger.read_or_none(CHECKPOINT) or b""
        head = Checkpoint.of(Note.parse(data)) if data else None
        is_ours = head is not None and head.origin == self._epochs.last.origin
        return data, head if is_ours else None, self.ledger.epochs()

    def doubt(self, origin: str, why: str) -> None:
        """More may have been signed under this origin than is known here: go on under another one."""
        if self._lost is None and origin == self._epochs.last.origin:
            self._lost, self._doubt = self.head or self._epochs.last.previous, why

    def tiles(self) -> Tiles:
        """The tree of the newest checkpoint, as it is on the disk."""
        return Tiles(self.ledger.read, self._signed_size)

    def close(self) -> None:
        """Give back what is open. What is not sealed is sealed after the next start."""
        self._salts.close()


def _since(entries: Sequence[Entry], jseq: int) -> list[Entry]:
    """Those from a number on."""
    found: list[Entry] = []
    for entry in entries:
        if entry.jseq >= jseq:
            found.append(entry)
        elif isinstance(entry, Told):
            found += [record for record in records_of(entry) if record.jseq >= jseq]
    return found
