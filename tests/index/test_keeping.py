"""The index as a consumer of the trail: its own place, in one piece, made again when it is broken."""

from __future__ import annotations

import os
import sqlite3
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from hoopproxy.cli import main
from hoopproxy.config import Config, Encryption, Gateway, JournalOptions, Limits, Log, Ops
from hoopproxy.config import Index as IndexConfig
from hoopproxy.delivery.indexing import journals_of, remove_index
from hoopproxy.events import SessionStart
from hoopproxy.index import consumer as consuming
from hoopproxy.index import gathering, shapes
from hoopproxy.index.consumer import Index, Journals
from hoopproxy.index.looking import PartReader, Restriction
from hoopproxy.journal.folder import Folder
from hoopproxy.reading.answers import Remark
from tests.cli.trail import Trail
from tests.index.support import answers, found, indexed, shelf_of, taken
from tests.protocols.postgres.talk import complete


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path)
    session = made.session("alice")
    for number in range(200):
        session.asks(f"SELECT {number} FROM numbers WHERE n = '{number}'", complete("SELECT 0"))
    session.end()
    return made


def small(monkeypatch: pytest.MonkeyPatch, part: int = 400, window: int = 50) -> None:
    monkeypatch.setattr(consuming, "PART_RECORDS", part)
    monkeypatch.setattr(gathering, "WINDOW_RECORDS", window)


def fed(index: Index, folder: Folder, step: int = 20, since: int = 1) -> None:
    records = taken(folder, since)
    for at in range(0, len(records), step):
        index.take(folder.id, records[at : at + step])


def again(trail: Trail) -> Journals:
    """The journal, when it is asked for once more."""
    return Journals(reread=lambda journal, first, end: iter(taken(trail.folder, first, end)))


def gone(index: Index) -> None:
    """What the system does for a process that was killed."""
    for writer in index._writers.values():
        writer.close()
    assert index._lock is not None
    os.close(index._lock)


def test_an_index_goes_on_where_it_was(trail: Trail) -> None:
    """Its place is in the same transaction as its words: nothing is missing and nothing is there twice."""
    index = indexed(trail.state, trail.folder)
    assert index.position(trail.folder.id) == taken(trail.folder)[-1].record.jseq + 1
    index.stop()
    trail.session("bob").asks("DELETE FROM numbers", complete("DELETE 200"))
    indexed(trail.state, trail.folder)
    (part,) = shelf_of(trail.state).parts(trail.folder.id)
    with PartReader(part, trail.folder.id) as reader:
        events = sum(each.event is not None for each in taken(trail.folder))
        assert reader.counts[2] == events


def test_records_that_come_again_are_not_indexed_twice(trail: Trail) -> None:
    """At least once is what the follower promises."""
    index = Index(shelf_of(trail.state))
    records = taken(trail.folder)
    index.take(trail.folder.id, records[:100])
    index.take(trail.folder.id, records[50:])
    index.take(trail.folder.id, records)
    index.stop()
    (part,) = shelf_of(trail.state).parts(trail.folder.id)
    with PartReader(part, trail.folder.id) as reader:
        assert reader.counts[2] == sum(each.event is not None for each in records)


def test_what_was_not_written_comes_again_after_a_crash(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window that was in memory is lost; the place says so."""
    small(monkeypatch, window=90)
    index = Index(shelf_of(trail.state))
    fed(index, trail.folder)
    gone(index)
    place = shelf_of(trail.state).position(trail.folder.id)
    assert 1 < place <= taken(trail.folder)[-1].record.jseq
    again = Index(shelf_of(trail.state))
    assert again.position(trail.folder.id) == place
    fed(again, trail.folder, since=place)
    again.stop()
    assert len(found(trail.state, "numbers")) == 200


def test_a_journal_that_was_put_back_is_indexed_anew(trail: Trail) -> None:
    """Its numbers come again with other words: they were passed over as known, and a search found none of them."""
    index = indexed(trail.state, trail.folder)
    index.begin_again(trail.folder.id)
    assert index.position(trail.folder.id) == 1
    assert shelf_of(trail.state).parts(trail.folder.id) == []
    fed(index, trail.folder)
    index.stop()
    (part,) = shelf_of(trail.state).parts(trail.folder.id)
    with PartReader(part, trail.folder.id) as reader:
        assert reader.counts[2] == sum(each.event is not None for each in taken(trail.folder))


def test_an_index_has_parts_and_retention_drops_whole_ones(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is ever deleted out of a part, so a part that is gone leaves nothing behind."""
    small(monkeypatch)
    now = 0.0
    oldest = 1
    index = Index(shelf_of(trail.state), journals=Journals(oldest=lambda journal: oldest), clock=lambda: now)
    fed(index, trail.folder)
    parts = shelf_of(trail.state).parts(trail.folder.id)
    assert len(parts) >= 3
    assert len(found(trail.state, "numbers")) == 200
    oldest, now = parts[1].first, 100.0
    index.tick()
    assert shelf_of(trail.state).parts(trail.folder.id) == parts[1:]
    assert not parts[0].path.exists()
    index.stop()
    assert len(found(trail.state, "numbers")) == 200  # the journal still has them, and is searched for them


def test_time_closes_a_window(trail: Trail) -> None:
    """On a quiet gateway, too, the index is no more than some seconds behind."""
    now = 0.0
    index = Index(shelf_of(trail.state), clock=lambda: now)
    fed(index, trail.folder)
    index.tick()
    assert shelf_of(trail.state).position(trail.folder.id) == 1
    now = 11.0
    index.tick()
    assert shelf_of(trail.state).position(trail.folder.id) == taken(trail.folder)[-1].record.jseq + 1
    index.stop()


@pytest.mark.parametrize("damage", ["garbage", "empty", "half", "version", "journal"])
def test_a_damaged_index_is_set_aside_and_made_again(trail: Trail, damage: str) -> None:
    """It is worth nothing, and must never keep the trail from being read."""
    indexed(trail.state, trail.folder)
    shelf = shelf_of(trail.state)
    (part,) = shelf.parts(trail.folder.id)
    whole = part.path.read_bytes()
    if damage in ("version", "journal"):
        with sqlite3.connect(part.path) as db:
            db.execute("UPDATE meta SET value = 'x' WHERE name = ?", (damage,))
        db.close()
    else:
        bad = {"garbage": b"no database at all" * 1000, "empty": b"", "half": whole[: len(whole) // 2]}
        for path in part.files:
            path.unlink(missing_ok=True)
        part.path.write_bytes(bad[damage])
    assert len(found(trail.state, "numbers")) == 200
    index = Index(shelf)
    assert index.position(trail.folder.id) == 1
    fed(index, trail.folder)
    index.stop()
    assert len(found(trail.state, "numbers")) == 200
    assert not [piece for piece in answers(trail.state, "numbers") if isinstance(piece, Remark)]
    aside = list(part.path.parent.glob("*.damaged"))
    assert len(aside) == (damage != "empty")


def test_a_damaged_part_in_the_middle_is_made_again_from_the_journal(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that met the damage tells whoever writes; meanwhile it reads the journal."""
    small(monkeypatch)
    now = 0.0
    index = Index(
        shelf_of(trail.state),
        clock=lambda: now,
        journals=again(trail),
    )
    fed(index, trail.folder)
    index.tick()
    parts = shelf_of(trail.state).parts(trail.folder.id)
    parts[0].path.write_bytes(b"\0" * 5000)
    remarks = [piece for piece in answers(trail.state, "numbers") if isinstance(piece, Remark)]
    assert any("can't be used" in remark.sentence for remark in remarks)
    assert len(found(trail.state, "numbers")) == 200
    now = 100.0
    index.tick()
    assert index.rebuilt == 1
    index.stop()
    assert shelf_of(trail.state).parts(trail.folder.id) == parts
    assert len(found(trail.state, "numbers")) == 200
    assert not [piece for piece in answers(trail.state, "numbers") if isinstance(piece, Remark)]


def test_a_hole_is_read_from_the_journal(trail: Trail) -> None:
    """When a part was lost while records went on, the follower doesn't come back for them by itself."""
    index = Index(shelf_of(trail.state), journals=again(trail))
    index.take(trail.folder.id, taken(trail.folder)[300:])
    index.stop()
    assert len(found(trail.state, "numbers")) == 200
    assert shelf_of(trail.state).position(trail.folder.id) == taken(trail.folder)[-1].record.jseq + 1


def test_an_event_with_more_words_than_fit_is_found_all_the_same(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that is cut is looked into by every search."""
    monkeypatch.setattr(shapes, "MAX_EVENT_WORDS", 10)
    session = trail.session("carol")
    session.asks("SELECT " + ", ".join(f"column{number}" for number in range(100)), complete("SELECT 0"))
    indexed(trail.state, trail.folder)
    assert len(found(trail.state, "column99")) == 1


def test_the_files_are_for_the_owner_alone(trail: Trail) -> None:
    """The index knows every word of the trail."""
    indexed(trail.state, trail.folder)
    (part,) = shelf_of(trail.state).parts(trail.folder.id)
    assert part.path.stat().st_mode & 0o777 == 0o600
    assert part.path.parent.stat().st_mode & 0o777 == 0o700
    assert part.path.parent.parent.stat().st_mode & 0o777 == 0o700


def test_what_a_client_names_like_the_envelope_does_not_hide_its_event(tmp_path: Path) -> None:
    """Kind and outcome are read off the bytes; start-up parameters are keys that a client chooses."""
    made = Trail(tmp_path)
    chosen = {"kind": "gateway.clock", "mono": "1", "node": "x", "outcome": "success", "word": "chosen"}
    made.say(SessionStart(listener="pg", mode="strict", record="full", role="r", client_parameters=chosen))
    honest = made.session("mallory")
    honest.asks('SELECT \'","kind":"x.y","mono":1,"node":"n"\' AS hidden', complete("SELECT 1"))
    indexed(tmp_path, made.folder)
    assert found(tmp_path, "hidden", kinds=("command.requested",))
    assert found(tmp_path, "chosen", kinds=("session.start",))


def test_an_erasure_takes_the_words_as_well(tmp_path: Path) -> None:
    """What is lawfully gone from the journal must not live on as words in an index."""
    made = Trail(tmp_path, segment_bytes=4096)
    kept, erased = made.session("alice"), made.session("bob")
    kept.asks("SELECT 'remember'", complete("SELECT 1"))
    erased.asks("SELECT 'forget me'", complete("SELECT 1"))
    erased.end()
    for number in range(30):
        kept.asks(f"SELECT {number}", complete("SELECT 1"))
    made.stop()
    now = 0.0
    index = Index(shelf_of(tmp_path), journals=journals_of(tmp_path, made.folder.files), clock=lambda: now)
    fed(index, made.folder)
    now = 20.0
    index.tick()
    assert len(found(tmp_path, "forget")) == 1
    place = ["--state", str(tmp_path), "--session", erased.id, "--reason", "asked for", "--yes"]
    done = CliRunner().invoke(main, ["journal", "erase", *place])
    assert done.exit_code == 0, done.output
    (part,) = shelf_of(tmp_path).parts(made.folder.id)
    query = Restriction(expression='"forget"')
    with PartReader(part, made.folder.id) as reader:
        assert list(reader.windows(query)), "the guard: until now the word is there"
    now = 100.0
    index.tick()
    assert index.rebuilt == 1
    with PartReader(part, made.folder.id) as reader:
        assert not list(reader.windows(query))
        assert list(reader.windows(Restriction(expression='"remember"')))
    now = 200.0
    index.tick()
    assert index.rebuilt == 1, "once is enough"
    index.stop()
    assert found(tmp_path, "remember") == ["command.requested SELECT 'remember'"]
    names = "".join(path.name for path in part.path.parent.iterdir())
    assert ".new" not in names


def test_an_index_that_is_turned_off_is_removed(trail: Trail) -> None:
    """Whoever turns it off wants its words gone."""
    indexed(trail.state, trail.folder)
    remove_index(trail.state)
    assert shelf_of(trail.state).parts(trail.folder.id) == []
    assert len(found(trail.state, "numbers")) == 200


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", True),
        ("[index]\nenabled = false\n", False),
        ('[encryption]\nrecipients = ["age1..."]\n', False),
    ],
)
def test_beside_an_encrypted_journal_there_is_no_index(text: str, kept: bool) -> None:
    """A stolen disk that gives away every word of the trail would make the encryption worthless."""
    values = tomllib.loads(text)
    limits = Limits()
    config = Config(
        path=Path("/x"), files=(), gateway=Gateway(node="n", state=Path("/s"), control=Path("/c")), log=Log(),
        journal=JournalOptions(), ops=Ops(), limits=limits, listeners=(), targets=(), checkers=(), roles=(),
        index=IndexConfig(**values.get("index", {})),
        encryption=Encryption(recipients=tuple(values.get("encryption", {}).get("recipients", ()))),
    )  # fmt: skip
    assert config.indexes is kept
