"""``hoopproxy audit timeline`` and ``mine``, and notes where they belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.events import AuditCheckpoint, AuditNote, GatewayConfigChanged, Identity, TargetFacts
from hoopproxy.reading.answers import EventLine, Question
from hoopproxy.reading.ask import ask
from hoopproxy.reading.journals import at_rest
from hoopproxy.reading.scope import Scope
from tests.cli.trail import Played, Trail
from tests.index.support import found, indexed
from tests.protocols.postgres.talk import complete, m

ROOT = Identity(id="unix:root", issuer="unix", method="peercred")


class Told:
    """A trail with two sessions side by side, a change of the configuration between, and a note."""

    def __init__(self, state: Path) -> None:
        self.trail = trail = Trail(state)
        self.alice: Played = trail.session("alice")
        bob = trail.session("bob", target="books")
        self.alice.asks("SELECT 1", complete("SELECT 0"))
        changed = [{"key": "target[app].mode", "old": "strict", "new": "bounded"}]
        trail.say(GatewayConfigChanged(config="1" * 64, previous="2" * 64, changes=changed))
        bob.asks("DELETE FROM books", m("E", b"SERROR\0C42501\0Mpermission denied\0\0"))
        self.alice.asks("SELECT 2", complete("SELECT 0"))
        self.alice.end()
        bob.end()
        self.note("INC-42 \x1b[2J agreed")

    def note(self, text: str, op: str | None = None) -> None:
        voice = self.trail._recorder()
        voice.bind(identity=ROOT)
        voice.bind(target=TargetFacts(name="app"))
        voice.tick()
        voice.event(AuditNote(session=self.alice.id, op=op, text=text, user="root", uid=0), outcome="success")
        self.trail.journal.commit_now()


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def run(told: Told, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", *arguments, "--state", str(told.trail.state)])


def test_the_seal_is_in_a_timeline_only_for_who_asks_for_all(told: Told) -> None:
    """A checkpoint a second, each with its whole note, would hide what people did between them."""
    told.trail.say(
        AuditCheckpoint(
            journal="j", origin="gw1/j/1", epoch=1, size=7, last=40, root="r=", note="gw1/j/1\n7\nr=\n"
        )
    )
    assert "checkpoint" not in run(told, "timeline", "--from", "2023-11-14").output
    everything = run(told, "timeline", "--from", "2023-11-14", "--all").output
    assert "audit.checkpoint 7 leaves of gw1/j/1, up to record 40\n" in everything


def test_a_timeline_is_everything_in_its_order(told: Told) -> None:
    """Who did what, and what was changed in between: one story of all sessions."""
    done = run(told, "timeline", "--from", "2023-11-14")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "2023-11-14 (UTC)"
    order = [
        "command.requested SELECT 1",
        "gateway.config_changed",
        "command.requested DELETE FROM books",
        "42501 permission denied",
        "command.requested SELECT 2",
        "session.end",
        "audit.note INC-42 \\x1b[2J agreed",
    ]
    places = [next(at for at, line in enumerate(lines) if words in line) for words in order]
    assert places == sorted(places)
    assert not any(
        "command.completed" in line and "failure" not in line and "SELECT" in line for line in lines
    )
    everything = run(told, "timeline", "--from", "2023-11-14", "--all").stdout.splitlines()
    assert len(everything) > len(lines)


def test_a_target_narrows_the_sessions_and_not_what_changed_around_them(told: Told) -> None:
    """The change of a mode matters to whoever looks at one target."""
    lines = run(told, "timeline", "--from", "2023-11-14", "--target", "books").stdout
    assert "DELETE FROM books" in lines
    assert "gateway.config_changed" in lines
    assert "SELECT 1" not in lines
    only = run(told, "timeline", "--from", "2023-11-14", "--target", "books", "--kind", "command").stdout
    assert "gateway.config_changed" not in only


def test_the_surroundings_are_for_who_may_read_everything(told: Told) -> None:
    """A role for one target doesn't show the configuration of all."""
    question = Question(action="timeline")
    pieces = ask(lambda: at_rest(told.trail.state), question, Scope(targets=frozenset({"books"})))
    kinds = {piece.event["kind"] for piece in pieces if isinstance(piece, EventLine)}
    assert "command.requested" in kinds
    assert not {kind for kind in kinds if kind.startswith("gateway.")}


def test_a_timeline_has_a_beginning_and_says_when_it_is_empty(told: Told) -> None:
    """From the first day of the trail on is not what anybody means."""
    assert run(told, "timeline").exit_code == 2
    assert run(told, "timeline", "--from", "1h", "--since", "1h").exit_code == 2
    assert "nothing happened" in run(told, "timeline", "--from", "2024-01-01").stdout


def test_mine_lists_the_sessions_of_whoever_asks(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name that the system knows them by."""
    monkeypatch.setattr("getpass.getuser", lambda: "alice")
    lines = run(told, "mine", "--json").stdout.splitlines()
    assert [json.loads(line)["identity"] for line in lines] == ["alice"]
    monkeypatch.setattr("getpass.getuser", lambda: "carol")
    assert "no session matches" in run(told, "mine").stdout


def test_a_note_is_told_with_its_session_and_found_and_exported(told: Told) -> None:
    """Whoever opens the session must see what was noted about it, with an index and without."""
    for step in (lambda: None, lambda: indexed(told.trail.state, told.trail.folder)):
        step()
        story = run(told, "show", told.alice.id).stdout
        assert "unix:root at 2023-11-14" in story
        assert "INC-42 \\x1b[2J agreed" in story
        assert found(told.trail.state, "inc-42") == ["audit.note INC-42 \x1b[2J agreed"]
        lines = run(told, "export", told.alice.id, "--format", "jsonl").stdout.splitlines()
        assert json.loads(lines[-1])["kind"] == "audit.note"
    opened = run(told, "search", "inc-42", "--show", "1").stdout
    assert opened.startswith(f"Session {told.alice.id}")
    other = run(told, "show", "00000000-0000-7000-8000-000000000002").stdout
    assert "INC-42" not in other


def test_a_name_leads_to_a_session_or_to_an_operation_of_one(told: Told) -> None:
    """An operation is what an auditor has at hand after a search."""
    (event,) = [
        piece.event
        for piece in ask(
            lambda: at_rest(told.trail.state),
            Question(action="search", query='"select 2"'),
            Scope(everything=True),
        )
        if isinstance(piece, EventLine)
    ]
    for name, scope, expected in (
        (event["op"], Scope(everything=True), [(told.alice.id, event["op"], "app")]),
        (told.alice.id, Scope(everything=True), [(told.alice.id, "", "app")]),
        (event["op"], Scope(identities=frozenset({"bob"})), []),
        ("01a21577-d7df-7b49-9e73-40fd8bb89091", Scope(everything=True), []),
    ):
        pieces = ask(lambda: at_rest(told.trail.state), Question(action="locate", session=name), scope)
        located = [(each.session, each.op, each.target) for each in pieces if hasattr(each, "op")]
        assert located == expected
    told.note("about this one", event["op"])
    assert "about #2" in run(told, "show", told.alice.id).stdout
