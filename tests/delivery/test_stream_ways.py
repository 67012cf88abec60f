"""Several along one journal, at random: each has every record once and in order, and gets to the end."""

from __future__ import annotations

from random import Random

import pytest

from hoopproxy.delivery import stream as module
from hoopproxy.delivery.stream import Stream, View
from hoopproxy.journal.memory import MemoryFiles

from .following import opened, write

SEEDS, STEPS = range(40), 300
MOST_SECONDS = 0.7  # that the others wait for one who is stuck, in all


class Several:
    """Views that come, go, jump and are slow, while somebody writes."""

    def __init__(self, seed: int) -> None:
        self.random, self.now = Random(seed), 1000.0
        self.journal = opened(MemoryFiles())
        window = self.random.choice((1, 4000, 9000, 30_000))
        self.stream = Stream(self.journal.folder, window_bytes=window, monotonic=lambda: self.now)
        self.views = [View(self.stream, 1) for _ in range(4)]

    def take(self, view: View) -> bool:
        batch = view.read()
        if batch is None:
            return False
        assert [entry.jseq for entry in batch.entries] == list(range(view.position, batch.last + 1))
        view.position = batch.last + 1
        return True

    def step(self) -> None:
        random, head = self.random, self.stream.head.jseq
        what = random.random()
        if what < 0.3:
            write(self.journal, random.randint(1, 12))
            self.stream.look()
        elif what < 0.34 and len(self.views) > 2:
            self.views.pop(random.randrange(len(self.views))).close()
        elif what < 0.38:
            self.views.append(View(self.stream, random.choice((1, max(1, head - 20), head + 1))))
        elif what < 0.42:
            self.now += random.choice((0.01, 0.1, 5, 60))
        elif what < 0.44:
            random.choice(self.views).move(max(1, head - random.randint(0, 50)))
        elif what < 0.46:
            self.journal.roll()
        elif what < 0.47:
            self.stream.close()
        else:
            for _ in range(random.randint(1, 4)):
                self.take(random.choice(self.views))

    def is_over(self) -> bool:
        return all(view.position == self.stream.head.jseq + 1 for view in self.views)


def test_each_gets_to_the_end_whatever_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 3000)
    monkeypatch.setattr(module, "BATCH_ENTRIES", 7)
    for seed in SEEDS:
        several = Several(seed)
        for _ in range(STEPS):
            several.step()
        several.stream.look()
        stuck = several.views.pop()  # and in the way of the others
        began = several.now
        while not several.is_over():
            took = [several.take(view) for view in several.views]
            if not any(took):
                several.now += 0.005
            assert several.now - began < MOST_SECONDS, f"seed {seed}: somebody waits for ever"
        stuck.close()
