"""A stage for both legs of a start-up: bytes in, commands out, with the answers that a gateway would give."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import attrs

from hoopproxy.events import Identity, TLSFacts
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.codec import ClientCodec, ServerCodec
from hoopproxy.protocols.postgres.startup import Startup
from hoopproxy.wire.commands import (
    Command,
    Connect,
    Connected,
    LoggedIn,
    Login,
    StartTLS,
    TLSStarted,
    ToClient,
    ToServer,
)
from hoopproxy.wire.inside import Outer
from hoopproxy.wire.login import Certificate

ALICE = Identity(id="alice", issuer="file", method="password")
SECRET = b"k" * 32


@attrs.define(kw_only=True)
class Session:
    """What a Startup needs of an ISession."""

    id: str = "0199-session"
    listener: str = "pg"
    options: Mapping[str, object] = attrs.field(factory=dict)
    targets: tuple[str, ...] = ("app",)
    tls: str | None = "offered"
    login_methods: tuple[str, ...] = ("scram", "password", "certificate")
    insecure_cleartext: bool = False
    limits: Mapping[str, int] = attrs.field(factory=dict)
    method: str = "password"
    outer: Outer | None = None
    asked_about: list[str] = attrs.field(factory=list)

    def login_method(self, user: str) -> str:
        self.asked_about.append(user)
        return self.method


class Stage:
    """One start-up. ``said`` and ``sent`` collect what went to the client and to the target."""

    def __init__(self, **session: object) -> None:
        self.session = Session(**session)  # type: ignore[arg-type]
        self.client, self.server = ClientCodec(), ServerCodec()
        self.startup = Startup(self.session, self.client, self.server, lambda n: SECRET[:n])  # type: ignore[arg-type]
        self.commands: list[Command] = []

    def run(self, commands: object) -> list[Command]:
        found: list[Command] = list(commands)  # type: ignore[call-overload]
        self.commands += found
        return found

    def from_client(self, data: bytes) -> list[Command]:
        """Feed; every frame is met, and the commands of all are returned."""
        return [c for frame in self.client.feed(data) for c in self.run(self.startup.client_frame(frame))]

    def from_server(self, data: bytes) -> list[Command]:
        return [c for frame in self.server.feed(data) for c in self.run(self.startup.server_frame(frame))]

    def answer(self, question: object, answer: object) -> list[Command]:
        return self.run(self.startup.answered(question, answer))  # type: ignore[arg-type]

    def tls(
        self, *, binding: bytes | None = b"hash", sni: str | None = None, shown: Certificate | None = None
    ) -> None:
        """The client's leg goes into TLS."""
        self.answer(StartTLS("client"), started("client", binding=binding, sni=sni, shown=shown))

    def log_in(self, identity: Identity = ALICE, data: bytes = b"") -> list[Command]:
        """The Portal is content with whatever was asked last."""
        (login,) = [c for c in self.commands[-1:] if isinstance(c, Login)]
        return self.answer(login, LoggedIn(identity, data))

    def connect(self, **connected: object) -> list[Command]:
        """Policy admits it and the target is there."""
        (question,) = [c for c in self.commands[-1:] if isinstance(c, Connect)]
        return self.answer(question, connection(**connected))


def started(
    leg: str, *, binding: bytes | None = b"hash", sni: str | None = None, shown: Certificate | None = None
) -> TLSStarted:
    facts = TLSFacts(version="TLSv1.3", cipher="X", sni=sni)
    return TLSStarted(leg, facts, binding, shown)


def connection(**fields: object) -> Connected:
    made: dict[str, object] = {
        "target": "app",
        "account": "app_ro",
        "user": "app_ro",
        "password": b"upstream-pw",
        "role": "reader",
        "tls": False,
        "session": "s7",
    }
    return Connected(**{**made, **fields})  # type: ignore[arg-type]


def hello(version: tuple[int, int] = (3, 0), **parameters: object) -> bytes:
    given: dict[str, object] = {"user": "alice", "database": "shop", **parameters}
    pairs = {k.replace("__", ".").encode(): str(v).encode() for k, v in given.items() if v is not None}
    return messages.startup(pairs, version)


def admitted(stage: Stage | None = None, version: tuple[int, int] = (3, 0), **connected: object) -> Stage:
    """A client that got as far as the target's leg, by password inside TLS."""
    stage = stage or Stage()
    stage.tls()
    stage.from_client(hello(version))
    stage.from_client(messages.password(b"pw"))
    stage.log_in()
    stage.connect(**connected)
    return stage


def said(commands: list[Command]) -> bytes:
    return b"".join(c.data for c in commands if isinstance(c, ToClient))


def sent(commands: list[Command]) -> bytes:
    return b"".join(c.data for c in commands if isinstance(c, ToServer))


def error_of(commands: list[Command]) -> dict[str, str]:
    """The one ErrorResponse that goes to the client."""
    found = [c.data for c in commands if isinstance(c, ToClient) and c.data[:1] == b"E"]
    assert len(found) == 1, commands
    (length,) = struct.unpack(">i", found[0][1:5])
    assert length == len(found[0]) - 1
    return {k: v.decode() for k, v in messages.read_error(found[0][5:]).items()}
