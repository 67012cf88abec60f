"""``hoopproxy audit sessions``: the table, its JSON, and the sentences of what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.cli.audit.sessions import table
from hoopproxy.reading.summary import SessionSummary
from tests.cli.trail import Trail
from tests.protocols.postgres.talk import query, refuse


def audit(*words: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path)
    session = made.session(decide=refuse("DROP"))
    session.selects("SELECT 1", ("a",), (b"1",))
    session.client(query("DROP TABLE t"))
    session.end()
    made.session("bob\x1b[31m\u202e").selects("SELECT 2", ("a",), (b"1",))
    return made


def test_the_table_has_a_line_a_session_and_marks_the_live_one(trail: Trail) -> None:
    """The first thing that an auditor looks at."""
    result = audit("sessions", "--state", trail.state)
    assert result.exit_code == 0
    heading, first, second = result.stdout.splitlines()
    assert heading.split()[:3] == ["SESSION", "STARTED", "(UTC)"]
    assert first.split() == [
        *("00000001", "2023-11-14", "22:13:20"),
        *first.split()[3:5],
        *("alice", "password", "10.0.0.7:51234", "app/app_ro/shop", "1", "1", "1"),
        *first.split()[12:14],
        "closed",
    ]
    assert second.rstrip().endswith("live")
    assert "not audited" in result.stderr


def test_hostile_names_are_inert_in_the_table(trail: Trail) -> None:
    """An identity provider's names are data as well."""
    out = audit("sessions", "--state", trail.state).stdout
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "bob\\x1b[31m\\u202e" in out


def test_json_is_an_object_a_line(trail: Trail) -> None:
    """For a program, nothing rounded."""
    lines = audit("sessions", "--state", trail.state, "--json").stdout.splitlines()
    first, second = map(json.loads, lines)
    assert (first["identity"], first["state"], first["denied"]) == ("alice", "ended", 1)
    assert second["state"] == "live"
    assert second["identity"] == "bob\x1b[31m\u202e"


def test_the_filters_are_those_of_the_command_line(trail: Trail) -> None:
    """Each option ends in the right field."""
    wanted = ("--identity", "alice", "--target", "app", "--protocol", "postgres", "--kind", "command.denied")
    more = ("--text", "drop", "--outcome", "denied", "--since", "2023-11-14", "--until", "2023-11-15")
    lines = audit("sessions", "--state", trail.state, "--json", *wanted, *more).stdout.splitlines()
    assert [json.loads(line)["identity"] for line in lines] == ["alice"]
    assert audit("sessions", "--state", trail.state, "--since", "1h").stdout == "no session matches\n"


def test_what_a_limit_leaves_out_is_counted_on_standard_error(trail: Trail) -> None:
    """Not in the answer, where a program would trip over it."""
    result = audit("sessions", "--state", trail.state, "--limit", 1, "--json")
    assert len(result.stdout.splitlines()) == 1
    assert "1 older ones are left out" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), 2, "--config FILE or --control SOCKET"),
        (("--state", ".", "--control", "x"), 2, "once"),
        (("--state", "/nowhere"), 1, "[gateway] state"),
        (("--journal", "/tmp"), 1, "not a journal"),
        (("--control", "/nowhere/control.sock"), 1, "--state DIR"),
        (("--config", "/nowhere.toml"), 1, "No such file"),
        (("--state", ".", "--since", "soon"), 2, "1h, 2d"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_an_exit_code(
    words: tuple[str, ...], code: int, sentence: str
) -> None:
    """Both are documented in --help."""
    result = audit("sessions", *words)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_a_journal_can_be_read_by_itself(trail: Trail) -> None:
    """As it comes out of a backup."""
    assert len(audit("sessions", "--journal", trail.folder.path, "--json").stdout.splitlines()) == 2


def test_damage_is_told_with_its_place_and_fails(trail: Trail) -> None:
    """An auditor must not take a part for the whole."""
    path = trail.folder.segment(trail.folder.segments()[0])
    data = bytearray(path.read_bytes())
    data[400] ^= 255
    path.write_bytes(data)
    result = audit("sessions", "--state", trail.state)
    assert result.exit_code == 1
    assert f"{path}: damaged at byte" in result.stderr


def test_a_session_that_does_not_balance_stands_out() -> None:
    """Promise 1 was broken there, and a table must say so."""
    odd = SessionSummary(session="0" * 36, state="ended", how="closed", balanced=False)
    lines = ["".join(text for _, text in line) for line in table([odd])]
    assert "bytes unaccounted for" in lines[1]
