"""What ``audit verify`` says of damage: where it is, how far it reaches, what holds nevertheless. Real journals of
several segments, damaged as disks and people do it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoopproxy.cli import main
from hoopproxy.events import AuditCheckpoint
from hoopproxy.journal.commitments import Stub, commitment
from hoopproxy.journal.folder import journals
from hoopproxy.journal.format import HEADER_SIZE, BlockHeader, BlockType
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.segment import SegmentReader
from hoopproxy.journal.survey import damage_of
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.damage import Damage
from hoopproxy.ledger.folder import CHECKPOINT, COSIGNED, LedgerFolder, ledgers_root
from hoopproxy.ledger.leaf import Leaf
from hoopproxy.ledger.note import SigningKey
from hoopproxy.ledger.report import Report
from hoopproxy.ledger.salts import Salts
from hoopproxy.ledger.tiles import Tiles, decode_bundle, encode_bundle
from hoopproxy.ledger.tree import Tree
from hoopproxy.ledger.verify import Said, Verification
from tests.cli.trail import Trail
from tests.ending import ending
from tests.ledger.sealed import House, edited, encrypted, rewritten_segment


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped gateway's state directory: a tree of more than one bundle, a journal of several segments."""
    state = tmp_path_factory.mktemp("damage") / "state"
    with ending():
        house = House(state, Trail(state, segment_bytes=1 << 14))
        house.batch = 2
        for number in range(14):
            session = house.trail.session("alice" if number & 1 else "bob")
            for _ in range(8):
                session.selects("SELECT 1", ("n",), (os.urandom(900).hex().encode(),))
            session.end()
            house.follow()
            house.pass_time(1)
        house.trail.stop()
        note = next(e.note for e in reversed(house.said) if isinstance(e, AuditCheckpoint))
        (state / "kept").write_text(note)
    assert len(Copy(state).folder.segments()) > 5
    assert Copy(state).ledger.read_or_none("tile/entries/000") is not None, "a full bundle"
    return state


class Copy:
    """A state directory in a test's hands."""

    def __init__(self, state: Path) -> None:
        self.state = state
        (self.folder,) = journals(state)
        self.ledger = LedgerFolder(ledgers_root(state) / self.folder.path.name)

    def verified(self, *kept: bytes) -> Report:
        verification = Verification(kept=[Said(note, "kept") for note in kept])
        verification.journal(self.folder, self.ledger)
        (report,) = verification.finish()
        return report

    def damage(self, *kept: bytes) -> Damage:
        """What is said of it once it is known not to be fine."""
        report = self.verified(*kept)
        assert not report.is_fine
        assert report.damage is not None
        return report.damage

    def blocks(self, number: int) -> list[tuple[int, BlockHeader]]:
        segment = SegmentReader(self.folder.files, self.folder.segment(number))
        try:
            return list(segment.blocks_after(HEADER_SIZE))
        finally:
            segment.close()

    def path(self, number: int) -> Path:
        return self.folder.segment(number)


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Copy:
    return Copy(Path(shutil.copytree(original, tmp_path / "state")))


def flipped(path: Path, at: int, mask: int = 1) -> None:
    edited(path, lambda data: data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])


def of(damage: Damage, kind: str) -> list[tuple[str, int | None]]:
    return [(place.file, place.offset) for place in damage.places if place.kind == kind]


def records_of(damage: Damage, kind: str) -> list[tuple[int | None, int | None]]:
    return [(place.first, place.last) for place in damage.places if place.kind == kind]


def stretches(damage: Damage) -> list[tuple[int, int]]:
    return [(each.first, each.last) for each in damage.stretches]


def of_records(copy: Copy, number: int, index: int) -> tuple[int, BlockHeader]:
    return [each for each in copy.blocks(number) if each[1].type is BlockType.RECORDS][index]


def sealed(copy: Copy) -> int:
    return copy.verified().sealed


def test_what_is_fine_has_no_damage(copy: Copy) -> None:
    """All the others would mean nothing."""
    report = copy.verified((copy.state / "kept").read_bytes())
    assert report.is_fine
    assert report.damage is None
    found = damage_of(copy.folder)
    assert not found.places
    assert (found.stretches[0].first, found.stretches[0].last) == (1, found.records)
    assert found.links[0] == found.links[1] > 4


def test_a_flipped_byte_costs_its_block_and_names_its_session(copy: Copy) -> None:
    """Before, an auditor learned of the first fault, and nothing of what lies behind it."""
    number, last = copy.folder.segments()[2], sealed(copy)
    at, block = of_records(copy, number, 2)
    flipped(copy.path(number), at + block.payload_offset + 5)
    damage = copy.damage()
    place, link = damage.places
    assert (place.kind, place.segment, place.offset, place.end) == ("checksum", number, at, at + block.size)
    assert (place.first, place.last) == (block.first, block.last)
    assert len(place.sessions) == 1
    assert damage.sessions == list(place.sessions)
    assert (link.kind, link.segment) == ("chain", number)
    assert stretches(damage) == [(1, block.first - 1), (block.last + 1, last)]
    assert damage.intact + damage.missing == last
    assert damage.by == "checkpoint"
    assert damage.tree
    assert damage.keys
    assert damage.links[0] == damage.links[1] - 1
    assert damage.checkpoints > 5


def test_two_places_are_two_and_what_is_between_them_is_proven(copy: Copy) -> None:
    """Before, between and after, each by the leaves: the chain says nothing behind the first."""
    numbers, last = copy.folder.segments(), sealed(copy)
    one, other = of_records(copy, numbers[1], 1), of_records(copy, numbers[-3], 1)
    for number, (at, block) in ((numbers[1], one), (numbers[-3], other)):
        flipped(copy.path(number), at + block.payload_offset)
    damage = copy.damage()
    assert of(damage, "checksum") == [
        (copy.path(numbers[1]).name, one[0]),
        (copy.path(numbers[-3]).name, other[0]),
    ]
    assert stretches(damage) == [
        (1, one[1].first - 1),
        (one[1].last + 1, other[1].first - 1),
        (other[1].last + 1, last),
    ]


def test_a_zeroed_page_is_one_place(copy: Copy) -> None:
    """From the block that it begins in to the first that is sound behind it."""
    number = copy.folder.segments()[3]
    edited(copy.path(number), lambda data: data[:4096] + bytes(4096) + data[8192:])
    damage = copy.damage()
    (place,) = [place for place in damage.places if place.kind == "checksum"]
    assert place.offset is not None
    assert place.end is not None
    assert place.offset <= 4096
    assert place.end >= 8192
    assert len(damage.stretches) == 2
    assert place.first == damage.stretches[0].last + 1
    assert place.last == damage.stretches[1].first - 1


def test_a_damaged_block_header_is_passed_over_and_the_numbers_tell_the_session(copy: Copy) -> None:
    """Nothing says whose records they were, but that their events leave numbers out."""
    number = copy.folder.segments()[2]
    at, block = of_records(copy, number, 2)
    flipped(copy.path(number), at)
    damage = copy.damage()
    assert of(damage, "checksum") == [(copy.path(number).name, at)]
    assert records_of(damage, "checksum") == [(block.first, block.last)]
    assert len(damage.sessions) == 1


@pytest.mark.parametrize("at", [0, 9, 16, 40, 130, 185])
def test_a_damaged_segment_header_costs_no_record(copy: Copy, at: int) -> None:
    """Blocks have checksums of their own, and leaves: what the header says is not needed for that."""
    number, last = copy.folder.segments()[2], sealed(copy)
    flipped(copy.path(number), at)
    damage = copy.damage()
    assert of(damage, "checksum")[0] == (copy.path(number).name, 0)
    assert stretches(damage) == [(1, last)]


def test_a_segment_that_is_cut_is_named_where_it_ends(copy: Copy) -> None:
    """And what the next one goes on with is proven."""
    number = copy.folder.segments()[2]
    at, block = of_records(copy, number, 2)
    end = copy.blocks(number)[-1][1].last
    edited(copy.path(number), lambda data: data[: at + 10])
    damage = copy.damage()
    place = next(place for place in damage.places if place.segment == number)
    assert (place.offset, place.first, place.last) == (at, block.first, end)
    assert stretches(damage)[1][0] == end + 1


def test_a_cut_tail_is_missing(copy: Copy) -> None:
    """With the watermark gone nothing in the journal tells it: the leaves do."""
    copy.folder.watermark.unlink()
    last, number = sealed(copy), copy.folder.segments()[-1]
    copy.path(number).unlink()
    damage = copy.damage()
    (place,) = damage.places
    assert (place.kind, place.last) == ("missing", last)
    assert stretches(damage) == [(1, (place.first or 0) - 1)]
    assert damage.missing == last - (place.first or 0) + 1


@pytest.mark.parametrize("index", [0, 4])
def test_a_missing_segment_is_named_with_its_records(copy: Copy, index: int) -> None:
    """The first one, too, that no retention on record removed."""
    number = copy.folder.segments()[index]
    blocks = copy.blocks(number)
    copy.path(number).unlink()
    damage = copy.damage()
    places = [place for place in damage.places if place.kind == "missing"]
    assert [place.file for place in places] == [copy.path(number).name]
    assert (places[0].first, places[0].last) == (max(blocks[0][1].first, 1), blocks[-1][1].last)
    assert damage.missing == blocks[-1][1].last - max(blocks[0][1].first, 1) + 1


def test_two_segments_that_changed_places_are_named_and_all_records_are_proven(copy: Copy) -> None:
    """Each file says which it is."""
    last = sealed(copy)
    one, other = (copy.path(number) for number in copy.folder.segments()[2:4])
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    damage = copy.damage()
    assert of(damage, "chain") == [(one.name, 0), (other.name, 0)]
    assert stretches(damage) == [(1, last)]


def test_an_old_file_in_a_newer_ones_place_is_named(copy: Copy) -> None:
    """A segment that was there before is sound by itself, and no part of the chain in that place."""
    numbers = copy.folder.segments()
    shutil.copyfile(copy.path(numbers[1]), copy.path(numbers[4]))
    blocks = copy.blocks(numbers[4])
    damage = copy.damage()
    assert copy.path(numbers[4]).name in [name for name, _ in of(damage, "chain")]
    (place,) = [place for place in damage.places if place.kind == "missing"]
    assert place.file == copy.path(numbers[4]).name
    assert blocks
    assert len(damage.stretches) == 2


def test_a_record_that_was_rewritten_with_all_checksums_in_order_is_named_by_its_leaf(copy: Copy) -> None:
    """The chain breaks, which doesn't say where; the leaf does."""
    number, last = copy.folder.segments()[3], sealed(copy)
    victim = of_records(copy, number, 1)[1].first

    def change(jseq: int, body: bytes) -> bytes:
        return bytes([body[0] ^ 1]) + body[1:] if jseq == victim else body

    rewritten_segment(copy.folder, change, segment=number)
    damage = copy.damage()
    assert [(place.first, place.last) for place in damage.places if place.kind == "leaf"] == [
        (victim, victim)
    ]
    assert damage.changed == 1
    assert stretches(damage) == [(1, victim - 1), (victim + 1, last)]


def test_an_edited_leaf_costs_its_own_records_only(copy: Copy) -> None:
    """The tile says which of the bundle's leaves it is."""
    bundle = copy.ledger.path / "tile/entries/000"
    leaves = decode_bundle(bundle.read_bytes())
    leaf = Leaf.decode(leaves[9])
    offset = sum(2 + len(each) for each in leaves[:9])
    last = sealed(copy)
    leaves[9] = leaves[9].replace(b'"jseq"', b'"jsEq"')
    bundle.write_bytes(encode_bundle(leaves))
    damage = copy.damage()
    assert of(damage, "leaf") == [("tile/entries/000", offset)]
    assert not damage.tree
    assert stretches(damage) == [(1, leaf.jseq - 1), (leaf.last + 1, last)]
    assert damage.unproven == len(leaf)


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001", "tile/0/002", "tile/1/000"])
@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_a_damaged_tile_is_named_and_costs_no_record(copy: Copy, name: str, how: str) -> None:
    """What is below it hashes to the same root."""
    last = sealed(copy)
    path = copy.ledger.path / name
    if not path.exists():
        path = max((copy.ledger.path / f"{name}.p").iterdir(), key=lambda each: int(each.name))
    if how == "flipped":
        flipped(path, 33)
    else:
        path.unlink()
    damage = copy.damage()
    named = path.relative_to(copy.ledger.path).as_posix()
    assert of(damage, "tile") == [(named, 32 if how == "flipped" else None)]
    assert stretches(damage) == [(1, last)]


def test_a_tile_and_an_entry_below_it_cost_what_only_they_told(copy: Copy) -> None:
    """Never more than what was proved: no leaf of that bundle is, and all of the others are."""
    flipped(copy.ledger.path / "tile/0/001", 33)
    flipped(copy.ledger.path / "tile/entries/001", 40)
    bundle = copy.ledger.path / "tile/entries/000"
    first = Leaf.decode(decode_bundle(bundle.read_bytes())[255]).last + 1
    damage = copy.damage()
    assert of(damage, "tile")[0] == ("tile/0/001", None)
    assert damage.stretches[0].last == first - 1
    assert len(damage.stretches) == 2
    assert damage.unproven == damage.stretches[1].first - first


def test_a_forged_checkpoint_is_named_and_the_trails_own_stand_in_for_it(copy: Copy) -> None:
    """Signed by nobody. What the trail has on record is of the same tree, a little smaller."""
    data = copy.ledger.read(CHECKPOINT)
    key = SigningKey.new(Checkpoint.parse(data.partition(b"\n\n")[0] + b"\n").origin)
    head = Checkpoint(key.public.name, 300, bytes(32))
    (copy.ledger.path / CHECKPOINT).write_bytes(head.signed(key))
    damage = copy.damage()
    assert [place.kind for place in damage.places] == ["checkpoint"]
    assert damage.by.startswith("record ")
    assert damage.intact > 300
    assert (damage.missing, damage.changed) == (0, 0)


def test_a_kept_checkpoint_that_the_tree_is_not_of_is_named(copy: Copy) -> None:
    """An older state directory in the place of the newer one: the disk agrees with itself."""
    kept = (copy.state / "kept").read_bytes()
    damage = copy.damage(kept.replace(b"\n53", b"\n54") if b"\n53" in kept else kept + b"x")
    assert of(damage, "checkpoint") == [("kept", None)]
    assert damage.tree
    assert len(damage.stretches) == 1


@pytest.mark.parametrize("at", [5, 75, 130, 200])
def test_a_witnessed_checkpoint_that_is_none_of_this_tree_is_named(copy: Copy, at: int) -> None:
    """It is what `audit prove` proves by, and nobody looked at it."""
    path = copy.ledger.path / COSIGNED
    shutil.copyfile(copy.ledger.path / CHECKPOINT, path)
    assert copy.verified().is_fine
    flipped(path, at)
    damage = copy.damage()
    assert of(damage, "checkpoint") == [(COSIGNED, None)]
    assert damage.by == CHECKPOINT
    assert len(damage.stretches) == 1


def test_a_tree_that_was_cut_with_the_key_at_hand_is_shorter_than_what_a_witness_signed(copy: Copy) -> None:
    """Whoever owns the machine signs the shorter one, and may forget that file."""
    shutil.copyfile(copy.ledger.path / CHECKPOINT, copy.ledger.path / COSIGNED)
    key = copy.ledger.key(1)
    assert key is not None
    tree, tiles = Tree(), Tiles(copy.ledger.read, 533)
    tree.extend([tiles.leaf(index) for index in range(256)])
    copy.ledger.write(CHECKPOINT, Checkpoint(key.public.name, 256, tree.root()).signed(key))
    report = copy.verified()
    assert report.problem is not None
    assert "its tail was cut off" in report.problem


def test_an_entry_of_the_key_file_is_named(copy: Copy) -> None:
    """Without its salt nothing of that session is proven, and nothing of it is called changed."""
    flipped(copy.folder.keys, 64 * 3 + 30)
    damage = copy.damage()
    assert of(damage, "keys") == [("keys", 64 * 3)]
    assert damage.unproven > 10
    assert (damage.changed, damage.missing, damage.keys) == (0, 0, False)


def test_without_a_tree_nothing_is_called_proven(copy: Copy) -> None:
    """Everything is sound by its own checksums, and that is all that can be said."""
    shutil.rmtree(copy.ledger.path / "tile")
    flipped(copy.path(copy.folder.segments()[2]), 3000)
    damage = copy.damage()
    assert (damage.by, damage.intact, damage.stretches) == ("", 0, [])
    assert damage.unproven > 500


def test_an_erasing_that_nobody_ordered_is_in_no_place(copy: Copy) -> None:
    """The commitments are what was sealed; that nobody ordered it is the verdict, and there is no place to name."""
    number, last = copy.folder.segments()[3], sealed(copy)
    _, block = of_records(copy, number, 1)
    with JournalReader(copy.folder, since=block.first) as reader:
        victim = next(iter(reader))
    salts = Salts(copy.folder)
    kept = commitment(salts[victim.key_id], victim.jseq, victim.kind, victim.body)
    salts.close()
    stub = Stub(victim.kind, len(victim.body), kept).encode()
    rewritten_segment(
        copy.folder,
        lambda jseq, body: stub if jseq == victim.jseq else body,
        stubs=frozenset({victim.jseq}),
        by=9,
        segment=number,
    )
    damage = copy.damage()
    assert damage.erased == 1
    assert stretches(damage) == [(1, last)]
    told = CliRunner().invoke(main, ["audit", "verify", "--state", str(copy.state)]).output
    assert "1 of these are erased" in told


def test_an_encrypted_journal_is_proven_unopened(tmp_path: Path) -> None:
    """Leaves commit to what is stored; who has no key is told of places and records all the same."""
    state = tmp_path / "state"
    house = House(state, encrypted(state))
    house.work(3)
    house.work(3)
    house.trail.stop()
    (state / "reader-key").unlink()
    copy = Copy(state)
    report = copy.verified()
    assert report.is_fine
    number = copy.folder.segments()[-1]
    at, block = of_records(copy, number, 3)
    flipped(copy.path(number), at + block.payload_offset + block.stored - 1)
    damage = copy.damage()
    assert of(damage, "checksum") == [(copy.path(number).name, at)]
    assert stretches(damage) == [(1, block.first - 1), (block.last + 1, report.sealed)]


def test_a_journal_that_is_written_meanwhile_is_read_to_its_watermark(tmp_path: Path) -> None:
    """What isn't durable yet is no damage."""
    state = tmp_path / "state"
    house = House(state)
    house.work(3)
    house.work(3)
    copy = Copy(state)
    sealed_records = copy.verified().sealed
    at, block = of_records(copy, copy.folder.segments()[0], 3)
    flipped(copy.path(copy.folder.segments()[0]), at + block.payload_offset)
    assert copy.folder.is_live
    damage = copy.damage()
    assert len(damage.places) == 1
    assert stretches(damage) == [(1, block.first - 1), (block.last + 1, sealed_records)]


def test_both_commands_tell_all_of_it_and_exit_with_1(copy: Copy) -> None:
    """To people and to programs."""
    number = copy.folder.segments()[2]
    at, block = of_records(copy, number, 2)
    flipped(copy.path(number), at + block.payload_offset + 5)
    where = ("--state", str(copy.state))
    told = CliRunner().invoke(main, ["audit", "verify", *where])
    assert told.exit_code == 1
    place = f"{copy.path(number).name}, bytes {at} to {at + block.size - 1}: checksum"
    for line in ("2 damaged places", place, "what holds nevertheless", "records 1 to "):
        assert line in told.output
    said = json.loads(CliRunner().invoke(main, ["audit", "verify", *where, "--json"]).stdout)
    assert said["fine"] is False
    assert said["damage"]["places"][0]["offset"] == at
    assert said["damage"]["holds"]
    checked = CliRunner().invoke(main, ["journal", "check", *where])
    assert checked.exit_code == 1
    assert place in checked.output
    found = json.loads(CliRunner().invoke(main, ["journal", "check", *where, "--json"]).stdout)
    assert found["sound"] is False
    assert found["damage"]["places"][0]["first"] == block.first


def test_a_state_that_differs_is_damage_to_check_and_no_sealed_thing(copy: Copy) -> None:
    """`journal check` reads every byte, and did not read that one; the tree knows nothing of it."""
    number = copy.folder.segments()[-1]
    at, block = copy.blocks(number)[0]
    assert block.type is BlockType.STATE
    flipped(copy.path(number), at + block.payload_offset)
    report = copy.verified()
    assert report.is_fine
    assert any("which holds no record" in note for note in report.notes)
    result = CliRunner().invoke(main, ["journal", "check", "--state", str(copy.state)])
    assert result.exit_code == 1
    assert "holds no record" in result.output


def _counts_for_nothing(copy: Copy, path: Path, at: int) -> bool:
    """Whether a byte is outside of what is sealed, and of what proves it: proven by where it is."""
    below = path.relative_to(copy.state).parts
    if path.name in ("place", "watermark", "lock", "kept") or path.suffix == ".key":
        return True  # the disk's number, a hint for readers, the private key
    if "tile" in below and path.parent.suffix == ".p":
        size = copy.ledger.read(CHECKPOINT).split(b"\n")[1]
        level = 1 if below[-3] == "1" else 0
        return int(path.name) != (int(size) >> 8 * level) % 256  # a partial tile of an earlier size
    if path.suffix == ".segment":
        blocks = copy.blocks(int(path.stem))
        behind = [block for offset, block in blocks if offset <= at]
        return bool(behind) and behind[-1].type is not BlockType.RECORDS
    return False


@pytest.fixture(scope="module")
def shared(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """One that every example gives back as it was."""
    return Copy(Path(shutil.copytree(original, tmp_path_factory.mktemp("shared") / "state")))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(which=st.integers(0, 1 << 30), place=st.integers(0, 1 << 30), mask=st.integers(1, 255))
def test_whatever_byte_is_changed_it_is_seen_or_counts_for_nothing(
    shared: Copy, which: int, place: int, mask: int
) -> None:
    """In every file of journal and ledger; and what can't be verified is placed somewhere."""
    files = sorted(path for path in shared.state.rglob("*") if path.is_file() and path.stat().st_size)
    path = files[which % len(files)]
    at = place % path.stat().st_size
    outside = _counts_for_nothing(shared, path, at)
    flipped(path, at, mask)
    try:
        report = shared.verified()
        damage_of(shared.folder)
    finally:
        flipped(path, at, mask)
    if report.is_fine:
        assert outside, f"byte {at} of {path.name}"
    else:
        assert report.damage is not None
        assert report.damage.places


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_done_to_segments_nothing_is_called_proven_that_is_not_there(
    shared: Copy, data: st.DataObject
) -> None:
    """Cut, zeroed, repeated or filled with another's bytes: no more is intact than what still stands there."""
    path = shared.path(data.draw(st.sampled_from(shared.folder.segments())))
    before = path.read_bytes()
    start = data.draw(st.integers(0, len(before)))
    end = data.draw(st.integers(start, min(start + 6000, len(before))))
    other = data.draw(st.sampled_from([b"", bytes(end - start), before[:6000], os.urandom(50)]))
    path.write_bytes(before[:start] + other + before[end:])
    try:
        report = shared.verified()
    finally:
        path.write_bytes(before)
    if report.is_fine:
        return
    assert report.damage is not None
    assert report.damage.places
    assert report.damage.intact + report.damage.missing + report.damage.changed == shared.verified().sealed
