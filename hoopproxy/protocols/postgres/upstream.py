"""Logging in to the target with the role's account, which the client never sees.

Protocol chapter of PostgreSQL's manual, "Start-up" and "SASL Authentication". An :class:`Upstream` takes one
connection from SSLRequest to the first ReadyForQuery. What the target may say there is little; everything
else is a violation, and what it asks for that we don't give is a refusal in one sentence.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import attrs

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import REDACTIONS, SessionFailed
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.codec import ServerCodec
from hoopproxy.protocols.postgres.parameters import Wanted, application_name, ascii_escaped
from hoopproxy.protocols.postgres.refusals import SQLSTATES
from hoopproxy.wire import scram
from hoopproxy.wire.commands import (
    WITHHOLD,
    Close,
    Command,
    Connected,
    Note,
    Redact,
    Refusal,
    RegisterCancel,
    StartTLS,
    TLSStarted,
    ToClient,
    ToServer,
)
from hoopproxy.wire.frames import Frame, Span

__all__ = ["Purpose", "Upstream", "redacted"]

DEFAULT_NAME = "hp:{session}:{identity}"
"""``application_name`` at the target: its own logs name the session and the person."""

MAX_QUOTED = 500
"""Characters of a target's error that go on record or to the client."""

MAX_REPORTED = 500
"""Parameters that a target may report before it is ready; PostgreSQL 18 reports fifteen."""

MAX_VALUE = 1_000
"""Characters kept of a reported value; the ones that matter are short words."""

_UNSUPPORTED = {2: "Kerberos V5", 6: "SCM credentials", 7: "GSSAPI", 8: "GSSAPI", 9: "SSPI"}
_SQLSTATE = re.compile(rb"[0-9A-Z]{5}\Z")
_LOGIN = REDACTIONS.index("login")


def redacted(frame: Frame) -> Redact:
    """The frame is part of a log-in: all of it is filled in the recording."""
    return Redact(Span(frame.start, frame.end, _LOGIN))


@attrs.frozen(kw_only=True)
class Purpose:
    """For whom and where the connection is. ``version`` is what the client speaks."""

    session: str
    listener: str
    identity: str
    wanted: Wanted
    database: bytes | None
    version: tuple[int, int]


class Upstream:
    """One log-in at a target. ``begin`` once, ``frame`` until ``admitted``, ``starting`` until ``ready``.

    From admission on what the target sends is relayed to the client, unless a command withholds it.

    :param codec: told when the next byte is the answer to SSLRequest.
    :param entropy: makes the secret of the client's cancel key.
    """

    def __init__(
        self, connected: Connected, purpose: Purpose, codec: ServerCodec, entropy: Callable[[int], bytes]
    ) -> None:
        self._connected, self._purpose, self._codec, self._entropy = connected, purpose, codec, entropy
        self._expects = "nothing"
        self._in_tls = False
        self._binding: bytes | None = None
        self._scram: scram.Client | None = None
        self.version = purpose.version
        """The protocol version spoken with the target; it may know an older one only."""
        self.method = "trust"
        """How the target made sure of us."""
        self.admitted = self.ready = False
        self.backend_pid: int | None = None
        self.parameters: dict[str, str] = {}
        self._answers: dict[int, tuple[str, Callable[[bytes], list[Command]]]] = {
            messages.AUTHENTICATION_CLEARTEXT: ("greeting", self._cleartext),
            messages.AUTHENTICATION_MD5: ("greeting", self._md5),
            messages.AUTHENTICATION_SASL: ("greeting", self._sasl),
            messages.AUTHENTICATION_SASL_CONTINUE: ("challenge", self._challenged),
            messages.AUTHENTICATION_SASL_FINAL: ("signature", self._signed),
        }

    def begin(self) -> list[Command]:
        """The connection is there: ask for TLS, or start up at once where the target is without."""
        if self._connected.tls:
            self._expects = "tls"
            self._codec.tls_reply = True
            return [ToServer(messages.ssl_request(), "SSLRequest")]
        return self._start()

    def tls_answered(self, answer: object) -> list[Command]:
        """The handshake is done, or failed."""
        if not isinstance(answer, TLSStarted):
            event = answer.event if isinstance(answer, Refusal) else None
            return self.fail("tls", "the gateway could not establish TLS with the target", event=event)
        self._in_tls, self._binding = True, answer.binding
        return self._start()

    def frame(self, frame: Frame) -> list[Command]:
        """What the target said before it admitted us.

        :raises ProtocolViolation: it is not legal now.
        """
        if self._expects == "tls":
            return self._tls_reply(frame)
        if self._expects in ("nothing", "handshake") or frame.body is None:
            raise self._illegal(frame)
        if frame.kind == ord("R"):
            return self._authentication(frame, frame.body)
        if frame.kind == ord("E"):
            return self.failed(frame)
        if frame.kind == ord("v") and self._expects == "greeting":
            self._negotiate(frame.body)
            return []
        raise self._illegal(frame)

    def starting(self, frame: Frame) -> list[Command]:
        """What the target said between AuthenticationOk and its first ReadyForQuery.

        :raises ProtocolViolation: it is not legal now.
        """
        kind, body = chr(frame.kind), frame.body
        if body is None or kind not in "SNKEZ" or (kind == "K" and self.backend_pid is not None):
            raise ProtocolViolation(f"the target sent {kind!r} before it was ready")
        if kind == "S":
            self._reported(body)
        elif kind == "K":
            return self._key(frame, body)
        elif kind == "E":
            return [WITHHOLD, *self.failed(frame)]
        elif kind == "Z":
            if body != b"I":
                raise ProtocolViolation("the target is ready for its first command inside a transaction")
            self.ready = True
        return []

    @property
    def facts(self) -> dict[str, object]:
        """For ``session.start``: which server-side session this is, and how it was made."""
        found = {
            "backend_pid": self.backend_pid,
            "dialled": self._connected.since,
            "server_version": self.parameters.get("server_version"),
            "authentication": self.method,
            "protocol": f"{self.version[0]}.{self.version[1]}",
        }
        return {key: value for key, value in found.items() if value is not None}

    def failed(self, frame: Frame) -> list[Command]:
        """The target ends the start-up with an error: put it so that it names nothing of ours."""
        body = frame.body or b""
        fields = messages.read_error(body)
        code = fields.get("C", b"")
        sqlstate = code.decode("ascii") if _SQLSTATE.match(code) else SQLSTATES["connect"]
        said = fields.get("M", b"").decode("utf-8", "replace")[:MAX_QUOTED]
        secret = self._connected.password
        detail: dict[str, object] = {"sqlstate": sqlstate}
        commands: list[Command] = []
        if secret and secret in body:
            commands.append(redacted(frame))
            said = ""
        else:
            detail["message"] = said
        if sqlstate.startswith("28"):
            sentence = "the target refused the gateway's account for this role"
        elif not said or self._names_account(said):
            sentence = "the target refused the session"
        else:
            sentence = said
        stage = "startup" if self.admitted else "login"
        return [*commands, *self.fail(stage, sentence, sqlstate=sqlstate, detail=detail)]

    def lost(self) -> list[Command]:
        """The target hung up."""
        stage = "tls" if self._expects in ("tls", "handshake") else "startup" if self.admitted else "login"
        return self.fail(stage, "the target closed the connection before the session was ready")

    def fail(
        self,
        stage: str,
        sentence: str,
        *,
        sqlstate: str = SQLSTATES["connect"],
        detail: dict[str, object] | None = None,
        event: str | None = None,
    ) -> list[Command]:
        """Say it to the client, put it on record, end. ``event``: what already is on record of it."""
        where = f"event {event}" if event else f"session {self._purpose.session}"
        error = messages.error("FATAL", sqlstate, sentence, hint=f"The audit trail says more in {where}.")
        failed = SessionFailed(listener=self._purpose.listener, stage=stage, detail=detail or {})
        note = [] if event else [Note(failed, outcome="failure", reason=sentence)]
        return [*note, ToClient(error, "ErrorResponse"), Close(f"target refused: {stage}", code="connect")]

    # --- the states ---------------------------------------------------------------------------------

    def _tls_reply(self, frame: Frame) -> list[Command]:
        if frame.kind != ord("S"):
            return self.fail("tls", "the target offers no TLS, and the gateway is configured to require it")
        self._expects = "handshake"
        return [StartTLS("target")]

    def _start(self) -> list[Command]:
        self._expects = "greeting"
        purpose, connected = self._purpose, self._connected
        wanted = purpose.wanted
        parameters = {b"user": connected.user.encode("utf-8")}
        if purpose.database is not None:
            parameters[b"database"] = purpose.database
        parameters |= wanted.settings
        parameters[b"application_name"] = application_name(
            str(connected.options.get("application_name", DEFAULT_NAME)),
            session=connected.session or purpose.session,
            identity=purpose.identity,
            client=wanted.application_name,
        )
        if connected.options.get("hoop_settings", True):
            parameters[b"hoop.identity"] = ascii_escaped(purpose.identity.encode("utf-8", "replace")).encode()
            parameters[b"hoop.session"] = purpose.session.encode("ascii", "replace")
        return [ToServer(messages.startup(parameters, purpose.version), "StartupMessage")]

    def _negotiate(self, body: bytes) -> None:
        version, options = messages.read_negotiate(body)
        if version[0] != 3 or version >= self.version or options:
            raise ProtocolViolation("the target negotiates a version or options that nobody asked for")
        self.version = version

    def _authentication(self, frame: Frame, body: bytes) -> list[Command]:
        code, data = messages.read_authentication(body)
        if code == messages.AUTHENTICATION_OK:
            if self._expects not in ("greeting", "admission") or data:
                raise ProtocolViolation("the target admits the gateway before the log-in is complete")
            self.admitted, self._expects = True, "nothing"
            return []
        if code in _UNSUPPORTED and self._expects == "greeting":
            why = f"the target asks for {_UNSUPPORTED[code]}, which the gateway does not speak"
            return [redacted(frame), *self.fail("login", why)]
        expected, answer = self._answers.get(code, ("", self._sasl))
        if expected != self._expects:
            raise ProtocolViolation(f"the target sent authentication request {code} out of turn")
        return [redacted(frame), *answer(data)]

    def _reported(self, body: bytes) -> None:
        name, value = (
            part.decode("utf-8", "backslashreplace") for part in messages.read_parameter_status(body)
        )
        if len(self.parameters) >= MAX_REPORTED and name not in self.parameters:
            raise ProtocolViolation("the target reports too many parameters")
        # Nearly every session is told the same: one copy serves all.
        self.parameters[sys.intern(name)] = sys.intern(value[:MAX_VALUE])

    def _key(self, frame: Frame, body: bytes) -> list[Command]:
        """The client gets a key of ours, so that it can't cancel past us; the pid stays (NOTIFY shows it)."""
        self.backend_pid, secret = messages.read_backend_key(body)
        length = 32 if self._purpose.version >= (3, 2) else 4
        ours = messages.backend_key(self.backend_pid, self._entropy(length))
        return [
            redacted(frame),
            WITHHOLD,
            RegisterCancel(ours[5:], messages.cancel_request(self.backend_pid, secret)),
            ToClient(ours, "BackendKeyData", secret=True),
        ]

    def _cleartext(self, data: bytes) -> list[Command]:
        secret = self._connected.password
        if data:
            raise ProtocolViolation("the target's request for a password has bytes too many")
        if not self._in_tls and self._connected.options.get("insecure_cleartext") is not True:
            return self.fail("login", "the target asks for a cleartext password outside TLS")
        if not secret or b"\0" in secret:
            return self._no_password()
        return self._send("password", messages.password(secret), "admission")

    def _md5(self, salt: bytes) -> list[Command]:
        secret = self._connected.password
        if len(salt) != 4:
            raise ProtocolViolation("the target's request for an md5 password has no salt of 4 bytes")
        if not secret:
            return self._no_password()
        answer = scram.md5_password(self._connected.user.encode("utf-8"), secret, salt)
        return self._send("md5", messages.password(answer), "admission")

    def _sasl(self, data: bytes) -> list[Command]:
        offered = messages.read_mechanisms(data)
        secret, binding = self._connected.password, self._binding
        if scram.PLUS in offered and not self._in_tls:
            raise ProtocolViolation("the target offers channel binding outside TLS")
        if not secret:
            return self._no_password()
        bound = binding if scram.PLUS in offered else None
        if bound is None and scram.PLAIN not in offered:
            return self.fail("login", "the target offers no SASL mechanism that the gateway speaks")
        # Flag "y" (we could bind, it did not offer) lets a server whose offer was stripped notice.
        able = binding is not None and bound is None
        self._scram = scram.Client(secret, binding=bound, supports_binding=able)
        first = messages.sasl_initial(self._scram.mechanism, self._scram.first())
        return self._send(self._scram.mechanism.lower(), first, "challenge")

    def _challenged(self, data: bytes) -> list[Command]:
        assert self._scram is not None
        try:
            answer = self._scram.answer(data)
        except scram.ScramError as error:
            return self._scram_failed(error)
        return self._send(self.method, messages.sasl_response(answer), "signature")

    def _signed(self, data: bytes) -> list[Command]:
        assert self._scram is not None
        try:
            self._scram.verify(data)
        except scram.ScramError as error:
            return self._scram_failed(error)
        self._expects = "admission"
        return []

    def _scram_failed(self, error: scram.ScramError) -> list[Command]:
        detail: dict[str, object] = {"scram": error.cause, "message": str(error)}
        return self.fail("login", "the gateway's log-in at the target failed", detail=detail)

    def _no_password(self) -> list[Command]:
        return self.fail("login", "the target asks for a password, and the account has none configured")

    def _send(self, method: str, answer: bytes, expects: str) -> list[Command]:
        self.method, self._expects = method, expects
        return [ToServer(answer, "log-in", secret=True)]

    def _names_account(self, text: str) -> bool:
        name = re.escape(self._connected.user)
        return re.search(rf"(?<!\w){name}(?!\w)", text, re.IGNORECASE) is not None

    def _illegal(self, frame: Frame) -> ProtocolViolation:
        return ProtocolViolation(f"the target sent {chr(frame.kind)!r} before it admitted the gateway")
