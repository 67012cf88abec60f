"""Following journals: everything, in order, at each one's pace, through restarts, retention and damage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from hoopproxy.delivery import stream as streams
from hoopproxy.delivery.cursors import Cursor, CursorFile
from hoopproxy.delivery.faults import Moved
from hoopproxy.events import AuditCursorDamaged, AuditGap
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.writer import Journal

from .following import CURSORS, STATE, Following, Taker, opened, write


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles()


@pytest.fixture
def journal(files: MemoryFiles) -> Journal:
    return opened(files)


def test_what_is_durable_is_handed_out_and_nothing_else(files: MemoryFiles, journal: Journal) -> None:
    """A consumer that is shown what a power cut takes back has told a lie to the SIEM."""
    one = Taker()
    following = Following(files, one).start()
    write(journal, 3)
    assert one.numbers() == []
    following.poke(journal)
    assert one.numbers() == [1, 2, 3]
    journal.append_event(b"{}")
    following.poke(journal)
    assert one.numbers() == [1, 2, 3]


def test_records_near_the_head_are_decoded_once_for_all(files: MemoryFiles, journal: Journal) -> None:
    """Four consumers would pay four times for what they all read."""
    takers = [Taker(f"t{number}") for number in range(4)]
    following = Following(files, *takers).start()
    write(journal, 5)
    following.poke(journal)
    for other in takers[1:]:
        assert [id(each) for each in other.objects] == [id(each) for each in takers[0].objects]
        assert len(other.objects) == 5


def test_one_that_is_slow_holds_up_nobody(files: MemoryFiles, journal: Journal) -> None:
    """And gets all of it, in order, when it comes to."""
    slow, quick = Taker("slow"), Taker("quick")
    waiting: Deferred[None] = Deferred()
    slow.answers.append(waiting)
    following = Following(files, slow, quick).start()
    write(journal, 2)
    following.poke(journal)
    for _ in range(40):  # far beyond what is kept in memory
        write(journal, 100, size=3000)
        following.poke(journal)
    for _ in range(50):  # a fifth of a second may be waited for it, and some turns
        following.clock.advance(0.005)
    assert len(quick.numbers()) == 4002
    assert slow.numbers() == [1, 2]
    assert following.follower.tracks[0].lag().records == 4002
    waiting.callback(None)
    following.turn(times=500)
    assert slow.numbers() == quick.numbers() == list(range(1, 4003))
    assert following.follower.caught_up()


def test_a_batch_that_was_not_taken_comes_again_after_growing_pauses(
    files: MemoryFiles, journal: Journal
) -> None:
    """The same records, so that nothing is skipped; not at once, so that a dead disk is not hammered."""
    one = Taker()
    one.answers += [OSError(28, "No space left on device"), ValueError("with a secret in it"), None]
    following = Following(files, one).start()
    write(journal, 3)
    following.poke(journal)
    assert one.batches == [[1, 2, 3]]
    assert following.follower.tracks[0].problem == "OSError: No space left on device"
    following.turn(0.4)
    assert len(one.batches) == 1
    following.turn(0.2)
    assert one.batches == [[1, 2, 3]] * 2
    following.turn(0.6)
    assert len(one.batches) == 2
    following.turn(0.5)
    assert one.numbers() == [1, 2, 3]
    assert following.follower.tracks[0].problem == ""
    assert "secret" not in " ".join(following.told)


def test_a_restart_goes_on_where_the_cursor_is(files: MemoryFiles, journal: Journal) -> None:
    """Kept by the follower for one, by the consumer itself for the other."""
    one, two = Taker("one"), Taker("two", own={journal.folder.id: 3})
    write(journal, 4)
    following = Following(files, one, two).start()
    assert (one.numbers(), two.numbers()) == ([1, 2, 3, 4], [3, 4])
    following.follower.stop()
    assert one.calls[-1] == "stop"
    write(journal, 2)
    again, other = Taker("one"), Taker("two", own={journal.folder.id: 5})
    Following(files, again, other).start()
    assert (again.numbers(), other.numbers()) == ([5, 6], [5, 6])


def test_a_kill_repeats_at_most_what_came_since_the_cursor_was_saved(
    files: MemoryFiles, journal: Journal
) -> None:
    """Saved once a second while records come: at least once, and not for ever."""
    one = Taker()
    following = Following(files, one).start()
    write(journal, 3)
    following.poke(journal).turn(1.1)
    write(journal, 2)
    following.poke(journal)
    again = Taker()
    Following(files, again).start()  # nothing was stopped: it was killed
    assert again.numbers() == [4, 5]


def test_a_new_journal_is_found_and_old_ones_are_read_to_their_end(
    files: MemoryFiles, journal: Journal
) -> None:
    """A new process has a journal of its own while the old one drains."""
    one = Taker()
    following = Following(files, one).start()
    write(journal, 2)
    second = Journal(Folder.make(STATE, files), threaded=False)
    second.start()
    write(second, 3)
    following.turn(1.1)
    write(journal, 1)
    journal.stop()
    following.turn(1.1)
    assert one.numbers(journal.folder.id) == [1, 2, 3]
    assert one.numbers(second.folder.id) == [1, 2, 3]


def test_segments_that_are_gone_are_a_gap_that_is_told(files: MemoryFiles, journal: Journal) -> None:
    """An operator who frees the disk by hand must not free the trail of its holes."""
    for _ in range(20):
        write(journal, 10, size=3000)
    for number in journal.folder.segments()[:2]:
        files.unlink(journal.folder.segment(number))
    one = Taker()
    following = Following(files, one).start()
    first = one.numbers()[0]
    assert first > 1
    assert one.numbers() == list(range(first, 201))
    (gap,) = [each for each in following.emitted if isinstance(each, AuditGap)]
    assert (gap.first, gap.last, gap.records) == (1, first - 1, first - 1)
    assert (gap.consumer, gap.journal) == ("one", journal.id)


def test_a_segment_that_goes_while_it_is_waited_for_is_a_gap_too(
    files: MemoryFiles, journal: Journal
) -> None:
    """Retention and a slow reader meet in the middle of a journal."""
    slow, quick = Taker("slow"), Taker("quick")
    waiting: Deferred[None] = Deferred()
    slow.answers.append(waiting)
    write(journal, 1)
    following = Following(files, slow, quick).start()
    for _ in range(60):
        write(journal, 50, size=4000)
        following.poke(journal)
        following.clock.advance(0.01)  # so long that nobody waits for the slow one any more
    for number in journal.folder.segments()[1:4]:
        files.unlink(journal.folder.segment(number))
    files.unlink(journal.folder.segment(journal.folder.segments()[0]))
    waiting.callback(None)
    following.turn(times=300)
    assert slow.numbers()[-1] == 3001
    (gap,) = [each for each in following.emitted if isinstance(each, AuditGap)]
    assert gap.last is not None
    assert slow.numbers() == [1, *range(gap.last + 1, 3002)]


def test_damage_in_the_middle_is_passed_over_and_told(files: MemoryFiles, journal: Journal) -> None:
    """One bad sector must not keep the rest of the trail from the SIEM; nor be kept from it."""
    for _ in range(20):
        write(journal, 10, size=3000)
    path = journal.folder.segment(journal.folder.segments()[1])
    data = bytearray(files.content(path))
    data[5000] ^= 1
    files.replace(path, bytes(data))
    one = Taker()
    following = Following(files, one).start()
    (gap,) = [each for each in following.emitted if isinstance(each, AuditGap)]
    assert gap.first is not None
    assert gap.last is not None
    assert one.numbers() == [*range(1, gap.first), *range(gap.last + 1, 201)]
    assert any("damaged" in sentence for sentence in following.told)


@pytest.mark.parametrize("has_more", [True, False], ids=["in the middle", "at the end"])
def test_what_is_sound_before_damage_is_delivered(
    files: MemoryFiles, journal: Journal, has_more: bool
) -> None:
    """What had been read in one batch with the damage was left out, too."""
    write(journal, 1)
    for _ in range(60):
        write(journal, 1, size=100)  # a block each
    victim = records_of(journal)[40]
    if has_more:
        for _ in range(20):
            write(journal, 10, size=3000)
    path = journal.folder.segment(victim.segment)
    data = bytearray(files.content(path))
    data[victim.offset + 60] ^= 1
    files.replace(path, bytes(data))
    one = Taker()
    following = Following(files, one).start()
    assert one.numbers()[:40] == list(range(1, 41))
    assert max(one.numbers()) == (261 if has_more else 61)
    (gap,) = [each for each in following.emitted if isinstance(each, AuditGap)]
    assert (gap.first, gap.last) == (41, 41)


@pytest.mark.parametrize("at", [0, 60], ids=["its header", "its contents"])
@pytest.mark.parametrize("is_live", [True, False])
def test_damage_costs_a_sink_no_more_than_its_block(
    files: MemoryFiles, journal: Journal, at: int, is_live: bool
) -> None:
    """It was the rest of the segment: 64 MiB of the trail that the SIEM did not get."""
    for _ in range(60):
        write(journal, 1, size=100)
    victims = [records_of(journal)[number] for number in (20, 21, 40)]
    path = journal.folder.segment(victims[0].segment)
    data = bytearray(files.content(path))
    for victim in victims:
        data[victim.offset + at] ^= 1
    files.replace(path, bytes(data))
    if not is_live:
        journal.stop()
    one, late = Taker("one"), Taker("late")
    late.answers.append(Deferred())
    following = Following(files, one, late).start()
    sound = [number for number in range(1, 61) if number not in (21, 22, 41)]
    assert one.numbers() == sound
    gaps = [(each.first, each.last) for each in following.emitted if isinstance(each, AuditGap)]
    assert gaps == [(21, 22), (41, 41)]
    if is_live:
        for _ in range(30):
            write(journal, 10, size=3000)
            following.poke(journal)
        assert one.numbers() == [*sound, *range(61, 361)]
        assert len([each for each in following.emitted if isinstance(each, AuditGap)]) == 2


def records_of(journal: Journal) -> list[Record]:
    with JournalReader(journal.folder) as reader:
        return list(reader)


def test_damage_at_the_end_stops_this_journal_only(files: MemoryFiles, journal: Journal) -> None:
    """What follows may still be written; the other journals have nothing to do with it."""
    write(journal, 3, size=200)
    journal.stop()
    (folder,) = [journal.folder]
    path = folder.segment(folder.segments()[-1])
    data = bytearray(files.content(path))
    data[400] ^= 1
    files.replace(path, bytes(data))
    second = Journal(Folder.make(STATE, files), threaded=False)
    second.start()
    write(second, 2)
    one = Taker()
    following = Following(files, one).start()
    assert one.numbers(second.folder.id) == [1, 2]
    assert "damaged" in following.follower.tracks[0].problem
    write(second, 1)
    following.turn(1.5)
    assert one.numbers(second.folder.id) == [1, 2, 3]


def test_a_damaged_cursor_goes_on_from_the_copy_before_it_and_says_so(
    files: MemoryFiles, journal: Journal
) -> None:
    """Records that come twice have the same ids; records that are skipped in silence are lost."""
    cursor = CursorFile(CURSORS / "one", files)
    files.make_dir(CURSORS)
    write(journal, 5)
    cursor.write(Cursor({journal.folder.id: 3}))
    cursor.write(Cursor({journal.folder.id: 5}))
    files.replace(cursor.path, b"junk")
    one = Taker()
    following = Following(files, one).start()
    assert one.numbers() == [3, 4, 5]
    assert [each.resumed for each in following.emitted if isinstance(each, AuditCursorDamaged)] == [
        "the copy before it"
    ]


def test_two_damaged_copies_mean_from_the_oldest_record(files: MemoryFiles, journal: Journal) -> None:
    """Everything that is kept, again."""
    files.make_dir(CURSORS)
    write(journal, 2)
    for name in ("one.cursor", "one.cursor.before"):
        files.replace(CURSORS / name, b"junk")
    one = Taker()
    following = Following(files, one).start()
    assert one.numbers() == [1, 2]
    assert [each.resumed for each in following.emitted if isinstance(each, AuditCursorDamaged)] == [
        "the oldest record"
    ]


def test_a_cursor_ahead_of_its_journal_starts_again(files: MemoryFiles, journal: Journal) -> None:
    """A state directory that was restored from a backup has fewer records than were delivered."""
    files.make_dir(CURSORS)
    CursorFile(CURSORS / "one", files).write(Cursor({journal.folder.id: 900}))
    write(journal, 2)
    one = Taker()
    following = Following(files, one).start()
    assert one.numbers() == [1, 2]
    assert [type(each) for each in following.emitted] == [AuditCursorDamaged]


def test_who_keeps_something_of_each_journal_hears_that_one_was_put_back(
    files: MemoryFiles, journal: Journal
) -> None:
    """The same numbers come again with other records."""
    write(journal, 2)
    ahead, fine = Taker("ahead", own={journal.folder.id: 900}), Taker("fine", own={journal.folder.id: 2})
    begun: list[tuple[str, bytes]] = []
    for each in (ahead, fine):
        each.begin_again = lambda which, each=each: begun.append((each.name, which))  # type: ignore[attr-defined]
    Following(files, ahead, fine).start()
    assert begun == [("ahead", journal.folder.id)]
    assert (ahead.numbers(), fine.numbers()) == ([1, 2], [2])


def test_a_cursor_that_cannot_be_written_stops_nothing(files: MemoryFiles, journal: Journal) -> None:
    """It is told, and tried again; what isn't saved comes again after a restart."""
    one = Taker()
    following = Following(files, one).start()
    files.fail = lambda operation, name: 30 if "cursor" in name else None
    write(journal, 2)
    following.poke(journal).turn(1.1)
    assert one.numbers() == [1, 2]
    assert "the cursor of one can't be written: OSError: Read-only file system" in following.told
    files.fail = lambda operation, name: None
    following.turn(1.1)
    again = Taker()
    Following(files, again).start()
    assert again.numbers() == []


def test_retention_learns_what_is_still_wanted(files: MemoryFiles, journal: Journal) -> None:
    """By the cursor that is durable, of those whom it waits for."""
    slow, quick = Taker("slow"), Taker("quick")
    slow.answers.append(Deferred())
    quick.holds = False  # type: ignore[attr-defined]
    following = Following(files, slow, quick).start()
    write(journal, 3)
    following.poke(journal)
    assert following.follower.floors() == {journal.folder.id: 1}
    slow.holds = False  # type: ignore[attr-defined]
    assert following.follower.floors() == {}


def test_the_place_of_who_keeps_its_own_is_where_retention_looks(
    files: MemoryFiles, journal: Journal
) -> None:
    """Segments that the ledger has not sealed would be deleted."""
    ledger, index = Taker("ledger", own={journal.folder.id: 1}), Taker("index", own={})
    index.holds = False  # type: ignore[attr-defined]
    following = Following(files, ledger, index).start()
    write(journal, 3)
    following.poke(journal).turn(1.1)
    assert ledger.own is not None
    ledger.own[journal.folder.id] = 3
    following.turn(1.1)
    found = CursorFile(CURSORS / "ledger", files).read().cursor
    assert found is not None
    assert found.positions == {journal.folder.id: 3}
    assert CursorFile(CURSORS / "index", files).read().cursor is None


def test_a_consumer_can_go_on_elsewhere(files: MemoryFiles, journal: Journal) -> None:
    """A sink that gave up on what waits skips it, and nobody hands it that again."""
    waiting: Deferred[None] = Deferred()
    one = Taker(own={})
    one.answers.append(waiting)
    write(journal, 3)
    following = Following(files, one).start()
    one.own = {journal.folder.id: 3}
    waiting.errback(Moved("it has waited long enough"))
    following.turn()
    assert one.batches == [[1, 2, 3], [3]]


def test_time_is_told_while_there_is_something_and_seldom_when_all_is_quiet(
    files: MemoryFiles, journal: Journal
) -> None:
    """A checkpoint is due a second after traffic; an idle gateway should not wake the machine for it."""
    one = Taker()
    following = Following(files, one).start()
    write(journal, 1)
    following.poke(journal)
    assert one.calls.count("tick") == 1
    for _ in range(5):
        following.turn(1.0)
    assert one.calls.count("tick") == 6
    for _ in range(60):
        following.turn(1.0)
    assert one.calls.count("tick") <= 6 + 8 + 12


def test_one_that_cannot_tell_its_place_keeps_nobody_from_theirs(
    files: MemoryFiles, journal: Journal
) -> None:
    """A damaged index must not stop the SIEM; it is asked again, and begins when it knows."""

    class Lost(Taker):
        found = False

        def position(self, journal: bytes) -> int | None:
            if not self.found:
                raise ValueError("a secret in a damaged file")
            return 1

    lost, other = Lost("lost"), Taker("other")
    write(journal, 2)
    following = Following(files, lost, other).start()
    assert other.numbers() == [1, 2]
    assert lost.numbers() == []
    assert following.follower.tracks[0].problem == "its place can't be told: ValueError"
    assert following.follower.floors() == {journal.folder.id: 1}
    following.turn(1.0)
    lost.found = True
    for _ in range(35):
        following.turn(1.0)
    assert lost.numbers() == [1, 2]
    assert following.follower.tracks[0].problem == ""
    assert "secret" not in " ".join(following.told)


def test_a_look_that_fails_does_not_end_the_looking(files: MemoryFiles, journal: Journal) -> None:
    """A clock that stops with the first error would stop cursors, checkpoints and quotas with it."""
    one = Taker()
    following = Following(files, one).start()

    def fail() -> None:
        raise RuntimeError("once")

    following.follower._each_round = fail
    with pytest.raises(RuntimeError):
        following.turn(1.0)
    following.follower._each_round = lambda: None
    ticks = one.calls.count("tick")
    following.turn(1.0)
    assert one.calls.count("tick") == ticks + 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 40)),
            st.tuples(st.just("fail"), st.integers(0, 1)),
            st.tuples(st.just("time"), st.integers(0, 3)),
            st.tuples(st.just("restart"), st.booleans()),
        ),
        max_size=25,
    )
)
def test_whatever_happens_each_gets_all_of_it_in_order(steps: list[tuple[str, int]]) -> None:
    """At least once, and never a number before one that is lower and new."""
    files = MemoryFiles()
    journal = opened(files)
    takers = [Taker("one"), Taker("two")]
    seen: list[list[int]] = [[], []]
    following = Following(files, *takers).start()

    def collect() -> None:
        for kept, taker in zip(seen, takers, strict=True):
            kept += taker.numbers()

    for what, number in steps:
        if what == "write":
            write(journal, number, size=2000)
            following.poke(journal)
        elif what == "fail":
            takers[number].answers.append(OSError(5, "no"))
        elif what == "time":
            following.turn(number)
        else:
            if number:
                following.follower.stop()
            collect()
            takers = [Taker("one"), Taker("two")]
            following = Following(files, *takers).start()
    for _ in range(8):
        following.turn(61)
    collect()
    for kept in seen:
        highest = 0
        for number in kept:
            assert number <= highest + 1, "something was skipped"
            highest = max(highest, number)
        assert highest == journal.durable


def test_the_window_is_smaller_than_what_the_slow_one_missed() -> None:
    """A guard: else the test above never reads the disk twice."""
    assert streams.WINDOW_BYTES < 40 * 100 * 3000
