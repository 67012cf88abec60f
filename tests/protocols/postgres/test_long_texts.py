"""What is long is read beside the data path, and comes out as what is short does."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoopproxy.events import canonical
from hoopproxy.protocols.postgres import codec, commanding, prepared, reading
from hoopproxy.protocols.postgres.long_texts import LONG, NEAR
from hoopproxy.testing import Player
from hoopproxy.wire.aside import performed
from hoopproxy.wire.commands import Compute, Refusal

from .joined import Joined, assert_accounted, joined
from .moves import conversations, cuts
from .talk import (
    BOUND,
    NO_DATA,
    PARSED,
    SYNC,
    bind,
    complete,
    describe,
    error,
    execute,
    logged_in,
    m,
    parse,
    query,
    ready,
    refuse,
)
from .trails import ANSWER, timeless

pytestmark = pytest.mark.usefixtures("nothing_is_known")

MANY = ", 1" * 40_000
SELECT = "SELECT 1" + MANY
SECRET = "hunter2xyz"
ROLE = f"ALTER ROLE a PASSWORD '{SECRET}'; {SELECT}"


@contextmanager
def everything_is_long() -> Iterator[None]:
    with patch.object(commanding, "LONG", -1), patch.object(commanding, "NEAR", -1):
        yield


def opened(**options: Any) -> Player:
    """A session whose Computes wait for the test."""
    player = logged_in(at_once=True, **options)
    player.relay.computes = False
    return player


def trail(player: Player) -> tuple[Any, ...]:
    """Everything that a session left, but for how its bytes were cut into chunks: a message that is read first is
    recorded by itself."""
    streams: dict[tuple[int, int], list[tuple[int, bytes]]] = {}
    filled = []
    for chunk in player.journal.chunks:
        stream = streams.setdefault((chunk.leg, chunk.direction), [])
        if stream and stream[-1][0] + len(stream[-1][1]) == chunk.offset:
            offset, data = stream.pop()
            stream.append((offset, data + chunk.data))
        else:
            stream.append((chunk.offset, chunk.data))
        filled += [
            (chunk.leg, chunk.direction, chunk.offset + at, size, why) for at, size, why in chunk.redactions
        ]
    seen = bytes(player.relay.client)
    events = [canonical({**timeless(event), "id": "", "jseq": 0}) for event in player.journal.events]
    told = events, streams, filled, seen[seen.index(ready()) :], bytes(player.relay.server)
    return nameless(told)  # type: ignore[no-any-return]


def nameless(told: Any) -> Any:
    """Without the numbers in the ids of operations: ids are given in another order."""
    if isinstance(told, bytes):
        return _ID.sub(rb"\1" + b"0" * 12, told)
    if isinstance(told, dict):
        return {name: nameless(value) for name, value in told.items()}
    return tuple(map(nameless, told)) if isinstance(told, (list, tuple)) else told


_OF_THE_TARGET = re.compile(rb'"kind":"command\.(result|completed|skipped|unfinished)"').search
_SEQ = re.compile(rb'"seq":\d+')


def by_side(found: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same, with what the target answered apart from what the client did. Each is in its own order. Where they
    meet depends on when a command is met, and one that is read first is met a moment later."""
    events, *rest = found
    sides: tuple[list[bytes], list[bytes]] = [], []
    for event in events:
        sides[_OF_THE_TARGET(event) is not None].append(_SEQ.sub(b"", event))
    return sides, *rest


_ID = re.compile(rb"([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-)[0-9a-f]{12}")


def asked(player: Player) -> Compute:
    question = player.relay.asked[-1][0]
    assert isinstance(question, Compute)
    return question


def went(player: Player, before: int) -> bytes:
    return bytes(player.relay.server[before:])


# --- the same as short ---------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    conversation=conversations,
    places=st.lists(st.integers(0, 1 << 16), max_size=12),
    steps=st.lists(st.sampled_from([0, 1, 2, 3, 40, 4000]), max_size=30),
    at_once=st.booleans(),
)
def test_a_conversation_leaves_the_same_trail_when_all_of_it_is_taken_for_long(
    conversation: list[bytes], places: list[int], steps: list[int], at_once: bool
) -> None:
    """Refusals, batches, COPY, in any interleaving: classification, redaction and forwarding are the same."""
    trails = []
    for long in (False, True):
        with ExitStack() as stack:
            if long:
                stack.enter_context(everything_is_long())
            through, _ = joined(at_once=at_once, by_kind=0)
            through.run(cuts(b"".join(conversation), places), steps)
            through.player.end()
        trails.append(by_side(trail(through.player)))
    assert trails[0] == trails[1]


CONNECTION = f"host=h password={SECRET}".encode()
TEXTS = [
    "", ";", "SELECT 1", ROLE[:60], f"SELECT 'password={SECRET}', 'it''s'", "PREPARE p AS SELECT 1", "EXECUTE p",
    "SET standard_conforming_strings = off", "SELECT 'a\\'", "SELECT set_config('x', 'y', true)", "DROP TABLE x",
    f"SELECT dblink_connect('{CONNECTION.decode()}')", "PREPARE p AS DROP TABLE x", "BEGIN; EXECUTE p; COMMIT",
    "DEALLOCATE p", "\u00e9", "SELECT '",
]  # fmt: skip
BATCHES = [
    parse("SELECT dblink_connect($1)", "s") + bind(CONNECTION, statement="s") + execute() + SYNC,
    parse("SELECT $1, $2") + bind(b"x" * 9000, CONNECTION) + describe() + execute() + SYNC,
    parse("SELECT $1", types=(23,)) + bind(struct.pack(">i", 7), formats=(1,)) + execute() + SYNC,
    m("F", struct.pack(">IHHi", 1, 0, 1, len(CONNECTION)) + CONNECTION + b"\0\0"),
    parse("PREPARE q AS DROP TABLE x") + bind() + execute() + SYNC,
    parse("EXECUTE q") + bind() + execute() + SYNC,
    bind(None, b"1", statement="nobody") + execute() + SYNC,
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*map(query, TEXTS), *BATCHES]), max_size=6), st.booleans())
def test_texts_and_parameters_leave_the_same_trail_when_they_are_taken_for_long(
    script: list[bytes], pipelined: bool
) -> None:
    """Passwords are filled, names are followed, strings are read as the session has them."""
    trails = []
    for long in (False, True):
        with ExitStack() as stack:
            if long:
                stack.enter_context(everything_is_long())
            joined = Joined(answer_to, by_kind=0)
            for data in [b"".join(script)] if pipelined else script:
                joined.run([data], [4000])
            joined.player.end()
        trails.append(trail(joined.player))
        assert SECRET.encode() not in joined.player.journal.everything
    assert trails[0] == trails[1]


def answer_to(data: bytes) -> bytes:
    """What a target says that carries out everything, and fails a command now and then."""
    said, at = b"", 0
    while at < len(data):
        kind, (length,) = chr(data[at]), struct.unpack_from(">i", data, at + 1)
        said += {
            "Q": b"".join(map(complete, tags(data[at + 5 : at + length]))) + ready() or m("I") + ready(),
            "P": PARSED,
            "B": BOUND,
            "D": NO_DATA,
            "E": error("42000", f"no: 'password={SECRET}'") if length % 2 else complete("PREPARE"),
            "F": m("V", struct.pack(">i", -1)) + ready(),
            "S": ready(),
        }.get(kind, b"")
        at += 1 + length
    return said


def tags(text: bytes) -> list[str]:
    words = [part.split()[:1] for part in text.decode("latin-1").split(";")]
    return [found[0].upper() for found in words if found]


# --- what is met when ----------------------------------------------------------------------------------------


def test_a_long_statement_waits_for_its_reading_and_what_follows_it_waits_too() -> None:
    """Nothing undecided goes on, and nothing overtakes it."""
    player = opened(decide=refuse("DROP"))
    before = len(player.relay.server)
    player.client(query(SELECT) + query("SELECT 2"))
    assert went(player, before) == b""
    assert player.exchange.held >= len(SELECT)
    player.answer(performed(asked(player)))
    assert went(player, before) == query(SELECT) + query("SELECT 2")
    player.target(ANSWER + ANSWER)
    assert_ended_in_order(player)


def assert_ended_in_order(player: Player) -> dict[str, Any]:
    end = player.end()
    assert end is not None
    assert end["event"]["balanced"]
    return end["event"]  # type: ignore[no-any-return]


def test_a_long_statement_that_policy_denies_is_denied_and_its_password_is_redacted() -> None:
    player = opened(decide=refuse("ALTER ROLE"))
    before = len(player.relay.server)
    player.client(query(ROLE))
    player.answer(performed(asked(player)))
    assert went(player, before) == b""
    (denied,) = player.journal.of("command.denied")
    assert denied["event"]["verbs"] == ["ALTER", "ALTER ROLE", "SELECT"]
    assert SECRET.encode() not in player.journal.everything
    assert_ended_in_order(player)


def test_a_setting_that_moves_meanwhile_has_the_text_read_anew() -> None:
    """The target's report came behind the question: the answer is about strings that are read otherwise."""
    player = opened(decide=refuse("DROP"))
    player.client(query("SET standard_conforming_strings = off"))
    before = len(player.relay.server)
    text = r"SELECT '\'; DROP TABLE x; --'" + MANY
    player.client(query(text))
    first = asked(player)
    player.target(m("S", b"standard_conforming_strings\0off\0") + complete("SET") + ready())
    player.answer(performed(first))
    second = asked(player)
    assert second is not first
    player.answer(performed(second))
    assert went(player, before) == query(text)
    assert player.journal.of("command.denied") == []


def test_what_can_not_be_read_in_time_is_refused_and_none_of_it_is_kept() -> None:
    """The client hears why and goes on; in the recording the statement is filled: it could hold anything."""
    for statement, end in ((query(ROLE), b""), (parse(ROLE), SYNC), (bind(ROLE.encode()), SYNC)):
        player = opened()
        before = len(player.relay.server)
        player.client(statement + end)
        player.answer(Refusal("too_large", "this statement could not be read within 60 s"))
        assert went(player, before) == b""
        assert bytes(player.relay.client).endswith(ready())
        assert b"could not be read within 60 s" in bytes(player.relay.client)
        (denied,) = player.journal.of("command.denied")
        assert denied["event"]["code"] == "too_large"
        assert SECRET.encode() not in player.journal.everything
        player.relay.computes = True
        player.client(query("SELECT 1"))
        assert went(player, before) == query("SELECT 1")
        player.target(ANSWER)
        assert_ended_in_order(player)


def test_what_is_no_statement_is_no_long_one_either() -> None:
    """A NUL inside, a length that doesn't add up: the session ends, and nothing of it goes on."""
    body = SELECT.encode()
    bad = [
        m("Q", body + b"\0x\0"),
        m("Q", body + b"x"),
        m("P", b"s\0" + body + b"\0\0\5"),
        m("P", b"s\0" + body),
        m("B", b"\0s\0\0\0\0\1" + struct.pack(">i", len(body) + 9) + body),
        m("B", b"x" * 100_000),
        m("F", b"\0\0\0\1\0\0\0\1" + struct.pack(">i", len(body) + 9) + body),
    ]
    for message in bad:
        player = logged_in(at_once=True)
        before = len(player.relay.server)
        player.client(message)
        assert player.exchange.closing == "violation by the client", message[:20]
        assert went(player, before) == b""
        assert_ended_in_order(player)


def test_names_of_any_length_are_read_in_a_long_bind() -> None:
    """They are looked for in its beginning first."""
    name = "n" * 9000
    player = logged_in(at_once=True, decide=refuse("DROP"))
    player.client(parse("SELECT $1", name) + parse("DROP TABLE x") + SYNC)
    player.client(bind(b"x" * 100_000, statement=name, portal=name) + SYNC)
    assert len(player.journal.of("command.denied")) == 1
    player.client(bind(b"x" * 100_000, statement="nobody" * 3000) + SYNC)
    assert player.exchange.closing is None


ENDS: dict[str, Callable[[Player], None]] = {
    "the client leaves": lambda player: player.exchange.client_lost(),
    "the target leaves": lambda player: player.exchange.server_lost(),
    "the gateway stops": lambda player: player.exchange.refuse(Refusal("shutdown", "stops")),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_a_session_that_ends_while_it_is_read_ends_on_record_and_nothing_of_it_went_on(
    end: Callable[[Player], None],
) -> None:
    player = opened()
    before = len(player.relay.server)
    player.client(query(ROLE))
    end(player)
    player.answer(performed(asked(player)))
    assert player.relay.closed is not None
    told = assert_ended_in_order(player)
    assert told["client"]["opaque"] == len(query(ROLE))
    assert went(player, before) == b""
    assert SECRET.encode() not in player.journal.everything


def test_a_megabyte_is_completed_when_it_is_its_turn() -> None:
    """Until then most of it is in a file: several at once must not fill memory."""
    player = opened()
    turns: list[Callable[[], None]] = []
    free = False

    def turn(callback: Callable[[], None]) -> bool:
        if not free:
            turns.append(callback)
        return free

    player.relay.turn = turn  # type: ignore[method-assign]
    before, statement = len(player.relay.server), query("SELECT '" + "x" * (2 << 20) + "'")
    for at in range(0, len(statement), 65_536):
        player.client(statement[at : at + 65_536])
    assert not any(isinstance(question, Compute) for question, _ in player.relay.asked)
    assert "question" in player.relay.paused["client"]
    free = True
    turns[0]()
    player.answer(performed(asked(player)))
    assert went(player, before) == statement
    assert player.relay.paused["client"] == set()
    assert player.exchange.client.codec.data == b"", "it lies in memory until the next message"
    player.target(ANSWER)
    assert_ended_in_order(player)


# --- the reactor's part --------------------------------------------------------------------------------------


MEGABYTE = "x, 'y' -- z\n" * 90_000
LONG_ONES = {
    "query": query("SELECT " + MEGABYTE),
    "parse": parse("SELECT $1 " + MEGABYTE) + SYNC,
    "secrets": query("SELECT 'password=a'," + MEGABYTE),
    "bind": bind(MEGABYTE.encode(), CONNECTION) + SYNC,
    "many parameters": bind(*[MEGABYTE[:1000].encode()] * 1000) + SYNC,
    "function": m("F", struct.pack(">IHHi", 1, 0, 1, len(MEGABYTE)) + MEGABYTE.encode() + b"\0\0"),
    "prepare": parse("PREPARE a AS SELECT " + MEGABYTE) + bind() + execute() + SYNC,
    "many": query("SELECT 1;" * 100_000),
}


@contextmanager
def counted_in(read: list[int]) -> Iterator[None]:
    """The bytes of each text that is read here."""

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(text: bytes, *arguments: Any, **options: Any) -> Any:
            read.append(len(text))
            return function(text, *arguments, **options)

        return counting

    with ExitStack() as stack:
        for module, name in [
            (reading, "statements"), (reading, "secrets_in"), (reading, "executed_name"), (reading, "prepared_name"),
            (prepared, "secret_parameters"), (prepared, "looks_secret"), (prepared, "secrets_in"),
            (prepared, "passwords_in"),
        ]:  # fmt: skip
            stack.enter_context(patch.object(module, name, counted(getattr(module, name))))
        yield


@pytest.mark.parametrize("message", LONG_ONES.values(), ids=LONG_ONES.keys())
def test_no_call_of_the_reactor_reads_more_than_what_is_short(message: bytes) -> None:
    """Counted, not timed: whatever a client sends, others wait for the reading of so many bytes at the most."""
    read: list[int] = []
    player = opened()
    with counted_in(read):
        for at in range(0, len(message), 65_536):
            player.client(message[at : at + 65_536])
        assert not answered(player)
        while isinstance(player.relay.asked[-1][0], Compute) and not answered(player):
            question, done = asked(player), len(read)
            answer = performed(question)
            del read[done:]  # that is done elsewhere
            player.answer(answer)
        player.target(error("42601", "no") + ready())
    assert sum(read) <= LONG
    assert player.exchange.closing is None


COSTLY_ONES = {
    "queries": query("SELECT 'password ' " * 50),
    "statements": query("end;" * 250 + "SELECT ''"),
    "parses": parse("SELECT 'password ', $1 " * 50),
    "binds": bind(b"'password '" * 90),
    "function calls": m("F", struct.pack(">IHHi", 1, 0, 1, 990) + b"'password '" * 90 + b"\0\0"),
}


@pytest.mark.parametrize("message", COSTLY_ONES.values(), ids=COSTLY_ONES.keys())
def test_many_short_ones_at_once_are_read_here_as_far_as_one_may(message: bytes) -> None:
    """Sixteen times 4 KiB in one turn take as long as 64 KiB do."""
    read: list[int] = []
    counted = counted_in(read)
    player = opened()
    with counted:
        player.client(message * (60_000 // len(message)))
        assert not answered(player)
    assert 1000 <= sum(read) <= NEAR * 3, (
        "a text is read for what it does, and for its secrets, and for its parameters'"
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([*COSTLY_ONES.values(), query("SELECT 1"), SYNC, query(ROLE[:60])]),
        min_size=5,
        max_size=20,
    )
)
def test_many_costly_ones_leave_the_trail_that_they_would_leave_one_by_one(script: list[bytes]) -> None:
    trails = []
    for near in (None, 1 << 30):
        with ExitStack() as stack:
            if near is not None:
                stack.enter_context(patch.object(commanding, "NEAR", near))
            joined = Joined(answer_to, by_kind=0)
            joined.run([b"".join(script)], [4000])
            joined.player.end()
        trails.append(trail(joined.player))
    assert trails[0] == trails[1]


@pytest.mark.parametrize("message", LONG_ONES.values(), ids=LONG_ONES.keys())
def test_a_megabyte_leaves_the_trail_that_it_would_leave_were_it_short(message: bytes) -> None:
    """By views of what was received and beside the data path, or by copies and here."""
    trails = []
    for longest in (None, 1 << 30):
        with ExitStack() as stack:
            if longest is not None:
                stack.enter_context(patch.object(commanding, "LONG", longest))
                stack.enter_context(patch.object(codec, "VIEWED", longest))
            joined = Joined(answer_to, by_kind=0, decide=refuse("PREPARE"))
            whole = message + query("SELECT 2")
            joined.run([whole[at : at + 65_536] for at in range(0, len(whole), 65_536)], [4000])
            joined.player.end()
        trails.append(trail(joined.player))
    assert trails[0] == trails[1]


@pytest.mark.parametrize("count", [1, 40, 1000, 65_535])
def test_the_event_of_many_megabytes_of_parameters_is_a_small_one(count: int) -> None:
    """To render it is a turn of the reactor, too; of each value its size and digest are there at least."""
    value = b"v" * ((8 << 20) // count)
    values = (struct.pack(">i", len(value)) + value) * count
    sent = m("B", b"\0\0\0\0" + struct.pack(">H", count) + values + b"\0\0")
    joined, whole = Joined(answer_to, by_kind=0), parse("SELECT $1") + sent + execute() + SYNC
    joined.run([whole[at : at + 65_536] for at in range(0, len(whole), 65_536)], [4000])
    (event,) = joined.player.journal.of("command.requested")
    assert len(canonical(event)) < (1 << 20) + 200 * count + 2000
    told = event["event"]["parameters"]
    assert len(told) == count
    assert all(each == value.decode() or each["bytes"] == len(value) for each in told)
    joined.player.end()
    assert_accounted(joined.player)


def answered(player: Player) -> bool:
    return player.exchange.client.question is None
