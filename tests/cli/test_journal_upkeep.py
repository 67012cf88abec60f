"""``hoopproxy journal hold | erase | compact`` over a state directory at rest."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import Kind
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.retention import DAY_NS
from hoopproxy.journal.vault import Sealing
from hoopproxy.journal.writer import Journal

SMALL = JournalOptions(reserve_bytes=0, segment_bytes=2000)
ALICE, BOB = (str(uuid.UUID(bytes=letter * 16)) for letter in (b"a", b"b"))


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["journal", *map(str, words)])


def say(journal: Journal, key: int, kind: str, session: str, who: str, **more: Any) -> None:
    values = {
        "event": {"text": f"secret of {who}"},
        "identity": {"id": who},
        "kind": kind,
        "session": session,
        "target": {"name": "app"},
    }
    journal.append_event(orjson.dumps(values, option=orjson.OPT_SORT_KEYS), key, **more)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Alice's session that ended, Bob's that is open; both began 200 days ago."""
    started: list[int] = []

    def wall() -> int:
        import time

        return time.time_ns() - (200 - len(started)) * DAY_NS

    journal = Journal(Folder.acquire(tmp_path), options=SMALL, threaded=False, wall=wall)
    journal.start()
    for session, who in ((ALICE, "alice"), (BOB, "bob")):
        name = uuid.UUID(session).bytes
        key = journal.open_key(name)
        say(journal, key, "session.start", session, who, opens=name)
        journal.append_chunk(key, name, 0, 0, 0, 0, b"rows of " + who.encode())
        if who == "alice":
            say(journal, key, "session.end", session, who, closes=name)
        journal.commit_now()
        journal.roll()
        started.append(1)
    journal.stop()
    return tmp_path


def events(state: Path, kind: str) -> list[dict[str, Any]]:
    with JournalReader(journals(state)[0]) as reader:
        found = [json.loads(record.body) for record in reader if record.kind == Kind.EVENT]
    return [each for each in found if each["kind"] == kind]


def everything(state: Path) -> bytes:
    with JournalReader(journals(state)[0]) as reader:
        return b"".join(record.body for record in reader if b"audit." not in record.body)


def test_erase_first_says_what_it_would_do(state: Path) -> None:
    """It can't be undone."""
    result = run("erase", "--state", state, "--session", ALICE, "--reason", "request 7")
    assert "1 session would be erased" in result.output
    assert b"secret of alice" in everything(state)


@pytest.mark.parametrize("option", [("--session", ALICE), ("--identity", "alice")])
def test_erase_takes_the_contents_and_puts_order_and_outcome_on_record(
    state: Path, option: tuple[str, str]
) -> None:
    """What is left: stubs, and who ordered it, when and why, without the name of whose it was."""
    (state / "trail" / "cursors").mkdir(parents=True)
    (state / "trail" / "cursors" / "sink-siem.cursor").write_bytes(b'{"positions":{},"state":"","v":1}\n0\n')
    result = run("erase", "--state", state, *option, "--reason", "request 7", "--yes")
    assert result.exit_code == 0, result.output
    assert "3 records of 1 session erased" in result.output
    assert "sink-siem" in result.output
    left = everything(state)
    assert b"alice" not in left
    assert b"rows of bob" in left
    ordered, completed = events(state, "audit.erasure")
    assert ordered["event"]["sessions"] == [ALICE]
    assert (ordered["event"]["state"], ordered["event"]["reason"]) == ("ordered", "request 7")
    assert ordered["identity"]["id"].startswith("unix:")
    assert "alice" not in json.dumps([ordered["event"], completed["event"]])
    assert completed["event"]["records"] == 3
    assert run("check", "--state", state).exit_code == 0
    again = run("erase", "--state", state, *option, "--reason", "request 7", "--yes")
    assert "erased already" in again.output


def test_an_open_session_is_not_erased(state: Path) -> None:
    """Its next record would be there again."""
    result = run("erase", "--state", state, "--identity", "bob", "--reason", "r", "--yes")
    assert result.exit_code == 1
    assert "still open" in result.output
    assert b"secret of bob" in everything(state)


def test_a_hold_keeps_from_erasing_until_it_is_lifted(state: Path) -> None:
    """And both are on record, with who and why."""
    held = run("hold", "add", "--state", state, "--identity", "alice", "--reason", "case 12")
    assert held.exit_code == 0, held.output
    assert "identity alice" in run("hold", "list", "--state", state).output
    assert json.loads(run("hold", "list", "--state", state, "--json").output)["reason"] == "case 12"
    refused = run("erase", "--state", state, "--session", ALICE, "--reason", "r", "--yes")
    assert refused.exit_code == 1
    assert 'hold on identity "alice"' in refused.output
    assert b"secret of alice" in everything(state)
    assert run("hold", "remove", "--state", state, "--identity", "alice", "--reason", "over").exit_code == 0
    assert run("hold", "list", "--state", state).output == ""
    assert run("erase", "--state", state, "--session", ALICE, "--reason", "r", "--yes").exit_code == 0
    said = [(each["event"]["action"], each["event"]["reason"]) for each in events(state, "audit.hold")]
    assert said == [("add", "case 12"), ("remove", "over")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("hold", "add", "--reason", "r"), "say what, once"),
        (("hold", "remove", "--target", "x", "--reason", "r"), "no hold on target x"),
        (("erase", "--reason", "r"), "say whose, once"),
        (("erase", "--session", "x", "--reason", "r", "--yes"), "no session of that id"),
        (("compact",), "say --events-days"),
    ],
)
def test_what_cannot_be_done_is_said(state: Path, words: tuple[str, ...], sentence: str) -> None:
    """In a sentence, and nothing is changed."""
    assert sentence in run(*words, "--state", state).output


def test_compact_lets_expire_and_says_what(state: Path) -> None:
    """Payload after 90 days: the journal at rest is closed first, by the order itself."""
    days = ("--events-days", "400", "--payload-days", "90")
    assert "segments are due" in run("compact", "--state", state, *days, "--dry-run").output
    assert b"rows of alice" in everything(state)
    result = run("compact", "--state", state, *days)
    assert result.exit_code == 0, result.output
    assert "2 records expired in 2 segments" in result.output
    assert b"rows of" not in everything(state)
    assert b"secret of alice" in everything(state)
    ordered, completed = events(state, "audit.retention")
    assert (ordered["event"]["state"], completed["event"]["records"]) == ("ordered", 2)
    assert "nothing is due" in run("compact", "--state", state, *days).output
    assert len(events(state, "audit.retention")) == 2, "a day without anything is not on record"


def test_a_reader_that_lags_keeps_what_it_wants(state: Path) -> None:
    """Its cursor says so; one that can't be read keeps everything."""
    cursors = state / "trail" / "cursors"
    cursors.mkdir(parents=True)
    name = journals(state)[0].path.name
    (cursors / "sink-siem.cursor").write_bytes(
        b'{"positions":{"%b":4},"state":"","v":1}\n0\n' % name.encode()
    )
    days = ("--events-days", "100", "--payload-days", "90")
    run("compact", "--state", state, *days)
    left = everything(state)
    assert b"alice" not in left
    assert b"rows of bob" in left
    (cursors / "sink-siem.cursor").write_bytes(b"nonsense")
    assert "a cursor was expected" in run("compact", "--state", state, *days).output
    assert b"rows of bob" in everything(state)


def sealed(state: Path) -> None:
    """A sealed journal, whose readers' key is not in the state directory."""
    pyrage = pytest.importorskip("pyrage")
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    journal = Journal(
        Folder.make(state), options=SMALL, threaded=False, sealing=Sealing((recipient,), bytes(range(32)))
    )
    journal.start()
    name = uuid.UUID(ALICE).bytes
    key = journal.open_key(name)
    say(journal, key, "session.start", ALICE, "alice", opens=name)
    journal.append_chunk(key, name, 0, 0, 0, 0, b"rows of alice")
    say(journal, key, "session.end", ALICE, "alice", closes=name)
    journal.stop()


@pytest.mark.parametrize("scheme", ["file", "env"])
def test_a_sealed_journal_is_looked_after_with_the_key_that_the_configuration_names(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose records are is in sealed events; and what is ordered is sealed, too."""
    state = tmp_path / "state"
    sealed(state)
    (tmp_path / "reader.key").write_text(bytes(range(32)).hex() + "\n")
    monkeypatch.setenv("READER_KEY", bytes(range(32)).hex())
    config = tmp_path / "gateway.toml"
    where = "file:reader.key" if scheme == "file" else "env:READER_KEY"
    config.write_text(f'[gateway]\nstate = "state"\n[encryption]\nkey = "{where}"\n')
    words = ("erase", "--identity", "alice", "--reason", "request 7", "--yes")
    alone = run(*words, "--state", state)
    assert "sealed" in alone.output
    assert alone.exit_code == 1
    done = run(*words, "--config", config)
    assert "3 records of 1 session erased" in done.output, done.output
    disk = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert b"request 7" not in disk
    assert run("check", "--config", config).exit_code == 0
    config.write_text('[gateway]\nstate = "state"\n[encryption]\nkey = "file:gone"\n')
    assert "encryption.key can't be used" in run("check", "--config", config).output
