"""The reader process as the gateway sees it: started, watched, obeyed in what it may say, and ended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from hoopproxy.config.carried import received
from hoopproxy.delivery.pipe import encoded
from hoopproxy.gateway.asker import Asker
from hoopproxy.gateway.following import environment_of
from hoopproxy.gateway.service import GatewayService
from hoopproxy.gateway.trail import END_SECONDS, PATIENCE_SECONDS, POKE_SECONDS, Trail
from hoopproxy.ledger.sealer import INTERVAL_SECONDS

from .running import TOML, Running
from .turns import Turned, turned

SINK = """
[[sink]]
name = "siem"
type = "file"
path = "trail.jsonl"
token = "env:SINK_TOKEN"
[sink.deep]
list = ["env:OTHER_TOKEN", "x env:NOT_THIS"]
"""


class Process:
    """What ``spawnProcess`` was given, and the pipe to it."""

    def __init__(self, protocol: Any, executable: str, arguments: list[str], env: dict[str, str]) -> None:
        self.protocol, self.arguments, self.env = protocol, arguments, env
        self.written: list[dict[str, Any]] = []
        self.signals: list[str] = []
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        self.written += [json.loads(line) for line in data.splitlines()]

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def says(self, do: str, **said: Any) -> None:
        self.protocol.outReceived(encoded(do, **said))

    def of(self, do: str) -> list[dict[str, Any]]:
        return [said for said in self.written if said["do"] == do]

    def ends(self, signal: int | None = 9) -> None:
        reason = ProcessTerminated(signal=signal) if signal else ProcessDone(0)
        self.protocol.processEnded(Failure(reason))


class Watched(Running):
    """A gateway whose reader process is a test's."""

    def __init__(self, reactor: Turned, folder: Path, text: str = TOML + SINK) -> None:
        self.processes: list[Process] = []
        super().__init__(reactor, folder, text)

    def _parts(self, gateway: GatewayService) -> list[Any]:
        self.trail = gateway.trail = Trail(gateway, spawn=self._spawn)
        return [*super()._parts(gateway), self.trail]

    def _spawn(self, *arguments: Any, **more: Any) -> None:
        self.processes.append(Process(*arguments, **more))

    @property
    def process(self) -> Process:
        return self.processes[-1]

    def settle(self) -> None:
        """Let what was appended become durable."""
        self.durable("none")
        self.reactor.turn(5)


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as reactor:
        yield reactor


@pytest.fixture
def watched(reactor: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setenv("HOOP_TEST_PASSWORD", "of the target")
    monkeypatch.setenv("SINK_TOKEN", "of the sink")
    monkeypatch.setenv("OTHER_TOKEN", "of the sink too")
    monkeypatch.setenv("NOT_THIS", "of nobody")
    gateway = Watched(reactor, tmp_path).up()
    assert isinstance(gateway, Watched)
    yield gateway
    if gateway.gateway.running:
        stop(gateway)


def stop(watched: Watched) -> None:
    over: list[Any] = []
    watched.gateway.stopService().addBoth(over.append)
    watched.until(lambda: watched.process.of("stop") or over)
    watched.process.ends(None)
    watched.until(lambda: bool(over))
    assert over == [None], over


def test_it_is_started_with_what_the_configuration_says_and_no_secret_but_its_own(watched: Watched) -> None:
    """Passwords of targets are in the gateway's environment; whoever reads the trail has no use for them."""
    (process,) = watched.processes
    assert process.arguments[1:] == ["-P", "-m", "hoopproxy.trail", "--follow"]
    assert process.env["SINK_TOKEN"] == "of the sink"
    assert process.env["OTHER_TOKEN"] == "of the sink too"
    assert not {"HOOP_TEST_PASSWORD", "NOT_THIS"} & process.env.keys()
    (start,) = process.of("start")
    assert received(start["config"]) == watched.gateway.config
    assert "of the" not in json.dumps(process.written)


def test_without_anybody_who_reads_there_is_no_process(
    reactor: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take 50 MiB for nothing. A reload that names a sink starts one."""
    monkeypatch.setenv("HOOP_TEST_PASSWORD", "x")
    nothing = TOML + "\n[index]\nenabled = false\n\n[ledger]\nenabled = false\n"
    watched = Watched(reactor, tmp_path, nothing)
    watched.up()
    assert watched.processes == []
    watched.write(nothing + SINK)
    watched.gateway.reload.now()
    watched.until(lambda: bool(watched.processes))
    stop(watched)


def test_it_is_poked_when_something_became_durable_and_not_too_often(watched: Watched) -> None:
    """Nothing is written for nothing, and a flood of commits is one poke in a while."""
    watched.settle()
    watched.reactor.pass_time(POKE_SECONDS + 0.01)
    before = len(watched.process.of("mark"))
    watched.reactor.pass_time(60)
    assert len(watched.process.of("mark")) == before, "a quiet gateway says nothing"
    for _ in range(5):
        watched.gateway.voice.say(_note())
        watched.settle()
    watched.reactor.pass_time(POKE_SECONDS + 0.01)
    marks = watched.process.of("mark")
    assert len(marks) == before + 1
    assert marks[-1]["journal"] == watched.gateway.journal.id


def test_the_ledger_is_told_soon_enough_to_sign_within_a_second() -> None:
    """What became durable just after a poke is taken with the next one, which may come just after a checkpoint."""
    assert POKE_SECONDS + INTERVAL_SECONDS < 1.0


def _note() -> Any:
    from hoopproxy.events import GatewayClock

    return GatewayClock(why="a test", monotonic=1)


def test_its_events_are_on_record(watched: Watched) -> None:
    """By the one writer, with the gateway's envelope; it can't speak for anybody else."""
    watched.process.says(
        "event", kind="audit.gap", fields={"why": "x", "records": 1, "bytes": 0, "consumer": "c"}
    )
    watched.process.says(
        "event", kind="audit.sink_recovered", fields={"sink": "s", "seconds": 1, "records": 0}
    )
    for kind, fields in (
        ("audit.control", {"action": "kill", "user": "root", "uid": 0, "allowed": True}),
        ("session.start", {}),
        ("audit.nothing", {}),
        ("audit.gap", {"colour": 1}),
        ("audit.gap", []),
    ):
        watched.process.says("event", kind=kind, fields=fields)
    (gap,) = watched.durable("audit.gap")
    assert (gap["outcome"], gap["event"]["consumer"], gap["node"]) == ("failure", "c", "here")
    assert watched.durable("audit.sink_recovered")[0]["outcome"] == "success"
    assert not {"audit.control", "session.start"} & set(watched.kinds())


def test_sessions_go_on_when_it_dies_and_another_is_started(watched: Watched) -> None:
    """With growing pauses, so that one that can't start does not eat the machine."""
    client, target = watched.session()
    for number in range(1, 5):
        watched.process.ends()
        assert len(watched.processes) == number
        watched.reactor.pass_time(0.6 * 2 ** (number - 1))
        assert len(watched.processes) == number + 1
    client.say("SELECT 1\n")
    target.until(b"SELECT 1\n")
    client.close()
    target.close()
    watched.until(lambda: not watched.gateway.shared.sessions)


def test_one_that_lived_long_is_replaced_at_once(watched: Watched) -> None:
    """An operator who kills it is no reason to wait longer and longer."""
    for _ in range(3):
        watched.reactor.pass_time(61)
        watched.process.ends()
        watched.reactor.pass_time(0.6)
    assert len(watched.processes) == 4


def test_who_was_stuck_waits_in_the_next_one_longer_each_time(watched: Watched) -> None:
    """Else the same sink would block the next process before the others had their turn."""
    for seconds in (30, 60, 120):
        watched.process.says("stuck", name="sink-siem")
        watched.process.ends(None)
        watched.reactor.pass_time(40)
        assert watched.process.of("start")[0]["pauses"] == {"sink-siem": seconds}
    failed = watched.durable("audit.sink_failed")
    assert [each["event"]["sink"] for each in failed] == ["siem"] * 3
    assert failed[0]["event"]["error"] == "it blocked the process that reads the trail"


def test_one_that_says_nothing_any_more_is_killed(watched: Watched) -> None:
    """Stopped, swapped out, stuck before it could say so."""
    for _ in range(4):
        watched.gateway.voice.say(_note())
        watched.settle()
        watched.reactor.pass_time(50)
    assert watched.process.signals == ["KILL"]


def test_one_that_answers_is_not(watched: Watched) -> None:
    """A guard for the one above."""
    for _ in range(4):
        watched.gateway.voice.say(_note())
        watched.settle()
        watched.reactor.pass_time(50)
        watched.process.says("status", state="running", consumers=[], refuse="")
    assert watched.process.signals == []


def test_past_a_quota_commands_and_sessions_are_refused_and_what_runs_is_recorded(watched: Watched) -> None:
    """In the protocol's words, with the reason; and taken again when the sink is within it."""
    client, target = watched.session()
    client.say("SELECT 1\n")
    target.until(b"SELECT 1\n")
    watched.process.says("status", state="running", consumers=[], refuse="the trail does not reach siem")
    assert watched.http("/readyz")[0] == 503
    target.say("one\n")
    client.until(b"one\n")
    client.say("SELECT 2\n")
    client.until(b"the trail does not reach siem")
    stranger = watched.connect("front.sock")
    stranger.say("LOGIN alice pw\nTARGET\n")
    assert b"the trail does not reach siem" in stranger.until_end()
    watched.process.says("status", state="running", consumers=[], refuse="")
    client.say("SELECT 3\n")
    target.until(b"SELECT 3\n")
    client.close()
    target.close()
    watched.until(lambda: not watched.gateway.shared.sessions)
    states = [event["event"]["state"] for event in watched.durable("gateway.journal")]
    assert states == ["refusing", "recovered"]
    assert "SELECT 2" not in [event["event"].get("text") for event in watched.durable("command.requested")]


def test_the_quota_holds_while_the_process_is_down(
    reactor: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that can't start would else be a way to let the disk fill up."""
    monkeypatch.setenv("HOOP_TEST_PASSWORD", "x")
    text = TOML + SINK.replace("type =", "required = true\nquota_bytes = 1\ntype =")
    watched = Watched(reactor, tmp_path, text)
    cursors = tmp_path / "state" / "trail" / "cursors"
    cursors.mkdir(parents=True)
    from hoopproxy.delivery.cursors import Cursor, CursorFile

    CursorFile(cursors / "sink-siem").write(Cursor())
    watched.up()
    watched.settle()
    reactor.getThreadPool().start()
    watched.trail._spawn = _no_process
    watched.process.ends()
    watched.reactor.pass_time(10.1)
    watched.until(lambda: watched.gateway.journal.refusal is not None)
    refusal = watched.gateway.journal.refusal
    assert refusal is not None
    assert (refusal.code, "siem" in refusal.sentence) == ("sink", True)
    watched.trail._spawn = watched._spawn
    watched.reactor.pass_time(31)
    watched.process.says("status", state="running", consumers=[], refuse="")
    assert watched.gateway.journal.refusal is None
    stop(watched)
    reactor.getThreadPool().stop()


def _no_process(*_: Any, **__: Any) -> None:
    raise OSError(12, "Cannot allocate memory")


def test_the_last_word_reaches_it_before_it_is_told_to_end(watched: Watched) -> None:
    """``gateway.stopped`` is for the SIEM as well; and what it says at the end is still on record."""
    over: list[Any] = []
    watched.gateway.stopService().addBoth(over.append)
    watched.until(lambda: watched.process.of("stop"))
    assert watched.kinds()[-1] == "gateway.stopped"
    assert not over
    watched.process.says("event", kind="audit.gap", fields={"why": "at the end", "records": 1, "bytes": 0})
    watched.process.says("stopped")
    watched.process.ends(None)
    watched.until(lambda: bool(over))
    assert watched.kinds()[-1] == "audit.gap"
    assert len(watched.processes) == 1


def test_one_that_does_not_end_is_killed(watched: Watched) -> None:
    """SIGTERM of the gateway is bounded."""
    over: list[Any] = []
    watched.gateway.stopService().addBoth(over.append)
    watched.until(lambda: watched.process.of("stop"))
    watched.reactor.pass_time(END_SECONDS + 0.1)
    assert watched.process.signals == ["KILL"]
    watched.process.ends()
    watched.until(lambda: bool(over))


def test_a_reload_is_passed_on_and_a_bad_one_is_not(watched: Watched) -> None:
    """SIGHUP is also the sinks' signal to open their files anew."""
    watched.gateway.reload.now()
    watched.reactor.turn(5)
    assert len(watched.process.of("reload")) == 1
    watched.write(TOML + SINK + "[colour]\n")
    watched.gateway.reload.now()
    watched.reactor.turn(5)
    assert len(watched.process.of("reload")) == 1


def test_how_far_each_is_can_be_asked(watched: Watched) -> None:
    """Figures, like those of ``status``."""
    facts = {"name": "sink-siem", "state": "ok", "records": 3}
    watched.process.says("status", state="running", consumers=[facts], refuse="")
    anybody = Asker(uid=1, user="a", groups=(), owner=False)
    answer = watched.trail.command(anybody, {})
    assert answer == {"up": True, "starts": 1, "state": "running", "consumers": [facts], "refuse": ""}
    watched.process.ends()
    down = watched.trail.command(anybody, {})
    assert (down["up"], down["state"], down["consumers"]) == (False, "down", [])


def test_a_child_that_dies_of_an_error_is_told_by_its_kind_only(watched: Watched) -> None:
    """A traceback may quote what was read."""
    said: list[str] = []
    watched.trail.log = _Log(said)  # type: ignore[assignment]
    watched.process.protocol.errReceived(b"Traceback\n  File x\nModuleNotFoundError: the secret row\n")
    watched.process.ends(None)
    assert said == [
        "the process that follows the trail ended (exit 0, ModuleNotFoundError); another is started"
    ]


class _Log:
    def __init__(self, said: list[str]) -> None:
        self._said = said

    def error(self, text: str, **fields: Any) -> None:
        self._said.append(text.format(**fields))


def test_the_environment_names_only_what_is_there(monkeypatch: pytest.MonkeyPatch, watched: Watched) -> None:
    """A variable that isn't set stays unset: whoever resolves it says so."""
    monkeypatch.delenv("SINK_TOKEN")
    assert "SINK_TOKEN" not in environment_of(watched.gateway.config)
    assert environment_of(watched.gateway.config)["PATH"] == os.environ["PATH"]


# --- durable_at ----------------------------------------------------------------------------------------


@pytest.fixture
def waiting(reactor: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """A gateway whose target is strict and durable at the sink."""
    monkeypatch.setenv("HOOP_TEST_PASSWORD", "x")
    text = TOML.replace('mode = "bounded"', 'mode = "strict"\ndurable_at = ["siem"]') + SINK
    gateway = Watched(
        reactor,
        tmp_path,
        text.replace("type =", 'required = true\nformat = "native"\ntype =').replace(
            'required = true\nformat = "native"\ntype = "everyone"', 'type = "everyone"'
        ),
    )
    gateway.up()
    yield gateway
    if gateway.gateway.running:
        stop(gateway)


def acks(watched: Watched, jseq: int | None = None) -> None:
    """The sink has everything up to there, or to the end."""
    journal = watched.gateway.journal
    watched.process.says("acked", sink="siem", journal=journal.id, jseq=jseq or journal.next_jseq - 1)
    watched.reactor.turn(3)


def test_a_command_waits_until_its_record_is_at_the_sink(waiting: Watched) -> None:
    """Losing the host, disk and all, loses no record of what happened."""
    client, target = waiting.session()
    client.say("SELECT 1\n")
    waiting.settle()
    waiting.reactor.turn(10)
    assert b"SELECT" not in (target.read() or b"")
    assert waiting.process.of("mark"), "it is told at once, not with the next poke"
    last = waiting.gateway.journal.next_jseq - 1
    acks(waiting, last - 1)
    assert b"SELECT" not in (target.read() or b"")
    acks(waiting, last)
    target.until(b"SELECT 1\n")
    target.say("one\n")
    client.until(b"one\n")
    client.close()
    target.close()
    waiting.until(lambda: not waiting.gateway.shared.sessions)


def test_what_a_sink_had_before_the_process_was_started_again_counts(waiting: Watched) -> None:
    """The answer of the one that died may never have come."""
    client, target = waiting.session()
    client.say("SELECT 1\n")
    waiting.settle()
    waiting.process.ends()
    waiting.reactor.pass_time(0.6)
    acks(waiting)
    target.until(b"SELECT 1\n")
    client.close()
    target.close()
    waiting.until(lambda: not waiting.gateway.shared.sessions)


@pytest.mark.parametrize("how", ["fails", "down", "gone"])
def test_while_the_sink_fails_commands_are_refused_and_what_waits_does_not_happen(
    waiting: Watched, how: str
) -> None:
    """A command must not hang until somebody repairs a SIEM."""
    client, target = waiting.session()
    client.say("SELECT 1\n")
    waiting.settle()
    if how == "fails":
        failing = {"name": "sink-siem", "state": "failing"}
        waiting.process.says("status", state="running", consumers=[failing], refuse="")
    elif how == "down":
        waiting.trail._spawn = _no_process
        waiting.process.ends()
        waiting.reactor.pass_time(PATIENCE_SECONDS + 0.1)
    else:
        text = (waiting.folder / "gateway.toml").read_text()
        waiting.write(text[: text.index("[[sink]]")].replace('durable_at = ["siem"]', ""))
        waiting.gateway.reload.now()
        waiting.reactor.turn(5)
        waiting.process.says("status", state="running", consumers=[], refuse="")
    waiting.reactor.turn(10)
    assert b"trail" in client.until_end()
    assert b"SELECT" not in (target.read() or b"")
    target.close()
    waiting.until(lambda: not waiting.gateway.shared.sessions)
    waiting.trail._spawn = waiting._spawn
    waiting.reactor.pass_time(31)


def test_other_targets_do_not_wait(watched: Watched) -> None:
    """Their journal is the journal itself, at its own speed."""
    client, target = watched.session()
    (session,) = watched.gateway.shared.sessions.values()
    assert session._relay is not None
    assert session._relay.exchange.journal is watched.gateway.journal
    client.close()
    target.close()
    watched.until(lambda: not watched.gateway.shared.sessions)
