"""``hoopproxy audit tail``, and what all the audit commands share: pipes, terminals, pagers, help."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.cli.audit.essence import one_line
from hoopproxy.cli.audit.paint import inert_json, painted
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.events import CATALOGUE, GatewayStopped
from hoopproxy.inert import cells, inert
from hoopproxy.reading.answers import Progress
from tests.cli.trail import Trail
from tests.protocols.postgres.talk import query, refuse

HOOPPROXY = (sys.executable, "-m", "hoopproxy.cli")


def audit(*words: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path)
    session = made.session(decide=refuse("DROP"))
    session.asks("SELECT\n'\x1b[31m\u2028'")
    session.client(query("DROP TABLE t"))
    session.end()
    made.say(GatewayStopped(sessions_closed=0, seconds=5), outcome="success")
    return made


def test_an_event_is_one_line_whatever_is_in_it(trail: Trail) -> None:
    """A statement can't forge the next line."""
    lines = audit("tail", "--state", trail.state).stdout.strip("\n").split("\n")
    assert len(lines) == len(audit("tail", "--state", trail.state, "--json").stdout.strip("\n").split("\n"))
    assert all(line == inert(line) for line in lines)
    assert "00000001 alice@app command.requested SELECT\\n'\\x1b[31m\\u2028'" in lines[1]
    assert "command.denied the role test refuses DROP  DROP TABLE t" in "\n".join(lines)
    assert "- - gateway.stopped" in lines[-1]


@pytest.mark.parametrize(
    "command", [("sessions",), ("show", "last"), ("tail",), ("search",), ("timeline", "--from", "1h")]
)
def test_a_mistyped_filter_is_not_taken_for_nothing_found(trail: Trail, command: tuple[str, ...]) -> None:
    """An auditor who asks for "comand.denied" read from the silence that nothing was denied."""
    where = ("--state", trail.state)
    typed = audit(*command, *where, "--kind", "comand.denied")
    assert (
        "note: 'comand.denied' is no kind of event that is known here; did you mean command.denied?"
        in typed.stderr
    )
    assert "is no kind" not in audit(*command, *where, "--kind", "command", "--kind", "*.denied").stderr
    bad = audit(*command, *where, "--outcome", "denyed")
    assert bad.exit_code == 2
    assert "'denyed' is no outcome; say success, failure, denied, skipped or unknown" in bad.stderr
    assert audit(*command, *where, "--outcome", "denied", "--outcome", "f*").exit_code == 0


def test_the_last_are_shown_or_all_since(trail: Trail) -> None:
    """--since without --limit means all of them."""
    assert len(audit("tail", "--state", trail.state, "-n", 2).stdout.strip("\n").split("\n")) == 2
    everything = audit("tail", "--state", trail.state, "-n", 0, "--json").stdout.strip("\n").split("\n")
    since = (
        audit("tail", "--state", trail.state, "--since", "2023-11-14", "--json")
        .stdout.strip("\n")
        .split("\n")
    )
    assert since == everything
    assert [json.loads(line)["kind"] for line in everything][-1] == "gateway.stopped"


def test_filters_hold_for_a_tail(trail: Trail) -> None:
    """The same ones as everywhere."""
    lines = (
        audit("tail", "--state", trail.state, "--outcome", "denied", "--json").stdout.strip("\n").split("\n")
    )
    assert [json.loads(line)["kind"] for line in lines] == ["command.denied"]


@pytest.mark.parametrize("kind", sorted(CATALOGUE))
def test_a_line_can_be_made_of_whatever_an_event_lacks(kind: str) -> None:
    """Also on a narrow terminal, where it fits."""
    assert painted(one_line({"kind": kind}), False)
    event = {"kind": kind, "time": "2026-11-23T18:00:00.123456Z", "event": {"text": "x" * 500, "error": 5}}
    assert cells(painted(one_line(event, 100), False)) <= 110


def test_a_tail_that_is_followed_shows_what_comes_and_ends_at_ctrl_c(trail: Trail) -> None:
    """Exit 0: nothing went wrong."""
    command = [*HOOPPROXY, "audit", "tail", "-f", "--json", "-n", "1", "--state", str(trail.state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        trail.session("bob").end()
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert first["kind"] == "gateway.stopped"
    assert (second["kind"], second["identity"]["id"]) == ("session.start", "bob")
    assert process.returncode == 0
    assert b"Traceback" not in told


def test_a_pipe_that_is_closed_is_no_error(trail: Trail) -> None:
    """``| head -1`` is how people read."""
    session = trail.session()
    session.asks("SELECT '" + "x" * 900_000 + "'")
    command = [*HOOPPROXY, "audit", "tail", "-n", "0", "--state", str(trail.state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        told = process.stderr.read()
    assert b"Traceback" not in told
    assert b"BrokenPipe" not in told
    assert process.returncode == 0


def on_a_terminal(*words: object, **environment: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "PAGER": "cat", "TERM": "xterm", "COLUMNS": "100", **environment}
    command = [*HOOPPROXY, "audit", *map(str, words)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=env
    ) as process:
        os.close(theirs)
        parts, deadline = [], time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            parts.append(part)
        process.wait(timeout=60)
    os.close(ours)
    return b"".join(parts).decode()


def test_colours_are_for_terminals_and_the_data_has_none(trail: Trail) -> None:
    """The only escapes are our own, and NO_COLOR takes these too."""
    coloured = on_a_terminal("show", "last", "--state", trail.state)
    assert "\x1b[1m" in coloured
    assert "\\x1b[31m" in coloured
    assert "\x1b[31m'" not in coloured
    assert "\u2028" not in coloured
    assert "\x1b" not in on_a_terminal("show", "last", "--state", trail.state, NO_COLOR="1")


def test_json_on_a_terminal_is_inert_too(trail: Trail) -> None:
    """JSON escapes C0 and lets C1, DEL and bidirectional controls through."""
    told = on_a_terminal("tail", "--kind", "command.requested", "--json", "--state", trail.state)
    assert "\u2028" not in told
    assert "\\u2028" in told
    assert json.loads(told)["event"]["text"] == "SELECT\n'\x1b[31m\u2028'"


@pytest.mark.parametrize(
    "text", ["\x7f", "\x9b6n", "\u202e", "\u2028", "\U000e0041", "\ufeff", "é", "日本", "\U0001f600"]
)
def test_inert_json_is_the_same_json(text: str) -> None:
    """Also for what needs two escapes."""
    line = json.dumps({"a": text}, ensure_ascii=False)
    made = inert_json(line)
    assert json.loads(made) == {"a": text}
    assert inert(made) == made


def test_a_bar_is_shown_when_it_takes_long_and_only_to_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it in a pipe, and it is gone before the first line."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    from hoopproxy.cli.audit import screen

    for stream, wanted in ((Terminal(), True), (io.StringIO(), False)):
        now = iter([0.0, 1.0, 3.0, 4.0, 5.0])
        monkeypatch.setattr(sys, "stderr", stream)
        bar = screen.Bar(stream.isatty(), lambda now=now: next(now))  # type: ignore[misc]
        for done in (1, 2, 3):
            bar.update(Progress(done, 10))
        bar.close()
        assert ("reading the journal" in stream.getvalue()) is wanted


def test_progress_is_not_part_of_the_answer() -> None:
    """It is for standard error alone."""
    assert list(Screen().pieces([Progress(1, 2)])) == []


@pytest.mark.parametrize("command", ["sessions", "show", "replay", "tail"])
def test_the_help_has_examples(command: str) -> None:
    """That is what people read."""
    assert f"hoopproxy audit {command}" in audit(command, "--help").stdout
    assert "Exit codes" in audit("--help").stdout
