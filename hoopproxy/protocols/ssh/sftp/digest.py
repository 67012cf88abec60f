"""The SHA-256 of what was transferred, in the order of its offsets, whatever order it came in."""

from __future__ import annotations

import hashlib
from heapq import heappop, heappush
from typing import Final

__all__ = ["MAX_AHEAD", "MAX_PIECES", "Ahead", "ContentDigest"]

MAX_AHEAD: Final = 8 << 20
"""Bytes of one channel that wait for what belongs before them. OpenSSH's clients have 2 MiB on the way at most."""

MAX_PIECES: Final = 8192
"""Pieces that they may come in: small ones cost more memory than their bytes."""


class Ahead:
    """What all digests of a channel together may keep: bytes and pieces."""

    __slots__ = ("bytes", "pieces")

    def __init__(self) -> None:
        self.bytes, self.pieces = MAX_AHEAD, MAX_PIECES


class ContentDigest:
    """One direction of one open file.

    What comes in order is hashed where it lies; what comes early is kept, within :class:`Ahead`. Nothing is told of
    content with holes, that came further ahead than that or, of what is written, twice: :attr:`lost` says which.

    :param appended: the offsets mean nothing (the file was opened to append); what comes is hashed as it comes.
    :param repeats: what comes a second time is hashed apart, in the order it comes in, and the first digest stays.
        For what is read: clients ask twice for parts that they have read ahead (paramiko does, by the way its threads
        take turns). Of what is written twice, nobody knows here which is in the file.
    """

    __slots__ = (
        "_ahead",
        "_appended",
        "_hash",
        "_kept",
        "_repeated",
        "_repeats",
        "end",
        "lost",
        "repeated",
        "start",
    )

    def __init__(self, ahead: Ahead, appended: bool = False, repeats: bool = False) -> None:
        self._ahead, self._appended, self._repeats = ahead, appended, repeats
        self._hash = hashlib.sha256()
        self._repeated = hashlib.sha256()
        self.repeated = 0
        """Bytes that came a second time."""
        self._kept: list[tuple[int, bytes]] = []
        self.start = self.end = -1
        """Offsets that the digest is over: from ``start`` up to ``end``, which grows. Before the first, -1."""
        self.lost = ""
        """Why there is no digest, when there is none."""

    def expect(self, offset: int) -> None:
        """The first request says where the content begins; its data may come later than that of the next."""
        if self.start < 0:
            self.start = self.end = offset

    def feed(self, offset: int, piece: memoryview) -> None:
        """A piece of the content. It is not kept longer than this call unless it came early, and then as a copy."""
        if self.lost:
            return
        if self.start < 0:
            self.start = self.end = offset
        if offset == self.end or self._appended:
            self._hash.update(piece)
            self.end += len(piece)
            if self._kept:
                self._catch_up()
        elif offset < self.end:
            if len(piece):
                self._repeat(offset, piece)
                self._catch_up()
        else:
            self._keep(offset, piece)

    def _keep(self, offset: int, piece: memoryview) -> None:
        ahead = self._ahead
        if len(piece) > ahead.bytes or not ahead.pieces:
            self.lose(f"it was out of order by more than {MAX_AHEAD} bytes or {MAX_PIECES} pieces")
            return
        ahead.bytes -= len(piece)
        ahead.pieces -= 1
        heappush(self._kept, (offset, bytes(piece)))

    def _repeat(self, offset: int, piece: memoryview) -> None:
        """It begins before :attr:`end`. What of it lies behind that comes for the first time."""
        if offset < self.start:
            self.lose("it was not in order")
            return
        if not self._repeats:
            self.lose("a part was transferred twice")
            return
        known = min(self.end - offset, len(piece))
        self._repeated.update(piece[:known])
        self.repeated += known
        self._hash.update(piece[known:])
        self.end += len(piece) - known

    def _catch_up(self) -> None:
        kept, ahead = self._kept, self._ahead
        while kept and kept[0][0] <= self.end:
            offset, piece = heappop(kept)
            ahead.bytes += len(piece)
            ahead.pieces += 1
            if offset < self.end:
                self._repeat(offset, memoryview(piece))
            else:
                self._hash.update(piece)
                self.end += len(piece)

    def lose(self, why: str) -> None:
        """Give up, and give back what was kept. The first reason stays."""
        self.lost = self.lost or why
        for _, piece in self._kept:
            self._ahead.bytes += len(piece)
            self._ahead.pieces += 1
        self._kept.clear()

    def finish(self) -> str | None:
        """The digest in hexadecimal, or ``None``: then :attr:`lost` says why. Of nothing at all it is ``None``, too."""
        if self._kept:
            self.lose(f"a part at offset {self.end} was never transferred")
        if self.lost:
            return None
        if self.start < 0:
            self.lost = "nothing was transferred"
            return None
        return self._hash.hexdigest()

    def finish_repeated(self) -> str:
        """The digest of the :attr:`repeated` bytes, in hexadecimal."""
        return self._repeated.hexdigest()
