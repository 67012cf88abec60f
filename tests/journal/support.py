"""A journal without disk, thread or clock, and a reader over it: what all the tests here stand on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoopproxy.events import canonical
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.writer import Journal

STATE = Path("/state")
SESSION = b"0123456789abcdef"
SMALL = JournalOptions(reserve_bytes=0)


class Timers:
    """``call_later`` that a test fires by hand."""

    def __init__(self) -> None:
        self.waiting: list[Timer] = []

    def __call__(self, seconds: float, function: Callable[[], None]) -> Timer:
        timer = Timer(self, seconds, function)
        self.waiting.append(timer)
        return timer

    def fire(self) -> None:
        """Run everything that is armed now."""
        armed, self.waiting = self.waiting, []
        for timer in armed:
            timer.function()


class Timer:
    def __init__(self, timers: Timers, seconds: float, function: Callable[[], None]) -> None:
        self.timers, self.seconds, self.function = timers, seconds, function

    def cancel(self) -> None:
        self.timers.waiting.remove(self)


def opened(files: MemoryFiles, options: JournalOptions = SMALL, **more: Any) -> Journal:
    """The newest unlocked journal of :data:`STATE` (or a new one), started, without a thread."""
    journal = Journal(Folder.acquire(STATE, files), options=options, threaded=False, **more)
    journal.start()
    return journal


def records(files: MemoryFiles, **more: Any) -> list[Record]:
    """What a reader of the newest journal is shown."""
    from hoopproxy.journal.folder import journals

    with JournalReader(journals(STATE, files)[-1], **more) as reader:
        return list(reader)


def bodies(files: MemoryFiles, **more: Any) -> list[bytes]:
    """Their bodies."""
    return [record.body for record in records(files, **more)]


def event(kind: str, *, session: str = "s1", op: str | None = None, seq: int = 1, **inside: object) -> bytes:
    """An event's canonical JSON, as the recorder makes it."""
    return canonical(
        {
            "client": {"addr": "127.0.0.1"},
            "event": inside,
            "id": "x",
            "kind": kind,
            "mono": 5,
            "node": "gw1",
            "op": op,
            "seq": seq,
            "session": session,
            "target": {"name": "app", "labels": {"env": "prod"}},
            "time": "2026-01-01T00:00:00Z",
            "v": 1,
        }
        if op
        else {"event": inside, "kind": kind, "mono": 5, "node": "gw1", "seq": seq, "session": session, "v": 1}
    )


def last_segment(files: MemoryFiles, folder: Folder) -> Path:
    """The file that the journal wrote last."""
    return folder.segment(folder.segments()[-1])
