"""Real journals for the tests of the auditor's command: sessions played through the real gate and
conversation."""

from __future__ import annotations

import itertools
import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoopproxy.events import ClientFacts, Event, Identity, TargetFacts, TLSFacts
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.writer import Journal
from hoopproxy.protocols.postgres.plugin import PostgresProtocol
from hoopproxy.testing import FakeSession, MemoryRelay
from hoopproxy.wire.commands import Connect, Connected, Decide, LoggedIn, Login, Verdict
from hoopproxy.wire.exchange import Admission, Counts, Exchange
from hoopproxy.wire.recorder import Clock, IdSource, Recorder
from tests.ending import at_end
from tests.protocols.postgres.talk import columns, complete, hello, m, query, ready, row

T0 = 1_700_000_000_000_000_000
"""2023-11-14 22:13:20 UTC."""

TLS = TLSFacts(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")


def allow(decide: Decide) -> Verdict | None:
    return Verdict(True, ("reader",))


class Trail:
    """One journal under a state directory, and a clock in the test's hands (nanoseconds)."""

    def __init__(
        self, state: Path, *, segment_bytes: int = 1 << 26, start: int = T0, folder: Folder | None = None
    ) -> None:
        self.state, self.now = state, start
        self.folder = folder or Folder.make(state)
        options = JournalOptions(segment_bytes=segment_bytes, reserve_bytes=0)
        self.journal = Journal(
            self.folder, clock=lambda: self.now, wall=lambda: self.now, threaded=False, options=options
        )
        self.journal.start()
        at_end(self.stop)
        self.ids = IdSource(lambda: self.now)
        self._numbers = itertools.count(1)

    def say(self, event: Event, **envelope: Any) -> None:
        """An event of the gateway's own."""
        voice = self._recorder()
        voice.tick()
        voice.event(event, **envelope)
        self.journal.commit_now()

    def _recorder(self, session: str = "", protocol: str = "postgres") -> Recorder:
        clock = Clock(lambda: self.now, lambda: self.now)
        return Recorder(
            self.journal,
            self.ids,
            clock,
            node="gw1",
            session=uuid.UUID(session).bytes if session else None,
            session_text=session,
            protocol=protocol if session else "gateway",
            decoder="1" if session else "",
        )

    def session(self, who: str = "alice", **options: Any) -> Played:
        """A session that is logged in and ready; its id ends with its number."""
        number = next(self._numbers)
        return Played(self, f"00000000-0000-7000-8000-{number:012x}", who, **options)

    def stop(self) -> None:
        """As a gateway that stops in order."""
        self.journal.stop()


class Played:
    """One session: what the peers send, through the exchange into the trail's journal."""

    def __init__(
        self,
        trail: Trail,
        session: str,
        who: str,
        *,
        target: str = "app",
        decide: Callable[[Decide], Verdict | None] = allow,
        record: str = "full",
        by_kind: int = 0,
        login: bool = True,
    ) -> None:
        self.trail, self.id = trail, session
        fake = FakeSession()
        PostgresProtocol().build_pair(fake)
        assert fake.built is not None
        identity = Identity(id=who, issuer="file", method="password", groups=("staff",))
        made = Connected(
            target=target, account="app_ro", user="app_ro", role="reader", tls=False, session=session[-8:]
        )
        self.relay = MemoryRelay({Login: LoggedIn(identity), Connect: made})
        self.recorder = trail._recorder(session)
        self.recorder.bind(client=ClientFacts(addr="10.0.0.7", port=51234, tls=TLS))
        self.exchange = Exchange(
            *fake.built, relay=self.relay, recorder=self.recorder, journal=self.trail.journal
        )
        self._admission = Admission(
            decide=decide, record=record, role="reader", listener="pg", by_kind=by_kind
        )
        self.relay.answer = self._answer
        self._received = {"client": 0, "target": 0}
        self.exchange.open()
        if login:
            self.log_in()

    def _answer(self, token: int, answer: object) -> None:
        if isinstance(answer, LoggedIn):
            self.recorder.bind(identity=answer.identity)
            self.recorder.open()
        elif isinstance(answer, Connected):
            self.recorder.bind(target=TargetFacts(name=answer.target, account=answer.account))
            self.exchange.admit(self._admission)
        self.exchange.answer(token, answer)

    def log_in(self) -> None:
        self.client(hello(database="shop"))
        self.client(m("p", b"secret-of-alice\0"))
        self.target(m("R", struct.pack(">i", 0)))
        self.target(m("S", b"client_encoding\0UTF8\0") + m("S", b"standard_conforming_strings\0on\0"))
        self.target(m("K", struct.pack(">ii", 4711, 99)) + ready())
        assert self.exchange.started, self.relay.closed

    def client(self, data: bytes) -> None:
        self.trail.now += 1_000_000
        self._received["client"] += len(data)
        self.exchange.client_received(data)

    def target(self, data: bytes) -> None:
        self.trail.now += 1_000_000
        self._received["target"] += len(data)
        self.exchange.server_received(data)

    def asks(self, sql: str, *replies: bytes, status: str = "I") -> None:
        """A simple Query, and what the target answers before ReadyForQuery."""
        self.client(query(sql))
        self.target(b"".join(replies) + ready(status))

    def selects(self, sql: str, names: tuple[str, ...], *rows: tuple[bytes, ...]) -> None:
        """A simple SELECT."""
        body = b"".join(row(*each) for each in rows)
        self.asks(sql, columns(*names), body, complete(f"SELECT {len(rows)}"))

    def end(self) -> None:
        """The client says goodbye, and both connections are gone."""
        self.client(m("X"))
        self.lose()

    def lose(self) -> None:
        """Both connections are gone."""
        client = Counts(received=self._received["client"], sent=len(self.relay.client))
        target = Counts(received=self._received["target"], sent=len(self.relay.server))
        self.exchange.closed(client, target)
        self.trail.journal.commit_now()
