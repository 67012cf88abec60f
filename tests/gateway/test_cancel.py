"""Cancel requests: to the right target, on record in the right session, and nothing for who guesses."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme
from twisted.internet.defer import Deferred, succeed

from hoopproxy.errors import JournalRefused
from hoopproxy.gateway import cancel
from hoopproxy.gateway.cancel import Cancels
from hoopproxy.gateway.figures import Figures
from hoopproxy.gateway.tls import ClientTLS
from hoopproxy.wire.commands import Refusal

from .house import Client, House, Target
from .turns import Turned


def with_key(house: House, key: str) -> tuple[Client, Target]:
    client = house.client()
    client.say("LOGIN alice pw\nTARGET\n")
    target = house.reached()
    target.until(b"USER")
    target.say(f"OK {key}\n")
    client.until(b"GO AHEAD")
    return client, target


def test_a_shown_key_reaches_the_target_on_a_connection_of_its_own(reactor: Turned) -> None:
    """And is on record in the session whose key it is, with where it came from."""
    house = House(reactor)
    client, target = with_key(house, "k1")
    _other, _other_target = with_key(house, "k2")
    asker = house.client("198.51.100.1")
    asker.say("CANCEL k1\n")
    delivery = house.reached()
    assert delivery.until(b"\n") == b"CANCEL k1\n"
    reactor.pass_time(cancel.ACT_SECONDS - 0.1)
    assert not asker.ended, "who asks goes on when it ends, and the target may not have acted yet"
    assert not house.journal.of("command.cancel_completed")
    delivery.close()
    asker.until_end()
    (event,) = house.journal.of("command.cancel_requested")
    (done,) = house.journal.of("command.cancel_completed")
    assert event["event"] == {"from_addr": "198.51.100.1"}
    assert (done["event"], done["outcome"]) == ({"forwarded": True}, "success")
    assert event["session"] == done["session"] == house.journal.of("session.start")[0]["session"]
    assert event["op"] == done["op"] == event["id"]
    assert house.figures.cancels == 1
    assert not client.ended
    assert target.read() == b"USER upstream_user upstream-env:PW\n"


def test_a_target_that_does_not_close_has_its_request_all_the_same(reactor: Turned) -> None:
    """Not every protocol's does; and a request that was sent did not fail."""
    house = House(reactor)
    _client, _target = with_key(house, "k1")
    asker = house.client()
    asker.say("CANCEL k1\n")
    delivery = house.reached()
    delivery.until(b"\n")
    reactor.pass_time(cancel.ACT_SECONDS + 0.1)
    asker.until_end()
    delivery.until_end()
    (done,) = house.journal.of("command.cancel_completed")
    assert (done["event"], done["outcome"]) == ({"forwarded": True}, "success")
    assert house.figures.cancels == 1


@pytest.mark.parametrize("code", ["killed", "idle", "lifetime", "shutdown"])
def test_what_runs_at_the_target_ends_with_a_session_that_the_gateway_ends(
    reactor: Turned, code: str
) -> None:
    """The client hears what a server says whose statement is over; it went on, and what it changed was committed."""
    house = House(reactor)
    client, target = with_key(house, "k1")
    client.say("DELETE everything\n")
    assert b"DELETE everything" in target.until(b"everything\n")
    (session,) = house.shared.sessions.values()
    session.refuse(Refusal(code, "it is over"))
    settled = house.shared.cancels.settled()
    session.refuse(Refusal("shutdown", "a second reason"))
    delivery = house.reached()
    assert delivery.until(b"\n") == b"CANCEL k1\n"
    assert b"REFUSED " + code.encode() in client.until_end()
    reactor.turn(3)
    assert not settled.called
    delivery.close()
    reactor.turn(3)
    assert settled.called
    (event,) = house.journal.of("command.cancel_requested")
    assert event["event"] == {"from_addr": cancel.BY_GATEWAY}
    assert len(house.target.sockets) == 0, "asked once"


def test_a_session_that_is_ended_at_rest_asks_nothing_of_its_target(reactor: Turned) -> None:
    """A gateway that stops would dial once for each of a thousand idle sessions."""
    house = House(reactor)
    client, target = with_key(house, "k1")
    client.say("READ\n")
    target.until(b"READ\n")
    target.say("done\n")
    client.until(b"done")
    (session,) = house.shared.sessions.values()
    session.refuse(Refusal("killed", "it is over"))
    client.until_end()
    reactor.turn(3)
    assert house.shared.cancels.settled().called
    assert not house.journal.of("command.cancel_requested")


def test_an_unknown_key_gets_the_same_nothing(reactor: Turned) -> None:
    """Strangers learn nothing and leave nothing but a number."""
    house = House(reactor)
    asker = house.client()
    asker.say("CANCEL guess\n")
    assert asker.until_end() == b"READY\n"
    reactor.turn(3)
    assert house.figures.unknown_cancels == 1
    assert not house.journal.events
    assert not house.target.sockets


def test_a_key_dies_with_its_session(reactor: Turned) -> None:
    """A later session must not be cancelled by an old key."""
    house = House(reactor)
    client, target = with_key(house, "k1")
    client.close()
    target.close()
    house.end()
    assert len(house.shared.cancels) == 0
    asker = house.client()
    asker.say("CANCEL k1\n")
    asker.until_end()
    assert house.figures.unknown_cancels == 1


def test_a_cancel_goes_inside_the_targets_tls(reactor: Turned) -> None:
    """A target that takes TLS only would not hear it otherwise, and the key would cross the wire."""
    authority = trustme.CA()
    tls = ClientTLS(name="db.example", ca=authority.cert_pem.bytes())
    house = House(reactor)
    client, _target = with_key(house, "k1")
    (session,) = house.shared.sessions.values()
    import attrs

    assert session._upstream is not None
    session._upstream = attrs.evolve(session._upstream, tls=tls)
    asker = house.client()
    asker.say("CANCEL k1\n")
    delivery = house.reached()
    delivery.until(b"STARTTLS\n")
    delivery.heard.clear()
    from .test_listener import Server

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("db.example").configure_cert(context)
    server = Server(delivery, context)
    server.say_plain(b"GO\n")
    server.shake()
    assert server.until(b"\n") == b"CANCEL k1\n"
    assert not client.ended


def test_a_target_that_says_more_than_its_agreement_to_tls_gets_no_key(reactor: Turned) -> None:
    """Plaintext in front of TLS would be taken as encrypted."""
    authority = trustme.CA()
    house = House(reactor)
    _client, _target = with_key(house, "k1")
    (session,) = house.shared.sessions.values()
    import attrs

    assert session._upstream is not None
    tls = ClientTLS(name="db.example", ca=authority.cert_pem.bytes())
    session._upstream = attrs.evolve(session._upstream, tls=tls)
    asker = house.client()
    asker.say("CANCEL k1\n")
    delivery = house.reached()
    delivery.until(b"STARTTLS\n")
    delivery.say(b"GO\nand more")
    assert delivery.until_end() == b"STARTTLS\n"
    asker.until_end()
    (done,) = house.journal.of("command.cancel_completed")
    assert done["event"] == {"forwarded": False}
    assert "more than its agreement to TLS" in done["reason"]


def test_a_target_that_takes_no_connection_is_given_up(reactor: Turned) -> None:
    """The asker's connection must not stay open for ever."""
    house = House(reactor)
    _client, _target = with_key(house, "k1")
    house.target.silent = True
    asker = house.client()
    asker.say("CANCEL k1\n")
    assert not asker.ended
    assert len(house.journal.of("command.cancel_requested")) == 1
    assert not house.journal.of("command.cancel_completed"), "nobody knows yet"
    reactor.pass_time(cancel.CANCEL_SECONDS + 0.1)
    asker.until_end()
    assert house.target.cancelled == 1
    (done,) = house.journal.of("command.cancel_completed")
    assert (done["event"], done["outcome"]) == ({"forwarded": False}, "failure")
    assert done["reason"] == "it took more than 10 seconds"
    assert house.figures.cancels == 0


def test_a_cancel_that_cannot_be_recorded_is_not_passed_on(reactor: Turned) -> None:
    """No record, no action."""
    house = House(reactor, mode="strict")
    _client, _target = with_key(house, "k1")
    house.journal.refusal = JournalRefused("full", "no space")
    asker = house.client()
    asker.say("CANCEL k1\n")
    asker.until_end()
    assert not house.target.sockets
    assert not house.journal.of("command.cancel_requested")


class Owner:
    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    def cancel_requested(self, from_addr: str, request: bytes) -> Deferred[None]:
        self.asked.append((from_addr, request))
        return succeed(None)


def test_keys_are_bounded_and_nobody_takes_anothers(reactor: Turned, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that registers without end, and a target that gives out the same key twice."""
    monkeypatch.setattr(cancel, "KEYS", 2)
    cancels = Cancels(reactor, Figures())
    first, second = Owner(), Owner()
    assert cancels.register(b"a", first, b"ra")
    assert not cancels.register(b"a", second, b"rb")
    assert cancels.register(b"b", second, b"rb")
    assert not cancels.register(b"c", second, b"rc")
    cancels.show(b"a", "192.0.2.1")
    assert first.asked == [("192.0.2.1", b"ra")]
    assert second.asked == []


def test_guessing_keys_is_slowed_down(reactor: Turned) -> None:
    """After so many wrong keys even the right one is not looked at, from that address."""
    figures = Figures()
    cancels = Cancels(reactor, figures)
    owner = Owner()
    cancels.register(b"right", owner, b"r")
    results: list[Any] = []
    for number in range(cancel.WRONG_KEYS_PER_MINUTE + 5):
        cancels.show(b"wrong%d" % number, "192.0.2.1").addCallback(results.append)
    cancels.show(b"right", "192.0.2.1")
    assert owner.asked == []
    cancels.show(b"right", "192.0.2.2")
    assert len(owner.asked) == 1
    assert figures.unknown_cancels == cancel.WRONG_KEYS_PER_MINUTE + 6
