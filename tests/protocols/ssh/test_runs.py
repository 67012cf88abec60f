"""Data that nobody reads, many messages at a time: it must be as if each had come alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.packets import framed, packet, string, uint32
from hoopproxy.protocols.ssh.watch import Gate, Watcher
from hoopproxy.testing import Player
from hoopproxy.wire.commands import Command, Redact
from hoopproxy.wire.frames import Span

from .stage import (
    Straight,
    adjust,
    assert_accounted,
    begun,
    confirm,
    data,
    execute,
    exit_status,
    open_session,
    plain,
    running,
    stderr,
)

WINDOW, MOST = 1_000, 300


class Reading(Watcher):
    """Says of each byte ``s`` that it is a secret."""

    def client_data(self, data: bytes, at: int, now: int) -> Iterable[Command] | None:
        return [Redact(Span(at + i, at + i + 1, 1)) for i, byte in enumerate(data) if byte == ord("s")]

    def server_data(self, data: bytes, at: int, now: int, stderr: bool) -> Iterable[Command] | None:
        return self.client_data(data, at, now)


WATCHERS: dict[bytes | None, type[Watcher]] = {b"cat": Watcher, b"read": Reading, b"gate": Gate}


def watcher(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
    return WATCHERS[text](op, channel.client_id, text)


def three(**options: Any) -> Player:
    """A session with three channels (0 to 2, 10 to 12 at the target): nobody reads in the first."""
    player = begun(make=watcher, **options)
    for number, command in enumerate(("cat", "read", "gate")):
        player.client(open_session(number, WINDOW, MOST))
        player.target(confirm(number, 10 + number, WINDOW, MOST))
        player.client(execute(command, 10 + number))
        player.target(plain(n.CHANNEL_SUCCESS, number))
    return player


class OneByOne:
    """Stands before a conversation and takes no runs."""

    def __init__(self, conversation: Any) -> None:
        self._conversation = conversation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conversation, name)

    def client_run(self, frames: Any) -> int:
        return 0

    def server_run(self, frames: Any, shift: int, now: int) -> Any:
        self._conversation.connection.now = now
        return (), 0


def one_by_one(player: Player) -> Player:
    player.exchange.conversation = OneByOne(player.exchange.conversation)  # type: ignore[assignment]
    return player


def short(number: int, claimed: int) -> bytes:
    """Data whose length isn't that of its message."""
    return framed(packet(n.CHANNEL_DATA, uint32(number), uint32(claimed), b"abc"))


def messages(numbers: tuple[int, ...]) -> st.SearchStrategy[list[bytes]]:
    """What a side may send, most of it data, some of it not as it must be."""
    number = st.sampled_from(numbers)
    text = st.sampled_from([b"", b"a", b"secrets", b"x" * 100, b"y" * (MOST + 1)])
    burst = st.builds(lambda *each: [data(*each)] * 3, text, number)
    odd = st.one_of(
        st.builds(stderr, text, number),
        st.builds(adjust, number, st.integers(0, 500)),
        st.builds(plain, st.sampled_from([n.CHANNEL_EOF, n.CHANNEL_CLOSE]), number),
        st.builds(short, number, st.integers(0, 9)),
        st.just(framed(packet(n.CHANNEL_DATA, uint32(numbers[0])))),
        st.just(framed(packet(n.CHANNEL_DATA, uint32(99), string("nobody's")))),
    )
    few = st.lists(st.one_of(st.builds(data, text, number), odd), max_size=2)
    return st.builds(lambda *parts: [each for part in parts for each in part], burst, few, burst, few)


def course(player: Player) -> dict[str, Any]:
    """All that anybody can see of a session."""
    end = player.ended or player.end()
    events = [{**each, "id": "", "time": "", "mono": 0} for each in player.journal.events]
    streams = {
        (leg, direction): player.journal.stream(leg, direction) for leg in (0, 1) for direction in (0, 1)
    }
    return {
        "end": end,
        "client": bytes(player.relay.client),
        "server": bytes(player.relay.server),
        "events": events,
        "streams": streams,
    }


@given(st.lists(st.tuples(st.booleans(), messages((10, 11, 12)), messages((0, 1, 2))), max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_run_is_as_if_each_message_had_come_alone(
    turns: list[tuple[bool, list[bytes], list[bytes]]],
) -> None:
    """Windows, ends, secrets, gates and violations anywhere in what came at once."""
    several, alone = three(), one_by_one(three())
    for up, by_client, by_target in turns:
        for player in (several, alone):
            if player.ended is None and player.exchange.closing is None:
                if up:
                    player.client(b"".join(by_client))
                else:
                    player.target(b"".join(by_target))
    found, expected = course(several), course(alone)
    assert found.pop("events") == expected.pop("events")
    assert found == expected


@pytest.mark.parametrize("up", [True, False])
def test_a_run_is_taken_without_a_look_at_each(up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the comparison above compares a thing with itself, and a transfer costs twice as much."""
    player = running()
    looked: list[int] = []
    connection = player.exchange.conversation.connection  # type: ignore[attr-defined]
    for name in ("client_frame", "server_frame"):
        usual = getattr(connection, name)
        monkeypatch.setattr(
            connection, name, lambda frame, usual=usual: (looked.append(frame.kind), usual(frame))[1]
        )
    piece = data(b"x" * 500, 10 if up else 0)
    (player.client if up else player.target)(piece * 20)
    assert looked == []
    assert (player.relay.server if up else player.relay.client).endswith(piece * 20)
    channel = connection.channels.by_client[0]
    assert (channel.stdin, channel.stdout) == ((10_000, 0) if up else (0, 10_000))
    player.target(exit_status(0) + plain(n.CHANNEL_CLOSE, 0))
    player.client(plain(n.CHANNEL_CLOSE, 10))
    assert_accounted(player)


@pytest.mark.parametrize("up", [True, False])
def test_the_message_that_a_window_has_no_room_for_ends_a_run(up: bool) -> None:
    """Those before it go on, it doesn't."""
    player = three()
    piece = data(b"x" * 250, 10 if up else 0)
    before = len(player.relay.server if up else player.relay.client)
    (player.client if up else player.target)(piece * 5)
    passed = (player.relay.server if up else player.relay.client)[before : before + 4 * len(piece)]
    assert bytes(passed) == piece * 4
    assert player.exchange.closing is not None


def test_before_the_stream_is_relayed_no_run_is_asked_for() -> None:
    """The gate: what a client sends before its log-in is done is no data of anybody's."""
    player = begun(make=watcher)
    asked: list[object] = []
    player.exchange.conversation.client_run = asked.append  # type: ignore[method-assign, assignment]
    player.exchange._relaying = False
    player.client(data(b"x", 10) * 5)
    assert asked == []
    assert player.exchange.closing is not None


STATES: list[tuple[bool, str, Any]] = [
    *((True, name, True) for name in ("client_eof", "client_closed")),
    *((False, name, True) for name in ("target_eof", "target_closed")),
    *((False, name, object()) for name in ("late", "steps")),
    *((up, "open", False) for up in (True, False)),
    *((up, "parting", object()) for up in (True, False)),
    (True, "watcher", None),
    *((up, "watcher", kind("op", 0)) for up in (True, False) for kind in (Reading, Gate)),
]


@pytest.mark.parametrize(("up", "name", "state"), STATES)
def test_a_channel_that_is_not_plain_is_left_to_the_general_way(up: bool, name: str, state: object) -> None:
    """There each of these has its own rules."""
    straight = running().exchange.conversation
    assert isinstance(straight, Straight)
    codec, run = (
        (straight.client, straight.connection.client_run)
        if up
        else (straight.server, straight.connection.server_run)
    )
    frames = codec.feed(data(b"x", 10 if up else 0) * 5)
    channel = straight.connection.channels.by_client[0]
    counted = channel.stdin, channel.stdout, channel.client_window, channel.target_window
    before = getattr(channel, name)
    setattr(channel, name, state)
    assert run(frames) == 0
    assert (channel.stdin, channel.stdout, channel.client_window, channel.target_window) == counted
    setattr(channel, name, before)
    assert run(frames) == 5, "and it was nothing else"


def test_data_of_a_session_inside_is_none_of_a_run() -> None:
    """It ends here, and its channel is in another's books."""
    straight = running().exchange.conversation
    assert isinstance(straight, Straight)
    frames = straight.client.feed(data(b"x", 10) * 5)
    straight.connection.nested = attrs.make_class("Busy", ["any"])(True)
    assert straight.connection.client_run(frames) == 0
