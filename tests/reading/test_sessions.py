"""Finding and listing sessions in real journals, several at once, growing, damaged."""

from __future__ import annotations

import itertools
import json
import tracemalloc
import uuid
from pathlib import Path

import pytest

from hoopproxy.events import LoginFailed
from hoopproxy.journal.erasure import erase_from, find
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import Kind
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.upkeep import Upkeep
from hoopproxy.journal.writer import Journal
from hoopproxy.reading.answers import (
    Answer,
    EventLine,
    LeftOut,
    Problem,
    Question,
    decode_line,
    encode_line,
)
from hoopproxy.reading.ask import ask
from hoopproxy.reading.filters import Filter
from hoopproxy.reading.journals import at_rest
from hoopproxy.reading.scope import EVERYTHING, Scope
from hoopproxy.reading.sessions import NoSuchSession, find_session
from hoopproxy.reading.summary import SessionSummary
from tests.cli.trail import T0, Trail
from tests.protocols.postgres.talk import columns, complete, m, query, refuse, row

HOUR = 3600 * 10**9
DIGITS = (b"1",)


def answers(state: Path, question: Question, scope: Scope = EVERYTHING) -> list[Answer]:
    return list(ask(lambda: at_rest(state), question, scope))


def listed(state: Path, scope: Scope = EVERYTHING, **question: object) -> list[SessionSummary]:
    found = answers(state, Question(action="sessions", **question), scope)  # type: ignore[arg-type]
    return [each for each in found if isinstance(each, SessionSummary)]


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path)
    alice = made.session("alice", decide=refuse("DROP"))
    alice.selects("SELECT 1", ("a",), DIGITS, DIGITS)
    alice.client(query("DROP TABLE people"))
    alice.end()
    made.now += HOUR
    bob = made.session("bob", target="billing")
    bob.selects("SELECT salary", ("s",), DIGITS)
    return made


def test_a_summary_says_who_where_and_how_much(trail: Trail) -> None:
    """The line that an auditor decides on."""
    alice, bob = listed(trail.state)
    assert (alice.identity, alice.method, alice.client) == ("alice", "password", "10.0.0.7:51234")
    assert (alice.target, alice.account, alice.database) == ("app", "app_ro", "shop")
    assert (alice.commands, alice.denied, alice.rows) == (1, 1, 2)
    assert (alice.state, alice.balanced, alice.started) == ("ended", True, "2023-11-14T22:13:20.000000Z")
    assert alice.bytes > 100
    assert alice.duration > 0
    assert (bob.state, bob.commands, bob.rows) == ("live", 1, 1)


def test_a_session_without_end_is_live_only_while_somebody_writes_its_journal(trail: Trail) -> None:
    """After a crash nothing is live."""
    trail.folder.release()
    assert [each.state for each in listed(trail.state)] == ["ended", "unfinished"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(identities=("alice",)), ["alice"]),
        (Filter(targets=("bill*",)), ["bob"]),
        (Filter(kinds=("command.denied",)), ["alice"]),
        (Filter(text="SALARY"), ["bob"]),
        (Filter(outcomes=("denied",)), ["alice"]),
        (Filter(protocols=("ssh",)), []),
        (Filter(since="2023-11-14T22:30:00.000000Z"), ["bob"]),
        (Filter(until="2023-11-14T22:30:00.000000Z"), ["alice"]),
        (Filter(identities=("bob",), text="drop"), []),
    ],
)
def test_sessions_are_listed_by_what_they_are_and_by_what_happened_in_them(
    trail: Trail, wanted: Filter, found: list[str]
) -> None:
    """Each filter asks the session or one of its events."""
    assert [each.identity for each in listed(trail.state, filter=wanted)] == found


def test_the_newest_are_listed_and_the_rest_is_counted(tmp_path: Path) -> None:
    """A limit that says nothing would pass for everything."""
    trail = Trail(tmp_path)
    for number in range(30):
        trail.session(f"user{number:02d}").end()
        trail.now += 10**9
    found = answers(tmp_path, Question(action="sessions", limit=3))
    shown = [each.identity for each in found if isinstance(each, SessionSummary)]
    assert shown == ["user27", "user28", "user29"]
    assert found[-1] == LeftOut(27)


def test_a_long_journal_is_listed_in_bounded_memory_with_the_same_count(tmp_path: Path) -> None:
    """What was forgotten on the way still counts."""
    trail = Trail(tmp_path)
    for number in range(1100):
        trail.session(f"u{number}").end()
        trail.now += 10**9
    found = answers(tmp_path, Question(action="sessions", limit=2))
    shown = [each.identity for each in found if isinstance(each, SessionSummary)]
    assert shown == ["u1098", "u1099"]
    assert found[-1] == LeftOut(1098)


def test_several_journals_are_one_trail(tmp_path: Path) -> None:
    """Each worker, and each process that drains, has its own."""
    one, two = Trail(tmp_path), Trail(tmp_path, start=T0 + 10**9)
    two._numbers = itertools.count(50)
    one.session("alice").end()
    two.session("bob").end()
    one.now += HOUR
    one.session("carol").end()
    assert [each.identity for each in listed(tmp_path)] == ["alice", "bob", "carol"]
    lines = answers(tmp_path, Question(action="tail"))
    times = [each.event["time"] for each in lines if isinstance(each, EventLine)]
    assert times == sorted(times)
    assert len({each.event["journal"] for each in lines if isinstance(each, EventLine)}) == 2


def test_the_last_of_several_journals_are_the_last_by_time(tmp_path: Path) -> None:
    """Not the last of each; and nothing waits in memory but their numbers."""
    one, two = Trail(tmp_path), Trail(tmp_path, start=T0 + HOUR)
    two._numbers = itertools.count(50)
    one.session("alice").end()
    two.session("bob").end()
    one.now += 2 * HOUR
    one.session("carol").end()
    for limit in (1, 2, 3, 4, 5, 6):
        told = [
            each.event
            for each in answers(tmp_path, Question(action="tail", limit=limit))
            if isinstance(each, EventLine)
        ]
        assert len(told) == limit
        who = [each["identity"]["id"] for each in told]
        assert who == ["alice", "alice", "bob", "bob", "carol", "carol"][-limit:]


def test_the_last_events_are_shown_flat_however_long_they_are(tmp_path: Path) -> None:
    """A thousand statements of a megabyte must not be a gigabyte."""
    trail = Trail(tmp_path)
    session = trail.session()
    for _ in range(24):
        session.asks("SELECT '" + "x" * 900_000 + "'", complete("SELECT 0"))
    tracemalloc.start()
    told = sum(1 for _ in ask(lambda: at_rest(tmp_path), Question(action="tail", limit=60), EVERYTHING))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told == 60
    assert peak < 16 << 20, f"{peak >> 20} MiB"


def test_what_is_out_of_scope_does_not_exist(trail: Trail) -> None:
    """Not in a list, not by its id, not as a suggestion, not as "last"."""
    scope = Scope(identities=frozenset({"alice"}))
    assert [each.identity for each in listed(trail.state, scope)] == ["alice"]
    folders = journals(trail.state)
    assert find_session(folders, "last", scope).session.endswith("1")
    assert find_session(folders, "last", EVERYTHING).session.endswith("2")
    with pytest.raises(NoSuchSession) as caught:
        find_session(folders, "00000000-0000-7000-8000-000000000002", scope)
    assert "0000002" not in str(caught.value).split(";", 1)[1]
    for action in ("show", "replay", "tail"):
        session = "last" if action != "tail" else ""
        told = answers(trail.state, Question(action=action, session=session), scope)
        who = {each.event["identity"]["id"] for each in told if isinstance(each, EventLine)}
        assert who == {"alice"}


@pytest.mark.parametrize(("first", "partial"), [("session.start", False), ("command.requested", True)])
def test_what_was_read_from_the_targets_start_on_has_all_rows(first: str, partial: bool) -> None:
    """Who may read one target is not shown the log-in before it, and was told "at least" of every session there."""
    summary = SessionSummary(session="s")
    summary.add({"seq": 2, "kind": first, "time": "2023-11-14T22:13:20.000000Z", "mono": 0, "event": {}})
    assert summary.partial is partial


@pytest.mark.parametrize("name", ["00000000-0000-7000-8000-000000000001", "000000000001", "00000001"])
def test_a_session_goes_by_its_id_or_the_end_of_it(trail: Trail, name: str) -> None:
    """Ids of one moment begin alike; their ends differ."""
    assert find_session(journals(trail.state), name, EVERYTHING).session.endswith("00000001")


def test_the_id_that_a_refused_client_was_told_leads_to_its_session(trail: Trail) -> None:
    """ "The audit trail says more in event ...": with that id alone nobody found anything."""
    told = answers(trail.state, Question(action="tail", filter=Filter(kinds=("command.denied",))))
    (denied,) = [each.event for each in told if isinstance(each, EventLine)]
    for action in ("show", "replay", "export"):
        for name in (denied["id"], denied["op"], denied["id"].upper()):
            shown = answers(trail.state, Question(action=action, session=name))
            assert denied["id"] in [each.event["id"] for each in shown if isinstance(each, EventLine)]
    bob = Scope(identities=frozenset({"bob"}))
    (hidden,) = answers(trail.state, Question(action="show", session=denied["id"]), bob)
    unknown = denied["id"][:-1] + ("0" if denied["id"][-1] != "0" else "1")
    (absent,) = answers(trail.state, Question(action="show", session=unknown), bob)
    assert isinstance(hidden, Problem)
    assert isinstance(absent, Problem)
    assert hidden.sentence.replace(denied["id"], unknown) == absent.sentence, (
        "what may not be seen does not exist"
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("0000", "more than one session"),
        ("001", "too short"),
        ("00000009", "did you mean"),
        ("abcdefab", "lists what there is"),
        ("../../etc/passwd", "no session"),
        ("\x1b]0;x\x07", "no session"),
    ],
)
def test_a_name_that_is_no_session_is_answered_with_what_would_be(
    trail: Trail, name: str, sentence: str
) -> None:
    """The next try should succeed."""
    with pytest.raises(NoSuchSession, match=sentence):
        find_session(journals(trail.state), name, EVERYTHING)


def test_failed_log_ins_are_listed_when_asked_for(tmp_path: Path) -> None:
    """They are many, and nobody's."""
    trail = Trail(tmp_path)
    stranger = trail.session(login=False)
    stranger.recorder.event(LoginFailed(listener="pg", cause="unknown", name="mallory"), outcome="failure")
    trail.journal.commit_now()
    assert listed(tmp_path) == []
    (found,) = listed(tmp_path, every=True)
    assert (found.state, found.how) == ("failed", "log-in failed: unknown")
    assert [each.state for each in listed(tmp_path, filter=Filter(kinds=("login.failed",)))] == ["failed"]


def test_damage_in_one_journal_ends_no_other(tmp_path: Path) -> None:
    """What can be shown is shown; what can't is said with its place."""
    one, two = Trail(tmp_path), Trail(tmp_path)
    one.session("alice").end()
    two._numbers = itertools.count(50)
    two.session("bob").end()
    path = one.folder.segment(one.folder.segments()[0])
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    found = answers(tmp_path, Question(action="sessions"))
    assert [each.identity for each in found if isinstance(each, SessionSummary)] == [
        "alice",  # of whom the beginning is lost
        "bob",
    ]
    (problem,) = [each for each in found if isinstance(each, Problem)]
    assert problem.code == "damaged"
    assert str(path) in problem.sentence
    assert [
        each.code for each in answers(tmp_path, Question(action="tail")) if isinstance(each, Problem)
    ] == ["damaged"]


def test_what_the_journal_lost_is_told_as_an_event(trail: Trail) -> None:
    """A gap that nobody sees would be silence."""
    trail.journal.append(Kind.GAP, b'{"bytes":4096,"count":7,"first":1,"last":2}')
    trail.journal.commit_now()
    lines = answers(trail.state, Question(action="tail", filter=Filter(kinds=("audit.gap",))))
    (gap,) = [each.event for each in lines if isinstance(each, EventLine)]
    assert (gap["event"]["records"], gap["event"]["bytes"]) == (7, 4096)


def test_the_last_events_need_not_the_whole_journal(tmp_path: Path) -> None:
    """And they are the last ones, however far back they are."""
    trail = Trail(tmp_path, segment_bytes=1 << 17)
    first = trail.session("alice")
    first.end()
    busy = trail.session("bob")
    for _ in range(2500):
        busy.asks("SELECT 1", complete("SELECT 0"))
    found = answers(tmp_path, Question(action="tail", limit=2))
    assert [each.event["kind"] for each in found if isinstance(each, EventLine)] == [
        "command.result",
        "command.completed",
    ]
    rare = answers(tmp_path, Question(action="tail", limit=1, filter=Filter(identities=("alice",))))
    assert [each.event["kind"] for each in rare if isinstance(each, EventLine)] == ["session.end"]
    assert len(trail.folder.segments()) > 2


def test_a_tail_goes_on_with_what_becomes_durable_over_segments_and_new_journals(tmp_path: Path) -> None:
    """Nothing twice, nothing left out, nothing before it is durable."""
    trail = Trail(tmp_path, segment_bytes=1 << 17)
    busy = trail.session("alice")
    others: list[Trail] = []
    turns = itertools.count()

    def sleep(seconds: float) -> None:
        turn = next(turns)
        if turn < 60:
            for _ in range(20):
                busy.asks(f"SELECT {turn}", complete("SELECT 0"))
        if turn == 5:
            others.append(Trail(tmp_path, start=trail.now))
            others[0]._numbers = itertools.count(70)
            others[0].session("bob").end()

    question = Question(action="tail", follow=True, limit=0)
    going_on = iter([True] * 90 + [False]).__next__
    told = list(ask(lambda: at_rest(tmp_path), question, EVERYTHING, sleep=sleep, going_on=going_on))
    events = [each.event for each in told if isinstance(each, EventLine)]
    assert len(told) == len(events)
    assert len(trail.folder.segments()) > 1
    mine = [each["jseq"] for each in events if each["journal"] == trail.journal.id]
    assert mine == sorted(set(mine))
    asked = [each for each in events if each["kind"] == "command.requested"]
    assert len(asked) == 60 * 20
    assert [each["kind"] for each in events if each.get("identity", {}).get("id") == "bob"][
        -1
    ] == "session.end"


def test_a_recording_comes_with_events_ahead_of_their_bytes(trail: Trail) -> None:
    """So that a reader knows of a result before its bytes come, and can go through it without keeping it."""
    session = trail.session("carol")
    session.selects("SELECT 1", ("a",), DIGITS)
    big = b"x" * 5000
    session.asks("SELECT big", columns("b"), row(big), m("D", b"\0\0"), complete("SELECT 2"))
    session.end()
    order = answers(trail.state, Question(action="replay", session="last"))
    kinds = [each.event["kind"] if isinstance(each, EventLine) else type(each).__name__ for each in order]
    assert kinds.index("command.result") < kinds.index("Chunk")
    assert kinds.count("Chunk") >= 5
    again = [decode_line(encode_line(each)) for each in order]
    assert again == order


def test_a_state_directory_that_is_none_is_told_from_one_that_is_not_mine(tmp_path: Path) -> None:
    """The sentence says what to do."""
    (problem,) = answers(tmp_path / "nowhere", Question(action="tail"))
    assert isinstance(problem, Problem)
    assert "[gateway] state" in problem.sentence


def test_an_erased_session_is_called_erased_and_only_to_who_may_know_of_it(trail: Trail) -> None:
    """Not "no such session": an auditor must learn that there was one. Others never learn of it."""
    folder, jseq = trail.folder, trail.journal.durable
    trail.journal.roll()
    trail.say(LoginFailed(listener="x", cause="x", count=1))
    found = find(folder, identity="alice")
    with Upkeep(folder) as upkeep:
        erase_from(upkeep, found.keys, ordered_by=jseq + 1)
    (session,) = found.sessions
    with pytest.raises(NoSuchSession, match="was erased"):
        find_session([folder], session, EVERYTHING)
    with pytest.raises(NoSuchSession, match="no session"):
        find_session([folder], session, Scope(identities=frozenset({"alice"})))
    assert [each.identity for each in listed(trail.state)] == ["bob"]
    assert find_session([folder], "last", EVERYTHING).session not in found.sessions


@pytest.mark.parametrize("steps", [[100, 90, 50, 40, 30], [100, 20, 30, 40, 50], [100, 200, 20, 30, 210]])
def test_a_clock_that_is_set_back_hides_nothing_of_a_session(tmp_path: Path, steps: list[int]) -> None:
    """Its records are written before it began, by the clock; segments aren't in the order of their times then."""
    now = [1]
    journal = Journal(
        Folder.acquire(tmp_path),
        wall=lambda: now[0] * 10**9,
        options=JournalOptions(reserve_bytes=0, segment_bytes=600, compress=False),
        threaded=False,
    )
    journal.start()
    session = uuid.uuid4()
    for number, now[0] in enumerate([5, 10, *steps, 220]):
        if number == 2:
            key = journal.open_key(session.bytes)
        before = number < 2 or number == 7
        event = {
            "id": str(uuid.uuid4()),
            "kind": "command.requested",
            "journal": journal.id,
            "jseq": number + 1,
        }
        event |= {} if before else {"session": str(session), "seq": number - 1}
        journal.append_event(
            json.dumps({**event, "event": {"text": "x" * 400}}).encode(), 0 if before else key
        )
        journal.commit_now()
    assert len(journal.folder.segments()) > 3
    journal.stop()
    found = find_session(journals(tmp_path), str(session), EVERYTHING)
    with found.reader() as reader:
        assert [json.loads(record.body)["seq"] for record in reader] == [1, 2, 3, 4, 5]
