"""Recorded bytes, as whoever reads a recording back is handed them."""

from __future__ import annotations

from typing import Protocol

__all__ = ["RecordedChunk"]


class RecordedChunk(Protocol):
    """What is needed of a chunk; see :class:`hoopproxy.journal.chunks.Chunk`.

    ``leg`` 0 is the client's, ``direction`` 0 is what the client sent. ``offset`` counts in that stream, ``mono`` is
    ns since the session's start. ``redactions``: start (in ``data``), length, reason.
    """

    @property
    def leg(self) -> int: ...
    @property
    def direction(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def mono(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def redactions(self) -> tuple[tuple[int, int, int], ...]: ...
