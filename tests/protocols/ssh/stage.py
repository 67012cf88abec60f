"""A session that is past its log-ins: a client and a target that speak the connection protocol, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.codec import PayloadCodec
from hoopproxy.protocols.ssh.connection import Connection
from hoopproxy.protocols.ssh.conversation import SSHConversation
from hoopproxy.protocols.ssh.nested import Nested
from hoopproxy.protocols.ssh.packets import boolean, framed, packet, string, uint32
from hoopproxy.protocols.ssh.permits import Permits
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.protocols.ssh.watching import watcher_for
from hoopproxy.testing import FakeSession, Player
from hoopproxy.wire.commands import (
    RELAYING,
    Command,
    Connect,
    Connected,
    Decide,
    Login,
    Refusal,
    Started,
    ToClient,
)
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.login import Password

WINDOW, PACKET = 100_000, 32_768
MakeWatcher = Callable[..., Watcher]


def secured() -> Secured:
    return Secured(
        session_id=b"id",
        peer_version="SSH-2.0-test",
        kex="kex",
        cipher="cipher",
        mac="",
        host_key_algorithm="ssh-ed25519",
        host_key_fingerprint="SHA256:x",
        strict_kex=True,
        ext={},
    )


def log_in(user: str) -> bytes:
    return framed(
        packet(
            n.USERAUTH_REQUEST,
            string(user),
            string("ssh-connection"),
            string("password"),
            boolean(False),
            string("pw"),
        )
    )


LOG_IN = log_in("alice")


def plain_watcher(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
    return Watcher(op, channel.client_id, text)


def watching(**options: object) -> MakeWatcher:
    """What reads programs in a session: by what was asked for, and the target's options."""
    return partial(watcher_for, options=options)


def arriving(session: FakeSession, **options: Any) -> Player:
    """A session at its beginning, the key exchanges of both legs done. Options as of :class:`Player`."""
    client, server = PayloadCodec(), PayloadCodec()
    conversation = SSHConversation(session, client, server)
    for leg in ("client", "target"):
        conversation.secured(leg, secured())
    return Player((client, server, conversation), **options)


class Straight(Conversation):
    """Logs in and connects by itself; then :class:`Connection` has the word."""

    def __init__(self, permits: Permits, make: MakeWatcher) -> None:
        self.client, self.server = PayloadCodec(), PayloadCodec()
        nested = Nested(FakeSession(), self.client)
        self.connection = Connection(self.client, self.server, permits, make, nested)

    def opened(self) -> Iterable[Command]:
        return (Login(Password(user="alice", password=b"x")),)

    def answered(self, question: Command, answer: object) -> Iterable[Command] | None:
        if isinstance(question, Login):
            return (Connect(),)
        if isinstance(answer, Connected):
            return (Started(), RELAYING)
        assert isinstance(question, Decide)
        return self.connection.decided(answer)  # type: ignore[arg-type]

    def client_frame(self, frame: Frame) -> Iterator[Command]:
        return self.connection.client_frame(frame)

    def server_frame(self, frame: Frame) -> Iterator[Command]:
        return self.connection.server_frame(frame)

    def server_run(self, frames: Any, shift: int, now: int) -> Any:
        self.connection.now = now
        return (), self.connection.server_run(frames)

    def client_run(self, frames: Any) -> int:
        return self.connection.client_run(frames)

    def refused(self, refusal: Refusal) -> Sequence[Command]:
        return (ToClient(framed(packet(n.DISCONNECT, uint32(2), string(refusal.sentence), string("")))),)

    def finished(self) -> Iterator[Command]:
        return self.connection.finished()


def begun(
    permits: Mapping[str, Any] | None = None, make: MakeWatcher = plain_watcher, **options: Any
) -> Player:
    """A session in which everything may begin."""
    straight = Straight(Permits.of(permits or {}), make)
    player = Player((straight.client, straight.server, straight), **options)
    player.exchange.open()
    return player


def payloads(data: bytes | bytearray) -> list[bytes]:
    """What is in a stream."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append(bytes(data[at + 4 : at + 4 + size]))
        at += 4 + size
    assert at == len(data), "a stream that ends inside a message"
    return found


def kinds(data: bytes | bytearray) -> list[int]:
    """The numbers of the messages in a stream."""
    return [each[0] for each in payloads(data)]


def open_session(number: int = 0, window: int = WINDOW, size: int = PACKET) -> bytes:
    return framed(packet(n.CHANNEL_OPEN, string("session"), uint32(number), uint32(window), uint32(size)))


def open_direct(host: str, port: int, number: int = 0) -> bytes:
    where = (string(host), uint32(port), string("127.0.0.1"), uint32(5000))
    head = (string("direct-tcpip"), uint32(number), uint32(WINDOW), uint32(PACKET))
    return framed(packet(n.CHANNEL_OPEN, *head, *where))


def confirm(number: int = 0, ours: int = 10, window: int = WINDOW, size: int = PACKET) -> bytes:
    return framed(
        packet(n.CHANNEL_OPEN_CONFIRMATION, uint32(number), uint32(ours), uint32(window), uint32(size))
    )


def request(what: str, *parts: bytes, number: int = 10, wants: bool = True) -> bytes:
    return framed(packet(n.CHANNEL_REQUEST, uint32(number), string(what), boolean(wants), *parts))


def execute(command: str | bytes, number: int = 10, wants: bool = True) -> bytes:
    return request("exec", string(command), number=number, wants=wants)


def data(text: bytes, number: int) -> bytes:
    return framed(packet(n.CHANNEL_DATA, uint32(number), string(text)))


def stderr(text: bytes, number: int) -> bytes:
    return framed(packet(n.CHANNEL_EXTENDED_DATA, uint32(number), uint32(1), string(text)))


def plain(kind: int, number: int) -> bytes:
    """EOF, CLOSE, SUCCESS, FAILURE."""
    return framed(packet(kind, uint32(number)))


def adjust(number: int, more: int) -> bytes:
    return framed(packet(n.CHANNEL_WINDOW_ADJUST, uint32(number), uint32(more)))


def exit_status(status: int, number: int = 0) -> bytes:
    return request("exit-status", uint32(status), number=number, wants=False)


def global_request(what: str, *parts: bytes, wants: bool = True) -> bytes:
    return framed(packet(n.GLOBAL_REQUEST, string(what), boolean(wants), *parts))


def opened(
    permits: Mapping[str, Any] | None = None,
    make: MakeWatcher = plain_watcher,
    *,
    window: int = WINDOW,
    size: int = PACKET,
    **options: Any,
) -> Player:
    """A session with a channel for a program, 0 (10 at the target), in which nothing was asked for yet.

    :param window: and ``size``: what the client takes in it.
    """
    player = begun(permits, make, **options)
    player.client(open_session(window=window, size=size))
    player.target(confirm())
    return player


def running(command: str = "cat", **options: Any) -> Player:
    """As :func:`opened`; in the channel a command runs."""
    player = opened(**options)
    player.client(execute(command))
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    return player


def assert_accounted(player: Player) -> None:
    """Both legs balance, numbers have no gap, and the recording of the client's leg is what it said and saw."""
    end = player.ended or player.end()
    assert end is not None
    assert end["event"]["balanced"], end["event"]
    events = player.journal.events
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert player.journal.stream(0, 1) == bytes(player.relay.client)
    for kinds_of_op in player.journal.operations().values():
        assert len(kinds_of_op) != 1 or kinds_of_op[0] not in ("command.requested", "forward.opened")


def channel_data(stream: bytes | bytearray, number: int) -> bytes:
    found = [each for each in payloads(stream) if each[0] == n.CHANNEL_DATA]
    assert all(int.from_bytes(each[1:5], "big") == number for each in found)
    return b"".join(each[9:] for each in found)
