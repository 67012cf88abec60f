"""Every byte of a session has its place, whatever is sent, wherever it is cut, whoever goes away."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoopproxy.protocols.postgres.plugin import PostgresProtocol
from hoopproxy.testing import FakeSession, Player, every_split

from .joined import assert_accounted, joined
from .model import split_messages, told
from .moves import conversations, cuts
from .talk import (
    SYNC,
    bind,
    columns,
    complete,
    error,
    execute,
    hello,
    logged_in,
    m,
    parse,
    query,
    ready,
    refuse,
    row,
)

_RELAXED = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

LOGIN = [
    ("client", hello()),
    ("client", m("p", b"secret-of-alice\0")),
    ("target", m("R", struct.pack(">i", 3))),
    ("target", m("R", struct.pack(">i", 0)) + m("S", b"client_encoding\0UTF8\0")),
    ("target", m("K", struct.pack(">ii", 4711, 99)) + ready()),
]
SCRIPT = [
    *LOGIN,
    ("client", query("SELECT 1") + query("DROP TABLE t")),
    ("target", columns("a") + row(b"1") + complete("SELECT 1") + ready()),
    ("client", parse("ALTER ROLE r PASSWORD 'hunter2'") + bind() + execute() + SYNC),
    ("target", m("1") + m("2") + error("42704", "no role in PASSWORD 'hunter2'") + ready()),
    ("target", m("N", b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0")),
]


def fresh(**options: object) -> Player:
    session = FakeSession()
    PostgresProtocol().build_pair(session)
    assert session.built is not None
    player = Player(session.built, decide=refuse("DROP"), **options)  # type: ignore[arg-type]
    player.exchange.open()
    return player


def feed(player: Player, who: str, data: bytes) -> None:
    (player.client if who == "client" else player.target)(data)


def ended(player: Player) -> None:
    player.journal.sync()
    if player.end() is None:
        assert player.journal.order == []
    else:
        assert_accounted(player)
    assert b"hunter2" not in player.journal.everything
    assert b"secret-of-alice" not in player.journal.everything


@pytest.mark.parametrize("who", ["client", "target", "both", "neither"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_session_that_ends_at_any_byte_balances(who: str, at_once: bool) -> None:
    """Kill anybody anywhere: every command has an end, every byte a place, no secret is in the trail."""
    whole = sum(len(data) for _, data in SCRIPT)
    for cut in range(0, whole + 1, 1 if at_once else 7):
        player, left = fresh(at_once=at_once), cut
        for peer, data in SCRIPT:
            piece, left = data[:left], max(0, left - len(data))
            if piece:
                feed(player, peer, piece)
            if not left:
                break
        if who in ("client", "both"):
            player.exchange.client_lost()
        if who in ("target", "both"):
            player.exchange.server_lost()
        ended(player)


@pytest.mark.parametrize("step", range(len(SCRIPT)))
def test_every_split_of_every_step_gives_the_same_session(step: int) -> None:
    """The network cuts where it likes."""
    whole = None
    for pieces in every_split(SCRIPT[step][1]):
        player = fresh()
        for number, (who, data) in enumerate(SCRIPT):
            for piece in pieces if number == step else (data,):
                feed(player, who, piece)
        ended(player)
        # Without ids, which differ in nothing but a counter.
        seen = [body if kind != "E" else b"" for kind, body in split_messages(bytes(player.relay.client))]
        found = (seen, len(player.relay.server), player.journal.kinds())
        whole = whole or found
        assert found == whole


@_RELAXED
@given(
    step=st.integers(0, len(SCRIPT)),
    garbage=st.one_of(
        st.binary(min_size=1, max_size=60),
        st.tuples(st.sampled_from("QPBDECFSHdcfXpRKZTt123nsINAGWV"), st.binary(max_size=30)).map(
            lambda pair: m(pair[0], pair[1])
        ),
        st.tuples(st.sampled_from("QBdDE"), st.sampled_from([0, 3, 4, -1, 2**31 - 1, -(2**31)])).map(
            lambda pair: pair[0].encode() + struct.pack(">i", pair[1]) + b"xyz"
        ),
    ),
    who=st.sampled_from(["client", "target"]),
    at_once=st.booleans(),
)
def test_garbage_from_either_side_at_any_step(step: int, garbage: bytes, who: str, at_once: bool) -> None:
    """Both peers are hostile: nothing undecided goes on, nothing is unaccounted for, nobody crashes."""
    player = fresh(at_once=at_once)
    for peer, data in SCRIPT[:step]:
        feed(player, peer, data)
        player.journal.sync()
    if who == "client" or step > 2:  # a target that nobody connected to can't speak
        feed(player, who, garbage)
        feed(player, who, garbage)
    if step < len(LOGIN):
        assert not player.exchange.started or step == len(LOGIN)
    for peer, data in SCRIPT[step:]:
        if peer == "client" or player.exchange.admission is not None:
            feed(player, peer, data)
            player.journal.sync()
    assert b"DROP" not in player.relay.server
    ended(player)


@_RELAXED
@given(
    before=conversations,
    garbage=st.binary(min_size=5, max_size=40),
    places=st.lists(st.integers(0, 1 << 16), max_size=8),
    at_once=st.booleans(),
)
def test_garbage_in_the_midst_of_a_conversation(
    before: list[bytes], garbage: bytes, places: list[int], at_once: bool
) -> None:
    """From the target as from the client, in every state of the queue."""
    for hostile in ("client", "target"):
        through, _ = joined(at_once=at_once)
        for piece in cuts(b"".join(before), places):
            through.say(piece)
        through.work()
        through.reply(len(garbage) * 3)
        feed(through.player, hostile, garbage)
        through.player.journal.sync()
        assert b"DROP" not in through.server
        ended(through.player)


@pytest.mark.parametrize("sql", ["SELECT 7", "DROP TABLE t"])
@pytest.mark.parametrize("extended", [True, False])
def test_twenty_thousand_pipelined_commands_neither_nest_nor_take_quadratic_time(
    sql: str, extended: bool
) -> None:
    """Answering by recursion dies on this, and looking at everything for each takes for ever."""
    took = []
    for count in (2_000, 20_000):
        through, _ = joined(mode="bounded")
        through.player.journal.checks = False
        one = parse(sql) + bind() + execute() + SYNC if extended else query(sql)
        began = time.process_time()
        through.say(query("SELECT 7") + one * count)
        through.work()
        through.reply()
        took.append(time.process_time() - began)
        assert sum(kind == "Z" for kind, _ in told(through.client)) == count + 1
        through.player.end()
        assert through.player.ended is not None
        assert through.player.ended["event"]["balanced"]
    assert took[1] < 40 * took[0], took


def test_no_secret_is_anywhere_in_the_trail() -> None:
    """Statement, parameter, error echo, connection string, function call, refused and discarded ones."""
    secret = "hunter2-hunter2"
    player = logged_in(decide=refuse("DROP"))
    alter = f"ALTER ROLE r PASSWORD '{secret}'"
    player.client(query(alter))
    player.target(error("42704", f"role does not exist: {secret}", q=alter) + ready("I"))
    player.client(query("BEGIN"))
    player.target(complete("BEGIN") + ready("T"))
    player.client(query(f"DROP TABLE t; {alter}"))
    player.target(error("42601", "syntax") + ready("E"))
    player.client(query("ROLLBACK"))
    player.target(complete("ROLLBACK") + ready())
    conninfo = f"host=h password={secret}".encode()
    player.client(parse("SELECT dblink_connect($1)") + bind(conninfo) + execute() + SYNC)
    player.target(m("1") + m("2") + error("08001", f"could not connect: {secret}") + ready())
    player.client(
        parse("SELECT set_config('my.password', $1, false)") + bind(secret.encode()) + execute() + SYNC
    )
    player.target(m("1") + m("2") + row(b"x") + complete("SELECT 1") + ready())
    player.client(parse("DROP TABLE t") + parse(alter) + parse("SELECT dblink_connect($1)"))
    player.client(bind(conninfo) + execute() + query(alter) + SYNC)
    player.client(m("F", struct.pack(">IHHi", 1, 0, 1, len(conninfo)) + conninfo + b"\0\0"))
    player.target(error("08001", f"no: {secret}") + ready())
    player.client(bind(b"x" * 9000, conninfo) + execute() + SYNC)
    player.target(m("2") + error("08001", f"no {secret}") + ready())
    assert player.relay.closed is None
    player.end()
    assert_accounted(player)
    assert secret.encode() in player.relay.server
    assert secret.encode() not in player.journal.everything
    assert b"hunter" not in player.journal.everything


def test_a_queue_of_replies_that_nobody_asked_for() -> None:
    """Each reply in each state of the queue: legal ones pass, the others end the session before they go on."""
    asked = {
        "nothing": b"",
        "Q": query("SELECT 7"),
        "P": parse("SELECT 7"),
        "B": parse("SELECT 7") + bind(),
        "D": parse("SELECT 7") + m("D", b"S\0"),
        "E": parse("SELECT 7") + bind() + execute(),
        "C": m("C", b"S\0"),
        "F": m("F", struct.pack(">IHHH", 1, 0, 0, 0)),
        "S": SYNC,
    }
    first = {"B": m("1"), "D": m("1"), "E": m("1") + m("2")}
    legal = {
        "nothing": "",
        "Q": "TDCIGHWZ",
        "P": "1",
        "B": "2",
        "D": "tTn",
        "E": "DCIsGHW",
        "C": "3",
        "F": "VZ",
        "S": "Z",
    }
    copy = b"\0\0\0"
    replies = {
        "T": columns("a"), "D": row(b"1"), "C": complete("SELECT 1"), "I": m("I"), "Z": ready(), "1": m("1"),
        "2": m("2"), "3": m("3"), "t": m("t", b"\0\0"), "n": m("n"), "s": m("s"), "V": m("V", b"\0\0\0\0"),
        "G": m("G", copy), "H": m("H", copy), "W": m("W", copy), "d": m("d", b"x"), "c": m("c"),
        "K": m("K", b"12345678"), "R": m("R", b"\0\0\0\0"), "v": m("v", b"\0\3\0\0\0\0\0\0"),
        "E": error("XX000", "unasked"),
    }  # fmt: skip
    for state, sent in asked.items():
        for kind, reply in replies.items():
            player = logged_in()
            player.client(sent)
            player.target(first.get(state, b""))
            before = len(player.relay.client)
            player.target(reply)
            allowed = legal[state] + ("E" if state != "nothing" else "")
            passed = player.relay.closed is None
            assert passed == (kind in allowed), (state, kind)
            assert (player.relay.client[before:] == reply) == passed
            player.end()
            assert_accounted(player)


@pytest.mark.parametrize(
    "state", ["rows after an error", "a second error", "rows in a copy", "two results of a call"]
)
def test_replies_that_are_legal_once_and_not_again(state: str) -> None:
    """The queue knows what was answered already."""
    player = logged_in()
    call = state.endswith("call")
    player.client(m("F", struct.pack(">IHHH", 1, 0, 0, 0)) if call else query("SELECT 7"))
    result = m("V", b"\xff\xff\xff\xff")
    first, second = {
        "rows after an error": (error("XX000", "x"), row(b"1")),
        "a second error": (error("XX000", "x"), error("XX000", "x")),
        "rows in a copy": (m("H", b"\0\0\0"), row(b"1")),
        "two results of a call": (result, result),
    }[state]
    player.target(first)
    assert player.relay.closed is None
    player.target(second)
    assert player.relay.closed == "violation by the target"
    player.end()
    assert_accounted(player)


def test_a_malformed_tag_costs_nothing_of_the_results_before_it() -> None:
    """One chunk, two results, the second one broken: the first is on record and went on."""
    player = logged_in()
    player.client(query("SELECT 1") + query("SELECT 2"))
    before = len(player.relay.client)
    good = row(b"1") + complete("SELECT 1") + ready()
    player.target(good + row(b"2") + m("C", b"no end") + ready())
    assert player.relay.closed == "violation by the target"
    assert bytes(player.relay.client[before:]).startswith(good + row(b"2"))
    assert len(player.journal.of("command.completed")) == 1
    player.end()
    assert len(player.journal.of("command.unfinished")) == 1
    assert_accounted(player)


def test_notices_settings_and_notifications_come_between_anything() -> None:
    """They answer nothing, whatever is asked, and stand in the record."""
    anytime = (
        m("N", b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0")
        + m("A", struct.pack(">i", 5) + b"channel\0payload\0")
        + m("S", b"client_encoding\0LATIN1\0")
    )
    player = logged_in()
    player.client(parse("SELECT 7") + bind() + execute() + SYNC + query("SELECT 7; SELECT 8"))
    messages = [m("1"), m("2"), row(b"1"), complete("SELECT 1"), ready()]
    messages += [columns("a"), row(b"7"), complete("SELECT 1"), columns("a"), complete("SELECT 0"), ready()]
    player.target(anytime + b"".join(message + anytime for message in messages))
    assert player.relay.closed is None
    assert len(player.journal.of("command.result")) == 3
    assert len(player.journal.of("session.note")) == 3 * (len(messages) + 1)
    player.end()
    assert_accounted(player)


def test_the_account_of_an_idle_kill_at_a_full_disk() -> None:
    """The gateway ends the session while nothing can be written: the words still arrive."""
    from hoopproxy.errors import JournalRefused
    from hoopproxy.wire.commands import Refusal

    player = logged_in()
    player.journal.refusal = JournalRefused("full", "no space")
    player.exchange.refuse(Refusal("idle", "nothing happened"))
    assert told(bytes(player.relay.client))[-1] == ("E", b"57P05")
    player.end()
    assert player.ended is not None
    assert player.ended["event"]["balanced"]
