"""Which channels are read as files, and where in them an answer of the gateway may stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.git import Git
from hoopproxy.protocols.ssh.packets import Reader, string
from hoopproxy.protocols.ssh.rsync import Rsync
from hoopproxy.protocols.ssh.scp import Scp
from hoopproxy.protocols.ssh.sftp import Sftp
from hoopproxy.protocols.ssh.steps import Steps
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.protocols.ssh.watching import watcher_for
from hoopproxy.testing import Player
from hoopproxy.wire.commands import Command, Decide, Refusal, ToClient, Verdict, Withhold
from tests.protocols.ssh.sftp.stage import INIT, VERSION, packet, u64

from .stage import (
    adjust,
    assert_accounted,
    data,
    opened,
    payloads,
    plain,
    request,
)


@pytest.mark.parametrize(
    ("kind", "text", "reader"),
    [
        ("subsystem", b"sftp", Sftp),
        ("exec", b"/usr/lib/openssh/sftp-server", Sftp),
        ("exec", b"sftp-server -l INFO", Sftp),
        ("exec", b"scp -t /tmp", Scp),
        ("exec", b"rsync --server -logDtpre.iLsfxCIvu . /srv", Rsync),
        ("exec", b"git-upload-pack 'x'", Git),
        ("exec", b"uptime", Watcher),
        ("subsystem", b"netconf", Watcher),
    ],
)
def test_what_carries_files_is_read_as_that(kind: str, text: bytes, reader: type[Watcher]) -> None:
    """One that isn't is a command whose files nobody sees."""
    assert type(watcher_for(kind, text, op="op", channel=Channel("session"), options={})) is reader


class Refusing:
    """In the place of the connection: refuses what removes."""

    def ask_for(self, decided: Callable[[Verdict], Iterator[Command] | None]) -> None:
        self.decided = decided

    def run(self, commands: Iterable[Command]) -> tuple[bytes, bool]:
        """Data for the client, and whether the present frame of the target was withheld."""
        data, withheld = b"", False
        for command in commands:
            if isinstance(command, Decide):
                allowed = "SFTP REMOVE" not in command.verbs
                refusal = None if allowed else Refusal("policy", "no", "e")
                self.decided(Verdict(allowed, (), refusal, "op", 0))
            elif isinstance(command, ToClient):
                reader = Reader(command.data, 4)
                if reader.byte() == n.CHANNEL_DATA:
                    reader.uint32()
                    data += reader.string()
            withheld = withheld or isinstance(command, Withhold)
        return data, withheld


def test_an_answer_that_waits_for_the_window_does_not_come_inside_a_packet() -> None:
    """The window opens while the target is in the middle of a file: the answer would become part of its content."""
    connection, channel = Refusing(), Channel("session")
    channel.client_id = channel.target_id = 0
    channel.client_window = channel.target_window = 1 << 20
    channel.client_packet = channel.target_packet = 32768
    channel.watcher = Sftp("op", 0)
    steps = Steps(connection, channel)  # type: ignore[arg-type]  # what it needs of one

    def client(data: bytes) -> bytes:
        return connection.run(steps.client(data, 0, 0))[0]

    def server(data: bytes) -> bytes:
        said, withheld = connection.run(steps.server(data, 0, 0, False))
        return said if withheld else data + said

    client(INIT + packet(3, 1, b"/f", 1, 0) + packet(5, 2, b"h", *u64(0), 100))
    seen = server(VERSION + packet(102, 1, b"h"))
    channel.client_window = 30
    assert client(packet(13, 3, b"/x")) == b"", "its window has no room for the answer"
    content = packet(103, 2, b"content of the file")
    seen = server(content[:20])
    channel.client_window = 1 << 20
    seen += connection.run(steps.due())[0]
    assert seen == content[:20]
    seen += server(content[20:])
    assert seen.startswith(content)
    assert b"no (event e)" in seen[len(content) :]


# --- a target that streams ----------------------------------------------------------------------------------

FILE = 30_000  # bytes of one reply
CHUNK = 32_768  # of data in one message of the target: replies end in the middle of messages, as sshd's do


def no_removing(decide: Decide) -> Verdict:
    allowed = "SFTP REMOVE" not in decide.verbs
    return Verdict(allowed, (), None if allowed else Refusal("policy", "no removing"))


def streaming(window: int) -> tuple[Player, bytes]:
    """A client that has asked for 40 pieces of a file, and what the target will answer."""

    def make(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
        return Sftp(op, channel.client_id)

    player = opened(make=make, decide=no_removing, window=window)
    player.client(request("subsystem", string("sftp")))
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    player.client(data(INIT + packet(3, 1, b"/f", 1, 0), 10))
    player.target(data(VERSION + packet(102, 1, b"h"), 0))
    player.client(data(b"".join(packet(5, 10 + i, b"h", *u64(i * FILE), FILE) for i in range(40)), 10))
    return player, b"".join(packet(103, 10 + i, bytes([i]) * FILE) for i in range(40))


def replies(player: Player) -> list[tuple[int, int]]:
    """Type and id of each packet that the client got in full, in order: it finds them by their lengths alone."""
    said = b"".join(each[9:] for each in payloads(player.relay.client) if each[0] == n.CHANNEL_DATA)
    found = []
    while len(said) >= 9 and len(said) >= 4 + (size := int.from_bytes(said[:4], "big")):
        found.append((said[4], int.from_bytes(said[5:9], "big")))
        said = said[4 + size :]
    return found


REMOVE = packet(13, 99, b"/x")
REFUSED = (101, 99)


@pytest.mark.parametrize("at", [1, 3, 4, 9, 12, 13, 14, 29_999, 30_012, 30_013, 30_014, 30_020, 40_000])
def test_a_refusal_comes_at_the_next_end_of_a_reply(at: int) -> None:
    """Wherever the target is in its replies: not behind the whole file, nor behind the next reply."""
    player, stream = streaming(10 << 20)
    player.target(data(stream[:at], 0) if at < CHUNK else data(stream[:CHUNK], 0))
    at = min(at, CHUNK)
    player.client(data(REMOVE, 10))
    whole, rest = divmod(at, FILE + 13)
    # A header that isn't complete was not passed on: then the client is between two replies.
    between = rest < 13
    assert (REFUSED in replies(player)) == between
    player.target(data(stream[at : at + CHUNK], 0))
    assert replies(player).index(REFUSED) == 2 + whole + (0 if between else 1)
    player.end()
    assert_accounted(player)


@pytest.mark.parametrize("left", [14, 20, 40])
def test_a_refusal_that_waits_for_the_window_comes_at_the_next_end_of_a_reply(left: int) -> None:
    """The window had no room where the answer belonged, and the target fills it: once the client reads, the answer
    comes behind the reply that is under way, and not when the target happens to end a message with a reply."""
    full = FILE + 13 + left
    player, stream = streaming(full + len(VERSION) + 14)
    player.target(data(stream[:20_000], 0))
    player.client(data(REMOVE, 10))
    player.target(data(stream[20_000:full], 0))
    assert REFUSED not in replies(player)
    player.client(adjust(10, 10 << 20))
    at = full
    while at < len(stream):
        player.target(data(stream[at : at + CHUNK], 0))
        at += CHUNK
    got = replies(player)
    assert got.index(REFUSED) == 2 + 2
    assert [each for each in got if each != REFUSED][2:] == [(103, 10 + i) for i in range(40)]
    player.end()
    assert_accounted(player)


def test_a_refusal_waits_no_longer_than_the_client_reads_slowly() -> None:
    """A window that opens a little at a time: the answer comes at the first end of a reply with room behind it."""
    at, room = FILE + 13 + 20, 0
    player, stream = streaming(at + len(VERSION) + 14)
    player.target(data(stream[:20_000], 0))
    player.client(data(REMOVE, 10))
    player.target(data(stream[20_000:at], 0))
    while REFUSED not in replies(player):
        assert at < 4 * (FILE + 13), "several replies have come"
        player.client(adjust(10, 8_000))
        room += 8_000
        size = min(room, CHUNK)
        player.target(data(stream[at : at + size], 0))
        at, room = at + size, room - size
    player.end()
    assert_accounted(player)
