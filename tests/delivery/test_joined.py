"""Formats in which an operation is one line: what is open, for how long, and over a restart."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred

from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.writer import Journal

from .delivering import Delivering, command, sink

ALL = ("command.requested", "command.result", "command.completed")


def test_a_command_is_one_line_in_a_format_that_joins(files: MemoryFiles, journal: Journal) -> None:
    """An analyst counts commands, not records."""
    command(journal, "one", *ALL)
    command(journal, "two", "command.requested")
    there = Delivering(files, sink(format="ocsf")).start()
    (one,) = there.plugin.accepted
    said = json.loads(one.body)
    assert said["class_uid"] == 6005
    assert one.kind == "command.completed"
    assert one.format == "ocsf"
    command(journal, "two", "command.result", "command.completed")
    there.poke(journal)
    assert len(there.plugin.accepted) == 2
    assert "SELECT 'two'" in there.plugin.accepted[1].body.decode()


def test_what_is_open_survives_a_restart_and_is_one_line_still(files: MemoryFiles, journal: Journal) -> None:
    """Its beginning is before the cursor; without the state, its end would be an orphan."""
    command(journal, "one", "command.requested")
    first = Delivering(files, sink(format="ocsf")).start()
    assert first.plugin.accepted == []
    first.follower.stop()
    again = Delivering(files, sink(format="ocsf")).start()
    command(journal, "one", "command.result", "command.completed")
    again.poke(journal)
    (one,) = again.plugin.accepted
    assert "SELECT 'one'" in one.body.decode()


def test_a_stop_in_the_middle_of_a_batch_forgets_nothing_of_what_is_joined(
    files: MemoryFiles, journal: Journal
) -> None:
    """The batch comes again; what is saved must be from before it, or its ends meet no beginnings."""
    command(journal, "one", "command.requested")
    first = Delivering(files, sink(format="ocsf")).start().turn(1.0)
    first.plugin.answers.append(Deferred())
    command(journal, "one", "command.result", "command.completed")
    first.poke(journal)
    first.follower.stop()
    again = Delivering(files, sink(format="ocsf")).start()
    (one,) = again.plugin.accepted
    assert "SELECT 'one'" in one.body.decode()


def test_a_command_that_takes_long_is_told_once_as_started(files: MemoryFiles, journal: Journal) -> None:
    """A query that runs for an hour must not be unknown to the SIEM for an hour."""
    command(journal, "slow", "command.requested")
    there = Delivering(files, sink(format="ocsf")).start()
    for _ in range(30):
        there.turn(1.0)
    assert len(there.plugin.accepted) == 1
    assert there.plugin.accepted[0].kind == "command.requested"
    command(journal, "slow", "command.result", "command.completed")
    there.poke(journal)
    assert [each.kind for each in there.plugin.accepted] == ["command.requested", "command.completed"]
    assert {each.event["op"] for each in there.plugin.accepted} == {"slow"}


def test_a_started_command_waits_for_a_sink_that_is_down(files: MemoryFiles, journal: Journal) -> None:
    """What is due by time is retried like what is due by a record."""
    command(journal, "slow", "command.requested")
    there = Delivering(files, sink(format="ocsf")).start()
    there.plugin.answers += [OSError(111, "Connection refused")] * 3
    for _ in range(40):
        there.turn(1.0)
    assert len(there.plugin.accepted) == 1


@pytest.mark.parametrize("name", ["ocsf", "ecs", "cef", "leef"])
def test_every_format_is_one_line_within_the_limit(files: MemoryFiles, journal: Journal, name: str) -> None:
    """Whatever a client wrote, and however long."""
    command(journal, "one", *ALL, text="SELECT '\n<34>1 forged'" + "x" * 500_000)
    there = Delivering(files, sink(format=name, max_event_bytes=8192)).start()
    (one,) = there.plugin.accepted
    assert b"\n" not in one.body
    assert len(one.body) <= 8192
