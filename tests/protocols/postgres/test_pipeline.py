"""Random conversations, split anywhere, against a model of the server: directly, and through the gate."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .joined import Joined, assert_accounted
from .model import Model, named, told
from .moves import conversations, cuts

_RELAXED = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@_RELAXED
@given(
    messages=conversations,
    places=st.lists(st.integers(0, 1 << 16), max_size=12),
    steps=st.lists(st.sampled_from([0, 0, 1, 2, 3, 7, 20, 1000, -1]), max_size=40),
    mode=st.sampled_from(["strict", "bounded"]),
)
def test_a_client_sees_what_it_would_see_of_a_server_that_refuses_by_itself(
    messages: list[bytes], places: list[int], steps: list[int], mode: str
) -> None:
    """One ReadyForQuery too many or too few, and every later answer belongs to another question."""
    data = b"".join(messages)
    alone = Model(refuses="DROP")
    expected = alone.receive(data)
    behind = Model()
    joined = Joined(behind.receive, mode=mode, at_once=False)
    joined.run(cuts(data, places), steps)
    player = joined.player
    if alone.closed:  # a command inside a COPY: the server ends the session, and who speaks first is open
        player.end()
        assert_accounted(player)
        return
    assert player.relay.closed is None, player.journal.of("session.violation")
    assert told(joined.client) == told(expected)
    assert behind.committed == alone.committed
    assert behind.dropped == 0
    assert b"DROP" not in joined.server
    player.end()
    assert_accounted(player)
    done = alone.ran[:-1] if alone.copying else alone.ran
    expected_texts = [text for text in done if text != "FUNCTION" and "DROP" not in text]
    ran = [text for text in named(player.journal) if text is not None]
    known = [text for text in expected_texts if text != "?"]
    assert ran == known, (ran, known)
