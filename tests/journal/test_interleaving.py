"""Whatever is asked for becomes durable, however the two threads come to look at one another."""

from __future__ import annotations

import pytest

from hoopproxy.journal.options import JournalOptions

from .interleaving import Interleaved

SEEDS = range(12)
OPTIONS = {
    "as it is": JournalOptions(reserve_bytes=0),
    "cut": JournalOptions(reserve_bytes=0, batch_bytes=2000, segment_bytes=5000),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("often", [0.01, 0.2])
@pytest.mark.parametrize("at_rest", [True, False])
def test_no_wake_up_is_lost(options: JournalOptions, often: float, at_rest: bool) -> None:
    for seed in SEEDS:
        found = Interleaved(seed, often=often, options=options, at_rest=at_rest)
        found.run(120)
        journal = found.journal
        assert journal.durable + 1 == journal.next_jseq, f"seed {seed}: nothing will ever write the rest"
        assert found.heard == found.waited, f"seed {seed}"
        assert found.stop() == [None], f"seed {seed}"
