"""Who is waited for before a commit: those who are about to ask, and nobody who won't."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from hoopproxy.journal.folder import Folder
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.writer import Journal

from .support import Timers, opened
from .turns import ask, session


class Crowd:
    """Sessions over a journal without a thread. Each time that the writer waits, so many of them ask meanwhile."""

    def __init__(self, count: int) -> None:
        self.journal = opened(MemoryFiles(), call_later=Timers())
        self.keys = [self.journal.open_key(session(number)) for number in range(count)]
        self.waits: list[int] = []
        self.coming = 0
        self.seqs = [0] * count
        assert self.journal._committer is not None
        self.journal._committer.gather = self.wait

    def ask(self, number: int) -> None:
        self.seqs[number] += 1
        ask(self.journal, self.keys[number], number, 20 * self.seqs[number], self.seqs[number])

    def wait(self, enough: int, seconds: float) -> None:
        assert 0 < seconds < 0.01, "no session may be held up for long"
        self.waits.append(enough)
        for number in range(1, self.coming):
            self.ask(number)
            self.journal._inbox.asked += 1  # as commit_now does, from the other thread

    def commit(self, coming: int) -> int | None:
        """The first session asks, ``coming`` in all come; for how many the writer waited."""
        self.waits.clear()
        self.coming = coming
        self.ask(0)
        self.journal.commit_now()
        if not self.waits:  # it didn't wait: the others come with the next commit
            for number in range(1, coming):
                self.ask(number)
            self.journal.commit_now()
            return None
        return self.waits[0]


def test_a_few_sessions_wait_for_nobody() -> None:
    crowd = Crowd(3)
    assert [crowd.commit(3) for _ in range(5)] == [None] * 5


def test_those_who_asked_lately_are_waited_for_and_nobody_else() -> None:
    crowd = Crowd(6)
    assert crowd.commit(6) is None, "nobody is known yet"
    assert [crowd.commit(6) for _ in range(20)] == [6] * 20
    assert crowd.journal.durable + 1 == crowd.journal.next_jseq


def test_who_did_not_come_is_not_waited_for_again_and_again() -> None:
    """One in nine times somebody more is hoped for."""
    crowd = Crowd(8)
    crowd.commit(8)
    assert crowd.commit(8) == 8
    assert crowd.commit(5) == 8, "in vain"
    found = [crowd.commit(5) for _ in range(30)]
    # The crowd is those of two commits; then it is five, and all of them come.
    assert found[0] == 5
    assert set(found) <= {5, 6}
    assert found.count(6) <= 4


def test_a_thread_that_waits_goes_on_as_soon_as_they_are_there(tmp_path: Path) -> None:
    """And not only when the time is up, which here is never."""
    journal = Journal(Folder.acquire(tmp_path), options=JournalOptions(reserve_bytes=0))
    over = threading.Event()
    thread = threading.Thread(target=lambda: (journal._gather(3, 60), over.set()))
    thread.start()
    deadline = time.monotonic() + 10
    while journal._inbox.enough != 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    journal.commit_now()
    journal.commit_now()
    assert not over.wait(0.05)
    journal.commit_now()
    assert over.wait(10)
    thread.join(10)
    journal.folder.release()
