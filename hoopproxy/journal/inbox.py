"""What the reactor's thread and the writer's thread hand to one another."""

from __future__ import annotations

from collections import deque

from hoopproxy.journal.keys import Key

__all__ = ["Inbox", "QueuedRecord", "Trouble"]

#: kind, flags, key id, body (one piece or several)
QueuedRecord = tuple[int, int, int, bytes | tuple[bytes, ...] | list[bytes]]


class Trouble(Exception):
    """The disk refused. ``code`` and ``sentence`` are those of ``JournalRefused``."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


class Inbox:
    """What the reactor's thread hands over: appends and pops of a deque are atomic, plain attributes too.

    ``appended`` counts body bytes ever queued. A key is put in before the first record that uses it.
    ``mark`` is the monotonic time in ns of the first record that waits.
    """

    __slots__ = ("appended", "keys", "mark", "records", "stop", "want")

    def __init__(self) -> None:
        self.records: deque[QueuedRecord] = deque()
        self.keys: deque[Key] = deque()
        self.appended = 0
        self.mark: int | None = None
        self.want = False
        self.stop = False
