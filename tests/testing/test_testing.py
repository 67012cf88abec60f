"""The public help for plugin authors is itself held to what it promises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from hoopproxy.errors import JournalRefused
from hoopproxy.events import Identity
from hoopproxy.interfaces import IJournal, IRelay, ISession
from hoopproxy.testing import (
    FakeSession,
    MemoryJournal,
    MemoryRelay,
    Player,
    every_split,
    frames_of,
    play,
    random_splits,
)
from hoopproxy.wire.codec import Lines
from hoopproxy.wire.commands import (
    RELAYING,
    Close,
    Connect,
    Connected,
    Decide,
    LoggedIn,
    Login,
    Started,
    ToClient,
    ToServer,
)
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.login import Password


def test_the_doubles_provide_what_they_stand_for() -> None:
    """A double that lags behind its interface lets a plugin pass that the gateway refuses."""
    verifyObject(IJournal, MemoryJournal())
    verifyObject(IRelay, MemoryRelay())
    verifyObject(ISession, FakeSession())


def event(**fields: object) -> bytes:
    whole = {"kind": "session.note", "jseq": 1, "event": {"what": "x"}, **fields}
    return json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (event(kind="session.unheard"), KeyError),
        (event(event={"what": "x", "more": 1}), AssertionError),
        (event(jseq=2), AssertionError),
        (event(shadow="x"), AssertionError),
        (event() + b" ", AssertionError),
        (b'{"kind":"session.note","event":{"what":"x"},"jseq":1}', AssertionError),
    ],
)
def test_an_event_that_the_catalogue_does_not_know_is_refused(body: bytes, why: type[Exception]) -> None:
    """What a plugin's own test lets through would be in somebody's trail."""
    MemoryJournal().append_event(event(), 1)
    with pytest.raises(why):
        MemoryJournal().append_event(body, 1)


def test_a_gap_or_an_overlap_in_a_stream_is_found() -> None:
    """Otherwise a test of the recording proves nothing."""
    for offset in (2, 4):
        journal = MemoryJournal()
        journal.append_chunk(1, bytes(16), 0, 0, 0, 0, b"abc")
        journal.append_chunk(1, bytes(16), 0, 0, offset, 0, b"def")
        with pytest.raises(AssertionError):
            journal.stream(0, 0)


def test_the_journal_in_memory_refuses_waits_and_loses_like_a_real_one() -> None:
    """The switches that tests need: full from a record on, durable when told, gaps for best-effort."""
    journal = MemoryJournal(at_once=False)
    told: list[int] = []
    journal.when_durable(journal.append_event(event(), 1), lambda: told.append(1))
    assert told == []
    journal.sync()
    journal.when_durable(1, lambda: told.append(2))
    assert told == [1, 2]
    journal.full_at = 2
    with pytest.raises(JournalRefused):
        journal.append_chunk(1, bytes(16), 0, 0, 0, 0, b"abc")
    journal.append_chunk(1, bytes(16), 0, 0, 0, 0, b"abc", droppable=True)
    assert (journal.gaps, len(journal.chunks)) == (1, 0)
    journal.append_event(event(jseq=2), 1, reserve=True)
    assert journal.kinds() == ["session.note"] * 2


def test_splits_lose_nothing() -> None:
    """Every way to cut gives the bytes again, and every place is cut."""
    data = b"one\ntwo\n"
    ways = list(every_split(data))
    assert all(b"".join(pieces) == data for pieces in ways)
    assert {len(pieces[0]) for pieces in ways if len(pieces) == 2} == set(range(1, len(data)))
    assert all(b"".join(pieces) == data for pieces in random_splits(data, 1))
    assert list(random_splits(data, 1)) == list(random_splits(data, 1))
    frames, tail = frames_of(Lines, (b"one\nt", b"wo"))
    assert ([frame.body for frame in frames], tail) == ([b"one"], b"two")


class Echo(Conversation):
    """Logs in at the first line; the target's first line starts it."""

    ready = False

    def client_frame(self, frame: Any) -> Any:
        if not self.ready:
            return [Login(Password(user="alice", password=frame.body))]
        return [Decide(("LINE",), 1, {"verb": "LINE"})]

    def server_frame(self, frame: Any) -> Any:
        if self.ready:
            return None
        self.ready = True
        return [Started(), RELAYING]

    def answered(self, question: Any, answer: object) -> Any:
        if isinstance(answer, LoggedIn):
            return [ToClient(answer.identity.id.encode() + b"\n"), Connect()]
        return [ToServer(b"hello\n")] if isinstance(answer, Connected) else None


def test_play_plays_a_script_through_the_real_gate() -> None:
    """What an author's test sees is what the gateway will do."""
    script = [
        ("client", b"pw\n"),
        ("target", b"welcome\n"),
        ("client", b"line\n"),
        ("target", b"answer\n"),
        ("sync", None),
        ("client_lost", None),
        ("target_lost", None),
    ]
    player = play((Lines(), Lines(), Echo()), script, at_once=False)
    assert bytes(player.relay.server) == b"hello\nline\n"
    assert bytes(player.relay.client) == b"alice\nanswer\n"
    assert player.relay.closed == "client closed"
    end = player.end()
    assert end is not None
    assert end["event"]["balanced"]
    assert player.journal.kinds()[:2] == ["session.start", "command.requested"]


def test_questions_can_be_left_open_and_answered_by_the_test() -> None:
    """A plugin's waiting states are tested like its others."""
    player = Player((Lines(), Lines(), Echo()), answers={Connect: None})
    del player.relay.answers[Login]
    player.exchange.open()
    player.client(b"pw\n")
    assert player.relay.client == b""
    player.answer(LoggedIn(Identity(id="bob", issuer="test")))
    assert player.relay.client == b"bob\n"


def test_a_session_without_a_log_in_has_no_end_on_record() -> None:
    """Guards the helper: end() says so."""
    player = play((Lines(), Lines(), Conversation()), [("client", b"x\n")])
    assert player.end() is None
    assert isinstance(Conversation().client_lost(), tuple)
    assert Conversation().server_lost() == (Close("target closed"),)
