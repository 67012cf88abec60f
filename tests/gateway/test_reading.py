"""Reads through the control socket: on record before anything is shown, within the roles, and gone with the
asker."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from hoopproxy.events import AuditRead
from hoopproxy.gateway.control import Asker, Denied, Lines
from hoopproxy.gateway.reading import OF_ONE_USER, OF_OTHERS, READERS, Reading, scope_of
from hoopproxy.reading.answers import Problem, decode_line

ALICE = Asker(uid=1000, user="alice", groups=("unix:alice",), owner=False)
BOB = Asker(uid=1001, user="bob", groups=("unix:bob",), owner=False)
OWNER = Asker(uid=0, user="root", groups=(), owner=True)


class FakeControl:
    """Decides as told, and keeps what was put on record."""

    def __init__(self, read: str = "all", targets: frozenset[str] = frozenset()) -> None:
        self.read, self.targets = read, targets
        self.recorded: list[tuple[AuditRead, bool]] = []
        self.durable: Deferred[None] = succeed(None)
        self.gateway = SimpleNamespace(
            sealing=None, config=SimpleNamespace(gateway=SimpleNamespace(state="/state"))
        )

    def scope_of(self, asker: Asker) -> tuple[str, frozenset[str]]:
        return self.read, self.targets

    def record(self, event: AuditRead, asker: Asker, allowed: bool) -> Deferred[None]:
        self.recorded.append((event, allowed))
        return self.durable


class Process:
    """A process transport."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def write(self, data: bytes) -> None:
        self.log.append(data)

    def signalProcess(self, name: str) -> None:
        self.log.append(name)

    def pauseProducing(self) -> None:
        self.log.append("pause")

    def resumeProducing(self) -> None:
        self.log.append("resume")


class Asking:
    """The asker's transport."""

    def __init__(self) -> None:
        self.written = b""
        self.producer: Any = None

    def write(self, data: bytes) -> None:
        self.written += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None


class Stage:
    """A Reading whose processes are in memory."""

    def __init__(self, control: Any) -> None:
        self.control = control
        self.started: list[tuple[Any, Process, dict[str, str]]] = []
        self.reading = Reading(control, self._spawn)

    def _spawn(self, protocol: Any, executable: str, args: list[str], env: dict[str, str]) -> Process:
        process = Process()
        self.started.append((protocol, process, env))
        protocol.makeConnection(process)
        return process

    def ask(self, asker: Asker = OWNER, **values: Any) -> Any:
        """The answer, or the failure."""
        got: list[Any] = []
        self.reading.command(asker, {"do": "read", "action": "tail", **values}).addBoth(got.append)
        return got[0] if got else None

    def begin(self, asker: Asker = OWNER, **values: Any) -> tuple[Asking, list[str]]:
        asking, done = Asking(), []
        answer = self.ask(asker, **values)
        assert isinstance(answer, Lines)
        answer.begin(asking, lambda: done.append("done"))
        return asking, done


def request_of(process: Process) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(process.log[0])
    return found


def test_a_read_is_recorded_before_a_process_is_even_started() -> None:
    """The first line is shown after its event is durable."""
    control = FakeControl()
    control.durable = Deferred()
    stage = Stage(control)
    assert stage.ask(filter={"identities": ["bob", "*@example.org"]}, session="last") is None
    assert stage.started == []
    ((event, allowed),) = control.recorded
    assert (event.action, event.session, event.filters, allowed) == (
        "tail",
        "last",
        {"identities": "bob, *@example.org"},
        True,
    )


def test_what_was_read_goes_to_the_asker_and_ends_with_an_end() -> None:
    """Line by line, as it comes."""
    stage = Stage(FakeControl())
    asking, done = stage.begin()
    ((protocol, process, _),) = stage.started
    assert request_of(process)["scope"]["everything"] is True
    protocol.outReceived(b'{"kind":"x"}\n')
    asking.producer.pauseProducing()
    asking.producer.resumeProducing()
    assert process.log[1:] == ["pause", "resume"]
    protocol.processEnded(Failure(ProcessDone(0)))
    assert asking.written.splitlines() == [b'{"ok": true}', b'{"kind":"x"}', b'{"end": true}']
    assert done == ["done"]
    assert asking.producer is None


def test_a_process_that_breaks_off_is_told_and_its_words_are_not() -> None:
    """A part must not pass for the whole; a traceback may quote rows."""
    stage = Stage(FakeControl())
    asking, _ = stage.begin()
    ((protocol, _, _),) = stage.started
    protocol.errReceived(b"ValueError: 'salary of bob'")
    protocol.processEnded(Failure(ProcessTerminated(1)))
    *_, problem, end = asking.written.splitlines()
    assert isinstance(decode_line(problem), Problem)
    assert end == b'{"end": true}'
    assert b"salary" not in asking.written


def test_the_process_goes_with_its_asker() -> None:
    """A followed tail would stay for ever."""
    stage = Stage(FakeControl())
    answer = stage.ask(follow=True)
    asking, done = Asking(), list[str]()
    answer.begin(asking, lambda: done.append("done"))
    ((protocol, process, _),) = stage.started
    answer.stop()
    assert process.log[-1] == "KILL"
    protocol.outReceived(b"late\n")
    protocol.processEnded(Failure(ProcessTerminated(None, 9)))
    assert b"late" not in asking.written
    assert done == []


def test_nobody_starts_more_processes_than_there_may_be() -> None:
    """Readers are bounded; one that is done makes room."""
    stage = Stage(FakeControl())
    for _ in range(READERS):
        stage.begin()
    refused = stage.ask()
    assert "try again" in refused.getErrorMessage()
    stage.started[0][0].processEnded(Failure(ProcessDone(0)))
    assert isinstance(stage.ask(), Lines)


def test_one_user_does_not_keep_the_others_from_reading() -> None:
    """Eight `tail -f` that nobody looks at would close the trail to every other auditor."""
    stage = Stage(FakeControl())
    for _ in range(OF_ONE_USER):
        stage.begin(ALICE)
    assert "end one of them first" in stage.ask(ALICE).getErrorMessage()
    got: list[Any] = []
    stage.reading.locate(ALICE, "12345678").addErrback(got.append)
    assert "end one of them first" in got[0].getErrorMessage()
    assert isinstance(stage.ask(BOB), Lines)
    stage.started[0][0].processEnded(Failure(ProcessDone(0)))
    assert isinstance(stage.ask(ALICE), Lines)


def test_all_others_together_do_not_keep_the_owner_from_reading() -> None:
    """Two users with four reads each would: and who can stop a session has to see what it does."""
    stage = Stage(FakeControl())
    for number in range(OF_OTHERS):
        stage.begin(ALICE if number % 2 else BOB)
    assert "try again" in stage.ask(ALICE).getErrorMessage()
    stage.begin()
    assert isinstance(stage.ask(), Lines)
    stage.started[0][0].processEnded(Failure(ProcessDone(0)))
    assert isinstance(stage.ask(BOB), Lines)


def test_an_asker_who_left_before_the_answer_takes_no_room() -> None:
    """A slot that is never given back would end all reading."""
    stage = Stage(FakeControl())
    for _ in range(READERS * 2):
        answer = stage.ask()
        assert isinstance(answer, Lines)
        answer.stop()
    assert isinstance(stage.ask(), Lines)


@pytest.mark.parametrize(
    ("read", "targets", "scope"),
    [
        ("own", frozenset(), {"everything": False, "identities": ["alice", "unix:alice"], "targets": []}),
        (
            "targets",
            frozenset({"app"}),
            {"everything": False, "identities": ["alice", "unix:alice"], "targets": ["app"]},
        ),
        ("all", frozenset(), {"everything": True, "identities": [], "targets": []}),
        ("none", frozenset(), {"everything": False, "identities": [], "targets": []}),
    ],
)
def test_a_role_becomes_a_scope(read: str, targets: frozenset[str], scope: dict[str, Any]) -> None:
    """Own is one's own; targets are one's own and those targets."""
    assert scope_of(ALICE, read, targets).as_json() == scope


def test_who_may_not_read_is_denied_and_on_record() -> None:
    """The attempt is an event as well."""
    control = FakeControl("none")
    stage = Stage(control)
    assert stage.ask().check(Denied)
    assert [allowed for _, allowed in control.recorded] == [False]
    assert stage.started == []


def test_a_question_that_can_not_be_understood_is_on_record_too() -> None:
    """Whoever tries doors leaves traces."""
    control = FakeControl()
    stage = Stage(control)
    assert "action must be one of" in stage.ask(action="rm -rf").getErrorMessage()
    ((event, allowed),) = control.recorded
    assert (event.action, allowed) == ("rm -rf", False)


def test_the_process_gets_none_of_the_environments_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """``env:APP_PASSWORD`` is for the gateway alone."""
    monkeypatch.setenv("APP_PASSWORD", "geheim")
    stage = Stage(FakeControl())
    stage.begin()
    ((_, _, environment),) = stage.started
    assert "APP_PASSWORD" not in environment
    assert set(environment) <= {"PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "TMPDIR"}
