"""The connection protocol through the gate: RFC 4254, what goes on, what is refused, and what no peer may say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import CHANNELS_MAX, OWED_MAX
from hoopproxy.protocols.ssh.packets import Reader, framed, packet, string, uint32

from .stage import (
    PACKET,
    WINDOW,
    adjust,
    assert_accounted,
    begun,
    confirm,
    data,
    execute,
    exit_status,
    global_request,
    kinds,
    open_session,
    opened,
    payloads,
    plain,
    request,
    running,
    stderr,
)

CLIENT = [
    open_session(),
    request("env", string("LANG"), string("C.UTF-8"), wants=False),
    execute("cat file"),
    data(b"typed", 10),
    plain(n.CHANNEL_EOF, 10),
    adjust(10, 5),
    plain(n.CHANNEL_CLOSE, 10),
]

TARGET = [
    confirm(),
    adjust(0, 100),
    plain(n.CHANNEL_SUCCESS, 0),
    data(b"out", 0),
    stderr(b"err", 0),
    exit_status(3),
    plain(n.CHANNEL_EOF, 0),
    plain(n.CHANNEL_CLOSE, 0),
]

SCRIPT = [
    ("client", CLIENT[0]),
    ("target", TARGET[0] + TARGET[1]),
    ("client", CLIENT[1] + CLIENT[2] + CLIENT[3]),
    ("target", TARGET[2] + TARGET[3]),
    ("client", CLIENT[4] + CLIENT[5]),
    ("target", b"".join(TARGET[4:7])),
    ("client", CLIENT[6]),
    ("target", TARGET[7]),
]


def say(player: Any, who: str, what: bytes) -> None:
    (player.client if who == "client" else player.target)(what)


def test_a_command_is_on_record_and_its_bytes_go_on_as_they_came() -> None:
    """The whole life of a channel: what each side got is what the other said."""
    player = begun()
    for who, what in SCRIPT:
        say(player, who, what)
    assert bytes(player.relay.server) == b"".join(CLIENT)
    assert bytes(player.relay.client) == b"".join(TARGET)
    player.end()
    (asked,), (ended,) = player.journal.of("command.requested"), player.journal.of("command.completed")
    assert asked["event"]["text"] == "cat file"
    assert asked["event"]["verbs"] == ["EXEC", "EXEC cat"]
    assert ended["op"] == asked["op"]
    assert ended["outcome"] == "failure"
    assert ended["event"]["detail"] == {
        "channel": 0, "stdin": 5, "stdout": 3, "stderr": 3, "exit_status": 3,
    }  # fmt: skip
    assert_accounted(player)


@given(st.lists(st.integers(1, 40), max_size=60))
def test_any_split_gives_the_same_records(cuts: list[int]) -> None:
    """Segments are the network's, messages are the peers'."""
    player = begun()
    steps = iter(cuts)
    for who, what in SCRIPT:
        while what:
            cut = next(steps, len(what))
            say(player, who, what[:cut])
            what = what[cut:]
    assert bytes(player.relay.server) == b"".join(CLIENT)
    assert bytes(player.relay.client) == b"".join(TARGET)
    player.end()
    assert [each["kind"] for each in player.journal.events][2:] == [
        "session.note", "command.requested", "command.completed", "session.end",
    ][-len(player.journal.events) + 2 :]  # fmt: skip
    assert_accounted(player)


@pytest.mark.parametrize("client", [True, False])
@given(garbage=st.binary(max_size=200), framing=st.booleans())
def test_garbage_ends_the_session_and_none_of_it_goes_on(client: bool, garbage: bytes, framing: bool) -> None:
    """From either side: an error of ours in a parser would be another end, and another record."""
    player = running()
    before = len(player.relay.server), len(player.relay.client)
    bad = framed(bytes([n.CHANNEL_REQUEST]) + garbage) if framing else b"\xff" * 4 + garbage
    say(player, "client" if client else "target", bad)
    if player.relay.closed is not None:
        assert len(player.relay.server) == before[0]
        assert player.journal.of("session.violation")
    player.end()
    assert player.ended["event"]["cause"] != "internal"
    assert_accounted(player)


VIOLATIONS = {
    "an unknown channel": ("client", data(b"x", 11)),
    "data beyond the window": ("client", b"".join(data(b"x" * PACKET, 10) for _ in range(4))),
    "data beyond the packet size": ("client", data(b"x" * (PACKET + 1), 10)),
    "data behind the end": ("client", plain(n.CHANNEL_EOF, 10) + data(b"x", 10)),
    "a message behind the close": ("client", plain(n.CHANNEL_CLOSE, 10) + data(b"x", 10)),
    "a second program": ("client", execute("id")),
    "the number of an open channel": ("client", open_session()),
    "a log-in behind the log-in": ("client", framed(packet(n.USERAUTH_REQUEST, string("x")))),
    "an answer to nothing": ("client", plain(n.CHANNEL_SUCCESS, 10)),
    "an answer to no request of the session": ("client", framed(packet(n.REQUEST_SUCCESS))),
    "a confirmation of nothing": ("client", confirm(10)),
    "a window over 2^32-1": ("client", adjust(10, 2**32 - 1)),
    "bytes behind the end of a message": ("client", framed(packet(n.CHANNEL_EOF, uint32(10), b"x"))),
    "the client's extended data": ("client", stderr(b"x", 10)),
    "the target's extended data of another type": (
        "target",
        framed(packet(n.CHANNEL_EXTENDED_DATA, uint32(0), uint32(2), string(b"x"))),
    ),
    "a length that lies": ("client", framed(packet(n.CHANNEL_DATA, uint32(10), uint32(9), b"x"))),
    "data beyond the client's window": ("target", b"".join(data(b"x" * PACKET, 0) for _ in range(4))),
    "the target's data behind its end": ("target", plain(n.CHANNEL_EOF, 0) + data(b"x", 0)),
    "the target's answer to nothing": ("target", plain(n.CHANNEL_SUCCESS, 0)),
    "the target's second confirmation": ("target", confirm(0, 12)),
    "the target's log-in messages": ("target", framed(packet(n.USERAUTH_SUCCESS))),
    "the target's unknown channel": ("target", data(b"x", 5)),
}


@pytest.mark.parametrize("what", list(VIOLATIONS))
def test_what_no_peer_may_say_ends_the_session(what: str) -> None:
    """The one and the other side would disagree about what was said."""
    who, sent = VIOLATIONS[what]
    player = running()
    before = bytes(player.relay.server if who == "client" else player.relay.client)
    say(player, who, sent)
    assert player.relay.closed is not None
    (found,) = player.journal.of("session.violation")
    assert found["event"]["peer"] == who
    after = bytes(player.relay.server if who == "client" else player.relay.client)
    went_on, legal = payloads(after[len(before) :]), payloads(sent)[:-1]
    assert went_on[: len(legal)] == legal
    assert [each[0] for each in went_on[len(legal) :]] == ([] if who == "client" else [n.DISCONNECT])
    player.end()
    assert_accounted(player)


def test_data_before_a_program_is_refused() -> None:
    """What nothing was admitted for has no place to go."""
    player = opened()
    player.client(data(b"x", 10))
    assert player.journal.of("session.violation")
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN]


def test_our_answer_waits_for_those_of_the_target() -> None:
    """Answers have no number: the order is all that tells whose they are."""
    player = opened({"env": ["GOOD"]})
    player.client(
        request("env", string("GOOD"), string("1"))
        + request("env", string("BAD"), string("1"))
        + request("env", string("GOOD"), string("2"))
    )
    assert kinds(player.relay.client) == [n.CHANNEL_OPEN_CONFIRMATION]
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    assert kinds(player.relay.client)[1:] == [n.CHANNEL_SUCCESS, n.CHANNEL_FAILURE]
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    assert kinds(player.relay.client)[1:] == [n.CHANNEL_SUCCESS, n.CHANNEL_FAILURE, n.CHANNEL_SUCCESS]
    assert b"BAD" not in player.relay.server
    player.end()
    assert_accounted(player)


@pytest.mark.parametrize("denied", [False, True])
def test_twenty_thousand_requests_in_one_go(denied: bool) -> None:
    """Answers by recursion end at a thousand."""
    player = opened({"env": [] if denied else ["*"]})
    count = 20_000
    player.client(request("env", string("A"), string("1")) * count)
    answers = kinds(player.relay.client)[1:]
    assert len(answers) == (count if denied else 0)
    assert len(payloads(player.relay.server)) == (1 if denied else 1 + count)
    player.end()
    assert_accounted(player)


def test_a_flood_of_unanswered_requests_ends() -> None:
    """Each costs memory until the target answers."""
    player = opened({"env": ["*"]})
    player.client(request("env", string("A"), string("1")) * (OWED_MAX + 1))
    assert player.journal.of("session.violation")


def test_a_session_has_so_many_channels() -> None:
    """The one over the limit is told; the others live."""
    player = begun()
    for number in range(CHANNELS_MAX + 1):
        player.client(open_session(number))
    assert len(payloads(player.relay.server)) == CHANNELS_MAX
    (refused,) = payloads(player.relay.client)
    assert refused[0] == n.CHANNEL_OPEN_FAILURE
    assert Reader(refused, 5).uint32() == n.RESOURCE_SHORTAGE
    assert player.relay.closed is None
    player.end()
    assert_accounted(player)


def test_a_client_that_goes_once_it_has_the_exit_status_has_seen_the_end() -> None:
    """paramiko's users close the connection then; what ran is over, and how is on record."""
    player = running("cat; exit 4")
    player.client(data(b"typed", 10))
    player.target(data(b"typed", 0))
    player.target(exit_status(4))
    player.end()
    (completed,) = player.journal.of("command.completed")
    assert completed["outcome"] == "failure"
    assert completed["event"]["detail"] == {
        **{"channel": 0, "stdin": 5, "stdout": 5, "stderr": 0, "exit_status": 4},
        "because": "the session ended before the channel was closed",
    }
    assert player.journal.of("command.unfinished") == []
    assert_accounted(player)


def test_a_session_that_ends_in_the_middle_says_what_was_open() -> None:
    """An operation without an end would look as if it still ran."""
    player = running()
    player.client(open_session(1))
    player.end()
    (unfinished,) = player.journal.of("command.unfinished")
    assert "channel" in unfinished["event"]["because"]
    assert_accounted(player)


def test_in_strict_a_command_waits_for_its_record_and_its_data_too() -> None:
    """No record, no action; and what it reads must not come before it."""
    player = begun(at_once=False)
    player.client(open_session())
    player.journal.sync()
    player.target(confirm())
    sent = len(player.relay.server)
    player.client(execute("id") + data(b"x", 10))
    assert len(player.relay.server) == sent
    player.journal.sync()
    assert payloads(player.relay.server)[1:] == payloads(execute("id") + data(b"x", 10))


def test_nothing_is_answered_behind_the_targets_close() -> None:
    """A request and the close cross each other; a client has forgotten the channel, and ends over our answer."""
    player = running()
    player.target(plain(n.CHANNEL_EOF, 0) + plain(n.CHANNEL_CLOSE, 0))
    before = len(player.relay.client)
    player.client(
        request("env", string("BAD"), string("1")) + request("unknown@x") + plain(n.CHANNEL_CLOSE, 10)
    )
    assert len(player.relay.client) == before
    assert player.relay.closed is None
    player.end()
    assert_accounted(player)


def test_data_on_its_way_to_a_program_that_the_target_refused_goes_nowhere() -> None:
    """``cat file | ssh host denied``: the other channels of the connection must not die of what was sent ahead."""
    player = opened()
    player.client(execute("x"))
    player.target(plain(n.CHANNEL_FAILURE, 0))
    sent = len(player.relay.server)
    for _ in range(2 * WINDOW // 1000):
        player.client(data(b"x" * 1000, 10))
    assert len(player.relay.server) == sent
    assert player.relay.closed is None
    back = [
        Reader(each, 5).uint32()
        for each in payloads(player.relay.client)
        if each[0] == n.CHANNEL_WINDOW_ADJUST
    ]
    assert sum(back) == 2 * WINDOW
    player.end()
    assert_accounted(player)


def test_the_target_too_is_answered_in_the_order_of_its_requests() -> None:
    """Its keepalive, which is the client's to answer, stands before what is ours to refuse."""
    player = running()
    before = len(payloads(player.relay.server))
    player.target(global_request("keepalive@openssh.com") + global_request("hostkeys-prove-00@openssh.com"))
    assert len(payloads(player.relay.server)) == before
    player.client(framed(packet(n.REQUEST_SUCCESS)))
    assert kinds(player.relay.server)[before:] == [n.REQUEST_SUCCESS, n.REQUEST_FAILURE]


def test_a_flood_of_the_targets_requests_ends() -> None:
    """A client that answers none, or slowly, would have us keep them all."""
    player = running()
    player.target(global_request("x@y") * (OWED_MAX + 1))
    assert player.journal.of("session.violation")


def test_what_is_owed_counts_over_all_channels() -> None:
    """Else a session keeps 256 times as much."""
    player = begun({"env": ["*"]})
    for number in (0, 1):
        player.client(open_session(number))
        player.target(confirm(number, 10 + number))
    half = OWED_MAX // 2
    for number in (10, 11):
        player.client(request("env", string("A"), string("1"), number=number) * half)
    assert player.relay.closed is None
    player.client(plain(n.CHANNEL_CLOSE, 10))
    player.target(plain(n.CHANNEL_CLOSE, 0))
    player.client(request("env", string("A"), string("1"), number=11) * half)
    assert player.relay.closed is None, "a channel that is over owes nothing"
    player.client(global_request("keepalive@openssh.com"))
    assert player.journal.of("session.violation")
