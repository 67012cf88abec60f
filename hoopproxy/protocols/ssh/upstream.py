"""The gateway's own log-in at the target, with what the client never sees: RFC 4252, RFC 4256. Values in, commands out.

A certificate that the gateway's own authority makes for this one session goes first, then the account's private key,
then its password. A target that wants several of them one after the other gets them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import Identity
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.certs import USER, Certificate, mint, read_certificate
from hoopproxy.protocols.ssh.keys import (
    CERTIFICATE,
    BadKey,
    PrivateKey,
    blob_of,
    fingerprint,
    read_private,
    read_public,
    sign,
)
from hoopproxy.protocols.ssh.packets import Reader, boolean, framed, packet, string, uint32
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.wire.commands import Command, Connected, ToServer
from hoopproxy.wire.frames import Frame

__all__ = ["ClientAuth", "user_certificate"]

BANNER_BYTES: Final = 8_192
"""Bytes of all that the target says before the log-in: a legal notice fits."""

BANNERS_MOST: Final = 16
"""Messages of it."""

QUESTIONS_MOST: Final = 4
"""Rounds of questions: a password, and notices before and after it."""

BACKDATED_SECONDS: Final = 60
"""How much earlier than now a certificate begins: clocks differ."""

VALID_SECONDS: Final = 300
"""How long after now it ends: it is used once, at once."""

_KNOWN: Final = ("publickey", "password", "keyboard-interactive", "hostbased", "gssapi-with-mic")


class ClientAuth:
    """One log-in at a target.

    :param connected: the account's user and password; of ``secrets`` the private key ``key``, and ``user_ca``, the
        private key of the authority that the target trusts.
    :param clock: the time of day in seconds.

    :ivar done: it is logged in. :ivar failed: why not, a sentence that holds no secret; empty while it is under way.
    :ivar banner: what the target said meanwhile, bounded.
    """

    def __init__(
        self,
        connected: Connected,
        secured: Secured,
        identity: Identity,
        *,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._connected, self._secured, self._identity = connected, secured, identity
        self._clock, self._entropy = clock, entropy
        self.done = False
        self.failed = ""
        self.banner = b""
        self._banners = self._questions = 0
        self._answered = False
        self._trying = ""
        self._proven: list[str] = []
        self._keys: list[tuple[PrivateKey, Certificate | None]] = []
        self._used: tuple[PrivateKey, Certificate | None] | None = None
        self._left: list[str] = []

    def begin(self) -> Iterator[Command]:
        """The first request."""
        secrets = self._connected.secrets
        try:
            if "user_ca" in secrets:
                self._keys.append(self._minted(read_private(secrets["user_ca"])))
            if "key" in secrets:
                self._keys.append((read_private(secrets["key"]), None))
        except BadKey as problem:
            self.failed = f"the gateway's key for it can't be used: {problem}"
            return
        if self._password is not None:
            self._left = ["password", "keyboard-interactive"]
        if not self._keys and not self._left:
            self.failed = "the account has neither a key nor a password, and the target no user_ca"
        elif self._keys:
            yield from self._by_key()
        else:
            # It says which of both it takes: a refused guess would count against the account.
            yield self._say("none", b"")

    @property
    def _password(self) -> bytes | None:
        found = self._connected.password
        return found if found is not None else self._connected.secrets.get("password")

    def facts(self) -> Mapping[str, object]:
        """How it was logged in, for the record."""
        found: dict[str, object] = {"user": self._connected.user, "method": self._proven[-1]}
        if len(self._proven) > 1:
            found["methods"] = list(self._proven)
        if self._used is not None and "publickey" in self._proven:
            key, certificate = self._used
            found["key"] = fingerprint(blob_of(key))
            if certificate is not None:
                found["certificate"] = certificate.facts
        return found

    # --- what the target says ------------------------------------------------------------------------

    def frame(self, frame: Frame) -> Iterator[Command]:
        """A message of the target's log-in.

        :raises ProtocolViolation: it is malformed, or not legal now.
        """
        reader = Reader(frame.body or b"", 1)
        if self.done or not self._trying:
            raise ProtocolViolation(f"the target sent {n.name_of(frame.kind)} after the log-in")
        if frame.kind == n.USERAUTH_BANNER:
            self._said(reader)
        elif frame.kind == n.USERAUTH_SUCCESS:
            reader.end()
            self._proven.append(self._trying)
            self.done = True
        elif frame.kind == n.USERAUTH_FAILURE:
            methods, partial = reader.name_list(), reader.boolean()
            reader.end()
            yield from self._next(methods, partial)
        elif frame.kind == n.USERAUTH_60 and self._trying == "keyboard-interactive":
            yield from self._ask(reader)
        elif frame.kind == n.USERAUTH_60 and self._trying == "password":
            self.failed = "it demands a new password for the account"
        else:
            raise ProtocolViolation(
                f"the target sent {n.name_of(frame.kind)} where the log-in has no place for it"
            )

    def _said(self, reader: Reader) -> None:
        text = reader.string()
        reader.string()
        reader.end()
        self._banners += 1
        if self._banners > BANNERS_MOST:
            raise ProtocolViolation(f"the target sent over {BANNERS_MOST} banners")
        self.banner = (self.banner + text)[:BANNER_BYTES]

    def _next(self, methods: tuple[str, ...], partial: bool) -> Iterator[Command]:
        if partial:
            if self._trying == "none":
                raise ProtocolViolation("the target takes nothing for a proof")
            self._proven.append(self._trying)
        elif self._trying == "publickey":
            self._used = None
        if "publickey" in methods and self._keys and "publickey" not in self._proven:
            yield from self._by_key()
            return
        for method in self._left:
            if method in methods:
                self._left.remove(method)
                yield self._by_password(method)
                return
        taken = ", ".join(each for each in methods if each in _KNOWN) or "nothing that is known here"
        tried = "after a first proof " if self._proven else ""
        self.failed = (
            f"it {tried}accepted none of the gateway's credentials for the account (it takes {taken})"
        )

    def _ask(self, reader: Reader) -> Iterator[Command]:
        """RFC 4256 s.3.2. One hidden question is one for the password."""
        reader.string()
        reader.string()
        reader.string()
        count = reader.uint32()
        if count > reader.left // 5:
            raise ProtocolViolation("the target asks more questions than its message holds")
        echoes = []
        for _ in range(count):
            reader.string()
            echoes.append(reader.boolean())
        reader.end()
        self._questions += 1
        if count and (echoes != [False] or self._answered):
            self.failed = "it asks for more than the account's password"
        elif self._questions > QUESTIONS_MOST:
            self.failed = "it goes on asking"
        else:
            answers = [string(self._password or b"")] if count else []
            self._answered = self._answered or bool(count)
            said = packet(n.USERAUTH_INFO_RESPONSE, uint32(count), *answers)
            yield ToServer(framed(said), "INFO_RESPONSE", secret=True)

    # --- what we say ---------------------------------------------------------------------------------

    def _say(self, method: str, fields: bytes) -> Command:
        self._trying = method
        said = packet(n.USERAUTH_REQUEST, *self._head(method), fields)
        return ToServer(framed(said), "USERAUTH_REQUEST", secret=True)

    def _head(self, method: str) -> tuple[bytes, ...]:
        return string(self._connected.user), string("ssh-connection"), string(method)

    def _by_password(self, method: str) -> Command:
        if method == "password":
            return self._say(method, boolean(False) + string(self._password or b""))
        return self._say(method, string(b"") + string(b""))

    def _by_key(self) -> Iterator[Command]:
        self._used = key, certificate = self._keys.pop(0)
        algorithm = self._algorithm(key)
        blob = blob_of(key)
        if certificate is not None:
            algorithm, blob = algorithm + CERTIFICATE, certificate.blob
        fields = boolean(True) + string(algorithm) + string(blob)
        request = packet(n.USERAUTH_REQUEST, *self._head("publickey"), fields)
        signature = sign(key, algorithm, string(self._secured.session_id) + request)
        yield self._say("publickey", fields + string(signature))

    def _algorithm(self, key: PrivateKey) -> str:
        """The key's best that the target says it takes (RFC 8308 s.3.1), or its best."""
        names = read_public(blob_of(key)).algorithms
        taken = self._secured.ext.get("server-sig-algs", b"").decode("ascii", "replace").split(",")
        return next((name for name in names if name in taken), names[0])

    def _minted(self, authority: PrivateKey) -> tuple[PrivateKey, Certificate]:
        key = Ed25519PrivateKey.generate()
        now = int(self._clock())
        blob = user_certificate(authority, blob_of(key), self._connected, self._identity, now, self._entropy)
        return key, read_certificate(blob)


def user_certificate(
    authority: PrivateKey,
    subject: bytes,
    connected: Connected,
    identity: Identity,
    now: int,
    entropy: Callable[[int], bytes],
) -> bytes:
    """A certificate for one log-in: its principal is the account's user, its key id who it is for and which session.

    What the role doesn't permit the certificate doesn't either.
    """
    permits = connected.permits
    extensions = ["permit-user-rc"]
    if permits.get("pty", True):
        extensions.append("permit-pty")
    if any(permits.get(name) for name in ("forwards", "remote_forwards", "streamlocal")):
        extensions.append("permit-port-forwarding")
    if permits.get("agent"):
        extensions.append("permit-agent-forwarding")
    if permits.get("x11"):
        extensions.append("permit-X11-forwarding")
    return mint(
        authority,
        subject,
        kind=USER,
        serial=int.from_bytes(entropy(8), "big") >> 1,
        key_id=f"hoopproxy:{identity.id}:{connected.session}",
        principals=(connected.user,),
        valid_after=now - BACKDATED_SECONDS,
        valid_before=now + VALID_SECONDS,
        extensions=extensions,
        nonce=entropy(32),
    )
