"""What proves a session to an outsider: public keys, the notes that vouch for them, and a proof for each event."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final

from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.folder import Folder
from hoopproxy.ledger.epoch import Epochs
from hoopproxy.ledger.evidence import heads, place_of, prove
from hoopproxy.ledger.folder import LedgerFolder, ledgers_root
from hoopproxy.ledger.tiles import Tiles
from hoopproxy.reading.answers import Exhibit, Remark

__all__ = ["MOST_PROOFS", "exhibits"]

MOST_PROOFS: Final = 2000
"""Events of a session that get a proof each, its first ones; some milliseconds and kilobytes apiece."""


def exhibits(folder: Folder, records: Iterable[tuple[int, str]]) -> Iterator[Exhibit | Remark]:
    """The ledger's part of a bundle. What can't be proven is said.

    :param records: number and id of each event.
    """
    ledger = LedgerFolder(ledgers_root(folder.path.parent.parent) / folder.path.name, folder.files)
    try:
        notes = ledger.epochs()
        size = max((head.size for _, head in heads(ledger)), default=0)
        if not notes or not size:
            yield Remark(f"journal {folder.path.name} is not sealed, so nothing of it can be proven")
            return
        keys = "".join(f"{epoch.key}\n" for epoch in Epochs(notes).all)
        yield _exhibit(f"keys/{folder.path.name}.keys", keys.encode())
        for number, note in enumerate(notes, 1):
            yield _exhibit(f"keys/{folder.path.name}.{number:06d}.note", note)
        yield from _proofs(folder, ledger, size, records)
    except (HoopproxyError, OSError) as problem:
        yield Remark(f"not everything could be proven: {problem}")


def _proofs(
    folder: Folder, ledger: LedgerFolder, size: int, records: Iterable[tuple[int, str]]
) -> Iterator[Exhibit | Remark]:
    tiles = Tiles(ledger.read, size)
    unproven = 0
    for count, (jseq, name) in enumerate(records):
        place = place_of(tiles, jseq) if count < MOST_PROOFS else None
        if place is None:
            unproven += 1
            continue
        yield _exhibit(f"proofs/{name}.tlog-proof", prove(folder, ledger, place).encode())
    if unproven:
        yield Remark(
            f"without a proof in here: {unproven} of the events; {MOST_PROOFS} get one at most, and none not sealed yet"
        )


def _exhibit(name: str, data: bytes) -> Exhibit:
    return Exhibit(name, b64encode(data).decode())
