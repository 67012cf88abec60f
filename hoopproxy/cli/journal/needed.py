"""Who reads the trail, how far each has come, and from where on a journal is still needed.

Those that the follower keeps a place for have a cursor file; the ledger's place is its newest checkpoint. The index
is not asked: it can be made again, and what is gone need not be found.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

import orjson

from hoopproxy.errors import Damaged
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.folder import CHECKPOINT, LedgerFolder, ledgers_root
from hoopproxy.ledger.leaf import BadLeaf, Leaf
from hoopproxy.ledger.note import BadNote, Note
from hoopproxy.ledger.tiles import BadTile, Tiles

__all__ = ["needed_from", "readers_of"]

_NOBODY: Final = 1 << 64
_SUFFIX: Final = ".cursor"


def needed_from(state: Path, journal: bytes) -> int:
    """The lowest number that a reader with a cursor still wants of that journal; past the end: nobody does.

    Every cursor counts: a sink that is optional has one until it is moved on at its quota, one that is no
    longer configured until its file is removed. What a ledger has not sealed stays until it has.

    :raises Damaged: a place can't be read, so nobody knows what is still wanted.
    """
    name = str(uuid.UUID(bytes=journal))
    wanted = [positions.get(name, 1) for positions in _cursors(state).values()]
    sealed = _sealed(state, name)
    return min([*wanted, *sealed], default=_NOBODY)


def _sealed(state: Path, journal: str) -> list[int]:
    """The first number that isn't sealed, if the journal has a ledger."""
    path = ledgers_root(state) / journal
    if not path.is_dir():
        return []
    ledger = LedgerFolder(path)
    try:
        data = ledger.read_or_none(CHECKPOINT)
        if data is None:
            return [1]
        head = Checkpoint.of(Note.parse(data))
        return [Leaf.decode(Tiles(ledger.read, head.size).leaf(head.size - 1)).last + 1] if head.size else [1]
    except (BadNote, BadTile, BadLeaf) as problem:
        raise Damaged(str(path), 0, f"the newest checkpoint can't be used: {problem}") from None


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
