"""What was lawfully erased, or is over its time, leaves the seal over the trail whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hoopproxy.cli.journal.needed import needed_from
from hoopproxy.errors import Damaged
from hoopproxy.events import AuditErasure, AuditRetention
from hoopproxy.journal.erasure import erase_from, find
from hoopproxy.journal.folder import journals
from hoopproxy.journal.holds import Holds
from hoopproxy.journal.keyring import Keyring
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.journal.retention import DAY_NS, Days, Policy, carry_out
from hoopproxy.journal.upkeep import Upkeep
from hoopproxy.ledger.folder import LedgerFolder, ledgers_root
from hoopproxy.ledger.report import Report
from hoopproxy.ledger.verify import Verification
from tests.cli.trail import Trail

from .sealed import House, encrypted


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path, Trail(tmp_path, segment_bytes=4096))
    made.work(who="alice")
    made.work(who="bob")
    return made


def order(house: House) -> int:
    """The event, in a segment of its own."""
    house.trail.journal.roll()
    house.trail.say(AuditErasure(state="ordered", what="session", sessions=(), reason="r", journal="j"))
    return house.trail.journal.durable


def test_the_seal_holds_over_an_erasure_and_names_the_event_that_ordered_it(house: House) -> None:
    """Sealed before, erased after: every leaf still has its commitment."""
    assert not house.verified().erased
    jseq = order(house)
    found = find(house.folder, identity="alice")
    with Upkeep(house.folder) as upkeep:
        done = erase_from(upkeep, found.keys, ordered_by=jseq)
    house.follow()
    house.pass_time(1)
    report = house.verified()
    assert report.problem is None
    assert report.erased == {jseq: done.records}
    house.restart()
    house.work(who="carol")
    assert house.verified().problem is None


def erased_after_it_was_copied(house: House, to: Path, named: bool = True) -> tuple[int, int, Path]:
    """The order's event, how many records it took, and a copy that has them still, but no salts: an archive's."""
    found = find(house.folder, identity="alice")
    house.trail.journal.roll()
    sessions = tuple(found.sessions) if named else ()
    house.trail.say(
        AuditErasure(state="ordered", what="identity", sessions=sessions, reason="r", journal="j")
    )
    jseq = house.trail.journal.durable
    house.follow()
    house.pass_time(1)
    house.follow()
    copy = house.copied(to)
    with Upkeep(house.folder) as upkeep:
        done = erase_from(upkeep, found.keys, ordered_by=jseq)
    (folder,) = journals(copy)
    shutil.copyfile(house.folder.keys, folder.keys)
    return jseq, done.records, copy


def verified_copy(copy: Path, lags: bool = True) -> Report:
    (folder,) = journals(copy)
    verification = Verification()
    verification.journal(folder, LedgerFolder(ledgers_root(copy) / folder.path.name), lags=lags)
    (report,) = verification.finish()
    return report


def test_a_copy_that_kept_what_was_erased_is_not_called_forged(house: House, tmp_path: Path) -> None:
    """An archive's segments can't be changed, and its salts are destroyed with the others: so nothing proves that part
    of it any more, which is not the same as being proven wrong."""
    jseq, records, copy = erased_after_it_was_copied(house, tmp_path / "copy")
    report = verified_copy(copy)
    assert report.problem is None
    assert report.unsalted == {jseq: records}
    assert report.checked + records == report.sealed
    assert verified_copy(copy, lags=False).problem is not None, "the gateway's own journal has stubs there"


def test_a_salt_that_nobody_ordered_to_destroy_is_named(house: House, tmp_path: Path) -> None:
    """Else whoever has the copy could rid any session of its proof, and then change it."""
    _, _, copy = erased_after_it_was_copied(house, tmp_path / "copy", named=False)
    report = verified_copy(copy)
    assert report.problem is not None
    assert report.problem.endswith("was destroyed, but nobody ordered that")


def test_an_order_that_the_copy_does_not_have_yet_is_said(house: House, tmp_path: Path) -> None:
    """Salts go to the archive within a minute, the segment with the order when it is full."""
    jseq, records, copy = erased_after_it_was_copied(house, tmp_path / "copy")
    (folder,) = journals(copy)
    for pair in sound_segments(folder):
        if pair.first_jseq >= jseq:
            folder.segment(pair.number).unlink()
    folder.watermark.unlink()
    report = verified_copy(copy)
    assert report.problem is None
    assert report.unsalted == {0: records}
    assert "not here yet" in report.notes[-1]


def test_the_seal_holds_over_segments_that_are_no_longer_there(house: House) -> None:
    """Their leaves stay; what they were over is gone."""
    jseq = order(house)
    house.follow()
    house.pass_time(1)
    policy = Policy(default=Days(events=10, payload=5))
    with Upkeep(house.folder) as upkeep:
        done = carry_out(
            upkeep,
            policy,
            Holds(house.state),
            now=house.trail.now + 20 * DAY_NS,
            needed_from=needed_from(house.state, house.folder.id),
            ordered_by=jseq,
        )
    assert done.segments_removed > 0
    assert house.verified().problem is not None, "it has not said so yet"
    first, last = done.removed or (0, 0)
    house.trail.say(
        AuditRetention(
            state="completed",
            journal=house.folder.path.name,
            segments=0,
            removed_from=first,
            removed_to=last,
        )
    )
    assert house.verified().problem is None


def test_what_is_not_sealed_yet_is_still_needed(house: House) -> None:
    """The ledger would never see it again. Damage to its place lets nothing expire."""
    house.trail.journal.commit_now()
    sealed = needed_from(house.state, house.folder.id)
    assert sealed <= house.trail.journal.next_jseq
    with JournalReader(house.folder, since=sealed) as reader:
        left = [record.jseq for record in reader]
    session = house.trail.session("carol")
    session.end()
    assert needed_from(house.state, house.folder.id) == sealed
    house.follow()
    house.pass_time(1)
    assert needed_from(house.state, house.folder.id) > sealed + len(left)
    (house.store.path / "checkpoint").write_bytes(b"nonsense")
    with pytest.raises(Damaged, match="checkpoint"):
        needed_from(house.state, house.folder.id)


def test_a_sealed_journal_is_verified_by_who_can_open_nothing(tmp_path: Path) -> None:
    """Commitments are over what is stored."""
    house = House(tmp_path, encrypted(tmp_path))
    house.work(who="alice")
    house.folder.keyring = Keyring()
    with JournalReader(house.folder) as reader:
        assert any(record.is_closed for record in reader)
    report = house.verified()
    assert report.problem is None
