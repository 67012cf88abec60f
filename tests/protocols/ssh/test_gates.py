"""Gated channels: what a watcher that decides lets pass, in which order, and what it may cost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.dialogue import OUTSTANDING_MAX
from hoopproxy.protocols.ssh.late import LATE_MAX
from hoopproxy.protocols.ssh.packets import Reader
from hoopproxy.protocols.ssh.sftp import Sftp
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.wire.commands import Decide, Refusal, Verdict

from .gates import Letters, Wordy, no_x
from .sftp.stage import INIT, VERSION
from .sftp.stage import packet as sftp_packet
from .stage import (
    WINDOW,
    adjust,
    assert_accounted,
    begun,
    channel_data,
    confirm,
    data,
    execute,
    exit_status,
    kinds,
    open_session,
    opened,
    payloads,
    plain,
    running,
    stderr,
)


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


def wordy(window: int = WINDOW) -> Any:
    """A session in which the client was just told a hundred bytes of ours."""

    def make(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
        return Wordy(100)

    player = opened(make=make, window=window)
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


def gated(decide: Any, **options: Any) -> Any:
    def make(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
        return Letters()

    return running("x", make=make, decide=decide, **options)


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


def test_a_client_that_reads_no_answers_gets_no_more_room_and_in_the_end_none() -> None:
    """What is kept for it would grow for ever: it is asked for by bytes that go nowhere."""

    def make(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
        return Wordy(1000)

    player = opened(make=make, window=2000)
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

    player = opened(make=make, decide=later)
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
