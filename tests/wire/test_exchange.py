"""The gate: what goes on, when, in which order with its record, and that every byte has its place."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoopproxy.errors import JournalRefused, ProtocolViolation
from hoopproxy.events import TLSFacts
from hoopproxy.testing import Player, every_split
from hoopproxy.wire.codec import Codec, Lines
from hoopproxy.wire.commands import (
    FORWARD,
    Connect,
    Connected,
    Decide,
    LoggedIn,
    Login,
    Redact,
    Refusal,
    StartTLS,
    TLSStarted,
    ToServer,
    Verdict,
)
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.frames import Frame, Span
from hoopproxy.wire.peer import merged
from hoopproxy.wire.turn import FINISH_BYTES

from .lines import TLS, Talk, built, fresh, started

LATER: dict[str, Any] = {"decide": lambda decide: None}
REFUSED = JournalRefused("full", "no space is left")


def refuse_drop(decide: Decide) -> Verdict:
    allowed = "DROP" not in decide.verbs
    return Verdict(allowed, ("r",), None if allowed else Refusal("policy", "no drops"))


def assert_accounted(player: Player) -> None:
    end = player.ended or player.end()
    assert end is not None
    assert end["event"]["balanced"], end["event"]
    events = player.journal.events
    if not player.journal.gaps:
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["id"] for event in events}) == len(events)


# --- order ------------------------------------------------------------------------------------------------


def order_of(player: Player, since: int) -> list[str]:
    return player.journal.order[since:]


def test_the_chunk_then_the_request_then_the_bytes() -> None:
    """No record, no action: the order in the journal is the order of the promise."""
    player = started(at_once=False)
    since, before = len(player.journal.order), len(player.relay.server)
    player.client(b"get a\n")
    assert order_of(player, since) == ["chunk", "command.requested"]
    assert player.relay.server[before:] == b""
    player.journal.sync()
    assert player.relay.server[before:] == b"get a\n"
    player.target(b"1\n")
    assert order_of(player, since)[2:] == ["chunk", "command.result", "command.completed"]
    assert player.relay.client.endswith(b"1\n")


@pytest.mark.parametrize(("mode", "waits"), [("strict", True), ("bounded", False), ("best-effort", False)])
def test_only_strict_waits_for_the_disk(mode: str, waits: bool) -> None:
    """And in strict a command waits for its own record, not for an older one."""
    player = started(mode=mode, at_once=False)
    before = len(player.relay.server)
    player.client(b"get a\n")
    assert player.exchange.waits == waits
    assert bytes(player.relay.server[before:]) == (b"" if waits else b"get a\n")
    player.journal.sync()
    player.client(b"get b\n")
    assert bytes(player.relay.server[before:]) == (b"get a\n" if waits else b"get a\nget b\n")


def test_a_stream_goes_on_at_once_but_never_past_a_command_that_waits() -> None:
    """Ruling 1: what an admitted command opened needs no durability, but the order is the client's."""
    player = started(at_once=False)
    before = len(player.relay.server)
    player.client(b"raw 1\n")
    assert player.relay.server[before:] == b"raw 1\n"
    player.client(b"get a\nraw 2\n")
    player.client(b"raw 3\n")
    assert player.relay.server[before:] == b"raw 1\n"
    assert player.exchange.held == len(b"get a\nraw 2\nraw 3\n")
    player.journal.sync()
    assert player.relay.server[before:] == b"raw 1\nget a\nraw 2\nraw 3\n"
    player.client(b"raw 4\n")
    assert player.relay.server.endswith(b"raw 4\n")
    assert_accounted(player)


def test_what_comes_back_never_waits() -> None:
    """The client's view is not the disk's affair: everything from the target goes on once queued."""
    player = started(at_once=False)
    player.client(b"get a\n")
    player.target(b"news\n")
    assert player.relay.client.endswith(b"news\n")


def test_an_allowed_line_drags_no_denied_one_along() -> None:
    """The unit of forwarding is the longest prefix of whole, decided messages."""
    player = started(decide=refuse_drop)
    before = len(player.relay.server)
    player.client(b"get a\ndrop b\nget c\nge")
    assert player.relay.server[before:] == b"get a\nget c\n"
    assert [event["event"]["text"] for event in player.journal.of("command.denied")] == ["drop b"]
    assert player.exchange.commands == 2
    assert player.exchange.denied == 1
    assert_accounted(player)


def test_a_chunk_that_goes_on_whole_is_the_object_that_came() -> None:
    """Forward what you received: no copy, no re-encoding."""
    player = started()
    chunk = b"get a\nget b\n"
    player.client(chunk)
    assert player.relay.said[-1][1] is chunk
    assert player.journal.chunks[-1].data is chunk


# --- nothing undecided --------------------------------------------------------------------------------------

_lines = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"get a\n", b"drop b\n", b"raw c\n", b"dark d\n", b"hide 4 secret\n", b"say x\n"]),
        st.sampled_from([b"bad\n", b"tls\n", b"login bob pw\n", b"x" * 1200]),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    before=_lines,
    after=_lines,
    answers=_lines,
    places=st.lists(st.integers(0, 1 << 12), max_size=8),
    mode=st.sampled_from(["strict", "bounded", "best-effort"]),
    record=st.sampled_from(["full", "requests", "metadata"]),
    rests=st.booleans(),
)
def test_any_bytes_from_anybody_in_any_pieces(
    before: list[bytes],
    after: list[bytes],
    answers: list[bytes],
    places: list[int],
    mode: str,
    record: str,
    rests: bool,
) -> None:
    """Only decided lines and what we say ourselves reach the target, and every byte has its place."""
    player = fresh(decide=refuse_drop, mode=mode, record=record, at_once=False)
    sent = feed(player, b"".join(before), places, rests)
    sent += feed(player, b"login alice hunter2\n", places, rests)
    player.target(b"welcome\n")
    sent += feed(player, b"".join(after), places, rests)
    for answer in answers:
        player.journal.sync()
        player.target(answer)
        if rests:
            player.exchange.rest()
    player.journal.sync()
    player.end()
    decided = list(re.findall(rb"[^\n]*\n", sent))
    assert_goes_on_in_order(bytes(player.relay.server), decided)
    assert not re.search(rb"(?m)^drop( |$)", player.relay.server)
    if player.recorder.opened:
        assert_accounted(player)
    else:
        assert player.relay.server == b""
        assert player.journal.order == []


def feed(player: Player, data: bytes, places: list[int], rests: bool) -> bytes:
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    for start, end in itertools.pairwise(at):
        player.client(data[start:end])
        if rests:  # some seconds pass
            player.exchange.rest()
    return data


def assert_goes_on_in_order(server: bytes, lines: list[bytes]) -> None:
    """The target's lines are those of the client's that may go on, in order, and the log-in."""
    left = iter([b"user account hunter2\n", *lines])
    for line in re.findall(rb"[^\n]*\n", server):
        assert any(line == sent for sent in left), line


class Undecided(Conversation):
    """Sends everything on without asking anybody."""

    def __init__(self, command: object) -> None:
        self._command = command

    def client_frame(self, frame: Frame) -> Any:
        return [self._command]


@pytest.mark.parametrize(
    "command",
    [FORWARD, ToServer(b"x"), Decide(("GET",), 1, {"verb": "GET"})],
    ids=["forward", "send", "decide"],
)
def test_a_conversation_that_asks_nobody_reaches_nobody(command: object) -> None:
    """The gate is in one place, and not in the plugins."""
    player = Player((Lines(), Lines(), Undecided(command)))
    player.exchange.open()
    player.client(b"hello\n")
    assert player.relay.server == b""


@pytest.mark.parametrize("pieces", list(every_split(b"get a\ndrop b\nhide 7 secret\nge")))
def test_every_split_gives_the_same_bytes_and_the_same_record(pieces: tuple[bytes, ...]) -> None:
    """A verdict must not depend on how the network cut the stream."""
    player = started(decide=refuse_drop)
    before = len(player.relay.server)
    for piece in pieces:
        player.client(piece)
    assert player.relay.server[before:] == b"get a\nhide 7 secret\n"
    player.end()
    assert_accounted(player)
    recorded = player.journal.stream(0, 0)
    assert recorded == b"login alice ********get a\ndrop b\nhide 7********" + b"**"
    assert len(player.journal.of("command.requested")) == 2


# --- what is secret, what is opaque -------------------------------------------------------------------------


def test_overlapping_secrets_are_counted_once() -> None:
    """Counted twice, the session's end could not balance; and both must be filled."""
    player = started()
    player.client(b"hide 7 secret\n")
    end = player.end()
    assert end is not None
    assert end["event"]["client"]["redacted"] == len(b"hunter2\n") + 8
    assert_accounted(player)
    assert b"secret" not in player.journal.everything


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8))
def test_merged_spans_cover_the_same_places(pairs: list[tuple[int, int]]) -> None:
    """A place that falls out of the merging is a secret in the trail."""
    found = merged([Span(a, b, 1) for a, b in pairs])
    assert {n for a, b in pairs for n in range(a, b)} == {n for s in found for n in range(s.start, s.end)}
    assert all(one.end <= two.start for one, two in itertools.pairwise(found))


def test_a_secret_in_a_reply_is_filled_where_it_is_although_the_stream_was_changed_around_it() -> None:
    """Each piece has its own distance between the two streams: a wrong one fills the bytes beside the secret."""
    player = started()
    player.target(b"swap 1\nsecret hunter3\nswap 2\nsecret hunter4\n")
    player.end()
    assert b"hunter" not in player.journal.everything.replace(b"user account hunter2", b"")
    seen = player.journal.stream(0, 1)
    assert seen.endswith(
        b"swapped for something longer\nsecret *******\nswapped for something longer\nsecret *******\n"
    )
    assert bytes(player.relay.client).endswith(b"secret hunter4\n")
    assert_accounted(player)


class Clumsy(Talk):
    """Names a secret too late, or outside its frame."""

    def __init__(self, span: Callable[[Frame], Span]) -> None:
        super().__init__()
        self._span = span

    def client_frame(self, frame: Frame) -> Any:
        if frame.body == b"oops":
            return [Redact(self._span(frame))]
        return super().client_frame(frame)


@pytest.mark.parametrize("pieces", list(every_split(b"one\nbehind 1\ntwo\nswap 3\nbehind 2\nthree\n")))
def test_what_is_said_behind_a_frame_comes_behind_it(pieces: tuple[bytes, ...]) -> None:
    """A protocol that answers in order can put a refusal behind the reply before it."""
    player = started()
    before = len(player.relay.client)
    for piece in pieces:
        player.target(piece)
    seen = (
        b"one\nbehind 1\nsaid behind it\ntwo\nswapped for something longer\nbehind 2\nsaid behind it\nthree\n"
    )
    assert bytes(player.relay.client[before:]) == seen
    player.end()
    assert player.ended is not None
    assert player.ended["event"]["balanced"]
    assert player.journal.stream(0, 1).endswith(seen)


def test_a_frame_that_is_let_go_on_twice_is_our_own_mistake() -> None:
    """It must not be doubled; the relay ends the session for any error of ours."""
    player = started()
    with pytest.raises(ValueError, match="goes on once"):
        player.target(b"twice 1\n")


@pytest.mark.parametrize(
    "span",
    [
        lambda frame: Span(frame.start - 1, frame.end, 1),
        lambda frame: Span(frame.start, frame.end + 1, 1),
        lambda frame: Span(0, 1, 1),
    ],
)
def test_a_secret_outside_the_present_frame_ends_the_session(span: Callable[[Frame], Span]) -> None:
    """It may be on record already: better no session than a secret that we believed to be redacted."""
    player = Player((Lines(), Lines(), Clumsy(span)))
    player.exchange.open()
    player.client(b"login alice pw\n")
    player.target(b"welcome\n")
    with pytest.raises(ValueError, match="secret"):
        player.client(b"abc\noops\ndef\n")


def test_a_dark_frame_is_opaque_but_for_its_secret() -> None:
    """Decoded, opaque, redacted: each byte is one of them."""

    class Dark(Talk):
        def client_frame(self, frame: Frame) -> Any:
            if frame.body == b"dark secret":
                from hoopproxy.wire.commands import Opaque

                return [Redact(Span(frame.end - 7, frame.end, 1)), Opaque("why" * 100), FORWARD]
            return super().client_frame(frame)

    player = Player((Lines(), Lines(), Dark()))
    player.exchange.open()
    player.client(b"login alice hunter2\n")
    player.target(b"welcome\n")
    player.client(b"dark secret\n")
    end = player.end()
    assert end is not None
    assert end["event"]["client"]["opaque"] == 5
    assert end["event"]["client"]["redacted"] == 8 + 7
    assert_accounted(player)
    (opaque,) = player.journal.of("session.opaque")
    assert len(opaque["event"]["why"]) == 200


# --- questions ----------------------------------------------------------------------------------------------


def test_what_comes_while_a_question_is_open_waits_and_is_read_in_order() -> None:
    """And the client is not read meanwhile, so that nobody can fill the memory."""
    player = started(**LATER)
    before = len(player.relay.server)
    player.client(b"get a\nget b\n")
    player.client(b"get c\nge")
    player.client(b"t d\n")
    assert player.relay.paused["client"] == {"question"}
    assert player.relay.server[before:] == b""
    assert player.exchange.held > 0
    for number, line in enumerate((b"get a\n", b"get b\n", b"get c\n", b"get d\n")):
        assert len(player.relay.asked) == 3 + number
        player.answer(Verdict(True, ("late",)))
        player.journal.sync()
        assert player.relay.server.endswith(line)
    assert player.relay.paused["client"] == set()
    assert player.relay.server[before:] == b"get a\nget b\nget c\nget d\n"
    assert_accounted(player)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Verdict(False, (), Refusal("policy", "no")), "policy"),
        (Refusal("internal", "broken"), "internal"),
        (None, "internal"),
        (object(), "internal"),
    ],
)
def test_a_late_no_and_a_late_nonsense_are_a_no(answer: object, code: str) -> None:
    """A policy that broke has not allowed anything."""
    player = started(**LATER)
    before = len(player.relay.server)
    player.client(b"get a\n")
    player.answer(answer)
    assert player.relay.server[before:] == b""
    assert player.relay.client.endswith(b"no: " + code.encode() + b"\n")
    assert player.journal.of("command.denied")[0]["event"]["code"] == code
    assert_accounted(player)


def test_twenty_thousand_answers_given_at_once_do_not_nest() -> None:
    """Answering by recursion dies on a pipeline."""
    player = started(**LATER, mode="bounded")
    player.relay.answers[Decide] = Verdict(True, ())
    data = b"get a\n" * 20_000
    player.client(data)
    assert player.relay.server.endswith(data)
    player.target(b"1\n" * 20_000)
    assert len(player.journal.of("command.completed")) == 20_000
    assert_accounted(player)


def test_an_answer_after_the_end_is_dropped() -> None:
    """The client has gone: an approval that comes now must not run anything."""
    player = started(**LATER)
    before = len(player.relay.server)
    player.client(b"get a\n")
    player.exchange.client_lost()
    assert player.relay.closed == "client closed"
    player.answer(Verdict(True, ()))
    player.end()
    player.answer(Verdict(True, ()))
    assert player.relay.server[before:] == b""
    assert player.journal.of("command.requested") == []
    assert_accounted(player)


def test_a_wrong_token_answers_nothing() -> None:
    """An answer to an older question is not one to this."""
    player = started(**LATER)
    player.client(b"get a\n")
    player.exchange.answer(999, Verdict(True, ()))
    assert player.journal.of("command.requested") == []


def test_a_violation_behind_an_open_question_is_remembered() -> None:
    """What the codec refused is refused, whenever the question before it is answered."""
    player = started(**LATER)
    before = len(player.relay.server)
    player.client(b"get a\nget b\n" + b"x" * 1500)
    player.client(b"get c\n")
    assert player.relay.closed is None
    player.answer(Verdict(True, ()))
    assert player.relay.closed is None
    player.answer(Verdict(True, ()))
    assert player.relay.closed == "violation by the client"
    assert player.relay.server[before:] == b"get a\nget b\n"
    assert player.exchange.violation is not None
    player.end()
    assert_accounted(player)


@pytest.mark.parametrize("behind", [b"x", b"get a\n", b"tls\n"])
@pytest.mark.parametrize("same", [True, False])
def test_bytes_behind_a_request_for_tls_are_refused(behind: bytes, same: bool) -> None:
    """CVE-2021-23222 and its family: plaintext that would be taken for what TLS protected."""
    player = fresh()
    player.client(b"tls\n" + behind)
    assert not [question for question, _ in player.relay.asked if isinstance(question, StartTLS)]
    assert player.relay.closed == "violation by the client"


def test_tls_goes_on_when_nothing_was_smuggled() -> None:
    """The other half of the test above."""
    player = fresh()
    player.client(b"tls\n")
    player.answer(TLS)
    player.client(b"login alice hunter2\n")
    player.target(b"welcome\n")
    assert player.exchange.started


def test_the_targets_tls_is_in_the_record_of_the_start() -> None:
    """session.start says how the target was spoken to."""

    class Secured(Talk):
        def answered(self, question: Any, answer: object) -> Any:
            if isinstance(answer, Connected):
                return [StartTLS("target")]
            if isinstance(answer, TLSStarted):
                return [ToServer(b"hello\n")]
            return super().answered(question, answer)

    player = Player((Lines(), Lines(), Secured()))
    player.exchange.open()
    player.client(b"login alice hunter2\n")
    player.answer(TLSStarted("target", TLSFacts(version="TLSv1.3", cipher="Y")))
    player.target(b"welcome\n")
    (start,) = player.journal.of("session.start")
    assert start["event"]["upstream_tls"]["cipher"] == "Y"


# --- the journal refuses ------------------------------------------------------------------------------------

SCRIPT: list[tuple[str, bytes]] = [
    ("client", b"login alice hunter2\n"),
    ("target", b"welcome\n"),
    ("client", b"get a\nhide 7 secret\n"),
    ("target", b"1\n"),
    ("target", b"2\nsecret hunter3\nswap x\n"),
    ("client", b"drop d\ndark e\nsend f\n"),
    ("target", b"3\n"),
]


@pytest.mark.parametrize("reserve", [True, False])
@pytest.mark.parametrize("code", ["full", "io"])
@pytest.mark.parametrize("mode", ["strict", "bounded", "best-effort"])
@pytest.mark.parametrize("number", range(1, 40))
def test_a_journal_that_refuses_at_any_record(number: int, mode: str, code: str, reserve: bool) -> None:
    """Nothing unrecorded goes on, the client hears why, and what can still be said is whole."""
    player = fresh(decide=refuse_drop, mode=mode)
    journal, relay = player.journal, player.relay
    journal.full_at, journal.reserve = number, reserve
    for who, data in SCRIPT:
        (player.client if who == "client" else player.target)(data)
        if journal.refusal is not None and journal.refusal.code != code:
            journal.refusal = JournalRefused(code, "the disk is gone")
    player.end()
    requested = [event["event"]["text"].encode() for event in journal.of("command.requested")]
    went = [
        line for line in bytes(relay.server).split(b"\n") if line and not line.startswith((b"user", b"f"))
    ]
    if mode != "best-effort":
        assert len(went) <= len(requested)
        recorded = journal.stream(0, 0)
        assert all(line in recorded or b"hide" in line for line in went)
        if journal.refusal is not None and relay.closed is not None and len(relay.client) > 6:
            assert relay.client.endswith((b"bye: journal_full\n", b"bye: journal_failed\n"))
    else:
        # Before policy admits a session, nobody knows that it is best-effort.
        assert relay.server.endswith(b"dark e\nf\n") or not player.exchange.started
    for op, kinds in journal.operations().items():
        if mode != "best-effort":
            assert kinds[0] in ("command.requested", "command.denied"), (op, kinds)
    if player.ended is not None:
        assert_accounted(player)
    seen = journal.stream(0, 1) if mode != "best-effort" else b""
    assert bytes(relay.client).startswith(seen.replace(b"*******", b"hunter3")), "recorded, but never sent"


def test_a_command_that_waits_when_the_journal_fails_does_not_happen() -> None:
    """Strict: its record will never be durable, so its bytes never leave."""
    player = started(at_once=False)
    before = len(player.relay.server)
    player.client(b"get a\n")
    player.journal.refusal = REFUSED
    player.exchange.journal_refuses(REFUSED)
    assert player.relay.client.endswith(b"bye: journal_full\n")
    assert player.relay.closed == "journal_full"
    player.journal.sync()
    assert player.relay.server[before:] == b""
    player.end()
    (unfinished,) = player.journal.of("command.unfinished")
    assert unfinished["op"] == player.journal.of("command.requested")[0]["op"]
    assert_accounted(player)


def test_a_session_that_waits_for_nothing_survives_the_journals_refusal() -> None:
    """It ends when it next has something to say; until then nothing of it is lost."""
    player = started()
    player.exchange.journal_refuses(REFUSED)
    assert player.relay.closed is None


def test_what_best_effort_lost_is_counted_by_the_journal() -> None:
    """And the commands go on: that is what the mode is for."""
    player = started(mode="best-effort")
    player.journal.refusal = REFUSED
    player.client(b"get a\n")
    assert player.relay.server.endswith(b"get a\n")
    assert player.journal.gaps >= 2


# --- peers that go away -------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["client", "target", "both", "neither"])
@pytest.mark.parametrize("synced", [True, False])
def test_whoever_goes_away_at_any_byte(who: str, synced: bool) -> None:
    """Every command ends on record, and the account is balanced, wherever the wire was cut."""
    whole = sum(len(data) for _, data in SCRIPT)
    for cut in range(whole + 1):
        player = fresh(decide=refuse_drop, at_once=synced)
        left = cut
        for peer, data in SCRIPT:
            piece = data[:left]
            left -= len(piece)
            (player.client if peer == "client" else player.target)(piece)
            if not left:
                break
        if who in ("client", "both"):
            player.exchange.client_lost()
        if who in ("target", "both"):
            player.exchange.server_lost()
        player.journal.sync()
        player.end()
        if player.ended is None:
            assert player.journal.order == []
            continue
        assert_accounted(player)
        for kinds in player.journal.operations().values():
            ends = [k for k in kinds if k in ("command.completed", "command.unfinished", "command.denied")]
            assert len(ends) == 1, kinds


def test_bytes_after_the_end_are_counted_and_go_nowhere() -> None:
    """A peer that talks on after it was told to leave."""
    player = started()
    player.client(b"bad\n")
    before = bytes(player.relay.server), bytes(player.relay.client)
    player.client(b"get a\n")
    player.target(b"1\n")
    assert (bytes(player.relay.server), bytes(player.relay.client)) == before
    player.end()
    assert_accounted(player)
    assert (
        sum(e["event"]["range"][1] - e["event"]["range"][0] for e in player.journal.of("session.opaque"))
        == 4 + 6 + 2
    )


def test_a_strangers_session_leaves_no_trace_in_the_journal() -> None:
    """Strangers can't fill the journal; what they did wrong is told by the listener, counted."""
    player = fresh()
    player.client(b"bad\n")
    player.client(b"more")
    assert player.end() is None
    assert player.journal.order == []
    assert player.exchange.violation == ("client", 0, "a bad line")


def test_a_relay_that_says_why_it_closes_stops_the_session_too() -> None:
    """The gateway sets the cause when a connection broke: nothing more is read then."""
    player = started()
    before = len(player.relay.server)
    player.exchange.closing = "target closed"
    player.client(b"get a\n")
    assert player.relay.server[before:] == b""
    player.end()
    assert_accounted(player)


def test_an_illegal_answer_ends_the_session_with_none_of_it_forwarded() -> None:
    """What came before it in the same chunk goes on; it and the rest do not."""
    player = started()
    player.client(b"get a\n")
    player.target(b"1\nbad\n2\n")
    assert player.relay.client.endswith(b"1\nbye: violation\n")
    assert player.relay.closed == "violation by the target"
    player.end()
    assert_accounted(player)
    (violation,) = player.journal.of("session.violation")
    assert violation["event"]["peer"] == "target"


# --- our own words ------------------------------------------------------------------------------------------


class Stretches(Codec):
    """``(...)`` is a message that is given in stretches, a line is a line."""

    def __init__(self) -> None:
        super().__init__()
        self.within = False

    def scan(self, data: bytes, base: int, frames: list[Frame]) -> int:
        used = 0
        while used < len(data):
            if self.within or data[used] == ord("("):
                end = data.find(b")", used) + 1
                self.within = not end
                end = end or len(data)
                frames.append(Frame(2, base + used, base + end, None, int(not self.within), self.within))
            else:
                end = data.find(b"\n", used) + 1
                if not end:
                    break
                frames.append(Frame(1, base + used, base + end, data[used : end - 1]))
            used = end
        return used


def stretched(**options: Any) -> Player:
    player = Player((Lines(), Stretches(), Talk()), **options)
    player.exchange.open()
    player.client(b"login alice hunter2\n")
    player.target(b"welcome\n")
    return player


@pytest.mark.parametrize(
    ("sent", "hears"), [(b"(half", False), (b"(whole)", True), (b"(a)(b", False), (b"", True)]
)
def test_our_last_words_never_come_inside_a_half_sent_message(sent: bytes, hears: bool) -> None:
    """They would be taken for its contents."""
    for end in (lambda p: p.exchange.refuse(Refusal("killed", "x")), lambda p: p.client(b"bad\n")):
        player = stretched()
        player.target(sent)
        end(player)
        assert (b"bye" in player.relay.client) == hears
        assert player.relay.closed is not None
        player.end()
        assert_accounted(player)


@pytest.mark.parametrize("parts", [[b" and half)1\n"], [b" and", b" half", b")1\n"]])
def test_the_rest_of_a_half_sent_message_goes_on_so_that_the_client_hears_why(parts: list[bytes]) -> None:
    """The journal is full: what the client has half of is ended in the space kept for endings, then come our words."""
    player = stretched()
    player.target(b"(half")
    player.journal.refusal = REFUSED
    for part in parts:
        player.target(part)
    player.target(b"(next)")
    assert player.relay.client.endswith(b"(half and half)1\nbye: journal_full\n")
    player.end()
    assert_accounted(player)


def test_only_so_much_of_a_half_sent_message_goes_on() -> None:
    """A long message would use up what the ends of all sessions need."""
    player = stretched()
    player.target(b"(")
    player.journal.refusal = REFUSED
    most = FINISH_BYTES // 1000
    for _ in range(most):
        player.target(b"x" * 1000)
    assert player.relay.closed is None
    assert player.relay.client.endswith(b"(" + b"x" * 1000 * most)
    player.target(b"y" * 1000)
    assert player.relay.closed is not None
    assert player.relay.client.endswith(b"x")
    player.end()
    assert_accounted(player)


def test_words_fit_when_the_end_of_a_message_was_not_sent() -> None:
    """The journal takes nothing at all, so the client still has half of it; or the next one never began."""
    player = stretched()
    player.target(b"(half")
    player.journal.refusal, player.journal.reserve = REFUSED, False
    player.target(b" and half)1\n")
    assert player.relay.client.endswith(b"(half")
    player.journal.refusal = None
    player.end()
    assert_accounted(player)
    assert player.ended is not None
    assert player.ended["event"]["target"]["opaque"] == len(b" and half)1\n")
    player = stretched()
    player.target(b"(whole)")
    player.journal.refusal = REFUSED
    player.target(b"(lost")
    assert player.relay.client.endswith(b"(whole)bye: journal_full\n")
    player.end()
    assert_accounted(player)


# --- lag ----------------------------------------------------------------------------------------------------


def test_reading_pauses_while_the_disk_is_far_behind() -> None:
    """Bounded: the un-synced lag is a promise, kept by not reading on."""
    player = started(mode="bounded", at_once=False)
    player.exchange._max_lag_bytes = 5000
    player.client(b"get " + b"a" * 900 + b"\n")
    assert player.relay.paused == {"client": set(), "target": set()}
    for _ in range(8):
        player.client(b"get " + b"a" * 900 + b"\n")
    assert player.relay.paused == {"client": {"journal"}, "target": {"journal"}}
    player.journal.sync()
    assert player.relay.paused == {"client": set(), "target": set()}


@pytest.mark.parametrize(
    ("code", "reads"), [("full", True), ("io", True), ("lagging", False), ("sink", False)]
)
def test_nobody_waits_for_a_disk_that_takes_nothing(code: str, reads: bool) -> None:
    """The watermark that it waits for may never come: the client would wait for an answer as long."""
    player = started(mode="bounded", at_once=False)
    player.exchange._max_lag_bytes = 5000
    line = b"get " + b"a" * 900 + b"\n"
    for _ in range(8):
        player.client(line)
    assert player.relay.paused == {"client": {"journal"}, "target": {"journal"}}
    player.journal.refusal = JournalRefused(code, "no")
    player.exchange.journal_refuses(player.journal.refusal)
    why = set() if reads else {"journal"}
    assert player.relay.paused == {"client": why, "target": why}
    if reads:
        player.client(line)
        assert player.relay.client.endswith(
            b"bye: journal_full\n" if code == "full" else b"bye: journal_failed\n"
        )
    player.journal.sync()
    assert player.relay.paused == {"client": set(), "target": set()}


def behind(monkeypatch: pytest.MonkeyPatch) -> Player:
    """A session with most of a long command, whose journal has more than may wait, of somebody else."""
    for module in ("exchange", "meeting"):
        monkeypatch.setattr(f"hoopproxy.wire.{module}.LONG", 500)
    player = started(mode="strict", at_once=False)
    player.journal.sync()
    player.client(b"get " + b"a" * 600)
    player.exchange._max_lag_bytes = 5000
    player.journal.next_jseq += 1
    player.journal.unsynced_bytes = 6000
    return player


def test_a_long_command_is_completed_when_the_journal_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of 64 MiB that came to their ends at once were too much for it, and everybody's commands were refused."""
    player = behind(monkeypatch)
    records = player.journal.next_jseq

    def another_was_first() -> None:
        player.journal.next_jseq += 1
        player.journal.unsynced_bytes = 6000

    player.journal.when_durable(records - 1, another_was_first)
    player.client(b"a\nget b\n")
    player.client(b"get c\n")
    assert (player.journal.next_jseq, player.relay.paused["client"]) == (records, {"question"})
    player.journal.sync()
    assert (player.journal.next_jseq, player.relay.paused["client"]) == (records + 1, {"question"})
    player.journal.sync()
    assert player.relay.paused["client"] == set()
    player.journal.sync()
    assert player.relay.server.endswith(b"get " + b"a" * 601 + b"\nget b\nget c\n")


@pytest.mark.parametrize("leaves", [True, False])
def test_a_long_command_that_waits_is_not_done_for_who_leaves_or_when_the_disk_fails(
    monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    """What waits for the journal's room is neither lost from the sums nor sent without a record."""
    player = behind(monkeypatch)
    sent = player.relay.server
    player.client(b"a\n")
    if leaves:
        player.exchange.refuse(Refusal("killed", "an administrator ended this session"))
    else:
        player.journal.refusal = JournalRefused("full", "no")
        player.exchange.journal_refuses(player.journal.refusal)
        assert player.relay.client.endswith(b"bye: journal_full\n")
        player.journal.refusal = None
    player.journal.sync()
    assert player.relay.server == sent
    assert_accounted(player)


def test_an_old_record_pauses_too_and_best_effort_never() -> None:
    """Lag is a time as well as a size."""
    for mode, pauses in (("bounded", True), ("best-effort", False)):
        player = started(mode=mode, at_once=False)
        player.exchange._max_lag_ns = 1000
        player.exchange._look_at_lag = -1
        player.journal.oldest_unsynced = player.recorder.started - 10_000
        player.client(b"get a\n")
        assert bool(player.relay.paused["client"]) == pauses


def test_large_chunks_are_let_go_of() -> None:
    """An idle session must not keep its last 64 KiB, let alone a statement of 64 MiB."""
    player = started(mode="bounded")
    line = b"get " + b"a" * 100 + b"\n"
    player.client(line * 1000)
    assert player.exchange.client.codec.data == b""
    player.client(line)
    assert player.relay.server.endswith(line * 2)
    assert_accounted(player)


def test_a_session_that_rests_keeps_nothing_that_can_be_made_again_and_goes_on() -> None:
    """A thousand idle sessions must not keep a thousand last statements, replies and rendered envelopes."""
    player = started(mode="bounded")
    player.client(b"get a\n")
    player.target(b"1\n")
    exchange = player.exchange
    exchange.rest()
    assert (exchange.client.codec.data, exchange.client.codec.frames, exchange.server.codec.data) == (
        b"",
        [],
        b"",
    )
    player.client(b"get b\n")
    player.target(b"2\n")
    first, second = player.journal.of("command.requested")
    assert re.sub("[0-9]", "0", first["time"]) == re.sub("[0-9]", "0", second["time"])
    assert {key: second[key] for key in ("decision", "target", "client")} == {
        key: first[key] for key in ("decision", "target", "client")
    }
    assert len(second["id"]) == len(first["id"])
    assert_accounted(player)


def test_a_session_that_waits_for_something_does_not_rest() -> None:
    """What waits for a verdict is a frame of the last chunk."""
    player = started(**LATER)
    player.client(b"get a\nget b\n")
    player.exchange.rest()
    assert player.exchange.client.codec.data == b"get a\nget b\n"


# --- the two beginnings -------------------------------------------------------------------------------------


def test_a_session_that_begins_in_tls_tells_its_conversation_first() -> None:
    """Who came in with which certificate is known before the first byte."""

    class Begins(Talk):
        heard: object = None

        def answered(self, question: Any, answer: object) -> Any:
            if isinstance(question, StartTLS):
                self.heard = answer
                return None
            return super().answered(question, answer)

    talk = Begins()
    player = Player((Lines(), Lines(), talk))
    player.exchange.open(TLS)
    assert talk.heard is TLS


def test_commands_sent_before_the_target_is_ready_wait_for_it() -> None:
    """Clients that talk ahead lose nothing, and nothing of it passes the target's log-in."""
    player = fresh()
    player.client(b"login alice hunter2\nget a\n")
    player.client(b"get b\n")
    assert bytes(player.relay.server) == b"user account hunter2\n"
    player.target(b"welcome\n")
    assert bytes(player.relay.server) == b"user account hunter2\nget a\nget b\n"
    assert_accounted(player)


def test_a_second_question_before_the_first_is_answered_is_refused() -> None:
    """Two answers could not be told apart."""

    class Twice(Talk):
        def opened(self) -> Any:
            return None

        def client_frame(self, frame: Frame) -> Any:
            return [Connect(), Connect()]

    player = Player((Lines(), Lines(), Twice()), answers={Connect: Refusal("x", "y"), Login: LoggedIn})
    player.exchange.open()
    player.client(b"hello\n")
    assert player.relay.closed == "violation by the client"
    with pytest.raises(ProtocolViolation):
        raise ProtocolViolation("guard: the class is the one that ends sessions")


def test_built_gives_a_conversation_that_the_examples_could_have_written() -> None:
    """Guards the stage itself: three parts, nothing shared between sessions."""
    one, two = built(), built()
    assert one[2] is not two[2]
    assert isinstance(one[0], Lines)
