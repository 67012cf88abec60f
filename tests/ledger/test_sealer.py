"""Sealing: when, in which order on the disk, over restarts, rotations and restored directories."""

from __future__ import annotations

import shutil
import stat
from base64 import b64encode
from pathlib import Path

import pytest

from hoopproxy.events import AuditCheckpoint, AuditEpoch, AuditGap, GatewayClock
from hoopproxy.journal.commitments import commitment
from hoopproxy.journal.format import Kind
from hoopproxy.journal.reader import JournalReader
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.epoch import Epochs
from hoopproxy.ledger.leaf import Leaf, commitment_of, event_id, leaves_of, marker_of
from hoopproxy.ledger.note import Note
from hoopproxy.ledger.salts import Salts
from hoopproxy.ledger.sealer import HEARTBEAT_SECONDS
from hoopproxy.ledger.tree import Tree
from tests.cli.trail import Trail
from tests.ending import at_end
from tests.ledger.sealed import House


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "state")


def test_every_record_is_sealed_in_its_order_with_its_commitment(house: House) -> None:
    """Events and recorded bytes alike; an outsider makes the commitment by the formula in the docs."""
    house.work(5)
    records = house.records()
    tiles = house.sealer.tiles()
    salts = Salts(house.folder)
    at_end(salts.close)
    assert {record.kind for record in records} >= {Kind.EVENT, Kind.CHUNK}
    sealed = [each for index in range(tiles.size) for each in Leaf.decode(tiles.leaf(index)).records]
    for leaf, record in zip(sealed, records, strict=False):
        assert leaf.jseq == record.jseq
        assert leaf.kind == ("event" if record.kind == Kind.EVENT else "chunk")
        assert leaf.commitment == commitment(salts[record.key_id], record.jseq, record.kind, record.body)
        assert leaf.commitment == commitment_of(record, salts[record.key_id])
        event = house_event(record)
        assert leaf.id == (event["id"] if event else "")
    assert len(sealed) >= len(records) - 3


def house_event(record: object) -> dict[str, object] | None:
    from tests.ledger.sealed import Given

    found: dict[str, object] | None = Given(record).event  # type: ignore[arg-type]
    return found


def test_a_leaf_holds_nothing_that_a_client_said(house: House) -> None:
    """Trees are for outsiders."""
    session = house.trail.session("alice.secret")
    session.selects("SELECT 'needle-in-the-text'", ("n",), (b"needle-in-the-row",))
    session.end()
    house.follow()
    house.pass_time(1)
    data = b"".join(house.sealer.tiles().bundle(0) for _ in (0,))
    assert b"needle" not in data
    assert b"alice" not in data
    assert b"SELECT" not in data


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":{"a":"x"},"id":"00000000-0000-7000-8000-00000000000a","journal":"J","jseq":1,"v":1}',
        b'{"event":{"id":"client","journal":"J","jseq":7},"id":"00000000-0000-7000-8000-00000000000a",'
        b'"identity":{"id":"alice"},"journal":"J","jseq":1,"v":1}',
        b'{"event":{"identity":{"id":"x"},"z":"\\",\\"journal\\":\\"J\\",\\"jseq\\":9"},'
        b'"id":"00000000-0000-7000-8000-00000000000a","identity":{"id":"bob"},"journal":"J","jseq":1}',
        b'{"event":{"x":{"id":"00000000-0000-7000-8000-00000000000b","journal":"J","jseq":1}},'
        b'"id":"00000000-0000-7000-8000-00000000000a","journal":"K","jseq":1}',
    ],
)
def test_an_events_id_is_the_envelopes_whatever_the_client_says(body: bytes) -> None:
    """A client that could choose the id of its leaf could hide behind another's."""
    expected = b"00000000-0000-7000-8000-00000000000a"
    if b'"K"' in body:
        expected = event_id(body, marker_of("K"))
    assert event_id(body, marker_of("J" if b'"K"' not in body else "K")) == expected
    assert event_id(body, marker_of("other")) == b"00000000-0000-7000-8000-00000000000a"


def test_what_has_no_id_is_a_leaf_without_one() -> None:
    """A record that isn't JSON is sealed as it is."""
    assert event_id(b"\xff not json", marker_of("J")) == b""
    assert event_id(b'{"id":"quote\\"in it"}', marker_of("J")) == b""
    assert event_id(b"[1]", marker_of("J")) == b""
    assert leaves_of([], lambda key: b"", b"") == []


def test_traffic_is_sealed_within_a_second_and_told(house: House) -> None:
    """The loss bound of an outsider's proof is what has no checkpoint yet."""
    session = house.trail.session()
    session.selects("SELECT 1", ("n",), (b"1",))
    house.follow()  # the first record after a silence is sealed at once, or with the next tick
    house.pass_time(1)
    heads = [event for event in house.said if isinstance(event, AuditCheckpoint)]
    assert heads
    note = Note.parse(heads[-1].note.encode())
    head = Checkpoint.of(note)
    assert head == house.sealer.head
    assert (head.size, head.origin) == (heads[-1].size, heads[-1].origin)
    assert head.origin.startswith(f"gw1.example/{house.folder.path.name}/")
    assert note.verified([house.sealer.epochs.last.key])
    assert house.store.read("checkpoint") == heads[-1].note.encode()
    assert heads[-1].last == house.sealer.next_jseq - 1


def test_a_checkpoint_over_nothing_but_checkpoints_is_not_made(house: House) -> None:
    """Each would cause the next, for ever; an idle gateway signs once an hour."""
    house.work()
    signed = house.kinds().count("audit.checkpoint")
    for _ in range(30):
        house.follow()
        house.pass_time(60)
    assert house.kinds().count("audit.checkpoint") == signed
    assert house.sealer.size > house.sealer.tiles().size  # its event waits in the tree
    house.trail.say(GatewayClock(why="hour", monotonic=1))
    house.follow()
    house.pass_time(1)
    assert house.kinds().count("audit.checkpoint") == signed
    house.pass_time(HEARTBEAT_SECONDS - 1800)
    assert house.kinds().count("audit.checkpoint") == signed + 1
    house.trail.say(GatewayClock(why="step", monotonic=1, step=5000))
    house.follow()
    house.pass_time(1)
    assert house.kinds().count("audit.checkpoint") == signed + 2


def test_a_thousand_records_are_sealed_before_the_second_is_over(house: House) -> None:
    """A burst is pinned while it runs."""
    house.work()
    signed = house.kinds().count("audit.checkpoint")
    session = house.trail.session()
    for number in range(250):
        session.selects(f"SELECT {number}", ("n",), (b"1",))
    house.seconds += 0.6
    house.follow()
    assert house.kinds().count("audit.checkpoint") == signed + 1


def test_the_place_is_that_of_the_newest_checkpoint(house: House) -> None:
    """Retention waits for it: what is only in memory must stay in the journal."""
    house.work()
    house.follow()
    place = house.ledger.position(house.folder.id)
    assert place is not None
    assert place < house.sealer.next_jseq, "the checkpoint's own event is taken, and not signed"
    tiles = house.sealer.tiles()
    assert Leaf.decode(tiles.leaf(tiles.size - 1)).last == place - 1
    house.restart()
    assert house.ledger.position(house.folder.id) == place == house.sealer.next_jseq


def test_records_that_come_again_are_sealed_once(house: House) -> None:
    """Delivery is at least once."""
    house.work()
    records = house.records()
    house.sealer.take(records, len(records))
    size = house.sealer.size
    assert house.sealer.next_jseq == len(records) + 1
    house.sealer.take(records, len(records))
    assert (house.sealer.size, house.sealer.next_jseq) == (size, len(records) + 1)
    assert house.verified().is_fine


def test_after_a_crash_the_tree_goes_on_where_its_checkpoint_was(house: House) -> None:
    """Leaves beyond the last checkpoint are made again from the journal, and are the same."""
    house.work()
    head = house.sealer.head
    session = house.trail.session()
    for number in range(200):
        session.selects(f"SELECT {number}", ("n",), (b"1",))
    house.follow()  # in memory, or sealed
    house.restart()
    assert house.sealer.head is not None
    assert head is not None
    assert house.sealer.head.size >= head.size
    assert house.sealer.epochs.last.number == 1
    house.follow()
    house.pass_time(1)
    report = house.verified()
    assert report.problem is None
    assert report.checked == report.sealed


def test_the_same_journal_makes_the_same_tree(tmp_path: Path) -> None:
    """However it is handed out, in whole blocks: or a directory that was restored would sign two trees of one size."""
    house = House(tmp_path)
    for _ in range(4):
        house.work(40)
    head = house.sealer.head
    assert head is not None
    with JournalReader(house.folder) as reader:
        blocks = list(reader.blocks())
    salts, marker = Salts(house.folder), marker_of(house.folder.path.name)
    at_end(salts.close)
    assert len(blocks) > 3
    for step in (1, 2, len(blocks)):
        tree = Tree()
        for at in range(0, len(blocks), step):
            entries = [entry for block in blocks[at : at + step] for entry in block]
            tree.extend(leaves_of(entries, salts.__getitem__, marker))
            if tree.size == head.size:
                assert tree.root() == head.root
        assert tree.size >= head.size


def test_tiles_of_a_crash_before_the_checkpoint_do_no_harm(house: House) -> None:
    """They are there, no checkpoint speaks of them, and what takes their place may differ."""
    house.work()
    house.trail.session().selects("SELECT 1", ("n",), (b"1",))
    house.trail.journal.commit_now()
    sealer = house.sealer
    size = sealer.size
    house.follow()
    for name in (f"tile/0/000.p/{n}" for n in range(size + 1, size + 40)):
        house.store.write(name, b"torn")
    house.restart()
    house.follow()
    house.pass_time(1)
    assert house.verified().problem is None


def test_a_key_is_replaced_vouched_for_and_erased(tmp_path: Path) -> None:
    """Who takes the machine today can't sign yesterday's trail."""
    house = House(tmp_path)
    house.epoch_seconds = 100
    house.restart()
    house.work()
    first = house.sealer.epochs.last
    private = house.store.path / "epochs/000001.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    handle = private.open("rb")  # what stays open shows what became of the bytes
    secret = handle.read()
    house.pass_time(200)
    house.work()
    handle.seek(0)
    assert not private.exists()
    assert handle.read() == bytes(len(secret))
    epochs = house.sealer.epochs
    assert [(epoch.number, epoch.why) for epoch in epochs.all] == [(1, "first"), (2, "rotation")]
    assert epochs.vouched == [False, True]
    assert epochs.last.origin == first.origin
    assert epochs.trusted([first.key]) == epochs.all
    assert epochs.trusted([epochs.last.key]) == [epochs.last]
    told = [event for event in house.said if isinstance(event, AuditEpoch)]
    assert [event.epoch for event in told] == [1, 2]
    assert Epochs([event.note.encode() for event in told]).all == epochs.all
    house.restart()
    house.work()
    report = house.verified(pins=[first.key])
    assert report.problem is None
    assert report.pinned
    assert report.epochs == 2


def test_a_key_that_was_made_while_the_clock_was_ahead_is_replaced_when_it_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have signed for as many years as the clock was ahead."""
    house = House(tmp_path)
    house.epoch_seconds = 100
    house.restart()
    house.work()
    today = house.sealer._now
    monkeypatch.setattr(house.sealer, "_now", lambda: today() + 1e8)
    house.work()
    house.work()
    monkeypatch.setattr(house.sealer, "_now", today)
    house.work()
    house.work()
    assert [epoch.number for epoch in house.sealer.epochs.all] == [1, 2, 3]
    assert house.sealer.epochs.last.began < today() + 1
    assert house.verified().problem is None


def test_a_crash_in_a_rotation_leaves_one_key_that_signs(tmp_path: Path) -> None:
    """At every step there is a key, and what was signed holds."""
    house = House(tmp_path)
    house.work()
    store = house.store
    from hoopproxy.ledger.note import SigningKey

    store.write_key(2, SigningKey.new(house.sealer.epochs.last.origin))  # and then the power went
    house.restart()
    house.work()
    assert house.sealer.epochs.last.number == 1
    assert not (store.path / "epochs/000002.key").exists()
    house.epoch_seconds = 1
    house.restart()
    house.work()
    last = house.sealer.epochs.last.number
    assert last > 1
    store.write("epochs/000001.key", b"left behind\n")
    house.restart()
    assert house.ledger.position(house.folder.id)
    assert not (store.path / "epochs/000001.key").exists()
    assert house.verified().problem is None


def test_a_lost_key_begins_an_epoch_of_another_origin(house: House) -> None:
    """Nobody vouches for it, and the trail says so."""
    house.work()
    before = house.sealer.epochs.last
    (house.store.path / "epochs/000001.key").unlink()
    house.restart()
    house.work()
    last = house.sealer.epochs.last
    assert (last.number, last.why) == (2, "key-lost")
    assert last.origin != before.origin
    assert last.previous is not None
    assert last.previous.origin == before.origin
    report = house.verified()
    assert report.problem is None
    assert any("key-lost" in note for note in report.notes)
    assert house.verified(pins=[before.key]).problem is not None


def test_a_restored_ledger_signs_no_second_root_of_a_size(house: House, tmp_path: Path) -> None:
    """The journal is newer than the tree: what it says of checkpoints is believed, and the origin changes."""
    house.work()
    backup = tmp_path / "backup"
    shutil.copytree(house.state / "trail", backup)
    house.work(5)
    house.work(5)
    lost = house.sealer.head
    assert lost is not None
    origin = house.sealer.epochs.last.origin
    key = house.sealer.epochs.last.key
    shutil.rmtree(house.state / "trail")
    shutil.copytree(backup, house.state / "trail")
    house.restart()
    house.said.clear()
    house.work()
    last = house.sealer.epochs.last
    assert last.why == "restored"
    assert last.origin != origin
    assert last.previous == lost
    assert [event.why for event in house.said if isinstance(event, AuditGap)] == [
        f"a checkpoint of {lost.size} leaves is on record, newer than the ledger of {house.folder.path.name}"
    ]
    report = house.verified(pins=[key])
    assert report.problem is None
    assert report.pinned  # the key that was in the backup vouches for the new one
    house.work()
    assert house.sealer.epochs.last == last  # once is enough


def kept_of(house: House) -> bytes:
    """The newest checkpoint, as a SIEM has it."""
    return [event for event in house.said if isinstance(event, AuditCheckpoint)][-1].note.encode()


def test_a_state_directory_that_is_put_back_whole_signs_no_second_root_of_a_size(
    house: House, tmp_path: Path
) -> None:
    """Journal and tree agree, so nothing in them tells; that the files are a copy does. The backup of the docs was
    just this one."""
    house.work()
    before = kept_of(house)
    house.trail.stop()
    backup = house.copied(tmp_path / "backup")
    resumed(house)
    house.restart()
    house.work(2)
    old = house.sealer.epochs.last
    house.trail.stop()
    shutil.rmtree(house.state)
    shutil.copytree(backup, house.state)
    resumed(house)
    house.said.clear()
    house.restart()
    assert house.ledger.position(house.folder.id) is not None
    house.restart()  # it was killed before it had signed anything: it still is a copy
    house.work(3)
    house.work(3)
    last = house.sealer.epochs.last
    signed = [event.origin for event in house.said if isinstance(event, AuditCheckpoint)]
    assert len(signed) > 1
    assert old.origin not in signed
    assert (last.number, last.why) == (2, "restored")
    assert last.previous is not None
    assert last.previous.origin == old.origin
    assert ["is a copy" in event.why for event in house.said if isinstance(event, AuditGap)] == [True]
    report = house.verified(pins=[old.key], kept=[before])
    assert report.problem is None
    assert report.pinned


def test_a_state_directory_that_only_got_another_name_goes_on(tmp_path: Path) -> None:
    """Each new origin is something to look at, and to tell the witness."""
    house = House(tmp_path / "state")
    house.work()
    first = house.sealer.epochs.last
    house.trail.stop()
    house.state = house.trail.state = house.state.rename(tmp_path / "elsewhere")
    resumed(house)
    house.restart()
    house.work()
    assert house.sealer.epochs.last == first
    (house.store.path / "place").unlink()  # as a ledger of before there was one
    house.restart()
    house.work()
    assert house.sealer.epochs.last == first
    assert (house.store.path / "place").exists()


def test_a_ledger_that_is_gone_begins_again_under_another_name(house: House) -> None:
    """As above, with nothing left but the journal."""
    house.work()
    first, kept = house.sealer.epochs.last.origin, kept_of(house)
    shutil.rmtree(house.state / "trail")
    house.restart()
    house.work()
    house.work()
    epochs = house.sealer.epochs
    assert first not in {epoch.origin for epoch in epochs.all}
    assert epochs.last.why == "restored"
    assert epochs.last.previous is not None
    assert epochs.last.previous.origin == first
    assert house.verified().problem is None
    report = house.verified(kept=[kept])
    assert report.problem is None, "the same records make the same tree"
    assert report.notes[-1].endswith("so many of the present one are the same")
    lines = kept.split(b"\n")
    lines[2] = b64encode(bytes(32))  # another root
    report = house.verified(kept=[b"\n".join(lines)])
    assert report.problem is not None
    assert "is of a tree that was lost" in report.problem


def test_a_journal_that_went_back_is_sealed_in_another_tree(house: House, tmp_path: Path) -> None:
    """The tree is ahead of the journal: it is kept, and given up."""
    house.work()
    house.trail.stop()
    journals = tmp_path / "journals"
    shutil.copytree(house.state / "journals", journals)
    resumed(house)
    house.work(5)
    old = house.sealer.head
    origin = house.sealer.epochs.last.origin
    house.trail.stop()
    shutil.rmtree(house.state / "journals")
    shutil.copytree(journals, house.state / "journals")
    resumed(house)
    house.restart()
    house.said.clear()
    house.work(1)
    last = house.sealer.epochs.last
    assert last.why == "restored"
    assert last.origin != origin
    assert last.previous == old
    assert "audit.gap" in house.kinds()
    aside = house.store.path.with_name(f"{house.folder.path.name}.1")
    assert (aside / "checkpoint").exists()
    assert not list(aside.glob("epochs/*.key"))
    assert house.verified().problem is None


def resumed(house: House) -> None:
    """The gateway starts again on the journal that is there."""
    from hoopproxy.journal.folder import Folder
    from hoopproxy.journal.options import JournalOptions
    from hoopproxy.journal.writer import Journal

    trail = house.trail
    trail.folder = Folder.acquire(house.state)
    trail.journal = Journal(
        trail.folder,
        clock=lambda: trail.now,
        wall=lambda: trail.now,
        threaded=False,
        options=JournalOptions(reserve_bytes=0),
    )
    trail.journal.start()


def test_a_damaged_tree_is_kept_and_another_begun(house: House) -> None:
    """Signing on over tiles that are not what was signed would hide it."""
    house.work(60)
    for path in (house.store.path / "tile/0").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0" * path.stat().st_size)
    house.restart()
    house.work()
    assert house.sealer.epochs.all[0].why == "damaged"
    assert house.verified().problem is None


@pytest.mark.parametrize("name", ["checkpoint", "epochs/000001.note", "tile/entries/001", "tile/1/000.p/1"])
@pytest.mark.parametrize("what", ["gone", "empty", "changed"])
def test_whatever_is_wrong_with_the_files_sealing_goes_on(house: House, name: str, what: str) -> None:
    """What was there is kept, the trail says so, and what comes is sealed in a tree that verifies."""
    house.batch = 1
    house.work(70)
    folder = house.store.path
    path = folder / name if (folder / name).exists() else next((folder / f"{name}.p").iterdir())
    if what == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(b"" if what == "empty" else data[:30] + bytes([data[30] ^ 1]) + data[31:])
    house.restart()
    house.said.clear()
    house.work()
    report = house.verified()
    assert report.problem is None
    assert house.sealer.epochs.all[0].why == "damaged"
    assert "audit.gap" in house.kinds()
    assert any("given up" in note for note in report.notes)
    assert list(folder.parent.glob("*.1"))


def test_a_full_disk_is_told_and_nothing_is_lost(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same batch comes again; the checkpoint is that of all."""
    house.work(60)
    sealer = house.sealer
    real = sealer.ledger.write_tiles

    def full(tiles: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sealer.ledger, "write_tiles", full)
    session = house.trail.session()
    for number in range(60):
        session.selects(f"SELECT {number}", ("n",), (b"1",))
    house.seconds += 1
    with pytest.raises(OSError, match="No space"):
        house.follow()
    monkeypatch.setattr(sealer.ledger, "write_tiles", real)
    house.follow()
    house.pass_time(1)
    assert house.verified().problem is None


def test_each_journal_has_a_tree_of_its_own(house: House) -> None:
    """Two writers, two logs; what one journal says of the other's checkpoints is understood."""
    house.work()
    other = House(house.state, Trail(house.state))
    other.work()
    assert other.store.path != house.store.path
    assert other.sealer.epochs.last.origin != house.sealer.epochs.last.origin
    assert other.verified().problem is None
    assert house.verified().problem is None
