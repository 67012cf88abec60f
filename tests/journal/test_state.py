"""What is open, as the writer and the recovery see it."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.journal.state import OpenState

from .support import event

KINDS = st.sampled_from(
    [
        "login.succeeded",
        "session.start",
        "session.end",
        "command.requested",
        "command.completed",
        "command.denied",
        "login.failed",
    ]
)


def test_a_session_is_open_until_its_end() -> None:
    """Or a crash would leave it open for ever, or end it twice."""
    state = OpenState()
    state.note(1, event("session.start", session="s1"))
    state.note(2, event("session.start", session="s2"))
    state.note(1, event("command.requested", session="s1", op="o1", seq=2))
    state.note(1, event("command.completed", session="s1", op="o1", seq=3))
    state.note(2, event("session.end", session="s2", seq=2))
    assert [each["session"] for each in state.sessions] == ["s1"]
    assert state.last_seqs == {"s1": 3}
    assert state.keys == {"s1": 1}
    assert state.commands == []


def test_a_session_is_open_from_its_log_in_on() -> None:
    """Whoever logged in and never came to a command is in the trail, and a crash must end that, too."""
    state = OpenState()
    state.note(1, event("login.succeeded", session="s1", seq=1))
    state.note(2, event("login.succeeded", session="s2", seq=1))
    state.note(2, event("session.start", session="s2", seq=2))
    state.note(3, event("login.succeeded", session="s3", seq=1))
    state.note(3, event("session.end", session="s3", seq=2))
    assert [(each["session"], each["kind"]) for each in state.sessions] == [
        ("s1", "login.succeeded"),
        ("s2", "session.start"),
    ]
    assert state.last_seqs == {"s1": 1, "s2": 2}


@pytest.mark.parametrize("outcome", ["completed", "denied", "skipped", "unfinished"])
def test_a_command_is_open_until_its_outcome(outcome: str) -> None:
    """A result is no outcome: more may follow."""
    state = OpenState()
    state.note(1, event("command.requested", op="o1"))
    state.note(1, event("command.requested", op="o2"))
    state.note(1, event("command.result", op="o1"))
    assert [each["op"] for each in state.commands] == ["o1", "o2"]
    state.note(1, event(f"command.{outcome}", op="o1"))
    assert [each["op"] for each in state.commands] == ["o2"]


def test_what_a_client_says_is_not_taken_for_the_envelope() -> None:
    """SQL, keys or labels that spell an envelope must not close a session or a command."""
    state = OpenState()
    state.note(1, event("session.start"))
    state.note(1, event("command.requested", op="o1"))
    lie = '"kind":"session.end","mono":5,"node":"gw1","op":"o1"'
    state.note(1, event("command.result", op="o9", sql=lie))
    state.note(1, event("command.result", op="o9", nested={"kind": "session.end", "mono": 5, "op": "o1"}))
    labels = {"kind": "session.end", "mono": "5", "op": "o1"}
    body = orjson.loads(event("command.result", op="o9"))
    body["target"]["labels"] = labels
    state.note(1, orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    assert len(state.sessions) == 1
    assert len(state.commands) == 1


def test_a_huge_statement_is_not_kept_in_memory_until_its_outcome() -> None:
    """Sixteen MiB per open command, in the checkpoint of each segment as well, would be too much."""
    state = OpenState()
    state.note(1, event("command.requested", op="o1", sql="x" * 100_000))
    assert state.commands[0]["op"] == "o1"
    assert len(state.encode()) < 1000


@given(st.lists(st.tuples(KINDS, st.integers(1, 3), st.integers(1, 4)), max_size=30), st.booleans())
def test_noting_twice_and_storing_between_change_nothing(
    steps: list[tuple[str, int, int]], twice: bool
) -> None:
    """A failed batch is noted again; a segment's STATE continues the one before."""
    plain, stored = OpenState(), OpenState()
    for kind, key, op in steps:
        body = event(kind, session=f"s{key}", op=f"o{op}")
        plain.note(key, body)
        stored = OpenState.decode(stored.encode())
        stored.note(key, body)
    if twice:
        for kind, key, op in steps:
            stored.note(key, event(kind, session=f"s{key}", op=f"o{op}"))
    assert sorted(each["op"] for each in plain.commands) == sorted(each["op"] for each in stored.commands)
    assert plain.keys == stored.keys
    assert plain.last_seqs == stored.last_seqs


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff" * 50, b'{"kind":"command.requested"}', b'{"kind":5}']
)
def test_what_is_no_event_is_ignored(body: bytes) -> None:
    """The journal takes any bytes; a third party's must not stop its writer."""
    state = OpenState()
    state.note(1, body)
    assert state.sessions == []


@pytest.mark.parametrize("data", [b"[]", b'{"sessions":[[1]]}', b'{"sessions":5,"commands":[]}', b"{"])
def test_a_state_block_of_something_else_is_a_value_error(data: bytes) -> None:
    """Recovery then calls it damage instead of crashing."""
    with pytest.raises(ValueError):  # noqa: PT011 (the words are the JSON library's)
        OpenState.decode(data)
