"""A running gateway reads its configuration again: what changes, what stays, what is refused."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from .running import TOML, Running


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


def test_longer_statements_have_room_in_the_journal_from_then_on(running: Running) -> None:
    """Else one that is now allowed, in the journal at once, had everybody's commands refused as "lagging"."""
    journal = running.gateway.journal
    before = journal.options.queue_limit
    running.write(TOML + "[limits]\nmax_statement = 536870912\n")
    assert reload(running)["reloaded"]
    assert journal.options.queue_limit - before == 536_870_912 - (64 << 20)
    assert journal._refusals.options is journal.options
    running.write(TOML)
    assert reload(running)["reloaded"]
    assert journal.options.queue_limit > 512 << 20, "sessions of before may still send as much"


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
