"""What is over its time goes, and nothing else: by target and class, never what is held or still wanted."""

from __future__ import annotations

from types import MappingProxyType

import orjson
import pytest

from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.chunks import HEADER_SIZE
from hoopproxy.journal.format import Kind
from hoopproxy.journal.holds import Hold, Holds
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.retention import DAY_NS, Days, Done, Policy, carry_out, due
from hoopproxy.journal.survey import check
from hoopproxy.journal.upkeep import Upkeep
from hoopproxy.journal.whose import Owners, Whose
from hoopproxy.journal.writer import Journal

from .support import STATE, opened

FAR = 1 << 64
POLICY = Policy(default=Days(events=400, payload=90))
START = 1_700_000_000 * 10**9


class Life:
    """A journal whose days pass as the test says; a segment a day."""

    def __init__(self) -> None:
        self.files, self.now = MemoryFiles(), START
        self.journal: Journal = opened(self.files, JournalOptions(reserve_bytes=0), wall=lambda: self.now)

    def day(self, number: int, *targets: str) -> None:
        """On that day, a session on each of these targets."""
        self.now = START + number * DAY_NS
        self.journal.roll()
        for target in targets:
            name = f"{number}{target}".encode().ljust(16, b"-")
            key = self.journal.open_key(name)
            start = {
                "identity": {"id": f"user-of-{target}"},
                "kind": "session.start",
                "session": name.hex(),
                "target": {"name": target},
            }
            self.journal.append_event(orjson.dumps(start, option=orjson.OPT_SORT_KEYS), key)
            self.journal.append_chunk(key, name, 0, 0, 0, 0, b"rows of %b" % target.encode())
            self.journal.append_event(b'{"kind":"session.end"}', key)
        self.journal.append_event(b'{"kind":"gateway.clock"}')
        self.journal.commit_now()

    def at(
        self, day: int, policy: Policy = POLICY, needed_from: int = FAR, holds: Holds | None = None
    ) -> Done:
        """Let expire on that day what is due."""
        self.now = START + day * DAY_NS
        holds = holds or Holds(STATE, self.files)
        with Upkeep(self.journal.folder) as upkeep:
            done = carry_out(
                upkeep, policy, holds, now=self.now, needed_from=needed_from, ordered_by=self.journal.durable
            )
        check(self.journal.folder)
        return done

    def left(self) -> dict[int, str]:
        """Record -> its kind, and whose payload."""
        with JournalReader(self.journal.folder) as reader:
            return {
                record.jseq: record.body[HEADER_SIZE:].decode()
                if record.kind == Kind.CHUNK
                else Kind(record.kind).name
                for record in reader
            }


def lived() -> Life:
    life = Life()
    life.day(0, "app", "crm")
    life.day(1, "app")
    life.day(200, "app")
    life.day(201)
    return life


def test_payload_goes_first_and_events_later() -> None:
    """90 and 400 days unless said otherwise."""
    life = lived()
    assert life.at(90) == Done(), "day 0's segment ends when day 1's begins"
    done = life.at(95)
    assert (done.rewritten, done.stubs) == (1, 2)
    done = life.at(291)
    assert (done.rewritten, done.stubs) == (2, 2)
    assert "rows" not in str(life.left())
    assert list(life.left().values()).count("EVENT") == 8 + 4
    assert life.at(291) == Done(), "nothing is due twice"


def test_whole_segments_go_from_the_beginning() -> None:
    """The number of the first record is not 1 for ever."""
    life = lived()
    done = life.at(420)
    assert done.segments_removed == 1, "day 0's, over when day 1's began"
    assert done.removed == (1, 7)
    assert min(life.left()) == 8
    done = life.at(601)
    assert done.segments_removed == 2
    assert life.journal.folder.segments() == [4]
    life.journal.append_event(b"{}")
    life.journal.commit_now()
    assert list(life.left())[-1] == life.journal.durable


def test_a_target_may_have_its_own_time() -> None:
    """Per target and class; a segment that holds another's is kept for it."""
    life = lived()
    policy = Policy(
        default=Days(events=400, payload=90), targets=MappingProxyType({"app": Days(events=0, payload=0)})
    )
    life.at(700, policy)
    left = life.left()
    assert list(left.values()).count("rows of app") == 3
    assert "rows of crm" not in left.values()
    assert len(life.journal.folder.segments()) == 4


def test_a_day_on_which_the_clock_was_ahead_holds_up_no_other() -> None:
    """One segment that ended in the year 2035, and nothing after it expired before 2035."""
    life = Life()
    for number in (0, 4000, 1, 2, 140):
        life.day(number, f"day {number}")
    life.at(150)
    left = [each for each in life.left().values() if "rows" in each]
    assert left == ["rows of day 0", "rows of day 2", "rows of day 140"]
    life.at(240)
    left = [each for each in life.left().values() if "rows" in each]
    assert left == ["rows of day 0", "rows of day 140"], "day 0's segment ended on day 4000"


def test_zero_is_for_ever() -> None:
    """And costs nothing."""
    life = lived()
    assert life.at(100_000, Policy(default=Days(events=0, payload=0))) == Done()


@pytest.mark.parametrize(
    ("kind", "value"),
    [("target", "app"), ("identity", "user-of-app"), ("session", b"1app".ljust(16, b"-").hex())],
)
def test_what_is_held_stays(kind: str, value: str) -> None:
    """However old; and once the hold is lifted it goes."""
    life = lived()
    holds = Holds(STATE, life.files)
    holds.add(Hold(kind=kind, value=value, reason="case 1", by="unix:root", since="2026-01-01T00:00:00Z"))
    life.at(1000)
    left = list(life.left().values())
    assert left.count("rows of app") == (1 if kind == "session" else 3)
    assert "rows of crm" not in left
    again = Holds(STATE, life.files)
    assert [hold.value for hold in again] == [value]
    again.remove(kind, value)
    life.at(1000)
    assert "rows" not in str(life.left())


def test_what_somebody_still_wants_stays() -> None:
    """The cursor of a reader that must have everything holds segments, whole."""
    life = lived()
    before = life.left()
    assert life.at(1000, needed_from=3) == Done()
    assert life.left() == before
    assert life.at(1000, needed_from=8).segments_removed == 1
    assert min(life.left()) == 8


def test_a_dry_look_names_what_is_due() -> None:
    """The last segment of a journal at rest counts as well: it is closed when the order is written."""
    life = lived()
    holds, folder = Holds(STATE, life.files), life.journal.folder
    assert due(folder, POLICY, holds, now=START + 95 * DAY_NS, needed_from=FAR) == [1]
    assert due(folder, POLICY, holds, now=START + 1000 * DAY_NS, needed_from=FAR) == [1, 2, 3, 4]


def test_a_changed_policy_is_looked_at_again() -> None:
    """What was passed over under the old one may be due under the new."""
    life = lived()
    life.at(350, Policy(default=Days(events=0, payload=0)))
    assert life.at(350).stubs == 4
    assert life.at(350, Policy(default=Days(events=100, payload=90))).stubs > 0


def test_an_unknown_owner_is_held_by_any_hold() -> None:
    """Whose it is can't be told: a wrong guess could not be undone."""
    hold = Hold(kind="identity", value="alice", reason="r", by="b", since="s")
    assert hold.covers(Whose(session="s1"))
    assert not hold.covers(Whose(session="s1", identity="bob", target="t"))


def test_holds_that_cannot_be_read_let_nothing_expire() -> None:
    """An empty list would be the dangerous guess."""
    files = MemoryFiles()
    files.replace(STATE / "holds", b"{}")
    with pytest.raises(Damaged):
        Holds(STATE, files)
    files.replace(STATE / "holds", b'{"holds":[{"kind":"tribe"}]}')
    with pytest.raises(Damaged):
        Holds(STATE, files)


def test_a_hold_is_added_once_and_removed_once() -> None:
    """Two people must not lift each other's by mistake."""
    files = MemoryFiles()
    files.make_dir(STATE)
    holds = Holds(STATE, files)
    hold = Hold(kind="target", value="app", reason="r", by="b", since="s")
    holds.add(hold)
    with pytest.raises(HoopproxyError, match="already"):
        holds.add(hold)
    assert holds.remove("target", "app") == hold
    with pytest.raises(HoopproxyError, match="no hold"):
        holds.remove("target", "app")


def test_owners_learn_from_whichever_event_says_it() -> None:
    """A log-in knows the identity, the start of the session the target."""
    owners = Owners()
    owners.see(1, b'{"identity":{"id":"a"},"session":"s"}')
    owners.see(1, b"no json")
    assert owners.of(1) == Whose(session="s", identity="a")
    owners.see(1, b'{"session":"s","target":{"name":"t"}}')
    owners.see(1, b'{"session":"other","identity":{"id":"b"},"target":{"name":"u"}}')
    assert owners.of(1) == Whose(session="s", identity="a", target="t")
    owners.see(0, b'{"session":"s"}')
    assert owners.of(0) == Whose()


def test_a_reader_goes_on_with_what_is_left_when_segments_go_before_it() -> None:
    """Whoever must have everything has a cursor that keeps them; who looks around must not fall over."""
    life = lived()
    with JournalReader(life.journal.folder) as reader:
        records = iter(reader)
        first = next(records).jseq
        life.at(900)
        rest = [record.jseq for record in records]
    assert first == 1
    assert rest[-1] == life.journal.durable
    assert rest[: rest.index(7) + 1] == list(range(2, 8)), "what it has open it reads to the end"
    assert len(rest) < life.journal.durable - 1


def test_notes_that_cannot_be_read_cost_time_and_nothing_else() -> None:
    """They only say where nothing new can have expired."""
    life = lived()
    life.at(95)
    life.files.replace(life.journal.folder.path / "retention", b'{"key": 5, "done": []}')
    assert life.at(95).stubs == 0
    life.files.replace(life.journal.folder.path / "retention", b"\xff")
    assert life.at(291).stubs == 2
