"""The connection protocol through the gate: RFC 4254, what goes on, what is refused, and what no peer may say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import CHANNELS_MAX, OWED_MAX, Channel
from hoopproxy.protocols.ssh.dialogue import LISTENING_MAX, OUTSTANDING_MAX
from hoopproxy.protocols.ssh.late import LATE_MAX
from hoopproxy.protocols.ssh.packets import Reader, framed, packet, string, uint32
from hoopproxy.protocols.ssh.sftp import Sftp
from hoopproxy.protocols.ssh.watch import Answer, Ask, Gate, Pass, Step, Watcher
from hoopproxy.protocols.ssh.watching import watcher_for
from hoopproxy.protocols.ssh.x11 import COOKIE, COOKIE_MAX, X11
from hoopproxy.wire.commands import Decide, Redact, Refusal, Verdict
from hoopproxy.wire.frames import Span

from .sftp.stage import INIT, VERSION
from .sftp.stage import packet as sftp_packet
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
    open_direct,
    open_session,
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
    "extended data of another type": (
        "client",
        framed(packet(n.CHANNEL_EXTENDED_DATA, uint32(10), uint32(2), string(b"x"))),
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
    player = begun()
    player.client(open_session())
    player.target(confirm())
    player.client(data(b"x", 10))
    assert player.journal.of("session.violation")
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN]


def test_what_we_said_into_a_window_is_taken_off_its_next_adjustment() -> None:
    """Else the target would think that the client has more room than it has."""
    player = gated(no_x)
    player.client(data(b"XaXX", 10))
    assert channel_data(player.relay.client, 0) == b"!!!"
    player.client(adjust(10, 3 + 7))
    assert payloads(player.relay.server)[-1] == payloads(adjust(10, 7))[0]
    player.client(adjust(10, 9))
    assert payloads(player.relay.server)[-1] == payloads(adjust(10, 9))[0]
    player.end()
    assert_accounted(player)


def test_our_answer_waits_for_those_of_the_target() -> None:
    """Answers have no number: the order is all that tells whose they are."""
    player = begun({"env": ["GOOD"]})
    player.client(open_session())
    player.target(confirm())
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
    player = begun({"env": [] if denied else ["*"]})
    player.client(open_session())
    player.target(confirm())
    count = 20_000
    player.client(request("env", string("A"), string("1")) * count)
    answers = kinds(player.relay.client)[1:]
    assert len(answers) == (count if denied else 0)
    assert len(payloads(player.relay.server)) == (1 if denied else 1 + count)
    player.end()
    assert_accounted(player)


def test_a_flood_of_unanswered_requests_ends() -> None:
    """Each costs memory until the target answers."""
    player = begun({"env": ["*"]})
    player.client(open_session())
    player.target(confirm())
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


def test_a_forward_goes_where_the_role_says_and_nowhere_else() -> None:
    """The target is a way into its network."""
    player = begun({"forwards": ["db:5432"]})
    player.client(open_direct("db", 5432, 1) + open_direct("payroll", 5432, 2))
    assert len(payloads(player.relay.server)) == 1
    (refused,) = payloads(player.relay.client)
    assert refused[0] == n.CHANNEL_OPEN_FAILURE
    assert b"payroll:5432" in refused
    player.target(confirm(1, 20))
    player.client(data(b"hello", 20))
    player.target(data(b"welcome", 1))
    for each in (plain(n.CHANNEL_EOF, 20), plain(n.CHANNEL_CLOSE, 20)):
        player.client(each)
    player.target(plain(n.CHANNEL_CLOSE, 1))
    player.end()
    (opened,), (closed,) = player.journal.of("forward.opened"), player.journal.of("forward.closed")
    assert opened["event"]["destination"] == {"host": "db", "port": 5432}
    assert (closed["event"]["sent"], closed["event"]["received"]) == (5, 7)
    assert closed["op"] == opened["op"]
    (denied,) = player.journal.of("command.denied")
    assert denied["event"]["detail"]["destination"] == {"host": "payroll", "port": 5432}
    assert_accounted(player)


@pytest.mark.parametrize("goodbye", [True, False])
@pytest.mark.parametrize("opened", [True, False])
def test_a_forward_that_its_client_leaves_has_ended_well(goodbye: bool, opened: bool) -> None:
    """``ssh -L`` says goodbye and closes nothing. One that is cut off, or was never there, has failed."""
    player = begun({"forwards": ["db:5432"]})
    player.client(open_direct("db", 5432, 1))
    if opened:
        player.target(confirm(1, 20))
        player.client(data(b"hello", 20))
    if goodbye:
        player.client(plain_goodbye())
    player.end()
    (closed,) = player.journal.of("forward.closed")
    assert closed["outcome"] == ("success" if goodbye and opened else "failure")
    assert ("client" in closed["event"]["detail"]["because"]) == goodbye
    assert_accounted(player)


def plain_goodbye() -> bytes:
    return framed(packet(n.DISCONNECT, uint32(11), string("disconnected by user"), string("")))


def from_target(kind: str, *more: bytes, number: int = 40) -> bytes:
    head = (string(kind), uint32(number), uint32(WINDOW), uint32(PACKET))
    return framed(packet(n.CHANNEL_OPEN, *head, *more))


@pytest.mark.parametrize("order", ["little", "big"])
@given(st.lists(st.integers(0, 60), max_size=8), st.binary(max_size=40), st.binary(min_size=4, max_size=40))
def test_a_screens_cookie_is_in_no_recording(order: Any, cuts: list[int], name: bytes, cookie: bytes) -> None:
    """However the target cuts what a program says first."""
    cookie = bytes(0x80 | each for each in cookie)
    name = bytes(each & 0x7F for each in name)
    numbers = b"".join(each.to_bytes(2, order) for each in (11, 0, len(name), len(cookie), 0))
    first = order[:1].replace("b", "B").encode() + b"\0" + numbers
    said = first + name + bytes(-len(name) % 4) + cookie + b"drawn"
    player = begun({"x11": True}, make=partial(watcher_for, options={}))
    player.client(open_session())
    player.target(confirm())
    player.client(request("x11-req", b"\0", string("MIT-MAGIC-COOKIE-1"), string("5ec1e7"), uint32(0)))
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    player.target(from_target("x11", string("192.0.2.1"), uint32(6010)))
    player.client(confirm(40, 1))
    places = sorted({min(cut, len(said)) for cut in cuts} | {0, len(said)})
    for start, end in itertools.pairwise(places):
        player.target(data(said[start:end], 1))
    player.end()
    assert said[:12] + name in _streamed(player)
    assert b"drawn" in _streamed(player)
    assert not any(each >= 0x80 for each in _streamed(player))
    assert player.ended["event"]["balanced"]
    assert player.ended["event"]["target"]["redacted"] == len(cookie)


def test_no_more_than_a_cookie_is_kept_out_of_the_recording() -> None:
    """A program that calls all it says its cookie would draw unseen."""
    said = b"l\0\x0b\0\0\0\0\0\xff\xff\0\0" + bytes(COOKIE_MAX) + b"drawn"
    watcher = X11("op", 0)
    (found,) = watcher.server_data(said, 100, 0, False) or ()
    assert isinstance(found, Redact)
    assert found.span == Span(112, 112 + COOKIE_MAX, COOKIE)
    assert watcher.server_data(b"and more", 400, 0, False) is None


def _streamed(player: Any) -> bytes:
    """The data of channel 1 to the client, as recorded."""
    found = b"".join(each.data for each in player.journal.chunks if each.direction == 1 and each.leg == 0)
    at, said = 0, b""
    while at < len(found):
        size = int.from_bytes(found[at : at + 4], "big")
        payload = found[at + 4 : at + 4 + size]
        if payload[:1] == bytes([n.CHANNEL_DATA]):
            said += payload[9:]
        at += 4 + size
    return said


FORWARDED = (string("0.0.0.0"), uint32(8080), string("192.0.2.1"), uint32(999))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("forwarded-tcpip", FORWARDED),
        ("x11", (string("1.2.3.4"), uint32(1))),
        ("auth-agent@openssh.com", ()),
        ("session", ()),
    ],
)
def test_the_target_opens_nothing_that_was_not_asked_for(kind: str, more: tuple[bytes, ...]) -> None:
    """A hostile target would reach the client's agent, display or network."""
    player = running()
    before = len(player.relay.client)
    player.target(from_target(kind, *more))
    assert len(player.relay.client) == before
    assert payloads(player.relay.server)[-1][0] == n.CHANNEL_OPEN_FAILURE
    assert player.journal.of("command.denied")
    player.end()
    assert_accounted(player)


def test_a_remote_forward_that_is_permitted_lets_the_target_open() -> None:
    """And each connection that comes is on record by itself."""
    player = begun({"remote_forwards": ["*:8080"]})
    player.client(global_request("tcpip-forward", string(""), uint32(8080)))
    player.target(framed(packet(n.REQUEST_SUCCESS)))
    player.target(from_target("forwarded-tcpip", *FORWARDED))
    assert kinds(player.relay.client) == [n.REQUEST_SUCCESS, n.CHANNEL_OPEN]
    player.client(confirm(40, 3))
    player.target(data(b"GET", 3))
    player.client(data(b"200", 40))
    player.end()
    asked, opened = player.journal.of("forward.opened")
    assert asked["event"]["type"] == "tcpip-forward"
    assert opened["event"]["origin"] == {"host": "192.0.2.1", "port": 999}
    assert_accounted(player)


def test_a_remote_forward_is_refused_without_the_roles_leave() -> None:
    """By the failure of a request, with a record."""
    player = begun()
    player.client(global_request("tcpip-forward", string(""), uint32(0)))
    assert kinds(player.relay.client) == [n.REQUEST_FAILURE]
    assert not player.relay.server
    assert player.journal.of("command.denied")


def test_the_targets_host_keys_are_not_told_to_the_client() -> None:
    """It would take them for the gateway's."""
    player = running()
    before = len(player.relay.client)
    player.target(global_request("hostkeys-00@openssh.com", string("key"), wants=False))
    assert len(player.relay.client) == before
    player.end()
    assert_accounted(player)


def test_no_more_sessions_means_it() -> None:
    """A hijacked control socket must not begin another."""
    player = begun()
    player.client(open_session())
    player.client(global_request("no-more-sessions@openssh.com", wants=False))
    player.client(open_session(1))
    assert player.journal.of("session.violation")
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN, n.GLOBAL_REQUEST]


@pytest.mark.parametrize("what", ["auth-agent-req@openssh.com", "x11-req"])
def test_agent_and_x11_are_refused_by_default(what: str) -> None:
    """Both open a way back into the client."""
    parts = (b"\0", string("c"), string("d"), uint32(0)) if what == "x11-req" else ()
    player = begun()
    player.client(open_session())
    player.target(confirm())
    player.client(request(what, *parts))
    assert kinds(player.relay.client)[-1] == n.CHANNEL_FAILURE
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN]
    assert player.journal.of("command.denied")


@pytest.mark.parametrize("permitted", [True, False])
def test_the_cookie_of_x11_is_not_in_the_recording(permitted: bool) -> None:
    """Whoever has it reads what is typed on the client's screen. The target gets it where the role permits that."""
    player = begun({"x11": permitted})
    player.client(open_session())
    player.target(confirm())
    player.client(request("x11-req", b"\0", string("MIT-MAGIC-COOKIE-1"), string("5ec1e7"), uint32(0)))
    assert (b"5ec1e7" in player.relay.server) == permitted
    assert b"5ec1e7" not in player.journal.everything
    player.end()
    assert player.ended["event"]["client"]["redacted"] == 6
    assert player.ended["event"]["balanced"]


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


# --- what a referee of both connections found (see test_model) ----------------------------------------------


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
    player = begun()
    player.client(open_session())
    player.target(confirm())
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


def forward(port: int) -> bytes:
    return global_request("tcpip-forward", string(""), uint32(port))


def test_a_place_that_is_asked_for_twice_is_on_record_twice() -> None:
    """And what the target refuses takes nothing away from what it gave before."""
    player = begun({"remote_forwards": ["*:*"]})
    player.client(forward(8080) + forward(8080) + forward(0) + forward(0) + forward(7))
    player.target(framed(packet(n.REQUEST_SUCCESS)) + framed(packet(n.REQUEST_FAILURE)))
    player.target(
        framed(packet(n.REQUEST_SUCCESS, uint32(1001))) + framed(packet(n.REQUEST_SUCCESS, uint32(1002)))
    )
    for port in (8080, 1001, 1002):
        player.target(from_target("forwarded-tcpip", string(""), uint32(port), *FORWARDED[2:], number=port))
    assert kinds(player.relay.client)[4:] == [n.CHANNEL_OPEN] * 3
    player.end()
    opened, closed = player.journal.of("forward.opened"), player.journal.of("forward.closed")
    assert sorted(each["op"] for each in opened) == sorted(each["op"] for each in closed)
    assert [each["outcome"] for each in closed].count(
        "failure"
    ) == 5  # three connections, one refused, one unanswered
    assert_accounted(player)


def test_a_target_listens_on_so_many_places() -> None:
    """Each costs memory for as long as the session lives."""
    player = begun({"remote_forwards": ["*:*"]})
    for port in range(LISTENING_MAX + 2):
        player.client(forward(port + 1))
    player.client(global_request("tcpip-forward", string(""), uint32(9), wants=False))
    assert len(payloads(player.relay.server)) == LISTENING_MAX
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


class Wordy(Gate):
    """Answers each byte of the client with a hundred."""

    __slots__ = ()

    def client_steps(self, data: bytes, at: int, now: int) -> Iterator[Step]:
        for _ in data:
            yield Answer(b"!" * 100)


def wordy(window: int = WINDOW) -> Any:
    """A session in which the client was just told a hundred bytes of ours."""

    def make(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
        return Wordy("op", 0)

    player = begun(make=make)
    player.client(open_session(window=window))
    player.target(confirm())
    player.client(execute("x"))
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    player.client(data(b"?", 10))
    assert channel_data(player.relay.client, 0) == b"!" * 100
    return player


def test_words_of_ours_do_not_wear_out_the_window() -> None:
    """After each the client gives back what it read, and the target may fill the whole of its window for ever."""
    player = wordy()
    for _ in range(50):
        player.client(adjust(10, 100) + data(b"?", 10))
    player.client(adjust(10, 100))
    for _ in range(4):
        player.target(data(b"x" * (WINDOW // 4), 0))
    assert player.relay.closed is None
    player.end()
    assert_accounted(player)


def test_what_the_window_has_no_room_for_because_of_us_comes_late_and_in_order() -> None:
    """The target is innocent: by its count there was room. Nor does its exit overtake its output."""
    player, ours = wordy(1000), 100
    before = len(player.relay.client)
    said = [data(b"a" * 900, 0), stderr(b"b" * 100, 0), exit_status(3)]
    said += [plain(n.CHANNEL_EOF, 0), plain(n.CHANNEL_CLOSE, 0)]
    player.target(b"".join(said))
    assert player.relay.closed is None
    got = payloads(player.relay.client[before:])
    assert b"".join(each[9:] for each in got if each[0] == n.CHANNEL_DATA) == b"a" * min(900, 1000 - ours)
    player.client(adjust(10, ours - 1))
    assert kinds(player.relay.client[before:])[-1] == n.CHANNEL_EXTENDED_DATA
    player.client(adjust(10, 1))
    got = payloads(player.relay.client[before:])
    assert [each[0] for each in got][-3:] == [n.CHANNEL_REQUEST, n.CHANNEL_EOF, n.CHANNEL_CLOSE]
    assert b"".join(each[13:] for each in got if each[0] == n.CHANNEL_EXTENDED_DATA) == b"b" * 100
    player.client(plain(n.CHANNEL_CLOSE, 10))
    player.end()
    assert_accounted(player)


def test_a_target_that_sends_more_than_its_own_count_is_guilty_as_before() -> None:
    """The room that we took is all that may come late."""
    player = wordy(1000)
    player.target(data(b"a" * 1000, 0))
    assert player.relay.closed is None
    player.target(data(b"a", 0))
    assert player.journal.of("session.violation")
    player.end()
    assert_accounted(player)


def test_messages_that_wait_for_the_window_are_limited() -> None:
    """Exit statuses cost no window."""
    player = wordy(200)
    player.target(data(b"a" * 200, 0))
    player.target(exit_status(1) * LATE_MAX)
    assert player.journal.of("session.violation")
    player.end()
    assert_accounted(player)


# --- gated channels -----------------------------------------------------------------------------------------


class Letters(Gate):
    """Each capital letter is asked about; a digit is kept until the next byte; the refused are answered with "!"."""

    __slots__ = ("kept", "verdict")

    def __init__(self) -> None:
        super().__init__("op", 0)
        self.kept = b""
        self.verdict: Verdict | None = None

    @property
    def held(self) -> int:
        return len(self.kept)

    def client_steps(self, data: bytes, at: int, now: int) -> Iterator[Step]:
        data, self.kept = self.kept + data, b""
        for place in range(len(data)):
            each = data[place : place + 1]
            if each.isdigit() and place == len(data) - 1:
                self.kept = each
            elif each.isupper():
                yield Ask(Decide(("LETTER", each.decode()), 1, {"verb": "LETTER"}, is_command=False))
                assert self.verdict is not None
                yield Pass(each) if self.verdict.allowed else Answer(b"!")
            else:
                yield Pass(each)

    def decided(self, verdict: Verdict) -> None:
        self.verdict = verdict


def gated(decide: Any, **options: Any) -> Any:
    def make(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
        return Letters()

    return running("x", make=make, decide=decide, **options)


def no_x(decide: Decide) -> Verdict | None:
    refused = "X" in decide.verbs
    return Verdict(not refused, ("r",), Refusal("policy", "no X") if refused else None)


def channel_data(stream: bytes | bytearray, number: int) -> bytes:
    found = [each for each in payloads(stream) if each[0] == n.CHANNEL_DATA]
    assert all(int.from_bytes(each[1:5], "big") == number for each in found)
    return b"".join(each[9:] for each in found)


@given(st.lists(st.text("abXYZ123", min_size=1, max_size=30), max_size=8))
def test_a_gate_lets_pass_what_it_says_whatever_the_pieces(parts: list[str]) -> None:
    """And the client gets back the window of what was withheld: the target never saw it."""
    player = gated(no_x)
    whole = "".join(parts)
    for part in parts:
        player.client(data(part.encode(), 10))
    kept = whole[-1:] if whole[-1:].isdigit() else ""
    passed = whole.replace("X", "")[: -1 if kept else None]
    assert channel_data(player.relay.server, 10) == passed.encode()
    assert channel_data(player.relay.client, 0) == b"!" * whole.count("X")
    back = [
        Reader(each, 5).uint32()
        for each in payloads(player.relay.client)
        if each[0] == n.CHANNEL_WINDOW_ADJUST
    ]
    assert sum(back) == whole.count("X")
    assert len(player.journal.of("command.denied")) == whole.count("X")
    player.end()


def test_twenty_thousand_decisions_in_one_message() -> None:
    """Each in a frame of its own would end at a thousand."""
    player = gated(no_x)
    player.client(data(b"Y" * 20_000, 10))
    assert channel_data(player.relay.server, 10) == b"Y" * 20_000


def test_a_gate_waits_for_a_policy_that_takes_its_time() -> None:
    """What comes behind it waits as well, and comes in order."""
    asked: list[Decide] = []

    def later(decide: Decide) -> Verdict | None:
        if decide.verbs[0] != "LETTER":
            return Verdict(True)
        asked.append(decide)
        return None

    player = gated(later)
    player.client(data(b"aYbXc", 10))
    player.client(data(b"d", 10))
    assert channel_data(player.relay.server, 10) == b""
    player.answer(Verdict(True))
    assert [each.verbs[1] for each in asked] == ["Y", "X"]
    player.answer(Verdict(False, (), Refusal("policy", "no")))
    assert channel_data(player.relay.server, 10) == b"aYbcd"
    assert channel_data(player.relay.client, 0) == b"!"
    player.end()
    assert_accounted(player)


class Talkative(Gate):
    """Answers each byte with a thousand."""

    __slots__ = ()

    def client_steps(self, data: bytes, at: int, now: int) -> Iterator[Step]:
        for _ in data:
            yield Answer(b"!" * 1000)


def test_a_client_that_reads_no_answers_gets_no_more_room_and_in_the_end_none() -> None:
    """What is kept for it would grow for ever: it is asked for by bytes that go nowhere."""

    def make(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
        return Talkative("op", 0)

    player = begun(make=make)
    player.client(open_session(window=2000))
    player.target(confirm())
    player.client(execute("x"))
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    player.client(data(b"ab", 10))
    before = len(player.relay.client)
    player.client(data(b"cd", 10))
    assert len(player.relay.client) == before, "neither an answer nor more room"
    player.client(adjust(10, 2000))
    assert n.CHANNEL_WINDOW_ADJUST in kinds(player.relay.client[before:])
    player.client(data(b"x" * 1100, 10))
    assert player.journal.of("session.violation")
    player.end()
    assert_accounted(player)


def test_a_program_that_the_target_refuses_while_policy_thinks_leaves_nothing_open() -> None:
    """The gate is gone when the verdict comes; what it decided about has its end all the same."""

    def later(decide: Decide) -> Verdict | None:
        return Verdict(True) if decide.verbs[0] != "SFTP REMOVE" else None

    def make(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
        return Sftp(op, 0)

    player = begun(make=make, decide=later)
    player.client(open_session())
    player.target(confirm())
    player.client(execute("x"))
    player.client(data(INIT, 10))
    player.client(data(sftp_packet(13, 3, b"/x"), 10))
    player.target(plain(n.CHANNEL_FAILURE, 0))
    player.answer(Verdict(True))
    assert player.relay.closed is None
    assert b"/x" not in player.relay.server
    player.client(plain(n.CHANNEL_CLOSE, 10))
    player.target(plain(n.CHANNEL_CLOSE, 0))
    player.end()
    assert_accounted(player)


def test_requests_without_a_reply_count_over_all_channels() -> None:
    """A target that answers nothing, and 256 channels of SFTP, would be gigabytes."""

    def make(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
        return Sftp(op, 0)

    player = begun(make=make)
    player.journal.checks = False
    for number in range(3):
        player.client(open_session(number))
        player.target(confirm(number, 10 + number, 2**31, 2**17))
        player.client(execute("x", 10 + number))
        player.client(data(INIT, 10 + number))
        player.target(plain(n.CHANNEL_SUCCESS, number) + data(VERSION, number))
    third = OUTSTANDING_MAX // 3
    for number in range(3):
        for start in range(0, third, 1_000):
            ids = range(start, min(start + 1_000, third))
            player.client(data(b"".join(sftp_packet(12, id, b"h") for id in ids), 10 + number))
    assert player.relay.closed is None
    player.client(data(b"".join(sftp_packet(12, third + id, b"h") for id in range(3)), 10))
    assert "65536" in player.journal.of("session.violation")[0]["reason"]
