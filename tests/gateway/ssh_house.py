"""The house with SSH at its front and at its target, and people whose clients may fall silent."""

from __future__ import annotations

from typing import Any

import attrs
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hoopproxy import config as conf
from hoopproxy.gateway.shared import Entrance, Settings, Upstream
from hoopproxy.gateway.stock import uniform
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.packets import boolean, framed, packet, string
from hoopproxy.protocols.ssh.plugin import SSHProtocol
from hoopproxy.protocols.ssh.transport import ClientLayer, ServerLayer
from tests.protocols.ssh.transport.house import Stream, host_key

from .house import House
from .turns import adopt

__all__ = ["Person", "SSHHouse", "SilentServer", "asking"]

HOST_KEY = Ed25519PrivateKey.generate().private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
)


class SSHHouse(House):
    """The same house, with SSH at its front and at its target. ``jumps``: the front may be passed through (``-J``)."""

    def __init__(self, *arguments: Any, jumps: bool = False, **options: Any) -> None:
        self._secrets = {"host_keys": (HOST_KEY,), **({"host_ca": (HOST_KEY,)} if jumps else {})}
        super().__init__(*arguments, **options)

    def settings(self, *arguments: Any, **options: Any) -> Settings:
        made = super().settings(*arguments, **options)
        plugin = SSHProtocol()
        listener = attrs.evolve(made.entrances["front"].config, protocol="ssh", login=("password",))
        accounts = {"ro": conf.Account(name="ro", user="up", password=conf.SecretRef("env", "PW"))}
        target = attrs.evolve(
            made.upstreams["app"].config,
            protocol="ssh",
            accounts=accounts,
            options={"host_keys": (host_key().fingerprint,)},
        )
        entrance = Entrance(config=listener, plugin=plugin, secrets=self._secrets)
        upstream = Upstream(config=target, plugin=plugin, endpoint=self.target, tls=None)
        return attrs.evolve(made, entrances={"front": entrance}, upstreams={"app": upstream})


class Muffled:
    """A connection that lets so many writes through, and so many bytes of the next."""

    def __init__(self, below: Any, writes: int, size: int) -> None:
        self._below, self._writes, self._size = below, writes, size

    def write(self, data: bytes) -> None:
        if self._writes > 0:
            self._writes -= 1
            self._below.write(data)
        elif self._size:
            self._below.write(data[: self._size])
            self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


class SilentClient(ClientLayer):
    stops = (1000, 0)

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(Muffled(transport, *self.stops))


class SilentServer(ServerLayer):
    stops = (1000, 0)

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(Muffled(transport, *self.stops))


def asking(name: str | bytes, method: str, *fields: bytes) -> bytes:
    """A USERAUTH_REQUEST."""
    return packet(n.USERAUTH_REQUEST, string(name), string("ssh-connection"), string(method), *fields)


class Person:
    """Somebody with an SSH client that may fall silent."""

    def __init__(self, house: House, writes: int = 1000, size: int = 0) -> None:
        self.house = house
        client = house.client()
        self.stream = Stream("client's")
        self.layer = SilentClient(self.stream, lambda algorithm, blob: None, lambda leg, facts: None)
        self.layer.ready.addErrback(lambda failure: None)
        self.layer.stops = writes, size
        sock = client.sock.dup()
        client.sock.close()
        adopt(house.reactor, sock, uniform(self.layer, house.reactor))
        house.reactor.turn(20)

    def says(self, payload: bytes) -> None:
        self.stream.transport.write(framed(payload))
        self.house.reactor.turn(20)

    def logs_in(self, name: str | bytes = "alice", password: str = "pw") -> None:
        self.says(asking(name, "password", boolean(False), string(password)))
