"""Changing what a writer is done with: the closed segments of a journal, and keys that nobody uses any more.

The writer never looks back at a segment that another one follows, so these may be rewritten or unlinked while
it goes on, by whoever holds the journal's **upkeep lock** (one process at a time; not the writer's own lock).
The key file is the writer's, which appends to it: entries that are erased here are overwritten where they are,
and looked at again afterwards.
"""

from __future__ import annotations

from itertools import pairwise
from types import TracebackType

from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.datakeys import wipe
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import HEADER_SIZE, BlockType, Kind, SegmentHeader, StoredRecord, decode_records
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.journal.rewriting import SUFFIX, Outcome, Wanted, blocks_of, rewrite, state_of
from hoopproxy.journal.sealing import SegmentSeal
from hoopproxy.journal.segment import SegmentReader
from hoopproxy.journal.whose import Owners

__all__ = ["Upkeep"]

Pair = tuple[SegmentHeader, SegmentHeader]
"""A closed segment and the one that follows it."""


class Upkeep:
    """The right to change what a journal's writer is done with. A context manager.

    :raises HoopproxyError: on entry, somebody else has the right just now.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder, self._files = folder, folder.files
        self._lock: int | None = None

    def __enter__(self) -> Upkeep:
        self._lock = self._files.lock(self.folder.path / "upkeep")
        if self._lock is None:
            raise HoopproxyError(
                f"{self.folder.path}: another process is looking after this journal; try later"
            )
        try:
            for name in self._files.names(self.folder.path):
                if name.endswith(SUFFIX):  # of somebody who died half way
                    self._files.unlink(self.folder.path / name)
        except OSError:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            self._files.close(lock)

    def closed(self) -> list[Pair]:
        """The closed segments, oldest first. Raises ``Damaged``, ``UnsupportedFormat``, ``OSError``."""
        return list(pairwise(sound_segments(self.folder)))

    def may_hold(self, pair: Pair, keys: frozenset[int]) -> bool:
        """Whether a record of these key ids can be in that segment, by its blocks' headers."""
        seal = self.folder.keyring.seal(self.folder, pair[0])
        segment = SegmentReader(self._files, self.folder.segment(pair[0].number))
        try:
            at, expected = HEADER_SIZE, pair[0].first_jseq
            while expected < pair[1].first_jseq and (block := segment.block_at(at)) is not None:
                if block.type is BlockType.STATE:  # it may name sessions of which nothing else is here
                    state = state_of(segment.payload(at, block), seal)
                    if state.without(keys) is not state:
                        return True
                elif block.may_hold(keys):
                    return True
                expected += block.count
                at += block.size
            return expected < pair[1].first_jseq or not segment.is_blank(at)
        except ValueError as problem:
            raise Damaged(str(segment.path), 0, str(problem)) from None
        finally:
            segment.close()

    def owners(self, pair: Pair, owners: Owners | None = None) -> Owners:
        """Whose the records of that segment are, as far as its state and its events tell."""
        owners = owners or Owners()
        seal = self.folder.keyring.seal(self.folder, pair[0])
        segment = SegmentReader(self._files, self.folder.segment(pair[0].number))
        try:
            for _, block, raw in blocks_of(segment, pair[1].first_jseq):
                if block.type is BlockType.STATE:
                    for key, body in state_of(raw, seal).starts.items():
                        owners.see(key, body)
                elif block.type is BlockType.RECORDS:
                    _see(owners, block.first, decode_records(raw, block.count), seal)
        except ValueError as problem:
            raise Damaged(str(segment.path), 0, str(problem)) from None
        finally:
            segment.close()
        return owners

    def rewrite(
        self, pair: Pair, stays: Wanted, *, ordered_by: int, forgotten: frozenset[int] = frozenset()
    ) -> Outcome:
        """Put stubs in the place of what doesn't stay; see :func:`hoopproxy.journal.rewriting.rewrite`.

        :param forgotten: key ids whose sessions are taken out of the segment's state, too.
        """
        keys = KeyFile.open(self._files, self.folder.keys, self.folder.id)
        salts: dict[int, bytes] = {}

        def salt(key_id: int) -> bytes:
            if key_id not in salts:
                salts[key_id] = keys.get(key_id).salt
            return salts[key_id]

        try:
            return rewrite(
                self.folder,
                *pair,
                stays,
                salt,
                ordered_by=ordered_by,
                forget=lambda state: state.without(forgotten),
            )
        except ValueError as problem:
            raise Damaged(str(self.folder.segment(pair[0].number)), 0, str(problem)) from None
        finally:
            keys.close()

    def unlink(self, pair: Pair) -> None:
        """Remove the oldest segment. Only the oldest: the others are each other's chain."""
        assert self.folder.segments()[0] == pair[0].number, "only the oldest segment may go"
        self._files.unlink(self.folder.segment(pair[0].number))
        self._files.fsync_dir(self.folder.path)

    def destroy(self, keys: frozenset[int]) -> int:
        """Overwrite these keys' salts and data keys; returns how many were still there.

        The writer may at the same time be putting a new file in the key file's place (after an error of the
        disk), so it is looked at again until the entries are gone from the file that has the name.
        """
        destroyed = 0
        for _ in range(_TRIES):
            file = KeyFile.open(self._files, self.folder.keys, self.folder.id, write=True)
            try:
                left = [key for key in map(file.get, sorted(keys)) if not key.is_erased]
                if not left:
                    return destroyed
                destroyed = max(destroyed, len(left))
                wipe(self.folder, left)
                file.erase([key.id for key in left])
            finally:
                file.close()
        raise HoopproxyError(f"{self.folder.keys}: keys that were erased are there again; try later")


_TRIES = 3


def _see(owners: Owners, first: int, records: list[StoredRecord], seal: SegmentSeal | None) -> None:
    for jseq, (kind, flags, key, body) in enumerate(records, first):
        if kind == Kind.EVENT and not owners.of(key).is_known:
            opened = body if seal is None else seal.open(jseq, kind | flags << 8, key, body)
            if opened is not None:
                owners.see(key, opened)
