"""Secrets in what is recorded: filled, and said to be."""

from __future__ import annotations

from collections.abc import Sequence

from hoopproxy.wire.frames import Span

__all__ = ["FILL", "fill"]

FILL = b"*"
"""What stands in a recording for each byte of a secret; the chunk's redaction ranges say that it does."""


def fill(data: bytes, offset: int, spans: Sequence[Span]) -> tuple[bytes, list[tuple[int, int, int]]]:
    """Fill the secrets of ``data``; return the new bytes and (start, length, reason) relative to ``data``.

    Spans that reach outside ``data`` are cut to it, so a secret over two chunks is filled in both.
    """
    ranges = []
    for span in spans:
        start, end = max(span.start - offset, 0), min(span.end - offset, len(data))
        if start < end:
            ranges.append((start, end - start, span.reason))
    # One copy: the data may be as long as a message can be.
    whole = memoryview(data)
    parts: list[bytes | memoryview] = []
    done = 0
    for start, size, _ in sorted(ranges):
        start, end = max(start, done), start + size  # they may overlap
        if start < end:
            parts += (whole[done:start], FILL * (end - start))
            done = end
    return b"".join((*parts, whole[done:])), ranges
