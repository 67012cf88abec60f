"""What ``audit verify`` must find, and what it must not call damage. Each tampering is a thing that somebody with
the files could do."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.events import AuditCheckpoint, AuditErasure, AuditRetention
from hoopproxy.journal.commitments import Stub, commitment
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import (
    BlockType,
    Compression,
    Kind,
    SegmentHeader,
    encode_block,
    encode_records,
)
from hoopproxy.journal.reader import JournalReader
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.epoch import Epoch
from hoopproxy.ledger.folder import CHECKPOINT
from hoopproxy.ledger.leaf import Leaf
from hoopproxy.ledger.note import SigningKey
from hoopproxy.ledger.salts import Salts
from hoopproxy.ledger.tiles import decode_bundle, encode_bundle
from hoopproxy.ledger.tree import Tree
from tests.ending import at_end
from tests.ledger.sealed import House, edited, encrypted, rewritten_segment


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A leaf a record, so that the tree has more than one tile."""
    made = House(tmp_path / "state")
    made.batch = 1
    made.work(70)
    made.work(3)
    return made


def audit(*words: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, words)])


def test_what_was_sealed_is_found_fine(house: House) -> None:
    """The other findings mean nothing if this isn't so."""
    report = house.verified(pins=[house.sealer.epochs.all[0].key])
    assert report.problem is None
    assert report.pinned
    assert report.checked == report.sealed > 256
    assert report.unsealed < 5
    assert report.checkpoints >= 1
    assert not report.erased


def changed(house: House, change: Callable[[int, bytes], bytes | None], swap: int = 0) -> None:
    """Write the journal again with other bodies (``None``: without the record), CRCs and all in order."""
    rewritten_segment(house.folder, change, swap)


def test_one_flipped_bit_is_named(house: House) -> None:
    """Checksums can be made again by whoever changes a body; the leaf can't."""
    victim = next(record for record in house.records() if record.kind == Kind.CHUNK and record.jseq > 100)

    def flip(jseq: int, body: bytes) -> bytes:
        return bytes([body[0] ^ 1]) + body[1:] if jseq == victim.jseq else body

    house.trail.stop()
    changed(house, flip)
    report = house.verified()
    assert report.first_bad == victim.jseq
    assert report.problem == f"record {victim.jseq} was changed after it was sealed"


def test_a_removed_event_is_named(house: House) -> None:
    """With the numbers of all that follow moved up, as a careful forger would do it."""
    house.trail.stop()
    changed(house, lambda jseq, body: None if jseq == 77 else body)
    report = house.verified()
    assert report.first_bad == 77
    assert report.problem is not None


def test_a_reordered_pair_is_named(house: House) -> None:
    """Who did what first is what an audit is about."""
    house.trail.stop()
    changed(house, lambda jseq, body: body, 90)
    report = house.verified()
    assert report.first_bad in (90, 91)


def test_a_cut_tail_is_named_where_the_tree_still_has_it(house: House) -> None:
    """The last hour is what an intruder wants gone."""
    house.trail.stop()
    last = house.records()[-1].jseq
    changed(house, lambda jseq, body: body if jseq < last - 30 else None)
    report = house.verified()
    assert report.first_bad == last - 30
    assert report.problem == f"record {last - 30} was sealed, but the journal ends before it"


def forged(house: House, keep: int, key: SigningKey | None = None) -> None:
    """Cut the tree to ``keep`` leaves and sign that, as root on the machine can within the epoch."""
    store = house.store
    tiles = house.sealer.tiles()
    tree = Tree()
    tree.extend([tiles.leaf(index) for index in range(keep)])
    files = list(tree.files())
    key = key or store.key(len(house.sealer.epochs))
    assert key is not None
    store.write_tiles(files)
    store.write(CHECKPOINT, Checkpoint(key.public.name, keep, tree.root()).signed(key))


def test_a_cut_tail_shows_under_a_checkpoint_that_somebody_kept(house: House) -> None:
    """Whoever owns the machine can cut journal and tree alike: the SIEM has the checkpoint."""
    kept = [event for event in house.said if isinstance(event, AuditCheckpoint)][-1]
    house.trail.stop()
    forged(house, 100)
    changed(house, lambda jseq, body: body if jseq <= 100 else None)
    assert house.verified().problem is None, "by itself, the disk agrees with itself"
    report = house.verified(kept=[kept.note.encode()])
    assert report.problem is not None
    assert "its tail was cut off" in report.problem


def test_a_restoring_that_somebody_made_up_does_not_explain_a_kept_checkpoint_away(house: House) -> None:
    """Whoever has the present key can say that the tree was restored, and sign a shorter one under another name: the
    checkpoint that was kept elsewhere was a note then, and all was fine."""
    kept = [event for event in house.said if isinstance(event, AuditCheckpoint)][-1]
    head, store = house.sealer.head, house.store
    old = store.key(len(house.sealer.epochs))
    assert head is not None
    assert old is not None
    house.trail.stop()
    key = SigningKey.new(f"{old.public.name.rpartition('/')[0]}/00000000")
    epoch = Epoch(number=2, key=key.public, began=1, why="restored", previous=head)
    store.write_epoch(2, epoch.signed([key, old]))
    forged(house, 100, key)
    changed(house, lambda jseq, body: body if jseq <= 100 else None)
    pins = [old.public]
    assert house.verified(pins=pins).problem is None, "this is what a restored one looks like"
    report = house.verified(pins=pins, kept=[kept.note.encode()])
    assert report.problem is not None
    assert report.problem.startswith(
        "kept 0 is newer than the ledger was when it was restored, and nothing here"
    )


def test_what_nobody_sealed_for_long_is_said(house: House) -> None:
    """The process that seals is down, or somebody put an older checkpoint back and writes anew what was behind it."""
    session = house.trail.session("alice")
    session.selects("SELECT 1", ("n",), (b"1",))
    house.trail.now += 50 * 10**9
    session.selects("SELECT 2", ("n",), (b"1",))
    assert not house.verified().notes
    house.trail.now += 20 * 10**9
    session.selects("SELECT 3", ("n",), (b"1",))
    report = house.verified()
    assert report.problem is None
    assert report.notes[-1].startswith("the records that are newer than the newest checkpoint are of 70 s")


def test_another_history_shows_under_a_checkpoint_that_somebody_kept(house: House) -> None:
    """The same size, another record in it."""
    kept = [event for event in house.said if isinstance(event, AuditCheckpoint)][-1]
    store, size = house.store, kept.size
    tiles = house.sealer.tiles()
    leaves = [tiles.leaf(index) for index in range(tiles.size)]
    leaves[5] = leaves[5].replace(b'"jseq":6', b'"jseq":7')
    tree = Tree()
    tree.extend(leaves)
    store.write_tiles(tree.files())
    key = store.key(1)
    assert key is not None
    store.write(CHECKPOINT, Checkpoint(key.public.name, tree.size, tree.root()).signed(key))
    report = house.verified(kept=[kept.note.encode()])
    assert report.problem is not None
    assert size == tree.size
    assert report.first_bad is not None


def test_a_checkpoint_by_another_epochs_key_is_refused(tmp_path: Path) -> None:
    """A key that leaked must not sign for another epoch."""
    house = House(tmp_path)
    house.epoch_seconds = 50
    house.restart()
    house.work()
    first = house.store.key(1)
    assert first is not None
    house.pass_time(60)
    house.work()
    assert len(house.sealer.epochs) == 2
    head = house.sealer.head
    assert head is not None
    house.store.write(CHECKPOINT, head.signed(first))
    report = house.verified()
    assert report.problem is not None
    assert "the key of epoch 1 signed" in report.problem
    stranger = SigningKey.new(head.origin)
    house.store.write(CHECKPOINT, head.signed(stranger))
    report = house.verified()
    assert report.problem == "the note is signed by none of the keys that are trusted"


def test_keys_that_nobody_vouches_for_are_not_the_ones_that_were_pinned(house: House) -> None:
    """Otherwise a forger brings a key of his own."""
    report = house.verified(pins=[SigningKey.new("gw1.example/x").public])
    assert report.problem is not None
    assert "vouched for by none" in report.problem


@pytest.mark.parametrize("name", ["tile/entries/000", "tile/0/000", "tile/1/000.p/1", "checkpoint"])
def test_a_changed_byte_of_the_ledger_is_named(house: House, name: str) -> None:
    """Wherever it is: the file, and the record if it is one's."""
    edited(house.store.path / name, lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:])
    report = house.verified()
    assert report.problem is not None
    if name.startswith("tile/"):
        assert "tile/" in report.problem


@pytest.mark.parametrize("name", ["tile/entries/000", "tile/0/000", "checkpoint", "epochs/000001.note"])
def test_a_missing_file_of_the_ledger_is_named(house: House, name: str) -> None:
    """And is no traceback."""
    (house.store.path / name).unlink()
    assert house.verified().problem is not None


def test_an_inserted_record_was_never_sealed(house: House) -> None:
    """Something that is made up afterwards."""
    store = house.store
    tiles = house.sealer.tiles()
    leaves = [tiles.leaf(index) for index in range(tiles.size) if index != 50]
    tree = Tree()
    tree.extend(leaves)
    store.write_tiles(tree.files())
    key = store.key(1)
    assert key is not None
    store.write(CHECKPOINT, Checkpoint(key.public.name, tree.size, tree.root()).signed(key))
    report = house.verified()
    assert report.first_bad == 51
    assert report.problem == "record 51 is in the journal, but was never sealed: 52 is in its place"


@pytest.fixture
def blocks(tmp_path: Path) -> House:
    """Leaves of many records each, as a gateway's are."""
    made = House(tmp_path / "blocks")
    made.work_at_once(70)
    leaves = [Leaf.decode(made.sealer.tiles().leaf(at)) for at in range(made.sealer.tiles().size)]
    assert max(map(len, leaves)) > 60
    return made


@pytest.mark.parametrize("victim", [1, 30, 64, 65, 200])
def test_in_a_leaf_of_many_the_one_that_differs_is_named(blocks: House, victim: int) -> None:
    """Sealed together, and yet each for itself: at both ends of a leaf and within."""
    assert blocks.verified().problem is None
    blocks.trail.stop()
    changed(blocks, lambda jseq, body: bytes([body[0] ^ 1]) + body[1:] if jseq == victim else body)
    assert blocks.verified().first_bad == victim
    changed(blocks, lambda jseq, body: bytes([body[0] ^ 1]) + body[1:] if jseq == victim else body)
    assert blocks.verified().problem is None
    changed(blocks, lambda jseq, body: body, swap=victim)
    assert blocks.verified().first_bad in (victim, victim + 1)


def test_a_journal_that_ends_in_a_leaf_is_cut_there(blocks: House) -> None:
    """Not at the leaf's beginning: what is left of it is as it was."""
    blocks.trail.stop()
    changed(blocks, lambda jseq, body: body if jseq <= 100 else None)
    report = blocks.verified()
    assert (report.first_bad, report.checked) == (101, 100)


def test_a_leaf_that_retention_left_a_part_of_is_checked_in_that_part(blocks: House) -> None:
    """Segments end where they end."""
    retention(blocks, removed=99)
    records = blocks.records()
    report = blocks.verified()
    blocks.trail.stop()
    retired(blocks.folder, 100)
    found = blocks.verified()
    assert found.problem is None
    assert (found.retired, found.checked) == (99, report.checked - 99)
    assert found.checked + found.retired == found.sealed <= len(records)


def retention(house: House, removed: int | None = None, *, state: str = "completed") -> None:
    """What it says on record; ``removed``: the last number that is gone."""
    first = None if removed is None else 1
    house.trail.say(
        AuditRetention(
            state=state, journal=house.folder.path.name, segments=1, removed_from=first, removed_to=removed
        )
    )


def erased(house: House, by: int) -> None:
    """A record of an event becomes a stub, which event ``by`` is said to have ordered."""
    salts = Salts(house.folder)
    at_end(salts.close)
    victim = next(record for record in house.records() if record.kind == Kind.EVENT and record.jseq > 120)
    kept = commitment(salts[victim.key_id], victim.jseq, victim.kind, victim.body)
    stub = Stub(victim.kind, len(victim.body), kept).encode()
    house.trail.stop()
    rewritten_segment(
        house.folder,
        lambda jseq, body: stub if jseq == victim.jseq else body,
        stubs=frozenset({victim.jseq}),
        by=by,
    )


def test_an_erased_record_is_called_erased_and_names_the_event(house: House) -> None:
    """The law may demand it; the tree stays whole."""
    house.trail.say(AuditErasure(state="ordered", what="session", sessions=(), reason="r", journal="j"))
    order = house.records()[-1].jseq
    erased(house, by=order)
    report = house.verified()
    assert report.problem is None
    assert report.erased == {order: 1}


@pytest.mark.parametrize("by", [1, 200, 4711])
def test_an_erased_record_that_nobody_ordered_is_named(house: House, by: int) -> None:
    """Whoever has the files can make a stub of what he did, and name any event."""
    erased(house, by)
    report = house.verified()
    assert report.problem == f"records were erased, and event {by}, which is said to have ordered it, did not"
    assert report.first_bad == by


def retired(folder: Folder, first: int) -> None:
    """Write the only segment again, beginning with record ``first``."""
    (number,) = folder.segments()
    with JournalReader(folder, since=first) as reader:
        kept = [(each.kind, each.flags, each.key_id, each.body) for each in reader]
    path = folder.segment(number)
    header = attrs.evolve(SegmentHeader.decode(path.read_bytes()), first_jseq=first)
    raw = encode_records(
        [kind | flags << 8 for kind, flags, _, _ in kept],
        [key_id for _, _, key_id, _ in kept],
        [len(body) for *_, body in kept],
        [body for *_, body in kept],
    )
    block = encode_block(
        BlockType.RECORDS,
        raw,
        compression=Compression.NONE,
        raw=len(raw),
        seed=header.seed,
        keys={key_id for _, _, key_id, _ in kept},
        count=len(kept),
        first=first,
        durable=0,
        time=0,
    )
    path.write_bytes(header.encode() + block + raw)
    folder.watermark.unlink(missing_ok=True)


def test_retired_records_are_counted_and_are_no_damage(tmp_path: Path) -> None:
    """Retention takes old segments; the tree keeps their leaves."""
    from tests.cli.trail import Trail

    house = House(tmp_path, Trail(tmp_path, segment_bytes=1 << 16))
    for _ in range(12):
        house.trail.session().selects("SELECT 1", ("n",), (os.urandom(20_000).hex().encode(),))
        house.work(1)
    numbers = house.folder.segments()
    assert len(numbers) > 2
    house.folder.segment(numbers[0]).unlink()
    with JournalReader(house.folder) as reader:
        begins = next(iter(reader)).jseq
    report = house.verified()
    assert report.first_bad == 1
    assert report.problem is not None
    assert report.problem.startswith(f"the journal begins with record {begins}, and nothing on record says")
    retention(house, removed=begins - 2)
    assert house.verified().problem is not None, "one more than it says"
    retention(house, removed=begins - 1)
    report = house.verified()
    assert report.problem is None
    assert not report.notes
    assert report.retired == begins - 1 > 0
    assert report.checked + report.retired == report.sealed


@pytest.mark.parametrize("later", [False, True])
def test_what_an_interrupted_retention_removed_is_no_damage_and_is_said(blocks: House, later: bool) -> None:
    """It says what it removed when it is done, and the next one only what that removed."""
    retention(blocks, state="ordered")
    if later:
        retention(blocks, state="ordered")
        retention(blocks)
    blocks.trail.stop()
    retired(blocks.folder, 100)
    report = blocks.verified()
    assert report.problem is None
    assert report.notes[-1].startswith("the journal begins with record 100, and nothing on record says")


@pytest.mark.parametrize("how", ["its records", "its segments"])
def test_a_journal_of_which_nothing_is_left_is_no_fine_one(house: House, how: str) -> None:
    """The plainest of all: with nothing to compare everything was fine."""
    house.trail.stop()
    if how == "its records":
        changed(house, lambda jseq, body: None)
    else:
        for number in house.folder.segments():
            house.folder.segment(number).unlink()
    report = house.verified()
    assert report.problem == "record 1 was sealed, but the journal ends before it"
    assert report.first_bad == 1


def test_the_command_says_what_it_found_and_exits_by_it(house: House, tmp_path: Path) -> None:
    """For a cron job as for a person."""
    keys = audit("keys", "--state", house.state)
    assert keys.exit_code == 0
    assert str(house.sealer.epochs.last.key) in keys.stdout
    pinned = tmp_path / "gateway.keys"
    pinned.write_text(keys.stdout)
    result = audit("verify", "--state", house.state, "--key", pinned)
    assert result.exit_code == 0, result.output
    assert "fine" in result.stdout
    assert "held against itself" not in result.stdout
    assert "held against itself" in audit("verify", "--state", house.state).stdout
    said = json.loads(audit("verify", "--state", house.state, "--json").stdout)
    assert said["fine"] is True
    assert said["checked"] == said["sealed"]
    bundle = house.store.path / "tile/entries/000"
    leaves = decode_bundle(bundle.read_bytes())
    bundle.write_bytes(encode_bundle([leaves[1], leaves[0], *leaves[2:]]))
    result = audit("verify", "--state", house.state)
    assert result.exit_code == 1
    assert "NOT WHAT WAS SEALED" in result.stdout
    assert "the first bad record is 2" in result.stdout
    config = tmp_path / "gateway.toml"
    config.write_text('[gateway]\nstate = "state"\n')
    assert audit("verify", "--config", config).exit_code == 1
    assert audit("verify", "--config", config, "--state", house.state).exit_code == 2
    assert audit("verify").exit_code == 2
    assert audit("verify", "--state", tmp_path / "nowhere").exit_code == 1
    assert audit("verify", "--state", house.state, "--key", "nonsense").exit_code == 1


@pytest.mark.parametrize("what", ["folder", "keys"])
def test_a_journal_that_is_gone_is_missed_by_its_tree(house: House, what: str) -> None:
    """Beside another journal nobody asked for it; and one without its file of keys counts for none."""
    other = House(house.state.parent / "other")
    other.work(3)
    other.trail.stop()
    name = other.folder.path.name
    for under in ("journals", "trail/ledger"):
        shutil.copytree(other.state / under / name, house.state / under / name)
    assert audit("verify", "--state", house.state).exit_code == 0
    gone = house.state / "journals" / name
    if what == "folder":
        shutil.rmtree(gone)
    else:
        (gone / "keys").unlink()
    result = audit("verify", "--state", house.state)
    assert result.exit_code == 1
    assert (
        f"journal {name}: NOT WHAT WAS SEALED\n  there is a tree for this journal, but no journal"
        in result.stdout
    )


def test_a_journal_of_which_only_a_checkpoint_is_left_is_missed_by_that(house: House) -> None:
    """The trail of the next one has it."""
    other = str(uuid.uuid4())
    house.trail.say(attrs.evolve(checkpoint_of(house), journal=other))
    report = house.verified()
    assert report.problem is None
    assert report.notes[0].endswith(f"is of the journal {other}, which is not here")


def checkpoint_of(house: House) -> AuditCheckpoint:
    return next(event for event in house.said if isinstance(event, AuditCheckpoint))


def test_a_journal_without_a_ledger_is_not_fine(tmp_path: Path) -> None:
    """What was never sealed can't be verified."""
    from tests.cli.trail import Trail

    trail = Trail(tmp_path)
    trail.session().end()
    result = audit("verify", "--state", tmp_path)
    assert result.exit_code == 1
    assert "there is no ledger for this journal" in result.stdout


@pytest.mark.parametrize(
    "how", ["an auditor's identity", "the configuration's key", "neither", "a stranger's"]
)
def test_the_checkpoints_of_an_encrypted_journal_are_looked_at_with_a_key_from_elsewhere(
    tmp_path: Path, how: str
) -> None:
    """An auditor has her identity, and the gateway's own key may lie elsewhere: their events were called closed."""
    pyrage = pytest.importorskip("pyrage")
    state = tmp_path / "state"
    house = House(state, encrypted(state))
    house.work(3)
    house.work(3)
    house.trail.stop()
    (state / "reader-key").rename(tmp_path / "reader.key")
    (tmp_path / "reader.key").chmod(0o600)
    config, words = tmp_path / "gateway.toml", []
    config.write_text('[gateway]\nstate = "state"\n')
    if how == "the configuration's key":
        config.write_text('[gateway]\nstate = "state"\n[encryption]\nkey = "file:reader.key"\n')
    elif how == "an auditor's identity":
        words = ["--identity-file", state / "auditor.txt"]
    elif how == "a stranger's":
        (tmp_path / "stranger.txt").write_text(str(pyrage.x25519.Identity.generate()))
        words = ["--identity-file", tmp_path / "stranger.txt"]
    result = audit("verify", "--config", config, *words, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["checked"] == said["sealed"] > 20
    if how in ("neither", "a stranger's"):
        assert said["closed"] > 10
        assert said["checkpoints"] == 0
    else:
        assert said["closed"] == 0
        assert said["checkpoints"] > 0
