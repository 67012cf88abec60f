"""TLS: settings, sentences, facts, the channel split anywhere, and both connections that carry it."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from collections.abc import Callable
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

from hoopproxy.errors import ConfigError
from hoopproxy.gateway import certificates
from hoopproxy.gateway.tls import ClientTLS, ServerTLS, TLSFacts, TLSFailed
from hoopproxy.gateway.tls_stream import TLSStream

from .tls_ends import CA, CA_PEM, CERTIFICATE, CLIENT, KEY, SERVER, chain, client, server

STRANGER_CA = trustme.CA()

ALICE, ALICE_KEY = chain(CA.issue_cert("alice@example.org", common_name="alice"))

MALLORY, MALLORY_KEY = chain(STRANGER_CA.issue_cert("mallory@example.org"))

Ends = tuple[TLSStream, TLSStream]


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
