"""What is unanswered is bounded: a client that never waits is not read on, and loses nothing by it."""

from __future__ import annotations

import pytest

from hoopproxy.protocols.postgres.outstanding import MAX_UNANSWERED, READ_ON_AT

from .joined import assert_accounted, joined
from .model import told
from .talk import SYNC, bind, execute, m, parse, query

FLOODS = {
    "queries": query("SELECT 7"),
    "batches": parse("SELECT 7") + bind() + execute() + SYNC,
    "syncs": SYNC,
    "parses without a sync": parse("SELECT 7"),
    "refused": query("DROP TABLE t"),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_client_that_sends_on_is_not_read_until_half_is_answered(what: str) -> None:
    """Each message of 5 bytes costs the gateway hundreds, for as long as the target sleeps."""
    through, _ = joined(mode="bounded")
    through.player.journal.checks = False
    paused = through.player.relay.paused["client"]
    queue = through.player.exchange.conversation._pipeline.queue  # type: ignore[attr-defined]
    through.say(query("SELECT 7"))
    most = 0
    said = 0
    while not paused:
        through.say(FLOODS[what] * 100)
        said += 100
        most = max(most, len(queue))
    assert MAX_UNANSWERED <= most <= MAX_UNANSWERED + 500
    assert paused == {"unanswered"}
    through.work()
    while paused:
        assert len(queue) > READ_ON_AT
        through.reply(2000)
    assert len(queue) <= READ_ON_AT
    through.reply()
    assert not queue
    through.say(SYNC + query("SELECT 7"))
    through.run([])
    assert not paused
    through.player.end()
    assert_accounted(through.player)
    ready = sum(kind == "Z" for kind, _ in told(through.client))
    assert ready == (3 if what.startswith("parses") else said + 3)


def test_a_pause_ends_with_what_a_failed_batch_takes_along() -> None:
    """One error answers everything up to the Sync: whoever counts replies would wait for ever."""
    through, _ = joined(mode="bounded")
    through.player.journal.checks = False
    through.say(parse("SELEC 1"))
    through.say((bind() + execute()) * MAX_UNANSWERED)
    assert through.player.relay.paused["client"] == {"unanswered"}
    through.work()
    through.reply()
    assert not through.player.relay.paused["client"], "nothing else will come before its Sync is read"
    through.say(m("H") + SYNC)
    through.run([])
    assert not through.player.relay.paused["client"]
    assert told(through.client)[-1] == ("Z", b"I")
    through.player.end()
    assert_accounted(through.player)
