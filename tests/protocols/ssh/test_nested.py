"""Channels that end at the gateway: to a target that it knows, read by a session of its own."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.events import Identity
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.established import EstablishedAuth
from hoopproxy.protocols.ssh.nested import FIRST_NUMBER, NESTED_MAX, PACKET, WINDOW
from hoopproxy.protocols.ssh.packets import boolean, framed, packet, string, uint32
from hoopproxy.protocols.ssh.permits import Permits
from hoopproxy.protocols.ssh.restrictions import UNRESTRICTED
from hoopproxy.protocols.ssh.who import Who
from hoopproxy.testing import FakeSession
from hoopproxy.testing.playing import Player
from hoopproxy.wire.commands import (
    Admit,
    Connect,
    Connected,
    Decide,
    FromInside,
    Granted,
    Inside,
    LoggedIn,
    Login,
    Opened,
    Refusal,
    ToInside,
    Verdict,
)
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.inside import Outer
from hoopproxy.wire.login import Established

from .stage import arriving, log_in, payloads

OURS = FIRST_NUMBER
LOBBY, WAITS = {"lobby": True}, {"waits": True}
WHERE = ["at a target", "in the lobby", "before the target is needed"]
PLACES = {("db", 5432): ("db", "postgres"), ("box", 22): ("box", "ssh")}


def player(*, lobby: bool = False, waits: bool = False, outer: Outer | None = None, **options: Any) -> Player:
    """Somebody who is logged in: to a target, which they named; to none of two (``lobby``); or who named none, and has
    not needed the only one yet (``waits``)."""
    session = FakeSession(
        targets=("box", "other") if lobby else ("box",),
        reachable=PLACES,
        secrets=options.pop("secrets", {"host_ca": (b"key",)}),
        outer=outer,
    )
    answers = {
        Connect: Connected(
            target="box",
            account="ops",
            user="ops",
            password=b"up",
            role="r",
            tls=False,
            permits={"forwards": []},
        ),
        Inside: Opened("inner-session"),
        Admit: Granted(permits={"forwards": []}),
        **options.pop("answers", {}),
    }
    made = arriving(session, answers=answers, **options)
    made.exchange.open()
    made.client(log_in("alice") if lobby or waits else log_in("alice=box"))
    if not lobby and not waits:
        made.target(framed(packet(n.USERAUTH_SUCCESS)))
    made.relay.client.clear()
    made.relay.server.clear()
    return made


def opening(host: str = "db", port: int = 5432, number: int = 3, window: int = 100, size: int = 40) -> bytes:
    return framed(
        packet(
            n.CHANNEL_OPEN,
            *(string("direct-tcpip"), uint32(number), uint32(window), uint32(size)),
            *(string(host), uint32(port), string("127.0.0.1"), uint32(4)),
        )
    )


def data(content: bytes, number: int = OURS) -> bytes:
    return framed(packet(n.CHANNEL_DATA, uint32(number), string(content)))


def plain(kind: int, *numbers: int) -> bytes:
    return framed(packet(kind, *(uint32(each) for each in numbers)))


CONFIRMED = packet(n.CHANNEL_OPEN_CONFIRMATION, uint32(3), uint32(OURS), uint32(WINDOW), uint32(PACKET))


def confirm(number: int, ours: int) -> bytes:
    return plain(n.CHANNEL_OPEN_CONFIRMATION, number, ours, 100, 100)


def of_target(kind: str, number: int) -> bytes:
    return framed(packet(n.CHANNEL_OPEN, string(kind), uint32(number), uint32(100), uint32(100)))


@pytest.mark.parametrize("opens", [False, True], ids=["confirms", "opens"])
def test_a_target_does_not_get_what_is_said_to_a_session_inside(opens: bool) -> None:
    """With the number of that channel: two channels of one number, and the client's words for one go to the other."""
    played = player()
    played.client(opening())
    if opens:
        played.target(of_target("session", OURS))
    else:
        played.client(framed(packet(n.CHANNEL_OPEN, string("session"), uint32(0), uint32(9), uint32(9))))
        played.target(confirm(0, OURS))
    assert played.journal.of("session.violation")
    assert payloads(played.relay.client)[0] == CONFIRMED
    assert [each[0] for each in payloads(played.relay.client)][1:] == [n.DISCONNECT]


def test_a_number_that_a_target_has_given_is_passed_over() -> None:
    """A target that counts from there is within its rights."""
    played = player()
    played.client(framed(packet(n.CHANNEL_OPEN, string("session"), uint32(0), uint32(9), uint32(9))))
    played.target(confirm(0, OURS))
    played.client(opening())
    assert payloads(played.relay.client)[-1][5:9] == uint32(OURS + 1)
    assert played.relay.closed is None


def test_a_channel_whose_messages_hold_nothing_is_refused() -> None:
    """What the session inside says could not be said in it."""
    played = player()
    played.client(opening(size=0))
    assert [each[0] for each in payloads(played.relay.client)] == [n.CHANNEL_OPEN_FAILURE]


@pytest.mark.parametrize("where", [{}, LOBBY, WAITS], ids=WHERE)
def test_a_connection_to_a_known_target_ends_here(where: dict[str, bool]) -> None:
    """Nothing of it reaches the target of this session; both ends and bytes are on record, the contents elsewhere."""
    played = player(**where)
    played.client(opening())
    assert payloads(played.relay.client) == [CONFIRMED]
    played.relay.client.clear()
    played.client(data(b"to the database") + plain(n.CHANNEL_EOF, OURS))
    played.exchange.inside(FromInside(OURS, b"y" * 60, 15))
    played.exchange.inside(FromInside(OURS, b"", 0, True, True))
    played.client(plain(n.CHANNEL_CLOSE, OURS))
    assert payloads(played.relay.client) == [
        packet(n.CHANNEL_DATA, uint32(3), string(b"y" * 40)),
        packet(n.CHANNEL_DATA, uint32(3), string(b"y" * 20)),
        packet(n.CHANNEL_EOF, uint32(3)),
        packet(n.CHANNEL_CLOSE, uint32(3)),
    ]
    assert played.relay.inside == [
        ToInside(OURS, room=100),
        ToInside(OURS, b"to the database"),
        ToInside(OURS, eof=True),
    ]
    assert not played.relay.server
    (opened,) = played.journal.of("forward.opened")
    (closed,) = played.journal.of("forward.closed")
    assert opened["op"] == closed["op"]
    assert opened["event"]["decoded_as"] == "inner-session"
    assert opened["event"]["destination"] == {"host": "db", "port": 5432, "target": "db"}
    assert (closed["event"]["sent"], closed["event"]["received"]) == (15, 60)
    assert b"to the database" not in played.journal.everything
    assert b"y" * 20 not in played.journal.everything
    played.relay.client[:0] = bytes(played.exchange.client.out - len(played.relay.client))
    played.relay.server[:0] = bytes(played.exchange.server.out - len(played.relay.server))
    ended = played.end()
    assert ended is not None
    assert ended["event"]["balanced"]
    assert ended["outcome"] == "success"


@pytest.mark.parametrize("where", [{}, WAITS], ids=["at a target", "before it is needed"])
def test_it_is_decided_before_anything_begins(where: dict[str, bool]) -> None:
    """A deny rule, or a policy's no, refuses the channel; the session inside is forgotten unbegun."""

    def decide(decide: Decide) -> Verdict:
        return Verdict(decide.verbs[0] != "FORWARD", ("no forwards",))

    played = player(**where, decide=decide)
    played.client(opening())
    (said,) = payloads(played.relay.client)
    assert said[:9] == packet(n.CHANNEL_OPEN_FAILURE, uint32(3), uint32(n.ADMINISTRATIVELY_PROHIBITED))
    assert played.relay.inside == [ToInside(OURS, over=True)]
    (denied,) = played.journal.of("command.denied")
    assert denied["decision"] == {"effect": "deny", "rules": ["no forwards"]}
    assert not played.journal.of("forward.opened")


@pytest.mark.parametrize("where", [{}, LOBBY, WAITS], ids=WHERE)
def test_what_no_role_gives_is_refused_and_on_record(where: dict[str, bool]) -> None:
    """By the gateway, before there is a session for it."""
    played = player(**where, answers={Inside: Refusal("authorization", "no role gives alice that")})
    played.client(opening())
    (said,) = payloads(played.relay.client)
    assert said[0] == n.CHANNEL_OPEN_FAILURE
    assert b"no role gives alice that" in said
    (denied,) = played.journal.of("command.denied")
    assert denied["event"]["code"] == "authorization"
    assert denied["event"]["verb"] == "FORWARD direct-tcpip"
    assert denied["op"] == denied["id"]
    assert denied["id"].encode() in said
    assert not played.relay.inside


def asked_of(played: Player) -> list[object]:
    return [question for question, _ in played.relay.asked]


def test_who_only_passes_through_logs_in_at_no_target_outside() -> None:
    """``ssh -J`` was two log-ins at the only target: one for the jump, in which nothing ran."""
    played = player(waits=True)
    played.client(opening("box", 22))
    assert [type(each) for each in asked_of(played)] == [Login, Admit, Inside]
    assert payloads(played.relay.client) == [CONFIRMED]
    assert not played.journal.of("session.start")
    assert [each["kind"] for each in played.journal.events] == ["forward.opened"]


def start(number: int = 0) -> bytes:
    return framed(packet(n.CHANNEL_OPEN, string("session"), uint32(number), uint32(9), uint32(9)))


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(start(), id="a session"),
        pytest.param(opening("db", 5433), id="a way to somewhere else"),
        pytest.param(
            framed(packet(n.GLOBAL_REQUEST, string("tcpip-forward"), boolean(True), string(""), uint32(80))),
            id="a remote forward",
        ),
    ],
)
def test_what_needs_the_target_has_it_connected(first: bytes) -> None:
    """The message waits, whole, with everything behind it, and then is met as if the target had been there before."""
    there, waits = player(), player(waits=True)
    for played in (there, waits):
        played.client(first + start(7))
    assert asked_of(waits)[1:] == [Admit(), Connect()]
    assert not waits.relay.client
    waits.target(framed(packet(n.USERAUTH_SUCCESS)))
    del waits.relay.server[: -len(there.relay.server)]  # the log-in at the target
    assert bytes(waits.relay.server) == bytes(there.relay.server)
    assert bytes(waits.relay.client) == bytes(there.relay.client)
    assert [each[0] for each in payloads(waits.relay.client)].count(n.USERAUTH_SUCCESS) == 0, (
        "it was told before"
    )
    kinds = [[each["kind"] for each in played.journal.events] for played in (there, waits)]
    assert kinds[0] == kinds[1]
    assert waits.journal.of("session.start")


def test_a_way_through_stays_open_when_the_target_is_needed_later() -> None:
    """A client that shares its connection (ControlMaster) jumps first and then runs something."""
    played = player(waits=True)
    played.client(opening())
    played.client(start(0) + data(b"meanwhile"))
    assert played.relay.inside == [ToInside(OURS, room=100)]
    played.target(framed(packet(n.USERAUTH_SUCCESS)))
    assert played.relay.inside[1:] == [ToInside(OURS, b"meanwhile")]
    played.target(confirm(0, 5))
    played.exchange.inside(FromInside(OURS, b"back", 0))
    assert payloads(played.relay.client)[-2:] == [
        packet(n.CHANNEL_OPEN_CONFIRMATION, *map(uint32, (0, 5, 100, 100))),
        packet(n.CHANNEL_DATA, uint32(3), string(b"back")),
    ]
    assert played.relay.closed is None


def test_a_client_that_asks_whether_anybody_is_there_needs_no_target() -> None:
    """``ServerAliveInterval``, in a tunnel that nobody uses yet."""
    played = player(waits=True)
    for wants in (False, True):
        played.client(framed(packet(n.GLOBAL_REQUEST, string("keepalive@openssh.com"), boolean(wants))))
    assert payloads(played.relay.client) == [packet(n.REQUEST_FAILURE)]
    assert asked_of(played)[1:] == [Admit()]


def test_who_may_not_pass_through_has_the_target_at_once() -> None:
    """``targets = false`` of the role is for the jump to the only target, too."""
    played = player(waits=True, answers={Admit: Granted(permits={"targets": False})})
    assert asked_of(played)[1:] == [Admit(), Connect()]
    assert n.USERAUTH_SUCCESS not in [each[0] for each in payloads(played.relay.client)]


def test_who_is_not_admitted_is_told_so_at_the_log_in() -> None:
    """Before there is anything to pass through to."""
    played = player(
        waits=True, answers={Admit: Refusal("authorization", "no role gives alice the target box")}
    )
    assert played.relay.closed == "authorization"
    assert asked_of(played)[1:] == [Admit()]


def test_a_target_that_is_not_there_when_it_is_needed_ends_the_session() -> None:
    """With the sentence in the DISCONNECT: the log-in is over, and a banner has no place behind it."""
    played = player(waits=True, answers={Connect: Refusal("connect", "the target box can't be reached")})
    played.client(start())
    (said,) = payloads(played.relay.client)
    assert said[0] == n.DISCONNECT
    assert b"the target box can't be reached" in said
    assert played.relay.closed == "connect"


def test_a_jump_needs_a_host_ca() -> None:
    """Without one the gateway can't prove itself with as that host, so nobody is asked to believe it."""
    played = player(secrets={})
    played.client(opening("box", 22))
    (said,) = payloads(played.relay.client)
    assert b"no host CA" in said
    assert [type(question) for question, _ in played.relay.asked] == [Login, Connect]


def test_a_role_may_permit_none_at_all() -> None:
    """``targets = false`` in ``[role.options.ssh]``."""
    connected = Connected(
        target="box",
        account="ops",
        user="ops",
        password=b"up",
        role="r",
        tls=False,
        permits={"targets": False},
    )
    played = player(answers={Connect: connected})
    played.client(opening())
    (said,) = payloads(played.relay.client)
    assert b"no connections to other targets" in said


@pytest.mark.parametrize("restricted", [{"port_forwarding": False}, {"permit_open": ("db:5432",)}])
def test_a_key_without_forwards_goes_nowhere(restricted: dict[str, Any]) -> None:
    """``no-port-forwarding`` of a key or a certificate holds for targets too, and for what is inside of one."""
    who = Who(
        identity=OUTER.identity, account=None, target=None, permits=attrs.evolve(UNRESTRICTED, **restricted)
    )
    assert not who.narrowed(Permits()).targets
    auth = EstablishedAuth(attrs.evolve(OUTER, carries=who))
    (login,) = auth.frame(
        Frame(50, 0, 9, packet(n.USERAUTH_REQUEST, string("ops"), string("ssh-connection"), string("none")))
    )
    assert isinstance(login, Login)
    assert list(auth.answered(login, LoggedIn(OUTER.identity))) == []
    assert auth.done == attrs.evolve(who, account="ops")


def test_other_places_go_their_usual_way() -> None:
    """What nobody knows is for the role's ``forwards``."""
    played = player()
    played.client(opening("db", 5433))
    (said,) = payloads(played.relay.client)
    assert b"no forward to db:5433" in said


def test_the_window_opens_as_the_session_inside_reads() -> None:
    """In halves of the window: a client that doesn't look at it is stopped, one that does never waits for nothing."""
    played = player()
    played.client(opening())
    sent = 0
    while sent < WINDOW:
        played.client(data(bytes(PACKET)))
        sent += PACKET
    played.relay.client.clear()
    played.exchange.inside(FromInside(OURS, b"", WINDOW // 2 - 1))
    assert not played.relay.client
    played.exchange.inside(FromInside(OURS, b"", 1))
    assert payloads(played.relay.client) == [packet(n.CHANNEL_WINDOW_ADJUST, uint32(3), uint32(WINDOW // 2))]
    played.client(data(bytes(PACKET)))
    assert played.relay.closed is None


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(data(bytes(PACKET + 1)), id="more than a packet"),
        pytest.param(data(bytes(PACKET)) * (WINDOW // PACKET) + data(b"x"), id="more than the window"),
        pytest.param(plain(n.CHANNEL_EOF, OURS) + data(b"x"), id="data behind the end"),
        pytest.param(plain(n.CHANNEL_CLOSE, OURS) + data(b"x"), id="data behind the close"),
        pytest.param(
            plain(n.CHANNEL_CLOSE, OURS) + plain(n.CHANNEL_EOF, OURS), id="a message behind the close"
        ),
        pytest.param(plain(n.CHANNEL_WINDOW_ADJUST, OURS, 2**32 - 1), id="a window over 2^32-1"),
        pytest.param(plain(n.CHANNEL_SUCCESS, OURS), id="an answer to nothing"),
        pytest.param(plain(n.CHANNEL_OPEN_CONFIRMATION, OURS, 1, 1, 1), id="a confirmation of ours"),
        pytest.param(plain(n.CHANNEL_EOF, OURS, 1), id="bytes behind a message"),
        pytest.param(data(b"x", OURS + 1), id="a channel that is not open"),
        pytest.param(opening(number=3), id="the same number twice"),
        pytest.param(
            framed(packet(n.CHANNEL_EXTENDED_DATA, uint32(OURS), uint32(1), string(b"x"))), id="stderr"
        ),
        pytest.param(framed(packet(n.CHANNEL_DATA, uint32(OURS), uint32(5), b"x")), id="a length that lies"),
        pytest.param(framed(packet(n.CHANNEL_DATA, uint32(OURS), b"x")), id="no length"),
    ],
)
@pytest.mark.parametrize("where", [{}, LOBBY, WAITS], ids=WHERE)
def test_what_a_client_may_not_say_ends_the_session(wrong: bytes, where: dict[str, bool]) -> None:
    """In a channel that ends here the client's every byte is for us to judge."""
    played = player(**where)
    played.client(opening())
    played.client(wrong)
    assert played.relay.closed == "violation by the client"
    assert played.journal.of("session.violation")
    assert not played.relay.server


def test_requests_in_such_a_channel_get_no_for_an_answer() -> None:
    """RFC 4254 section 5.4: what isn't known fails, if an answer is wanted."""
    played = player()
    played.client(opening())
    played.relay.client.clear()
    for wants in (False, True):
        played.client(
            framed(packet(n.CHANNEL_REQUEST, uint32(OURS), string("odd@x"), boolean(wants), b"more"))
        )
    assert payloads(played.relay.client) == [packet(n.CHANNEL_FAILURE, uint32(3))]


def test_there_are_so_many_and_no_more() -> None:
    """Each is a session, with a connection to its target."""
    played = player()
    for number in range(NESTED_MAX + 1):
        played.client(opening(number=number))
    said = payloads(played.relay.client)
    assert [each[0] for each in said] == [n.CHANNEL_OPEN_CONFIRMATION] * NESTED_MAX + [n.CHANNEL_OPEN_FAILURE]
    played.client(plain(n.CHANNEL_CLOSE, OURS))
    played.client(opening(number=1000))
    assert payloads(played.relay.client)[-1][0] == n.CHANNEL_OPEN_CONFIRMATION


def test_20_000_in_a_row_are_opened_and_closed() -> None:
    """By a loop, with a channel's memory given back."""
    played = player(answers={Inside: None})
    played.journal.checks = False
    played.relay.answers[Inside] = lambda question: Opened("s")
    flood = b"".join(opening() + plain(n.CHANNEL_CLOSE, OURS + at) for at in range(20_000))
    played.client(flood)
    assert played.relay.closed is None
    assert len(played.journal.of("forward.closed")) == 20_000


def test_the_end_of_the_session_ends_them() -> None:
    """With a reason: nobody saw their end."""
    played = player()
    played.client(opening())
    played.exchange.client_lost()
    played.end()
    (closed,) = played.journal.of("forward.closed")
    assert closed["outcome"] == "failure"
    played.exchange.inside(FromInside(OURS, b"late"))
    assert b"late" not in played.relay.client


OUTER = Outer(
    session="outside", identity=Identity(id="alice", issuer="test", method="password"), host="box", port=22
)


def inside(user: str) -> Player:
    session = FakeSession(targets=("box",), outer=OUTER)

    def log_in(question: Login) -> object:
        assert isinstance(question.credentials, Established)
        if question.credentials.user != "alice":
            return Refusal("login", "the log-in was refused")
        return LoggedIn(OUTER.identity)

    played = arriving(session, answers={Login: log_in})
    played.exchange.open()
    played.client(framed(packet(n.USERAUTH_REQUEST, string(user), string("ssh-connection"), string("none"))))
    return played


@pytest.mark.parametrize(
    ("user", "account"), [("alice", None), ("alice+ops", "ops"), ("ops", "ops"), ("root", "root")]
)
def test_inside_nobody_logs_in_twice(user: str, account: str | None) -> None:
    """The first request is taken, whatever it offers; the user name says the account."""
    played = inside(user)
    asked = [question for question, _ in played.relay.asked]
    assert asked[1:] == [Connect(target=None, account=account)]


def test_inside_nobody_becomes_somebody_else() -> None:
    """Another identity is refused, with a sentence about what the user name may be."""
    played = inside("bob+ops")
    said = payloads(played.relay.client)
    assert said[-1][0] == n.DISCONNECT
    assert b"you are alice here" in said[-1]
    assert not [question for question, _ in played.relay.asked if isinstance(question, Connect)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 400), max_size=30))
@pytest.mark.parametrize("where", [{}, WAITS], ids=["at a target", "before it is needed"])
def test_any_split_is_the_same_session(where: dict[str, bool], cuts: list[int]) -> None:
    """A first segment may be one byte long, and a channel's messages may come in any pieces."""
    stream = (
        opening()
        + data(b"abc")
        + opening("box", 22, number=4)
        + data(b"x" * 50, OURS + 1)
        + plain(n.CHANNEL_WINDOW_ADJUST, OURS, 7)
        + plain(n.CHANNEL_EOF, OURS)
        + plain(n.CHANNEL_CLOSE, OURS)
    )
    played = player(**where)
    at = 0
    for cut in (*cuts, len(stream)):
        played.client(stream[at : at + cut])
        at += cut
    assert [each for each in played.relay.inside if each.number == OURS] == [
        ToInside(OURS, room=100),
        ToInside(OURS, b"abc"),
        ToInside(OURS, room=7),
        ToInside(OURS, eof=True),
        ToInside(OURS, over=True),
    ]
    assert [each.data for each in played.relay.inside if each.number == OURS + 1] == [b"", b"x" * 50]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(90, 100), st.binary(max_size=30)), max_size=8))
@pytest.mark.parametrize("where", [LOBBY, WAITS], ids=WHERE[1:])
def test_garbage_ends_the_session_or_is_answered(
    where: dict[str, bool], messages: list[tuple[int, bytes]]
) -> None:
    """Nothing but a violation comes of it, and nothing of it reaches the target undecided."""
    played = player(**where)
    played.client(opening())
    for kind, rest in messages:
        played.client(framed(packet(kind, uint32(OURS), rest)))
    assert not played.relay.server
    assert played.relay.closed in (None, "violation by the client", "no target", "authorization")
