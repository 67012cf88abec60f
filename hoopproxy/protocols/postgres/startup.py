"""The way into a session: the client's start-up and log-in, the target's, and the join of both.

Protocol chapter of PostgreSQL's manual, "Start-up", "SSL Session Encryption", "Canceling Requests in
Progress". :class:`Startup` is a conversation of its own until :attr:`Startup.done`: the client is asked who
it is by us, the target by us again with the role's account (:mod:`~hoopproxy.protocols.postgres.upstream`),
and only what the target says after AuthenticationOk reaches the client as it was received.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import attrs

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import Identity, SessionFailed, SessionRefused
from hoopproxy.interfaces import ISession
from hoopproxy.protocols.postgres import messages, requests
from hoopproxy.protocols.postgres.codec import (
    CANCEL_REQUEST,
    GSSENC_REQUEST,
    SSL_REQUEST,
    STARTUP,
    ClientCodec,
    ServerCodec,
)
from hoopproxy.protocols.postgres.parameters import NotWanted, Wanted, read_wanted, where_to
from hoopproxy.protocols.postgres.refusals import say
from hoopproxy.protocols.postgres.upstream import Purpose, Upstream, redacted
from hoopproxy.wire.commands import (
    RELAYING,
    Cancel,
    Close,
    Command,
    Connect,
    Connected,
    LoggedIn,
    Login,
    Note,
    Refusal,
    Started,
    StartTLS,
    TLSStarted,
    ToClient,
)
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.login import Certificate, Challenge, Established, Password, Scram

__all__ = ["Startup"]

NEWEST_MINOR = 2
"""The newest minor of protocol 3 that we speak."""


class Startup:
    """From the first byte to the first ReadyForQuery. Every method returns a list of commands.

    Contracts as in :class:`hoopproxy.wire.conversation.Conversation`. When :attr:`done` is true, what it
    learned is in the other attributes, and nothing is to be asked of it any more. The target's
    ``application_name`` report goes to the client as it is: it shows the name that the gateway gave.

    :param entropy: where the secret of the cancel key that the client gets comes from.
    """

    def __init__(
        self,
        session: ISession,
        client_codec: ClientCodec,
        server_codec: ServerCodec,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._session, self._client, self._server, self._entropy = (
            session,
            client_codec,
            server_codec,
            entropy,
        )
        self._state = "hello"
        self._spoke = False  # the client said something of PostgreSQL's
        self._tls: TLSStarted | None = None
        self._asked: set[int] = set()
        self._wanted: Wanted | None = None
        self._database: bytes | None = None
        self._identity: Identity | None = None
        self._mechanism = ""
        self._final = b""
        self._upstream: Upstream | None = None
        self.done = False
        self.protocol = (3, 0)
        """The version that the client speaks."""
        self.user = ""
        """Whom the client named at start-up, as it wrote it."""
        self.database = ""
        """As the target knows it; empty on a physical replication connection."""
        self.target = ""
        self.role = ""
        self.parameters: dict[str, str] = {}
        """What the target reported by ParameterStatus so far."""
        self.replication = False
        self.backend_pid: int | None = None

    # --- the client's leg ---------------------------------------------------------------------------

    def opened(self) -> list[Command]:
        """The client connected: it speaks first."""
        return []

    def client_frame(self, frame: Frame) -> list[Command]:
        """A frame of the client. :raises ProtocolViolation: it is not legal in the present state."""
        if frame.kind == STARTUP and self._state == "hello":
            return self._packet(frame)
        if self._state == "cancel":
            raise ProtocolViolation("the client sent bytes after its CancelRequest")
        if frame.kind == ord("X") and self._state in ("password", "sasl-initial", "sasl"):
            return self._end("client closed")
        if frame.kind == ord("p") and frame.body is not None:
            if self._state == "password":
                return [redacted(frame), *self._password(frame.body)]
            if self._state == "sasl-initial":
                return [redacted(frame), *self._sasl_initial(frame.body)]
            if self._state == "sasl":
                return [redacted(frame), *self._login_scram(frame.body)]
        what = chr(frame.kind) if frame.kind else "a start-up packet"
        raise ProtocolViolation(f"the client sent {what!r} where the log-in does not expect it")

    def _packet(self, frame: Frame) -> list[Command]:
        body = frame.body or b""
        code = int.from_bytes(body[:4], "big")
        self._spoke = code >> 16 in (3, SSL_REQUEST >> 16)
        if code == SSL_REQUEST:
            return self._ssl_request(frame, body)
        if code == GSSENC_REQUEST:
            self._once(frame, body)
            return [ToClient(b"N", "no GSSAPI encryption")]
        if code == CANCEL_REQUEST:
            self._state = "cancel"
            return [redacted(frame), Cancel(messages.read_cancel(body))]
        if code >> 16 != 3:
            return self._refuse(
                "0A000", f"unsupported protocol {code >> 16}.{code & 0xFFFF}: 3.0 and 3.2 will do"
            )
        return self._startup_message(body)

    def _once(self, frame: Frame, body: bytes) -> None:
        """What asks for encryption comes once, outside it, and alone."""
        code = int.from_bytes(body[:4], "big")
        if self._tls is not None or code in self._asked:
            raise ProtocolViolation("the client asks for encryption a second time, or inside it")
        if len(body) != 4:
            raise ProtocolViolation("the client's request for encryption has a wrong length")
        if self._client.received > frame.end:
            raise ProtocolViolation("the client sent bytes together with its request for encryption")
        self._asked.add(code)

    def _ssl_request(self, frame: Frame, body: bytes) -> list[Command]:
        self._once(frame, body)
        if self._session.tls is None:
            return [ToClient(b"N", "no TLS")]
        self._state = "handshake"
        return [ToClient(b"S", "TLS"), StartTLS("client")]

    def _startup_message(self, body: bytes) -> list[Command]:
        packet = messages.read_startup(body)
        minor = min(packet.minor, NEWEST_MINOR)
        self.protocol = (3, minor)
        self._state = "over"
        if self._session.tls == "required" and self._tls is None:
            return self._refuse("28000", "this listener requires TLS (sslmode=require)")
        try:
            self._wanted = wanted = read_wanted(
                packet, replication=str(self._options.get("replication", "refuse"))
            )
        except NotWanted as refused:
            return self._refuse(refused.code, refused.sentence)
        outer = self._session.outer
        if outer is not None:
            self._wanted = wanted = attrs.evolve(wanted, name=outer.name(wanted.name))
        self.user, self.replication = wanted.user, wanted.replication
        said: list[Command] = []
        if wanted.options or packet.minor > NEWEST_MINOR:
            said = [ToClient(messages.negotiate(minor, wanted.options), "NegotiateProtocolVersion")]
        return said + self._ask_who(wanted.name.identity)

    @property
    def _options(self) -> Mapping[str, object]:
        options = self._session.options
        return options if isinstance(options, Mapping) else {}

    def _ask_who(self, identity: str) -> list[Command]:
        """How this client may prove who it is: its certificate, else what suits the user and the leg."""
        if self._session.outer is not None:
            self._state = "asked"
            return [Login(Established(user=identity))]
        methods = self._session.login_methods
        shown = self._tls.certificate if self._tls is not None else None
        if isinstance(shown, Certificate) and "certificate" in methods:
            self._state = "asked"
            return [Login(attrs.evolve(shown, user=identity))]
        choose = cast(Callable[[str], str], self._session.login_method)
        method = choose(identity)
        if method not in methods:
            method = next((other for other in ("scram", "password") if other in methods), "")
        if method == "scram":
            self._state = "sasl-initial"
            return [
                ToClient(messages.authentication_sasl(self._mechanisms()), "AuthenticationSASL", secret=True)
            ]
        if method != "password":
            return self._refuse("28000", "this listener requires a client certificate")
        if self._tls is None and not self._session.insecure_cleartext:
            return self._refuse(
                "28000", "this log-in needs a password, and this listener takes it only inside TLS"
            )
        self._state = "password"
        return [
            ToClient(messages.authentication(messages.AUTHENTICATION_CLEARTEXT), "password?", secret=True)
        ]

    @property
    def _binding(self) -> bytes | None:
        return None if self._tls is None else self._tls.binding

    def _mechanisms(self) -> tuple[str, ...]:
        plain = ("SCRAM-SHA-256",)
        return plain if self._binding is None else ("SCRAM-SHA-256-PLUS", *plain)

    def _password(self, body: bytes) -> list[Command]:
        self._state = "asked"
        return [Login(Password(user=self._who, password=requests.read_password(body)))]

    def _sasl_initial(self, body: bytes) -> list[Command]:
        mechanism, data = requests.read_sasl_initial(body)
        if mechanism not in self._mechanisms():
            raise ProtocolViolation("the client chose a SASL mechanism that it was not offered")
        self._mechanism = mechanism
        return self._login_scram(data)

    def _login_scram(self, data: bytes) -> list[Command]:
        self._state = "asked"
        scram = Scram(user=self._who, mechanism=self._mechanism, data=data, binding=self._binding)
        return [Login(scram)]

    @property
    def _who(self) -> str:
        return "" if self._wanted is None else self._wanted.name.identity

    # --- answers ------------------------------------------------------------------------------------

    def answered(self, question: Command, answer: object) -> list[Command]:
        """The answer to Login, Connect, StartTLS or Cancel."""
        if isinstance(question, StartTLS):
            return self._tls_answered(question.leg, answer)
        if isinstance(question, Cancel):
            return [Close("cancel request")]
        if isinstance(question, Login):
            return self._login_answered(answer)
        if isinstance(question, Connect):
            return self._connect_answered(answer)
        raise TypeError(f"an answer to {type(question).__name__}, which nobody asked")

    def _tls_answered(self, leg: str, answer: object) -> list[Command]:
        if leg == "target":
            return [] if self._upstream is None else self._upstream.tls_answered(answer)
        if not isinstance(answer, TLSStarted):
            return self._end("TLS with the client failed")
        self._tls, self._state = answer, "hello"
        return []

    def _login_answered(self, answer: object) -> list[Command]:
        if isinstance(answer, Challenge) and self._mechanism:
            self._state = "sasl"
            data = messages.authentication(messages.AUTHENTICATION_SASL_CONTINUE, answer.data)
            return [ToClient(data, "AuthenticationSASLContinue", secret=True)]
        if isinstance(answer, Challenge):
            refusal = Refusal("login", "this log-in needs another factor, which the protocol can't ask for")
            return self._end("login refused", say(refusal, sentence=refusal.sentence), refusal.code)
        if not isinstance(answer, LoggedIn):
            return self._end("login refused", self._said(answer), _code(answer))
        self._identity, self._final = answer.identity, answer.data
        assert self._wanted is not None
        sni = None if self._tls is None else self._tls.facts.sni
        try:
            target, self._database = where_to(self._wanted, sni, self._session.targets)
        except NotWanted as refused:
            return self._nowhere(self._wanted, refused.code, refused.sentence)
        try:
            self.database = (self._database or b"").decode("utf-8")
        except UnicodeError:
            return self._nowhere(self._wanted, "3D000", "the database name is not valid UTF-8")
        return [
            Connect(
                target=target,
                account=self._wanted.name.account,
                database=self.database or None,
                verbs=self._wanted.verbs,
            )
        ]

    def _connect_answered(self, answer: object) -> list[Command]:
        if not isinstance(answer, Connected):
            commands = self._end("not admitted", self._said(answer), _code(answer))
            if isinstance(answer, Refusal) and answer.event is None and answer.code in ("connect", "tls"):
                failed = SessionFailed(listener=self._session.listener, stage=answer.code)
                commands.insert(0, Note(failed, outcome="failure", reason=answer.sentence))
            return commands
        assert self._wanted is not None
        assert self._identity is not None
        self.target, self.role = answer.target, answer.role
        purpose = Purpose(
            session=self._session.id,
            listener=self._session.listener,
            identity=self._identity.id,
            wanted=self._wanted,
            database=self._database,
            version=self.protocol,
        )
        self._state = "upstream"
        self._upstream = Upstream(answer, purpose, self._server, self._entropy)
        return self._upstream.begin()

    # --- the target's leg ---------------------------------------------------------------------------

    def server_frame(self, frame: Frame) -> list[Command]:
        """A frame of the target. :raises ProtocolViolation: it is not legal in the present state."""
        upstream = self._upstream
        if upstream is None:
            raise ProtocolViolation("the target spoke before anything was asked of it")
        if upstream.admitted:
            commands = upstream.starting(frame)
            return self._ready(upstream) if upstream.ready else commands
        commands = upstream.frame(frame)
        return self._admitted() if upstream.admitted else commands

    def _admitted(self) -> list[Command]:
        """Both legs are logged in: tell the client, and relay from here on."""
        said: list[Command] = []
        if self._final:
            final = messages.authentication(messages.AUTHENTICATION_SASL_FINAL, self._final)
            said.append(ToClient(final, "AuthenticationSASLFinal", secret=True))
        ok = messages.authentication(messages.AUTHENTICATION_OK)
        return [*said, ToClient(ok, "AuthenticationOk"), RELAYING]

    def _ready(self, upstream: Upstream) -> list[Command]:
        """The first ReadyForQuery: the session starts, and the command phase takes over."""
        assert self._wanted is not None
        self._client.admit()
        self.parameters, self.backend_pid, self.done = upstream.parameters, upstream.backend_pid, True
        said = {**self._wanted.said, "user": self.user, "protocol": f"{self.protocol[0]}.{self.protocol[1]}"}
        return [Started(self.database or None, upstream.facts, said)]

    # --- the ends -----------------------------------------------------------------------------------

    def client_lost(self) -> list[Command]:
        """The client sent its last byte: nobody is left to start for."""
        return [Close("client closed")]

    def server_lost(self) -> list[Command]:
        """The target hung up before it was ready."""
        return [Close("target closed")] if self._upstream is None else self._upstream.lost()

    def refused(self, refusal: Refusal) -> Sequence[Command]:
        """The gateway ends this session. Whoever never spoke PostgreSQL, or only cancels, hears nothing."""
        if self._state in ("cancel", "handshake") or (refusal.code == "violation" and not self._spoke):
            return []
        return [ToClient(self._said(refusal), "ErrorResponse")]

    def _said(self, answer: object) -> bytes:
        """A refusal in PostgreSQL's words; for a log-in the same ones whatever the cause."""
        if not isinstance(answer, Refusal):
            answer = Refusal("internal", "the gateway could not decide")
        if answer.code == "login":
            return say(answer, sentence=f'password authentication failed for user "{self.user}"')
        return say(answer)

    def _nowhere(self, wanted: Wanted, sqlstate: str, sentence: str) -> list[Command]:
        """Somebody who is logged in named no place that can be asked for: on record with what was named."""
        asked = None if wanted.database is None else wanted.database.decode("utf-8", "backslashreplace")
        targets = self._session.targets
        refused = SessionRefused(
            listener=self._session.listener,
            code="startup",
            target=wanted.name.target or (targets[0] if len(targets) == 1 else None),
            account=wanted.name.account,
            database=asked,
        )
        return [
            Note(refused, outcome="denied", reason=sentence),
            *self._end("not admitted", messages.error("FATAL", sqlstate, sentence), "startup"),
        ]

    def _refuse(self, sqlstate: str, sentence: str) -> list[Command]:
        return self._end("start-up refused", messages.error("FATAL", sqlstate, sentence), "startup")

    def _end(self, cause: str, error: bytes = b"", code: str = "") -> list[Command]:
        self._state = "over"
        said: list[Command] = [ToClient(error, "ErrorResponse")] if error else []
        return [*said, Close(cause, code=code)]


def _code(answer: object) -> str:
    return answer.code if isinstance(answer, Refusal) else "internal"
