"""What the search index costs and how fast it answers: ``python -m tests.bench.index [--events N] [--state DIR]``.

A synthetic journal of pgbench's SELECTs (three events and two chunks each) from many sessions, with a rare
statement now and then, as large blocks as eight busy clients make. With ``--state`` it is kept there, and not made
again.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import tempfile
import time
import timeit
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson

from hoopproxy.index.consumer import Index
from hoopproxy.index.shelf import Shelf, folder_of
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.writer import Journal
from hoopproxy.reading.answers import EventLine, Question
from hoopproxy.reading.ask import ask
from hoopproxy.reading.filters import Filter
from hoopproxy.reading.journals import Read, at_rest
from hoopproxy.reading.scope import EVERYTHING

BLOCK = 24
BATCH = 2000

EVENT = (
    '{"client":{"addr":"10.0.0.%(n)d","port":51234,"tls":{"cipher":"TLS_AES_256_GCM_SHA384","version":"TLSv1.3"}},'
    '%(decision)s"decoder":{"name":"postgres","version":"1"},"event":%(event)s,"id":"%(id)s",'
    '"identity":{"groups":["staff"],"id":"user%(n)d","issuer":"file","method":"password","type":"user"},'
    '"journal":"%(journal)s","jseq":%(jseq)d,"kind":"%(kind)s","mono":%(mono)d,"node":"gw1","op":"%(op)s",'
    '%(outcome)s"protocol":"postgres","seq":%(seq)d,"session":"%(session)s",'
    '"target":{"account":"app_ro","name":"app%(t)d"},"time":"%(time)s","v":1}'
)
RARE = ("ALTER TABLE customers ADD COLUMN salary numeric", "DELETE FROM invoices WHERE id = 17")


class Author:
    """Writes the journal, a transaction at a time."""

    def __init__(self, state: Path, sessions: int) -> None:
        self._now = 1_700_000_000_000_000_000
        options = JournalOptions(reserve_bytes=0)
        folder = Folder.make(state)
        self.journal = Journal(
            folder, clock=lambda: self._now, wall=lambda: self._now, threaded=False, options=options
        )
        self.journal.start()
        self._random = random.Random(7)
        self._sessions = [uuid.UUID(int=(0x70 << 72) + (2 << 62) + n + 1) for n in range(sessions)]
        self._keys = [self.journal.open_key(each.bytes) for each in self._sessions]
        self._count = 0

    def transaction(self) -> None:
        number = self._count
        self._count += 1
        n = self._random.randrange(len(self._sessions))
        rare = number % 25_000 == 12_345
        aid = self._random.randrange(1, 10_000_000)
        text = (
            RARE[number // 25_000 % 2]
            if rare
            else f"SELECT abalance FROM pgbench_accounts WHERE aid = {aid};"
        )
        self._now += 100_000
        op = str(uuid.UUID(int=(0x7 << 76) + (2 << 62) + number))
        said = json.dumps(
            {"range": [number, number + 61], "text": text, "verb": text[:6], "verbs": [text[:6]]}
        )
        self._chunk(n, 0, text.encode())
        self._event(n, "command.requested", said, op, "", '"decision":{"effect":"allow","rules":["reader"]},')
        self._chunk(n, 1, b"T\0\0\0!\0\1abalance" + bytes(30))
        self._event(
            n, "command.result", '{"bytes":60,"index":0,"range":[99,159],"rows":1,"tag":"SELECT 1"}', op, ""
        )
        done = '{"bytes":60,"duration":1000000,"results":1,"rows":1}'
        self._event(n, "command.completed", done, op, '"outcome":"success",')
        if number % BLOCK == BLOCK - 1:
            self.journal.commit_now()

    def _chunk(self, n: int, direction: int, data: bytes) -> None:
        self.journal.append_chunk(self._keys[n], self._sessions[n].bytes, 0, direction, 0, self._now, data)

    def _event(self, n: int, kind: str, said: str, op: str, outcome: str, decision: str = "") -> None:
        at = time.gmtime(self._now // 1_000_000_000)
        values = {
            "n": n, "t": n % 5, "decision": decision, "event": said.replace(", ", ",").replace(": ", ":"),
            "id": op, "journal": self.journal.id, "jseq": self.journal.next_jseq, "kind": kind,
            "mono": self._now - 1_700_000_000_000_000_000, "op": op, "outcome": outcome, "seq": self._count,
            "session": str(self._sessions[n]),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", at) + f".{self._now // 1000 % 1_000_000:06d}Z",
        }  # fmt: skip
        self.journal.append_event((EVENT % values).encode(), self._keys[n])


def made(state: Path, events: int, sessions: int) -> None:
    author = Author(state, sessions)
    for _ in range(events // 3):
        author.transaction()
    author.journal.stop()


def batches(folder: Folder) -> Iterator[list[Read]]:
    with JournalReader(folder) as reader:
        batch: list[Read] = []
        for record in reader:
            batch.append(Read(record, folder))
            if len(batch) >= BATCH:
                yield batch
                batch = []
        yield batch


def indexed(state: Path, folder: Folder) -> tuple[float, int]:
    """CPU seconds of the index alone, and its bytes."""
    shelf = Shelf(folder_of(state))
    shelf.drop(folder.id)
    index = Index(shelf)
    spent = 0.0
    for batch in batches(folder):
        began = time.process_time()
        index.take(folder.id, batch)
        spent += time.process_time() - began
    began = time.process_time()
    index.stop()
    spent += time.process_time() - began
    return spent, sum(
        path.stat().st_size for part in shelf.parts(folder.id) for path in part.files if path.exists()
    )


QUESTIONS = {
    "alter table": ("alter table", Filter()),
    "alter table, one identity": ("alter table", Filter(identities=("user3",))),
    "a word that is nowhere": ("zebra", Filter()),
    "a word that is everywhere": ("pgbench_accounts", Filter()),
    "one number": ("4711", Filter()),
    "beginning of a word (sal*)": ("sal*", Filter()),
    "no word, --outcome denied": ("", Filter(outcomes=("denied",))),
    "a common and a rare one": ("select salary", Filter()),
}


def measured(state: Path, text: str, wanted: Filter) -> tuple[float, int]:
    # CPU: it waits for nothing, and the machine may have other work.
    question = Question(action="search", query=text, filter=wanted, limit=50)
    began = time.process_time()
    count = sum(isinstance(piece, EventLine) for piece in ask(lambda: at_rest(state), question, EVERYTHING))
    return time.process_time() - began, count


def main() -> None:
    """Measure and print a table, then JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--state", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = options.state or Path(folder)
        if not (state / "journals").exists():
            made(state, options.events, options.sessions)
        (journal,) = at_rest(state)
        spent, size = indexed(state, journal)
        transactions = options.events // 3
        body = next(each.record.body for each in next(batches(journal)) if each.event)
        parse = min(timeit.repeat(lambda: orjson.loads(body), number=20_000, repeat=3)) / 20_000
        found = {
            "us to parse one event (the machine's pace)": round(parse * 1e6, 2),
            "sqlite": sqlite3.sqlite_version,
            "events": options.events,
            "sessions": options.sessions,
            "us a transaction": round(spent / transactions * 1e6, 2),
            "bytes a transaction": round(size / transactions, 1),
            "journal bytes a transaction": round(
                sum(journal.segment(each).stat().st_size for each in journal.segments()) / transactions
            ),
        }
        for name, value in found.items():
            print(f"{name:44} {value}")
        for name, (text, wanted) in QUESTIONS.items():
            seconds, count = measured(state, text, wanted)
            found[name] = round(seconds, 3)
            print(f"{name:44} {seconds:8.3f} s {count:6} events")
        print(json.dumps(found))


if __name__ == "__main__":
    main()
