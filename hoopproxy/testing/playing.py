"""Play a session: a script of what the peers send, through the real exchange, into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from zope.interface import implementer

from hoopproxy.errors import JournalRefused
from hoopproxy.events import ClientFacts, Identity, TargetFacts
from hoopproxy.interfaces import ISession
from hoopproxy.testing.memory import MemoryJournal, MemoryRelay
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import (
    Admit,
    Cancel,
    Connect,
    Connected,
    Decide,
    Granted,
    LoggedIn,
    Login,
    Verdict,
)
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.exchange import Admission, Counts, Exchange
from hoopproxy.wire.inside import Outer
from hoopproxy.wire.recorder import Clock, IdSource, Recorder
from hoopproxy.wire.spool import MakeFile
from hoopproxy.wire.verdicts import journal_refusal

__all__ = ["FakeSession", "Played", "Player", "play"]

Played = MemoryJournal
Step = tuple[str, Any]


@implementer(ISession)
@attrs.define(kw_only=True)
class FakeSession:
    """An :class:`~hoopproxy.interfaces.ISession` with every attribute in the test's hands.

    :meth:`relay` keeps the codecs and the conversation that the plugin built, for :class:`Player`.
    """

    id: str = "00000000-0000-7000-8000-000000000001"
    listener: str = "test"
    options: Mapping[str, object] = attrs.field(factory=dict)
    targets: tuple[str, ...] = ("target",)
    tls: str | None = None
    login_methods: tuple[str, ...] = ("password",)
    insecure_cleartext: bool = True
    limits: Mapping[str, int] = attrs.field(factory=dict)
    spool: MakeFile | None = None
    methods: Mapping[str, str] = attrs.field(factory=dict)
    secrets: Mapping[str, tuple[bytes, ...]] = attrs.field(factory=dict, repr=False)
    outer: Outer | None = None
    reachable: Mapping[tuple[str, int], tuple[str, str]] = attrs.field(factory=dict)
    layers: object = None
    built: tuple[Codec, Codec, Conversation] | None = None

    def login_method(self, user: str) -> str:
        """From ``methods``, else the first of the login methods."""
        return self.methods.get(user, self.login_methods[0])

    def target_at(self, host: str, port: int) -> tuple[str, str] | None:
        """From ``reachable``."""
        return self.reachable.get((host, port))

    def relay(
        self, client_codec: Codec, server_codec: Codec, conversation: Conversation, layers: object = None
    ) -> tuple[object, object]:
        """Keep what the plugin built."""
        self.built, self.layers = (client_codec, server_codec, conversation), layers
        return (object(), object())


def _allow(decide: Decide) -> Verdict | None:
    return Verdict(True, ("test",))


class Player:
    """One session over an exchange in memory.

    :param build: what ``IAuditableProtocol.build_pair`` gave the session, or ``plugin.build_pair`` itself
        with a :class:`FakeSession`.
    :param decide: policy; allows everything unless given.
    :param by_kind: as ``Admission.by_kind``: up to how many bytes ``decide`` looks at the verbs alone.
    :param answers: to the other questions, by type; a log-in succeeds as ``alice`` and the target is
        connected unless said otherwise.
    """

    def __init__(
        self,
        built: tuple[Codec, Codec, Conversation],
        *,
        decide: Callable[[Decide], Verdict | None] = _allow,
        answers: Mapping[type, object] | None = None,
        mode: str = "strict",
        record: str = "full",
        at_once: bool = True,
        by_kind: int = 0,
    ) -> None:
        self.journal = MemoryJournal(at_once)
        self.ended: dict[str, Any] | None = None
        defaults: dict[type, object] = {
            Login: LoggedIn(Identity(id="alice", issuer="test", method="password")),
            Admit: Granted(),
            Connect: Connected(
                target="target", account="account", user="account", role="role", tls=False, session="test"
            ),
            Cancel: None,
        }
        self.relay = MemoryRelay({**defaults, **(answers or {})})
        ticks = iter(range(0, 10**15, 1000))
        clock = Clock(lambda: 1_700_000_000_000_000_000, lambda: next(ticks))
        self.recorder = Recorder(
            self.journal,
            IdSource(clock.wall_ns, lambda n: bytes(n)),
            clock,
            node="test",
            session=bytes(16),
            session_text="test-session",
            protocol="test",
            decoder="1",
        )
        self.recorder.bind(client=ClientFacts(addr="127.0.0.1", port=1))
        self.exchange = Exchange(*built, relay=self.relay, recorder=self.recorder, journal=self.journal)
        self._admission = Admission(
            decide=decide, mode=mode, record=record, role="role", listener="test", by_kind=by_kind
        )
        self.relay.answer = self._answer
        self.received = {"client": 0, "target": 0}

    def _answer(self, token: int, answer: object) -> None:
        if isinstance(answer, LoggedIn):
            self.recorder.bind(identity=answer.identity)
            try:
                self.recorder.open()
            except JournalRefused as refused:
                answer = journal_refusal(refused)
        elif isinstance(answer, Connected):
            self.recorder.bind(target=TargetFacts(name=answer.target, account=answer.account))
            answer = self._admitted(answer)
        elif isinstance(answer, Granted):
            answer = self._admitted(answer)
        self.exchange.answer(token, answer)

    def _admitted(self, answer: object) -> object:
        if self.exchange.admission is None:
            try:
                self.exchange.admit(self._admission)
            except JournalRefused as refused:
                return journal_refusal(refused)
        return answer

    def answer(self, answer: object) -> None:
        """Answer the question that was asked last."""
        self._answer(self.relay.asked[-1][1], answer)

    def client(self, data: bytes) -> None:
        """The client sends."""
        self.received["client"] += len(data)
        self.exchange.client_received(data)

    def target(self, data: bytes) -> None:
        """The target sends."""
        self.received["target"] += len(data)
        self.exchange.server_received(data)

    def end(self) -> dict[str, Any] | None:
        """Both connections are gone; returns ``session.end``, if there is one."""
        relay, received = self.relay, self.received
        self.exchange.closed(
            Counts(received=received["client"], sent=len(relay.client)),
            Counts(received=received["target"], sent=len(relay.server)),
        )
        ends = self.journal.of("session.end")
        self.ended = ends[0] if ends else None
        return self.ended


def play(built: tuple[Codec, Codec, Conversation], script: Iterable[Step], **options: Any) -> Player:
    """Play a script: ``("client", bytes)``, ``("target", bytes)``, ``("answer", value)``, ``("sync", None)``,
    ``("client_lost", None)``, ``("target_lost", None)``. Options as in :class:`Player`. Returns the player, not
    ended yet.
    """
    player = Player(built, **options)
    player.exchange.open()
    steps: dict[str, Callable[[Any], object]] = {
        "client": player.client,
        "target": player.target,
        "answer": player.answer,
        "sync": lambda _: player.journal.sync(),
        "client_lost": lambda _: player.exchange.client_lost(),
        "target_lost": lambda _: player.exchange.server_lost(),
    }
    for who, what in script:
        steps[who](what)
    return player
