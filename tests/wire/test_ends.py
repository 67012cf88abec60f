"""How a session ends when something is wrong: what is still said, what is still counted, what never happens."""

from __future__ import annotations

from typing import Any

import pytest

from hoopproxy.errors import JournalRefused, ProtocolViolation
from hoopproxy.testing import FakeSession, Player, play
from hoopproxy.wire.codec import Lines
from hoopproxy.wire.commands import RELAYING, Connect, Decide, Login, Refusal, Started, Verdict
from hoopproxy.wire.conversation import Commands, Conversation
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.login import Password


class Talk(Conversation):
    """Logs in at the first line; then each line is a command. ``BUG`` raises, ``BAD`` is not legal."""

    def __init__(self) -> None:
        self.started = False

    def client_frame(self, frame: Frame) -> Commands:
        if frame.body == b"BUG":
            raise ZeroDivisionError
        if frame.body == b"BAD":
            raise ProtocolViolation("BAD is not legal")
        if not self.started:
            return [Login(Password(user="alice", password=b"pw"))]
        return [Decide(("LINE",), frame.end - frame.start, {"verb": "LINE"})]

    def server_frame(self, frame: Frame) -> Commands:
        if not self.started:
            self.started = True
            return [Started("db"), RELAYING]
        return None

    def answered(self, question: Any, answer: object) -> Commands:
        if isinstance(question, Login):
            return [Connect(target="target")]
        if isinstance(question, Decide) and isinstance(answer, Verdict) and not answer.allowed:
            return []
        return None


def playing(*script: tuple[str, Any], **options: Any) -> Player:
    session = FakeSession()
    session.relay(Lines(), Lines(), Talk())
    assert session.built is not None
    begin = [("client", b"hello\n"), ("target", b"ready\n")]
    return play(session.built, [*begin, *script], **options)


def test_a_goodbye_that_cannot_be_recorded_is_still_heard() -> None:
    """Whoever loses a command to a full disk must be told; silence would look like success."""
    player = playing(("client", b"SELECT 1\n"), at_once=False)
    assert player.exchange.waits
    refused = JournalRefused("full", "the journal's disk is full")
    player.journal.refusal = refused
    player.exchange.journal_refuses(refused)
    assert bytes(player.relay.client).endswith(b"the journal's disk is full\n")
    assert player.relay.closed == "journal_full"
    assert b"SELECT 1" not in player.relay.server
    assert not player.exchange.waits


def test_a_refusal_while_the_journal_refuses_is_heard_too() -> None:
    """The idle limit, a kill or a shutdown may come at the same time."""
    player = playing()
    player.journal.refusal = JournalRefused("io", "the disk failed")
    player.exchange.refuse(Refusal("killed", "an administrator ended this session"))
    assert bytes(player.relay.client).endswith(b"an administrator ended this session\n")


@pytest.mark.parametrize("data", [b"SELECT 1\nBUG\nSELECT 2\n", b"BUG\nSELECT", b"BUG\n"])
def test_the_bytes_of_a_conversation_that_fails_are_accounted_for(data: bytes) -> None:
    """A bug of a plugin must not make the totals a riddle."""
    player = playing()
    with pytest.raises(ZeroDivisionError):
        player.client(data)
    player.exchange.refuse(Refusal("internal", "the gateway failed"))
    end = player.end()
    assert end is not None
    assert end["event"]["balanced"], end["event"]
    assert b"BUG" not in player.relay.server
    assert b"SELECT 2" not in player.relay.server


def test_what_waits_for_the_disk_is_said() -> None:
    """The relay ends the target's stream only after it."""
    player = playing(("client", b"SELECT 1\n"), at_once=False)
    assert player.exchange.waits
    player.journal.sync()
    assert not player.exchange.waits
    assert bytes(player.relay.server) == b"SELECT 1\n"


def test_a_violation_is_kept_for_who_has_no_session_on_record() -> None:
    """A stranger's is counted elsewhere, so its place and reason must survive."""
    session = FakeSession()
    session.relay(Lines(), Lines(), Talk())
    assert session.built is not None
    player = play(session.built, [("client", b"BAD\n")])
    assert player.exchange.violation == ("client", 0, "BAD is not legal")
    assert player.journal.events == []
