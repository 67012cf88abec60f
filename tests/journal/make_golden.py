"""Write the golden journals. Run once per format version; what is in ``golden/`` is never written again.

``python -m tests.journal.make_golden`` adds what is new and touches nothing that is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hoopproxy.journal.commitments import Stub
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keys import Key, KeyFile
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.vault import Sealing
from hoopproxy.journal.writer import Journal

from .support import SESSION, Timers, event
from .turns import answer, ask, session

GOLDEN = Path(__file__).with_name("golden")
IDENTITY = "0190b5a0-0000-7000-8000-00000000000"


#: Of the golden sealed journal alone: whoever reads this can open it.
READER_KEY = bytes(range(32))
IDENTITY_FILE = "identity"


def write(
    name: str, number: int, options: JournalOptions, end: bool, sealed: bool = False, turns: bool = False
) -> None:
    """One journal with a record of each kind, two segments, two keys."""
    target = GOLDEN / "version-1" / name
    if target.exists():
        sys.exit(f"{target} is there already, and golden files are for ever")
    files = MemoryFiles()
    path = Path("/state/journals") / f"{IDENTITY}{number}"
    folder = Folder(path, files, files.lock(path / "lock"))
    KeyFile.create(files, folder.keys, folder.id, Key(0, bytes(16), b"g" * 16, 1))
    now = iter(range(1_700_000_000_000_000_000, 1_700_000_000_000_000_000 + 10**9, 10**6))
    journal = Journal(
        folder,
        options=options,
        threaded=False,
        wall=lambda: next(now),
        entropy=lambda size: bytes(range(size)),
        call_later=Timers(),
        sealing=_sealing(target) if sealed else None,
    )
    journal.start()
    key = journal.open_key(SESSION)
    journal.append_event(event("session.start", session="s1", seq=1), key, opens=SESSION)
    journal.append_chunk(key, SESSION, 0, 0, 0, 5, b"SELECT 'xxxxxx'", [(8, 6, 2)])
    requested = event("command.requested", session="s1", op="o1", seq=2, sql="SELECT 1")
    journal.append_event(requested, key, opens=b"o1")
    if turns:
        _take_turns(journal)
    journal.commit_now()
    journal.append(Kind.CHECKPOINT, b"checkpoint")
    journal.append(Kind.GAP, b'{"bytes":1,"count":1,"first":1,"last":1}', flags=1)
    journal.append(Kind.STUB, Stub(1, 10, b"c" * 32).encode(), key)
    journal.commit_now()
    if end:
        journal.append_event(event("command.completed", session="s1", op="o1", seq=3), key, closes=b"o1")
        journal.append_event(event("session.end", session="s1", seq=4), key, closes=SESSION)
        journal.stop()
    target.mkdir(parents=True, exist_ok=sealed)
    for each in files.names(path):
        if each not in ("lock", "reserve"):
            data = files.content(path / each)
            cut = data.rstrip(b"\0") + bytes(16)  # the zeros ahead are a megabyte, and mean nothing
            (target / each).write_bytes(cut if len(data) > 1 << 20 else data)


def _take_turns(journal: Journal) -> None:
    """A command of another session and its answer, and one that waits for its answer."""
    key = journal.open_key(session(1))
    ask(journal, key, 1, 0, 1)
    answer(journal, key, 1, 0, 2)
    ask(journal, key, 1, 20, 4)


def _sealing(target: Path) -> Sealing:
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    target.mkdir(parents=True)
    (target / IDENTITY_FILE).write_text(f"{identity}\n")
    return Sealing((str(identity.to_public()),), READER_KEY)


def main() -> None:
    """Make all of them."""
    made = (
        ("ended", 1, JournalOptions(reserve_bytes=0, segment_bytes=600), True, False),
        ("killed", 2, JournalOptions(reserve_bytes=0, compress=False), False, False),
        ("sealed", 3, JournalOptions(reserve_bytes=0, segment_bytes=600), True, True),
        ("sealed-killed", 4, JournalOptions(reserve_bytes=0), False, True),
        ("turns", 5, JournalOptions(reserve_bytes=0), False, False, True),
    )
    for name, *facts in made:
        if not (GOLDEN / "version-1" / name).exists():
            write(name, *facts)


if __name__ == "__main__":
    main()
