"""Which checkpoint covers what was read: looked up in the ledger's own files, nothing is verified here."""

from __future__ import annotations

import re
from typing import Final

from hoopproxy.journal.folder import Folder
from hoopproxy.ledger.folder import LedgerFolder, ledgers_root
from hoopproxy.ledger.leaf import BadLeaf, Leaf
from hoopproxy.ledger.tiles import BadTile, Tiles
from hoopproxy.reading.answers import Covering

__all__ = ["covering"]

_MOST: Final = 1 << 16  # bytes; a checkpoint has some hundred
_SIZE: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


def covering(folder: Folder, last: int) -> Covering:
    """The newest checkpoint of a journal's tree, and whether record ``last`` is under it."""
    name = folder.path.name
    ledger = LedgerFolder(ledgers_root(folder.path.parent.parent) / name, folder.files)
    try:
        note = ledger.read("checkpoint")[:_MOST].decode("utf-8")
    except FileNotFoundError:
        return Covering(name, f"Journal {name} has no ledger: no checkpoint covers this.", "", False)
    except (OSError, UnicodeDecodeError):
        return Covering(name, f"The checkpoint of journal {name} can't be read.", "", False)
    lines = note.split("\n")
    if len(lines) < 3 or not _SIZE.fullmatch(lines[1]):
        return Covering(name, f"The checkpoint of journal {name} is none.", "", False)
    if _last(ledger, int(lines[1])) >= last:
        sentence = (
            f"All of it, up to record {last}, is in journal {name} under its checkpoint of size {lines[1]}."
        )
        return Covering(name, sentence, note, True)
    sentence = (
        f"The newest checkpoint of journal {name} has size {lines[1]} and need not cover all of this: the last "
        f"record is {last}."
    )
    return Covering(name, sentence, note, False)


def _last(ledger: LedgerFolder, size: int) -> int:
    """The number of the last record in the tree; 0 if that can't be told."""
    try:
        return Leaf.decode(Tiles(ledger.read, size).leaf(size - 1)).last if size else 0
    except (BadTile, BadLeaf, OSError):
        return 0
