"""``hoopproxy audit export``: a session as a file, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.cli.audit.spool import Spool
from hoopproxy.reading.answers import encode_line
from hoopproxy.reading.journals import at_rest
from hoopproxy.reading.scope import EVERYTHING
from hoopproxy.reading.sessions import exported, find_session
from tests.cli.trail import Trail
from tests.ledger.sealed import House
from tests.protocols.postgres.talk import complete


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path / "state")
    session = made.session("alice")
    session.selects("SELECT name FROM people", ("name",), (b"Ada <b>Lovelace</b>",))
    session.asks("CREATE USER eve PASSWORD 'open-sesame'", complete("CREATE ROLE"))
    session.end()
    return made


def run(trail: Trail, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", "export", "last", "--state", str(trail.state), *arguments])


def test_a_page_tells_the_story_and_shows_what_was_seen(trail: Trail) -> None:
    """What an auditor attaches to a ticket."""
    done = run(trail, "--format", "html")
    assert done.exit_code == 0, done.output
    assert "connected to app as app_ro" in done.stdout
    assert "Ada &lt;b&gt;Lovelace&lt;/b&gt;" in done.stdout
    assert "has no ledger" in done.stdout


def test_a_recording_can_be_gone_through_twice_at_one_time(trail: Trail) -> None:
    """A page is made of two passages, an archive of many."""
    found = find_session(at_rest(trail.state), "last", EVERYTHING)
    with Spool(exported(found, EVERYTHING), Screen()) as spool:
        once = [encode_line(piece) for piece in spool.pieces()]
        assert len(once) > 10
        assert all(one == other for one, other in zip(spool.pieces(), spool.pieces(), strict=True))
        assert [encode_line(piece) for piece in spool.pieces()] == once


@pytest.mark.parametrize("form", ["jsonl", "csv", "html", "pcapng"])
def test_no_export_holds_a_secret(trail: Trail, form: str) -> None:
    """What was redacted stays so in whatever form."""
    out = trail.state.parent / f"session.{form}"
    assert run(trail, "--format", form, "-o", str(out)).exit_code == 0
    data = out.read_bytes()
    assert b"open-sesame" not in data
    assert b"secret-of-alice" not in data
    assert b"people" in data
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("form", "lacks"), [("asciicast", "has no terminal"), ("har", "has no HTTP requests")]
)
def test_a_session_that_has_none_says_so(trail: Trail, form: str, lacks: str) -> None:
    """An empty file would look like an empty session."""
    out = trail.state.parent / "x"
    done = run(trail, "--format", form, "-o", str(out))
    assert done.exit_code == 1
    assert f"{lacks}: it is postgres" in done.stderr
    assert not out.exists()


def test_the_checkpoint_that_covers_it_is_named(tmp_path: Path) -> None:
    """From the ledger's own files; one that is too old is said to be."""
    house = House(tmp_path / "state")
    house.work(5, "alice")
    for newer, covers in ((False, True), (True, False)):
        if newer:
            session = house.trail.session("alice")
            session.selects("SELECT 1", ("n",), (b"1",))
            session.end()
            house.trail.journal.commit_now()
        done = run(house.trail, "--format", "jsonl")
        first = json.loads(done.stdout.splitlines()[0])["export"]["checkpoints"][0]
        assert first["covers"] is covers
        assert first["checkpoint"] == house.store.read("checkpoint").decode()
    (house.store.path / "checkpoint").write_bytes(b"\xff\xfe")
    assert "can't be read" in run(house.trail, "--format", "jsonl").stderr


def test_half_a_session_is_not_exported(trail: Trail) -> None:
    """A file that lacks its end looks whole to whoever gets it."""
    trail.stop()
    (segment,) = [trail.folder.segment(number) for number in trail.folder.segments()]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    out = trail.state.parent / "x.jsonl"
    done = run(trail, "--format", "jsonl", "-o", str(out))
    assert done.exit_code == 1
    assert "damaged" in done.stderr
    assert not out.exists()


def test_a_file_that_can_not_be_written_leaves_nothing_behind(trail: Trail) -> None:
    """Not even half of it under another name."""
    missing = trail.state.parent / "nowhere" / "x.csv"
    assert run(trail, "--format", "csv", "-o", str(missing)).exit_code == 1
    folder = trail.state.parent / "taken"
    (folder / "x").mkdir(parents=True)
    assert run(trail, "--format", "csv", "-o", str(folder / "x")).exit_code == 1
    assert os.listdir(folder) == ["x"]
