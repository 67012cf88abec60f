"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides, and PostgreSQL's ``md5``. Pure.

RFC 5802 (the exchange), RFC 7677 (SHA-256), RFC 5929 section 4 (``tls-server-end-point``), RFC 4013
(SASLprep). The server's side is two functions around a value: :func:`begin` and :func:`finish`. The client's
side is :class:`Client`. Every failure is one :class:`ScramError` whose ``cause`` is for the trail.

As PostgreSQL does, the name inside the client's first message is ignored (its clients send it empty, as
``*`` or in full): who logs in was said before the exchange began, and can't be changed by it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable

from attrs import field, frozen

from hoopproxy.errors import HoopproxyError
from hoopproxy.wire.saslprep import prepared

__all__ = [
    "DEFAULT_ITERATIONS",
    "MAXIMUM_ITERATIONS",
    "MAXIMUM_MESSAGE",
    "MINIMUM_ITERATIONS",
    "PLAIN",
    "PLUS",
    "Client",
    "ScramError",
    "Verifier",
    "Waiting",
    "begin",
    "finish",
    "make_nonce",
    "md5_password",
    "salted_password",
]

PLAIN, PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"

MINIMUM_ITERATIONS = 100_000
"""Of a verifier that we keep: what a stolen users file must cost to guess at."""

DEFAULT_ITERATIONS = MINIMUM_ITERATIONS
"""Of a verifier that we make. It is the client that pays, at each log-in, and some derive in a slow loop."""

MAXIMUM_ITERATIONS = 1_000_000
"""That we let a server ask of us: about half a second of CPU, so a hostile one can't stall the gateway."""

MAXIMUM_MESSAGE = 4096
"""Bytes in one message of an exchange; real ones have 60 to 250."""

_BINDING_TYPE = b"p=tls-server-end-point"
_NONCE_BYTES = 18
_MAXIMUM_SALT = 1024

Derive = Callable[[bytes, bytes, int], bytes]
"""``(password, salt, iterations) -> salted password``: the costly step, replaceable by a caching one."""


class ScramError(HoopproxyError):
    """The exchange failed. ``cause`` is one word for the trail; nothing of the messages is quoted."""

    def __init__(self, cause: str, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


def salted_password(password: bytes, salt: bytes, iterations: int) -> bytes:
    """``Hi(Normalize(password), salt, i)``. CPU bound: about 40 ms per 100,000 iterations."""
    return hashlib.pbkdf2_hmac("sha256", prepared(password), salt, iterations)


def make_nonce() -> bytes:
    """A fresh nonce: 18 random bytes as 24 characters of base 64."""
    return base64.b64encode(secrets.token_bytes(_NONCE_BYTES))


def md5_password(user: bytes, password: bytes, salt: bytes) -> bytes:
    """PostgreSQL's answer to AuthenticationMD5Password (protocol chapter, "Message Flow")."""
    inner = hashlib.md5(password + user, usedforsecurity=False).hexdigest().encode("ascii")
    return b"md5" + hashlib.md5(inner + salt, usedforsecurity=False).hexdigest().encode("ascii")


# -- what is kept of a password ------------------------------------------------------------------


@frozen(kw_only=True)
class Verifier:
    """What a server keeps instead of the password. ``doomed``: of nobody, so its exchange always fails."""

    iterations: int
    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    doomed: bool = False

    @classmethod
    def make(
        cls, password: bytes, iterations: int = DEFAULT_ITERATIONS, salt: bytes | None = None
    ) -> Verifier:
        """Derive from a password. CPU bound, see :func:`salted_password`."""
        salt = secrets.token_bytes(16) if salt is None else salt
        return cls.of_salted(salted_password(password, salt, iterations), salt, iterations)

    @classmethod
    def of_salted(cls, salted: bytes, salt: bytes, iterations: int) -> Verifier:
        """From a salted password that is already there."""
        stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
        return cls(
            iterations=iterations, salt=salt, stored_key=stored_key, server_key=_hmac(salted, b"Server Key")
        )

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read ``SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>``, as PostgreSQL writes it.

        :raises ScramError: with a sentence that names the part and quotes nothing.
        """
        parts = text.split("$")
        if len(parts) != 3 or parts[0] != PLAIN:
            raise ScramError("format", f"is not {PLAIN}$iterations:salt$stored:server")
        count, _, salt = parts[1].partition(":")
        stored, _, server = parts[2].partition(":")
        keys = [_base64(part.encode("utf-8")) for part in (salt, stored, server)]
        if not all(keys) or len(keys[1]) != 32 or len(keys[2]) != 32 or len(keys[0]) > _MAXIMUM_SALT:
            raise ScramError("format", "has a salt or key that is not base 64 of the right length")
        iterations = _count(count.encode("utf-8"))
        if iterations is None:
            raise ScramError("format", "has an iteration count that is not a number")
        return cls(iterations=iterations, salt=keys[0], stored_key=keys[1], server_key=keys[2])

    def render(self) -> str:
        """The text that :meth:`parse` reads."""
        salt, stored, server = (
            base64.b64encode(part).decode("ascii") for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"{PLAIN}${self.iterations}:{salt}${stored}:{server}"

    def matches(self, password: bytes) -> bool:
        """Is it this cleartext password? CPU bound; equal work whatever the answer."""
        derived = Verifier.make(password, self.iterations, self.salt)
        return hmac.compare_digest(derived.stored_key, self.stored_key) and not self.doomed


# -- the server's side ---------------------------------------------------------------------------


@frozen(kw_only=True)
class Waiting:
    """The server's state between its first message and the client's last."""

    message: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    first_bare: bytes = field(repr=False)
    bound: bytes = field(repr=False)
    verifier: Verifier = field(repr=False)


def begin(
    data: bytes, *, mechanism: str, binding: bytes | None, verifier: Verifier, nonce: bytes | None = None
) -> Waiting:
    """Read the client's first message; ``.message`` of the result is the server's first.

    :param mechanism: what the client chose: :data:`PLAIN` or :data:`PLUS`.
    :param binding: this connection's ``tls-server-end-point`` data if :data:`PLUS` was offered, else None.
    :param nonce: the server's part of the nonce; for test vectors.
    :raises ScramError: malformed, an extension that is mandatory, another identity asked for, or channel
        binding that was stripped on the way (flag ``y`` although it was offered).
    """
    flag, header, bare = _split_first(data)
    bound = header + _agreed_binding(flag, mechanism, binding)
    attributes = _attributes(bare)
    if [key for key, _ in attributes[:2]] != [b"n", b"r"]:
        raise ScramError("malformed", "the first message has no name and nonce in that order")
    client_nonce = attributes[1][1]
    if not _is_nonce(client_nonce):
        raise ScramError("malformed", "the client's nonce is empty or not printable")
    whole = client_nonce + (make_nonce() if nonce is None else nonce)
    salt = base64.b64encode(verifier.salt)
    message = b"r=%b,s=%b,i=%d" % (whole, salt, verifier.iterations)
    return Waiting(message=message, nonce=whole, first_bare=bare, bound=bound, verifier=verifier)


def finish(waiting: Waiting, data: bytes) -> bytes:
    """Check the client's last message; the answer is the server's final message, ``v=...``.

    :raises ScramError: malformed, another nonce, another binding, or (``mismatch``) the wrong password.
    """
    without_proof, mark, encoded = data.rpartition(b",p=")
    attributes = _attributes(without_proof if mark else b"")
    if [key for key, _ in attributes[:2]] != [b"c", b"r"]:
        raise ScramError("malformed", "the last message has no binding, nonce and proof in that order")
    proof = _base64(encoded)
    if len(proof) != 32:
        raise ScramError("malformed", "the proof is not base 64 of 32 bytes")
    verifier = waiting.verifier
    message = b",".join((waiting.first_bare, waiting.message, without_proof))
    client_key = _xor(proof, _hmac(verifier.stored_key, message))
    proven = hmac.compare_digest(hashlib.sha256(client_key).digest(), verifier.stored_key)
    if not hmac.compare_digest(_base64(attributes[0][1]), waiting.bound):
        raise ScramError("binding", "the channel binding is of another connection")
    if not hmac.compare_digest(attributes[1][1], waiting.nonce):
        raise ScramError("nonce", "the nonce is of another exchange")
    if not proven or verifier.doomed:
        raise ScramError("mismatch", "the proof is wrong")
    return b"v=" + base64.b64encode(_hmac(verifier.server_key, message))


def _split_first(data: bytes) -> tuple[bytes, bytes, bytes]:
    """(flag, GS2 header with its commas, the bare message)."""
    parts = _bounded(data).split(b",", 2)
    if len(parts) != 3:
        raise ScramError("malformed", "the first message has no GS2 header")
    flag, authzid, bare = parts
    if authzid:
        raise ScramError("authzid", "logging in as one identity to act as another is not supported")
    return flag, flag + b",,", bare


def _agreed_binding(flag: bytes, mechanism: str, binding: bytes | None) -> bytes:
    """The binding data that both sides must mean; the rules of RFC 5802 section 6."""
    if mechanism == PLUS:
        if binding is None:
            raise ScramError("binding", f"{PLUS} was not offered")
        if flag != _BINDING_TYPE:
            raise ScramError("binding", f"{PLUS} needs tls-server-end-point")
        return binding
    if mechanism != PLAIN:
        raise ScramError("mechanism", "the mechanism is not known")
    if flag == b"y" and binding is not None:
        raise ScramError("downgrade", f"the client was told that {PLUS} is not offered, but it is")
    if flag not in (b"n", b"y"):
        raise ScramError("binding", f"{PLAIN} was chosen together with channel binding")
    return b""


# -- the client's side ---------------------------------------------------------------------------


class Client:
    """Our side of a log-in at a server that may be hostile. One use: ``first``, ``answer``, ``verify``.

    :param password: bytes as configured; SASLprep is applied.
    :param binding: the server certificate's ``tls-server-end-point`` data. Given, the exchange is
        :data:`PLUS`.
    :param supports_binding: we could bind but the server didn't offer it: flag ``y``, so that a server
        whose offer was stripped on the way notices.
    :param maximum_iterations: what the server may ask of us.
    :param derive: replaces :func:`salted_password`, by one that caches for example.
    """

    def __init__(
        self,
        password: bytes,
        *,
        binding: bytes | None = None,
        supports_binding: bool = False,
        maximum_iterations: int = MAXIMUM_ITERATIONS,
        user: bytes = b"",
        nonce: bytes | None = None,
        derive: Derive = salted_password,
    ) -> None:
        self.mechanism = PLAIN if binding is None else PLUS
        flag = _BINDING_TYPE if binding is not None else (b"y" if supports_binding else b"n")
        self._header = flag + b",,"
        self._binding = binding or b""
        self._password = password
        self._maximum = maximum_iterations
        self._nonce = make_nonce() if nonce is None else nonce
        self._bare = b"n=%b,r=%b" % (user.replace(b"=", b"=3D").replace(b",", b"=2C"), self._nonce)
        self._derive = derive
        self._signature: bytes | None = None

    def first(self) -> bytes:
        """The client's first message."""
        return self._header + self._bare

    def answer(self, server_first: bytes) -> bytes:
        """The client's last message. Runs the derivation, so it costs what the server's count says.

        :raises ScramError: malformed, a nonce that doesn't extend ours, or a count over the cap.
        """
        if self._signature is not None:
            raise ScramError("state", "the server sent its first message twice")
        nonce, salt, iterations = self._read(server_first)
        salted = self._derive(self._password, salt, iterations)
        channel = base64.b64encode(self._header + self._binding)
        without_proof = b"c=%b,r=%b" % (channel, nonce)
        message = b",".join((self._bare, server_first, without_proof))
        client_key = _hmac(salted, b"Client Key")
        proof = _xor(client_key, _hmac(hashlib.sha256(client_key).digest(), message))
        self._signature = _hmac(_hmac(salted, b"Server Key"), message)
        return without_proof + b",p=" + base64.b64encode(proof)

    def verify(self, server_final: bytes) -> None:
        """Check that the server knows the password too.

        :raises ScramError: it doesn't, it sent an error, or it is too early to say.
        """
        expected, self._signature = self._signature, b""
        if not expected:
            raise ScramError("state", "the server's final message came out of turn")
        key, value = _attributes(_bounded(server_final))[0]
        if key == b"e":
            raise ScramError("refused", "the server refused the log-in")
        if key != b"v" or not hmac.compare_digest(_base64(value), expected):
            raise ScramError("signature", "the server could not prove that it knows the password")

    def _read(self, server_first: bytes) -> tuple[bytes, bytes, int]:
        attributes = _attributes(_bounded(server_first))
        if [key for key, _ in attributes[:3]] != [b"r", b"s", b"i"]:
            raise ScramError("malformed", "the server's first message has no nonce, salt and count in order")
        nonce, salt, iterations = attributes[0][1], _base64(attributes[1][1]), _count(attributes[2][1])
        if not nonce.startswith(self._nonce) or nonce == self._nonce or not _is_nonce(nonce):
            raise ScramError("nonce", "the server's nonce does not extend ours")
        if not salt or len(salt) > _MAXIMUM_SALT or iterations is None:
            raise ScramError("malformed", "the server's salt or count can't be read")
        if iterations > self._maximum:
            raise ScramError("iterations", f"the server asks for more than {self._maximum} iterations")
        return nonce, salt, iterations


# -- the parts of a message ----------------------------------------------------------------------


def _bounded(data: bytes) -> bytes:
    if len(data) > MAXIMUM_MESSAGE:
        raise ScramError("malformed", f"the message is over {MAXIMUM_MESSAGE} bytes")
    return data


def _attributes(data: bytes) -> list[tuple[bytes, bytes]]:
    """``k=value`` pairs in order. A mandatory extension (``m=``) and a repeated key end the exchange."""
    pairs: list[tuple[bytes, bytes]] = []
    seen: set[bytes] = set()
    for part in _bounded(data).split(b","):
        key, value = part[:1], part[2:]
        if not key.isalpha() or part[1:2] != b"=" or b"\0" in value:
            raise ScramError("malformed", "the message is not a list of attributes")
        if key == b"m":
            raise ScramError("extension", "the message needs an extension that is not known")
        if key in seen:
            raise ScramError("malformed", "the message has an attribute twice")
        seen.add(key)
        pairs.append((key, value))
    return pairs


def _is_nonce(value: bytes) -> bool:
    return bool(value) and all(0x21 <= byte <= 0x7E for byte in value)


def _count(value: bytes) -> int | None:
    """A positive number without sign, blank or leading zero; None is anything else."""
    if not value.isdigit() or len(value) > 10 or value.startswith(b"0"):
        return None
    return int(value)


def _base64(value: bytes) -> bytes:
    """Strict base 64; empty when it isn't. One value has one text: bits that no byte has must be zero."""
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data) == value else b""


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
