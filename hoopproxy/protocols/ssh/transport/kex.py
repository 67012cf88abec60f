"""One key exchange, on conch's server and client: made when it begins, gone with all that it knows when it ends.

conch computes the shared secrets, the exchange hash and the keys; here are the groups it doesn't have, the client's
half of the hybrid exchange, host certificates, and the order of the messages.
"""

# conch is typed loosely, where at all.
# mypy: allow-untyped-calls

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from struct import error as StructError
from struct import pack
from typing import Any, Final

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from twisted.conch.ssh.common import MP, NS, getMP, getNS
from twisted.conch.ssh.transport import SSHClientTransport, SSHServerTransport

from hoopproxy.errors import HoopproxyError
from hoopproxy.protocols.ssh.transport.algorithms import KEX_HASHES, Agreed
from hoopproxy.protocols.ssh.transport.broken import (
    HOST_KEY_NOT_VERIFIABLE,
    KEY_EXCHANGE_FAILED,
    PROTOCOL_ERROR,
    TransportBroken,
)
from hoopproxy.protocols.ssh.transport.groups import FIXED_GROUPS, GENERATOR, prime
from hoopproxy.protocols.ssh.transport.hostkey import HostKey, check_signature

__all__ = ["GEX_BITS", "ClientExchange", "Hello", "Keys", "ServerExchange", "Verify"]

GEX_BITS: Final = (3_072, 3_072, 4_096)
"""Bits of a prime that a target chooses: at least, best, at most. More would only cost time."""

Verify = Callable[[str, bytes], None]
"""Called with the host key algorithm and the key's (or certificate's) blob; raises a HoopproxyError, whose text is
a sentence, when it is not to be trusted."""

_INIT, _REPLY, _GEX_INIT, _GEX_REPLY, _GEX_REQUEST = 30, 31, 32, 33, 34
_HYBRID, _ELLIPTIC, _GEX = "mlkem768x25519-", ("curve25519-", "ecdh-"), "diffie-hellman-group-exchange-"
_MLKEM_PUBLIC, _MLKEM_CIPHERTEXT, _X25519_PUBLIC = 1_184, 1_088, 32

# cryptography says at each use that it will drop these groups; we offer them last, while it has them.
warnings.filterwarnings(
    "ignore", message="Diffie-Hellman over finite fields", module=r"(twisted\.conch|hoopproxy)\."
)


@attrs.frozen
class Keys:
    """What a key exchange gives: RFC 4253 s.7.2's six values (A to F), the hash, and the host key's blob."""

    derived: tuple[bytes, bytes, bytes, bytes, bytes, bytes] = attrs.field(repr=False)
    session_id: bytes = attrs.field(repr=False)
    host_key: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Hello:
    """What both sides said before: the version lines, without their ends, and the KEXINIT messages."""

    our_version: bytes
    their_version: bytes
    our_kexinit: bytes
    their_kexinit: bytes


class _Exchange:
    """What both sides have in common. Mixed before a conch transport, which is never connected.

    :ivar keys: the result, once there is one. :ivar expects: the number of the message that is legal next.
    """

    kexAlg: bytes
    sessionID: bytes | None
    g: int
    p: int

    def begin(
        self, agreed: Agreed, hello: Hello, session_id: bytes | None, send: Callable[[bytes], None]
    ) -> None:
        self.agreed, self.sessionID, self._send = agreed, session_id, send
        self.ourVersionString, self.otherVersionString = hello.our_version, hello.their_version
        self.ourKexInitPayload, self.otherKexInitPayload = hello.our_kexinit, hello.their_kexinit
        self.kexAlg, self.keyAlg = agreed.kex.encode(), agreed.host_key.encode()
        self.keys: Keys | None = None
        self.expects = 0
        self._hash: Callable[..., Any] = getattr(hashlib, KEX_HASHES[agreed.kex])
        fixed = FIXED_GROUPS.get(agreed.kex)
        if fixed is not None:
            self.g, self.p = GENERATOR, prime(*fixed)

    def received(self, payload: bytes) -> None:
        """Take a message of the key exchange (30 to 49).

        :raises TransportBroken: it is malformed, or not what comes now; or the host key is refused.
        """
        if payload[0] != self.expects:
            raise TransportBroken(PROTOCOL_ERROR, f"message {payload[0]} has no place here in a key exchange")
        self.expects = 0
        try:
            self._step(payload[0], payload[1:])
        except (ValueError, IndexError, StructError, UnsupportedAlgorithm, AssertionError):
            # What conch and cryptography raise for values that no honest peer sends.
            raise TransportBroken(
                KEY_EXCHANGE_FAILED, f"message {payload[0]} of the key exchange is malformed"
            ) from None

    def _step(self, kind: int, body: bytes) -> None:
        raise NotImplementedError

    # --- what conch calls ----------------------------------------------------------------------------

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        self._send(bytes((messageType,)) + payload)

    def sendDisconnect(self, reason: int, desc: bytes | str) -> None:
        text = desc if isinstance(desc, str) else desc.decode("ascii", "replace")
        raise TransportBroken(reason, f"the key exchange failed: {text}")

    def _getKey(self, c: bytes, sharedSecret: bytes, exchangeHash: bytes) -> bytes:
        make, seed = self._hash, sharedSecret + exchangeHash
        key = make(seed + c + (self.sessionID or exchangeHash)).digest()
        while len(key) < 64:  # the longest that any cipher or MAC takes
            key += make(seed + key).digest()
        return bytes(key)

    def _keySetup(self, sharedSecret: bytes, exchangeHash: bytes) -> None:
        if self.sessionID is None:
            self.sessionID = exchangeHash
        a, b, c, d, e, f = (
            self._getKey(bytes((letter,)), sharedSecret, exchangeHash) for letter in b"ABCDEF"
        )
        self.keys = Keys((a, b, c, d, e, f), self.sessionID, self._blob())

    def _blob(self) -> bytes:
        raise NotImplementedError

    def _in_group(self, number: int) -> int:
        """A peer's public value: 1 < number < p - 1 (RFC 4253 s.8)."""
        if not 1 < number < self.p - 1:
            raise ValueError("a public value outside of its group")
        return number


class _Signer:
    """A host key as conch's server wants it: something with a blob, and something that signs."""

    def __init__(self, key: HostKey, algorithm: str) -> None:
        self._key, self._algorithm = key, algorithm

    def blob(self) -> bytes:
        return self._key.blob(self._algorithm)

    def sign(self, data: bytes, signatureType: bytes) -> bytes:
        return self._key.sign(self._algorithm, data)


class ServerExchange(_Exchange, SSHServerTransport):
    """The server's half. :param host_keys: of which one has the algorithm that was agreed on."""

    def __init__(
        self,
        host_keys: Sequence[HostKey],
        agreed: Agreed,
        hello: Hello,
        session_id: bytes | None,
        send: Callable[[bytes], None],
    ) -> None:
        self.begin(agreed, hello, session_id, send)
        key = next(each for each in host_keys if agreed.host_key in each.algorithms)
        self._signer = _Signer(key, agreed.host_key)
        self.expects = _INIT

    def _step(self, kind: int, body: bytes) -> None:
        name = self.agreed.kex
        if name.startswith(_HYBRID):
            self._ssh_KEX_HYBRID_INIT(body)
        elif name.startswith(_ELLIPTIC):
            self._ssh_KEX_ECDH_INIT(body)
        else:
            self._ssh_KEXDH_INIT(body)

    def _getHostKeys(self, keyAlg: bytes) -> Any:
        return self._signer, self._signer

    def _blob(self) -> bytes:
        return self._signer.blob()

    def _ssh_KEXDH_INIT(self, packet: bytes) -> None:
        # conch's own knows one group, with SHA-1.
        theirs = self._in_group(getMP(packet)[0])
        self._startEphemeralDH()
        shared = self._finishEphemeralDH(theirs)
        blob, public = self._signer.blob(), self.dhSecretKeyPublicMP
        found = self._hash()
        for part in (
            NS(self.otherVersionString),
            NS(self.ourVersionString),
            NS(self.otherKexInitPayload),
            NS(self.ourKexInitPayload),
            NS(blob),
            MP(theirs),
            public,
            shared,
        ):
            found.update(part)
        digest = found.digest()
        self.sendPacket(_REPLY, NS(blob) + public + NS(self._signer.sign(digest, b"")))
        self._keySetup(shared, digest)


class ClientExchange(_Exchange, SSHClientTransport):
    """The client's half; it says the first word at once. :param verify: asked about the host key after its
    signature was checked, before anything is sent."""

    def __init__(
        self,
        verify: Verify,
        agreed: Agreed,
        hello: Hello,
        session_id: bytes | None,
        send: Callable[[bytes], None],
    ) -> None:
        self.begin(agreed, hello, session_id, send)
        self._verify = verify
        self._host_key = b""
        self._group = b""
        self.expects = _REPLY
        if agreed.kex.startswith(_HYBRID):
            self._ours: Any = (mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate())
            self._public = NS(b"".join(each.public_key().public_bytes_raw() for each in self._ours))
        elif agreed.kex.startswith(_ELLIPTIC):
            self._ours = self._generateECPrivateKey()
            self._public = NS(self._encodeECPublicKey(self._ours.public_key()))
        elif agreed.kex.startswith(_GEX):
            self.sendPacket(_GEX_REQUEST, pack(">3I", *GEX_BITS))
            return
        else:
            self._startEphemeralDH()
            self._public = self.dhSecretKeyPublicMP
        self.sendPacket(_INIT, self._public)

    def _blob(self) -> bytes:
        return self._host_key

    def _step(self, kind: int, body: bytes) -> None:
        if kind == _REPLY and self.agreed.kex.startswith(_GEX):
            self._grouped(body)
        else:
            self._replied(body)

    def _grouped(self, body: bytes) -> None:
        """The target chose a group (RFC 4419 s.3)."""
        self.p, self.g, rest = getMP(body, 2)  # type: ignore[assignment]  # two integers and bytes
        if rest or not GEX_BITS[0] <= self.p.bit_length() <= GEX_BITS[2] or not 1 < self.g < self.p - 1:
            raise TransportBroken(
                KEY_EXCHANGE_FAILED,
                f"the group that it chose has {self.p.bit_length():,} bits, not {GEX_BITS[0]:,} to "
                f"{GEX_BITS[2]:,}",
            )
        self._startEphemeralDH()
        self._public = self.dhSecretKeyPublicMP
        self._group = pack(">3I", *GEX_BITS) + MP(self.p) + MP(self.g)
        self.expects = _GEX_REPLY
        self.sendPacket(_GEX_INIT, self._public)

    def _replied(self, body: bytes) -> None:
        """The target's public value, host key and signature."""
        blob, theirs, signature, rest = getNS(body, 3)
        if rest or len(signature) + len(theirs) + len(blob) + 12 != len(body):
            raise ValueError("a reply of another length")
        shared = self._shared(theirs)
        found = self._hash()
        for part in (
            NS(self.ourVersionString),
            NS(self.otherVersionString),
            NS(self.ourKexInitPayload),
            NS(self.otherKexInitPayload),
            NS(blob),
            self._group,
            self._public,
            NS(theirs),
            shared,
        ):
            found.update(part)
        digest = found.digest()
        check_signature(self.agreed.host_key, blob, signature, digest)
        try:
            self._verify(self.agreed.host_key, blob)
        except TransportBroken:
            raise
        except HoopproxyError as problem:
            raise TransportBroken(HOST_KEY_NOT_VERIFIABLE, str(problem)) from problem
        self._host_key = blob
        self._keySetup(shared, digest)

    def _shared(self, theirs: bytes) -> bytes:
        name = self.agreed.kex
        if name.startswith(_ELLIPTIC):
            return bytes(self._generateECSharedSecret(self._ours, theirs))
        if not name.startswith(_HYBRID):
            return bytes(self._finishEphemeralDH(self._in_group(int.from_bytes(theirs, "big"))))
        if len(theirs) != _MLKEM_CIPHERTEXT + _X25519_PUBLIC:
            raise ValueError("a hybrid reply of another length")
        lattice, curve = self._ours
        first = lattice.decapsulate(theirs[:_MLKEM_CIPHERTEXT])
        second = curve.exchange(x25519.X25519PublicKey.from_public_bytes(theirs[_MLKEM_CIPHERTEXT:]))
        return NS(self._hash(first + second).digest())
