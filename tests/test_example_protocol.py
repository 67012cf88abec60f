"""The example of a protocol, played in memory: decided, on record, bounded, every byte accounted for."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.errors import JournalRefused
from hoopproxy.events import REDACTIONS
from hoopproxy.testing import FakeSession, Player, every_split, play
from hoopproxy.wire.commands import Login, Refusal, StartTLS, TLSStarted, Verdict

from .example_modules import lines

LOGIN = b"login alice+writer s3cret\n"


def built(**options: Any) -> Any:
    session = FakeSession(**options)
    lines.LinesProtocol().build_pair(session)
    return session.built


def conversed(script: list[tuple[str, Any]], **options: Any) -> Player:
    """A session that is logged in, then the script."""
    opening = [("client", LOGIN), ("target", b"* ok\n")]
    return play(built(), [*opening, *script], **options)


def end_of(player: Player) -> dict[str, Any]:
    """``session.end``, of a session whose every byte is accounted for."""
    end = player.end()
    assert end is not None
    assert end["event"]["balanced"], end["event"]
    return end


def test_a_command_is_on_record_before_it_goes_on_and_its_answer_is_joined_to_it() -> None:
    """Otherwise the example would teach a protocol that is not audited."""
    player = conversed([("client", b"get colour\r\n")], at_once=False)
    assert player.relay.server.count(b"get") == 0, "it went before its record was durable"
    player.journal.sync()
    assert player.relay.server.endswith(b"get colour\r\n")
    player.target(b"red\n")
    assert bytes(player.relay.client) == b"* ok\nred\n"
    end_of(player)
    asked, result, done = (
        player.journal.of(f"command.{kind}")[0] for kind in ("requested", "result", "completed")
    )
    assert asked["event"]["text"] == "get colour"
    assert asked["event"]["verb"] == "GET"
    assert asked["id"] == result["op"] == done["op"]
    start, stop = result["event"]["range"]
    assert player.journal.stream(0, 1)[start:stop] == b"red\n"


def test_the_password_is_nowhere_in_the_trail() -> None:
    """A line that is read as a command by mistake would put it there."""
    player = conversed([])
    end = end_of(player)
    everything = json.dumps(player.journal.events).encode() + b"".join(c.data for c in player.journal.chunks)
    assert b"s3cret" not in everything
    assert end["event"]["client"]["redacted"] == len(LOGIN)
    assert {REDACTIONS[each[2]] for chunk in player.journal.chunks for each in chunk.redactions} == {"login"}
    assert "s3cret" not in repr(player.relay.asked)


def test_a_denied_command_is_answered_in_its_place_and_never_reaches_the_target() -> None:
    """The target would do what policy refused, or the client take the refusal for another command's answer."""

    def decide(asked: Any) -> Verdict:
        if "DROP" in asked.verbs:
            return Verdict(False, ("test",), Refusal("policy", "not you"))
        return Verdict(True)

    player = conversed([("client", b"get a\ndrop b\nget c\ndrop d\n")], decide=decide)
    assert b"drop" not in player.relay.server
    assert player.relay.server.endswith(b"get a\nget c\n")
    assert bytes(player.relay.client) == b"* ok\n"
    player.target(b"A\nC\n")
    player.client(b"drop e\n")
    end_of(player)
    told = [f"* denied: not you [{each['id']}]".encode() for each in player.journal.of("command.denied")]
    assert player.relay.client.split(b"\n") == [b"* ok", b"A", told[0], b"C", told[1], told[2], b""]
    assert len(player.journal.of("command.completed")) == 2


@pytest.mark.parametrize(
    "said",
    [
        b"get a\n",
        b"login\n",
        b"LOGIN alice x\n",
        b"\n",
        b"starttls\n",
        b"login a=b=\xff x\n",
        b"\x16\x03\x01\n",
    ],
)
def test_nothing_but_a_log_in_is_legal_first(said: bytes) -> None:
    """Bytes of a stranger would reach the target, or an identity be made of garbage."""
    player = play(built(), [("client", said)], answers={Login: Refusal("login", "the log-in was refused")})
    assert not player.relay.server
    assert player.relay.closed is not None
    assert player.relay.client.startswith(b"* bye ")


def test_a_password_is_taken_only_inside_tls_unless_the_listener_says_otherwise() -> None:
    """It would cross the wire in the clear without anybody having decided so."""
    bare = play(built(insecure_cleartext=False), [("client", LOGIN)])
    assert not bare.relay.asked
    assert bare.relay.closed is not None
    private = play(built(insecure_cleartext=False, tls="required"), [("client", b"starttls\n")])
    assert bytes(private.relay.client) == b"* go ahead\n"
    assert private.relay.asked[-1][0] == StartTLS("client")
    private.answer(TLSStarted("client", facts=attrs.NOTHING))
    private.client(LOGIN)
    assert private.relay.server == b"login account\n"


def test_bytes_behind_starttls_end_the_session() -> None:
    """They would be taken as if they had come encrypted."""
    player = play(built(insecure_cleartext=False, tls="required"), [("client", b"starttls\n" + LOGIN)])
    assert not player.relay.server
    assert player.relay.closed is not None


@pytest.mark.parametrize("said", [b"what nobody asked\n", b"* bye\n", b"\n"])
def test_an_answer_that_nobody_asked_for_ends_the_session_and_does_not_go_on(said: bytes) -> None:
    """A hostile target could forge the answer of a later command."""
    player = conversed([("client", b"get a\n"), ("target", b"A\n"), ("target", said)])
    assert bytes(player.relay.client) == b"* ok\nA\n* bye the target answers what nobody asked\n"
    assert player.relay.closed is not None
    end_of(player)


def test_what_is_not_answered_is_unfinished() -> None:
    """Nobody knows what became of it."""
    player = conversed([("client", b"get a\nget b\n"), ("target", b"A\n"), ("target_lost", None)])
    end_of(player)
    assert len(player.journal.of("command.completed")) == len(player.journal.of("command.unfinished")) == 1


def test_a_target_that_refuses_the_gateway_is_no_session() -> None:
    """The client would talk to a target that knows nobody."""
    player = play(built(), [("client", LOGIN), ("target", b"* no\n"), ("client", b"get a\n")])
    assert b"get" not in player.relay.server
    assert bytes(player.relay.client).startswith(b"* bye ")
    end_of(player)


def test_what_was_asked_before_the_client_closed_its_side_is_answered() -> None:
    """``printf ... | nc`` would lose its answers."""
    player = conversed([("client", b"get a\n"), ("client_lost", None)])
    assert player.relay.closed is None
    player.target(b"A\n")
    assert player.relay.client.endswith(b"A\n")
    assert player.relay.closed == "client closed"
    end_of(player)


def test_twenty_thousand_pipelined_commands_are_bounded_and_do_not_recurse() -> None:
    """Each open command costs memory: a client that never reads answers must not fill ours."""
    player = conversed([])
    for _ in range(40):
        player.client(b"get x\n" * 500)
        player.target(b"y\n" * 500)
    assert len(player.journal.of("command.completed")) == 20_000
    player.client(b"get x\n" * (lines.LinesConversation.most + 1))
    assert player.relay.closed is not None
    end_of(player)


def test_a_session_is_the_same_however_its_bytes_arrive() -> None:
    """A reader that looks at chunks instead of lines decides on half a command."""
    said = LOGIN + b"get a\r\nput b \xff\n"
    for pieces in every_split(said):
        player = play(built(), [("client", piece) for piece in pieces])
        player.target(b"* ok\n")
        player.target(b"A\ndone\n")
        assert player.relay.server == b"login account\nget a\r\nput b \xff\n"
        assert [each["event"]["verb"] for each in player.journal.of("command.requested")] == ["GET", "PUT"]
        end_of(player)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["client", "target"]), st.binary(max_size=40)), max_size=8))
def test_whatever_the_peers_send_every_byte_is_accounted_for(script: list[tuple[str, bytes]]) -> None:
    """Garbage must neither raise nor be forgotten nor reach the target undecided."""
    player = conversed(script)
    end_of(player)
    asked = player.journal.of("command.requested")
    forwarded = bytes(player.relay.server).removeprefix(b"login account\n")
    assert forwarded.count(b"\n") == len(asked)


def test_options_that_it_does_not_have_are_named() -> None:
    """A misspelt option that does nothing is found in an incident."""
    plugin = lines.LinesProtocol()
    assert plugin.problems({}, None) == []
    assert plugin.problems({"colour": 1}, None) == ["colour: lines has no options"]
    assert plugin.problems(None, {"colour": 1}) == ["colour: lines has no options"]
    assert plugin.refusal(Refusal("too_many", "come back later")) == b"* bye come back later\n"


def test_a_refused_journal_is_said_in_the_protocols_own_words() -> None:
    """The session ends in order, and the command does not happen."""
    player = conversed([])
    player.journal.refusal = JournalRefused("full", "there is no space left for the record")
    player.client(b"get a\n")
    assert b"get" not in player.relay.server
    assert b"no space left" in player.relay.client
