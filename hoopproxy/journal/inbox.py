"""What the reactor's thread and the writer's thread hand to one another."""

from __future__ import annotations

from collections import deque
from typing import Any

from hoopproxy.journal.batch import WIDTH
from hoopproxy.journal.keys import Key

__all__ = ["Inbox", "Trouble"]


class Trouble(Exception):
    """The disk refused. ``code`` and ``sentence`` are those of ``JournalRefused``."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


class Inbox:
    """What the reactor's thread hands over.

    ``flat`` has ``batch.WIDTH`` entries for each record that waits. It is only ever extended by a whole
    record (one call, which no other thread can come between) and cut at its beginning, so the other thread
    never sees half a record; and no object is made for a record that lives until it is durable, which would
    set off the collector again and again.

    ``appended`` counts body bytes ever queued. A key is put in before the first record that uses it.
    ``lost`` has what was closed by an event that had to be dropped: the gap's ``jseq``, key id, what it was.
    ``roll`` asks for a new segment before anything more is written.
    ``mark`` is the monotonic time in ns of the first record that waits.
    ``want``: a commit was asked for, ``asked`` times since the last take (of which there were ``takes``). It is time
    for it when that is ``enough``, or when those who didn't come were waited for in vain (``hurry``).
    """

    __slots__ = (
        "appended", "asked", "enough", "flat", "hurry", "keys", "lost", "mark", "roll", "stop", "takes", "want",
    )  # fmt: skip

    def __init__(self) -> None:
        self.flat: list[Any] = []
        self.keys: deque[Key] = deque()
        self.lost: deque[tuple[int, int, bytes]] = deque()
        self.appended = 0
        self.asked = self.enough = self.takes = 0
        self.hurry = False
        self.mark: int | None = None
        self.roll = False
        self.want = False
        self.stop = False

    @property
    def is_time(self) -> bool:
        """Whether the writer should begin."""
        return self.want and (self.hurry or self.asked >= self.enough)

    def first(self, count: int) -> list[Any]:
        """The entries of the first ``count`` records. On the writer's thread."""
        return self.flat[: count * WIDTH]

    def drop(self, count: int) -> None:
        """Remove those: somebody else has them now."""
        del self.flat[: count * WIDTH]
