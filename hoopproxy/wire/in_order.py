"""A whole conversation for the commonest sort of protocol, to be filled in: a log-in, then commands answered in order.

Each command is one frame, each answer is one frame, and answers come in the order of the commands. Then who speaks
when is the same for all of them: TLS first, one log-in, admission, the gateway's own log-in at the target, refusals
in their place among the answers, and what a client asked before it closed its side is still answered.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from hoopproxy.errors import ProtocolViolation
from hoopproxy.wire.commands import (
    FORWARD,
    RELAYING,
    Close,
    Command,
    Completed,
    Connect,
    Connected,
    Decide,
    LoggedIn,
    Login,
    Redact,
    Refusal,
    Result,
    Started,
    StartTLS,
    TLSStarted,
    ToClient,
    ToServer,
    Verdict,
)
from hoopproxy.wire.conversation import Commands, Conversation
from hoopproxy.wire.frames import Frame, Span
from hoopproxy.wire.login import Password
from hoopproxy.wire.names import Name, parse_name

__all__ = ["InOrder"]

_LOGIN = 1  # position in events.REDACTIONS


class InOrder(Conversation):
    """What a subclass says is what its messages look like; each method gets or gives bytes.

    :param session: the :class:`~hoopproxy.interfaces.ISession` that ``build_pair`` was given.
    """

    welcome = b""
    """What a client is told when it may ask."""
    most = 1_000
    """Commands of one session that wait for their answer: each costs memory."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._name: Name | None = None
        self._account: Connected | None = None
        self._tls = self._ready = self._last = False
        self._open: deque[Verdict | bytes] = deque()  # commands at the target, and refusals behind them

    # --- to be filled in -----------------------------------------------------------------------------

    def starttls(self, frame: Frame) -> bytes | None:
        """If the client asks for TLS: what it is told before the handshake."""
        return None

    def log_in(self, frame: Frame) -> tuple[str, bytes]:
        """The user (``identity[+account][=target]``) and the password. :raises ProtocolViolation: it is no log-in."""
        raise NotImplementedError

    def log_in_upstream(self, account: Connected) -> bytes:
        """What logs the gateway in at the target: ``account.user`` with ``account.password``, if it has one."""
        raise NotImplementedError

    def is_welcome(self, frame: Frame) -> bool:
        """Whether the target took that."""
        raise NotImplementedError

    def command(self, frame: Frame) -> tuple[str, object]:
        """The verb that deny rules match, and the text for the record (``events.safe_text``)."""
        raise NotImplementedError

    def denied(self, refusal: Refusal) -> bytes:
        """A command's answer when policy refuses it. ``refusal.event`` names the event that says more."""
        raise NotImplementedError

    def goodbye(self, refusal: Refusal) -> bytes:
        """The last words of a session that the gateway ends."""
        raise NotImplementedError

    # --- the client ----------------------------------------------------------------------------------

    def client_frame(self, frame: Frame) -> Commands:
        if self._ready:
            return self._asked(frame)
        if self._name is not None:
            raise ProtocolViolation("a log-in is under way")
        if self._session.tls and not self._tls and (words := self.starttls(frame)) is not None:
            return ToClient(words), StartTLS("client")
        secret = Redact(Span(frame.start, frame.end, _LOGIN))
        if not (self._tls or self._session.insecure_cleartext):
            raise ProtocolViolation("a log-in is legal inside TLS only")
        user, password = self.log_in(frame)
        self._name = parse_name(user)
        return secret, Login(Password(user=self._name.identity, password=password))

    def _asked(self, frame: Frame) -> Commands:
        if len(self._open) >= self.most:
            raise ProtocolViolation(f"more than {self.most} commands without an answer")
        verb, text = self.command(frame)
        return (Decide((verb,), frame.end - frame.start, {"verb": verb, "text": text}),)

    def answered(self, question: Command, answer: object) -> Commands:
        if isinstance(question, Decide):
            assert isinstance(answer, Verdict)
            return self._decided(answer)
        if isinstance(answer, Refusal):
            return *self.refused(answer), Close("refused")
        if isinstance(answer, LoggedIn):
            assert self._name is not None
            return (Connect(target=self._name.target, account=self._name.account),)
        if isinstance(answer, TLSStarted) and answer.leg == "client":
            self._tls = True
            return None
        if isinstance(answer, Connected):
            self._account = answer
            if answer.tls:
                return (StartTLS("target"),)
        assert self._account is not None
        return (ToServer(self.log_in_upstream(self._account), "log-in", secret=True),)

    def _decided(self, verdict: Verdict) -> Commands:
        if verdict.allowed:
            self._open.append(verdict)
            return None
        assert verdict.refusal is not None
        words = self.denied(verdict.refusal)
        if not self._open:
            return (ToClient(words, "refusal"),)
        self._open.append(words)
        return ()

    # --- the target ----------------------------------------------------------------------------------

    def server_frame(self, frame: Frame) -> Commands:
        if not self._ready:
            if not self.is_welcome(frame):
                refusal = Refusal("connect", "the target refuses the gateway")
                return *self.refused(refusal), Close("upstream log-in")
            self._ready = True
            return ToClient(self.welcome), RELAYING, Started()
        verdict = self._open.popleft() if self._open else None
        if not isinstance(verdict, Verdict):
            raise ProtocolViolation("the target answers what nobody asked")
        size = frame.end - frame.start
        found: list[Command] = [
            Result(verdict.op, frame.start, frame.end, {"index": 0, "bytes": size}),
            Completed(verdict.op, verdict.at, {"results": 1, "bytes": size}),
            FORWARD,
        ]
        while self._open and isinstance(self._open[0], bytes):
            found.append(ToClient(self._open.popleft(), "refusal"))  # type: ignore[arg-type]  # just looked at
        if self._last and not self._open:
            found.append(Close("client closed"))
        return found

    # --- the end -------------------------------------------------------------------------------------

    def client_lost(self) -> Commands:
        self._last = True
        return None if self._open else (Close("client closed"),)

    def refused(self, refusal: Refusal) -> tuple[Command, ...]:
        return (ToClient(self.goodbye(refusal), "refusal"),)

    def finished(self) -> Commands:
        because = {"because": "the session ended"}
        return [
            Completed(each.op, each.at, dict(because), "unfinished", "unknown")
            for each in self._open
            if isinstance(each, Verdict)
        ]
