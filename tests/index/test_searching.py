"""Searching with the index, without it, and with one that is behind or broken: always the same answer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from hoopproxy.events import AuditRead, CommandRequested, GatewayConfigChanged, SessionRefused
from hoopproxy.index.consumer import Index
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.reading.answers import EventLine, LeftOut, Problem, Remark
from hoopproxy.reading.scope import NOTHING, Scope
from hoopproxy.wire.commands import Decide, Verdict
from tests.cli.trail import Trail
from tests.index.support import answers, found, indexed, said, shelf_of, taken
from tests.protocols.postgres.talk import complete, m


def no_drop(decide: Decide) -> Verdict | None:
    return Verdict("DROP" not in str(decide), ("reader",))


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path)
    alice, bob = made.session("alice"), made.session("bob", target="books")
    alice.asks("ALTER TABLE customers ADD COLUMN salary numeric", complete("ALTER TABLE"))
    bob.asks("SELECT salary FROM customers WHERE id = 4711", complete("SELECT 0"))
    bob.asks("ALTER TABLE books ADD x int", m("E", b"SERROR\0C42501\0Mmust be owner of table books\0\0"))
    alice.end()
    bob.end()
    made.say(GatewayConfigChanged(config="1" * 64, previous="2" * 64, changes=[{"key": "target[a].mode"}]))
    return made


ALTERED = "command.requested ALTER TABLE customers ADD COLUMN salary numeric"
SELECTED = "command.requested SELECT salary FROM customers WHERE id = 4711"
REFUSED = "command.requested ALTER TABLE books ADD x int"
SAMPLES = [
    ("alter table", {}, [ALTERED, REFUSED]),
    ("salary", {}, [ALTERED, SELECTED]),
    ("sal*", {"identities": ("bob",)}, [SELECTED]),
    ("4711", {}, [SELECTED]),
    ("customers -alter", {}, [SELECTED]),
    ("owner", {}, ["command.result", "command.completed"]),
    ("42501", {"kinds": ("command.result",)}, ["command.result"]),
    ("", {"kinds": ("session.end",)}, ["session.end closed", "session.end closed"]),
    ("", {"kinds": ("command.requested",), "targets": ("books",)}, [SELECTED, REFUSED]),
    ("", {"outcomes": ("failure",)}, ["command.completed"]),
    ("mode", {}, ["gateway.config_changed"]),
    ("nowhere", {}, []),
    ("alter", {"until": "2020-01-01T00:00:00.000000Z"}, []),
    ("alter", {"since": "2023-01-01T00:00:00.000000Z"}, [ALTERED, REFUSED]),
]


@pytest.mark.parametrize("how", ["without an index", "with one", "with one that is behind"])
def test_an_answer_is_complete_whatever_the_index_is_like(trail: Trail, how: str) -> None:
    """An index that leaves something out makes a trail that leaves something out."""
    if how == "with one":
        indexed(trail.state, trail.folder)
    elif how != "without an index":
        index = Index(shelf_of(trail.state))
        index.take(trail.folder.id, taken(trail.folder)[:25])
        index.stop()
    for query, filters, expected in SAMPLES:
        assert found(trail.state, query, **filters) == expected, query  # type: ignore[arg-type]


def test_the_index_is_what_answers(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard of the test before: with an index, the journal is read where the index says and nowhere else."""
    from hoopproxy.reading import searching

    indexed(trail.state, trail.folder)
    read: list[int] = []
    judged = searching._Journal._judged
    monkeypatch.setattr(
        searching._Journal,
        "_judged",
        lambda self, record: (read.append(record.jseq), judged(self, record))[1],
    )
    assert found(trail.state, "nowhere") == []
    assert read == []
    assert found(trail.state, "4711") == [SELECTED]
    assert 0 < len(read) < 20


def test_a_missing_index_is_said(trail: Trail) -> None:
    """Whoever waits wants to know why."""
    (remark,) = [piece for piece in answers(trail.state, "alter") if isinstance(piece, Remark)]
    assert "there is no index" in remark.sentence
    indexed(trail.state, trail.folder)
    assert not [piece for piece in answers(trail.state, "alter") if isinstance(piece, Remark)]


def test_nothing_is_found_out_of_scope(trail: Trail) -> None:
    """The index knows everybody's words; a reader must not even learn that they are there."""
    for step in (lambda: None, lambda: indexed(trail.state, trail.folder)):
        step()
        assert found(trail.state, "salary", NOTHING) == []
        assert found(trail.state, "salary", Scope(identities=frozenset({"bob"}))) == [SELECTED]
        assert found(trail.state, "salary", Scope(targets=frozenset({"app"}))) == [ALTERED]
        assert found(trail.state, "mode", Scope(targets=frozenset({"app"}))) == []


def test_who_was_refused_a_target_is_found_by_those_who_may_read_of_it(tmp_path: Path) -> None:
    """The other commands show it to them; and a session that got elsewhere afterwards is that target's in the index."""
    made = Trail(tmp_path)
    session = made.session("alice", login=False)
    refused = SessionRefused(listener="pg", code="authorization", target="books")
    session.recorder.event(refused, outcome="denied", reason="no role gives alice the target books")
    session.log_in()
    session.end()
    nobody = made.session("bob", login=False)
    nobody.recorder.event(refused, outcome="denied", reason="no role gives bob the target books")
    nobody.lose()
    for step in (lambda: None, lambda: indexed(made.state, made.folder)):
        step()
        for query in ("", "books"):
            assert found(made.state, query, Scope(targets=frozenset({"books"}))) == ["session.refused"] * 2
        assert "session.refused" not in found(made.state, "", Scope(targets=frozenset({"app"})))


def test_the_newest_are_given_and_the_rest_is_said_to_be_left_out(trail: Trail) -> None:
    """Fifty lines that leave the newest out would be worse than none."""
    session = trail.session("carol")
    for number in range(300):
        session.asks(f"SELECT {number} FROM numbers", complete("SELECT 0"))
    for step in (lambda: None, lambda: indexed(trail.state, trail.folder)):
        step()
        pieces = answers(trail.state, "numbers", limit=3)
        lines = [said(piece) for piece in pieces if isinstance(piece, EventLine)]
        assert lines == [f"command.requested SELECT {number} FROM numbers" for number in (297, 298, 299)]
        assert isinstance(pieces[-1], LeftOut)


def test_several_journals_are_one_trail(trail: Trail, tmp_path: Path) -> None:
    """Two gateways, or one before and after a crash: the order is that of the time."""
    other = Trail(tmp_path, start=trail.now)
    later = other.session("dora")
    later.asks("ALTER TABLE late ADD x int", complete("ALTER TABLE"))
    indexed(trail.state, trail.folder)
    late = "command.requested ALTER TABLE late ADD x int"
    assert found(tmp_path, "alter") == [ALTERED, REFUSED, late]
    indexed(tmp_path, other.folder)
    assert found(tmp_path, "alter") == [ALTERED, REFUSED, late]
    assert found(tmp_path, "alter", limit=1) == [late]


def test_rows_are_found_only_where_the_target_has_them_indexed(tmp_path: Path) -> None:
    """Rows are the target's data: by default they are in no index."""
    made = Trail(tmp_path)
    session = made.session("alice")
    session.selects("SELECT name FROM people", ("name",), (b"Ada Lovelace",), (b"Grace Hopper",))
    session.selects("SELECT name FROM ships", ("name",), (b"Beagle",))
    session.end()
    indexed(tmp_path, made.folder)
    assert found(tmp_path, "lovelace") == []
    shelf_of(tmp_path).drop(made.folder.id)
    indexed(tmp_path, made.folder, targets_with_rows=("app",))
    assert found(tmp_path, '"ada lovelace"') == ["command.result SELECT 2"]
    assert found(tmp_path, "beagle") == ["command.result SELECT 1"]
    assert found(tmp_path, "lovelace beagle") == []


def test_a_command_that_was_refused_is_found_by_its_outcome_and_its_words(tmp_path: Path) -> None:
    """What did not happen is what an auditor looks for first."""
    made = Trail(tmp_path)
    session = made.session("mallory", decide=no_drop)
    session.client(b"Q" + (4 + 16).to_bytes(4, "big") + b"DROP TABLE users"[:15] + b"\0")
    session.lose()
    for step in (lambda: None, lambda: indexed(tmp_path, made.folder)):
        step()
        assert found(tmp_path, "drop", outcomes=("denied",)) == ["command.denied DROP TABLE user"]


def test_every_event_is_found_by_a_word_of_its_own(trail: Trail) -> None:
    """The property behind it all: what scanning finds, the index finds."""
    plain = {query: found(trail.state, query) for query, _, _ in SAMPLES if query}
    indexed(trail.state, trail.folder)
    for (one, lines), (other, more) in itertools.combinations(plain.items(), 2):
        both = found(trail.state, f"{one} {other}")
        assert set(both) <= set(lines) | set(more)
    assert {query: found(trail.state, query) for query in plain} == plain


def test_a_search_does_not_find_itself_unless_that_is_looked_for(trail: Trail) -> None:
    """Each search is on record with its words; the second would find the first."""
    read = AuditRead(action="search", filters={"query": "kimberlite"}, user="root", uid=0, allowed=True)
    trail.say(read)
    for step in (lambda: None, lambda: indexed(trail.state, trail.folder)):
        step()
        assert found(trail.state, "kimberlite") == []
        assert found(trail.state, "kimberlite", kinds=("audit",)) == ["audit.read"]


def test_what_a_detail_holds_can_not_hide_what_was_said(tmp_path: Path) -> None:
    """Only a part of an event is parsed where that will do; a plugin's detail may look like the end of it."""
    made = Trail(tmp_path)
    detail = {"a": {"b": {"deep": "quartz"}, "id": "x"}, "id": "y", "zz": "basalt"}
    session = made.session("alice")
    for number in range(3):
        session.asks("SELECT 1", complete("SELECT 0"))
        request = CommandRequested(verb="X", text=f"granite {number}", detail=detail, range=(0, 1))
        session.recorder.event(request, reason="obsidian" if number == 2 else None)
    made.journal.commit_now()
    indexed(tmp_path, made.folder)
    for word, count in (("granite", 3), ("quartz", 3), ("basalt", 3), ("obsidian", 1)):
        assert len(found(tmp_path, word)) == count, word


def test_what_can_not_be_opened_is_not_passed_over_in_silence(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a sealed journal without its key, "nothing matches" would be a lie."""
    records = JournalReader.__iter__

    def closed(reader: JournalReader) -> Iterator[Record]:
        return (attrs.evolve(record, body=b"", is_closed=True) for record in records(reader))

    monkeypatch.setattr(JournalReader, "__iter__", closed)
    (problem,) = [piece for piece in answers(trail.state, "salary") if isinstance(piece, Problem)]
    assert "sealed" in problem.sentence
