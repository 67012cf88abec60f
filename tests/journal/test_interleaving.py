"""Whatever is asked for becomes durable, however the two threads come to look at one another."""

from __future__ import annotations

import pytest

from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.vault import Sealing

from .interleaving import Interleaved
from .support import records

SEEDS, ROUNDS = range(3), 20
SEALING = Sealing(("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",), bytes(32))
OPTIONS = {
    "as it is": JournalOptions(reserve_bytes=0),
    "cut": JournalOptions(reserve_bytes=0, batch_bytes=2000, sync_ms=25, segment_bytes=5000),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("often", [0.01, 0.2])
@pytest.mark.parametrize("at_rest", [True, False])
@pytest.mark.parametrize("is_asked", [True, False])
@pytest.mark.parametrize("sealing", [None, SEALING], ids=["plain", "sealed"])
def test_no_wake_up_is_lost(
    options: JournalOptions, often: float, at_rest: bool, sealing: Sealing | None, is_asked: bool
) -> None:
    for seed in SEEDS:
        found = Interleaved(
            seed, often=often, options=options, at_rest=at_rest, sealing=sealing, is_asked=is_asked
        )
        journal = found.journal
        for _ in range(ROUNDS):  # of few steps: the next who asks would mend what the last one missed
            found.run(found.random.randint(1, 16))
            assert journal.durable + 1 == journal.next_jseq, f"seed {seed}: nothing will ever write the rest"
            assert found.heard == found.waited == found.carried, f"seed {seed}"
        assert found.stop() == [None], f"seed {seed}"
        read = {record.jseq: record.body for record in records(found.files)}
        assert list(read) == list(range(1, journal.next_jseq)), f"seed {seed}"
        assert all(text in read[jseq] for jseq, text in found.asked.items()), f"seed {seed}"
