"""TLS: settings, sentences, facts, the channel split anywhere, and both connections that carry it."""

from __future__ import annotations

import datetime
import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport

from hoopproxy.errors import ConfigError
from hoopproxy.gateway import certificates
from hoopproxy.gateway.stock import StockConnection, uniform
from hoopproxy.gateway.tls import ClientTLS, ServerTLS, TLSFacts, TLSFailed
from hoopproxy.gateway.tls_stream import TLSStream

from .turns import HalfSeen, Producer, Seen, Turned, adopt, raw_pair, take, turned

CA = trustme.CA()
STRANGER_CA = trustme.CA()


def chain(leaf: trustme.LeafCert) -> tuple[bytes, bytes]:
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes()


CERTIFICATE, KEY = chain(CA.issue_cert("db.example", "*.shard.example", "127.0.0.1", "::1"))
ALICE, ALICE_KEY = chain(CA.issue_cert("alice@example.org", common_name="alice"))
MALLORY, MALLORY_KEY = chain(STRANGER_CA.issue_cert("mallory@example.org"))
CA_PEM = CA.cert_pem.bytes()


def server(**more: Any) -> ServerTLS:
    return ServerTLS(certificate=CERTIFICATE, key=KEY, **more)


def client(name: str = "db.example", **more: Any) -> ClientTLS:
    return ClientTLS(name=name, **{"ca": CA_PEM, **more})


Ends = tuple[TLSStream, TLSStream]
SERVER, CLIENT = server(), client()


def shake(ours: ServerTLS, theirs: ClientTLS, piece: int = 1 << 20) -> tuple[Ends, dict[str, TLSFacts]]:
    """Both ends in memory, their bytes handed over ``piece`` by ``piece``; raises what either raises."""
    ends = {"server": TLSStream(ours), "client": TLSStream(theirs)}
    facts: dict[str, TLSFacts] = {}
    side = "client"
    wire = {"server": b"", "client": b""}  # to whom
    for _ in range(20_000):
        other = "server" if side == "client" else "client"
        if not ends[side].secure:
            part, wire[side] = wire[side][:piece], wire[side][piece:]
            ends[side].feed(part)
            try:
                found = ends[side].handshake()
            except TLSFailed:
                wire[other] += ends[side].ciphertext()
                ends[other].feed(wire[other])
                raise
            wire[other] += ends[side].ciphertext()
            if found:
                facts[side] = found
        if len(facts) == 2:
            for name, end in ends.items():
                assert end.decrypt(wire[name]) == b""
            return (ends["server"], ends["client"]), facts
        side = other
    raise AssertionError("the handshake never ends")


# Settings


def test_no_key_is_in_a_repr() -> None:
    """A repr ends up in a log sooner or later."""
    shown = repr(server(passphrase=b"open sesame", client_ca=CA_PEM)) + repr(
        client(certificate=ALICE, key=ALICE_KEY)
    )
    assert "PRIVATE" not in shown
    assert "BEGIN" not in shown
    assert "sesame" not in shown
    assert "db.example" in shown


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ServerTLS(certificate=CERTIFICATE, key=ALICE_KEY), "key values mismatch"),
        (lambda: ServerTLS(certificate=b"nothing", key=KEY), "no certificate in PEM"),
        (lambda: ServerTLS(certificate=CERTIFICATE, key=b"nothing"), "can't be used together"),
        (lambda: server(client_ca=b"nothing"), "client_ca holds no certificate"),
        (lambda: server(client_ca=b"\xff\xfe"), "client_ca holds no certificate"),
        (lambda: server(client_required=True), "no client_ca"),
        (lambda: client(ca=b""), "ca holds no certificate"),
        (lambda: client(certificate=ALICE), "together"),
        (lambda: client(certificate=ALICE, key=KEY), "key values mismatch"),
    ],
)
def test_settings_that_cannot_work_are_a_sentence_at_once(build: Callable[[], Any], words: str) -> None:
    """At start or reload, not at the first connection; and without the file's content."""
    with pytest.raises(ConfigError) as caught:
        build()
    assert words in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_an_encrypted_key_is_opened_by_its_passphrase_and_never_asked_for() -> None:
    """OpenSSL would ask at the terminal of a daemon that has none."""
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key(KEY, None).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"open sesame")
    )
    ServerTLS(certificate=CERTIFICATE, key=key, passphrase=b"open sesame")
    for wrong in (b"", b"shut sesame"):
        with pytest.raises(ConfigError, match="can't be used together"):
            ServerTLS(certificate=CERTIFICATE, key=key, passphrase=wrong)


def test_a_reload_is_a_new_value_and_running_sessions_keep_theirs() -> None:
    """SIGHUP changes certificates for new sessions only."""
    first, second = server(), server()
    assert first == second
    assert first.context is not second.context
    (ours, theirs), _ = shake(first, CLIENT)
    del first
    assert theirs.decrypt(ours.encrypt(b"still here")) == b"still here"


def test_versions_before_1_2_are_not_offered() -> None:
    """Both roles."""
    for context in (SERVER.context, CLIENT.context):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
    old = client()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.context.minimum_version = old.context.maximum_version = ssl.TLSVersion.TLSv1_1
    old.context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(TLSFailed) as caught:
        shake(SERVER, old)
    assert caught.value.code == "version"
    assert "1.2" in caught.value.sentence


# Handshakes and facts


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("piece", [1, 1000, 1 << 20])
def test_a_handshake_in_pieces_of_any_size_gives_the_facts(version: ssl.TLSVersion, piece: int) -> None:
    """Segments end where they like, down to one byte."""
    ours = server(alpn=("postgresql",), client_ca=CA_PEM)
    theirs = client(alpn=("postgresql",), certificate=ALICE, key=ALICE_KEY)
    theirs.context.maximum_version = version
    (server_end, client_end), facts = shake(ours, theirs, piece)
    seen = facts["server"]
    assert seen.version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    assert (seen.alpn, seen.sni, seen.truncated) == ("postgresql", "db.example", False)
    assert seen.cipher
    peer = seen.peer
    assert peer is not None
    assert (peer.common_name, peer.verified) == ("alice", True)
    assert peer.names == ("email:alice@example.org",)
    assert "CN=alice" in peer.subject
    assert peer.fingerprint == hashlib.sha256(peer.der).hexdigest()
    assert facts["client"].peer is not None
    assert "DNS:db.example" in facts["client"].peer.names
    assert "IP:::1" in facts["client"].peer.names
    assert client_end.decrypt(server_end.encrypt(b"hello")) == b"hello"
    assert server_end.decrypt(client_end.encrypt(b"and back")) == b"and back"


def test_without_a_client_certificate_there_is_no_peer() -> None:
    """An optional certificate that wasn't sent is no identity."""
    _, facts = shake(server(client_ca=CA_PEM), CLIENT)
    assert facts["server"].peer is None


def failure(ours: ServerTLS, theirs: ClientTLS) -> TLSFailed:
    """What either end says, or the server says once the client's last flight has come (TLS 1.3)."""
    with pytest.raises(TLSFailed) as caught:
        shake(ours, theirs)
    return caught.value


@pytest.mark.parametrize("name", ["db.example", "a.shard.example", "127.0.0.1", "::1"])
def test_a_name_or_address_that_the_certificate_has_is_accepted(name: str) -> None:
    """DNS and IP, by service_identity."""
    shake(SERVER, client(name))


@pytest.mark.parametrize("name", ["other.example", "a.b.shard.example", "127.0.0.2", "::2", "example", "*"])
def test_another_name_is_refused_with_both_names_in_the_sentence(name: str) -> None:
    """An operator must see at once which name to configure."""
    problem = failure(SERVER, client(name))
    assert problem.code == "name"
    assert f"not for {name}" in problem.sentence or "can't be checked" in problem.sentence
    assert "DNS:db.example" in problem.sentence or "can't be checked" in problem.sentence


def test_a_server_of_a_strange_authority_is_refused() -> None:
    """Verification is on unless it is turned off by name."""
    strange_chain, strange_key = chain(STRANGER_CA.issue_cert("db.example"))
    strange = ServerTLS(certificate=strange_chain, key=strange_key)
    problem = failure(strange, CLIENT)
    assert problem.code == "certificate"
    assert "server's certificate was not accepted" in problem.sentence
    _, facts = shake(strange, client(verify=False, ca=None))
    assert facts["client"].peer is not None
    assert facts["client"].peer.verified is False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_of_a_strange_authority_ends_the_handshake(version: ssl.TLSVersion) -> None:
    """Not: goes on without an identity."""
    theirs = client(certificate=MALLORY, key=MALLORY_KEY)
    theirs.context.maximum_version = version
    problem = failure(server(client_ca=CA_PEM), theirs)
    assert problem.code == "certificate"
    assert "client's certificate was not accepted" in problem.sentence


def test_a_required_client_certificate_is_required() -> None:
    """And its absence is said in so many words."""
    problem = failure(server(client_ca=CA_PEM, client_required=True), CLIENT)
    assert problem.sentence == "the client sent no certificate, one is required"


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"SELECT 1; SELECT 1; SELECT 1",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + bytes(64),
    ],
)
def test_plaintext_in_place_of_tls_is_a_sentence(said: bytes) -> None:
    """A client that goes on in plaintext must not be taken for an encrypted one."""
    end = TLSStream(SERVER)
    end.feed(said)
    with pytest.raises(TLSFailed) as caught:
        end.handshake()
    assert caught.value.code in {"plaintext", "protocol"}
    assert "not secure" not in caught.value.sentence
    assert not end.secure


@given(st.binary(min_size=1, max_size=400), st.booleans())
@settings(max_examples=60, deadline=None)
def test_garbage_in_a_handshake_fails_or_waits_and_never_raises_anything_else(
    garbage: bytes, as_server: bool
) -> None:
    """Both roles, from the first byte."""
    end = TLSStream(SERVER if as_server else CLIENT)
    end.feed(garbage)
    with suppress(TLSFailed):
        assert end.handshake() is None
    assert not end.secure
    assert end.failure is None or end.failure.sentence


def test_a_certificate_that_cannot_be_read_is_a_sentence() -> None:
    """Whatever the parser raises on hostile DER."""
    with pytest.raises(ValueError, match="can't be read"):
        certificates.read_certificate(b"\x30\x03\x02\x01\x01", verified=True)
    assert "can't be checked" in (certificates.name_mismatch(b"garbage", "db.example") or "")


def test_a_certificate_with_a_flood_of_names_is_refused() -> None:
    """Its names go into an event."""
    leaf, _ = chain(CA.issue_cert(*[f"n{index}.example" for index in range(certificates.MAX_NAMES + 1)]))
    with pytest.raises(ValueError, match="more than 100"):
        certificates.read_certificate(
            ssl.PEM_cert_to_DER_cert(leaf.decode().split("-----END")[0] + "-----END CERTIFICATE-----"),
            verified=True,
        )


def test_channel_binding_is_the_hash_of_the_servers_certificate_at_both_ends() -> None:
    """RFC 5929: with it a SCRAM log-in can't be relayed through somebody else's TLS."""
    (ours, theirs), facts = shake(SERVER, CLIENT)
    peer = facts["client"].peer
    assert peer is not None
    binding = theirs.channel_binding("tls-server-end-point")
    assert binding == ours.channel_binding("tls-server-end-point") == hashlib.sha256(peer.der).digest()
    assert ours.channel_binding("tls-unique") is None
    assert TLSStream(SERVER).channel_binding("tls-server-end-point") is None


@pytest.mark.parametrize(
    ("algorithm", "digest"), [("SHA256", "sha256"), ("SHA384", "sha384"), ("SHA512", "sha512")]
)
def test_channel_binding_takes_the_hash_of_the_signature(algorithm: str, digest: str) -> None:
    """Another hash than the server's is a log-in that fails."""
    der = self_signed(rsa.generate_private_key(65537, 2048), getattr(hashes, algorithm)())
    assert certificates.server_end_point(der) == hashlib.new(digest, der).digest()


def test_channel_binding_takes_sha_256_in_place_of_sha_1_and_nothing_where_there_is_no_hash() -> None:
    """RFC 5929, section 4.1."""
    modern = self_signed(rsa.generate_private_key(65537, 2048), hashes.SHA256())
    oid = bytes.fromhex("2a864886f70d0101")
    assert modern.count(oid + b"\x0b") == 2
    old = modern.replace(oid + b"\x0b", oid + b"\x05")  # sha1WithRSAEncryption; nobody signs it any more
    assert certificates.server_end_point(old) == hashlib.sha256(old).digest()
    assert certificates.server_end_point(self_signed(ed25519.Ed25519PrivateKey.generate(), None)) is None


def self_signed(key: Any, algorithm: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "db")])
    moment = datetime.datetime(2030, 1, 1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, moment, moment)
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


# The channel


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_channel_cut_anywhere_gives_every_byte_in_order(data: st.DataObject) -> None:
    """Records end where they like, and several or half of one come at once."""
    (ours, theirs), _ = shake(SERVER, CLIENT)
    messages = data.draw(st.lists(st.binary(max_size=40_000), max_size=5))
    wire = b"".join(ours.encrypt(message) for message in messages if message) + ours.close()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=8)))
    got = b""
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        got += theirs.decrypt(wire[start:end])
    assert got == b"".join(messages)
    assert theirs.ended
    assert theirs.failure is None


def test_one_flipped_bit_breaks_the_channel_after_what_came_before_it() -> None:
    """Nothing of the forged record is delivered, everything before it is."""
    (ours, theirs), _ = shake(SERVER, CLIENT)
    good, bad = ours.encrypt(b"good"), bytearray(ours.encrypt(b"bad"))
    bad[-1] ^= 1
    assert theirs.decrypt(good + bytes(bad)) == b"good"
    assert theirs.failure is not None
    assert theirs.failure.code == "protocol"
    assert theirs.ciphertext()  # our alert
    assert theirs.encrypt(b"no more") == b""
    assert theirs.decrypt(ours.encrypt(b"x")) == b""


def test_each_direction_ends_by_itself() -> None:
    """close_notify is the end of one stream, not of both."""
    (ours, theirs), _ = shake(SERVER, CLIENT)
    assert theirs.decrypt(ours.encrypt(b"last") + ours.close()) == b"last"
    assert theirs.ended
    assert ours.encrypt(b"after the end") == b""
    assert ours.close() == b""
    assert ours.decrypt(theirs.encrypt(b"still talking")) == b"still talking"
    assert ours.decrypt(theirs.encrypt(bytes(100_000)) + theirs.close()) == bytes(100_000)
    assert ours.ended


# Over connections


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as made:
        yield made


Outcomes = list[Any]


def eager_ends(reactor: Turned, protocols: tuple[Any, Any] | None = None) -> list[tuple[Any, Any]]:
    ours, theirs = socket.socketpair()
    seen = protocols or (Seen(), Seen())
    return [(adopt(reactor, end, one), one) for end, one in zip((ours, theirs), seen, strict=True)]


def stock_ends(reactor: Turned, protocols: tuple[Any, Any] | None = None) -> list[tuple[Any, Any]]:
    """Two stock connections over transports that are not ours."""
    from twisted.internet import unix
    from twisted.internet.protocol import Factory

    ends = []
    for end, one in zip(socket.socketpair(), protocols or (Seen(), Seen()), strict=True):
        end.setblocking(False)
        wrapper = uniform(one, reactor)
        unix.Server._fromConnectedSocket(end.fileno(), Factory.forProtocol(lambda w=wrapper: w), reactor)
        end.close()
        assert isinstance(one.transport, StockConnection)
        ends.append((one.transport, one))
    return ends


KINDS = {"eager": eager_ends, "stock": stock_ends}
kinds = pytest.mark.parametrize("kind", KINDS)


def secured(
    reactor: Turned, kind: str, protocols: tuple[Any, Any] | None = None, **more: Any
) -> list[tuple[Any, Any]]:
    """Two joined ends after their handshake: server, client."""
    ends = KINDS[kind](reactor, protocols)
    outcomes: Outcomes = []
    ends[0][0].start_tls(more.get("server", SERVER), outcomes.append)
    ends[1][0].start_tls(more.get("client", CLIENT), outcomes.append)
    assert outcomes == []
    reactor.until(lambda: len(outcomes) == 2)
    assert all(isinstance(outcome, TLSFacts) for outcome in outcomes), outcomes
    return ends


@kinds
def test_both_connections_speak_tls_and_count_plaintext(reactor: Turned, kind: str) -> None:
    """The counters are the trail's, so they count what was said, not what it was wrapped in."""
    (server_side, heard), (client_side, answered) = secured(reactor, kind)
    client_side.write(b"question")
    reactor.until(lambda: heard.data == b"question")
    server_side.write(bytes(300_000))
    reactor.until(lambda: len(answered.data) == 300_000)
    assert (client_side.sent, server_side.received) == (8, 8)
    assert (server_side.sent, client_side.received) == (300_000, 300_000)
    assert server_side.tls_facts().sni == "db.example"
    assert server_side.channel_binding() == client_side.channel_binding() is not None
    assert server_side.buffered == 0


@kinds
def test_an_orderly_end_is_not_truncated_and_a_cut_is(reactor: Turned, kind: str) -> None:
    """A stream cut by somebody in between looks like an end, and the trail must tell them apart."""
    (server_side, heard), (client_side, _) = secured(reactor, kind)
    client_side.write(b"bye")
    client_side.loseConnection()
    reactor.until(lambda: heard.lost)
    assert (heard.data, server_side.truncated) == (b"bye", False)
    (server_side, heard), (client_side, _) = secured(reactor, kind)
    below = client_side if kind == "eager" else client_side._below
    below.socket.shutdown(socket.SHUT_RDWR)
    reactor.until(lambda: heard.lost)
    assert server_side.truncated is True
    assert server_side.tls_facts().truncated is True


@kinds
def test_tls_half_close_both_ways(reactor: Turned, kind: str) -> None:
    """The end of one direction leaves the other running, over TLS too."""
    (server_side, heard), (client_side, answered) = secured(reactor, kind, (HalfSeen(), HalfSeen()))
    client_side.write(b"all I have to say")
    client_side.loseWriteConnection()
    client_side.write(b"not this")
    reactor.until(lambda: "read ended" in heard.log)
    assert heard.data == b"all I have to say"
    server_side.write(b"an answer" * 10_000)
    server_side.loseWriteConnection()
    reactor.until(lambda: "read ended" in answered.log)
    assert answered.data == b"an answer" * 10_000
    assert (server_side.truncated, client_side.truncated) == (False, False)


@kinds
def test_what_is_written_during_the_handshake_goes_out_after_it_encrypted(reactor: Turned, kind: str) -> None:
    """Never in plaintext, never before."""
    (server_side, _), (client_side, answered) = KINDS[kind](reactor)
    outcomes: Outcomes = []
    server_side.start_tls(SERVER, outcomes.append)
    server_side.write(b"early")
    assert (server_side.buffered, server_side.sent) == (5, 0)
    client_side.start_tls(CLIENT, outcomes.append)
    reactor.until(lambda: answered.data == b"early")
    assert (server_side.buffered, server_side.sent) == (0, 5)


@kinds
def test_plaintext_buffered_before_tls_goes_out_before_it(reactor: Turned, kind: str) -> None:
    """PostgreSQL's S is the last plaintext byte, even on a full socket."""
    (server_side, _), (client_side, answered) = KINDS[kind](reactor)
    server_side.write(b"p" * 1_000_000 + b"S")
    outcomes: Outcomes = []
    server_side.start_tls(SERVER, outcomes.append)

    def go_on(data: bytes) -> None:
        if data.endswith(b"S"):
            client_side.start_tls(CLIENT, outcomes.append)

    answered.react = go_on
    reactor.until(lambda: len(outcomes) == 2)
    assert len(answered.data) == 1_000_001 == server_side.sent
    server_side.write(b"x" * 1_000_000)
    reactor.until(lambda: len(answered.data) == 2_000_001)
    reactor.turn(2)
    assert server_side.sent == 2_000_001


@kinds
def test_a_failed_handshake_says_so_once_and_closes(reactor: Turned, kind: str) -> None:
    """With the sentence as the reason of the loss, and our alert sent."""
    (server_side, heard), (client_side, answered) = KINDS[kind](reactor)
    outcomes: list[tuple[str, Any]] = []
    server_side.start_tls(SERVER, lambda outcome: outcomes.append(("server", outcome)))
    client_side.start_tls(client("other.example"), lambda outcome: outcomes.append(("client", outcome)))
    reactor.until(lambda: heard.lost and answered.lost)
    said = [outcome for who, outcome in outcomes if who == "client"]
    assert [type(outcome) for outcome in said] == [TLSFailed]
    assert "not for other.example" in said[0].sentence
    assert answered.reason.value is said[0]
    assert (heard.data, answered.data) == (b"", b"")
    assert len(outcomes) == 2
    assert client_side.tls_facts() is None


@kinds
def test_a_peer_that_dies_in_the_handshake_is_a_failure_once(reactor: Turned, kind: str) -> None:
    """After nothing, and after half a hello."""
    for said in (b"", TLSStream(CLIENT).close() + b"\x16\x03\x01\x02"):
        (server_side, heard), (client_side, _) = KINDS[kind](reactor)
        outcomes: Outcomes = []
        server_side.start_tls(SERVER, outcomes.append)
        client_side.write(said)
        reactor.turn(3)
        client_side.abortConnection()
        reactor.until(lambda heard=heard: heard.lost)
        assert [outcome.code for outcome in outcomes] == ["closed"]
        assert "by the peer" in outcomes[0].sentence or "the peer closed" in outcomes[0].sentence


@kinds
def test_a_handshake_has_a_deadline(reactor: Turned, kind: str) -> None:
    """A slow hello costs a place before log-in."""
    (server_side, heard), (client_side, _) = KINDS[kind](reactor)
    outcomes: Outcomes = []
    server_side.start_tls(SERVER, outcomes.append, seconds=5)
    client_side.write(b"\x16\x03\x01")
    reactor.pass_time(4.9)
    assert outcomes == []
    reactor.pass_time(0.2)
    assert [outcome.code for outcome in outcomes] == ["timeout"]
    assert "5 seconds" in outcomes[0].sentence
    reactor.pass_time(3)
    reactor.until(lambda: heard.lost)
    assert len(outcomes) == 1


@kinds
def test_the_deadline_is_gone_when_the_handshake_is_done(reactor: Turned, kind: str) -> None:
    """An idle session has no timer."""
    secured(reactor, kind)
    assert [call for call in reactor.getDelayedCalls() if call.active()] == []


@kinds
def test_plaintext_in_place_of_a_handshake_closes_without_delivering_it(reactor: Turned, kind: str) -> None:
    """CVE-2021-23214 and its kin."""
    (server_side, heard), (client_side, answered) = KINDS[kind](reactor)
    outcomes: Outcomes = []
    server_side.start_tls(SERVER, outcomes.append)
    client_side.write(b"Q\x00\x00\x00\x0dSELECT 1\x00")
    reactor.until(lambda: outcomes)
    assert outcomes[0].code == "plaintext"
    reactor.pass_time(3)
    assert heard.data == b""
    assert (answered.data, server_side.received) == (b"", 0)
    assert heard.lost == "TLSFailed"


@kinds
def test_bytes_read_already_begin_the_handshake_and_stop_counting(reactor: Turned, kind: str) -> None:
    """Direct TLS, told by the first byte of what was received."""
    (server_side, heard), (client_side, _) = KINDS[kind](reactor)
    outcomes: Outcomes = []

    def direct(data: bytes) -> None:
        heard.react = None
        heard.chunks.clear()
        assert data[:1] == b"\x16"
        server_side.start_tls(SERVER, outcomes.append, already=data)
        assert outcomes == []

    heard.react = direct
    client_side.start_tls(CLIENT, outcomes.append)
    reactor.until(lambda: len(outcomes) == 2)
    client_side.write(b"hi")
    reactor.until(lambda: heard.data == b"hi")
    assert server_side.received == 2


@kinds
def test_data_in_the_handshakes_last_segment_waits_for_a_pause_to_end(reactor: Turned, kind: str) -> None:
    """The session pauses in `done` to open its target; nothing is lost and nothing comes early."""
    (server_side, heard), (client_side, _) = KINDS[kind](reactor)
    server_side.start_tls(SERVER, lambda _: server_side.pauseProducing())
    # TLS 1.3: the client may send right behind its Finished, in the same segment.
    client_side.start_tls(CLIENT, lambda _: None)
    client_side.write(b"pipelined")
    reactor.turn(30)
    assert server_side.tls_facts() is not None
    assert heard.data == b""
    server_side.resumeProducing()
    reactor.until(lambda: heard.data == b"pipelined")


@kinds
def test_a_handshake_runs_while_reading_is_paused(reactor: Turned, kind: str) -> None:
    """The pause is for data; a paused handshake would only run into its deadline."""
    (server_side, heard), (client_side, _) = KINDS[kind](reactor)
    server_side.pauseProducing()
    outcomes: Outcomes = []
    server_side.start_tls(SERVER, outcomes.append)
    client_side.start_tls(CLIENT, outcomes.append)
    reactor.until(lambda: len(outcomes) == 2)
    client_side.write(b"data")
    reactor.turn(5)
    assert heard.data == b""
    server_side.resumeProducing()
    reactor.until(lambda: heard.data == b"data")


@kinds
def test_tls_cannot_be_started_twice_or_on_a_closed_connection(reactor: Turned, kind: str) -> None:
    """A second SSLRequest inside TLS is the caller's to refuse; here it is an error."""
    (server_side, _), _ = secured(reactor, kind)
    with pytest.raises(RuntimeError, match="before"):
        server_side.start_tls(SERVER, lambda _: None)
    (other, _), _ = KINDS[kind](reactor)
    other.loseConnection()
    with pytest.raises(RuntimeError, match="closed"):
        other.start_tls(SERVER, lambda _: None)


@kinds
def test_a_forged_record_ends_the_connection_with_the_sentence(reactor: Turned, kind: str) -> None:
    """And is nothing that a protocol ever sees."""
    (_, heard), (client_side, _) = secured(reactor, kind)
    client_side.write(b"good")
    client_side._push(b"\x17\x03\x03\x00\x20" + bytes(32), 0)
    reactor.until(lambda: heard.lost)
    assert (heard.data, heard.lost) == (b"good", "TLSFailed")


@kinds
def test_a_slow_reader_over_tls_pauses_the_producer(reactor: Turned, kind: str) -> None:
    """Back-pressure counts what waits, encrypted or not."""
    (server_side, _), (client_side, answered) = secured(reactor, kind)
    client_side.pauseProducing()
    producer = Producer()
    server_side.registerProducer(producer, True)
    total = 0
    while "pause" not in producer.calls:
        server_side.write(bytes(50_000))
        total += 50_000
        reactor.turn()
        assert total < 20_000_000
    assert server_side.buffered > 0 or kind == "stock"
    client_side.resumeProducing()
    reactor.until(lambda: len(answered.data) == total)
    reactor.turn(3)
    assert producer.calls[-1] == "resume"
    assert server_side.sent == total


def test_a_handshake_byte_by_byte_over_the_eager_transport(reactor: Turned) -> None:
    """Every state of the handshake is a moment in which bytes run out."""
    ours, theirs = raw_pair()
    heard = Seen()
    transport = adopt(reactor, ours, heard)
    outcomes: Outcomes = []
    transport.start_tls(SERVER, outcomes.append)
    far = TLSStream(CLIENT)
    far.handshake()
    out = far.ciphertext()
    while not far.secure or not outcomes or out:
        theirs.send(out[:1])
        out = out[1:]
        reactor.turn()
        back = take(theirs)
        if back:
            for byte in back:
                if not far.secure:
                    far.feed(bytes([byte]))
                    far.handshake()
                    out += far.ciphertext()
    for byte in far.encrypt(b"in pieces") + far.close():
        theirs.send(bytes([byte]))
        reactor.turn()
    assert heard.data == b"in pieces"
    reactor.turn(2)
    assert transport.truncated is False


@pytest.mark.parametrize("moment", ["handshake", "secure"])
def test_over_tls_too_what_was_written_is_sent_or_unsent(reactor: Turned, moment: str) -> None:
    """Plaintext bytes, though ciphertext is what waits; a record that left in part did not leave."""
    if moment == "secure":
        (server_side, heard), (client_side, _) = secured(reactor, "eager")
    else:
        (server_side, heard), (client_side, _) = eager_ends(reactor)
        server_side.start_tls(SERVER, lambda _: None)
    client_side.pauseProducing()
    for _ in range(20):
        server_side.write(bytes(70_000))
    assert server_side.buffered > 0
    client_side.abortConnection()
    reactor.until(lambda: heard.lost)
    server_side.write(b"late")
    assert server_side.sent + server_side.unsent == 20 * 70_000 + 4
    assert (server_side.sent > 0) == (moment == "secure")


def test_a_reset_in_a_secure_session_is_a_truncation(reactor: Turned) -> None:
    """RST, not FIN."""
    (server_side, heard), (client_side, _) = secured(reactor, "eager")
    server_side.write(b"unread")
    client_side.pauseProducing()
    client_side.abortConnection()
    reactor.until(lambda: heard.lost)
    assert server_side.truncated


def test_a_stock_connection_takes_any_transport(reactor: Turned) -> None:
    """Nothing assumes an address, a socket or half-close below."""

    class Bare(StringTransport):
        def abortConnection(self) -> None:
            self.loseConnection()

    below, seen = Bare(), Seen()
    wrapper = uniform(seen, reactor)
    wrapper.makeConnection(below)
    transport: Any = seen.transport
    assert transport.getPeer() == below.getPeer()
    assert transport.peek() is None
    wrapper.dataReceived(b"in")
    transport.writeSequence([b"o", b"ut"])
    assert (seen.data, below.value(), transport.received, transport.sent) == (b"in", b"out", 2, 3)
    producer = Producer()
    transport.registerProducer(producer, True)
    below.producer.pauseProducing()
    transport.write(b"12345")
    assert (producer.calls, transport.buffered) == (["pause"], 5)
    below.producer.resumeProducing()
    assert (producer.calls, transport.buffered) == (["pause", "resume"], 0)
    transport.loseWriteConnection()
    assert below.disconnecting
    wrapper.dataReceived(b"late")
    assert (seen.data, transport.discarded) == (b"in", 4)
