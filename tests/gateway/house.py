"""A gateway without ports: the real sessions, relay, gate and transports over socket pairs, time by hand."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from hoopproxy import config as conf
from hoopproxy.errors import JournalRefused, LoginFailed
from hoopproxy.events import Identity
from hoopproxy.gateway.cancel import Cancels
from hoopproxy.gateway.figures import Figures
from hoopproxy.gateway.limits import Crowd
from hoopproxy.gateway.listener import Listener
from hoopproxy.gateway.proxy_protocol import Senders
from hoopproxy.gateway.shared import Entrance, Settings, Shared, Upstream
from hoopproxy.gateway.tls import ClientTLS, ServerTLS
from hoopproxy.gateway.voice import Voice
from hoopproxy.identity.portal import Portal
from hoopproxy.identity.throttle import FailureReports, FailureSummary
from hoopproxy.policy.roles import Role, RolePolicy
from hoopproxy.testing import MemoryJournal
from hoopproxy.wire.login import IPassword
from hoopproxy.wire.recorder import Clock, IdSource

from .lines import LineProtocol
from .turns import Turned, adopt, raw_pair

__all__ = ["House", "Journal", "TargetEnd", "denying"]


class Journal(MemoryJournal):
    @property
    def refusal_for_new_sessions(self) -> JournalRefused | None:
        return self.refusal


@implementer(ICredentialsChecker)
class Everyone:
    """Lets in who says ``pw``; ``slow`` never answers, ``bug`` raises."""

    credentialInterfaces = (IPassword,)

    def __init__(self) -> None:
        self.expires: int | None = None
        self.asked = 0

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked += 1
        if credentials.user == "slow":
            return Deferred()
        if credentials.user == "bug":
            raise LookupError("hunter2-secret")
        if credentials.password != b"pw":
            raise LoginFailed("mismatch")
        return Identity(
            id=credentials.user, issuer="test", method="password", groups=("staff",), expires=self.expires
        )


@implementer(IStreamClientEndpoint)
class TargetEnd:
    """A client endpoint whose connections end in this list, as plain sockets."""

    def __init__(self, reactor: Turned) -> None:
        self._reactor = reactor
        self.sockets: list[socket.socket] = []
        self.refuses: Exception | None = None
        self.silent = False
        self.cancelled = 0

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.refuses is not None:
            raise self.refuses
        if self.silent:
            return Deferred(self._cancelled)
        ours, theirs = raw_pair()
        protocol = factory.buildProtocol(UNIXAddress(b""))
        adopt(self._reactor, ours, protocol)
        self.sockets.append(theirs)
        return succeed(protocol)

    def _cancelled(self, _: object) -> None:
        self.cancelled += 1


def limits(**changes: Any) -> conf.Limits:
    return attrs.evolve(conf.Limits(), **changes)


def denying(*verbs: str) -> Role:
    """The role ``r``, which everybody has at ``app``, and these kinds of command it denies."""
    return Role(
        name="r",
        groups=frozenset({"staff"}),
        targets=frozenset({"app"}),
        account="ro",
        deny=frozenset(verbs),
    )


class House:
    """Everything that sessions share, with one listener ``front`` and the target ``app`` (and ``other``)."""

    def __init__(
        self,
        reactor: Turned,
        *,
        limits: conf.Limits = conf.Limits(),  # noqa: B008  # frozen
        roles: tuple[Role, ...] | None = None,
        plugin: LineProtocol | None = None,
        mode: str = "best-effort",
        tls: ServerTLS | None = None,
        target_tls: ClientTLS | None = None,
        senders: Senders | None = None,
        targets: tuple[str, ...] = ("app",),
        at_once: bool = True,
    ) -> None:
        self.reactor, self.journal = reactor, Journal(at_once)
        self.plugin = plugin or LineProtocol()
        self.checker = Everyone()
        self.target = TargetEnd(reactor)
        self.figures = Figures()
        self.wall = [1_700_000_000_000_000_000]
        times = Clock(lambda: self.wall[0], lambda: int(reactor.seconds() * 1e9) + 5)
        ids = IdSource(times.wall_ns)
        role = Role(
            name="staff",
            groups=frozenset({"staff"}),
            targets=frozenset({"app", "other"}),
            account="ro",
            read="own",
        )
        self.roles = (role,) if roles is None else roles
        self.mode = mode
        settings = self.settings(limits, tls, target_tls, senders, targets)
        self.shared = Shared(
            clock=reactor,
            journal=self.journal,
            ids=ids,
            times=times,
            node="house",
            settings=settings,
            resolve=self.resolve,
            figures=self.figures,
            voice=Voice(self.journal, ids, times, "house"),
            crowd=Crowd(limits),
            cancels=Cancels(reactor, self.figures),
            reports=FailureReports(reactor, self.summary),
        )
        self.summaries: list[FailureSummary] = []
        self.listener = Listener(self.shared, "front")

    def summary(self, summary: FailureSummary) -> None:
        self.summaries.append(summary)

    def resolve(self, reference: Any) -> Deferred[bytes]:
        return succeed(b"upstream-" + str(reference).encode())

    def settings(
        self,
        limits: conf.Limits,
        tls: ServerTLS | None = None,
        target_tls: ClientTLS | None = None,
        senders: Senders | None = None,
        targets: tuple[str, ...] = ("app",),
        policy: Any = None,
    ) -> Settings:
        listener = conf.Listener(name="front", protocol="lines", listen="tcp:0", targets=targets)
        accounts = {"ro": conf.Account(name="ro", user="upstream_user", password=conf.SecretRef("env", "PW"))}
        configured = [
            conf.Target(
                name=name,
                protocol="lines",
                connect="tcp:db:1",
                mode=self.mode,  # type: ignore[arg-type]
                tls=conf.TargetTLS(mode="off"),
                accounts=accounts,
            )
            for name in ("app", "other")
        ]
        config = conf.Config(
            path=Path("/x"),
            files=(),
            gateway=conf.Gateway(node="house", state=Path("/x"), control=Path("/x/c")),
            log=conf.Log(),
            journal=conf.JournalOptions(),
            ops=conf.Ops(),
            limits=limits,
            listeners=(listener,),
            targets=tuple(configured),
            checkers=(),
            roles=(),
        )
        return Settings(
            config=config,
            digest="0" * 64,
            entrances={"front": Entrance(config=listener, plugin=self.plugin, tls=tls, senders=senders)},
            upstreams={
                each.name: Upstream(config=each, plugin=self.plugin, endpoint=self.target, tls=target_tls)
                for each in configured
            },
            roles=self.roles,
            policy=policy or RolePolicy(self.roles),
            portal=Portal(
                [self.checker],
                clock=self.reactor,
                wall=lambda: self.wall[0] / 1e9,
                hashes=None,
                throttle=None,  # type: ignore[arg-type]
            ),
            limits=MappingProxyType(attrs.asdict(limits)),
        )

    # -- clients

    def client(self, address: str = "192.0.2.1", send_buffer: int | None = None) -> Client:
        """Somebody connects."""
        ours, theirs = raw_pair(send_buffer)
        protocol = self.listener.buildProtocol(IPv4Address("TCP", address, 4711))
        if protocol is None:
            ours.close()
        else:
            adopt(self.reactor, ours, protocol)
        client = Client(self, theirs)
        self.reactor.turn(2)
        return client

    def started(self, who: str = "alice", address: str = "192.0.2.1", **more: Any) -> tuple[Client, Target]:
        """Somebody is through to the target."""
        client = self.client(address, **more)
        client.say(f"LOGIN {who} pw\n")
        client.until(b"HELLO")
        client.say("TARGET\n")
        target = self.reached()
        target.until(b"USER")
        target.say("OK\n")
        client.until(b"GO AHEAD\n")
        client.heard.clear()
        target.heard.clear()
        return client, target

    def reached(self) -> Target:
        """The next connection at the target."""
        self.reactor.until(lambda: self.target.sockets)
        return Target(self, self.target.sockets.pop(0))

    def end(self) -> dict[str, Any]:
        """Wait until every session is over; the last ``session.end``."""
        self.reactor.turn(6)
        if self.shared.sessions:
            self.reactor.pass_time(2.1)  # a peer that doesn't close is waited for
        self.reactor.until(lambda: not self.shared.sessions)
        found: Mapping[str, Any] = self.journal.of("session.end")[-1]
        return dict(found)


class Client:
    """A plain socket, driven together with the reactor."""

    def __init__(self, house: House, sock: socket.socket) -> None:
        self._house, self.sock = house, sock
        self.heard = bytearray()
        self.ended = False

    def say(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                self._house.reactor.turn()
        self._house.reactor.turn(6)

    def read(self) -> bytes:
        """What is there now, with what was heard before."""
        try:
            while True:
                data = self.sock.recv(1 << 20)
                if not data:
                    self.ended = True
                    break
                self.heard += data
        except BlockingIOError:
            pass
        except OSError:
            self.ended = True
        return bytes(self.heard)

    def until(self, words: bytes) -> bytes:
        self._house.reactor.until(lambda: words in self.read())
        return bytes(self.heard)

    def until_end(self) -> bytes:
        """Everything up to the end of the stream; then this end closes too."""
        self._house.reactor.until(lambda: self.read() is not None and self.ended)
        self.close()
        return bytes(self.heard)

    def close(self) -> None:
        self.sock.close()
        self._house.reactor.turn(4)


class Target(Client):
    """The same for the target's side."""
