"""Who gets in: limits, PROXY headers, TLS from the first byte or by request."""

from __future__ import annotations

import contextlib
import ssl
from ipaddress import ip_network

import pytest
import trustme

from hoopproxy.gateway.proxy_protocol import Senders
from hoopproxy.gateway.tls import ClientTLS, ServerTLS

from .house import Client, House, limits
from .lines import LineProtocol
from .turns import Turned

CA = trustme.CA()
CLIENTS = trustme.CA()
CERT = CA.issue_cert("gateway.example")
TARGET_CERT = CA.issue_cert("db.example")
ALICE = CLIENTS.issue_cert("alice@example.org", common_name="alice")


def pem(certificate: trustme.LeafCert) -> tuple[bytes, bytes]:
    return b"".join(each.bytes() for each in certificate.cert_chain_pems), certificate.private_key_pem.bytes()


def server_tls(required: bool = True, alpn: tuple[str, ...] = ("lines",), ask: bool = False) -> ServerTLS:
    certificate, key = pem(CERT)
    authorities = CLIENTS.cert_pem.bytes() if ask else None
    return ServerTLS(certificate=certificate, key=key, required=required, alpn=alpn, client_ca=authorities)


class Secure:
    """The client's end of TLS over a plain socket."""

    def __init__(
        self, client: Client, alpn: str | None = None, certificate: trustme.LeafCert | None = None
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        CA.configure_trust(context)
        if alpn:
            context.set_alpn_protocols([alpn])
        if certificate is not None:
            certificate.configure_cert(context)
        self.client = client
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="gateway.example")
        self.heard = b""

    def shake(self) -> None:
        for _ in range(50):
            try:
                self._tls.do_handshake()
                self._push()
                return
            except ssl.SSLWantReadError:
                self._push()
                self._pull()
        raise AssertionError("no handshake")

    def _push(self) -> None:
        data = self._out.read()
        if data:
            self.client.say(data)

    def _pull(self) -> None:
        self.client.heard.clear()
        self._in.write(self.client.read())
        self.client.heard.clear()

    def say(self, text: str) -> None:
        self._tls.write(text.encode())
        self._push()

    def until(self, words: bytes) -> bytes:
        def there() -> bool:
            self._pull()
            try:
                while data := self._tls.read(65536):
                    self.heard += data
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                pass
            return words in self.heard

        self.client._house.reactor.until(there)
        return self.heard


# --- limits


def test_too_many_connections_without_log_in_are_told_in_the_protocols_words(reactor: Turned) -> None:
    """And the place is free again when one is gone, or logged in."""
    house = House(reactor, limits=limits(pre_login_connections=2))
    first, second = house.client(), house.client()
    third = house.client()
    assert third.until_end() == (
        b"NO too_many: too many connections without log-in (pre_login_connections = 2)\n"
    )
    first.say("LOGIN alice pw\n")
    fourth = house.client()
    assert fourth.until(b"READY\n")
    second.close()
    reactor.pass_time(3)
    fifth = house.client()
    fifth.until(b"READY\n")
    assert house.figures.refusals["too_many"] == 1


@pytest.mark.parametrize(
    ("limit", "addresses", "words"),
    [
        ({"sessions_per_listener": 2}, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], b"sessions_per_listener = 2"),
        ({"sessions_per_address": 2}, ["192.0.2.1"] * 3, b"sessions_per_address = 2"),
        (
            {"sessions_per_address": 2},
            ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"],
            b"sessions_per_address = 2",
        ),
    ],
)
def test_sessions_are_limited_by_listener_and_by_address(
    reactor: Turned, limit: dict[str, int], addresses: list[str], words: bytes
) -> None:
    """An IPv6 client has a /64 of addresses to come from; it is one client."""
    house = House(reactor, limits=limits(**limit))
    kept = [house.client(address) for address in addresses[:-1]]
    assert words in house.client(addresses[-1]).until_end()
    assert house.shared.crowd.pre_login.present == len(kept)
    kept[0].close()
    reactor.pass_time(3)
    house.client(addresses[-1]).until(b"READY\n")


@pytest.mark.parametrize(
    ("said", "known"),
    [("::ffff:192.0.2.9", "192.0.2.9"), ("::ffff:5:6", "::ffff:5:6"), ("2001:db8::9", "2001:db8::9")],
)
def test_a_client_has_one_address_whatever_the_listener(reactor: Turned, said: str, known: str) -> None:
    """A listener on ``::`` is told IPv4 in IPv6 clothes: rules about the client, and searches, went past it."""
    house = House(reactor)
    house.client(said).say("LOGIN alice pw\nTARGET\n")
    house.reached().say("OK\n")
    reactor.turn(3)
    (event,) = house.journal.of("login.succeeded")
    assert event["client"]["addr"] == known


def test_sessions_of_one_identity_are_limited_and_the_refusal_is_on_record(reactor: Turned) -> None:
    """Who it is is known, so this is an event of a session."""
    house = House(reactor, limits=limits(sessions_per_identity=1))
    kept, target = house.started("alice")
    second = house.client()
    second.say("LOGIN alice pw\n")
    assert b"REFUSED too_many: too many sessions of alice (sessions_per_identity = 1)" in second.until_end()
    reactor.until(lambda: len(house.shared.sessions) == 1)
    refused = house.journal.of("session.refused")[0]
    assert refused["event"]["code"] == "too_many"
    assert refused["identity"]["id"] == "alice"
    other = house.client()
    other.say("LOGIN bob pw\n")
    other.until(b"HELLO bob")
    kept.close()
    target.close()
    reactor.pass_time(3)
    third = house.client()
    third.say("LOGIN alice pw\n")
    third.until(b"HELLO alice")


def test_bytes_held_by_all_are_limited(reactor: Turned) -> None:
    """Each session alone is under its own limit; together they would eat the memory."""
    house = House(reactor, limits=limits(held_bytes=60_000))
    first, _first = house.started("a")
    second, _second = house.started("b")
    first.say(b"x" * 30_000)
    reactor.turn(5)
    second.say(b"y" * 35_000)
    assert b"REFUSED too_many: the gateway holds too much unfinished input (held_bytes = 60000)" in (
        second.until_end()
    )
    reactor.pass_time(3)
    reactor.turn(3)
    assert len(house.shared.sessions) == 1
    assert not first.read()
    assert 0 < house.shared.crowd.in_memory.total <= 60_000
    first.close()
    house.end()
    assert house.shared.crowd.in_memory.total == 0


def test_what_a_target_does_not_take_is_held_as_well(
    reactor: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message of 64 MiB for a target that is busy waited in memory and was in nobody's books."""
    monkeypatch.setattr("hoopproxy.gateway.relay.UNDER_WAY", 0)
    house = House(reactor, limits=limits(held_bytes=60_000))
    client, target = house.started("a")
    for _ in range(8):
        client.say(b"x" * 60_000 + b"\n")
        reactor.turn(3)
    assert (
        b"REFUSED too_many: the gateway holds too much unfinished input (held_bytes = 60000)" in client.read()
    )
    assert house.shared.crowd.in_memory.total > 60_000
    target.close()
    house.end()
    assert house.shared.crowd.in_memory.total == 0


def test_while_draining_nobody_is_accepted(reactor: Turned) -> None:
    """The ports close a moment later."""
    house = House(reactor)
    house.shared.draining = True
    assert house.client().until_end() == b""


# --- PROXY

BELIEVED = Senders((ip_network("192.0.2.0/24"),))
HEADER = b"PROXY TCP4 198.51.100.7 203.0.113.1 4000 6432\r\n"


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_listed_senders_header_says_who_the_client_is(reactor: Turned, piece: int) -> None:
    """In any pieces, and its bytes are nobody's stream: the totals still balance."""
    house = House(reactor, senders=BELIEVED)
    client = house.client("192.0.2.9")
    data = HEADER + b"LOGIN alice pw\nTARGET\n"
    for start in range(0, len(data), piece):
        client.say(data[start : start + piece])
    target = house.reached()
    target.until(b"USER")
    client.close()
    end = house.end()
    assert end["client"] == {"addr": "198.51.100.7", "port": 4000, "via_proxy": "192.0.2.9"}
    assert end["event"]["balanced"]
    assert end["event"]["client"]["received"] == len(b"LOGIN alice pw\nTARGET\n")


def test_a_listed_sender_must_send_one(reactor: Turned) -> None:
    """Otherwise everybody behind it would seem to be the load balancer."""
    house = House(reactor, senders=BELIEVED)
    client = house.client("192.0.2.9")
    client.say("LOGIN alice pw\n")
    assert client.until_end() == b""
    reactor.turn(3)
    assert house.journal.kinds() == ["session.violation"]
    assert "PROXY" in house.journal.events[0]["reason"]
    assert house.shared.crowd.pre_login.present == 0


@pytest.mark.parametrize("header", [HEADER, b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12)])
@pytest.mark.parametrize("piece", [1, 1000])
def test_a_header_from_anybody_else_is_a_violation(reactor: Turned, header: bytes, piece: int) -> None:
    """CVE-2024-35175: an address that the client made up."""
    house = House(reactor, senders=BELIEVED)
    client = house.client("203.0.113.5")
    for start in range(0, len(header), piece):
        if house.journal.events:
            break
        client.say(header[start : start + piece])
    assert client.until_end() == b""
    assert house.journal.events[0]["client"]["addr"] == "203.0.113.5"
    assert "not on the list" in house.journal.events[0]["reason"]


def test_anybody_else_without_a_header_comes_in_as_themselves(reactor: Turned) -> None:
    """Also when their first bytes begin like one."""
    house = House(reactor, senders=BELIEVED)
    client = house.client("203.0.113.5")
    client.say("P")
    client.say("ING\nLOGIN alice pw\n")
    client.until(b"HELLO alice")
    (session,) = house.shared.sessions.values()
    assert session.facts.addr == "203.0.113.5"


def test_limits_by_address_count_the_address_behind_the_proxy(reactor: Turned) -> None:
    """Or a load balancer's clients would share one limit."""
    house = House(reactor, senders=BELIEVED, limits=limits(sessions_per_address=1))
    kept = house.client("192.0.2.9")
    kept.say(HEADER)
    kept.until(b"READY")
    other = house.client("192.0.2.9")
    other.say(HEADER.replace(b"51.100.7", b"51.100.8"))
    other.until(b"READY")
    again = house.client("192.0.2.9")
    again.say(HEADER)
    assert b"sessions_per_address" in again.until_end()


def test_a_header_that_never_comes_is_waited_for_only_so_long(reactor: Turned) -> None:
    """Slow headers are connections without log-in like any other."""
    house = House(reactor, senders=BELIEVED, limits=limits(login_seconds=3))
    client = house.client("192.0.2.9")
    client.say("PROXY ")
    assert house.shared.crowd.pre_login.present == 1
    reactor.pass_time(3.1)
    client.until_end()
    assert house.shared.crowd.pre_login.present == 0


# --- TLS


def test_tls_by_request_then_everything_inside_it(reactor: Turned) -> None:
    """Both legs: what is counted is plaintext, and the facts are on record."""
    certificate, key = pem(TARGET_CERT)
    house = House(
        reactor,
        tls=server_tls(alpn=()),
        target_tls=ClientTLS(name="db.example", ca=CA.cert_pem.bytes()),
    )
    client = house.client()
    client.say("STARTTLS\n")
    client.until(b"GO\n")
    client.heard.clear()
    inside = Secure(client)
    inside.shake()
    inside.until(b"SECURE\n")
    inside.say("LOGIN alice pw\nTARGET\n")
    target = house.reached()
    target.until(b"STARTTLS\n")
    target.heard.clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TARGET_CERT.configure_cert(context)
    server = Server(target, context)
    server.say_plain(b"GO\n")
    server.shake()
    server.until(b"USER upstream_user")
    server.say("OK\n")
    inside.until(b"GO AHEAD")
    client.close()
    target.close()
    end = house.end()
    assert end["event"]["balanced"]
    assert end["client"]["tls"]["version"] == "TLSv1.3"
    start = house.journal.of("session.start")[0]
    assert start["event"]["upstream_tls"]["fingerprint"]
    assert certificate
    assert key


class Server(Secure):
    """The target's end of TLS."""

    def __init__(self, client: Client, context: ssl.SSLContext) -> None:
        self.client = client
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self.heard = b""

    def say_plain(self, data: bytes) -> None:
        self.client.say(data)


def test_a_target_with_the_wrong_certificate_gets_no_password(reactor: Turned) -> None:
    """The cause is in the trail; the client hears that it can't be reached."""
    house = House(reactor, tls=None, target_tls=ClientTLS(name="other.example", ca=CA.cert_pem.bytes()))
    client = house.client()
    client.say("LOGIN alice pw\nTARGET\n")
    target = house.reached()
    target.until(b"STARTTLS\n")
    target.heard.clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TARGET_CERT.configure_cert(context)
    server = Server(target, context)
    server.say_plain(b"GO\n")
    with contextlib.suppress(ssl.SSLError, AssertionError):
        server.shake()
        server.until(b"USER")
    assert b"USER" not in server.heard
    assert b"REFUSED tls: the target app can't be reached" in client.until_end()
    target.close()
    house.end()
    failed = house.journal.of("session.failed")[0]
    assert failed["event"]["stage"] == "tls"
    assert "other.example" in failed["reason"]


def test_plaintext_after_the_request_for_tls_is_refused(reactor: Turned) -> None:
    """CVE-2021-23214: bytes that would be taken as encrypted."""
    house = House(reactor, tls=server_tls(alpn=()))
    client = house.client()
    client.say("STARTTLS\nLOGIN alice pw\n")
    assert b"REFUSED violation" in client.until_end()
    reactor.pass_time(3)
    reactor.turn(3)
    assert house.journal.kinds() == ["session.violation"]


def test_garbage_in_place_of_a_handshake_is_counted_once_an_address(reactor: Turned) -> None:
    """Strangers can't fill the journal with handshakes."""
    house = House(reactor, tls=server_tls(alpn=()))
    for _ in range(3):
        client = house.client()
        client.say("STARTTLS\n")
        client.until(b"GO\n")
        client.say(b"\x00" * 100)
        client.until_end()
    reactor.pass_time(3)
    reactor.turn(5)
    assert [event["event"]["cause"] for event in house.journal.of("login.failed")] == ["tls"]
    assert not house.shared.sessions


def test_direct_tls_with_the_protocols_alpn_name(reactor: Turned) -> None:
    """The first byte tells; a verified client certificate reaches the conversation."""
    house = House(reactor, plugin=LineProtocol(alpn=("lines",)), tls=server_tls(ask=True))
    client = house.client()
    inside = Secure(client, alpn="lines", certificate=ALICE)
    inside.shake()
    inside.until(b"READY\n")
    (session,) = house.shared.sessions.values()
    assert session.facts.tls is not None
    assert session.facts.tls.alpn == "lines"
    talk = session._relay.exchange.conversation  # type: ignore[union-attr]
    assert talk.tls.certificate.sans == ("email:alice@example.org",)  # type: ignore[attr-defined]
    inside.say("LOGIN alice pw\nTARGET\n")
    target = house.reached()
    target.until(b"USER")
    client.close()
    target.close()
    assert house.end()["event"]["balanced"]


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
def test_direct_tls_without_the_alpn_name_is_refused(reactor: Turned, alpn: str | None) -> None:
    """Another protocol's TLS session must not be taken for this one (ALPACA)."""
    house = House(reactor, plugin=LineProtocol(alpn=("lines",)), tls=server_tls())
    client = house.client()
    inside = Secure(client, alpn=alpn)
    with contextlib.suppress(ssl.SSLError, AssertionError):
        inside.shake()
    client.until_end()
    reactor.pass_time(3)
    reactor.turn(3)
    assert not house.shared.sessions
    assert house.shared.crowd.pre_login.present == 0
    assert house.journal.of("login.failed")[0]["event"]["cause"] == "tls"


def test_plaintext_on_a_listener_that_also_takes_direct_tls(reactor: Turned) -> None:
    """The request for TLS comes in plaintext, so the first byte decides and not the configuration."""
    house = House(reactor, plugin=LineProtocol(alpn=("lines",)), tls=server_tls())
    client = house.client()
    client.say("LOGIN alice pw\n")
    client.until(b"HELLO alice")


def test_a_server_name_chooses_the_target_and_must_not_contradict(reactor: Turned) -> None:
    """Two names for two targets: neither wins silently."""
    house = House(
        reactor,
        plugin=LineProtocol(alpn=("lines",)),
        tls=server_tls(),
        targets=("gateway.example", "app"),
    )
    client = house.client()
    inside = Secure(client, alpn="lines")
    inside.shake()
    inside.say("LOGIN alice pw\nTARGET app\n")
    assert b"different targets" in inside.until(b"REFUSED")


def test_a_protocol_whose_server_speaks_first_is_not_waited_for(reactor: Turned) -> None:
    """Waiting for the client's first byte would be waiting for each other."""
    house = House(reactor, plugin=LineProtocol(alpn=("lines",)), tls=server_tls(), senders=BELIEVED)
    house.plugin.speaks_first = True
    stranger = house.client("203.0.113.5")
    stranger.until(b"READY\n")
    believed = house.client("192.0.2.9")
    believed.say(HEADER)
    believed.until(b"READY\n")
    assert {session.facts.addr for session in house.shared.sessions.values()} == {
        "203.0.113.5",
        "198.51.100.7",
    }
