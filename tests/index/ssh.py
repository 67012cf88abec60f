"""An SSH session in a journal, as a gateway records it."""

from __future__ import annotations

import itertools
import uuid

from hoopproxy.events import (
    CommandRequested,
    Identity,
    LoginSucceeded,
    SessionEnd,
    SessionStart,
    StreamTotals,
    TargetFacts,
)
from tests.cli.trail import Trail
from tests.protocols.ssh.recording import Recording

_NUMBERS = itertools.count(1)


class SSHPlayed(Recording):
    """Chunks go into the journal as they are made. A shell in channel 0, a program in channel 1."""

    def __init__(self, trail: Trail, who: str = "alice", target: str = "box", early: bool = False) -> None:
        super().__init__()
        self.trail, self.id = trail, f"00000000-0000-7000-8000-5500000{next(_NUMBERS):05x}"
        self.key = trail.journal.open_key(uuid.UUID(self.id).bytes)
        self.recorder = trail._recorder(self.id, "ssh")
        self.recorder.key_id, self.recorder.opened = self.key, True
        self.recorder.bind(identity=Identity(id=who, issuer="file", method="password"))
        self.login()
        self.say_event(LoginSucceeded(method="password", name=who, listener="ssh"))
        if early:  # the client does not wait for the target
            self.opened(0, 7)
        self.recorder.bind(target=TargetFacts(name=target, account="ops"))
        self.say_event(SessionStart(listener="ssh", mode="strict", record="full", role="writer"))
        if not early:
            self.opened(0, 7)
        self.pty(7)
        self.asks(7, "shell")
        self.say_event(CommandRequested(verb="SHELL", range=(0, 1)))
        self.opened(1, 8)

    def say_event(self, event: object) -> None:
        self.trail.now += 1_000_000
        self.recorder.tick()
        self.recorder.event(event)  # type: ignore[arg-type]
        self.trail.journal.commit_now()

    def add(self, direction: int, data: bytes, redactions: tuple[tuple[int, int, int], ...] = ()) -> None:
        self.trail.now += 1_000_000
        offset = self.at[direction]
        super().add(direction, data, redactions)
        self.trail.journal.append_chunk(
            self.key, uuid.UUID(self.id).bytes, 0, direction, offset, self.now, data, redactions
        )
        self.trail.journal.commit_now()

    def end(self) -> None:
        """The session is over."""
        totals = StreamTotals()
        self.say_event(
            SessionEnd(
                cause="client closed", duration=1, commands=1, client=totals, target=totals, balanced=True
            )
        )
