"""What a journal holds, in figures, and whether all of it is what was written. Reads; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from hoopproxy.errors import Damaged
from hoopproxy.journal.chain import recordless, rewritten
from hoopproxy.journal.damage import Place, Places, Stretch, Stretches
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import PLAIN, REWRITTEN, Kind
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.journal.salvage import Salvage
from hoopproxy.journal.watermark import Mark, read_mark

__all__ = ["Broken", "Checked", "Figures", "check", "damage_of", "survey"]


Told = Callable[[Folder, Record], None]


@attrs.frozen(kw_only=True)
class Figures:
    """A journal in figures. ``created`` is when its oldest segment was begun (Unix ns; 0: it has none);
    ``keys`` counts sessions, ``sealed`` the segments that are encrypted, ``durable`` is what the watermark says."""

    journal: str
    live: bool
    segments: int
    bytes: int
    first_jseq: int
    durable: int
    created: int
    keys: int
    rewritten: int
    sealed: int
    epoch: int


def survey(folder: Folder) -> Figures:
    """Look at headers only: one read for each segment. Raises ``Damaged``, ``UnsupportedFormat``, ``OSError``."""
    mark = read_mark(folder.files, folder.watermark)
    headers = sound_segments(folder, mark)
    size = 0
    for header in headers:
        handle = folder.files.open_read(folder.segment(header.number))
        try:
            size += folder.files.size(handle)
        finally:
            folder.files.close(handle)
    keys = KeyFile.open(folder.files, folder.keys, folder.id)
    try:
        count = keys.count
    finally:
        keys.close()
    return Figures(
        journal=folder.path.name,
        live=folder.is_live,
        segments=len(headers),
        bytes=size,
        first_jseq=headers[0].first_jseq if headers else 1,
        durable=mark.jseq,
        created=headers[0].created if headers else 0,
        keys=max(count - 1, 0),  # the first is the gateway's own
        rewritten=sum(bool(header.flags & REWRITTEN) for header in headers),
        sealed=sum(header.cipher != PLAIN for header in headers),
        epoch=headers[-1].epoch if headers else 0,
    )


@attrs.frozen(kw_only=True)
class Checked:
    """What was found sound: records by kind, and by which event's order segments were rewritten."""

    records: int
    kinds: dict[str, int]
    rewritten: tuple[tuple[int, int], ...]


def check(folder: Folder, told: Told = lambda folder, record: None) -> Checked:
    """Read every byte: each block's checksums, the numbers without a gap, the chain from segment to segment, up to
    where the watermark says; and the key file.

    :param told: called with each record.
    :raises Damaged: names the file and the byte. ``UnsupportedFormat``, ``OSError``.
    """
    kinds: dict[str, int] = {}
    mark = read_mark(folder.files, folder.watermark)
    for kind in _kinds(folder, mark, told):
        kinds[kind] = kinds.get(kind, 0) + 1
    for damage in recordless(folder):
        raise damage
    return Checked(records=sum(kinds.values()), kinds=kinds, rewritten=tuple(rewritten(folder)))


def _kinds(folder: Folder, mark: Mark, told: Told) -> Iterator[str]:
    expected = keys = 0
    with JournalReader(folder) as reader:
        for record in reader:
            # Only a gap that an operator accepted may be missing, and the record that says so comes next.
            if expected and record.jseq != expected and record.kind != Kind.GAP:
                path = str(folder.segment(record.segment))
                raise Damaged(path, record.offset, f"record {expected} was expected, {record.jseq} is there")
            expected, keys = record.jseq + 1, max(keys, record.key_id)
            told(folder, record)
            yield _NAMES.get(record.kind, f"kind {record.kind}")

    if mark.jseq >= max(expected, 1):
        what = f"the segments end before record {mark.jseq}, which was durable: one is missing, or was cut"
        raise Damaged(str(folder.path), 0, what)
    _check_keys(folder, keys)


def _check_keys(folder: Folder, last: int) -> None:
    """Every entry of the key file, up to the last that a record speaks of."""
    file = KeyFile.open(folder.files, folder.keys, folder.id)
    try:
        for _ in file.all():
            pass
        file.get(last)
    finally:
        file.close()


@attrs.frozen(kw_only=True)
class Broken:
    """How far damage reaches. ``records`` are sound by their own checksums, in ``stretches``: that they are the ones
    that were here is what a ledger can prove, and the chain only before the first of the ``places``.

    :ivar sessions: that are touched for certain. :ivar perhaps: that were open where records can't be read, and silent
        behind it. :ivar links: segments that are what the next one continues, of so many. ``more``: not listed.
    """

    places: list[Place]
    more: int
    sessions: list[str]
    perhaps: list[str]
    more_sessions: int
    records: int
    stretches: list[Stretch]
    more_stretches: int
    links: tuple[int, int]


def damage_of(folder: Folder, told: Told = lambda folder, record: None) -> Broken:
    """Read a journal to its end, whatever is damaged in it. :param told: called with each block's last record.

    Raises ``OSError``, and what the folder's keyring does.
    """
    places, stretches = Places(), Stretches()
    salvage = Salvage(folder, places.add)
    try:
        for block in salvage.blocks():
            stretches.add(block[0].jseq, block[-1].jseq)
            told(folder, block[-1])
        perhaps = salvage.touched.perhaps()
    finally:
        salvage.close()
    touched = salvage.touched
    return Broken(
        places=places.all,
        more=places.more,
        sessions=list(touched.sessions),
        perhaps=perhaps,
        more_sessions=touched.more,
        records=stretches.records,
        stretches=stretches.all,
        more_stretches=stretches.more,
        links=(salvage.links, max(salvage.segments - 1, 0)),
    )


_NAMES = {int(kind): kind.name.lower() for kind in Kind}
