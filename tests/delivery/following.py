"""A journal in memory, a clock, and consumers that a test steers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hoopproxy.delivery.backoff import Backoff
from hoopproxy.delivery.consumer import Taken
from hoopproxy.delivery.cursors import CursorFile
from hoopproxy.delivery.follower import Follower
from hoopproxy.delivery.track import Track
from hoopproxy.events import Event, canonical
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.writer import Journal

STATE = Path("/state")
CURSORS = STATE / "trail" / "cursors"
TINY = JournalOptions(reserve_bytes=0, segment_bytes=65536, compress=False)


class Taker:
    """A consumer that keeps what it was handed. ``answer``: what ``take`` gives, when it isn't done at once."""

    def __init__(self, name: str = "one", own: dict[bytes, int] | None = None) -> None:
        self.name, self.own = name, own
        self.taken: list[tuple[bytes, int]] = []
        self.batches: list[list[int]] = []
        self.objects: list[Taken] = []
        self.calls: list[str] = []
        self.answers: list[Any] = []

    def position(self, journal: bytes) -> int | None:
        return None if self.own is None else self.own.get(journal, 1)

    def take(self, journal: bytes, records: Sequence[Taken]) -> Deferred[None] | None:
        self.batches.append([each.jseq for each in records])
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        self.taken += [(journal, each.jseq) for each in records]
        self.objects += records
        return answer  # type: ignore[no-any-return]

    def tick(self) -> Deferred[None] | None:
        self.calls.append("tick")
        return None

    def stop(self) -> Deferred[None] | None:
        self.calls.append("stop")
        return None

    def numbers(self, journal: bytes | None = None) -> list[int]:
        """The numbers that it was handed, of one journal or of all."""
        return [number for whose, number in self.taken if journal in (None, whose)]


class Following:
    """A follower over :data:`STATE` in memory."""

    def __init__(self, files: MemoryFiles, *consumers: Any) -> None:
        files.make_dir(CURSORS)
        self.files, self.clock = files, Clock()
        self.emitted: list[Event] = []
        self.told: list[str] = []
        tracks = [
            Track(
                consumer,
                clock=self.clock,
                cursor=CursorFile(CURSORS / consumer.name, files),
                emit=self.emitted.append,
                tell=self.told.append,
                backoff=Backoff(chance=lambda: 1.0),
            )
            for consumer in consumers
        ]
        self.follower = Follower(STATE, tracks, clock=self.clock, files=files, tell=self.told.append)

    def start(self) -> Following:
        self.follower.start()
        return self.turn()

    def turn(self, seconds: float = 0.0, times: int = 50) -> Following:
        """Let what is due happen, many times over."""
        self.clock.advance(seconds)
        for _ in range(times):
            self.clock.advance(0)
        return self

    def poke(self, journal: Journal | None = None) -> Following:
        self.follower.poke(None if journal is None else journal.folder.id)
        return self.turn()


def opened(files: MemoryFiles, options: JournalOptions = TINY, **more: Any) -> Journal:
    """A journal that is written to."""
    journal = Journal(Folder.acquire(STATE, files), options=options, threaded=False, **more)
    journal.start()
    return journal


def write(journal: Journal, count: int = 1, size: int = 10, **fields: Any) -> list[int]:
    """Append events and make them durable; their numbers."""
    numbers = []
    for _ in range(count):
        number = journal.next_jseq
        event = {"event": {"text": "x" * size}, "id": f"id-{number}", "journal": journal.id, "jseq": number}
        event |= {
            "kind": "session.note",
            "node": "gw1",
            "time": "2026-01-01T00:00:00.000000Z",
            "v": 1,
        } | fields
        numbers.append(journal.append_event(canonical(event)))
    journal.commit_now()
    return numbers


def bodies(consumer: Taker) -> list[dict[str, Any]]:
    """The events that it was handed."""
    return [json.loads(each.body) for each in consumer.objects]
