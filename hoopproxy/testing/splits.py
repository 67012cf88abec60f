"""The same bytes in other pieces: whole, at every place, byte by byte, at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

from hoopproxy.wire.codec import Codec
from hoopproxy.wire.frames import Frame

__all__ = ["every_split", "frames_of", "random_splits"]


def every_split(data: bytes) -> Iterator[tuple[bytes, ...]]:
    """``data`` whole, byte by byte, and cut in two at every place."""
    yield (data,)
    yield tuple(data[i : i + 1] for i in range(len(data)))
    for cut in range(1, len(data)):
        yield (data[:cut], data[cut:])


def random_splits(data: bytes, seed: int, rounds: int = 20) -> Iterator[tuple[bytes, ...]]:
    """``data`` cut at random places, reproducibly."""
    source = random.Random(seed)
    for _ in range(rounds):
        places = sorted(source.randrange(len(data) + 1) for _ in range(source.randrange(1, 9)))
        cuts = [0, *places, len(data)]
        yield tuple(data[a:b] for a, b in pairwise(cuts))


def frames_of(make: Callable[[], Codec], pieces: tuple[bytes, ...]) -> tuple[list[Frame], bytes]:
    """All frames of a new codec fed with ``pieces``, and the tail that it keeps."""
    codec = make()
    found: list[Frame] = []
    for piece in pieces:
        found += codec.feed(piece)
    return found, codec.tail()
