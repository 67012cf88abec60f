"""What a gateway of SSH gets attacked with: lines of THREATS.md that no other test has, each by its own case."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import CHANNELS_MAX
from hoopproxy.protocols.ssh.codec import PAYLOAD_BYTES
from hoopproxy.protocols.ssh.lobby import REFUSALS_MOST
from hoopproxy.protocols.ssh.packets import boolean, framed, packet, string, uint32
from hoopproxy.testing import FakeSession
from hoopproxy.testing.playing import Player
from hoopproxy.wire.commands import Connect, Connected, Decide, Login, Refusal, Verdict

from .stage import (
    LOG_IN,
    adjust,
    arriving,
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
    opened,
    payloads,
    plain,
    request,
    running,
)

# --- nothing before admission -------------------------------------------------------------------------------

SERVICE_MESSAGES = {
    "a global request": global_request("tcpip-forward", string(""), uint32(1)),
    "a session": open_session(),
    "a forward": open_direct("db", 5432),
    "a confirmation": confirm(),
    "data": data(b"id\n", 0),
    "a command": execute("id", 0),
    "an end": plain(n.CHANNEL_CLOSE, 0),
    "more room": adjust(0, 9),
    "the server's success": framed(packet(n.USERAUTH_SUCCESS)),
    "the server's failure": framed(packet(n.USERAUTH_FAILURE, string("none"), boolean(True))),
    "the server's banner": framed(packet(n.USERAUTH_BANNER, string("x"), string(""))),
    "answers that nobody asked for": framed(packet(n.USERAUTH_INFO_RESPONSE, uint32(0))),
    "an offer's answer": framed(packet(n.USERAUTH_60, string("a"), string("b"))),
    "a ping": framed(packet(192, string("ping"))),
    "a number that is none": framed(packet(255)),
}

STAGES = (
    "at the start",
    "after a failure",
    "while somebody thinks about the log-in",
    "while the target is dialled",
    "while the gateway logs in there",
    "in the lobby",
)


def at(stage: str) -> Player:
    """A session that is not admitted yet, or not through."""
    targets = ("a", "b") if stage == "in the lobby" else ("a",)
    session = FakeSession(targets=targets)
    answers: dict[type, object] = {
        Connect: Connected(target="a", account="x", user="x", password=b"up", role="r", tls=False)
    }
    if stage == "after a failure":
        answers[Login] = Refusal("login", "no")
    player = arriving(session, answers=answers)
    if stage == "while somebody thinks about the log-in":
        del player.relay.answers[Login]
    if stage == "while the target is dialled":
        del player.relay.answers[Connect]
    player.exchange.open()
    if stage != "at the start":
        player.client(LOG_IN)
    player.begun = len(player.relay.client), len(player.relay.server)  # type: ignore[attr-defined]
    return player


def since(player: Any) -> tuple[list[int], list[int]]:
    """What the client and the target were sent since: the numbers of the messages."""
    client, server = player.begun
    return kinds(player.relay.client[client:]), kinds(player.relay.server[server:])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("what", list(SERVICE_MESSAGES))
def test_nothing_of_a_client_goes_on_before_it_is_through(stage: str, what: str) -> None:
    """CVE-2018-10933, GHSA-xm63-rjwf-r3g8: a message of the service before the log-in is done, in each state before it;
    with three of them in one segment, in case the first is waited for."""
    player = at(stage)
    player.client(SERVICE_MESSAGES[what] * 3)
    assert not since(player)[1]
    assert n.USERAUTH_SUCCESS not in since(player)[0]
    waits = stage.startswith("while") and player.relay.closed is None
    lobby = stage == "in the lobby" and what in ("a global request", "a session", "a forward")
    assert waits or lobby or player.exchange.violation is not None
    if stage in ("while somebody thinks about the log-in", "while the target is dialled"):
        player.answer(Refusal("login" if "log-in" in stage else "connect", "no"))
    elif stage == "while the gateway logs in there":
        player.target(framed(packet(n.USERAUTH_FAILURE, string("publickey"), boolean(False))))
    assert not since(player)[1]
    player.end()
    assert player.ended is None or player.ended["event"]["balanced"]
    assert not [
        each for each in player.journal.kinds() if each.startswith(("command.req", "forward.", "transfer."))
    ]


@pytest.mark.parametrize("what", list(SERVICE_MESSAGES))
def test_a_target_says_nothing_to_the_client_before_the_gateway_is_logged_in_there(what: str) -> None:
    """It would speak to a client that was told of no success yet: an open, a banner, a request."""
    player = at("while the gateway logs in there")
    player.target(SERVICE_MESSAGES[what] * 3)
    said, _ = since(player)
    if what == "the server's success":  # that is what it may say, once
        assert said[0] == n.USERAUTH_SUCCESS
        assert said[1:] == [n.DISCONNECT]
    else:
        assert set(said) <= {n.DISCONNECT, n.USERAUTH_BANNER}
    player.end()
    assert player.ended is None or player.ended["event"]["balanced"]


def test_the_lobby_is_no_place_to_stay() -> None:
    """A flood of channels that nobody can have ends it; each is answered in the protocol's words."""
    player = at("in the lobby")
    for number in range(REFUSALS_MOST + 5):
        player.client(open_session(number))
    assert since(player)[0] == [n.CHANNEL_OPEN_FAILURE] * REFUSALS_MOST + [n.DISCONNECT]
    assert player.relay.closed is not None


def test_what_is_sent_while_an_approval_is_pending_is_decided_and_on_record_like_the_rest() -> None:
    """GHSA-xm63-rjwf-r3g8: channels that were opened meanwhile were never recorded."""
    pending: list[Decide] = []

    def later(decide: Decide) -> Verdict | None:
        pending.append(decide)
        return None

    player = opened({"forwards": ["*:*"], "remote_forwards": ["*:*"]}, decide=later)
    player.client(execute("first"))
    sent = bytes(player.relay.server)
    listen = global_request("tcpip-forward", string(""), uint32(8080))
    player.client(open_session(1) + open_direct("db", 5432, 2) + listen)
    assert player.relay.server == sent
    assert len(pending) == 1
    player.answer(Verdict(False, (), Refusal("policy", "no")))
    assert [each.verbs[0] for each in pending] == ["EXEC", "FORWARD"]
    player.answer(Verdict(True))
    assert [each.verbs[0] for each in pending] == ["EXEC", "FORWARD", "FORWARD"]
    player.answer(Verdict(True))
    assert [each for each in kinds(player.relay.server) if each != n.CHANNEL_CLOSE] == [
        n.CHANNEL_OPEN
    ] * 3 + [n.GLOBAL_REQUEST]
    assert b"first" not in player.relay.server
    player.end()
    assert [len(player.journal.of(kind)) for kind in ("command.denied", "forward.opened")] == [1, 2]
    assert_accounted(player)


# --- silence ------------------------------------------------------------------------------------------------

HEAD = len(execute("")) - 4


@pytest.mark.parametrize("size", [0, 1, 255, 32_768, 65_536, PAYLOAD_BYTES - HEAD])
def test_a_command_of_any_length_is_decided_and_on_record_whole(size: int) -> None:
    """One that overflowed an inspector's buffer passed unrecorded and undenied."""
    seen: list[Decide] = []

    def decide(asked: Decide) -> Verdict:
        seen.append(asked)
        return Verdict(True)

    player = opened(decide=decide)
    player.client(execute("x" * size))
    assert payloads(player.relay.server)[-1] == payloads(execute("x" * size))[0]
    assert [each.fields["text"] for each in seen] == ["x" * size]
    (asked,) = player.journal.of("command.requested")
    assert asked["event"]["text"] == "x" * size
    player.end()
    assert_accounted(player)


@pytest.mark.parametrize("more", [1, 2**31, 2**32 - 1 - PAYLOAD_BYTES])
def test_one_that_is_longer_than_any_packet_ends_the_session(more: int) -> None:
    """At once, by its length: none of it is waited for."""
    player = running()
    sent = len(player.relay.server)
    player.client((PAYLOAD_BYTES + more).to_bytes(4, "big") + b"b")
    assert player.journal.of("session.violation")
    assert len(player.relay.server) == sent
    player.end()
    assert_accounted(player)


def test_a_refused_command_of_any_length_leaves_nothing_at_the_target() -> None:
    """On the other side of every limit, too."""
    for size in (0, 70_000, PAYLOAD_BYTES - HEAD):
        player = opened({"exec_deny": ["*"]})
        player.client(execute("x" * size))
        assert kinds(player.relay.server) == [n.CHANNEL_OPEN]
        (denied,) = player.journal.of("command.denied")
        assert denied["event"]["text"] == "x" * size


# --- floods -------------------------------------------------------------------------------------------------


def test_empty_data_costs_no_window_and_no_memory() -> None:
    """20,000 messages without a byte: each goes on, and nothing of them stays."""
    player = running()
    held = player.exchange.held
    player.client(data(b"", 10) * 20_000)
    player.target(data(b"", 0) * 20_000)
    assert kinds(player.relay.server).count(n.CHANNEL_DATA) == 20_000
    assert kinds(player.relay.client).count(n.CHANNEL_DATA) == 20_000
    assert player.exchange.held == held
    player.end()
    assert_accounted(player)


def test_a_target_that_opens_without_end_fills_nothing() -> None:
    """With the client's leave (agent forwarding) it has as many channels as the session may; beyond, it is refused."""
    player = begun({"agent": True})
    for number in range(CHANNELS_MAX + 50):
        head = (string("auth-agent@openssh.com"), uint32(number), uint32(9), uint32(9))
        player.target(framed(packet(n.CHANNEL_OPEN, *head)))
    assert kinds(player.relay.client) == [n.CHANNEL_OPEN] * CHANNELS_MAX
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN_FAILURE] * 50
    player.end()
    assert_accounted(player)


def test_channels_come_and_go_without_end() -> None:
    """One that is over takes nothing with it: 2,000 in one session."""
    player = begun()
    for number in range(2_000):
        player.client(open_session(number))
        player.target(confirm(number, number))
        player.client(execute("x", number, wants=False) + plain(n.CHANNEL_CLOSE, number))
        player.target(plain(n.CHANNEL_CLOSE, number))
    channels = player.exchange.conversation.connection.channels  # type: ignore[attr-defined]
    assert not channels.by_client
    assert not channels.by_target
    player.end()
    assert len(player.journal.of("command.completed")) == 2_000
    assert_accounted(player)


# --- a hostile target ---------------------------------------------------------------------------------------


def test_of_two_exit_statuses_the_last_is_told_as_clients_take_it() -> None:
    """Both go on; the trail must not say that what failed for the client was fine."""
    player = running()
    player.target(exit_status(0) + exit_status(3) + plain(n.CHANNEL_CLOSE, 0))
    player.client(plain(n.CHANNEL_CLOSE, 10))
    player.end()
    (done,) = player.journal.of("command.completed")
    assert done["event"]["detail"]["exit_status"] == 3
    assert done["outcome"] == "failure"
    assert_accounted(player)


def test_an_exit_by_signal_is_a_failure_whatever_status_came_before() -> None:
    """And its message is bounded: 200 KiB of escapes are no event."""
    player = running()
    said = b"\x1b]0;owned\x07" * 18_000
    signal = request("exit-signal", string("SEGV"), b"\1", string(said), string(""), number=0, wants=False)
    player.target(exit_status(0) + signal + plain(n.CHANNEL_CLOSE, 0))
    player.client(plain(n.CHANNEL_CLOSE, 10))
    player.end()
    (done,) = player.journal.of("command.completed")
    assert done["outcome"] == "failure"
    assert len(str(done["event"])) < 1_500
    assert_accounted(player)


@pytest.mark.parametrize("who", ["client", "target"])
def test_a_giant_farewell_is_a_short_note(who: str) -> None:
    """The recording has all of it; the event is a line."""
    player = running()
    bye = framed(packet(n.DISCONNECT, uint32(11), string(b"\x1b[2J\x1b]52;c;eA==\x07" * 9_000), string("")))
    (player.client if who == "client" else player.target)(bye)
    assert player.relay.closed is not None
    player.end()
    (note,) = [each for each in player.journal.of("session.note") if each["event"]["what"] == "disconnect"]
    assert note["event"]["detail"]["peer"] == who
    assert len(str(note["event"])) < 1_500
    assert_accounted(player)


def test_nothing_follows_a_farewell() -> None:
    """What a target says behind its DISCONNECT is not said to the client."""
    player = running()
    before = len(payloads(player.relay.client))
    player.target(framed(packet(n.DISCONNECT, uint32(11), string("x"), string(""))) + data(b"more", 0))
    assert kinds(player.relay.client)[before:] == [n.DISCONNECT]
    player.end()
    assert_accounted(player)


def test_the_targets_own_requests_in_a_channel_run_nothing_at_the_client() -> None:
    """It is the client's to refuse them (RFC 4254 s.6.5), and its answers are counted."""
    player = running()
    player.target(request("exec", string("id"), number=0))
    player.client(plain(n.CHANNEL_FAILURE, 10))
    assert player.relay.closed is None
    player.client(plain(n.CHANNEL_FAILURE, 10))
    assert player.journal.of("session.violation")


@pytest.mark.parametrize("name", ["x" * 200_000, "\x1b]0;x\x07", "exec\0"])
def test_names_of_the_protocol_are_names(name: str) -> None:
    """What is no printable ASCII is refused unread; a long one is refused by what it is, with one event."""
    player = running()
    player.client(request(name))
    assert len(player.journal.of("command.denied")) + len(player.journal.of("session.violation")) == 1
    assert not any(
        each[0] == n.CHANNEL_REQUEST and name.encode() in each for each in payloads(player.relay.server)
    )
    player.end()
    assert_accounted(player)


def test_a_session_says_nothing_of_its_secrets() -> None:
    """Tracebacks show reprs: of the conversation, of what it asks, of what it is answered."""
    player = at("while the gateway logs in there")
    shown = [player.exchange.conversation, *[question for question, _ in player.relay.asked]]
    shown += [attrs.evolve(player.relay.answers[Connect])]  # type: ignore[type-var]
    text = " ".join(map(repr, shown))
    assert "pw" not in text
    assert "up'" not in text
