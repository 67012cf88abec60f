"""The whole gateway: start, operations, drain, crash and what the next start makes of it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import attrs
import pytest

from hoopproxy.config import Encryption, needs_restart
from hoopproxy.errors import JournalRefused
from hoopproxy.gateway.reload import in_force
from hoopproxy.gateway.service import StartFailed
from hoopproxy.journal.format import Kind
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.recovery import ended, recover, sound_segments
from hoopproxy.journal.writer import Journal
from tests.ending import at_end

from .running import TOML, Running
from .turns import Turned


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


def test_a_reload_while_it_stops_opens_nothing_again(running: Running) -> None:
    """A SIGHUP took the address from the next gateway, and had a balancer send clients to one that refuses."""
    client, target = running.session()
    over: list[Any] = []
    running.gateway.stopService().addBoth(over.append)
    running.reactor.turn(10)
    before = len(running.durable("gateway.config_changed"))
    answer = running.ask({"do": "reload"})
    assert not answer["reloaded"]
    assert answer["problems"] == ["the gateway is shutting down, so its configuration stays"]
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        running.connect("front.sock")
    assert len(running.durable("gateway.config_changed")) == before + 1, "what was asked for is on record"
    client.close()
    target.close()
    running.until(lambda: bool(over))


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
        (
            TOML.replace('state = "state"', f'state = "{"d" * 120}"'),
            "107 bytes at most; choose a shorter one$",
        ),
    ],
)
def test_what_keeps_it_from_starting_is_a_sentence(
    reactor: Turned, tmp_path: Path, text: str, words: str
) -> None:
    """No traceback for an operator's mistake."""
    with pytest.raises(StartFailed, match=words):
        Running(reactor, tmp_path, text).gateway.startService()


@pytest.mark.parametrize("taken", ["front.sock", "ops.sock", "state/control.sock"])
def test_a_start_that_fails_leaves_its_journal_in_order(reactor: Turned, tmp_path: Path, taken: str) -> None:
    """systemd tries again and again while somebody has the port: each try left a journal that looked like a crash."""
    (tmp_path / "state").mkdir(mode=0o700)
    other = socket.socket(socket.AF_UNIX)
    at_end(other.close)
    other.bind(str(tmp_path / taken))
    other.listen()
    if taken != "state/control.sock":
        Path(tmp_path / f"{taken}.lock").symlink_to(str(os.getpid()))
    failing = Running(reactor, tmp_path)
    with pytest.raises(StartFailed):
        failing.gateway.startService()
    folder = failing.gateway.journal.folder
    assert not folder.is_locked
    header = sound_segments(folder)[-1]
    assert ended(folder, header) is not None, "a clean end"
    found, _ = recover(folder)
    assert found.clean


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


def test_a_file_of_the_journal_that_lost_its_end_is_an_event(reactor: Turned, tmp_path: Path) -> None:
    """Half a restored copy starts as a whole one does: without the alarm nobody would look for the other half."""
    for _ in range(2):
        Running(reactor, tmp_path).up().down()
    first, _ = sorted((tmp_path / "state" / "journals").glob("*/*.segment"))
    os.truncate(first, first.stat().st_size - 100)
    third = Running(reactor, tmp_path).up()
    journal = third.gateway.journal
    third.until(lambda: third.gateway.figures.alarms)
    journal.commit_now()
    third.until(lambda: journal.durable + 1 == journal.next_jseq)
    since = sound_segments(journal.folder)[-1].first_jseq
    with JournalReader(journal.folder, since=since) as reader:
        events = [json.loads(record.body) for record in reader if record.kind == Kind.EVENT]
    found = [event for event in events if event["kind"] == "gateway.journal"]
    assert found[0]["event"]["state"] == "alarm"
    assert str(first) in found[0]["event"]["sentence"]
    third.down()


def test_whom_recordings_are_sealed_for_changes_with_a_restart_only(running: Running) -> None:
    """The writer has its keys from its start: a configuration in force that says otherwise would lie."""
    old = running.gateway.config
    recipient = Encryption(recipients=("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",))
    new = attrs.evolve(old, encryption=recipient)
    assert in_force(old, new).encryption == old.encryption
    assert needs_restart(old, new) == ["encryption.recipients"]


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
