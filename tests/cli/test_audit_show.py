"""``hoopproxy audit show``: the story, whole and filtered, hostile data in it, and kinds that nobody knows
yet."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.cli.audit.paint import painted
from hoopproxy.cli.audit.story import Story
from hoopproxy.cli.audit.words import duration, moment, size
from hoopproxy.events import CATALOGUE, LoginSucceeded
from hoopproxy.inert import inert
from tests.cli.trail import Trail
from tests.live.terminals import Driven
from tests.protocols.postgres.talk import (
    BOUND,
    PARSED,
    SYNC,
    bind,
    complete,
    error,
    execute,
    m,
    parse,
    query,
    ready,
    refuse,
    row,
)

HOSTILE = "SELECT '\x1b]52;c;aGk=\x07\x9b6n\u202e\u2028\x00../../etc/passwd'"


def audit(*words: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path)


def story(trail: Trail, *words: object) -> str:
    result = audit("show", "last", "--state", trail.state, *words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_session_is_told_from_log_in_to_balance(trail: Trail) -> None:
    """Who, from where, how, what ran, what came back, what was refused, how it ended."""
    session = trail.session(decide=refuse("DROP"))
    session.recorder.event(LoginSucceeded(method="password", name="alice", listener="pg"), outcome="success")
    session.client(
        parse("SELECT * FROM t WHERE id = $1", "st", (25,)) + bind(b"42", statement="st") + execute() + SYNC
    )
    session.target(PARSED + BOUND + row(b"x") + complete("SELECT 1") + ready())
    session.client(query("DROP TABLE t"))
    session.asks("SELECT boom", error("42P01", "no such relation", D="really not"))
    session.end()
    told = story(trail)
    for part in (
        "Session 00000000-0000-7000-8000-000000000001",
        "alice logged in by password, vouched for by file",
        "from 10.0.0.7 port 51234",
        "TLSv1.3 with TLS_AES_256_GCM_SHA384",
        "connected to app as app_ro, database shop, by role reader",
        "#1 SELECT, statement st",
        "SELECT * FROM t WHERE id = $1",
        "$1 = 42",
        "-> SELECT 1, 1 row,",
        "#2 DROP REFUSED",
        "refused, policy (by role:test): the role test refuses DROP",
        "-> ERROR 42P01: no such relation",
        "detail: really not",
        "failed after",
        "ended: closed",
        "2 commands, 1 refused",
        "every byte is accounted for",
    ):
        assert part in told, part


def test_a_pipeline_says_which_result_is_whose(trail: Trail) -> None:
    """Results come long after their commands."""
    session = trail.session()
    for number in range(3):
        session.client(parse(f"SELECT {number}") + bind() + execute())
    session.client(SYNC)
    session.target((PARSED + BOUND + complete("SELECT 0")) * 3 + ready())
    assert [line.strip() for line in story(trail).splitlines() if "->" in line] == [
        f"-> #{number} SELECT 0, 0 rows, 14 bytes" for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_hostile_text_is_inert(trail: Trail, as_json: bool) -> None:
    """The clipboard, the title and the cursor of whoever reads the trail are not the client's to move."""
    session = trail.session()
    session.asks(HOSTILE.replace("\0", ""), error("XX000", "\x1b[2J\x07"))
    session.client(parse("SELECT $1") + bind("\x1b]0;t\x07\n\u202e\0".encode()) + execute() + SYNC)
    session.target(PARSED + BOUND + complete("SELECT 0") + ready())
    session.end()
    told = story(trail, *(["--json"] if as_json else []))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", told)
    if as_json:
        assert HOSTILE.replace("\0", "") in [
            json.loads(line)["event"].get("text") for line in told.strip("\n").split("\n")
        ]
    else:
        assert all(line == inert(line) for line in told.splitlines())
        assert "\\x1b]52;c;" in told


def test_long_and_invalid_text_is_told_as_far_as_it_goes(trail: Trail) -> None:
    """A megabyte stays on its line; bytes of no encoding are not dropped."""
    session = trail.session()
    session.asks("SELECT '" + "x" * 1_000_000 + "'", complete("SELECT 0"))
    session.client(m("Q", b"SELECT '\xff\xfe'\0"))
    session.target(complete("SELECT 0") + ready())
    session.client(query("SELECT '" + "y" * 2_000_000 + "'"))
    session.target(complete("SELECT 0") + ready())
    told = story(trail)
    assert max(map(len, told.splitlines())) > 1_000_000
    assert "SELECT '\\xff\\xfe'" in told
    assert "SHA-256" in told


def test_filters_choose_events(trail: Trail) -> None:
    """Of a long session only what is asked for."""
    session = trail.session()
    for word in ("salary", "weather"):
        session.asks(f"SELECT {word}", complete("SELECT 0"))
    told = story(trail, "--kind", "command", "--text", "SALARY")
    assert "SELECT salary" in told
    assert "weather" not in told
    lines = story(trail, "--kind", "command.requested", "--json").splitlines()
    assert [json.loads(line)["event"]["text"] for line in lines] == ["SELECT salary", "SELECT weather"]


def test_json_is_what_was_sealed_byte_for_byte(trail: Trail) -> None:
    """Its hash must be checkable."""
    from hoopproxy.events import canonical

    trail.session().end()
    lines = story(trail, "--json").splitlines()
    assert lines
    assert all(canonical(json.loads(line)).decode() == line for line in lines)


def test_no_such_session_is_exit_code_three(trail: Trail) -> None:
    """For scripts."""
    trail.session().end()
    result = audit("show", "00000009", "--state", trail.state)
    assert result.exit_code == 3
    assert "did you mean 00000000-0000-7000-8000-000000000001" in result.stderr
    hostile = audit("show", "\x1b[31mabcdef", "--state", trail.state)
    assert "\x1b" not in hostile.output


def test_a_kind_of_tomorrow_is_told_by_its_fields() -> None:
    """A journal outlives the version that reads it."""
    event = {
        "kind": "approval.granted",
        "mono": 5,
        "event": {"by": "carol", "for": {"minutes": 5}},
        "reason": "why",
    }
    told = "\n".join(painted(line, False) for line in Story().tell(event))
    assert "approval.granted: why" in told
    assert "by: carol" in told
    assert "for: minutes=5" in told


@pytest.mark.parametrize("kind", sorted(CATALOGUE))
@pytest.mark.parametrize(
    "said", [{}, None, [], {"text": 5, "range": "x", "rows": "y", "error": 7, "client": 3}]
)
def test_an_event_that_lacks_everything_is_still_told(kind: str, said: object) -> None:
    """Fields are only ever added; a reader that needs one of them fails on yesterday's journal."""
    told = [painted(line, True) for line in Story().tell({"kind": kind, "event": said, "mono": None})]
    assert any(kind.split(".")[0] in line or line.strip() for line in told)


def test_totals_that_do_not_add_up_are_pointed_at() -> None:
    """The one line that matters most."""
    said = {"client": {"received": 10, "decoded": 9}, "target": {}, "balanced": False, "commands": 1}
    told = "\n".join(
        painted(line, False) for line in Story().tell({"kind": "session.end", "event": said, "mono": 1})
    )
    assert "does not add up" in told
    assert "THE BYTE TOTALS DO NOT BALANCE" in told


def test_numbers_are_told_with_their_units() -> None:
    """Whoever reads them does not count digits."""
    assert [
        duration(n)
        for n in (0, 999_000, 1_500_000, 999_900_000, 3_210_000_000, 125_000_000_000, 90_000 * 10**9)
    ] == [*("0 us", "999 us", "1.5 ms", "1 s", "3.21 s", "2 min 5 s", "1 d 1 h")]
    assert [size(n) for n in (1, 9_999, 10_240, 3 << 30)] == ["1 byte", "9,999 bytes", "10.0 KiB", "3.0 GiB"]
    assert [moment(n) for n in (12_000_000, 61_000_000_000, 3_723_400_000_000, None)] == [
        *("+0.012", "+1:01.000", "+1:02:03.400", "+?")
    ]


@pytest.mark.parametrize("pager", ["sed s/^/PAGED:/", "head -n 1"])
def test_a_long_story_goes_through_the_persons_own_pager(trail: Trail, pager: str) -> None:
    """On a terminal only; whoever leaves it early has seen enough, and is told of no broken pipe."""
    session = trail.session()
    for number in range(2000):
        session.asks(f"SELECT {number}")
    session.end()
    argv = [sys.executable, "-m", "hoopproxy.cli", "audit", "show", "last", "--state", str(trail.state)]
    around = {"PYTHONPATH": ":".join(each for each in sys.path if each), "PAGER": pager, "NO_COLOR": "1"}
    driven = Driven(["sh", "-c", '"$@"; echo "exit=$?"', "sh", *argv], trail.state, around, r"exit=\d+")
    try:
        said = b"".join(data for way, data in driven.talk if way == 1).decode()
    finally:
        driven.close()
    assert said.endswith("exit=0\r\n")
    assert "rror" not in said
    assert "Traceback" not in said
    if pager.startswith("sed"):
        assert said.count("PAGED:") > 2000
    else:
        assert (said.count("Session 0"), "SELECT" in said) == (1, False)
