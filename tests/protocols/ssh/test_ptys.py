"""Whether a program has a terminal: the client asks, the role permits, and the target's answer says."""

from __future__ import annotations

import pytest

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.packets import string, uint32
from hoopproxy.protocols.ssh.recorded import Said, said
from hoopproxy.protocols.ssh.scp import Scp
from hoopproxy.protocols.ssh.sftp import Sftp
from hoopproxy.protocols.ssh.terminal.shell import Shell
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.testing import Player

from .recording import Recording
from .stage import (
    assert_accounted,
    channel_data,
    data,
    execute,
    exit_status,
    kinds,
    open_session,
    opened,
    plain,
    request,
    watching,
)

YES, NO = plain(n.CHANNEL_SUCCESS, 0), plain(n.CHANNEL_FAILURE, 0)
UPLOAD = b"C0644 5 file\nhello\0"
ANSWERS = b"\0\0\0"


def pty(wants: bool = True, columns: int = 80) -> bytes:
    size = (uint32(each) for each in (columns, 24, 0, 0))
    return request("pty-req", string("vt100"), *size, string(""), wants=wants)


def watcher_of(player: Player) -> Watcher | None:
    connection = player.exchange.conversation.connection  # type: ignore[attr-defined]
    (found,) = connection.channels.all()
    watcher: Watcher | None = found.watcher
    return watcher


ORDERS = {
    "the answer comes first": ("pty", "no", "exec", "yes", "data"),
    "the program is asked for at once": ("pty", "exec", "no", "yes", "data"),
    "and data behind it": ("pty", "exec", "data", "no", "yes"),
}


def follow(player: Player, order: tuple[str, ...], program: bytes, sent: bytes) -> None:
    steps = {"pty": pty(), "exec": program, "data": data(sent, 10), "no": NO, "yes": YES}
    for step in order:
        (player.target if step in ("no", "yes") else player.client)(steps[step])


@pytest.mark.parametrize("order", list(ORDERS.values()), ids=list(ORDERS))
def test_a_terminal_that_the_target_refuses_is_none(order: tuple[str, ...]) -> None:
    """Asking a target for one that gives nobody any (``PermitTTY no``) had files go unseen, as if they were typed."""
    player = opened(make=watching())
    follow(player, order, execute("scp -t /tmp"), UPLOAD)
    player.target(data(ANSWERS, 0) + exit_status(0) + plain(n.CHANNEL_EOF, 0) + plain(n.CHANNEL_CLOSE, 0))
    player.client(plain(n.CHANNEL_CLOSE, 10))
    (done,) = player.journal.of("transfer.completed")
    assert (done["event"]["path"], done["event"]["written"]) == ("file", 5)
    assert channel_data(player.relay.server, 10) == UPLOAD
    assert UPLOAD in player.journal.everything, "nothing of it was typed"
    asked, refused = (each for each in player.journal.of("session.note") if each["event"]["what"] == "pty")
    assert asked["event"]["detail"]["columns"] == 80
    assert (refused["event"]["detail"], refused["outcome"]) == ({"channel": 0, "refused": True}, "failure")
    assert_accounted(player)


@pytest.mark.parametrize("program", [execute("scp -t /tmp"), request("shell")], ids=["a command", "a shell"])
@pytest.mark.parametrize("order", list(ORDERS.values()), ids=list(ORDERS))
def test_one_that_it_gives_is_one(order: tuple[str, ...], program: bytes) -> None:
    """What is typed there is kept out of the recording, from the first key on."""
    player = opened(make=watching())
    follow(player, tuple("yes" if each == "no" else each for each in order), program, b"typed by hand")
    assert channel_data(player.relay.server, 10) == b"typed by hand"
    assert b"typed by hand" not in player.journal.everything
    assert type(watcher_of(player)) is Shell
    player.client(plain(n.CHANNEL_CLOSE, 10))
    player.target(plain(n.CHANNEL_CLOSE, 0))
    assert_accounted(player)


def test_one_that_nobody_is_to_answer_counts_as_given() -> None:
    """dropbear's client wants no answer. What is typed may be a password: that it is none is for the target to say."""
    player = opened(make=watching())
    player.client(pty(wants=False) + request("shell") + data(b"typed by hand", 10))
    player.target(NO)  # to the shell
    assert b"typed by hand" not in player.journal.everything


def test_only_the_first_data_waits_and_no_longer_than_for_the_answer() -> None:
    """Nothing else of the client is held up, nor is anything of the target."""
    player = opened(make=watching())
    player.client(pty() + request("shell"))
    assert kinds(player.relay.server) == [n.CHANNEL_OPEN, n.CHANNEL_REQUEST, n.CHANNEL_REQUEST]
    player.client(data(b"ls\r", 10))
    player.target(data(b"hello", 0))
    assert channel_data(player.relay.client, 0) == b"hello"
    assert channel_data(player.relay.server, 10) == b""
    player.target(YES)
    assert channel_data(player.relay.server, 10) == b"ls\r"
    assert player.relay.closed is None


def test_a_target_that_closes_instead_of_answering_keeps_nobody_waiting() -> None:
    """Its answer will never come, and the client may go on with other channels."""
    player = opened(make=watching())
    player.client(pty() + request("shell") + data(b"ls\r", 10) + open_session(7))
    assert kinds(player.relay.server).count(n.CHANNEL_OPEN) == 1
    player.target(plain(n.CHANNEL_CLOSE, 0))
    assert kinds(player.relay.server).count(n.CHANNEL_OPEN) == 2
    player.client(plain(n.CHANNEL_CLOSE, 10))
    assert player.relay.closed is None
    assert_accounted(player)


def test_one_that_is_asked_for_late_changes_nothing() -> None:
    """A program has the terminal that it began with, or none."""
    player = opened(make=watching())
    player.client(execute("scp -t /tmp") + pty())
    player.target(YES + NO)
    assert type(watcher_of(player)) is Scp


@pytest.mark.parametrize(
    ("first", "second", "has"), [(YES, NO, 80), (NO, YES, 132), (YES, YES, 132), (NO, NO, 0)]
)
@pytest.mark.parametrize("early", [True, False])
def test_of_several_the_last_that_was_given_counts(
    first: bytes, second: bytes, has: int, early: bool
) -> None:
    """A client may ask again; its program has what the target says."""
    player = opened(make=watching())
    player.client(pty() + pty(columns=132) + (request("shell") if early else b""))
    player.target(first + second)
    if not early:
        player.client(request("shell"))
    watcher = watcher_of(player)
    assert type(watcher) is (Shell if has else Watcher)
    if isinstance(watcher, Shell):
        assert watcher.size == (has, 24)


def test_sftp_stays_what_it_is_with_or_without_one() -> None:
    """Its gate has a state that a second one would not have."""
    player = opened(make=watching())
    player.client(pty() + execute("sftp-server"))
    before = watcher_of(player)
    player.target(NO)
    assert type(before) is Sftp
    assert watcher_of(player) is before


@pytest.mark.parametrize("asked_before", [0, 2])
def test_a_recording_tells_the_same(asked_before: int) -> None:
    """Whichever of the answers it is: the replay, the search and the cast have no terminal where there was none."""
    recording = Recording()
    recording.opened(0, 7)
    for _ in range(asked_before):
        recording.asks(7, "env", string("LANG"), string("C"))
    recording.pty(7)
    recording.asks(7, "exec", string("scp -t /tmp"))
    for _ in range(asked_before):
        recording.say(1, YES[4:])
    recording.say(1, NO[4:])
    recording.say(1, YES[4:])
    recording.asks(7, "window-change", *(uint32(each) for each in (100, 30, 0, 0)))
    recording.data(1, 0, b"out\n")
    told = [each for each in said(recording.chunks) if isinstance(each, Said)]
    assert [each.what for each in told if each.what in ("pty", "no pty", "size")] == ["pty", "no pty"]
    assert told[-1].channel is not None
    assert told[-1].channel.pty is None
