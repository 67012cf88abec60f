"""Host keys and host certificates: what is offered, what is signed, what is believed."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh.keys import Key

from hoopproxy.protocols.ssh.transport import ClientLayer, HostKey, TransportBroken
from hoopproxy.protocols.ssh.transport.hostkey import base_algorithm, check_signature, fingerprint, plain_key

from .house import Pair, host_key
from .test_pair import offering, talk

KINDS = ("ed25519", "nistp256", "nistp384", "nistp521", "rsa")


def certified(kind: str) -> HostKey:
    """The host key of this kind with a certificate."""
    private = host_key(kind).private
    certificate = (
        SSHCertificateBuilder()
        .public_key(private.public_key())
        .serial(7)
        .type(SSHCertificateType.HOST)
        .key_id(b"gateway")
        .valid_principals([b"target.example"])
        .valid_after(int(time.time()) - 60)
        .valid_before(int(time.time()) + 3_600)
        .sign(ed25519.Ed25519PrivateKey.generate())
    )
    return HostKey(private, base64.b64decode(certificate.public_bytes().split()[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_is_served_and_accepted(kind: str) -> None:
    """The client's side hands the whole certificate to who decides; the signature is the key's in it."""
    key = certified(kind)
    seen: list[tuple[str, bytes]] = []
    pair = Pair([key], verify=lambda algorithm, blob: seen.append((algorithm, blob))).start()
    assert seen == [(key.algorithms[0], key.certificate)]
    assert key.algorithms[0].endswith("-cert-v01@openssh.com")
    assert pair.facts["target"].host_key_algorithm == key.algorithms[0]
    assert pair.facts["target"].host_key_fingerprint == fingerprint(key.certificate or b"")
    talk(pair)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_knows_no_certificates_gets_the_key(kind: str) -> None:
    """Most of them do, where no CA is known."""

    class Plain(offering()):  # type: ignore[misc]
        def _offer(self) -> Any:
            whole = super()._offer()
            return evolve(whole, host_keys=tuple(name for name in whole.host_keys if "cert" not in name))

    key = certified(kind)
    pair = Pair([key], client=Plain).start()
    assert pair.facts["target"].host_key_algorithm == base_algorithm(key.algorithms[0])
    assert pair.facts["target"].host_key_fingerprint == key.fingerprint


def test_several_keys_are_offered_in_their_order() -> None:
    """The operator's order is the preference; a client with an old known_hosts still finds its kind."""

    class Old(ClientLayer):
        def _offer(self) -> Any:
            return evolve(super()._offer(), host_keys=("ssh-rsa", "rsa-sha2-256"))

    pair = Pair([host_key(), host_key("rsa")], client=Old).start()
    assert pair.facts["target"].host_key_algorithm == "rsa-sha2-256"
    assert Pair([host_key(), host_key("rsa")]).start().facts["target"].host_key_algorithm == "ssh-ed25519"


def test_the_fingerprint_is_as_ssh_keygen_shows_it() -> None:
    """It is compared by eye, and the private key is in no repr."""
    key = host_key()
    assert key.fingerprint.startswith("SHA256:")
    assert not key.fingerprint.endswith("=")
    assert repr(key) == f"HostKey({key.fingerprint})"


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_is_checked_with_the_algorithm_that_was_agreed_on(kind: str) -> None:
    """RSA signatures of SHA-1, or of another key, are none."""
    key = host_key(kind)
    for algorithm in key.algorithms:
        blob, signature = key.blob(algorithm), key.sign(algorithm, b"data")
        check_signature(algorithm, blob, signature, b"data")
        for wrong in (
            ("ssh-ed25519" if kind != "ed25519" else "rsa-sha2-256", blob, signature, b"data"),
            (algorithm, blob, signature, b"other"),
            (algorithm, blob, signature[:-1], b"data"),
            (algorithm, blob, b"", b"data"),
            (algorithm, b"", signature, b"data"),
            (algorithm, blob[:-4], signature, b"data"),
            (algorithm + "-cert-v01@openssh.com", blob, signature, b"data"),
        ):
            with pytest.raises(TransportBroken, match="its signature is not the host key's"):
                check_signature(*wrong)


def test_sha1_and_small_and_odd_keys_are_refused() -> None:
    """A target's old key is a sentence, not a way in."""
    key = Key(rsa.generate_private_key(65_537, 2_048))
    with pytest.raises(TransportBroken):
        check_signature("rsa-sha2-256", key.blob(), key.sign(b"data", signatureType=b"ssh-rsa"), b"data")
    small = Key(rsa.generate_private_key(65_537, 1_024))
    with pytest.raises(TransportBroken):
        check_signature(
            "rsa-sha2-256", small.blob(), small.sign(b"data", signatureType=b"rsa-sha2-256"), b"data"
        )
    old = Key(dsa.generate_private_key(1_024))
    with pytest.raises(TransportBroken):
        check_signature("ssh-dss", old.blob(), b"\0\0\0\x07ssh-dss" + bytes(40), b"data")
    with pytest.raises(ValueError, match="unknown kind"):
        plain_key(b"\0\0\0\x1cssh-dss-cert-v01@openssh.com" + bytes(40))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 600), st.integers(0, 255), st.binary(max_size=80))
def test_no_key_and_no_signature_raises_anything_else(kind: str, at: int, byte: int, junk: bytes) -> None:
    """A hostile target's blob goes through conch's parser and cryptography's."""
    key = host_key(kind)
    algorithm = key.algorithms[0]
    blob, signature = bytearray(key.blob(algorithm)), key.sign(algorithm, b"data")
    if blob[at % len(blob)] == byte:
        return
    blob[at % len(blob)] = byte
    for tried, signed in ((bytes(blob), signature), (junk, signature), (key.blob(algorithm), junk)):
        with pytest.raises(TransportBroken):
            check_signature(algorithm, tried, signed, b"data")


def test_a_key_of_another_kind_is_no_host_key() -> None:
    """The types are those that can be offered."""
    assert {name for kind in KINDS for name in host_key(kind).algorithms} == {
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-512",
        "rsa-sha2-256",
    }
