"""The client's log-in: RFC 4252, RFC 4256, OpenSSH's certificates. Values in, commands out.

A key that is offered is answered, and nobody is anybody by it. A key that is proven has signed this session, this
user and this service: how that is checked is said here, and the attempt does it before any checker hears of the key, so
that none can forget to. Whose key it is, the Portal says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import attrs

from hoopproxy.errors import ProtocolViolation
from hoopproxy.interfaces import ISession
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.certs import is_certificate, read_certificate
from hoopproxy.protocols.ssh.keys import SIGNATURES, BadKey, base_of, fingerprint, kind_of, read_public
from hoopproxy.protocols.ssh.packets import (
    Malformed,
    Reader,
    boolean,
    framed,
    name_list,
    packet,
    string,
    uint32,
)
from hoopproxy.protocols.ssh.restrictions import UNRESTRICTED, Contradiction, Restrictions
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.protocols.ssh.who import Who
from hoopproxy.wire.commands import Close, Command, LoggedIn, Login, Offered, Proven, Refusal, ToClient
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.login import Challenge, Keyboard, KeyOffer, NoPrompts, Password, Prompts, PublicKey
from hoopproxy.wire.names import Name, parse_name

__all__ = ["METHODS", "ServerAuth", "problems", "required"]

METHODS: Final = ("publickey", "keyboard-interactive", "password")
"""What a listener's ``login`` may name, best first."""

FAILURES_MOST: Final = 6
"""Log-ins that fail in one connection: sshd's MaxAuthTries."""

OFFERS_MOST: Final = 20
"""Keys that are offered in one connection: an agent holds some, and each costs us little."""

REQUESTS_MOST: Final = 64
"""Requests of all kinds in one connection, ``none`` among them."""

ANSWER_BYTES: Final = 1_024
"""Bytes of a password, and of an answer at the keyboard."""

_SERVICE: Final = "ssh-connection"


def problems(options: Mapping[str, object]) -> list[str]:
    """What is wrong with ``require`` in ``[listener.options]``: sentences that begin with the key."""
    require = options.get("require", ())
    if not isinstance(require, (list, tuple)) or not all(each in METHODS for each in require):
        return [f"require must be a list of some of {', '.join(METHODS)}"]
    return ["require names a method twice"] if len(set(require)) != len(require) else []


def required(options: Mapping[str, object]) -> tuple[str, ...]:
    """The methods that ``require`` demands, in order, as far as they are any."""
    require = options.get("require", ())
    return tuple(each for each in require if each in METHODS) if isinstance(require, (list, tuple)) else ()


@attrs.frozen
class _Request:
    """One USERAUTH_REQUEST: what all methods have in common, and where its own fields begin."""

    user: str
    name: Name | None
    service: str
    method: str
    raw: bytes = attrs.field(repr=False)
    """The user and the service as they came, for what a key signs."""
    reader: Reader = attrs.field(repr=False)

    @property
    def identity(self) -> str:
        # What can't be read as a name is nobody's; the Portal refuses it as it does every stranger.
        return self.user if self.name is None else self.name.identity


class ServerAuth:
    """One client's log-in. See the module; ``frame`` and ``answered`` are those of a conversation.

    It never says USERAUTH_SUCCESS: who drives it does, once :attr:`done`, when the target is ready too.

    :ivar secured: what the key exchange agreed on; set before the first frame.
    :ivar done: who logged in, at last.
    """

    def __init__(self, session: ISession) -> None:
        self._session = session
        self.secured: Secured | None = None
        self.done: Who | None = None
        options: Any = session.options
        self._require: tuple[str, ...] = tuple(options.get("require", ()))
        self._last: tuple[str, str] | None = None
        self._request: _Request | None = None
        self._asked: int | None = None  # how many answers the keyboard owes
        self._proven: list[str] = []
        self._needs: tuple[str, ...] = ()
        self._restrictions = UNRESTRICTED
        self._forget = False
        self._failures = self._offers = self._requests = 0

    @property
    def methods(self) -> tuple[str, ...]:
        """By which the client can go on now."""
        if self._require:
            return tuple(each for each in self._require if each not in self._proven)[:1]
        taken = tuple(each for each in METHODS if each in self._session.login_methods)
        return tuple(each for each in taken if each in self._needs) if self._needs else taken

    # --- what the client says ------------------------------------------------------------------------

    def frame(self, frame: Frame) -> Iterator[Command]:
        """A message of the log-in.

        :raises ProtocolViolation: it is malformed, or not legal now.
        """
        body = frame.body or b""
        if frame.kind == n.USERAUTH_REQUEST:
            if self.done is not None:
                return  # RFC 4252 s.5.1: what was sent before the client heard of its success is nothing
            yield from self._requested(Reader(body, 1))
        elif frame.kind == n.USERAUTH_INFO_RESPONSE and self._asked is not None and self.done is None:
            yield from self._responded(Reader(body, 1))
        else:
            raise ProtocolViolation(f"{n.name_of(frame.kind)} where the log-in does not expect it")

    def _requested(self, reader: Reader) -> Iterator[Command]:
        self._requests += 1
        start = reader.at
        user, service = reader.text(), reader.name()
        raw = reader.data[start : reader.at]
        try:
            name = parse_name(user)
        except ProtocolViolation:
            name = None
        request = self._request = _Request(user, name, service, reader.name(), raw, reader)
        if (user, service) != self._last:
            # RFC 4252 s.5: another user or service begins from nothing.
            self._forget = self._forget or self._last is not None
            self._last, self._proven, self._needs = (user, service), [], ()
            self._restrictions = UNRESTRICTED
        given_up, self._asked = self._asked is not None, None
        if given_up:
            self._failures += 1  # questions may cost money or patience: whoever lets them lie has tried
        if self._requests > REQUESTS_MOST or self._failures >= FAILURES_MOST:
            yield self._enough()
        elif service != _SERVICE:
            yield from self._failed()
        elif request.method == "none":
            yield self._failure()
        elif request.method not in self.methods:
            yield from self._failed()
        elif request.method == "publickey":
            yield from self._public_key(request)
        elif request.method == "password":
            yield from self._password(request)
        else:
            yield self._login(Keyboard(user=request.identity))

    def _password(self, request: _Request) -> Iterator[Command]:
        changes, password = request.reader.boolean(), request.reader.string()
        if changes:
            request.reader.string()
        request.reader.end()
        if changes or len(password) > ANSWER_BYTES:
            yield from self._failed()
        else:
            yield self._login(Password(user=request.identity, password=password))

    def _responded(self, reader: Reader) -> Iterator[Command]:
        asked, self._asked = self._asked, None
        count = reader.uint32()
        if count > max(asked or 0, reader.left // 4):
            raise Malformed("more answers than their message holds")
        responses = tuple(reader.string() for _ in range(count))
        reader.end()
        request = self._request
        assert request is not None  # somebody was asked
        if count != asked or any(len(each) > ANSWER_BYTES for each in responses):
            yield from self._failed()
        else:
            yield self._login(Keyboard(user=request.identity, responses=responses), fresh=False)

    def _login(self, credentials: Any, fresh: bool = True) -> Login:
        forget, self._forget = self._forget, False
        return Login(credentials, require=self._require, fresh=fresh, forget=forget)

    # --- keys ----------------------------------------------------------------------------------------

    def _public_key(self, request: _Request) -> Iterator[Command]:
        reader = request.reader
        signed, algorithm, blob = reader.boolean(), reader.name(), reader.string()
        body = reader.data[: reader.at]
        signature = reader.string() if signed else None
        reader.end()
        key, facts = _read(algorithm, blob)
        if signature is None:
            self._offers += 1
            if self._offers > OFFERS_MOST:
                yield self._enough()
            elif key is None:
                yield self._failure()
            else:
                yield self._login(
                    KeyOffer(
                        user=request.identity,
                        algorithm=algorithm,
                        blob=blob,
                        fingerprint=key.fingerprint,
                        certificate=facts,
                    )
                )
            return
        check = None
        if key is not None and self.secured is not None:
            signed_data = string(self.secured.session_id) + body
            check = partial(_is_proof, key, signature, signed_data, base_of(algorithm))
        yield self._login(
            PublicKey(
                user=request.identity,
                algorithm=algorithm,
                blob=blob,
                fingerprint=fingerprint(blob) if key is None else key.fingerprint,
                certificate=facts,
                check=check,
            )
        )

    # --- answers -------------------------------------------------------------------------------------

    def answered(self, question: Login, answer: object) -> Iterator[Command]:
        """What the Portal says. A :class:`Refusal` that is not about the log-in ends the session."""
        if isinstance(answer, Offered):
            yield self._offered(question, answer)
        elif isinstance(answer, Challenge):
            yield from self._ask(answer)
        elif isinstance(answer, (Proven, LoggedIn)):
            yield from self._good(answer)
        elif isinstance(answer, Refusal) and answer.code == "login":
            yield from self._failed()
        elif isinstance(answer, Refusal):
            yield Close(answer.code, answer)

    def _offered(self, question: Login, answer: Offered) -> Command:
        offer = question.credentials
        if not answer.acceptable or not isinstance(offer, KeyOffer):
            return self._failure()
        return ToClient(
            framed(packet(n.USERAUTH_60, string(offer.algorithm), string(offer.blob))), "PK_OK", secret=True
        )

    def _ask(self, challenge: Challenge) -> Iterator[Command]:
        try:
            asked = Prompts.read(challenge.data)
        except NoPrompts:
            yield from self._failed()
            return
        self._asked = len(asked.prompts)
        fields = [string(asked.name), string(asked.instruction), string(b""), uint32(len(asked.prompts))]
        for text, echo in asked.prompts:
            fields += [string(text), boolean(echo)]
        yield ToClient(framed(packet(n.USERAUTH_60, *fields)), "INFO_REQUEST", secret=True)

    def _good(self, answer: Proven | LoggedIn) -> Iterator[Command]:
        request = self._request
        assert request is not None  # it is the answer to one
        try:
            self._restrictions = self._restrictions.meet(Restrictions.read(answer.data))
        except (Contradiction, ValueError):
            yield Close(
                "log-in",
                Refusal("login", "what this log-in is restricted to can't be honoured, so it is refused"),
            )
            return
        if isinstance(answer, LoggedIn):
            name = request.name or Name(request.user)
            self.done = Who(
                identity=answer.identity,
                account=name.account,
                target=name.target,
                permits=self._restrictions,
            )
            return
        self._proven.append(request.method)
        self._needs = answer.needs
        yield self._failure(partial=True)

    def _failed(self) -> Iterator[Command]:
        self._failures += 1
        yield self._enough() if self._failures >= FAILURES_MOST else self._failure()

    def _failure(self, partial: bool = False) -> Command:
        said = packet(n.USERAUTH_FAILURE, name_list(self.methods), boolean(partial))
        return ToClient(framed(said), "USERAUTH_FAILURE", secret=True)

    def _enough(self) -> Command:
        return Close("log-in", Refusal("login", "too many attempts to log in"))


def _is_proof(key: Any, signature: bytes, data: bytes, algorithm: str) -> tuple[bool, bool]:
    """Whether somebody was there and signed, and whether the key verified who."""
    proof = key.check(signature, data, (algorithm,))
    return proof is not None and proof.present, proof is not None and proof.verified


def _read(algorithm: str, blob: bytes) -> tuple[Any, Mapping[str, str] | None]:
    """The key that would sign, and what its certificate says; nothing if they don't fit, or are none that is taken."""
    try:
        if base_of(algorithm) not in SIGNATURES or Reader(blob).name() != kind_of(algorithm):
            return None, None
        if not is_certificate(algorithm):
            return read_public(blob), None
        certificate = read_certificate(blob)
        return certificate.key, certificate.facts
    except (BadKey, Malformed):
        return None, None
