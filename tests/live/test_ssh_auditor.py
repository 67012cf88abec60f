"""What an auditor sees of real SSH sessions: ssh, sftp, scp, rsync, -L, and what was refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator

import pytest

from hoopproxy.inert import inert

from .certificates import Certificates
from .ssh_day import SECRET, Day, day_folder
from .terminals import Driven

pytestmark = pytest.mark.live

OURS = re.compile(r"\x1b\[(?:\d+;\d+H|[0-9;]*m|K|2J|\?25[hl])|\r|\n")
"""All that a player writes besides text."""


@pytest.fixture(scope="module")
def day(certificates: Certificates) -> Iterator[Day]:
    """One for all: it takes some seconds."""
    made = Day(certificates, day_folder())
    try:
        made.work()
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def stories(day: Day) -> list[str]:
    """``audit show`` of each session, oldest first."""
    sessions = [json.loads(line)["session"] for line in day.audit("sessions", "--json").splitlines()]
    assert len(sessions) == 7
    found = [day.audit("show", session) for session in sessions]
    assert all(line == inert(line) for story in found for line in story.splitlines())
    assert not [story for story in found if SECRET.decode() in story]
    return found


def test_a_shell_is_told_by_its_commands(stories: list[str]) -> None:
    """Each with how it is known; the terminal, its sizes, the variables, the status."""
    (story, *_) = stories
    assert "$ echo seen-$((40+2))  [inferred from the screen]" in story
    assert "typed: cd /" in story
    assert "80x24, channel 0" in story
    assert "the terminal is 100x30 now, channel 0" in story
    assert "environment LANG=" in story
    assert "-> exit 3 after " in story
    assert "client's leg: " in story
    assert "no TLS" not in story


def test_a_program_that_was_killed_says_by_what(stories: list[str]) -> None:
    """A signal is no exit status."""
    assert "-> killed by signal TERM after " in stories[1]
    assert "10 bytes out, 10 bytes of errors" in stories[1]


def test_files_are_told_with_their_bytes_and_digests(day: Day, stories: list[str]) -> None:
    """By sftp, scp and rsync; what failed and what was refused, too."""
    one, two = (hashlib.sha256((day.local / name).read_bytes()).hexdigest() for name in ("one", "two"))
    _, _, sftp, scp, rsync, *_ = stories
    assert f"sftp upload {day.there}/one  (write, create, truncate; mode 0666; in #1)" in sftp
    assert f"sftp download {day.there}/two  (read; in #1)" in sftp
    assert f"SHA-256 of what was written: {one}" in sftp
    assert f"SHA-256 of what was read: {two}" in sftp
    assert "-> ERROR NO_SUCH_FILE: No such file" in sftp
    assert "SFTP RMDIR REFUSED" in sftp
    assert "scp upload one  (mode 0666; 9 bytes; in #1)" in scp
    assert f"SHA-256 of what was written: {one}" in scp
    assert "rsync upload two" in rsync
    assert f"SHA-256 of what was written: {one}" in rsync


def test_connections_are_told_with_both_ends_and_their_bytes(day: Day, stories: list[str]) -> None:
    """What went through ``-L``, and what was not let through."""
    story = stories[5]
    assert f" to 127.0.0.1:{day.answers}  (channel " in story
    assert "forward closed: 4 bytes sent, 8 bytes received" in story
    assert f"to 127.0.0.1:{day.refused}, channel " in story
    assert "REFUSED" in story


def test_what_a_role_refuses_is_told(stories: list[str]) -> None:
    """The command, and why not."""
    assert "EXEC REFUSED" in stories[6]
    assert "cat /etc/shadow" in stories[6]


def test_the_timeline_and_the_tail_have_a_line_each(day: Day) -> None:
    """Everything in order, without what only repeats it."""
    timeline, tail = day.audit("timeline", "--from", "1h"), day.audit("tail", "--limit", "0")
    for line in (*timeline.splitlines(), *tail.splitlines()):
        assert line == inert(line)
    for said in (
        "command.observed cd /  [inferred from the screen]",
        "command.completed exit 3, ",
        "command.completed killed by signal TERM, ",
        f"transfer.completed sftp upload {day.there}/one, 9 bytes written, SHA-256 ",
        "forward.closed 4 bytes sent, 8 bytes received, ",
        "session.note the terminal is 100x30 now, channel 0",
    ):
        assert said in timeline
        assert said in tail
    assert "session.input cd /" in tail
    assert "session.input" not in timeline


def test_what_was_shown_is_found_and_what_was_hidden_is_not(day: Day) -> None:
    """By the index of the running gateway: output of a shell, of a pager, of a program; no password."""
    found = [json.loads(line) for line in day.audit("search", "seen 42", "--json").splitlines()]
    assert [(each["kind"], each["event"]) for each in found] == [
        ("recording.output", {"channel": "0", "text": "seen-42"})
    ]
    only = ("--kind", "recording.output", "--json")
    assert json.loads(day.audit("search", '"root x 0 0"', *only).splitlines()[0])["event"]["channel"] == "0"
    (stderr,) = [json.loads(line) for line in day.audit("search", "stderr", *only).splitlines()]
    assert stderr["event"]["text"] == "to-stderr"
    assert day.audit("search", SECRET.decode(), "--json") == ""
    assert SECRET.decode().split("-")[0].lower() not in day.audit("search", "hunter2", "--json").lower()


def test_a_shell_is_played_as_it_looked_and_nothing_else_reaches_the_terminal(day: Day) -> None:
    """On a real terminal: colours, the full screen, the new size; no clipboard, title, report or mode."""
    gateway = day.through.gateway
    (first, *_) = [json.loads(line)["session"] for line in day.audit("sessions", "--json").splitlines()]
    argv = [gateway.python, "-m", "hoopproxy.cli", "audit", "replay", first, "--state", str(gateway.state)]
    environment = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    player = Driven([*argv, "--speed", "4"], day.folder, environment, r" end\x1b", (120, 40))
    player.settle(1.0)
    player.close()
    played = b"".join(data for side, data in player.talk if side == 1).decode("utf-8", "replace")
    _, _, played = played.partition("\x1b[2J")
    assert "seen-42" in played
    assert "\x1b[0;1;31mred" in played
    assert "\x1b[0;48;5;24mblue" in played
    assert "root:x:0:0" in played
    assert "100x30" in played
    assert "17 characters" in played
    rest = OURS.sub("", played)
    assert rest == inert(rest)
    assert "owned" not in rest.replace("\\033]0;owned", "")
    assert SECRET.decode() not in rest
