"""A protocol of lines that asks every kind of question, and a session of it in memory."""

from __future__ import annotations

from collections import deque

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import TLSFacts
from hoopproxy.testing import Player
from hoopproxy.wire.codec import Lines
from hoopproxy.wire.commands import (
    FORWARD,
    RELAYING,
    WITHHOLD,
    Close,
    Command,
    Completed,
    Connect,
    Connected,
    Decide,
    LoggedIn,
    Login,
    Opaque,
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

LOGIN = 1

TLS = TLSStarted("client", TLSFacts(version="TLSv1.3", cipher="X"))


class Talk(Conversation):
    """``login NAME SECRET``, ``tls``; then each line is a command, answered by one line.

    Some words do something: ``raw`` is forwarded undecided, ``hide N`` hides its last N bytes (twice over),
    ``dark`` is opaque, ``say X`` is answered by us, ``bad`` is a violation.
    """

    def __init__(self) -> None:
        self.ready = self.asked = False
        self.open: deque[tuple[str, int]] = deque()

    def client_frame(self, frame: Frame) -> Commands:
        body = frame.body or b""
        word, _, rest = body.partition(b" ")
        if word == b"bad":
            raise ProtocolViolation("a bad line")
        if word == b"tls":
            return [ToClient(b"go\n"), StartTLS("client")]
        if word == b"login":
            if self.asked:
                raise ProtocolViolation("a second log-in")
            self.asked = True
            name, _, secret = rest.partition(b" ")
            hidden = Redact(Span(frame.end - len(secret) - 1, frame.end, LOGIN))
            return [hidden, Login(Password(user=name.decode(), password=secret))]
        if word == b"raw":
            return [FORWARD]
        if word == b"send":
            return [ToServer(rest + b"\n")]
        if word == b"say":
            return [ToClient(rest + b"\n", "answered here")]
        return self._command(frame, body, word, rest)

    def _command(self, frame: Frame, body: bytes, word: bytes, rest: bytes) -> list[Command]:
        found: list[Command] = []
        spans: tuple[Span, ...] = ()
        if word == b"hide":
            start = frame.end - int(rest.split()[0])
            spans = (Span(start, frame.end, LOGIN), Span(start - 1, frame.end - 1, LOGIN))
        if word == b"dark":
            found.append(Opaque("nobody reads this"))
        verb = word.decode("ascii", "replace").upper()
        text = "-" if spans else body.decode("utf-8", "replace")
        return [*found, Decide((verb,), len(body), {"verb": verb, "text": text}, spans)]

    def server_frame(self, frame: Frame) -> Commands:
        body = frame.body or b""
        if not self.ready:
            if body != b"welcome":
                return [Close("not welcome")]
            self.ready = True
            return [Started(), RELAYING, ToClient(b"ready\n")]
        if body == b"bad":
            raise ProtocolViolation("a bad answer")
        if body.startswith(b"secret "):
            return [Redact(Span(frame.start + 7, frame.end - 1, 4))]
        if body.startswith(b"behind "):
            return [FORWARD, ToClient(b"said behind it\n", "said here")]
        if body.startswith(b"twice "):
            return [FORWARD, FORWARD]
        if body.startswith(b"swap "):
            return [WITHHOLD, ToClient(b"swapped for something longer\n", "swapped")]
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
            return [ToClient(b"no: " + answer.refusal.code.encode() + b"\n")]
        if isinstance(answer, Refusal):
            return [*self.refused(answer), Close("refused")]
        if isinstance(answer, LoggedIn):
            return [Connect()]
        if isinstance(answer, Connected):
            return [ToServer(b"user " + answer.user.encode() + b" hunter2\n", "log-in", secret=True)]
        return None

    def refused(self, refusal: Refusal) -> list[Command]:
        return [ToClient(f"bye: {refusal.code}\n".encode(), "refusal")]

    def finished(self) -> Commands:
        because = {"because": "the session ended"}
        return [Completed(op, began, dict(because), "unfinished", "unknown") for op, began in self.open]


def built(longest: int = 1000) -> tuple[Lines, Lines, Talk]:
    """Codecs and a conversation, as a plugin would build them."""
    return Lines(longest), Lines(longest), Talk()


def fresh(**options: object) -> Player:
    """A session before its log-in."""
    player = Player(built(), **options)  # type: ignore[arg-type]
    player.exchange.open()
    return player


def started(**options: object) -> Player:
    """A session that relays."""
    player = fresh(**options)
    player.client(b"login alice hunter2\n")
    player.target(b"welcome\n")
    assert player.exchange.started
    player.journal.sync()
    return player
