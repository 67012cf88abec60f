"""What is shipped can be read as the journal it was, whole or not at all, and again changes nothing."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from hoopproxy.archive.layout import BadNote, KeysNote, SegmentNote, keys_key
from hoopproxy.archive.reading import ArchiveFiles, archived
from hoopproxy.archive.shipping import Shipping, closed
from hoopproxy.archive.store import FolderStore, StoreFailed
from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from tests.cli.trail import Trail

from .support import SEGMENT, Dying, trail_of


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def facts(folder: Folder) -> list[tuple[int, int, int, bytes]]:
    def of(record: Record) -> tuple[int, int, int, bytes]:
        return record.jseq, record.kind, record.key_id, record.body

    with JournalReader(folder) as reader:
        return [of(record) for record in reader]


def read_all(store: FolderStore, folder: Folder) -> None:
    (found,) = archived(store)
    facts(found)
    found.files.close(found.files.open_read(_keys(folder)))


def contents(place: Path) -> dict[str, bytes]:
    """What a reader can see of a folder."""
    found = sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(place)): path.read_bytes() for path in found}


def test_an_archive_reads_as_the_journal_that_it_was(state: Path, place: Path) -> None:
    """The whole point: losing the host must not lose the responses."""
    folder = trail_of(state).folder
    assert len(folder.segments()) > 2
    Shipping(FolderStore(place), "gw1").journal(folder, 1)
    (found,) = archived(FolderStore(place))
    assert facts(found) == facts(folder)
    assert found.path.name == folder.path.name


def test_only_what_the_writer_is_done_with_is_shipped(state: Path, place: Path) -> None:
    """A segment that still grows would be another one tomorrow."""
    trail = trail_of(state, stop=False)
    folder = trail.folder
    reached = Shipping(FolderStore(place), "gw1").journal(folder, 1)
    assert [header.number for header, _ in closed(folder)] == folder.segments()[:-1]
    (found,) = archived(FolderStore(place))
    assert found.segments() == folder.segments()[:-1]
    assert reached == facts(found)[-1][0] + 1
    trail.stop()
    assert Shipping(FolderStore(place), "gw1").journal(folder, reached) == facts(folder)[-1][0] + 1
    assert facts(archived(FolderStore(place))[0]) == facts(folder)


def test_shipping_again_changes_nothing(state: Path, place: Path) -> None:
    """A cursor that was lost costs time, not the archive."""
    folder = trail_of(state).folder
    Shipping(FolderStore(place), "gw1").journal(folder, 1)
    before = contents(place)
    Shipping(FolderStore(place), "another node").journal(folder, 1)
    assert contents(place) == before


@pytest.mark.parametrize("after", range(12))
def test_whatever_is_half_there_is_not_there_and_the_next_one_goes_on(
    state: Path, place: Path, after: int
) -> None:
    """A kill in the middle of an upload, at each thing that is put."""
    folder = trail_of(state).folder
    try:
        Shipping(Dying(place, after), "gw1").journal(folder, 1)
    except StoreFailed:
        files = ArchiveFiles(FolderStore(place))
        there = [Folder(Path("/journals") / folder.path.name, files)] if files.exists(_keys(folder)) else []
        whole = facts(folder)
        for found in there:
            had = facts(found)
            assert had == whole[: len(had)]
    Shipping(FolderStore(place), "gw1").journal(folder, 1)
    assert facts(archived(FolderStore(place))[0]) == facts(folder)


def _keys(folder: Folder) -> Path:
    return Path("/journals") / folder.path.name / "keys"


def test_a_segment_that_was_changed_in_the_archive_is_damage_before_a_byte_of_it_is_shown(
    state: Path, place: Path
) -> None:
    folder = trail_of(state).folder
    Shipping(FolderStore(place), "gw1").journal(folder, 1)
    victim = sorted(place.rglob("*.segment"))[1]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    first = len(facts_of_first(folder))
    seen = []
    with pytest.raises(Damaged, match="SHA-256"), JournalReader(archived(FolderStore(place))[0]) as reader:
        seen.extend(record.jseq for record in reader)
    assert len(seen) == first


def facts_of_first(folder: Folder) -> list[int]:
    """The numbers of the first segment's records."""
    last = closed(folder)[0][1]
    return [jseq for jseq, *_ in facts(folder) if jseq <= last]


@pytest.mark.parametrize("missing", ["note", "content", "page"])
def test_what_is_missing_is_said(state: Path, place: Path, missing: str) -> None:
    folder = trail_of(state).folder
    Shipping(FolderStore(place), "gw1").journal(folder, 1)
    pattern = {"note": "000000000002.json", "content": "000000000002.*.segment", "page": "keys/*"}[missing]
    next(place.rglob(pattern)).unlink()
    with pytest.raises(HoopproxyError):
        read_all(FolderStore(place), folder)


def test_something_else_under_a_segments_name_stays_and_is_told(state: Path, place: Path) -> None:
    folder = trail_of(state).folder
    store = FolderStore(place)
    Shipping(store, "gw1").journal(folder, 1)
    note = SegmentNote.decode(store.get(SegmentNote.key_of(folder.path.name, 1)) or b"", _note_key(folder, 1))
    (place / note.content_key).write_bytes(b"something else")
    (place / note.key).unlink()
    with pytest.raises(StoreFailed, match="something else"):
        Shipping(FolderStore(place), "gw1").journal(folder, 1)
    assert (place / note.content_key).read_bytes() == b"something else"


def _note_key(folder: Folder, number: int) -> str:
    return SegmentNote.key_of(folder.path.name, number)


def test_a_key_that_is_erased_is_erased_from_the_archive_too(state: Path, place: Path) -> None:
    """With encryption, that is what erases the archive's recordings, which can't be changed."""
    folder = trail_of(state).folder
    shipping = Shipping(FolderStore(place), "gw1")
    shipping.journal(folder, 1)
    salt = folder.keys.read_bytes()[-64:]
    with folder.keys.open("r+b") as stream:
        stream.seek(-64, os.SEEK_END)
        stream.write(bytes(64))
    assert any(salt in data for data in contents(place).values())
    shipping.keys(folder)
    assert not any(salt in data for data in contents(place).values())
    note = KeysNote.decode(FolderStore(place).get(keys_key(folder.path.name)) or b"", "keys.json")
    assert note.files["keys"][0] == folder.keys.stat().st_size


def test_it_stops_between_two_segments_when_it_is_told_to(state: Path, place: Path) -> None:
    folder = trail_of(state).folder
    answers = iter([True, False])
    reached = Shipping(FolderStore(place), "gw1", lambda: next(answers)).journal(folder, 1)
    assert reached == closed(folder)[0][1] + 1


def test_a_ledgers_files_go_there_but_for_its_private_key(tmp_path: Path, place: Path) -> None:
    ledger = tmp_path / "ledger" / "the-journal"
    write(ledger, {"checkpoint": b"origin\n1\n", "tile/0/000": b"t0", "epochs/000001.key": b"secret"})
    shipping = Shipping(FolderStore(place), "gw1")
    shipping.ledger(ledger)
    at = "ledger/the-journal"
    assert contents(place) == {f"{at}/checkpoint": b"origin\n1\n", f"{at}/tile/0/000": b"t0"}
    write(ledger, {"checkpoint": b"origin\n2\n", "tile/0/001": b"t1"})
    for each in (shipping, Shipping(FolderStore(place), "gw1")):
        each.ledger(ledger)
        assert contents(place)[f"{at}/checkpoint"] == b"origin\n2\n"
        assert contents(place)[f"{at}/tile/0/001"] == b"t1"


def test_another_tree_in_a_ledgers_place_is_shipped_whole(tmp_path: Path, place: Path) -> None:
    """After a restored backup the tiles have the old names and other hashes."""
    ledger = tmp_path / "ledger" / "the-journal"
    write(ledger, {"checkpoint": b"origin\n1\n", "tile/0/000": b"old"})
    Shipping(FolderStore(place), "gw1").ledger(ledger)
    write(ledger, {"checkpoint": b"another\n1\n", "tile/0/000": b"new"})
    Shipping(FolderStore(place), "gw1").ledger(ledger)
    assert contents(place)["ledger/the-journal/tile/0/000"] == b"new"


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_what_a_restored_backup_went_on_with_is_not_taken_for_archived(state: Path, place: Path) -> None:
    """Retention would remove it, and it would be nowhere."""
    trail = trail_of(state, sessions=1, stop=False)
    backup = state.parent / "backup"
    shutil.copytree(state, backup)
    session = trail.session()
    session.selects("SELECT more", ("a",), (random.Random(9).randbytes(90_000).hex().encode(),))
    session.end()
    trail.stop()
    Shipping(FolderStore(place), "gw1").journal(trail.folder, 1)
    other = Trail(backup, folder=Folder.acquire(backup), segment_bytes=SEGMENT, start=trail.now)
    other.session().selects("SELECT other", ("a",), (random.Random(8).randbytes(90_000).hex().encode(),))
    other.stop()
    assert other.folder.id == trail.folder.id
    restored = other.folder
    before = contents(place)
    shipping = Shipping(FolderStore(place), "gw1")
    for ship in (lambda: shipping.journal(restored, 1), lambda: shipping.keys(restored)):
        with pytest.raises(StoreFailed, match="backup restored"):
            ship()
    assert contents(place) == before, "its keys least of all: what is archived opens with nothing else"


def test_a_backup_that_has_the_beginning_of_an_archived_segment_is_known_too(
    state: Path, place: Path
) -> None:
    """It was made while that segment was being written; a recovery has closed it where it was."""
    trail = trail_of(state, sessions=2, stop=False)
    backup = state.parent / "backup"
    shutil.copytree(state, backup)
    number = trail.folder.segments()[-1]
    trail.session().selects("SELECT more", ("a",), (b"short",))
    trail.journal.roll()
    trail.session()
    trail.stop()
    Shipping(FolderStore(place), "gw1").journal(trail.folder, 1)
    other = Trail(backup, folder=Folder.acquire(backup), segment_bytes=SEGMENT, start=trail.now)
    other.stop()
    archived_up_to = max(name for name in contents(place) if name.endswith(".json") and "segments" in name)
    assert archived_up_to.endswith(f"{number:012d}.json")
    assert number in {header.number for header, _ in closed(other.folder)}
    with pytest.raises(StoreFailed, match="backup restored"):
        Shipping(FolderStore(place), "gw1").must_be_ours(other.folder)


def test_a_journal_of_which_the_archived_segments_have_expired_goes_on(state: Path, place: Path) -> None:
    """Retention removes what is archived: then nothing here is what is there."""
    trail = trail_of(state)
    Shipping(FolderStore(place), "gw1").journal(trail.folder, 1)
    numbers = trail.folder.segments()
    for name in sorted(contents(place)):
        if name.endswith(".json") and name.rpartition("/")[2] >= f"{numbers[-1]:012d}":
            (place / name).unlink()
    for number in numbers[:-1]:
        trail.folder.segment(number).unlink()
    Shipping(FolderStore(place), "gw1").must_be_ours(trail.folder)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"v":1}', b'{"v":2}', b'{"v":1,"files":{"../x":{"size":1,"pages":[]}}}']
)
def test_a_note_that_is_none_is_a_sentence(data: bytes) -> None:
    with pytest.raises(BadNote):
        KeysNote.decode(data, "keys.json")
    with pytest.raises(BadNote):
        SegmentNote.decode(data, "000000000001.json")


def test_an_archive_is_only_read(state: Path, place: Path) -> None:
    Shipping(FolderStore(place), "gw1").journal(trail_of(state).folder, 1)
    files = archived(FolderStore(place))[0].files
    for write in (files.unlink, files.make_dir, files.open):
        with pytest.raises(OSError, match="Read-only"):
            write(Path("/journals/x"))


def test_an_empty_place_is_no_archive(place: Path) -> None:
    with pytest.raises(HoopproxyError, match="no journal there"):
        archived(FolderStore(place))
