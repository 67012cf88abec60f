"""A client, or a target, that stops in the middle of anything: the gateway doesn't wait for it for ever."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from hoopproxy.gateway.stock import uniform
from hoopproxy.gateway.upstream import CONNECT_SECONDS
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.packets import framed, packet, string, uint32
from hoopproxy.protocols.ssh.transport import ServerLayer
from tests.protocols.ssh.transport.house import Stream, host_key

from .house import House, limits
from .ssh_house import Person, SilentServer, SSHHouse, asking
from .turns import adopt, turned

SECONDS = 30


@pytest.fixture
def house() -> Iterator[SSHHouse]:
    with turned() as reactor:
        yield SSHHouse(reactor, limits=limits(login_seconds=SECONDS))


def assert_ends_in_time(house: House, seconds: float = SECONDS) -> None:
    """Not before, and then with nothing left of it."""
    reactor = house.reactor
    reactor.pass_time(seconds - 2)
    reactor.turn(20)
    assert house.shared.sessions
    reactor.pass_time(3)
    reactor.turn(20)
    reactor.pass_time(2.1)  # a peer that doesn't close is waited for
    reactor.until(lambda: not house.shared.sessions)
    crowd = house.shared.crowd
    assert (crowd.pre_login.present, crowd._listeners, crowd._addresses, crowd._identities) == (0, {}, {}, {})


STOPS = {
    "before a word": (0, 0),
    "in its version line": (0, 5),
    "in its offer": (0, 300),
    "after its offer": (1, 0),
    "in its half of the key exchange": (1, 12),
    "before its new keys": (2, 0),
    "in its first encrypted packet": (3, 9),
    "before it asks for the log-in": (3, 0),
}


@pytest.mark.parametrize("where", list(STOPS))
def test_a_client_that_stops_before_its_log_in_is_ended(house: SSHHouse, where: str) -> None:
    """Each is a connection, a place among those that have not logged in, and half a key exchange."""
    Person(house, *STOPS[where])
    assert_ends_in_time(house)


@pytest.mark.parametrize("tries", [0, 1])
def test_a_client_that_stops_in_its_log_in_is_ended(house: SSHHouse, tries: int) -> None:
    """Failures don't give it more time."""
    person = Person(house)
    for _ in range(tries):
        house.reactor.pass_time(5)
        person.says(asking("alice", "none"))
    assert_ends_in_time(house, SECONDS - 5 * tries)


@pytest.mark.parametrize("writes", [None, 0, 1, 2, 3, 4, 5], ids=lambda each: f"{each} writes")
def test_a_target_that_stops_before_the_gateway_is_logged_in_is_given_up(
    house: SSHHouse, writes: int | None
) -> None:
    """It can't be dialled, says nothing, or stops in its key exchange or log-in. As much time again, and not more."""
    house.target.silent = writes is None
    keyed = False
    person = Person(house)
    house.reactor.pass_time(SECONDS / 2)
    person.logs_in()
    if writes is not None:
        target = house.reached()
        stream = Stream("target's")
        layer = SilentServer(stream, (host_key(),), lambda leg, facts: None)
        layer.stops = writes, 7
        adopt(house.reactor, target.sock, uniform(layer, house.reactor))
        house.reactor.turn(40)
        keyed = bool(stream.payloads)
    assert_ends_in_time(house, SECONDS if keyed else CONNECT_SECONDS)
    assert house.journal.of("session.end")[-1]["outcome"] == "failure"


@pytest.fixture
def jumps() -> Iterator[SSHHouse]:
    with turned() as reactor:
        yield SSHHouse(reactor, jumps=True, limits=limits(login_seconds=SECONDS, idle_seconds=3 * SECONDS))


OPEN = packet(n.CHANNEL_OPEN, string("session"), uint32(0), uint32(9), uint32(9))


def test_who_is_admitted_and_needs_no_target_yet_is_a_session_like_any(jumps: SSHHouse) -> None:
    """A tunnel that nobody uses is not thrown out by the deadline of a log-in that is done; it may be idle, as any."""
    person = Person(jumps)
    person.logs_in()
    assert person.stream.payloads[-1] == packet(n.USERAUTH_SUCCESS)
    assert not jumps.target.sockets
    for _ in range(2 * SECONDS // 5):
        jumps.reactor.pass_time(5.1)
        jumps.reactor.turn(5)
    assert jumps.shared.sessions
    for _ in range(2 * SECONDS // 5):
        jumps.reactor.pass_time(5.1)
        jumps.reactor.turn(5)
    jumps.reactor.pass_time(2.1)
    jumps.reactor.until(lambda: not jumps.shared.sessions)
    assert jumps.journal.of("session.end")[-1]["event"]["cause"] == "idle"


@pytest.mark.parametrize("where", ["not dialled", "no word", "in the log-in"])
def test_a_target_that_is_needed_late_and_stops_is_given_up(jumps: SSHHouse, where: str) -> None:
    """It has the time that it would have had at the log-in, and no more."""
    person = Person(jumps)
    person.logs_in()
    for _ in range(SECONDS // 5 + 1):
        jumps.reactor.pass_time(5.1)
        jumps.reactor.turn(5)
    jumps.target.silent = where == "not dialled"
    person.says(OPEN)
    if where == "in the log-in":
        stream = Stream("target's")
        layer = ServerLayer(stream, (host_key(),), lambda leg, facts: None)
        adopt(jumps.reactor, jumps.reached().sock, uniform(layer, jumps.reactor))
        jumps.reactor.until(lambda: stream.payloads)
    assert_ends_in_time(jumps, SECONDS if where == "in the log-in" else CONNECT_SECONDS)
    assert jumps.journal.of("session.end")[-1]["outcome"] == "failure"


def test_a_channel_that_the_target_never_confirms_is_idleness(house: SSHHouse) -> None:
    """RFC 4254 knows no deadline for it; ``idle_seconds`` is the gateway's, and counts what passes."""
    house.shared.settings = attrs.evolve(
        house.shared.settings, limits={**house.shared.settings.limits, "idle_seconds": 60}
    )
    person = Person(house)
    person.logs_in()
    target = house.reached()
    stream = Stream("target's")
    layer = ServerLayer(stream, (host_key(),), lambda leg, facts: None)
    adopt(house.reactor, target.sock, uniform(layer, house.reactor))
    house.reactor.until(lambda: stream.payloads)
    stream.transport.write(framed(packet(n.USERAUTH_SUCCESS)))
    house.reactor.until(lambda: person.stream.payloads)
    person.says(OPEN)
    assert stream.payloads[-1][0] == n.CHANNEL_OPEN
    for _ in range(13):
        house.reactor.pass_time(5.1)
        house.reactor.turn(5)
    house.reactor.pass_time(2.1)
    house.reactor.until(lambda: not house.shared.sessions)
    assert house.journal.of("session.end")[-1]["event"]["cause"] == "idle"
