"""Reading beside the data path: whose turn it is, what comes back, and what a process that fails or hangs costs."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from hoopproxy.aside import serve
from hoopproxy.gateway.aside import IDLE_SECONDS, SECONDS, Aside, Here, memory_for
from hoopproxy.gateway.aside_worker import PIECE, Worker
from hoopproxy.wire.aside import SIZE, asked, performed
from hoopproxy.wire.commands import Compute, Refusal


def shout(text: bytes, *, mark: str) -> dict[str, object]:
    return {"said": text.upper(), "mark": mark, "size": len(text)}


def question(text: bytes = b"hello", mark: str = "!") -> Compute:
    return Compute(shout, text, {"mark": mark})


class Process:
    """What ``spawnProcess`` gives, with the other end in the test's hands."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.got = worker, b""
        self.producer: Any = None
        self.signals: list[str] = []
        self.input_ended = False

    def write(self, data: bytes) -> None:
        assert len(data) <= PIECE
        self.got += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert not streaming
        self.producer = producer
        while self.producer is not None:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def closeStdin(self) -> None:
        self.input_ended = True

    def work(self, cut: int | None = None) -> None:
        """Answer everything that was asked, in pieces of ``cut`` bytes."""
        out = io.BytesIO()
        serve(io.BytesIO(self.got), out)
        self.got, said = b"", out.getvalue()
        for at in range(0, len(said), cut or len(said)):
            self.worker.outReceived(said[at : at + (cut or len(said))])

    def end(self, signal: int | None = None) -> None:
        self.got = b""
        self.worker.processEnded(Failure(ProcessTerminated(1, signal)))


class Street:
    """An :class:`Aside` whose processes are here."""

    def __init__(self, workers: int = 2) -> None:
        self.clock = Clock()
        self.processes: list[Process] = []
        self.broken = False
        self.aside = Aside(self.clock, self._spawn, lambda: 1 << 20, workers)
        self.answers: list[tuple[str, object]] = []

    def _spawn(self, worker: Worker, *arguments: Any, **options: Any) -> None:
        if self.broken:
            raise OSError(11, "no process to be had")
        worker.transport = process = Process(worker)  # type: ignore[assignment]
        self.processes.append(process)

    def ask(self, who: str, text: bytes = b"x", owner: object = None) -> None:
        answer = self.aside.compute(question(text), who, owner)
        answer.addCallback(lambda found: self.answers.append((who, found)))

    def busy(self) -> list[Process]:
        return [process for process in self.processes if process.got]


def test_an_answer_comes_back_however_it_is_cut() -> None:
    """The pipe gives what it likes."""
    for cut in (1, 3, 4, 5, None):
        street = Street()
        street.ask("alice", b"a" * 600_000)
        (process,) = street.processes
        process.work(cut)
        assert street.answers == [("alice", {"said": b"A" * 600_000, "mark": "!", "size": 600_000})]


def test_a_process_serves_until_its_input_ends() -> None:
    """Several questions in a row; half of one is none."""
    data = asked(question(b"one")) + b"one" + asked(question(b"two")) + b"two"
    for cut, count in ((len(data), 2), (len(data) - 1, 1), (5, 0)):
        out = io.BytesIO()
        serve(io.BytesIO(data[:cut]), out)
        said, found = out.getvalue(), 0
        while said:
            (size,) = SIZE.unpack_from(said)
            said, found = said[SIZE.size + size :], found + 1
        assert found == count
    assert performed(question(b"one")) == shout(b"one", mark="!")


def test_one_process_does_one_thing_after_the_other_and_ends_when_there_is_nothing() -> None:
    street = Street()
    for _ in range(3):
        street.ask("alice")
        street.processes[0].work()
    assert len(street.processes) == 1
    assert len(street.answers) == 3
    street.clock.advance(IDLE_SECONDS + 1)
    assert street.processes[0].input_ended
    street.processes[0].end()
    street.ask("alice")
    assert len(street.processes) == 2
    assert street.clock.getDelayedCalls() != []


def test_an_identity_has_one_at_a_time_and_others_go_before_its_next() -> None:
    """Who asks for a hundred readings waits for himself."""
    street = Street()
    for _ in range(3):
        street.ask("mallory")
    street.ask("alice")
    assert len(street.processes) == 2
    street.processes[1].work()  # alice's
    assert [who for who, _ in street.answers] == ["alice"]
    street.ask("bob")
    street.ask("alice")
    order = []
    while street.busy():
        street.busy()[0].work()
        order.append(street.answers[-1][0])
    assert order == [
        "mallory",
        "alice",
        "mallory",
        "mallory",
        "bob",
    ]  # bob's was in the second process from the first


def test_a_turn_is_given_when_what_is_asked_then_begins_at_once() -> None:
    """What comes behind a turn is in memory while it waits: so it must not wait."""
    street = Street(workers=1)
    assert street.aside.turn(lambda: None, "alice", None)
    street.ask("alice")
    given: list[str] = []

    def turn_of(who: str, also: Callable[[], None]) -> Callable[[], None]:
        def given_to() -> None:
            assert street.aside.turn(lambda: None, who, None)
            given.append(who)
            also()

        return given_to

    def ask_bob() -> None:
        street.ask("bob", b"b")
        assert len(street.busy()) == 1, "it waits although it had its turn"

    assert not street.aside.turn(turn_of("bob", ask_bob), "bob", None)
    assert not street.aside.turn(turn_of("carol", lambda: None), "carol", None)
    street.ask("dave")
    street.processes[0].work()
    assert given == ["bob"]
    street.processes[0].work()
    assert given == ["bob", "carol"], "who has nothing to ask gives the turn to the next"
    street.processes[0].work()
    assert [who for who, _ in street.answers] == ["alice", "bob", "dave"]


def test_what_takes_too_long_is_ended_and_refused_and_the_next_is_begun() -> None:
    """A text that nobody can read in time must not keep its process."""
    street = Street(workers=1)
    street.ask("mallory")
    street.ask("alice")
    street.clock.advance(SECONDS)
    ((who, answer),) = street.answers
    assert who == "mallory"
    assert isinstance(answer, Refusal)
    assert answer.code == "too_large"
    assert street.processes[0].signals == ["KILL"]
    street.processes[0].end(9)
    street.processes[1].work()
    assert street.answers[1][0] == "alice"


def test_a_process_that_dies_or_lies_refuses_what_it_was_asked() -> None:
    street = Street()
    street.ask("alice")
    street.processes[0].end(9)
    street.ask("alice")
    street.processes[1].worker.outReceived(SIZE.pack(1) + b"toomuch")
    assert street.processes[1].signals == ["KILL"]
    street.processes[1].end(9)
    street.broken = True
    street.ask("alice")
    assert [getattr(answer, "code", None) for _, answer in street.answers] == ["internal"] * 3
    street.broken = False
    street.ask("alice")
    street.processes[2].work()
    assert not isinstance(street.answers[-1][1], Refusal)


def test_a_process_that_says_something_unasked_is_ended() -> None:
    street = Street()
    street.ask("alice")
    street.processes[0].work()
    street.processes[0].worker.outReceived(SIZE.pack(0))
    assert street.processes[0].signals == ["KILL"]


def test_what_a_session_asked_for_is_dropped_with_it() -> None:
    """Who leaves in the middle must not keep a process, nor a place in the queue."""
    street = Street(workers=1)
    mine, other = object(), object()
    street.ask("alice", owner=mine)
    street.ask("alice", owner=mine)
    turns: list[str] = []
    assert not street.aside.turn(lambda: turns.append("alice"), "alice", mine)
    street.ask("bob", owner=other)
    street.aside.forget(mine)
    assert street.processes[0].signals == ["KILL"]
    street.processes[0].end(9)
    street.processes[1].work()
    assert street.answers[-1][0] == "bob"
    assert turns == []
    assert street.busy() == []


def test_at_the_end_everything_is_answered_and_every_process_ended() -> None:
    street = Street()
    for who in ("alice", "bob", "carol"):
        street.ask(who)
    street.processes[0].work()
    street.aside.stop()
    street.ask("dave")
    assert street.aside.turn(lambda: None, "dave", None)
    for process in street.processes:
        if process.signals:
            process.end(9)
        else:
            assert process.input_ended
    assert len(street.answers) == 4
    assert street.clock.getDelayedCalls() == []


def test_without_processes_it_is_read_here_and_now() -> None:
    here = Here()
    found: list[object] = []
    here.compute(question(), "alice", None).addCallback(found.append)
    assert found == [shout(b"hello", mark="!")]
    assert here.turn(lambda: None, "alice", None)
    here.forget(None)
    here.stop()


def greedy(text: bytes) -> int:
    return len(bytes(len(text) << 10))


def test_a_process_that_would_take_too_much_memory_ends_instead() -> None:
    """The machine's memory is everybody's."""
    limit = memory_for(1 << 20)
    answers = []
    for size in (1 << 10, 1 << 20):
        data = bytes(size)
        question = Compute(greedy, data)
        done = subprocess.run(
            [sys.executable, "-m", "hoopproxy.aside", str(limit)],
            input=asked(question) + data,
            capture_output=True,
            timeout=60,
            check=False,
        )
        answers.append((done.returncode, len(done.stdout) > 0, b"MemoryError" in done.stderr))
    assert answers == [(0, True, False), (1, False, True)]
