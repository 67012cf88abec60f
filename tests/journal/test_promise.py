"""No record, no action, over a disk that loses power: what reached the target is in the recovered trail.

The real exchange, the real journal, a disk in memory. The same machine must turn red with either of the two
mistakes that would break the promise: a sync that is left out, and bytes that go on before their record.
"""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from hoopproxy.errors import Damaged
from hoopproxy.events import ClientFacts, Identity, TargetFacts
from hoopproxy.journal.format import Kind
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.writer import Journal
from hoopproxy.testing.memory import MemoryRelay
from hoopproxy.testing.playing import Player
from hoopproxy.wire.commands import Connect, Connected, LoggedIn, Login, Verdict
from hoopproxy.wire.exchange import Admission, Exchange
from hoopproxy.wire.recorder import Clock, IdSource, Recorder
from hoopproxy.wire.turn import Turn
from tests.wire.lines import built

from .support import opened, records
from .test_machine import LyingFiles

OPTIONS = JournalOptions(reserve_bytes=0, segment_bytes=6000)
ALICE = LoggedIn(Identity(id="alice", issuer="test"))


class DiskPlayer(Player):
    """A session over a journal whose disk works when the test says so."""

    def __init__(self, journal: Journal, number: int, mode: str) -> None:
        ticks = iter(range(0, 10**15, 1000))
        clock = Clock(lambda: 1_700_000_000_000_000_000 + number, lambda: next(ticks))
        here = Connected(target="target", account="a", user="a", role="role", tls=False, session="test")
        self.relay = MemoryRelay({Login: ALICE, Connect: here})
        self.recorder = Recorder(
            journal,
            IdSource(clock.wall_ns, Random(number).randbytes),
            clock,
            node="test",
            session=number.to_bytes(16, "big"),
            session_text=f"session-{number}",
            protocol="test",
            decoder="1",
        )
        self.recorder.bind(client=ClientFacts(addr="127.0.0.1", port=1), target=TargetFacts(name="target"))
        self.exchange = Exchange(*built(), relay=self.relay, recorder=self.recorder, journal=journal)
        self._admission = Admission(
            decide=lambda decide: Verdict(True, ("test",)),
            mode=mode,
            record="full",
            role="role",
            listener="test",
        )
        self.relay.answer = self._answer
        self.received = {"client": 0, "target": 0}


class Promise(RuleBasedStateMachine):
    """Clients ask, the disk works or doesn't, the power goes. ``reached`` is what the target was given."""

    mode = "strict"

    def make_files(self) -> MemoryFiles:
        return MemoryFiles()

    def __init__(self) -> None:
        super().__init__()
        self.files = self.make_files()
        self.asked = self.sessions = 0
        self.reached: set[str] = set()
        self.seen: set[str] = set()
        self.begin()

    def begin(self) -> None:
        self.journal = opened(
            self.files, OPTIONS, wall=lambda: 10**18, entropy=Random(self.sessions).randbytes
        )
        self.journal.commit_now = lambda: None  # type: ignore[method-assign]  # until the disk has time
        self.log_in()

    def log_in(self) -> None:
        self.sessions += 1
        self.player = DiskPlayer(self.journal, self.sessions, self.mode)
        self.player.exchange.open()
        self.player.client(b"login alice hunter2\n")
        self.player.target(b"welcome\n")
        assert self.player.exchange.started
        self.given = len(self.player.relay.server)

    def note(self) -> None:
        lines = bytes(self.player.relay.server[self.given :]).decode().splitlines()
        self.reached.update(line for line in lines if line.startswith("get "))

    @rule(count=st.integers(1, 4))
    def ask(self, count: int) -> None:
        lines = []
        for _ in range(count):
            self.asked += 1
            lines.append(f"get {self.asked}\n")
        self.player.client("".join(lines).encode())
        self.note()

    @rule()
    def disk_has_time(self) -> None:
        Journal.commit_now(self.journal)
        self.note()

    @rule()
    @precondition(lambda self: self.player.exchange.conversation.open)
    def target_answers(self) -> None:
        self.player.target(b"1\n")
        self.note()

    @rule()
    def another_session(self) -> None:
        self.note()
        self.log_in()

    @rule(seed=st.none() | st.integers())
    def crash(self, seed: int | None) -> None:
        self.note()
        self.files.crash(None if seed is None else Random(seed))
        self.sessions += 1
        self.begin()
        self.check()

    def check(self) -> None:
        events = [orjson.loads(record.body) for record in records(self.files) if record.kind == Kind.EVENT]
        requested = {each["event"]["text"] for each in events if each["kind"] == "command.requested"}
        assert self.reached <= requested, f"ran without a record: {sorted(self.reached - requested)[:3]}"

    def teardown(self) -> None:
        self.crash(self.asked)


class PromiseOnALyingDisk(Promise):
    def make_files(self) -> MemoryFiles:
        return LyingFiles()


def promise(machine: type[Promise], examples: int, **more: Any) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )


def red(machine: type[Promise]) -> None:
    """The machine finds the mistake, by the one assertion that is about it or by damage that it left."""
    with pytest.raises((AssertionError, Damaged), match=r"ran without a record|which was durable"):
        promise(machine, 300, derandomize=True, database=None, phases=[Phase.generate])


def test_what_reached_the_target_is_on_record_whatever_happens() -> None:
    """``strict``, over kills and power cuts at any step."""
    promise(Promise, 60)


def test_the_machine_turns_red_without_the_sync() -> None:
    """Take the fdatasync away, and commands run without a record."""
    red(PromiseOnALyingDisk)


def test_the_machine_turns_red_when_bytes_go_on_before_their_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let them go at once instead of holding them."""
    monkeypatch.setattr(Turn, "_hold", Turn._go)
    red(Promise)


def test_bounded_is_no_strict() -> None:
    """The machine is no harder than the promise: in ``bounded`` it must find what that mode may lose."""

    class Bounded(Promise):
        mode = "bounded"

    red(Bounded)
