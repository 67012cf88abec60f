"""Forwards through the gate: where a role lets them go, who may open them, and the cookie of a screen."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.dialogue import LISTENING_MAX
from hoopproxy.protocols.ssh.packets import framed, packet, string, uint32
from hoopproxy.protocols.ssh.x11 import COOKIE, COOKIE_MAX, X11
from hoopproxy.wire.commands import Redact
from hoopproxy.wire.frames import Span

from .stage import (
    PACKET,
    WINDOW,
    assert_accounted,
    begun,
    confirm,
    data,
    global_request,
    kinds,
    open_direct,
    open_session,
    opened,
    payloads,
    plain,
    request,
    running,
    watching,
)


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
    player = opened({"x11": True}, make=watching())
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
    player = opened()
    player.client(request(what, *parts))
    assert kinds(player.relay.client)[-1] == n.CHANNEL_FAILURE
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN]
    assert player.journal.of("command.denied")


@pytest.mark.parametrize("permitted", [True, False])
def test_the_cookie_of_x11_is_not_in_the_recording(permitted: bool) -> None:
    """Whoever has it reads what is typed on the client's screen. The target gets it where the role permits that."""
    player = opened({"x11": permitted})
    player.client(request("x11-req", b"\0", string("MIT-MAGIC-COOKIE-1"), string("5ec1e7"), uint32(0)))
    assert (b"5ec1e7" in player.relay.server) == permitted
    assert b"5ec1e7" not in player.journal.everything
    player.end()
    assert player.ended["event"]["client"]["redacted"] == 6
    assert player.ended["event"]["balanced"]


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
