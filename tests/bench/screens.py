"""What indexing the output of SSH sessions costs: ``python -m tests.bench.screens [--megabytes N]``.

Output of several kinds in messages of 32 KiB, as an sshd sends bulk, recorded, and indexed as the reader process does.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hoopproxy.discovery import screen_texts
from hoopproxy.index.consumer import Index
from hoopproxy.index.shelf import Shelf, folder_of
from hoopproxy.journal.record import chunk_of
from hoopproxy.protocols.ssh.screentexts import ScreenTexts
from hoopproxy.reading.answers import EventLine, Question
from hoopproxy.reading.ask import ask
from hoopproxy.reading.journals import at_rest
from hoopproxy.reading.scope import EVERYTHING
from tests.cli.trail import Trail
from tests.index.ssh import SSHPlayed
from tests.index.support import taken

MESSAGE = 32 << 10
_WORDS = [
    f"{stem}{number}" for stem in ("error", "connect", "user", "file", "table") for number in range(200)
]
_SOURCE = random.Random(7)


def log(size: int) -> bytes:
    """Lines of a log: times, numbers, a few thousand words."""
    lines, length = [], 0
    while length < size:
        words = " ".join(_SOURCE.choices(_WORDS, k=8))
        line = f"2026-11-26T14:{len(lines) % 60:02d}:00 host app[{len(lines)}]: {words} {_SOURCE.random():.6f}\r\n"
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()[:size]


def listing(size: int) -> bytes:
    """``ls -l`` in colours."""
    lines, length = [], 0
    while length < size:
        name = _SOURCE.choice(_WORDS)
        line = f"drwxr-xr-x 2 root root 4096 Nov 26 14:00 \x1b[0m\x1b[01;34m{name}\x1b[0m\r\n"
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()[:size]


def redraws(size: int) -> bytes:
    """``top`` on the alternate screen."""
    parts, length = ["\x1b[?1049h"], 0
    while length < size:
        rows = "".join(
            f"\x1b[{row};1H\x1b[1m{_SOURCE.choice(_WORDS)}\x1b[m {_SOURCE.random():.2f}\x1b[K"
            for row in range(1, 25)
        )
        parts.append(rows)
        length += len(rows)
    return "".join(parts).encode()[:size]


def binary(size: int) -> bytes:
    """An archive."""
    return _SOURCE.randbytes(size)


KINDS: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "a log on a terminal": (0, log),
    "a coloured listing on a terminal": (0, listing),
    "redraws of a full screen": (0, redraws),
    "a log without a terminal": (1, log),
    "an archive without a terminal": (1, binary),
}


def measured(state: Path, channel: int, data: bytes) -> dict[str, float]:
    """CPU milliseconds a megabyte: of the texts alone, and of the index with them; bytes of index a megabyte; CPU of a
    search for a word that is once in the middle."""
    trail = Trail(state)
    session = SSHPlayed(trail)
    for at in range(0, len(data), MESSAGE):
        session.data(1, channel, data[at : at + MESSAGE])
        if at <= len(data) // 2 < at + MESSAGE:
            session.data(1, channel, b"\r\na needle in it\r\n")
    session.end()
    trail.stop()
    records, megabytes = taken(trail.folder), len(data) / 1e6
    chunks = [chunk_of(each.record) for each in records if each.event is None]
    texts, began = ScreenTexts(), time.process_time()
    for chunk in chunks:
        for _ in texts.feed(chunk):
            pass
    alone = time.process_time() - began
    shelf = Shelf(folder_of(state))
    index = Index(shelf, screens_of=lambda target: screen_texts("ssh"))
    began = time.process_time()
    for at in range(0, len(records), 200):
        index.take(trail.folder.id, records[at : at + 200])
    index.stop()
    spent = time.process_time() - began
    size = sum(
        path.stat().st_size for part in shelf.parts(trail.folder.id) for path in part.files if path.exists()
    )
    question = Question(action="search", query="needle", limit=50)
    began = time.process_time()
    find = partial(at_rest, state)
    pieces = list(ask(find, question, EVERYTHING, screen_texts=screen_texts))
    found = sum(isinstance(each, EventLine) for each in pieces)
    looked = time.process_time() - began
    return {
        "search, ms": round(looked * 1e3, 1),
        "found": found,
        "texts, ms a MB": round(alone / megabytes * 1e3, 1),
        "index, ms a MB": round(spent / megabytes * 1e3, 1),
        "index, KB a MB": round(size / megabytes / 1e3, 1),
    }


def main() -> None:
    """Measure and print a table, then JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=8)
    options = parser.parse_args()
    found = {}
    for name, (channel, make) in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measured(Path(folder), channel, make(options.megabytes * 1_000_000))
        print(f"{name:36}", *(f"{value:8} {what}" for what, value in found[name].items()))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
