"""Which channels are read as files, and where in them an answer of the gateway may stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.git import Git
from hoopproxy.protocols.ssh.packets import Reader
from hoopproxy.protocols.ssh.rsync import Rsync
from hoopproxy.protocols.ssh.scp import Scp
from hoopproxy.protocols.ssh.sftp import Sftp
from hoopproxy.protocols.ssh.steps import Steps
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.protocols.ssh.watching import watcher_for
from hoopproxy.wire.commands import Command, Decide, Refusal, ToClient, Verdict, Withhold
from tests.protocols.ssh.sftp.stage import INIT, VERSION, packet, u64


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
                if reader.byte() == 94:
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
