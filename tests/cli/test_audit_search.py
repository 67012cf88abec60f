"""``hoopproxy audit search`` and ``index``: what is found, how it is told, and the way from there to the session."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.index.consumer import Index
from hoopproxy.index.shelf import folder_of
from tests.cli.trail import Trail
from tests.index.support import indexed, shelf_of
from tests.protocols.postgres.talk import complete


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path)
    for who, sql in (("alice", "ALTER TABLE customers ADD x int"), ("bob", "DROP TABLE \x1b[2J customers")):
        session = made.session(who)
        session.asks(sql, complete("ALTER TABLE"))
        session.end()
    return made


def run(trail: Trail, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", *arguments, "--state", str(trail.state)])


def test_matches_are_numbered_from_the_newest_and_lead_to_their_sessions(trail: Trail) -> None:
    """The next thing that an auditor does is to open one."""
    done = run(trail, "search", "customers", "--kind", "command")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("#2 ")
    assert "alice@app command.requested ALTER TABLE customers ADD x int" in lines[0]
    assert lines[1].startswith("#1 ")
    assert "\x1b" not in done.stdout
    assert f"hoopproxy audit show 00000002 --state {trail.state}" in lines
    opened = run(trail, *lines[-1].split()[2:4])
    assert "DROP TABLE" in opened.stdout


def test_a_match_opens_as_a_story_or_as_a_replay(trail: Trail) -> None:
    """Without copying an id."""
    told = run(trail, "search", "alter", "--show", "1")
    assert told.stdout.startswith("Session 00000000-0000-7000-8000-000000000001")
    again = run(trail, "search", "alter", "--replay", "1")
    assert "shop=> ALTER TABLE customers ADD x int" in again.stdout
    none = run(trail, "search", "alter", "--show", "2")
    assert none.exit_code == 1
    assert "no match 2" in none.stderr


def test_json_is_the_events_themselves(trail: Trail) -> None:
    """For the next program in the pipe."""
    indexed(trail.state, trail.folder)
    done = run(trail, "search", "drop", "--json", "--identity", "bob")
    assert [json.loads(line)["event"]["verb"] for line in done.stdout.splitlines()] == ["DROP"]


def test_a_search_for_nothing_is_wrong_usage(trail: Trail) -> None:
    """Every event of the trail is not what anybody looks for."""
    assert run(trail, "search").exit_code == 2
    assert run(trail, "search", "**").exit_code == 1
    assert "nothing matches" in run(trail, "search", "zebra").stdout


def test_the_index_is_shown_and_made_again(trail: Trail) -> None:
    """An operator who distrusts it throws it away."""
    assert "none" in run(trail, "index").stdout
    assert "sound" in run(trail, "index", "--rebuild").stdout
    assert "there is no index" not in run(trail, "search", "alter").stderr


def configured(trail: Trail, more: str = "", rows: bool = True) -> Path:
    """A gateway's configuration over this trail; people are at the target ``app``."""
    path = trail.state / "gateway.toml"
    (trail.state / "users").touch(mode=0o600)
    path.write_text(
        f"""
        [gateway]
        state = "{trail.state}"
        [[listener]]
        name = "pg"
        protocol = "postgres"
        listen = "tcp:6432"
        targets = ["app"]
        login = ["scram"]
        [[target]]
        name = "app"
        protocol = "postgres"
        connect = "tcp:127.0.0.1:5432"
        index_rows = {str(rows).lower()}
        [target.accounts.ro]
        user = "ro"
        [target.tls]
        mode = "off"
        [[checker]]
        type = "file"
        path = "users"
        [[role]]
        name = "staff"
        groups = ["staff"]
        targets = ["app"]
        account = "ro"
        {more}
        """
    )
    return path


@pytest.mark.parametrize("rows", [True, False])
def test_an_index_that_is_made_again_has_the_rows_that_the_configuration_wants(
    trail: Trail, rows: bool
) -> None:
    """Else a rebuild would silently make every row unfindable, or put those into the index that must not be there."""
    session = trail.session("carol")
    session.selects("SELECT name FROM people", ("name",), (b"zyxwvut",))
    session.end()
    done = CliRunner().invoke(
        main, ["audit", "index", "--rebuild", "--config", str(configured(trail, rows=rows))]
    )
    assert done.exit_code == 0, done.output
    found = b"".join(path.read_bytes() for path in folder_of(trail.state).rglob("*") if path.is_file())
    assert (b"zyxwvut" in found) == rows


def test_a_third_partys_sink_is_in_nobodys_way(trail: Trail) -> None:
    """What looks after journals and index need not have every library that the gateway delivers with."""
    path = configured(trail, '[[sink]]\nname = "siem"\ntype = "elsewhere"\naddress = { host = "siem" }')
    for words in (["audit", "index", "--rebuild"], ["journal", "compact", "--dry-run"]):
        done = CliRunner().invoke(main, [*words, "--config", str(path)])
        assert done.exit_code == 0, done.output


def test_no_index_is_made_again_where_there_is_to_be_none(trail: Trail) -> None:
    """With encryption, words in the clear would give away what it seals."""
    path = configured(trail, "[index]\nenabled = false")
    done = CliRunner().invoke(main, ["audit", "index", "--rebuild", "--config", str(path)])
    assert done.exit_code == 1
    assert "there is to be no index" in done.output


def test_an_index_that_a_gateway_keeps_is_left_alone(trail: Trail) -> None:
    """Two writers of one index would each undo the other."""
    other = Index(shelf_of(trail.state))
    other.hold()
    refused = run(trail, "index", "--rebuild")
    other.stop()
    assert refused.exit_code == 1
    assert "another process keeps this index" in refused.stderr
    assert run(trail, "index", "--rebuild").exit_code == 0
