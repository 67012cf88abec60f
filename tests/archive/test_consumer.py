"""The archive as a reader of the trail: its place, its retries, what it does when nothing comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from hoopproxy.archive.consumer import LOOK_SECONDS, Archive
from hoopproxy.archive.reading import archived
from hoopproxy.archive.shipping import Shipping, closed
from hoopproxy.archive.store import FolderStore, Store, StoreFailed
from hoopproxy.delivery.consumer import Taken
from hoopproxy.delivery.cursors import CursorFile
from hoopproxy.delivery.lag import Lag
from hoopproxy.events import AuditSinkFailed, AuditSinkRecovered, Event
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.reader import JournalReader
from hoopproxy.ledger.folder import ledgers_root
from tests.cli.trail import Trail

from .support import trail_of


class House:
    """An archive over a trail; ``store`` is what it is given, or an error."""

    def __init__(self, folder: Path, trail: Trail) -> None:
        self.trail, self.clock = trail, Clock()
        self.place = FolderStore(folder / "archive")
        self.store: Store | Exception = self.place
        self.made = 0
        self.said: list[Event] = []
        self.cursor = folder / "state" / "trail" / "cursors" / "archive"
        self.cursor.parent.mkdir(parents=True, exist_ok=True)
        self.archive = self.begin()

    def begin(self) -> Archive:
        return Archive(
            self.trail.state,
            self._store,
            CursorFile(self.cursor),
            node="gw1",
            clock=self.clock,
            in_thread=maybeDeferred,
            emit=self.said.append,
        )

    async def _store(self) -> Store:
        self.made += 1
        if isinstance(self.store, Exception):
            raise self.store
        return self.store

    @property
    def journal(self) -> bytes:
        return self.trail.folder.id

    def records(self, since: int = 1) -> list[Taken]:
        with JournalReader(self.trail.folder, since=since) as reader:
            return [Taken(record, self.trail.folder, lambda _: None) for record in reader]

    def segments(self) -> list[int]:
        return archived(self.place)[0].segments()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, trail_of(tmp_path / "state", stop=False))


def result(waiting: Any) -> Any:
    found: list[Any] = []
    maybeDeferred(lambda: waiting).addBoth(found.append)
    assert found, "it waits"
    return found[0]


def test_a_segment_is_shipped_when_a_record_of_the_next_one_comes(house: House) -> None:
    records = house.records()
    first = [each for each in records if each.record.segment == 1]
    assert house.archive.take(house.journal, first) is None
    assert house.made == 0, "nothing to do costs nothing"
    assert result(house.archive.take(house.journal, records[len(first) :][:1])) is None
    assert house.segments() == house.trail.folder.segments()[:-1]
    assert house.archive.position(house.journal) == closed(house.trail.folder)[-1][1] + 1


def test_its_place_outlives_the_process_and_is_what_is_not_there(house: House) -> None:
    """Retention removes what is before it."""
    result(house.archive.take(house.journal, house.records()))
    assert house.begin().position(house.journal) == closed(house.trail.folder)[-1][1] + 1


def test_a_place_that_fails_keeps_its_place_and_is_asked_again(house: House) -> None:
    house.store = StoreFailed("the bucket is gone")
    records = house.records()
    assert result(house.archive.take(house.journal, records)).value is house.store
    assert house.archive.position(house.journal) == 1
    house.store = house.place
    assert result(house.archive.take(house.journal, records)) is None
    assert house.segments() == house.trail.folder.segments()[:-1]


def test_the_end_of_a_journal_is_shipped_although_nothing_comes_after_it(house: House) -> None:
    """The last segment of a gateway that was stopped has no next one."""
    house.trail.stop()
    assert result(house.archive.tick()) is None
    assert house.segments() == house.trail.folder.segments()


def test_it_looks_around_once_a_minute(house: House) -> None:
    result(house.archive.tick())
    assert house.archive.tick() is None
    house.clock.advance(LOOK_SECONDS)
    assert house.archive.tick() is not None


def test_keys_that_are_erased_later_go_to_the_archive_with_the_next_look(house: House) -> None:
    result(house.archive.tick())
    keys = house.trail.folder.keys
    salt = keys.read_bytes()[-64:]
    with keys.open("r+b") as stream:
        stream.seek(-64, 2)
        stream.write(bytes(64))
    house.clock.advance(LOOK_SECONDS)
    result(house.archive.tick())
    pages = [path.read_bytes() for path in house.place.path.rglob("keys/*")]
    assert pages
    assert not any(salt in page for page in pages)


def test_nothing_of_a_ledger_goes_over_that_of_what_a_restored_backup_has_lost(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the only proof of what was recorded after the backup; nor does one go whose journal was moved away."""
    shipped: list[str] = []
    monkeypatch.setattr(Shipping, "ledger", lambda self, folder: shipped.append(folder.name))
    name = house.trail.folder.path.name
    for each in (name, f"{name}.1", "of-a-journal-that-is-not-here"):
        (ledgers_root(house.trail.state) / each).mkdir(parents=True)
    result(house.archive.tick())
    assert shipped == [name, f"{name}.1"]

    def another(self: Shipping, folder: Folder) -> None:
        raise StoreFailed("was a backup restored here?")

    monkeypatch.setattr(Shipping, "must_be_ours", another)
    house.clock.advance(LOOK_SECONDS)
    assert isinstance(result(house.archive.tick()), Failure)
    assert len(shipped) == 2


def test_when_the_process_ends_no_segment_is_begun(house: House) -> None:
    house.archive.interrupt()
    result(house.archive.take(house.journal, house.records()))
    assert house.archive.position(house.journal) == 1
    assert house.archive.stop() is None  # type: ignore[func-returns-value]


def test_its_status_says_where_to(house: House) -> None:
    assert house.archive.status() == {}
    result(house.archive.tick())
    assert house.archive.status() == {"to": str(house.place.path)}


def test_that_it_fails_and_that_it_is_over_are_events(house: House) -> None:
    """An archive that is down fills the disk: the SIEM must hear of it, once."""
    house.store = StoreFailed("the bucket is gone")
    house.archive.judge(Lag(records=7, bytes=9), {})
    records = house.records()
    for _ in range(5):
        result(house.archive.take(house.journal, records))
    failed = AuditSinkFailed(sink="archive", error="the bucket is gone", records=7, bytes=9, required=True)
    assert house.said == [failed]
    house.store = house.place
    house.clock.advance(20)
    result(house.archive.take(house.journal, records))
    assert house.said == [failed, AuditSinkRecovered(sink="archive", seconds=20, records=7)]
