"""``--json``: every command has it, one object or one a line, and programs read the same facts as people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.identity.totp import TotpSecret
from hoopproxy.ledger.note import VerifierKey
from tests.cli.test_journal_upkeep import ALICE, BOB, state
from tests.cli.trail import Trail

__all__ = ["state"]


def run(*words: object, input: str | None = None) -> Result:
    return CliRunner().invoke(main, [*map(str, words)], input=input)


def told(*words: object, code: int = 0, input: str | None = None) -> list[dict[str, Any]]:
    done = run(*words, "--json", input=input)
    assert done.exit_code == code, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_command_has_it() -> None:
    """Whoever scripts one command need not look up which others can be scripted."""
    found = dict(commands(main))
    assert len(found) > 30
    lacking = {
        name
        for name, command in found.items()
        if not any("--json" in option.opts for option in command.params)
    }
    assert lacking == set()


def test_holds_are_told_as_they_are_listed(state: Path) -> None:
    """``add``, ``remove`` and ``list`` have one shape."""
    where = ("--state", state, "--session", ALICE)
    (added,) = told("journal", "hold", "add", *where, "--reason", "case 7")
    assert added["action"] == "add"
    (listed,) = told("journal", "hold", "list", "--state", state)
    assert {"action": "add", **listed} == added
    assert (listed["kind"], listed["value"], listed["reason"]) == ("session", ALICE, "case 7")
    assert told("journal", "hold", "remove", *where, "--reason", "closed") == [{**added, "action": "remove"}]
    assert told("journal", "hold", "list", "--state", state) == []


def test_an_erasure_is_told_before_and_after(state: Path) -> None:
    """Whose, how much, and who may have copies."""
    words = ("journal", "erase", "--state", state, "--session", ALICE, "--reason", "asked for")
    (before,) = told(*words)
    assert before == {
        "journal": before["journal"],
        "state": "would_erase",
        "sessions": [ALICE],
        "copies": [],
    }
    (after,) = told(*words, "--yes")
    assert after["state"] == "erased"
    assert after["sessions"] == [ALICE]
    assert after["records"] >= 3
    assert after["keys"] == 1
    assert BOB not in json.dumps(after)


def test_a_compaction_is_told_by_journal(state: Path) -> None:
    """What is due, what was done, and nothing twice."""
    words = ("journal", "compact", "--state", state, "--events-days", 30, "--payload-days", 30)
    (due,) = told(*words, "--dry-run")
    assert due["state"] == "due"
    assert due["segments"] >= 1
    (done,) = told(*words)
    assert done["state"] == "compacted"
    assert {"records", "segments", "segments_removed", "bytes_freed"} <= done.keys()
    assert {each["state"] for each in told(*words)} <= {"nothing_due", "compacted"}


def test_a_loss_is_told_found_and_accepted(tmp_path: Path) -> None:
    """A sound journal is left alone; of a damaged one it is said what was given up."""
    trail = Trail(tmp_path)
    session = trail.session()
    for number in range(5):
        session.asks(f"SELECT {number}")
    trail.stop()
    words = ("journal", "accept-loss", "--state", tmp_path)
    assert [each["state"] for each in told(*words)] == ["sound"]
    path = trail.folder.segment(trail.folder.segments()[-1])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (found,) = told(*words)
    assert found["state"] == "damaged"
    assert path.name in found["problem"]
    (accepted,) = told(*words, "--yes")
    assert accepted["state"] == "continued"
    assert accepted["lost"] >= 1
    assert accepted["first_lost"] + accepted["lost"] - 1 == accepted["last"]


def test_people_are_told_without_their_hashes(tmp_path: Path) -> None:
    """What they may log in by, never what proves it."""
    file = tmp_path / "users"
    (written,) = told("passwd", file, "alice", "--group", "staff", "--stdin", input="a password\n")
    assert written == {"file": str(file), "user": "alice", "state": "written"}
    assert told("passwd", file, "--list") == [{"user": "alice", "groups": ["staff"], "log_in": ["password"]}]
    assert told("passwd", file, "alice", "--delete")[0]["state"] == "deleted"
    assert told("passwd", file, "--list") == []


def test_one_time_codes_are_told_without_their_secrets(tmp_path: Path) -> None:
    """Who has one, and who has none any more."""
    file, secret = tmp_path / "totp", TotpSecret(b"b" * 20)
    file.touch(mode=0o600)
    file.write_text(f"bob {secret.text}\n")
    assert told("totp", file, "--list") == [{"user": "bob"}]
    assert told("totp", file, "bob", "--delete") == [{"file": str(file), "user": "bob", "state": "deleted"}]
    assert told("totp", file, "--list") == []
    refused = run("totp", file, "ann", "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "on a terminal only" in refused.stderr


def test_a_witness_is_told_by_its_key(tmp_path: Path) -> None:
    """What the gateway's operator writes into the configuration."""
    words = ("witness", "--state", tmp_path / "w", "--name", "witness.example/w1", "--print-key")
    (key,) = told(*words)
    assert key == {"name": "witness.example/w1", "key": run(*words).stdout.strip()}
    assert VerifierKey.parse(str(key["key"])).name == key["name"]


def test_the_index_is_told_in_numbers(tmp_path: Path) -> None:
    """Bytes as a number, not in units."""
    trail = Trail(tmp_path)
    trail.session().asks("SELECT 1")
    trail.stop()
    (none,) = told("audit", "index", "--state", tmp_path)
    assert (none["state"], none["parts"], none["records"]) == ("none", 0, 0)
    (made,) = told("audit", "index", "--state", tmp_path, "--rebuild")
    assert made["journal"] == trail.folder.path.name
    assert (made["state"], made["parts"]) == ("sound", 1)
    assert made["events"] >= 3
    assert isinstance(made["bytes"], int)


def test_an_export_is_told_with_its_digest(tmp_path: Path) -> None:
    """So that a script can put both on record."""
    trail = Trail(tmp_path)
    session = trail.session()
    session.asks("SELECT 1")
    session.end()
    trail.stop()
    out = tmp_path / "session.jsonl"
    words = ("audit", "export", session.id, "--state", tmp_path, "--format")
    (made,) = told(*words, "jsonl", "--out", out)
    assert (made["session"], made["format"], made["file"]) == (session.id, "jsonl", str(out))
    assert made["bytes"] == out.stat().st_size
    assert made["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert made["events"] == len(out.read_bytes().splitlines()) - 1
    assert [each["covers"] for each in made["checkpoints"]] == [False]
    (bundle,) = told(*words, "bundle", "--out", tmp_path / "bundle")
    assert bundle["proven"] == 0
    assert (tmp_path / "bundle" / "events.jsonl").exists()
    refused = run(*words, "jsonl", "--json")
    assert refused.exit_code == 2
    assert "--out" in refused.stderr


@pytest.mark.parametrize(
    "words", [("journal", "erase", "--reason", "x"), ("journal", "hold", "add", "--reason", "x")]
)
def test_a_wrong_use_is_said_as_before(words: tuple[str, ...], tmp_path: Path) -> None:
    """On standard error, with exit 2: there is no answer to read."""
    done = run(*words, "--state", tmp_path, "--json")
    assert done.exit_code == 2
    assert done.stdout == ""
