"""What ``audit verify`` says where an operator gave up damaged records: what is lost, and how all else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from click.testing import CliRunner

from hoopproxy.cli import main
from hoopproxy.events import AuditErasure
from hoopproxy.journal.commitments import Stub, commitment
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import (
    ACCEPTED_LOSS,
    BlockType,
    Compression,
    Kind,
    SegmentHeader,
    encode_block,
)
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.segment import SegmentReader
from hoopproxy.ledger.losses import loss_of
from hoopproxy.ledger.report import Report
from hoopproxy.ledger.salts import Salts
from hoopproxy.ledger.verify import Verification
from tests.cli.trail import Trail
from tests.ending import at_end
from tests.ledger.sealed import House, edited, encrypted, rewritten_segment, sealed_from_now


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(params=[1, 10_000], ids=["a leaf a record", "a leaf a block"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    made = House(tmp_path / "state")
    made.batch = request.param
    made.work(30)
    made.work_at_once(30)
    made.work(5)
    return made


def given_up(house: House, jseq: int) -> Record:
    """The block of a record is damaged when the gateway is killed, and an operator goes on without it. Returns the
    gap's record; nothing is sealed after it yet."""
    house.trail.journal.commit_now()
    victim = next(record for record in house.records() if record.jseq == jseq)
    house.folder.release()
    edited(house.folder.segment(victim.segment), lambda data: _flipped(data, victim.offset + 60))
    run("journal", "accept-loss", "--state", house.state, "--yes")
    house.trail = Trail(house.state, folder=Folder.acquire(house.state), start=house.trail.now)
    return next(each for each in house.records() if each.kind == Kind.GAP)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def sealed_after(house: House) -> None:
    """A gateway goes on, and its ledger."""
    house.restart()
    house.work()


def name_of(house: House, gap: Record) -> str:
    return f"{house.folder.path.name}:{gap.jseq}"


def first_of(gap: Record) -> int:
    found: int = orjson.loads(gap.body)["first"]
    return found


def lost_of(house: House, gap: Record) -> int:
    """How many leaves' records are of what is lost."""
    tiles = house.sealer.tiles()
    leaves = [orjson.loads(tiles.leaf(at)) for at in range(tiles.size)]
    numbers = {leaf["jseq"] + at for leaf in leaves for at in range(len(leaf["kinds"]))}
    return len(numbers & set(range(first_of(gap), gap.jseq)))


@pytest.mark.parametrize("victim", [2, 90, 150, -3])
def test_an_accepted_loss_is_named_and_what_follows_it_is_verified(house: House, victim: int) -> None:
    """Verifying stopped there: nobody could tell any more whether the rest is as it was sealed."""
    before = house.sealer.next_jseq
    gap = given_up(house, victim if victim > 0 else before + victim)
    sealed_after(house)
    first, lost = first_of(gap), lost_of(house, gap)
    report = house.verified()
    assert report.problem is not None
    assert report.problem.startswith(f"{lost} sealed records before record {gap.jseq} are lost: an operator")
    assert f"--lost {name_of(house, gap)} " in report.problem
    assert report.first_bad == first
    assert report.checked + lost == report.sealed
    assert report.checked > first + 5, "what follows, too"
    report = house.verified(known=[name_of(house, gap)], pins=[house.sealer.epochs.all[0].key])
    assert report.problem is None
    assert report.pinned
    assert [attrs.astuple(each) for each in report.lost] == [(first, gap.jseq - 1, gap.jseq, lost)]
    assert house.sealer.epochs.last.why == "first", "the same tree goes on"


@pytest.mark.parametrize("known", [False, True])
def test_what_was_changed_behind_a_loss_is_found(house: House, known: bool) -> None:
    """An accepted loss must not be the way to hide something else, before it or after it."""
    gap = given_up(house, 90)
    sealed_after(house)
    names = [name_of(house, gap)] if known else []
    leaf = house.sealer.tiles().leaf(house.sealer.size - 1)
    victim = orjson.loads(leaf)["jseq"]
    house.trail.stop()
    _forge(house, victim)
    report = house.verified(known=names)
    assert report.problem == f"record {victim} was changed after it was sealed"
    assert report.first_bad == victim
    assert [loss.gap for loss in report.lost] == [gap.jseq]


def _forge(house: House, jseq: int) -> None:
    """Change a record and make its checksums again, as a careful forger does."""
    with JournalReader(house.folder) as reader:
        segment = next(record for record in reader if record.jseq == jseq).segment
    rewritten_segment(
        house.folder,
        lambda number, body: _flipped(body, len(body) // 2) if number == jseq else body,
        segment=segment,
    )


def test_a_gap_that_is_not_sealed_itself_excuses_nothing(house: House) -> None:
    """Whoever can write the files, and has no key, could cut the tail and put one there."""
    gap = given_up(house, 90)
    report = house.verified(known=[name_of(house, gap)])
    assert report.problem is not None
    assert report.problem.endswith("which says that this was accepted, is not sealed yet")
    assert report.first_bad == first_of(gap)


@pytest.mark.parametrize(
    "said",
    [{"first": 100}, {"last": 3}, {"first": "90"}, {"count": 1}],
    ids=["later", "ends", "text", "other"],
)
def test_a_gap_that_does_not_cover_what_is_missing_excuses_nothing(
    house: House, said: dict[str, Any]
) -> None:
    """One record more than was lost is one that somebody took."""
    gap = given_up(house, 90)
    body = orjson.dumps({**orjson.loads(gap.body), **said})
    if "first" in said and isinstance(said["first"], int):
        assert not loss_of(attrs.evolve(gap, body=body)).covers(first_of(gap))
        return
    if "count" in said:
        body = orjson.dumps(said)
    with pytest.raises(ValueError, match="does not say which"):
        loss_of(attrs.evolve(gap, body=body))


def test_a_gap_in_another_place_excuses_nothing(house: House) -> None:
    """The segment's header says where a loss was accepted; a gap record can stand anywhere (``best-effort``)."""
    gap = given_up(house, 90)
    sealed_after(house)
    house.trail.stop()
    path = house.folder.segment(gap.segment)
    header = SegmentHeader.decode(path.read_bytes())
    plain = attrs.evolve(header, flags=header.flags & ~ACCEPTED_LOSS).encode()
    edited(path, lambda data: plain + data[len(plain) :])
    report = house.verified(known=[name_of(house, gap)])
    assert report.problem is not None
    assert not report.lost


def test_a_loss_of_what_was_not_sealed_yet_is_said_and_is_no_problem(house: House) -> None:
    """Nothing that somebody outside could have a proof of is missing."""
    session = house.trail.session("alice")
    session.selects("SELECT 'late'", ("n",), (b"1",))
    gap = given_up(house, house.sealer.next_jseq)
    sealed_after(house)
    report = house.verified()
    assert report.problem is None
    assert [(loss.first, loss.gap, loss.sealed) for loss in report.lost] == [(first_of(gap), gap.jseq, 0)]


def test_two_losses_are_two(house: House) -> None:
    """Each has to be looked at."""
    first = given_up(house, 150)
    sealed_after(house)
    house.trail.session("bob").selects("SELECT 1", ("n",), (b"1",))
    house.follow()
    house.pass_time(1)
    house.trail.journal.commit_now()
    records = house.records()
    victim = records[-2].jseq
    given_up(house, victim)
    second = [each for each in house.records() if each.kind == Kind.GAP][-1]
    assert second.jseq > victim
    sealed_after(house)
    names = [name_of(house, first), name_of(house, second)]
    report = house.verified(known=names)
    assert report.problem is None
    assert [loss.gap for loss in report.lost] == [first.jseq, second.jseq]
    for number, name in enumerate(names):
        report = house.verified(known=[name])
        assert report.first_bad == report.lost[1 - number].first


def test_an_order_that_is_lost_leaves_a_note(house: House) -> None:
    """What was erased by it is a stub, and nothing else is left that says why."""
    house.batch = 1
    house.trail.say(AuditErasure(state="ordered", what="session", sessions=(), reason="r", journal="j"))
    order = house.records()[-1].jseq
    house.follow()
    house.pass_time(1)
    gap = given_up(house, order)
    sealed_after(house)
    _erase_in_the_first(house, order)
    report = house.verified(known=[name_of(house, gap)])
    assert report.problem is None
    assert f"event {order}, which is said to have ordered an erasing, is lost" in report.notes


def _erase_in_the_first(house: House, by: int) -> None:
    """A record of the first segment becomes a stub; the damaged end of the segment stays as it is."""
    salts = Salts(house.folder)
    at_end(salts.close)
    victim = next(each for each in house.records() if each.kind == Kind.EVENT and each.jseq > 20)
    kept = commitment(salts[victim.key_id], victim.jseq, victim.kind, victim.body)
    stub = Stub(victim.kind, len(victim.body), kept).encode()
    house.trail.stop()
    rewritten_segment(
        house.folder,
        lambda jseq, body: stub if jseq == victim.jseq else body,
        stubs=frozenset({victim.jseq}),
        by=by,
        segment=victim.segment,
    )


@pytest.mark.parametrize("opened", [True, False])
def test_a_loss_in_an_encrypted_journal(tmp_path: Path, opened: bool) -> None:
    """The gap's record is encrypted, too: who can't read it knows that something is missing, and not by whose leave."""
    state = tmp_path / "state"
    house = House(state, encrypted(state))
    house.work(20)
    house.trail.journal.commit_now()
    victim = next(record for record in house.records() if record.jseq == 60)
    house.folder.release()
    edited(house.folder.segment(victim.segment), lambda data: _flipped(data, victim.offset + 60))
    run("journal", "accept-loss", "--state", state, "--yes")
    pyrage = pytest.importorskip("pyrage")
    auditor = pyrage.x25519.Identity.from_str((state / "auditor.txt").read_text().strip())
    house.trail = Trail(state, folder=Folder.acquire(state), start=house.trail.now)
    sealed_from_now(house.trail, str(auditor.to_public()))
    gap = next(each for each in house.records() if each.kind == Kind.GAP)
    sealed_after(house)
    house.trail.journal.commit_now()
    if opened:
        report = house.verified(known=[name_of(house, gap)])
        assert report.problem is None
        assert report.lost[0].sealed == lost_of(house, gap) > 40
        return
    report = closed(house, name_of(house, gap))
    assert report.problem is not None
    assert report.problem.endswith("which may say that this was accepted, can't be read")
    assert report.lost[0].first is None


def test_what_was_sealed_by_nobody_can_be_given_up_too(tmp_path: Path) -> None:
    """Whoever changes an encrypted body and makes its checksum again stops the start as damage does. What follows that
    was out of every reader's reach for ever, accepted or not."""
    state = tmp_path / "state"
    house = House(state, encrypted(state))
    house.work(20)
    house.trail.journal.commit_now()
    victim = next(record for record in house.records() if record.jseq == 60)
    house.folder.release()
    path = house.folder.segment(victim.segment)
    segment = SegmentReader(house.folder.files, path)
    block = segment.block_at(victim.offset)
    assert block is not None
    raw = bytearray(segment.payload(victim.offset, block))
    raw[-1] ^= 1
    made = encode_block(
        BlockType.RECORDS,
        bytes(raw),
        compression=Compression.NONE,
        raw=len(raw),
        seed=segment.header.seed,
        keys=set(block.keys),
        count=block.count,
        first=block.first,
        durable=block.durable,
        time=block.time,
    )
    segment.close()
    edited(path, lambda data: data[: victim.offset] + made + bytes(raw) + data[victim.offset + block.size :])
    run("journal", "accept-loss", "--state", state, "--yes")
    records = house.records()
    assert [each.kind for each in records[-2:]] == [Kind.GAP, Kind.EVENT]
    assert [each.jseq for each in records[:-2]] == list(range(1, block.last))


def closed(house: House, known: str) -> Report:
    """Verified by somebody without the readers' key."""
    key = house.state / "reader-key"
    kept = key.read_bytes()
    key.unlink()
    try:
        (folder,) = journals(house.state)
        verification = Verification(known=[known])
        verification.journal(folder, house.store)
        (report,) = verification.finish()
    finally:
        key.write_bytes(kept)
    return report


def test_the_command_names_the_loss_and_takes_it_as_known(house: House) -> None:
    """For a cron job: a loss that somebody has looked at must not hide the next one."""
    gap = given_up(house, 90)
    sealed_after(house)
    house.trail.journal.commit_now()
    said = run("audit", "verify", "--state", house.state, code=1)
    assert "NOT WHAT WAS SEALED" in said
    assert f"the first bad record is {first_of(gap)}" in said
    told = f"records {first_of(gap)} to {gap.jseq - 1} are lost, as record {gap.jseq} tells"
    assert told in said
    said = run("audit", "verify", "--state", house.state, "--lost", name_of(house, gap))
    assert ": fine" in said
    assert told in said
    found = json.loads(
        run("audit", "verify", "--state", house.state, "--lost", name_of(house, gap), "--json")
    )
    assert found["lost"][0]["first"] == first_of(gap)
    run("audit", "verify", "--state", house.state, "--lost", "nonsense", code=1)
