"""Two connections and the gate between them: pressure, half-closed streams, and ends of every kind."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from hoopproxy.gateway.relay import FINISH_SECONDS, GOODBYE_SECONDS
from hoopproxy.interfaces import IRelay, ISession
from hoopproxy.wire.commands import Refusal

from .house import House, denying, limits
from .turns import Turned, turned

LINE = b"x" * 60_000 + b"\n"


def only(house: House) -> object:
    (session,) = house.shared.sessions.values()
    return session


def test_session_and_relay_provide_what_the_interfaces_say(reactor: Turned) -> None:
    """A plugin's author reads the interfaces, so they must be true."""
    house = House(reactor)
    client, target = house.started()
    session = only(house)
    assert verifyObject(ISession, session)
    assert verifyObject(IRelay, session._relay)  # type: ignore[attr-defined]
    assert not client.ended
    assert not target.ended


def test_a_client_that_does_not_read_stops_the_target_and_all_of_it_arrives_later(reactor: Turned) -> None:
    """Memory stays bounded by the buffers' marks, whatever the target sends."""
    house = House(reactor)
    client, target = house.started(send_buffer=4096)
    total = 0
    for _ in range(400):
        reactor.turn()
        try:
            total += target.sock.send(LINE)
        except BlockingIOError:
            break
    else:
        pytest.fail("the target was never stopped")
    reactor.turn(20)
    relay = only(house)._relay  # type: ignore[attr-defined]
    assert relay.transport("client").buffered < 1_000_000
    assert house.figures.pauses["peer"] >= 1
    reactor.until(lambda: len(client.read()) == total // len(LINE) * len(LINE))


def test_a_client_that_only_asks_and_never_reads_is_not_read_either(reactor: Turned) -> None:
    """Answers that the gateway itself makes (denials) must not pile up."""
    house = House(reactor, roles=(denying("DROP"),))
    client, target = house.started(send_buffer=4096)
    sent = 0
    for _ in range(3000):
        try:
            sent += client.sock.send(b"DROP x\n" * 100)
        except BlockingIOError:
            reactor.turn(3)
            if house.figures.pauses.get("peer"):
                break
        reactor.turn()
    else:
        pytest.fail("it was read for ever")
    relay = only(house)._relay  # type: ignore[attr-defined]
    assert relay.transport("client").buffered < 1_000_000
    assert not target.ended


def test_a_target_that_does_not_read_stops_the_client(reactor: Turned) -> None:
    """A COPY into a slow target is held by the kernel and the marks, not by us."""
    house = House(reactor)
    client, target = house.started()
    sent = 0
    for _ in range(3000):
        try:
            sent += client.sock.send(LINE)
        except BlockingIOError:
            reactor.turn(3)
            if house.figures.pauses.get("peer"):
                break
        reactor.turn()
    else:
        pytest.fail("the client was never stopped")
    held = house.shared.sessions
    assert held
    reactor.until(lambda: len(target.read()) >= sent - len(LINE))


def test_reasons_to_pause_add_up(reactor: Turned) -> None:
    """Reading on while one reason still stands would undo it."""
    house = House(reactor)
    client, target = house.started()
    relay = only(house)._relay  # type: ignore[attr-defined]
    relay.pause("client", "journal")
    relay.pause("client", "peer")
    relay.pause("client", "peer")
    client.say("SELECT 1\n")
    relay.resume("client", "journal")
    relay.resume("client", "journal")
    reactor.turn(5)
    assert target.read() == b""
    relay.resume("client", "peer")
    target.until(b"SELECT 1\n")
    assert house.figures.pauses["journal"] == 1
    assert house.figures.pauses["peer"] == 1


def test_a_leg_that_is_paused_before_it_is_connected_starts_paused(reactor: Turned) -> None:
    """The journal may be behind before the target answers."""
    house = House(reactor)
    client = house.client()
    client.say("LOGIN alice pw\n")
    relay = only(house)._relay  # type: ignore[attr-defined]
    relay.pause("target", "journal")
    client.say("TARGET\n")
    target = house.reached()
    target.until(b"USER")
    target.say("OK\n")
    reactor.turn(5)
    assert b"GO AHEAD" not in client.read()
    relay.resume("target", "journal")
    client.until(b"GO AHEAD")


def test_a_half_closed_client_gets_the_rest(reactor: Turned) -> None:
    """A protocol may let the client end its stream and read on; the target hears of the end."""
    import socket

    house = House(reactor)
    client = house.client()
    client.say("HALF\nLOGIN alice pw\nTARGET\n")
    target = house.reached()
    target.until(b"USER")
    target.say("OK\n")
    client.until(b"GO AHEAD\n")
    client.say("SELECT 1\n")
    client.sock.shutdown(socket.SHUT_WR)
    reactor.turn(5)
    target.heard.clear()
    reactor.until(lambda: target.read() is not None and target.ended)
    target.say("one\n")
    client.until(b"one\n")
    target.close()
    client.until_end()
    assert house.end()["event"]["balanced"]


def test_a_half_closed_clients_last_command_waits_for_its_record(reactor: Turned) -> None:
    """Ending the target's stream at once would lose what waits for the disk."""
    import socket

    house = House(reactor, mode="strict", at_once=False)
    client = house.client()
    client.say("HALF\nLOGIN alice pw\nTARGET\n")
    target = house.reached()
    target.until(b"USER")
    target.say("OK\n")
    client.until(b"GO AHEAD\n")
    target.heard.clear()
    client.say("SELECT 1\n")
    client.sock.shutdown(socket.SHUT_WR)
    reactor.turn(5)
    assert target.read() == b""
    assert not target.ended
    house.journal.sync()
    reactor.until(lambda: target.read() is not None and target.ended)
    assert target.heard == b"SELECT 1\n"


def test_a_target_that_is_gone_ends_the_session_and_the_client_gets_its_last_words(reactor: Turned) -> None:
    """What the target said last is often why it went."""
    house = House(reactor)
    client, target = house.started()
    client.say("SELECT 1\n")
    target.say("the server is shutting down\n")
    target.close()
    assert client.until_end() == b"the server is shutting down\n"
    end = house.end()["event"]
    assert end["cause"] == "target closed"
    assert end["balanced"]


def test_a_peer_that_does_not_read_our_goodbye_is_cut_off(reactor: Turned) -> None:
    """A connection must not outlive its session for as long as somebody likes."""
    house = House(reactor)
    client, target = house.started(send_buffer=4096)
    for _ in range(30):
        reactor.turn()
        try:
            target.sock.send(LINE)
        except BlockingIOError:
            break
    only(house).refuse(Refusal("killed", "an administrator ended this session"))  # type: ignore[attr-defined]
    reactor.turn(10)
    assert house.shared.sessions
    assert not target.ended
    reactor.pass_time(GOODBYE_SECONDS + 0.1)
    reactor.until(lambda: not house.shared.sessions)
    end = house.journal.of("session.end")[0]["event"]
    assert end["client"]["unsent"] > 0
    assert end["balanced"]
    assert not client.ended


def test_a_target_that_does_not_finish_its_message_is_given_a_time(reactor: Turned) -> None:
    """The client waits for our words behind it, but not for ever."""
    house = House(reactor)
    client, target = house.started()
    relay = only(house)._relay  # type: ignore[attr-defined]
    exchange = relay.exchange
    exchange._unsaid, exchange._finish_to = Refusal("killed", "an administrator ended this session"), 1000
    exchange.closing = "killed"
    relay.finishing()
    reactor.pass_time(FINISH_SECONDS - 0.1)
    assert house.shared.sessions
    assert not client.ended
    reactor.pass_time(0.2)
    assert client.until_end() == b""
    target.close()
    end = house.end()["event"]
    assert (end["cause"], end["balanced"]) == ("killed", True)


def test_a_reset_connection_balances_too(reactor: Turned) -> None:
    """What was written and never left is said, not hidden."""
    import socket
    import struct

    house = House(reactor)
    client, target = house.started()
    client.say("SELECT 1\n")
    target.until(b"SELECT")
    target.say(b"y" * 10_000)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    target.say(b"z" * 10_000 + b"\n")
    end = house.end()["event"]
    assert end["balanced"], end


def test_a_session_that_nobody_connected_for_ends(reactor: Turned) -> None:
    """The connection may be gone before its protocol gets it."""
    from twisted.internet.address import IPv4Address

    house = House(reactor, limits=limits(login_seconds=3))
    house.listener.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
    assert house.shared.sessions
    reactor.pass_time(3.1)
    reactor.turn(3)
    assert not house.shared.sessions
    assert house.shared.crowd.pre_login.present == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(["client", "target"]), st.integers(1, 5000)), max_size=12),
    st.booleans(),
)
def test_whatever_is_said_in_whatever_pieces_arrives_and_balances(
    script: list[tuple[str, int]], client_first: bool
) -> None:
    """Every byte is accounted for, in both directions, whoever ends it."""
    with turned() as reactor:
        house = House(reactor)
        client, target = house.started()
        said = {"client": b"", "target": b""}
        for who, size in script:
            data = (b"w" * (size - 1) + b"\n") if size % 3 else b"v" * size
            said[who] += data
            (client if who == "client" else target).say(data)
        whole = {who: data[: data.rfind(b"\n") + 1] for who, data in said.items()}
        reactor.until(lambda: target.read() == whole["client"] and client.read() == whole["target"])
        for end in (client, target) if client_first else (target, client):
            end.close()
        event = house.end()["event"]
        assert event["balanced"], event
        assert event["target"]["forwarded"] == len(whole["client"])
