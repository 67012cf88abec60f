"""The process that reads: one line in, lines out, nothing but what its scope covers, and it ends with its
input."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoopproxy.reading.answers import EventLine, Problem, Question, decode_line
from hoopproxy.reading.ask import request
from hoopproxy.reading.scope import EVERYTHING, NOTHING, Scope
from hoopproxy.trail import _input_is_open, reply
from tests.cli.trail import Trail
from tests.index.ssh import SSHPlayed
from tests.index.support import indexed

COMMAND = (sys.executable, "-m", "hoopproxy.trail")


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path)
    for who in ("alice", "bob"):
        made.session(who).end()
    return made


def replied(line: bytes) -> list[bytes]:
    written: list[bytes] = []
    reply(line, written.append, lambda: False)
    return b"".join(written).splitlines(keepends=True)


def test_a_request_is_answered_within_its_scope(trail: Trail) -> None:
    """The gateway's decision is all that stands between a reader and the others' sessions."""
    for scope, who in (
        (EVERYTHING, {"alice", "bob"}),
        (Scope(identities=frozenset({"bob"})), {"bob"}),
        (NOTHING, set()),
    ):
        lines = replied(request(trail.state, Question(action="tail"), scope))
        assert {json.loads(line)["identity"]["id"] for line in lines} == who


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null\n",
        b"{}\n",
        b'{"state": 5}\n',
        b"\xff\n",
        b'{"state":"/","scope":[],"question":{}}\n',
    ],
)
def test_a_request_that_is_none_is_a_problem(line: bytes) -> None:
    """And no traceback."""
    (answer,) = map(decode_line, replied(line))
    assert isinstance(answer, Problem)


def test_without_a_scope_nothing_is_shown(trail: Trail) -> None:
    """A field that got lost must not open the trail."""
    line = json.dumps({"state": str(trail.state), "scope": {}, "question": {"action": "tail"}}).encode()
    assert replied(line) == []


def test_a_search_looks_into_what_sessions_showed(tmp_path: Path) -> None:
    """The process that reads knows the protocols' readers, as a person's own does."""
    made = Trail(tmp_path)
    session = SSHPlayed(made)
    session.data(1, 0, b"only on the screen\r\n")
    session.end()
    made.stop()
    indexed(made.state, made.folder, targets_with_rows=("box",))
    (line,) = replied(request(made.state, Question(action="search", query="screen"), EVERYTHING))
    assert json.loads(line)["event"] == {"channel": "0", "text": "only on the screen"}
    assert replied(request(made.state, Question(action="search", query="screen"), NOTHING)) == []


def test_the_process_answers_and_ends(trail: Trail) -> None:
    """As the gateway starts it."""
    line = request(trail.state, Question(action="show", session="last"), EVERYTHING)
    done = subprocess.run(COMMAND, input=line, capture_output=True, timeout=20, check=True)
    answers = [decode_line(each) for each in done.stdout.splitlines(keepends=True)]
    assert [each.event["kind"] for each in answers if isinstance(each, EventLine)][-1] == "session.end"
    assert done.stderr == b""


def test_a_followed_tail_ends_with_its_input(trail: Trail) -> None:
    """A gateway that died must leave no process behind."""
    line = request(trail.state, Question(action="tail", follow=True, limit=1), EVERYTHING)
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["identity"]["id"] == "bob"
        trail.session("carol").end()
        assert json.loads(process.stdout.readline())["identity"]["id"] == "carol"
        process.stdin.close()
        assert process.wait(timeout=60) == 0


@pytest.fixture
def high() -> Iterator[tuple[int, int]]:
    """A pipe whose ends are above the 1,024 descriptors that ``select`` knows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1100:
        pytest.skip("the system lets this process have no such descriptor")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1100), hard))
    low = os.pipe()
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 1024) for end in low]
    for end in low:
        os.close(end)
    yield ends[0], ends[1]
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_end_of_its_input_is_seen_whatever_the_number(high: tuple[int, int]) -> None:
    """``select`` raises ValueError at 1,024: an answer would end there for whoever embeds this."""
    reading, writing = high
    assert min(high) >= 1024
    assert _input_is_open(reading)
    os.write(writing, b"more")
    assert _input_is_open(reading)
    assert _input_is_open(reading)
    os.close(writing)
    assert not _input_is_open(reading)
