"""What was lawfully erased, or is over its time, leaves the seal over the trail whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoopproxy.cli.journal.needed import needed_from
from hoopproxy.errors import Damaged
from hoopproxy.events import AuditErasure
from hoopproxy.journal.erasure import erase_from, find
from hoopproxy.journal.holds import Holds
from hoopproxy.journal.keyring import Keyring
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.retention import DAY_NS, Days, Policy, carry_out
from hoopproxy.journal.upkeep import Upkeep
from hoopproxy.journal.vault import Sealing
from hoopproxy.journal.writer import Journal
from tests.cli.trail import Trail

from .sealed import House


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
    pytest.importorskip("pyrage")
    import pyrage

    recipient = str(pyrage.x25519.Identity.generate().to_public())
    trail = Trail(tmp_path)
    trail.journal.stop()
    folder = type(trail.folder).acquire(tmp_path)
    trail.folder = folder
    trail.journal = Journal(
        folder,
        clock=lambda: trail.now,
        wall=lambda: trail.now,
        threaded=False,
        options=JournalOptions(reserve_bytes=0),
        sealing=Sealing((recipient,), bytes(32)),
    )
    trail.journal.start()
    (tmp_path / "reader-key").write_bytes(bytes(32))
    house = House(tmp_path, trail)
    house.work(who="alice")
    house.folder.keyring = Keyring()
    with JournalReader(house.folder) as reader:
        assert any(record.is_closed for record in reader)
    report = house.verified()
    assert report.problem is None
