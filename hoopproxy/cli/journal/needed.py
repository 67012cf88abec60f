"""Who reads the trail, how far each has come, and from where on a journal is still needed."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

import orjson

from hoopproxy.errors import Damaged

__all__ = ["needed_from", "readers_of"]

_NOBODY: Final = 1 << 64
_SUFFIX: Final = ".cursor"


def needed_from(state: Path, journal: bytes) -> int:
    """The lowest number that a reader with a cursor still wants of that journal; past the end: nobody does.

    Every cursor counts: a sink that is optional has one until it is moved on at its quota, one that is no
    longer configured until its file is removed.

    :raises Damaged: a cursor can't be read, so nobody knows what is still wanted.
    """
    wanted = [positions.get(str(uuid.UUID(bytes=journal)), 1) for positions in _cursors(state).values()]
    return min(wanted, default=_NOBODY)


def readers_of(state: Path) -> list[str]:
    """The names of those that keep a cursor."""
    return sorted(_cursors(state))


def _cursors(state: Path) -> dict[str, dict[str, int]]:
    found = {}
    for path in sorted((state / "trail" / "cursors").glob("*" + _SUFFIX)):
        try:
            said = orjson.loads(path.read_bytes().partition(b"\n")[0])
            found[path.name.removesuffix(_SUFFIX)] = {
                str(name): int(at) for name, at in said["positions"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Damaged(str(path), 0, "a cursor was expected") from None
    return found
