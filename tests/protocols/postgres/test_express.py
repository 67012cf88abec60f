"""The short way records and sends what the general way does, and is taken for what it is there for."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import cycle
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoopproxy.errors import JournalRefused
from hoopproxy.gateway.errand import Errand
from hoopproxy.protocols.postgres import reading
from hoopproxy.testing import Player
from hoopproxy.wire.express import MOST

from .joined import Joined, joined
from .moves import conversations, cuts
from .talk import (
    BOUND,
    NO_DATA,
    PARSED,
    SYNC,
    bind,
    columns,
    complete,
    describe,
    error,
    execute,
    logged_in,
    m,
    parse,
    query,
    ready,
    row,
)
from .trails import ANSWER, timeless

pytestmark = pytest.mark.usefixtures("nothing_is_known")

SELECT = "SELECT a FROM t WHERE b = "
PREPARED = parse("INSERT INTO t VALUES ($1, $2)", "s") + describe("S", "s") + SYNC
PREPARED_ANSWER = PARSED + m("t", struct.pack(">HII", 2, 23, 25)) + NO_DATA + ready()
RUN = bind(b"42", b"word", statement="s") + describe() + execute() + SYNC
RUN_ANSWER = BOUND + NO_DATA + complete("INSERT 0 1") + ready()


def warm(**options: Any) -> Player:
    """A session in which a SELECT by number and a prepared INSERT have been run the general way."""
    player = logged_in(at_once=True, **options)
    player.client(query(SELECT + "1"))
    player.target(ANSWER)
    player.client(PREPARED)
    player.target(PREPARED_ANSWER)
    player.client(RUN)
    player.target(RUN_ANSWER)
    assert player.journal.turns == 0
    return player


def trail(player: Player) -> tuple[Any, ...]:
    """Everything that a session left: events, chunks, and what both sides were sent (after the log-in, in which
    the client got a random key)."""
    journal, seen = player.journal, bytes(player.relay.client)
    chunks = [attrs.evolve(chunk, mono=0) for chunk in journal.chunks]
    return (
        [timeless(event) for event in journal.events],
        chunks,
        seen[seen.index(ready()) :],
        bytes(player.relay.server),
    )


def both_ways(script: list[tuple[str, bytes]], **options: Any) -> tuple[Player, Player]:
    """The same script by the short way and without; what they left must be equal."""
    short, general = warm(**options), warm(by_kind=0, **options)
    for player in (short, general):
        for who, data in script:
            (player.client if who == "client" else player.target)(data)
        player.end()
    assert general.journal.turns == 0
    assert trail(short) == trail(general)
    return short, general


def test_a_query_and_its_answer_take_the_short_way() -> None:
    """The commonest turn of all: two turns, five records, the very same trail."""
    short, _ = both_ways([("client", query(SELECT + "2")), ("target", ANSWER)] * 3)
    assert short.journal.turns == 6


def test_a_prepared_statement_takes_the_short_way_with_its_parameters() -> None:
    """Bind, Describe, Execute and Sync in one chunk: the text, the parameters and the result are on record."""
    short, _ = both_ways([("client", RUN), ("target", RUN_ANSWER)] * 2)
    assert short.journal.turns == 4
    (*_, last) = short.journal.of("command.requested")
    assert last["event"]["parameters"] == ["42", "word"]
    assert last["event"]["text"] == "INSERT INTO t VALUES ($1, $2)"
    assert last["event"]["statement"] == "s"


ANSWERS = {
    "an error": error("42P01", "no such table") + ready(),
    "an error in a transaction": error("42P01", "no such table") + ready("E"),
    "a transaction": complete("BEGIN") + ready("T"),
    "no result": m("I") + ready(),
    "two results": ANSWER[:-6] + ANSWER,
    "a notice before": m("N", b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0") + ANSWER,
    "a setting": m("S", b"client_encoding\0LATIN1\0") + ANSWER,
    "a COPY": m("H", struct.pack(">BH", 0, 0)) + m("d", b"1\n") + m("c") + complete("COPY 1") + ready(),
    "a strange tag": complete("SELECT\xe9 1") + ready(),
    "many rows": columns("a") + row(b"1") * 30 + complete("SELECT 30") + ready(),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("cut", [0, 1, 5, 20])
def test_every_other_answer_goes_the_general_way_and_leaves_the_same(answer: bytes, cut: int) -> None:
    """A command that went the short way must find its way back, wherever the answer is cut."""
    pieces = [piece for piece in (answer[:cut], answer[cut:]) if piece]
    script = [("client", query(SELECT + "3")), *(("target", piece) for piece in pieces)]
    both_ways([*script, ("client", query(SELECT + "4")), ("target", ANSWER)])


@pytest.mark.parametrize("cut", range(1, len(RUN_ANSWER)))
def test_an_answer_to_a_prepared_statement_may_be_cut_anywhere(cut: int) -> None:
    """What was folded away (Bind, Describe, Execute, Sync) is put back message by message."""
    both_ways([("client", RUN), ("target", RUN_ANSWER[:cut]), ("target", RUN_ANSWER[cut:])])


def test_a_failure_of_a_prepared_statement_discards_to_its_sync() -> None:
    """The same events as if each message had been met by itself."""
    both_ways([("client", RUN), ("target", error("22P02", "no number") + ready())])
    both_ways([("client", RUN), ("target", BOUND + error("23505", "there") + ready())])


def test_commands_behind_one_that_took_the_short_way_are_pipelined() -> None:
    """The second comes while the first is under way: both are followed the general way."""
    both_ways(
        [
            ("client", query(SELECT + "1")),
            ("client", query(SELECT + "2")),
            ("client", RUN),
            ("target", ANSWER),
            ("target", ANSWER),
            ("target", RUN_ANSWER),
        ]
    )


@pytest.mark.parametrize(
    "value", [b"", b"a b", b'"', b"\\", b"\xff", b"postgres://u:pw@h/d", b"x" * 65, None], ids=repr
)
def test_a_parameter_that_is_no_plain_word_is_rendered_the_same(value: bytes | None) -> None:
    """Only letters and digits (and NULL) are taken; the general way knows quotes, encodings and credentials."""
    run = bind(b"1", value, statement="s") + describe() + execute() + SYNC
    short, _ = both_ways([("client", run), ("target", RUN_ANSWER)])
    assert short.journal.turns == (2 if value is None else 0)


@pytest.mark.parametrize("place", range(len(RUN)))
def test_a_changed_byte_in_a_batch_is_never_taken_for_the_batch(place: int) -> None:
    """Names, lengths, counts, kinds: a Bind with one other byte is judged as the general way judges it."""
    for other in (0, 1, 255, RUN[place] ^ 1):
        changed = RUN[:place] + bytes([other]) + RUN[place + 1 :]
        both_ways([("client", changed), ("target", RUN_ANSWER)])


@pytest.mark.parametrize("answer", [ANSWER, RUN_ANSWER], ids=["of a Query", "of a batch"])
def test_a_changed_byte_in_an_answer_is_judged_as_the_general_way_judges_it(answer: bytes) -> None:
    """An illegal message of the target ends the session with none of it forwarded."""
    asked = query(SELECT + "5") if answer is ANSWER else RUN
    for place in range(len(answer)):
        for other in (0, 1, 255, answer[place] ^ 1):
            changed = answer[:place] + bytes([other]) + answer[place + 1 :]
            both_ways([("client", asked), ("target", changed)])


def test_a_session_that_ends_with_a_command_under_way_says_so() -> None:
    """The end finds the command of the short way, too."""
    for script in ([("client", query(SELECT + "6"))], [("client", RUN)]):
        short, _ = both_ways(script)
        assert short.journal.turns == 1
        assert len(short.journal.of("command.unfinished")) == 1


def test_in_strict_nothing_goes_on_before_its_record_is_durable() -> None:
    """The short way waits as the general way does."""
    player = warm()
    player.journal.at_once = False
    before = len(player.relay.server)
    player.client(query(SELECT + "7"))
    assert player.journal.turns == 1
    assert len(player.relay.server) == before
    player.journal.sync()
    assert bytes(player.relay.server[before:]) == query(SELECT + "7")


def test_kinds_that_policy_has_not_allowed_are_asked_about() -> None:
    """A shape that another session made known is no verdict for this one."""
    warm()
    reading.SHAPES_READ[b"DROP TABLE t0"] = (
        ("DROP", "DROP TABLE"),
        b'","verb":"DROP","verbs":["DROP","DROP TABLE"]}',
    )
    player = Joined(lambda data: b"", at_once=True).player
    player.client(query("DROP TABLE t1"))
    assert player.journal.turns == 0
    assert len(player.journal.of("command.denied")) == 1


def test_a_journal_that_takes_no_turn_refuses_in_the_general_words() -> None:
    """Nothing is on record, nothing goes on, the client is told: as without a short way."""
    short, general = warm(), warm(by_kind=0)
    for player in (short, general):
        player.journal.full_at = player.journal.next_jseq + 1
        player.client(query(SELECT + "8"))
        player.end()
    assert short.journal.turns == 0
    assert trail(short) == trail(general)


class Carrier:
    """A writer's thread that sends what it was entrusted with when the test says so, a while before anybody hears that
    the record is durable."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._errands: list[tuple[int, Callable[[], None]]] = []
        self.carried = 0
        player.journal.carries = True
        player.journal.carry = lambda jseq, errand: self._errands.append((jseq, errand))  # type: ignore[method-assign]
        player.relay.entrust = self.entrust  # type: ignore[method-assign, assignment]

    def entrust(self, data: bytes) -> Errand:
        return Errand(self.send, data, self.returned)

    def send(self, data: bytes) -> int:
        self._player.relay.to_server(data)
        self.carried += 1
        return len(data)

    def returned(self, data: bytes, gone: int) -> None:
        assert gone in (-1, len(data))

    def carry(self, durable: int) -> None:
        due = [errand for jseq, errand in self._errands if jseq <= durable]
        self._errands = [each for each in self._errands if each[0] > durable]
        for errand in due:
            errand()


def test_a_command_that_another_thread_sent_is_answered_before_its_record_is_known_to_be_durable() -> None:
    """(strict) The reactor hears of it late; by then the next command may be waiting for a record of its own, and must
    not go on for the last one's."""
    player = warm()
    player.journal.at_once = False
    carrier = Carrier(player)
    first, second = query(SELECT + "7"), query(SELECT + "8")
    before = len(player.relay.server)
    player.client(first)
    assert len(player.relay.server) == before
    heard = player.journal.next_jseq - 1  # what the writer has made durable, and says later
    carrier.carry(heard)
    assert bytes(player.relay.server[before:]) == first
    player.target(ANSWER)
    player.client(second)
    assert player.journal.turns == 3
    player.journal.sync(heard)
    assert bytes(player.relay.server[before:]) == first
    carrier.carry(heard)
    assert bytes(player.relay.server[before:]) == first
    player.journal.sync()
    carrier.carry(player.journal.durable)
    assert bytes(player.relay.server[before:]) == first + second
    player.target(ANSWER)
    end = player.end()
    assert end is not None
    assert end["event"]["balanced"]
    assert carrier.carried == 1


@pytest.mark.parametrize("carried", [True, False])
def test_a_journal_that_refuses_finds_a_command_gone_or_stops_it(carried: bool) -> None:
    """What was carried happened, and its record is durable; what wasn't never will, whoever comes late."""
    player = warm()
    player.journal.at_once = False
    carrier = Carrier(player)
    before = len(player.relay.server)
    player.client(query(SELECT + "7"))
    if carried:
        carrier.carry(player.journal.next_jseq)
    player.exchange.journal_refuses(JournalRefused("io", "the journal can't be written"))
    carrier.carry(player.journal.next_jseq)
    sent = bytes(player.relay.server[before:])
    assert sent.startswith(query(SELECT + "7")) is carried
    player.end()
    (end,) = player.journal.of("session.end")
    assert end["event"]["balanced"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    conversation=conversations,
    steps=st.lists(st.sampled_from([0, 0, 1, 2, 3, 40, 4000]), max_size=30),
    carries=st.lists(st.booleans(), min_size=1, max_size=30),
)
def test_who_sends_a_command_makes_no_difference(
    conversation: list[bytes], steps: list[int], carries: list[bool]
) -> None:
    """(strict) Carried long before the reactor hears of it, just then, or not at all: the very same trail."""
    trails = []
    for by_kind in (MOST, 0):
        through, _ = joined(at_once=False, by_kind=by_kind)
        journal = through.player.journal
        carrier, turns = Carrier(through.player), cycle(carries)
        sync, say = journal.sync, through.say

        def synced(carrier: Carrier = carrier, sync: Any = sync, journal: Any = journal) -> None:
            carrier.carry(journal.next_jseq - 1)
            sync()

        def said(
            data: bytes,
            carrier: Carrier = carrier,
            say: Any = say,
            journal: Any = journal,
            turns: Any = turns,
        ) -> None:
            say(data)
            if next(turns):
                carrier.carry(journal.next_jseq - 1)

        journal.sync, through.say = synced, said  # type: ignore[method-assign, assignment]
        through.run(conversation, steps)
        through.player.end()
        trails.append(trail(through.player))
    assert trails[0] == trails[1]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    conversation=conversations,
    places=st.lists(st.integers(0, 1 << 16), max_size=12),
    steps=st.lists(st.sampled_from([0, 1, 2, 3, 40, 4000]), max_size=30),
    whole=st.booleans(),
    at_once=st.booleans(),
)
def test_a_conversation_leaves_the_same_trail_both_ways(
    conversation: list[bytes], places: list[int], steps: list[int], whole: bool, at_once: bool
) -> None:
    """Random legal conversations with refusals, cut anywhere or message by message, in any interleaving, on a disk
    that is fast or slow."""
    trails = []
    for by_kind in (MOST, 0):
        through, _ = joined(at_once=at_once, by_kind=by_kind)
        through.run(conversation if whole else cuts(b"".join(conversation), places), steps)
        through.player.end()
        trails.append(trail(through.player))
    assert trails[0] == trails[1]


def test_the_same_session_again_is_mostly_turns() -> None:
    """A guard: were the short way never open, all of the above would pass."""
    player = logged_in(at_once=True)
    for number in range(10):
        player.client(query(f"{SELECT}{number}"))
        player.target(ANSWER)
    assert player.journal.turns == 18


def test_a_name_that_is_prepared_anew_means_what_it_means_now() -> None:
    """How the last Bind began is remembered; not beyond a Close and another Parse of its name."""
    again = m("C", b"Ss\0") + parse("DELETE FROM t WHERE a = $1 AND b = $2", "s") + SYNC
    short, _ = both_ways(
        [
            ("client", RUN),
            ("target", RUN_ANSWER),
            ("client", again),
            ("target", m("3") + PARSED + ready()),
            *[("client", RUN), ("target", BOUND + NO_DATA + complete("DELETE 1") + ready())] * 3,
        ]
    )
    assert short.journal.turns == 6
    texts = [each["event"]["text"] for each in short.journal.of("command.requested")[-3:]]
    assert texts == ["DELETE FROM t WHERE a = $1 AND b = $2"] * 3


def test_an_answer_to_what_was_not_sent_yet_releases_nothing() -> None:
    """(strict) A target that answers before it was asked must not let the next command take the place of one that
    waits for the disk: neither may go on before its own record is durable, and none may be lost."""
    first, second = query(SELECT + "1"), query(SELECT + "2")
    sent = []
    for by_kind in (MOST, 0):
        player = warm(by_kind=by_kind)
        player.journal.at_once = False
        before = len(player.relay.server)
        player.client(first)
        player.target(ANSWER)
        player.client(second)
        assert len(player.relay.server) == before
        player.target(ANSWER)
        player.client(first)
        assert len(player.relay.server) == before
        player.journal.sync()
        sent.append(bytes(player.relay.server[before:]))
        end = player.end()
        assert end is not None
        assert end["event"]["balanced"]
    assert sent == [first + second + first] * 2
