"""What the recorder says of beginnings and ends is what recovery finds in the events themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import canonical
from hoopproxy.journal.batch import Batch
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import CLOSES, OPENS, Kind
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.state import OpenState
from hoopproxy.journal.writer import Journal
from hoopproxy.testing.memory import MemoryJournal
from hoopproxy.wire.recorder import Clock, IdSource, Recorder

from .support import SESSION, SMALL, STATE, event, opened, records

KINDS = st.sampled_from(
    [
        ("login.succeeded", OPENS),
        ("session.start", OPENS),
        ("session.end", CLOSES),
        ("command.requested", OPENS),
        ("command.completed", CLOSES),
        ("command.result", 0),
        ("chunk", 0),
    ]
)


@given(st.lists(st.lists(st.tuples(KINDS, st.integers(1, 3)), max_size=12), max_size=6))
def test_told_with_the_events_or_read_from_them_the_state_is_the_same(
    batches: list[list[tuple[tuple[str, int], int]]],
) -> None:
    """The writer believes what it is told, recovery reads: the STATE block must not depend on who."""
    told, read = OpenState(), OpenState()
    seq = 0
    for steps in batches:
        flat: list[object] = []
        for (kind, flags), key in steps:
            seq += 1
            if kind == "chunk":
                flat += [int(Kind.CHUNK), key, 3, None, b"xyz", b""]
                continue
            session = not kind.startswith("command")
            op = f"o{key}-{seq if flags == OPENS else seq - 1}"
            body = event(kind, session=f"s{key}", op=None if session else op, seq=seq)
            note = (SESSION if session else op.encode()) if flags else None
            flat += [Kind.EVENT | flags << 8, key, len(body), note, body, b""]
            read.note(key, body)
        told.apply(Batch(flat).books())
    assert told.sessions == read.sessions
    assert told.commands == read.commands
    assert told.last_seqs == read.last_seqs
    assert told.keys == read.keys
    stored = OpenState.decode(told.encode())
    assert stored.last_seqs == told.last_seqs, "a command is not its session's latest event"
    assert stored.encode() == told.encode()


def test_a_huge_statement_is_not_kept_whole() -> None:
    """As when it is read: sixteen MiB for each open command would be too much."""
    state = OpenState()
    body = event("command.requested", op="o1", sql="x" * 100_000)
    state.apply(Batch([Kind.EVENT | OPENS << 8, 1, len(body), b"o1", body, b""]).books())
    assert state.commands[0]["op"] == "o1"
    assert len(state.encode()) < 1000


def test_an_end_that_had_to_be_dropped_leaves_nothing_open() -> None:
    """Best effort: else each lost outcome would stay in memory, and in every segment's STATE, for ever."""
    files = MemoryFiles()
    journal = opened(files, JournalOptions(reserve_bytes=0, max_lag_bytes=1000))
    key = journal.open_key(SESSION)
    stalled = journal.commit_now
    journal.commit_now = lambda: None  # type: ignore[method-assign]
    journal.append_event(event("command.requested", op="o1", sql="x" * 500), key, opens=b"o1", droppable=True)
    ended = event("command.completed", op="o1", text="x" * 500)
    gap = journal.append_event(ended, key, closes=b"o1", droppable=True)
    journal.commit_now = stalled  # type: ignore[method-assign]
    journal.commit_now()
    journal.commit_now()
    assert journal.durable == gap
    assert [record.kind for record in records(files)] == [Kind.EVENT, Kind.GAP]
    journal.stop()
    assert len(records(files)) == 2
    again = Journal(Folder.acquire(STATE, files), options=SMALL, threaded=False)
    assert again.start().clean, "the writer thought that something is open"


def test_the_recorder_says_what_each_event_opens_and_closes() -> None:
    """Without it a crash would find nothing open."""
    journal = MemoryJournal()
    recorder = Recorder(
        journal,
        IdSource(lambda: 10**18, lambda size: bytes(size)),
        Clock(lambda: 10**18, lambda: 0),
        node="gw1",
        session=SESSION,
        session_text="00000000-0000-7000-8000-000000000001",
        protocol="postgres",
    )
    recorder.emit(b"login.succeeded", b"{}")
    assert set(journal.open) == {SESSION}, "who logged in is in the trail, and needs an end there"
    recorder.emit(b"session.start", b"{}")
    for op in (b"o1", b"o2", b"o3", b"o4", b"o5"):
        recorder.emit(b"command.requested", b"{}", op)
    recorder.emit(b"command.result", b"{}", b"o1")
    assert set(journal.open) == {SESSION, b"o1", b"o2", b"o3", b"o4", b"o5"}
    for kind, op in (("completed", b"o1"), ("denied", b"o2"), ("skipped", b"o3"), ("unfinished", b"o4")):
        recorder.emit(b"command." + kind.encode(), b"{}", op)
    assert set(journal.open) == {SESSION, b"o5"}
    recorder.emit(b"command.denied", canonical({}))
    assert set(journal.open) == {SESSION, b"o5"}, "one without an operation closes nothing"
    recorder.emit(b"session.end", b"{}")
    assert set(journal.open) == {b"o5"}
