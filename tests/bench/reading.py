"""How fast a journal is searched: MB/s of record bodies, by what is asked. ``python -m tests.bench.reading
[MB]``."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hoopproxy.journal.folder import Folder
from hoopproxy.journal.reader import JournalReader
from hoopproxy.reading.answers import Answer, Question
from hoopproxy.reading.ask import ask
from hoopproxy.reading.filters import Filter
from hoopproxy.reading.journals import at_rest
from hoopproxy.reading.scope import EVERYTHING
from tests.cli.trail import Trail
from tests.protocols.postgres.talk import columns, complete, row

SESSIONS = 400


def made(state: Path, megabytes: int) -> tuple[int, int]:
    """A journal of about so many bytes, two thirds of it rows; returns bytes of bodies and of records."""
    trail = Trail(state, segment_bytes=1 << 24)
    each = megabytes * 1_000_000 // SESSIONS
    for number in range(SESSIONS):
        session = trail.session(f"user{number % 50}", target=f"db{number % 5}")
        before = size = 0
        while size < each:
            noise = os.urandom(512).hex().encode()
            session.asks(
                f"SELECT * FROM t WHERE id = {size}", columns("id"), row(noise) * 5, complete("SELECT 5")
            )
            size = sum(session._received.values()) + 3 * 700 * session.exchange.commands
            before += 1
        session.end()
    trail.stop()
    with JournalReader(trail.folder) as reader:
        sizes = [len(record.body) for record in reader]
    return sum(sizes), len(sizes)


QUESTIONS = {
    "no event matches (--kind gateway.stopped)": Question(
        action="tail", filter=Filter(kinds=("gateway.stopped",))
    ),
    "one identity of 50": Question(action="tail", filter=Filter(identities=("user7",))),
    "text that is nowhere": Question(action="tail", filter=Filter(text="drop table")),
    "every event": Question(action="tail"),
    "sessions": Question(action="sessions", limit=50),
    "last 20": Question(action="tail", limit=20),
    "show last": Question(action="show", session="last"),
}


def measured(state: Path, question: Question) -> tuple[float, int]:
    """Seconds of CPU and pieces of the answer."""
    began = time.process_time()
    count = sum(1 for _ in answers(state, question))
    return time.process_time() - began, count


def answers(state: Path, question: Question) -> Iterator[Answer]:
    return ask(lambda: at_rest(state), question, EVERYTHING)


def main() -> None:
    """Measure and print a table, then JSON."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        size, records = made(state, megabytes)
        (journal,) = (Folder(path, at_rest(state)[0].files) for path in (state / "journals").iterdir())
        stored = sum(journal.segment(number).stat().st_size for number in journal.segments())
        print(f"{size / 1e6:.0f} MB of bodies in {records:,} records, {stored / 1e6:.0f} MB stored")
        found = {}
        for name, question in QUESTIONS.items():
            seconds, count = measured(state, question)
            found[name] = {"seconds": round(seconds, 3), "mb_s": round(size / 1e6 / seconds), "pieces": count}
            print(f"{name:45} {seconds:7.2f} s  {size / 1e6 / seconds:8.0f} MB/s  {count:,} pieces")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"python": sys.version.split()[0], "bytes": size, "peak_mib": peak, "found": found}))


if __name__ == "__main__":
    main()
