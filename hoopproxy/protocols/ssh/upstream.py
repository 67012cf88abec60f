"""The gateway's log-in at a target: RFC 4252 from the other side. Pure."""

# conch's keys are untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from twisted.conch.ssh.keys import Key

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import Identity
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.hostkeys import fingerprint
from hoopproxy.protocols.ssh.packets import Reader, boolean, framed, packet, string
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.wire.commands import Command, Connected, ToServer
from hoopproxy.wire.frames import Frame

__all__ = ["BANNER_MAX", "ClientAuth"]

BANNER_MAX = 16_384
"""Bytes of a target's banners that are passed on."""


class ClientAuth:
    """One log-in: by the account's private key, or its password. ``done``, or why it ``failed``."""

    def __init__(self, connected: Connected, secured: Secured, identity: Identity) -> None:
        self._connected, self._secured = connected, secured
        self.done, self.failed, self.banner = False, "", b""
        self._method = ""
        self._facts: dict[str, object] = {}

    def begin(self) -> Iterator[Command]:
        """The first request."""
        key, password = self._connected.secrets.get("key"), self._connected.password
        if key is not None:
            yield from self._by_key(key)
        elif password is not None:
            self._method = "password"
            yield self._request(boolean(False), string(password))
        else:
            self._method = "none"
            yield self._request()

    def _by_key(self, data: bytes) -> Iterator[Command]:
        try:
            key: Any = Key(serialization.load_ssh_private_key(data, None))
        except (ValueError, TypeError):
            self.failed = (
                "the account's private key can't be read; it must be an OpenSSH key without a passphrase"
            )
            return
        blob = key.blob()
        algorithm = {"ssh-rsa": b"rsa-sha2-512"}.get(key.sshType().decode(), key.sshType())
        self._method = "publickey"
        self._facts = {"key": fingerprint(blob)}
        request = self._payload(boolean(True), string(algorithm), string(blob))
        signature = key.sign(string(self._secured.session_id) + request, signatureType=algorithm)
        yield ToServer(framed(request + string(signature)), "", secret=True)

    def _payload(self, *parts: bytes) -> bytes:
        user = self._connected.user or self._connected.account
        return packet(
            n.USERAUTH_REQUEST, string(user), string("ssh-connection"), string(self._method), *parts
        )

    def _request(self, *parts: bytes) -> ToServer:
        return ToServer(framed(self._payload(*parts)), "", secret=True)

    def frame(self, frame: Frame) -> Iterator[Command]:
        """A message of the target."""
        reader = Reader(frame.body or b"", 1)
        if frame.kind == n.USERAUTH_SUCCESS:
            reader.end()
            self.done = True
        elif frame.kind == n.USERAUTH_BANNER:
            self.banner = (self.banner + reader.string())[:BANNER_MAX]
        elif frame.kind == n.USERAUTH_FAILURE:
            offered = ", ".join(reader.name_list()) or "nothing"
            self.failed = f"it did not accept the account's {self._method} (it takes {offered})"
        else:
            raise ProtocolViolation(f"{n.name_of(frame.kind)} has no place in this log-in")
        return iter(())

    def facts(self) -> Mapping[str, object]:
        """For the record of the session's start."""
        return {"method": self._method, **self._facts}
