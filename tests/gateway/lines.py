"""A protocol of lines for these tests: it asks every question that a conversation can ask."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import Any

from hoopproxy.wire.codec import Lines
from hoopproxy.wire.commands import (
    RELAYING,
    Cancel,
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
    RegisterCancel,
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


class Talk(Conversation):
    """``LOGIN u p``, ``TARGET [t [account [db]]]``, ``STARTTLS``, ``CANCEL k``; then each line is a command."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.tls: TLSStarted | None = None
        self.started = False
        self.half_close = False
        self.open: deque[tuple[str, int]] = deque()

    def opened(self) -> Commands:
        return [ToClient(b"READY\n")]

    def client_frame(self, frame: Frame) -> Commands:
        words = (frame.body or b"").decode().split()
        if self.started:
            verb = words[0].upper() if words else "UNCLASSIFIED"
            if verb == "BOOM":
                raise ZeroDivisionError("the text of a bug: hunter2-secret")
            size = frame.end - frame.start
            return [Decide((verb,), size, {"verb": verb, "text": (frame.body or b"").decode()})]
        return self._before(frame, words)

    def _before(self, frame: Frame, words: list[str]) -> list[Command]:
        verb = words[0] if words else ""
        if verb == "STARTTLS":
            return [ToClient(b"GO\n"), StartTLS("client")]
        if verb == "LOGIN":
            login = Login(Password(user=words[1], password=words[2].encode()))
            return [Redact(Span(frame.start, frame.end, 1)), login]
        if verb == "TARGET":
            given = [None if word == "-" else word for word in [*words[1:4], "-", "-", "-"][:3]]
            return [Connect(target=given[0], account=given[1], database=given[2], verbs=tuple(words[4:]))]
        if verb == "CANCEL":
            return [Cancel(words[1].encode())]
        if verb == "HALF":
            self.half_close = True
        if verb == "BOOM":
            raise ZeroDivisionError("the text of a bug: hunter2-secret")
        return []

    def server_frame(self, frame: Frame) -> Commands:
        body = frame.body or b""
        if self.started:
            return self._finished_one(frame)
        if body == b"GO":
            return [StartTLS("target")]
        if body.startswith(b"OK"):
            key = body[3:]
            commands: list[Command] = [Started("db", {"greeting": "OK"}), RELAYING, ToClient(b"GO AHEAD\n")]
            if key:
                commands.insert(0, RegisterCancel(key, b"CANCEL " + key + b"\n"))
            self.started = True
            return commands
        return [ToClient(b"NOT THERE\n"), Close("target refused", code="connect")]

    def _finished_one(self, frame: Frame) -> Commands:
        if not self.open:
            return None
        op, began = self.open.popleft()
        size = frame.end - frame.start
        return [
            Result(op, frame.start, frame.end, {"index": 0, "bytes": size}),
            Completed(op, began, {"results": 1, "bytes": size}),
        ]

    def answered(self, question: Command, answer: object) -> Commands:
        if isinstance(question, Decide):
            assert isinstance(answer, Verdict)
            if answer.allowed:
                self.open.append((answer.op, answer.at))
                return None
            assert answer.refusal is not None
            return [ToClient(b"DENIED " + answer.refusal.sentence.encode() + b"\n")]
        if isinstance(answer, Refusal):
            return [*self.refused(answer), Close(answer.code, code=answer.code)]
        if isinstance(answer, LoggedIn):
            return [ToClient(f"HELLO {answer.identity.id}\n".encode())]
        if isinstance(answer, TLSStarted):
            return self._secured(answer)
        if isinstance(answer, Connected):
            self.connected = answer
            return [ToServer(b"STARTTLS\n")] if answer.tls else [self._log_in()]
        return [Close("cancel")]

    def _secured(self, answer: TLSStarted) -> list[Command]:
        if answer.leg == "target":
            return [self._log_in()]
        self.tls = answer
        return [ToClient(b"SECURE\n")]

    def _log_in(self) -> Command:
        said = f"USER {self.connected.user} ".encode() + (self.connected.password or b"-") + b"\n"
        return ToServer(said, "log-in", secret=True)

    def client_lost(self) -> Commands:
        return None if self.half_close else (Close("client closed"),)

    def is_running(self) -> bool:
        return bool(self.open)

    def refused(self, refusal: Refusal) -> list[Command]:
        return [ToClient(f"REFUSED {refusal.code}: {refusal.sentence}\n".encode(), "refusal")]


class LineProtocol:
    """``IAuditableProtocol``, with switches for the tests."""

    name = "lines"
    version = "1"

    def __init__(self, alpn: tuple[str, ...] = (), broken: bool = False) -> None:
        self.alpn = alpn
        self.broken = broken
        self.speaks_first = False
        self.talk: Callable[[Any], Conversation] = Talk

    def build_pair(self, session: Any) -> Any:
        if self.broken:
            raise LookupError("hunter2-secret")
        return session.relay(Lines(), Lines(), self.talk(session))

    def problems(
        self, listener_options: Mapping[str, object] | None, target_options: Mapping[str, object] | None
    ) -> list[str]:
        return []

    def refusal(self, refusal: Refusal) -> bytes:
        return f"NO {refusal.code}: {refusal.sentence}\n".encode()

    @staticmethod
    def cancel_conversation(request: bytes, tls: bool) -> Generator[Any, bytes, None]:
        if tls:
            yield ToServer(b"STARTTLS\n")
            assert (yield 3) == b"GO\n"
            yield StartTLS("target")
        yield ToServer(request)
