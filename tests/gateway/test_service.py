"""The whole gateway: start, reload, control, operations, drain, crash and what the next start makes of it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from hoopproxy.config import Encryption, needs_restart
from hoopproxy.errors import JournalRefused
from hoopproxy.events import Identity
from hoopproxy.gateway import control_line
from hoopproxy.gateway.control import Asker, Control, asker_of
from hoopproxy.gateway.reload import in_force
from hoopproxy.gateway.service import StartFailed
from hoopproxy.journal.writer import Journal

from .running import TOML, Running
from .turns import Turned, turned


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as reactor:
        yield reactor


@pytest.fixture
def running(reactor: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("HOOP_TEST_PASSWORD", "up")
    gateway = Running(reactor, tmp_path, broken={"hoopproxy.plugins.bad": "ImportError at x.py:1"}).up()
    yield gateway
    if gateway.gateway.running:
        gateway.down()


# --- start and stop


def test_a_start_and_a_stop_in_order_are_on_record(running: Running) -> None:
    """With version, plugins, the broken ones, the configuration's digest; and what is after nothing is missing."""
    running.down()
    events = running.events()
    assert [event["kind"] for event in events] == [
        "gateway.plugin_failed", "gateway.clock", "gateway.started", "gateway.stopped",
    ]  # fmt: skip
    assert [event["seq"] for event in events] == [1, 2, 3, 4]
    started = events[2]["event"]
    assert started["plugins"] == {"checker everyone": "", "protocol lines": "1"}
    assert started["broken_plugins"] == {"hoopproxy.plugins.bad": "ImportError at x.py:1"}
    assert started["pid"] == os.getpid()
    assert len(started["config"]) == 64
    assert events[3]["event"]["sessions_closed"] == 0


def test_a_session_over_the_real_journal_balances(running: Running) -> None:
    """Everything together: checker, policy, secret, endpoint, relay, journal."""
    client, target = running.session()
    client.say("SELECT 1\n")
    target.until(b"SELECT 1\n")
    target.say("one\n")
    client.until(b"one\n")
    client.close()
    target.close()
    running.until(lambda: not running.gateway.shared.sessions)
    running.down()
    end = next(event for event in running.events() if event["kind"] == "session.end")
    assert end["event"]["balanced"]
    assert end["identity"]["id"] == "alice"


def test_a_stop_lets_running_sessions_finish_and_takes_no_new_ones(running: Running) -> None:
    """Up to ``drain_seconds``; one that ends earlier ends the waiting."""
    client, target = running.session()
    stranger = running.connect("front.sock")
    over: list[Any] = []
    running.gateway.stopService().addBoth(over.append)
    running.reactor.turn(10)
    assert b"REFUSED shutdown" in stranger.until_end()
    assert not over
    assert running.http("/readyz") == (503, "not ready: draining\n")
    client.say("SELECT 1\n")
    target.until(b"SELECT 1\n")
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        running.connect("front.sock")
    client.close()
    target.close()
    running.until(lambda: bool(over))
    stopped = running.events()[-1]
    assert stopped["kind"] == "gateway.stopped"
    assert stopped["event"]["sessions_closed"] == 0


def test_who_stays_longer_than_the_drain_hears_why(running: Running) -> None:
    """And the number of them is on record."""
    client, target = running.session()
    over: list[Any] = []
    running.gateway.stopService().addBoth(over.append)
    running.reactor.turn(5)
    running.reactor.pass_time(5.1)
    assert client.until_end() == b"REFUSED shutdown: the gateway is shutting down\n"
    target.close()
    for _ in range(10):
        running.reactor.pass_time(1)
    running.until(lambda: bool(over))
    events = running.events()
    assert events[-1]["event"]["sessions_closed"] == 1
    assert next(event for event in events if event["kind"] == "session.end")["event"]["cause"] == "shutdown"


def test_a_crash_is_told_by_the_next_start(
    reactor: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session and its command get an end, in their own envelopes, before anybody new comes."""
    monkeypatch.setenv("HOOP_TEST_PASSWORD", "up")
    first = Running(reactor, tmp_path).up()
    client, target = first.session()
    client.say("SELECT 1\n")
    target.until(b"SELECT 1\n")
    durable: list[bool] = []
    journal = first.gateway.journal
    journal.when_durable(journal.next_jseq - 1, lambda: durable.append(True))
    journal.commit_now()
    first.until(lambda: bool(durable))
    first.crash()
    # Its timers died with the process.
    for call in reactor.getDelayedCalls():
        call.cancel()
    second = Running(reactor, tmp_path).up()
    started = second.durable("gateway.started")[-1]
    events = second.events()
    session = next(event["session"] for event in events if event["kind"] == "session.start")
    mine = [event for event in events if event.get("session") == session]
    assert [event["kind"] for event in mine][-2:] == ["command.unfinished", "session.interrupted"]
    assert mine[-2]["op"] == mine[-3]["op"]
    assert [event["seq"] for event in mine] == list(range(1, len(mine) + 1))
    assert started["event"]["recovered"] == {"sessions": 1, "commands": 1}
    second.down()
    third = Running(reactor, tmp_path).up()
    assert "recovered" not in third.durable("gateway.started")[-1]["event"]
    third.down()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            TOML.replace('listen = "unix:front.sock"', 'listen = "unix:/nowhere/at/all"'),
            "can't listen|No such file",
        ),
        (TOML.replace('state = "state"', 'state = "gateway.toml"'), "can't be made"),
    ],
)
def test_what_keeps_it_from_starting_is_a_sentence(
    reactor: Turned, tmp_path: Path, text: str, words: str
) -> None:
    """No traceback for an operator's mistake."""
    with pytest.raises(StartFailed, match=words):
        Running(reactor, tmp_path, text).gateway.startService()


def test_two_gateways_on_one_state_directory_do_not_share_a_journal_or_a_socket(
    running: Running, reactor: Turned, tmp_path: Path
) -> None:
    """The second's sentence says why; the first goes on."""
    second = Running(reactor, tmp_path, TOML.replace("unix:front.sock", f"unix:{tmp_path}/other.sock"))
    with pytest.raises(StartFailed, match="another gateway answers"):
        second.gateway.startService()
    assert second.gateway.journal.id != running.gateway.journal.id
    assert running.ask({"do": "status"})["ready"]


def test_a_socket_that_a_dead_process_left_is_taken_over(reactor: Turned, tmp_path: Path) -> None:
    """After kill -9 the file is still there."""
    (tmp_path / "state").mkdir(mode=0o700)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "state" / "control.sock"))
    left.close()
    gateway = Running(reactor, tmp_path).up()
    assert gateway.ask({"do": "status"})["ready"]
    gateway.down()
    assert not (tmp_path / "state" / "control.sock").exists()


def test_a_journal_that_refuses_makes_it_unready_and_recovers_by_itself(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load balancer must send people elsewhere meanwhile."""
    client, _target = running.session()
    refused = JournalRefused("io", "the journal can't be written")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "refusal_for_new_sessions", property(lambda journal: refused))
        assert running.http("/readyz") == (503, "not ready: the journal can't be written\n")
        running.gateway._journal_refuses(refused)
    running.gateway._journal_recovered()
    assert running.http("/readyz")[0] == 200
    states = [event["event"]["state"] for event in running.durable("gateway.journal")]
    assert states == ["refusing", "recovered"]
    assert not client.ended


def test_a_disk_that_failed_and_was_survived_is_an_event(running: Running) -> None:
    """Nothing was lost, so nobody was refused: without the alarm nobody would change the disk."""
    running.gateway._alarm("segment 1 of the journal failed (Input/output error)")
    (alarm,) = running.durable("gateway.journal")
    assert (alarm["event"]["state"], alarm["outcome"]) == ("alarm", "failure")
    assert "segment 1" in alarm["event"]["sentence"]
    assert "hoopproxy_journal_alarms_total 1.0" in running.http("/metrics")[1]


def test_whom_recordings_are_sealed_for_changes_with_a_restart_only(running: Running) -> None:
    """The writer has its keys from its start: a configuration in force that says otherwise would lie."""
    old = running.gateway.config
    recipient = Encryption(recipients=("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",))
    new = attrs.evolve(old, encryption=recipient)
    assert in_force(old, new).encryption == old.encryption
    assert needs_restart(old, new) == ["encryption.recipients"]


# --- reload


def reload(running: Running) -> dict[str, Any]:
    return running.ask({"do": "reload"})


def test_a_reload_changes_what_new_sessions_get_and_says_what(running: Running) -> None:
    """The old session keeps its role; secrets are references in the difference."""
    old, old_target = running.session()
    running.write(
        TOML.replace('read = "own"', 'deny = ["DROP"]').replace("HOOP_TEST_PASSWORD", "HOOP_TEST_OTHER")
    )
    os.environ["HOOP_TEST_OTHER"] = "other-secret"
    try:
        answer = reload(running)
        new, new_target = running.session("bob")
    finally:
        del os.environ["HOOP_TEST_OTHER"]
    assert answer["reloaded"]
    assert answer["needs_restart"] == []
    assert {change["key"]: change["new"] for change in answer["changes"]} == {
        "role[staff].deny": "[DROP]",
        "role[staff].read": "none",
        "target[app].accounts.ro.password": "env:HOOP_TEST_OTHER",
    }
    old.say("DROP x\n")
    old_target.until(b"DROP x\n")
    new.say("DROP x\nSELECT 1\n")
    assert new_target.until(b"SELECT 1\n") == b"SELECT 1\n"
    event = running.durable("gateway.config_changed")[0]
    assert event["event"]["config"] != event["event"]["previous"]
    assert "other-secret" not in json.dumps(running.events())


def test_what_needs_a_restart_is_named_and_stays(running: Running) -> None:
    """A value that silently stayed would be found out in the worst moment."""
    running.write(
        TOML.replace('node = "here"', 'node = "there"')
        + "[journal]\nsync_ms = 50\n[limits]\nhash_workers = 4\nidle_seconds = 60\n"
    )
    answer = reload(running)
    assert answer["needs_restart"] == [
        "gateway.node", "journal.sync_ms", "limits.hash_workers",
    ]  # fmt: skip
    assert running.gateway.shared.settings.config.gateway.node == "here"
    assert running.gateway.shared.settings.limits["idle_seconds"] == 60
    running.session()
    assert "gateway.node" in reload(running)["needs_restart"]


def test_a_bad_file_keeps_the_old_one_and_says_so(running: Running) -> None:
    """All its problems at once; nothing of it is in force."""
    before = running.gateway.shared.settings
    running.write(TOML.replace('account = "ro"', 'account = "nobody"').replace("mode =", "mood ="))
    answer = reload(running)
    assert not answer["reloaded"]
    assert len(answer["problems"]) >= 2
    assert running.gateway.shared.settings is before
    event = running.durable("gateway.config_changed")[0]
    assert event["outcome"] == "failure"
    assert event["event"]["config"] == event["event"]["previous"]
    assert len(event["event"]["problems"]) == len(answer["problems"])
    running.write(TOML)
    assert reload(running)["reloaded"]


SECOND = """
[[listener]]
name = "second"
protocol = "lines"
listen = "unix:moved.sock"
targets = ["app"]
insecure_cleartext = true
"""


def test_listeners_are_added_and_removed_while_their_sessions_go_on(running: Running) -> None:
    """A restart for a new port would cut everybody off."""
    client, target = running.session()
    running.write(TOML + SECOND)
    answer = reload(running)
    assert (answer["reloaded"], answer["needs_restart"]) == (True, [])
    running.session(at="front.sock")
    other, other_target = running.session(at="moved.sock")
    running.write(TOML)
    assert reload(running)["reloaded"]
    with pytest.raises(OSError):  # noqa: PT011 - refused or gone, as the system likes
        running.connect("moved.sock")
    for asker, answerer in ((client, target), (other, other_target)):
        asker.say("SELECT 1\n")
        assert answerer.until(b"\n") == b"SELECT 1\n"
    starts = [event["event"]["listener"] for event in running.durable("session.start")]
    assert starts == ["front", "front", "second"]


def test_a_listener_moves(running: Running) -> None:
    """The new address answers, the old one does not."""
    client, target = running.session()
    running.write(TOML.replace("front.sock", "moved.sock"))
    answer = reload(running)
    assert (answer["reloaded"], answer["needs_restart"]) == (True, [])
    running.session(at="moved.sock")
    with pytest.raises(OSError):  # noqa: PT011 - refused or gone, as the system likes
        running.connect("front.sock")
    client.say("SELECT 1\n")
    assert target.until(b"\n") == b"SELECT 1\n"


def test_a_listener_is_renamed_where_it_is(running: Running) -> None:
    """Its address stays open; who comes now comes in by the new name."""
    running.write(TOML.replace('name = "front"', 'name = "renamed"'))
    answer = reload(running)
    assert (answer["reloaded"], answer["needs_restart"]) == (True, [])
    running.session()
    assert running.durable("session.start")[0]["event"]["listener"] == "renamed"


def test_an_address_that_its_predecessor_holds_is_taken_over(running: Running) -> None:
    """The same socket with another mode: only when the old one is closed can it be opened."""
    running.write(TOML.replace('"unix:front.sock"', '"unix:front.sock:mode=600"'))
    assert reload(running)["reloaded"]
    running.session()
    assert (running.folder / "front.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("moved", [True, False])
def test_an_address_that_cannot_be_had_changes_nothing(running: Running, moved: bool) -> None:
    """Half a reload would be neither configuration."""
    nowhere = SECOND.replace("unix:moved.sock", "unix:/nowhere/at/all")
    text = TOML.replace('"unix:front.sock"', '"unix:moved.sock"') if moved else TOML
    running.write(text + nowhere + "[limits]\nidle_seconds = 61\n")
    before = running.gateway.shared.settings
    answer = reload(running)
    assert not answer["reloaded"]
    assert "listener second (unix:/nowhere/at/all): can't listen: No such file" in answer["problems"][0]
    assert running.gateway.shared.settings is before
    running.session(at="front.sock")
    with pytest.raises(OSError):  # noqa: PT011 - refused or gone, as the system likes
        running.connect("moved.sock")


def test_the_signal_reloads(running: Running) -> None:
    """SIGHUP is what service managers send."""
    import signal
    import time

    running.write(TOML + "[limits]\nidle_seconds = 61\n")
    before = signal.getsignal(signal.SIGHUP)
    assert callable(before)
    os.kill(os.getpid(), signal.SIGHUP)
    deadline = time.monotonic() + 5
    while running.gateway.shared.settings.limits["idle_seconds"] != 61:
        running.reactor.turn(2)
        assert time.monotonic() < deadline
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_reloads_at_once_are_done_one_after_the_other(running: Running) -> None:
    """Two half-built configurations must not meet."""
    outcomes: list[Any] = []
    for _ in range(3):
        running.gateway.reload.now().addCallback(outcomes.append)
    running.until(lambda: len(outcomes) == 3)
    assert all(not outcome.problems for outcome in outcomes)


# --- operations


def test_live_ready_and_metrics(running: Running) -> None:
    """What the machines that watch machines ask for."""
    client, target = running.session()
    client.say("SELECT 1\n")
    target.until(b"SELECT 1\n")
    assert running.http("/livez") == (200, "ok\n")
    assert running.http("/readyz") == (200, "ready\n")
    status, text = running.http("/metrics")
    assert status == 200
    for line in (
        'hoopproxy_sessions{listener="front",state="open"} 1.0',
        'hoopproxy_logins_total{method="password",outcome="success"} 1.0',
        "hoopproxy_commands_total 1.0",
        "hoopproxy_ready 1.0",
        "hoopproxy_journal_refusing 0.0",
    ):
        assert line in text, line
    for name in ("sync_seconds_bucket", "free_bytes", "unsynced_bytes", "unsynced_seconds", "records_total"):
        assert f"hoopproxy_journal_{name}" in text
    assert "alice" not in text
    assert running.http("/")[0] == 404


def test_the_histogram_counts_each_sync_once(running: Running) -> None:
    """Buckets are cumulative; the last is all of them."""
    from hoopproxy.gateway.figures import Figures
    from hoopproxy.journal.options import CommitFacts

    figures = Figures()
    for milliseconds in (0, 1, 3, 99, 60_000):
        figures.committed(
            CommitFacts(records=1, blocks=1, raw_bytes=10, stored_bytes=5, sync_ns=milliseconds * 1_000_000)
        )
    assert sum(figures.sync_counts) == 5
    assert figures.sync_counts[-1] == 1
    assert figures.sync_counts[0] == 1
    running.gateway.figures = figures  # the journal still adds to the old ones
    text = running.http("/metrics")[1]
    assert 'hoopproxy_journal_sync_seconds_bucket{le="+Inf"} 5.0' in text
    assert "hoopproxy_journal_sync_seconds_count 5.0" in text


# --- control


def test_status_tells_figures_and_no_names(running: Running) -> None:
    """Whoever can open the socket may ask this."""
    client, _target = running.session()
    answer = running.ask({"do": "status"})
    assert answer["ok"]
    assert not client.ended
    assert answer["sessions"] == {"login": 0, "open": 1}
    assert answer["broken_plugins"] == {"hoopproxy.plugins.bad": "ImportError at x.py:1"}
    assert "alice" not in json.dumps(answer)


def test_live_sessions_are_listed_and_the_look_is_on_record_first(running: Running) -> None:
    """The auditor is audited."""
    client, _target = running.session()
    lines = running.ask_lines({"do": "sessions"}, 2)
    assert lines[-1] == {"end": True}
    assert (lines[0]["identity"], lines[0]["target"], lines[0]["commands"]) == ("alice", "app", 0)
    event = running.durable("audit.read")[0]
    assert event["event"]["action"] == "sessions"
    assert event["identity"]["id"].startswith("unix:")
    assert not client.ended


def test_a_session_is_killed_by_its_id_or_the_end_of_it(running: Running) -> None:
    """In the protocol's words, and on record with who did it."""
    client, target = running.session()
    (session,) = running.gateway.shared.sessions.values()
    assert running.ask({"do": "kill", "session": "x" * 8})["error"] == "no session has that id"
    assert running.ask({"do": "kill", "session": session.id[-7:]})["error"] == "no session has that id"
    assert running.ask({"do": "kill", "session": session.id[-8:]}) == {"ok": True, "session": session.id}
    assert client.until_end() == b"REFUSED killed: an administrator ended this session\n"
    target.close()
    controls = running.durable("audit.control")
    assert [event["event"]["action"] for event in controls] == ["kill"] * 3
    assert controls[-1]["event"]["uid"] == os.getuid()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[]",
        b'"status"',
        b"{}",
        b'{"do": 1}',
        b'{"do": "__class__"}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_a_request_that_is_none_is_a_sentence(running: Running, line: bytes) -> None:
    """And the next one on the same connection is answered."""
    client = running.connect("state/control.sock")
    client.say(line + b"\n" + b'{"do": "status"}\n')
    running.until(lambda: client.read().count(b"\n") >= 2)
    first, second = (json.loads(each) for each in client.read().splitlines())
    assert not first["ok"]
    assert first["error"]
    assert second["ready"]


def test_a_request_too_long_ends_the_connection(running: Running) -> None:
    """Memory before permission is spent by nobody."""
    client = running.connect("state/control.sock")
    client.say(b"x" * (control_line.REQUEST_MAX + 100))
    assert b"at most" in client.until_end()


def test_connections_are_bounded(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open ones cost little, but not nothing."""
    monkeypatch.setattr(control_line, "CONNECTIONS", 2)
    first, _second = running.connect("state/control.sock"), running.connect("state/control.sock")
    assert running.connect("state/control.sock").until_end() == b""
    first.close()
    assert running.ask({"do": "status"})["ready"]


def test_who_asks_is_told_by_the_kernel() -> None:
    """The gateway's own user and root own it; others are what their roles say of ``unix:<name>``."""
    me = asker_of(os.getuid())
    assert me.owner
    assert me.identity == Identity(id=f"unix:{me.user}", issuer="unix", method="peercred", groups=me.groups)
    assert asker_of(0).owner
    nobody = asker_of(65534, own_uid=1)
    assert not nobody.owner
    assert "unix:nobody" in nobody.groups
    assert asker_of(4_000_000).user == "4000000"


ROLES = """
[[role]]
name = "dba"
groups = ["unix:dba"]
targets = ["app"]
account = "ro"
read = "targets"
[[role]]
name = "auditor"
identities = ["unix:audrey"]
read = "all"
"""


def stranger(user: str, *groups: str) -> Asker:
    names = (f"unix:{user}", *(f"unix:{group}" for group in groups))
    return Asker(uid=1234, user=user, groups=names, owner=False)


def ask_as(running: Running, asker: Asker, request: dict[str, Any]) -> Any:
    """As that user, without the socket."""
    assert running.control is not None
    answers: list[Any] = []
    answer = running.control.do(asker, json.dumps(request).encode())
    answer.addBoth(answers.append)
    running.until(lambda: bool(answers))
    return answers[0]


@pytest.mark.parametrize(
    ("asker", "scope", "targets", "seen"),
    [
        (stranger("audrey"), "all", [], 2),
        (stranger("dan", "dba"), "targets", ["app"], 2),
        (stranger("nobody"), "none", [], None),
    ],
)
def test_reads_are_decided_by_role_and_each_is_an_event(
    reactor: Turned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asker: Asker,
    scope: str,
    targets: list[str],
    seen: int | None,
) -> None:
    """CVE-2023-42442's kind: a recording that anybody could fetch. Also on record when it is denied."""
    monkeypatch.setenv("HOOP_TEST_PASSWORD", "up")
    running = Running(reactor, tmp_path, TOML + ROLES).up()
    kept = [running.session("alice"), running.session("bob")]
    assert running.control is not None
    assert running.control.scope_of(asker) == (scope, frozenset(targets))
    listed = ask_as(running, asker, {"do": "sessions"})
    if seen is None:
        assert "no role lets you read" in str(listed.value)
    else:
        assert len(list(listed)) == seen
    denied = ask_as(running, asker, {"do": "kill", "session": "12345678"})
    assert "only root and the gateway's own user may kill" in str(denied.value)
    assert "only root" in str(ask_as(running, asker, {"do": "reload"}).value)
    reads = running.durable("audit.read")
    assert [event["event"]["allowed"] for event in reads] == [scope != "none"]
    assert reads[0]["identity"]["id"] == f"unix:{asker.user}"
    assert [event["outcome"] for event in running.durable("audit.control")] == ["denied", "denied"]
    for client, target in kept:
        client.close()
        target.close()
    running.down()


def test_a_read_that_cannot_be_recorded_is_not_allowed(running: Running) -> None:
    """No record, no action: for auditors too."""

    def refuse(*_: Any, **__: Any) -> int:
        raise JournalRefused("io", "the disk failed")

    original = running.gateway.journal.append_event
    running.gateway.journal.append_event = refuse  # type: ignore[method-assign]
    try:
        answer = running.ask({"do": "sessions"})
    finally:
        running.gateway.journal.append_event = original  # type: ignore[method-assign]
    assert not answer["ok"]
    assert "can't record" in answer["error"]


def test_readers_add_their_own_commands(running: Running) -> None:
    """The reading service is not this module's business; a name is given once."""
    assert running.control is not None

    def count(asker: Asker, request: Any) -> Any:
        return ({"n": number} for number in range(int(request["to"])))

    running.control.register("count", count)
    lines = running.ask_lines({"do": "count", "to": 3}, 4)
    assert [line.get("n") for line in lines] == [0, 1, 2, None]
    assert lines[-1] == {"end": True}
    with pytest.raises(ValueError, match="taken"):
        running.control.register("status", count)


def test_a_command_that_fails_says_nothing_of_its_insides(running: Running) -> None:
    """Its words could be a row."""
    assert isinstance(running.control, Control)

    def fail(asker: Asker, request: Any) -> Any:
        raise LookupError("hunter2-secret")

    def fail_later(asker: Asker, request: Any) -> Any:
        yield {"n": 1}
        raise LookupError("hunter2-secret")

    running.control.register("fail", fail)
    running.control.register("fail_later", fail_later)
    assert "hunter2" not in json.dumps(running.ask({"do": "fail"}))
    lines = running.ask_lines({"do": "fail_later"}, 3)
    assert "hunter2" not in json.dumps(lines)
    assert not lines[1]["ok"]
