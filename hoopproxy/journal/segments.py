"""A journal's segments, one after the other: each says what the one before it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from hoopproxy.journal.blocks import BlockMaker
from hoopproxy.journal.compress import Compressor
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import AES_256_GCM, PLAIN, SALT_SIZE, SegmentHeader
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.recovery import Before, Position
from hoopproxy.journal.sealing import SegmentSeal
from hoopproxy.journal.segment import SegmentWriter
from hoopproxy.journal.vault import Vault

__all__ = ["Segments"]


class Segments:
    """The segment that is written now, and how the next one begins.

    :param vault: what seals them, if they are sealed.
    """

    def __init__(
        self,
        folder: Folder,
        position: Position,
        options: JournalOptions,
        wall: Callable[[], int],
        entropy: Callable[[int], bytes],
        vault: Vault | None,
    ) -> None:
        self._folder, self._options, self._vault = folder, options, vault
        self._wall, self._entropy = wall, entropy
        self._epoch, self._number, self._flags = position.epoch, position.number, position.flags
        self._before = position.before
        self._compressor = Compressor(options.compress)
        self.now: SegmentWriter | None = None
        self.make: BlockMaker
        self.seal: SegmentSeal | None = None
        """What seals its records."""
        self.is_fresh = True
        """Nothing was made durable in it yet."""

    def roomy(self, durable: int, rolling: bool) -> SegmentWriter:
        """The one to write to, which may be a new one. :param rolling: it must be, if anything is in the present one.

        :param durable: the last record that is durable. Raises ``OSError``.
        """
        segment = self.now
        full = segment is not None and (rolling or segment.end >= self._options.segment_bytes)
        if segment is not None and full and not segment.is_empty:
            self._leave(segment, durable)
            segment.finish()
            segment = None
        return segment if segment is not None else self.begin(durable)

    def begin(self, durable: int) -> SegmentWriter:
        """A new one. Raises ``OSError``."""
        number, self._number = self._number, self._number + 1
        self.is_fresh = True
        header = SegmentHeader(
            journal=self._folder.id,
            number=number,
            first_jseq=durable + 1,
            epoch=self._epoch,
            previous=self._before.number,
            created=self._wall(),
            digest=self._before.digest,
            previous_size=self._before.size,
            previous_last=self._before.last,
            seed=int.from_bytes(self._entropy(4), "little"),
            flags=self._flags,
            cipher=PLAIN if self._vault is None else AES_256_GCM,
            salt=bytes(SALT_SIZE) if self._vault is None else self._entropy(SALT_SIZE),
        )
        self.seal = None if self._vault is None else self._vault.seal(header)
        self.now = SegmentWriter(self._folder.files, self._folder.segment(number), header)
        self.make = BlockMaker(self._compressor, seed=header.seed, seal=self.seal, entropy=self._entropy)
        self._flags = 0
        return self.now

    def dated(self, durable: int) -> BlockMaker:
        """What makes the blocks of a commit that begins now."""
        self.make.durable, self.make.time = durable, self._wall()
        return self.make

    def abandon(self, segment: SegmentWriter, durable: int) -> None:
        """Leave the present one as it is: it failed."""
        with contextlib.suppress(OSError):
            segment.abandon()
        self._leave(segment, durable)

    def _leave(self, segment: SegmentWriter, durable: int) -> None:
        self.now = None
        self._before = Before(
            number=segment.header.number, digest=segment.digest(), size=segment.end, last=durable
        )
