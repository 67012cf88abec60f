"""What the gateway proves itself with inside another session: a certificate for the host that was asked for."""

from __future__ import annotations

import base64
import time

import attrs
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hoopproxy.errors import ConfigError
from hoopproxy.events import Identity
from hoopproxy.protocols.ssh.keyring import CERTIFIED_SECONDS, keys_of, made
from hoopproxy.testing import FakeSession
from hoopproxy.wire.inside import Outer


def private() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def session() -> FakeSession:
    return FakeSession(secrets={"host_keys": (private(), private()), "host_ca": (private(),)})


def test_a_session_of_its_own_shows_the_listeners_keys() -> None:
    """A host CA changes nothing for who comes directly."""
    assert [each.certificate for each in keys_of(session())] == [None, None]


def test_inside_it_shows_a_certificate_for_the_host_that_was_asked_for() -> None:
    """For that name alone, signed by the host CA, and not for long: it would pass for that host anywhere."""
    around = session()
    who = Identity(id="alice", issuer="test", method="password")
    outer = Outer(session="outside", identity=who, host="web1.example", port=22)
    (key,) = keys_of(attrs.evolve(around, outer=outer, built=None))
    text = b"ssh-ed25519-cert-v01@openssh.com " + base64.b64encode(key.certificate or b"")
    found = serialization.load_ssh_public_identity(text)
    assert isinstance(found, serialization.SSHCertificate)
    found.verify_cert_signature()
    authority = serialization.load_ssh_private_key(around.secrets["host_ca"][0], None)
    assert found.signature_key() == authority.public_key()
    assert found.public_key() == key.private.public_key()
    assert found.type is serialization.SSHCertificateType.HOST
    assert found.valid_principals == [b"web1.example"]
    assert abs(found.valid_before - time.time() - CERTIFIED_SECONDS) < 60
    assert found.key_id == f"hoopproxy session {around.id}".encode()


def test_a_host_ca_that_is_no_key_is_found_at_the_start(tmp_path: object) -> None:
    """Not by the first who jumps."""
    with pytest.raises(ConfigError, match="can't be read"):
        made(tmp_path, {"host_keys": (private(),), "host_ca": (b"no key",)})  # type: ignore[arg-type]
