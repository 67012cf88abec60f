"""A refused program: what the client is told, in which order, and what becomes of both halves of its channel."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.packets import Reader, framed, packet, string, uint32
from hoopproxy.protocols.ssh.parting import EXIT_STATUS
from hoopproxy.protocols.ssh.sentences import SENTENCE_MAX, sentence_of
from hoopproxy.testing import Player
from hoopproxy.wire.commands import Decide, Refusal, Verdict

from . import stage
from .stage import (
    WINDOW,
    adjust,
    assert_accounted,
    begun,
    confirm,
    data,
    execute,
    global_request,
    kinds,
    open_direct,
    open_session,
    payloads,
    plain,
    request,
    stderr,
)

DENY_RM = {"exec_deny": ["rm *"]}
FAREWELL = [
    n.CHANNEL_SUCCESS, n.CHANNEL_EXTENDED_DATA, n.CHANNEL_REQUEST, n.CHANNEL_EOF, n.CHANNEL_CLOSE
]  # fmt: skip


def opened(permits: dict[str, Any] | None = None, **more: Any) -> Player:
    """Where ``rm`` may not run."""
    return stage.opened(DENY_RM if permits is None else permits, **more)


def told(player: Any) -> list[bytes]:
    """What the client got after the channel was confirmed."""
    return payloads(player.relay.client)[1:]


def said(player: Any) -> bytes:
    """What it got on standard error."""
    return b"".join(each[13:] for each in told(player) if each[0] == n.CHANNEL_EXTENDED_DATA)


def test_a_refused_command_runs_in_the_gateway_and_says_why() -> None:
    """As a program would: it is shown by every client, and nothing of it reaches the target."""
    player = opened()
    player.client(execute("rm -rf /"))
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN]
    assert [each[0] for each in told(player)] == FAREWELL
    status = Reader(told(player)[2], 5)
    assert (status.name(), status.boolean(), status.uint32()) == ("exit-status", False, EXIT_STATUS)
    (denied,) = player.journal.of("command.denied")
    assert denied["event"]["text"] == "rm -rf /"
    assert said(player) == (f"hoopproxy: the role denies this command (event {denied['id']})\n".encode())
    player.client(plain(n.CHANNEL_EOF, 10) + plain(n.CHANNEL_CLOSE, 10))
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN, n.CHANNEL_CLOSE]
    player.target(plain(n.CHANNEL_CLOSE, 0))
    assert len(told(player)) == len(FAREWELL)
    player.end()
    assert not player.journal.of("session.violation")
    assert_accounted(player)


@pytest.mark.parametrize(
    "asked",
    [execute("rm x"), request("shell"), request("subsystem", string("sftp"))],
    ids=["exec", "shell", "sftp"],
)
@pytest.mark.parametrize("wants", [True, False])
def test_every_kind_of_program_is_refused_so(asked: bytes, wants: bool) -> None:
    """Who doesn't want an answer gets none; the rest is the same."""
    if not wants:
        at = asked.index(b"\1", 10)
        asked = asked[:at] + b"\0" + asked[at + 1 :]
    player = opened({"allow": ["exec"], **DENY_RM})
    player.client(asked)
    assert [each[0] for each in told(player)] == FAREWELL[0 if wants else 1 :]
    player.end()
    assert_accounted(player)


def test_on_a_terminal_the_line_ends_as_on_a_terminal() -> None:
    """The client's own terminal is raw there."""
    player = opened()
    player.client(request("pty-req", string("xterm"), *[uint32(80)] * 4, string(b"\0")) + execute("rm x"))
    assert not told(player), "the target owes an answer to pty-req"
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    assert [each[0] for each in told(player)] == [n.CHANNEL_SUCCESS, *FAREWELL]
    assert said(player).endswith(b")\r\n")


def test_what_the_client_sent_meanwhile_goes_nowhere() -> None:
    """Clients write standard input before they know that the program runs; a second program must not slip in."""
    player = opened()
    player.client(execute("rm x") + data(b"secret", 10) + request("env", string("LANG"), string("C")))
    player.client(execute("id") + adjust(10, 5) + request("signal", string("INT"), wants=False))
    player.client(plain(n.CHANNEL_EOF, 10))
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN]
    assert [each[0] for each in told(player)] == FAREWELL
    first, second = player.journal.of("command.denied")
    assert second["event"]["text"] == "id"
    assert second["reason"] == "a program was refused in this channel already"
    assert first["id"] != second["id"]
    assert not player.journal.of("command.requested")
    player.end()
    assert_accounted(player)


def test_more_than_the_window_is_too_much_for_a_refused_program_too() -> None:
    """The target's window was what the client had, and nobody widens it."""
    player = opened()
    player.client(execute("rm x"))
    for _ in range(WINDOW // 20_000):
        player.client(data(b"x" * 20_000, 10))
    assert not player.journal.of("session.violation")
    player.client(data(b"x", 10))
    assert player.journal.of("session.violation")
    player.end()
    assert_accounted(player)


def test_what_the_target_says_in_such_a_channel_is_kept_and_recorded() -> None:
    """The client has seen its end."""
    player = opened()
    player.client(execute("rm x"))
    before = len(player.relay.client)
    player.target(adjust(0, 9) + data(b"who is there?", 0) + stderr(b"hm", 0) + plain(n.CHANNEL_EOF, 0))
    player.target(request("keepalive@openssh.com", number=0))
    assert len(player.relay.client) == before
    assert kinds(player.relay.server)[1:] == [n.CHANNEL_FAILURE]
    player.client(plain(n.CHANNEL_CLOSE, 10))
    player.target(request("keepalive@openssh.com", number=0) + plain(n.CHANNEL_CLOSE, 0))
    assert kinds(player.relay.server)[1:] == [n.CHANNEL_FAILURE, n.CHANNEL_CLOSE]
    assert len(player.relay.client) == before
    assert b"who is there?" in player.journal.everything
    player.end()
    assert_accounted(player)


def test_a_target_may_not_flood_such_a_channel() -> None:
    """What it may send is what the client's window had room for."""
    player = opened()
    player.client(execute("rm x"))
    for _ in range(5):
        player.target(data(b"x" * 20_000, 0))
    assert not player.journal.of("session.violation")
    player.target(data(b"x", 0))
    assert player.journal.of("session.violation")


@pytest.mark.parametrize("window", [0, 1, 30, 31, 70])
def test_a_narrow_window_is_waited_for(window: int) -> None:
    """The sentence comes whole, in pieces that the client takes, and only then the end."""
    player = opened(window=window, size=20)
    player.client(execute("rm x"))
    assert n.CHANNEL_CLOSE not in [each[0] for each in told(player)]
    assert len(said(player)) == window
    for _ in range(40):
        player.client(adjust(10, 10))
    pieces = [each[13:] for each in told(player) if each[0] == n.CHANNEL_EXTENDED_DATA]
    assert max(map(len, pieces)) <= 20
    assert said(player).endswith(b")\n")
    assert [each[0] for each in told(player)][-3:] == FAREWELL[-3:]
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN]
    player.end()
    assert_accounted(player)


def test_a_client_that_closes_before_it_was_told_all_is_told_the_end() -> None:
    """It makes no more room; the channel must not stay half open."""
    player = opened(window=0)
    player.client(execute("rm x") + plain(n.CHANNEL_CLOSE, 10))
    assert [each[0] for each in told(player)] == [FAREWELL[0], *FAREWELL[2:]]
    player.target(plain(n.CHANNEL_CLOSE, 0))
    player.client(open_session())
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN, n.CHANNEL_CLOSE, n.CHANNEL_OPEN]


def test_a_target_that_closes_instead_of_answering_keeps_nobody_from_hearing_why() -> None:
    """Its answer to pty-req will never come."""
    player = opened()
    player.client(request("pty-req", string("xterm"), *[uint32(80)] * 4, string(b"\0")) + execute("rm x"))
    player.target(plain(n.CHANNEL_CLOSE, 0))
    assert [each[0] for each in told(player)] == FAREWELL
    player.client(plain(n.CHANNEL_CLOSE, 10) + open_session())
    assert kinds(player.relay.server)[-2:] == [n.CHANNEL_CLOSE, n.CHANNEL_OPEN]
    player.end()
    assert_accounted(player)


def test_behind_the_targets_own_end_there_is_no_place_for_a_word() -> None:
    """Data behind EOF and anything behind CLOSE would be a violation of ours."""
    player = opened()
    player.target(plain(n.CHANNEL_EOF, 0))
    player.client(execute("rm x"))
    assert [each[0] for each in told(player)] == [
        n.CHANNEL_EOF, n.CHANNEL_SUCCESS, n.CHANNEL_REQUEST, n.CHANNEL_CLOSE
    ]  # fmt: skip
    player = opened()
    player.target(plain(n.CHANNEL_CLOSE, 0))
    player.client(execute("rm x"))
    assert [each[0] for each in told(player)] == [n.CHANNEL_CLOSE]
    assert player.journal.of("command.denied")
    player.client(plain(n.CHANNEL_CLOSE, 10) + open_session())
    assert kinds(player.relay.server)[1:] == [n.CHANNEL_CLOSE, n.CHANNEL_OPEN]


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [open_session(0), open_direct("db", 5432, 0)], ids=["session", "direct"])
def test_a_number_is_used_again_when_the_target_has_closed_its_half_too(again: bytes) -> None:
    """Else what the target still says in the old channel could be taken for the new one's."""
    player = opened({**DENY_RM, "forwards": ["db:5432"]})
    player.client(execute("rm x") + plain(n.CHANNEL_CLOSE, 10) + again)
    player.client(global_request("keepalive@x"))
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN, n.CHANNEL_CLOSE]
    player.target(adjust(0, 9))
    player.target(plain(n.CHANNEL_CLOSE, 0))
    player.target(confirm(0, 10) + data(b"new", 0))
    assert kinds(player.relay.server)[2:] == [n.CHANNEL_OPEN, n.GLOBAL_REQUEST]
    assert [each[0] for each in told(player)][5:] == [n.CHANNEL_OPEN_CONFIRMATION, n.CHANNEL_DATA]
    player.end()
    assert not player.journal.of("session.violation")
    assert_accounted(player)


def test_a_number_for_a_channel_of_the_targets_waits_as_well() -> None:
    """The client chooses it when it confirms; data may follow at once."""
    player = opened({**DENY_RM, "remote_forwards": ["*:8080"]})
    player.client(global_request("tcpip-forward", string(""), uint32(8080)))
    player.target(framed(packet(n.REQUEST_SUCCESS)))
    player.client(execute("rm x") + plain(n.CHANNEL_CLOSE, 10))
    where = (string("0.0.0.0"), uint32(8080), string("192.0.2.1"), uint32(999))
    head = (string("forwarded-tcpip"), uint32(40), uint32(WINDOW), uint32(32_768))
    player.target(framed(packet(n.CHANNEL_OPEN, *head, *where)))
    player.client(confirm(40, 0) + data(b"hello", 40))
    sent = kinds(player.relay.server)
    assert sent[-1] == n.CHANNEL_CLOSE
    player.target(plain(n.CHANNEL_CLOSE, 0))
    assert kinds(player.relay.server) == [*sent, n.CHANNEL_OPEN_CONFIRMATION, n.CHANNEL_DATA]
    player.target(data(b"there", 0))
    assert payloads(player.relay.client)[-1][0] == n.CHANNEL_DATA
    player.end()
    assert not player.journal.of("session.violation")
    assert_accounted(player)


def test_other_channels_go_on() -> None:
    """What is refused in one is no matter of the others."""
    player = opened()
    player.client(open_session(1) + execute("rm x"))
    player.target(confirm(1, 11))
    player.client(execute("id", 11) + data(b"in", 11))
    player.target(plain(n.CHANNEL_SUCCESS, 1) + data(b"out", 1))
    player.client(plain(n.CHANNEL_CLOSE, 10))
    assert kinds(player.relay.server)[2:] == [n.CHANNEL_REQUEST, n.CHANNEL_DATA, n.CHANNEL_CLOSE]
    assert payloads(player.relay.client)[-1][0] == n.CHANNEL_DATA
    player.end()
    assert_accounted(player)


@given(st.lists(st.integers(1, 30), max_size=40))
def test_any_split_gives_the_same(cuts: list[int]) -> None:
    """Two refused, one that runs, with the same number: as OpenSSH's shared connections do."""
    player = begun(DENY_RM)
    steps = iter(cuts)
    once = [
        ("client", open_session()),
        ("target", confirm() + adjust(0, 7)),
        ("client", execute("rm x") + data(b"typed", 10) + plain(n.CHANNEL_CLOSE, 10)),
    ]
    script = [*once, ("client", open_session()), ("target", plain(n.CHANNEL_CLOSE, 0)), *once[1:]]
    script += [("target", plain(n.CHANNEL_CLOSE, 0)), once[0], once[1], ("client", execute("id"))]
    for who, what in script:
        while what:
            cut = next(steps, len(what))
            (player.client if who == "client" else player.target)(what[:cut])
            what = what[cut:]
    one = [n.CHANNEL_OPEN, n.CHANNEL_CLOSE]
    assert kinds(player.relay.server) == [*one, *one, n.CHANNEL_OPEN, n.CHANNEL_REQUEST]
    assert len(player.journal.of("command.denied")) == 2
    assert len(player.journal.of("command.requested")) == 1
    player.end()
    assert_accounted(player)


def test_a_thousand_refusals_leave_nothing_behind() -> None:
    """A channel that isn't forgotten is one of 256."""
    player = begun(DENY_RM)
    for _ in range(1_000):
        player.client(open_session())
        player.target(confirm())
        player.client(execute("rm x"))
        player.client(plain(n.CHANNEL_CLOSE, 10))
        player.target(plain(n.CHANNEL_CLOSE, 0))
    assert len(player.journal.of("command.denied")) == 1_000
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN, n.CHANNEL_CLOSE] * 1_000
    player.end()
    assert_accounted(player)


def test_a_no_that_takes_its_time_is_told_the_same_way() -> None:
    """What was sent behind it waits, and then goes nowhere."""

    def later(decide: Decide) -> Verdict | None:
        return None

    player = opened({}, decide=later)
    player.client(execute("id") + data(b"x", 10) + plain(n.CHANNEL_EOF, 10))
    assert not told(player)
    player.answer(Verdict(False, ("rule",), Refusal("policy", "not now")))
    assert [each[0] for each in told(player)] == FAREWELL
    assert b"not now" in said(player)
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN]
    player.end()
    assert_accounted(player)


# --- sentences ----------------------------------------------------------------------------------------------


@given(st.text(max_size=900), st.one_of(st.none(), st.just("0" * 36)))
def test_a_sentence_is_cut_before_the_id_of_its_event(text: str, event: str | None) -> None:
    """The id is what an auditor is asked about."""
    line = sentence_of(Refusal("policy", text, event))
    assert len(line) <= SENTENCE_MAX
    assert line.decode("utf-8") is not None
    assert event is None or line.endswith(f"(event {event})".encode())
    assert len(text.encode("utf-8", "replace")) > 300 or line.startswith(text.encode("utf-8", "replace"))


def test_a_long_destination_does_not_cost_the_event() -> None:
    """What a client asks for is in the sentence; it could push the id out."""
    player = begun()
    player.client(open_direct("x" * 900, 22, 3))
    (denied,) = player.journal.of("command.denied")
    (failure,) = payloads(player.relay.client)
    assert denied["id"].encode() in failure
