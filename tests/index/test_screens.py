"""Searching what SSH sessions showed: words of terminals and programs, where they are, and nobody's secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hoopproxy.cli import main
from hoopproxy.delivery.indexing import journals_of
from hoopproxy.discovery import screen_texts
from hoopproxy.index import documents, gathering
from hoopproxy.index.consumer import Index
from hoopproxy.index.looking import PartReader, Restriction
from hoopproxy.reading import searching
from hoopproxy.reading.answers import EventLine
from hoopproxy.reading.scope import Scope
from tests.cli.trail import Trail
from tests.index.ssh import SSHPlayed
from tests.index.support import answers, indexed, shelf_of, taken

SECRET = b"Tr0ub4dor"


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path)


def shown(state: Path, query: str, scope: Scope | None = None, **filters: Any) -> list[dict[str, Any]]:
    """The texts that were shown and are found."""
    found = answers(state, query, **({"scope": scope} if scope else {}), **filters)
    return [dict(each.event) for each in found if isinstance(each, EventLine)]


def test_a_word_on_a_terminal_is_found_with_its_session_channel_and_time(trail: Trail) -> None:
    """As it was seen: corrected, whole, in its place."""
    session = SSHPlayed(trail)
    session.data(1, 0, b"$ cat sal\b\b\bwages.txt\r\nMallory \x1b[31mearns\x1b[0m 9000\r\n$ ")
    session.data(1, 1, b"to standard output\n")
    session.end()
    indexed(trail.state, trail.folder, targets_with_rows=("box",))
    (found,) = shown(trail.state, "mallory")
    assert found["kind"] == "recording.output"
    assert found["event"] == {"channel": "0", "text": "Mallory earns 9000"}
    assert (found["session"], found["target"]["name"], found["identity"]["id"]) == (
        session.id,
        "box",
        "alice",
    )
    assert found["mono"] == session.chunks[-2].mono
    assert found["time"].startswith("2023-11-14T22:13:20.")
    assert "id" not in found, "it is no event on record"
    assert shown(trail.state, '"earns 9000"') == [found]
    assert shown(trail.state, "sal") == [], "it was taken back before it was shown whole"
    assert [each["event"]["channel"] for each in shown(trail.state, "standard output")] == ["1"]
    assert shown(trail.state, "mallory -earns") == []


def test_only_targets_that_say_so_are_read(trail: Trail) -> None:
    """``index_rows`` is off by default: then no word of an output is in the index."""
    session = SSHPlayed(trail)
    session.data(1, 0, b"unindexed words\r\n")
    session.end()
    indexed(trail.state, trail.folder, targets_with_rows=("other",))
    assert shown(trail.state, "unindexed") == []
    (part,) = shelf_of(trail.state).parts(trail.folder.id)
    with PartReader(part, trail.folder.id) as reader:
        assert not list(reader.windows(Restriction(expression='"unindexed"')))


def test_what_was_typed_and_not_echoed_is_in_no_index(trail: Trail) -> None:
    """Nor what is filled in the recording for another reason."""
    session = SSHPlayed(trail)
    session.data(1, 0, b"Password: ")
    session.data(0, 7, SECRET, filled=True)
    session.data(0, 8, b"stdin " + SECRET + b"\n")
    session.data(1, 0, b"\r\nwelcome\r\n")
    session.end()
    indexed(trail.state, trail.folder, targets_with_rows=("box",))
    assert len(shown(trail.state, "welcome")) == 1
    assert shown(trail.state, SECRET.decode()) == []
    for path in shelf_of(trail.state).folder(trail.folder.id).iterdir():
        assert SECRET.lower() not in path.read_bytes().lower()


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_every_line_is_found_once_wherever_the_windows_end(trail: Trail, step: int, early: bool) -> None:
    """A line is in the document where it ends, even if the client was ahead of the target's log-in."""
    session = SSHPlayed(trail, early=early)
    words = [f"word{number:03d}" for number in range(40)]
    for word in words:
        session.data(1, 0, f"line {word} ".encode())
        session.data(1, 0, b"ends\r\n")
    session.end()
    index = Index(shelf_of(trail.state), screens_of=lambda target: screen_texts("ssh"))
    records = taken(trail.folder)
    for at in range(0, len(records), step):
        index.take(trail.folder.id, records[at : at + step])
        index._write([trail.folder.id])
    index.stop()
    for word in words:
        assert [each["event"]["text"] for each in shown(trail.state, f'"{word} ends"')] == [
            f"line {word} ends"
        ]


def test_a_long_output_makes_several_documents(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a find costs reading one of them again."""
    monkeypatch.setattr(gathering, "MAX_BYTES", 1000)
    session = SSHPlayed(trail)
    for number in range(50):
        session.data(1, 0, f"row {number:03d} of the listing {'x' * 60}\r\n".encode())
    session.end()
    indexed(trail.state, trail.folder, targets_with_rows=("box",))
    (part,) = shelf_of(trail.state).parts(trail.folder.id)
    with PartReader(part, trail.folder.id) as reader:
        ((_, candidates),) = reader.windows(Restriction(kind=lambda kind: kind == "recording.output"))
    assert 4 <= len(candidates) <= 8
    assert [each["event"]["text"][:7] for each in shown(trail.state, '"row 031"')] == ["row 031"]
    assert len(shown(trail.state, "listing")) == 50


def test_the_newest_of_many_are_found_without_reading_them_all(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that is everywhere costs what is shown of it."""
    monkeypatch.setattr(gathering, "MAX_BYTES", 500)
    session = SSHPlayed(trail)
    for number in range(60):
        session.data(1, 0, f"everywhere {number:03d} {'x' * 60}\r\n".encode())
    session.end()
    indexed(trail.state, trail.folder, targets_with_rows=("box",))
    read: list[int] = []
    searched = searching._Journal._shown

    def counted(self: Any, reader: Any, about: Any, *more: Any) -> Any:
        read.append(about.first)
        return searched(self, reader, about, *more)

    monkeypatch.setattr(searching._Journal, "_shown", counted)
    found = [each["event"]["text"][:14] for each in shown(trail.state, "everywhere", limit=3)]
    assert found == ["everywhere 057", "everywhere 058", "everywhere 059"]
    assert 1 <= len(read) <= 3
    assert read == sorted(read, reverse=True)
    assert len(shown(trail.state, "everywhere")) == 60
    assert len(read) > 10


def test_filters_and_scopes_hold_for_what_was_shown(trail: Trail) -> None:
    """Who may read a session may find its words, and nobody else."""
    for who, target in (("alice", "box"), ("bob", "box"), ("alice", "vault")):
        session = SSHPlayed(trail, who, target)
        session.data(1, 0, b"common word\r\n")
        session.end()
    indexed(trail.state, trail.folder, targets_with_rows=("box", "vault"))

    def where(**filters: Any) -> list[tuple[str, str]]:
        return [
            (each["identity"]["id"], each["target"]["name"])
            for each in shown(trail.state, "common", **filters)
        ]

    assert len(where()) == 3
    assert where(identities=("bob",)) == [("bob", "box")]
    assert where(targets=("vault",)) == [("alice", "vault")]
    assert where(kinds=("recording.output",)) == where()
    assert where(kinds=("command",)) == []
    assert where(scope=Scope(identities=frozenset(("bob",)))) == [("bob", "box")]
    assert where(scope=Scope(targets=frozenset(("vault",)))) == [("alice", "vault")]
    assert where(scope=Scope()) == []
    assert where(until="2023-11-14T22:13:20.000000Z") == []


def test_an_erased_session_has_no_words_left(tmp_path: Path) -> None:
    """Neither in answers nor in the files of the index."""
    made = Trail(tmp_path, segment_bytes=4096)
    erased = SSHPlayed(made)
    erased.data(1, 0, b"forgettable output\r\n")
    erased.end()
    kept = SSHPlayed(made, "bob")
    for number in range(60):
        kept.data(1, 0, f"memorable {number:04d}\r\n".encode())
    kept.end()
    made.stop()
    now = 0.0
    index = Index(
        shelf_of(tmp_path),
        screens_of=lambda target: screen_texts("ssh"),
        journals=journals_of(tmp_path, made.folder.files),
        clock=lambda: now,
    )
    index.take(made.folder.id, taken(made.folder))
    now = 20.0
    index.tick()
    assert len(shown(tmp_path, "forgettable")) == 1
    place = ["--state", str(tmp_path), "--session", erased.id, "--reason", "asked for", "--yes"]
    done = CliRunner().invoke(main, ["journal", "erase", *place])
    assert done.exit_code == 0, done.output
    assert shown(tmp_path, "forgettable") == []
    now = 100.0
    index.tick()
    assert index.rebuilt == 1
    index.stop()
    (part,) = shelf_of(tmp_path).parts(made.folder.id)
    with PartReader(part, made.folder.id) as reader:
        assert not list(reader.windows(Restriction(expression='"forgettable"')))
    assert len(shown(tmp_path, "memorable 0042")) == 1


def test_the_index_is_made_again_from_the_journal(trail: Trail) -> None:
    """It holds nothing that isn't there."""
    session = SSHPlayed(trail)
    session.data(1, 0, b"again and again\r\n")
    session.end()
    indexed(trail.state, trail.folder, targets_with_rows=("box",))
    before = shown(trail.state, "again")
    shelf_of(trail.state).drop(trail.folder.id)
    assert shown(trail.state, "again") == []
    indexed(trail.state, trail.folder, targets_with_rows=("box",))
    assert shown(trail.state, "again") == before != []


def test_sessions_that_never_reach_a_target_are_forgotten(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept until the target is known is bounded."""
    monkeypatch.setattr(gathering, "MAX_WAITING", 3)
    made = gathering.Gathering(1, screens_of=lambda target: screen_texts("ssh"))
    sessions = [SSHPlayed(trail) for _ in range(6)]
    chunks = [each for each in taken(trail.folder) if each.event is None]
    assert len({each.record.key_id for each in chunks}) == len(sessions)
    made.extend(chunks)
    assert len(made._early) == 3
    assert isinstance(made.take(), documents.Window)


def test_the_command_line_says_where_it_was(trail: Trail) -> None:
    """Session, channel, time; inert, and as JSON."""
    session = SSHPlayed(trail)
    session.data(1, 0, b"a \xc2\x9b6n\xe2\x80\xae hostile line\r\n")
    session.end()
    indexed(trail.state, trail.folder, targets_with_rows=("box",))

    def audit(*words: str) -> str:
        done = CliRunner().invoke(
            main, ["audit", *words, "--state", str(trail.state)], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return done.stdout

    text = audit("search", "hostile")
    assert f"{session.id[-8:]} alice@box recording.output [channel 0 at +0.0" in text
    assert "\\u202e hostile line" in text
    assert "\x9b" not in text
    assert f"hoopproxy audit replay {session.id[-8:]} --channel 0 --from 0.000 --state" in text
    (line,) = audit("search", "hostile", "--json").splitlines()
    assert json.loads(line)["event"]["channel"] == "0"
    assert "0| a \\x9b6n\\u202e hostile line" in audit("search", "hostile", "--replay", "1")
    assert "SHELL" in audit("search", "hostile", "--show", "1")
