"""SSH keys and signatures."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh.keys import (
    BadKey,
    PublicKey,
    blob_of,
    read_private,
    read_public,
    read_public_text,
    sign,
)
from hoopproxy.protocols.ssh.packets import mpint, string

from .made import ALGORITHMS, KINDS, blob, key, line


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_key_signs_is_its_own_and_nobody_elses(kind: str) -> None:
    """A signature that another key, another text or another algorithm made is no proof."""
    public = read_public(blob(kind))
    for algorithm in ALGORITHMS[kind]:
        signature = sign(key(kind), algorithm, b"text")
        assert public.check(signature, b"text") is not None
        assert public.check(signature, b"text", (algorithm,)) is not None
        assert public.check(signature, b"texts") is None
        assert read_public(blob(kind, 1)).check(signature, b"text") is None
        assert (
            public.check(signature, b"text", tuple(ALGORITHMS["rsa"][1:])) is None
            or algorithm == "rsa-sha2-256"
        )
        assert public.check(signature + b"\0", b"text") is None
        assert public.check(signature[:-1], b"text") is None
        assert public.check(b"", b"text") is None


def test_a_signature_by_sha1_proves_nothing() -> None:
    """ssh-rsa signatures can be forged by whoever can make two texts of one SHA-1."""
    value = key("rsa").sign(b"text", padding.PKCS1v15(), hashes.SHA1())  # that is the point
    assert read_public(blob("rsa")).check(string("ssh-rsa") + string(value), b"text") is None


@pytest.mark.parametrize("kind", KINDS)
def test_one_key_has_one_blob(kind: str) -> None:
    """What could be written in another way would have two fingerprints, and pass a revocation."""
    good = blob(kind)
    assert read_public(good).blob == good
    for size in range(len(good)):
        with pytest.raises(BadKey):
            read_public(good[:size])
    with pytest.raises(BadKey):
        read_public(good + b"\0")
    for at in range(4, len(good)):
        wrong = bytearray(good)
        wrong[at] ^= 0xFF
        with contextlib.suppress(BadKey):
            assert read_public(bytes(wrong)).fingerprint != read_public(good).fingerprint


def test_integers_with_a_zero_too_many_or_a_sign_are_no_key() -> None:
    """The blob is what is compared with a list of revoked keys."""
    numbers = key("rsa").public_key().public_numbers()
    n = mpint(numbers.n)
    for fields in (
        string(b"\0\1\0\1") + n,
        mpint(numbers.e) + string(b"\0" + n[4:]),
        string(b"") + n,
        string(b"\x81\0\1") + n,
    ):
        with pytest.raises(BadKey):
            read_public(string("ssh-rsa") + fields)


def test_short_and_endless_rsa_keys_are_refused() -> None:
    """1024 bits are broken; a million bits are work for us."""
    for bits in (1024,):
        with pytest.raises(BadKey, match="1024 bits"):
            read_public(blob_of(rsa.generate_private_key(65537, bits)))
    with pytest.raises(BadKey):
        read_public(string("ssh-rsa") + mpint(65537) + mpint((1 << 20_000) + 1))
    with pytest.raises(BadKey):
        read_public(string("ssh-dss") + mpint(5) * 4)


def security_key(flags: int, data: bytes, application: bytes = b"ssh:") -> tuple[PublicKey, bytes]:
    """What a security key of the kind ecdsa makes of a touch: PROTOCOL.u2f."""
    private = key("nistp256", 5)
    point = blob("nistp256", 5)[len(string("ecdsa-sha2-nistp256") + string("nistp256")) :]
    name = "sk-ecdsa-sha2-nistp256@openssh.com"
    public = read_public(string(name) + string("nistp256") + point + string(application))
    rest = bytes((flags,)) + b"\0\0\0\1"
    message = hashlib.sha256(application).digest() + rest + hashlib.sha256(data).digest()
    r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
    return public, string(name) + string(mpint(r) + mpint(s)) + rest


def test_a_security_key_says_whether_somebody_touched_it() -> None:
    """A stolen machine with the key in it must not be enough."""
    for flags, present, verified in ((0, False, False), (1, True, False), (5, True, True)):
        public, signature = security_key(flags, b"text")
        proof = public.check(signature, b"text")
        assert proof is not None
        assert (proof.present, proof.verified) == (present, verified)
        assert public.check(signature, b"other") is None
    public, signature = security_key(0, b"text")
    assert public.check(signature[:-5] + b"\1" + signature[-4:], b"text") is None  # the flags are signed


def test_a_security_key_of_the_kind_ed25519_proves_itself() -> None:
    """The other kind of security key has the same envelope."""
    name, application = "sk-ssh-ed25519@openssh.com", b"ssh:work"
    raw = key("ed25519", 6).public_key().public_bytes_raw()
    public = read_public(string(name) + string(raw) + string(application))
    rest = b"\1\0\0\0\2"
    message = hashlib.sha256(application).digest() + rest + hashlib.sha256(b"text").digest()
    signature = string(name) + string(key("ed25519", 6).sign(message)) + rest
    assert public.check(signature, b"text") is not None
    with pytest.raises(BadKey, match="application"):
        read_public(string(name) + string(raw) + string(b"https://example.org"))


@pytest.mark.parametrize("kind", KINDS)
def test_private_keys_are_read_from_both_formats(kind: str) -> None:
    """Operators have OpenSSH's files and PEM's."""
    for form in (PrivateFormat.OpenSSH, PrivateFormat.PKCS8):
        data = key(kind).private_bytes(Encoding.PEM, form, NoEncryption())
        assert blob_of(read_private(data)) == blob(kind)


def test_a_locked_or_broken_private_key_is_a_sentence_without_the_key() -> None:
    """The sentence goes to the log."""
    locked = key().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"secret"))
    with pytest.raises(BadKey, match="passphrase"):
        read_private(locked)
    with pytest.raises(BadKey, match="no private key") as caught:
        read_private(b"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n")
    assert "c2VjcmV0" not in str(caught.value)


def test_a_line_says_the_kind_that_the_key_has() -> None:
    """Two names for one key are a way around a list."""
    assert read_public_text(line(blob()) + " ann@laptop") == blob()
    for text in (
        "",
        "ssh-ed25519",
        "ssh-rsa " + line(blob()).split()[1],
        "ssh-ed25519 %%%",
        "ssh-ed25519 AAAA",
    ):
        with pytest.raises(BadKey):
            read_public_text(text)


@given(st.binary(max_size=300))
def test_garbage_is_no_key_and_no_signature(data: bytes) -> None:
    """Whatever a stranger sends, it is refused by a sentence."""
    with pytest.raises(BadKey):
        read_public(data)
    assert read_public(blob()).check(data, b"text") is None


@pytest.mark.parametrize(
    ("exponent", "taken"), [(3, True), (65_537, True), (65_539, False), (2**64 - 1, False)]
)
def test_an_rsa_exponent_is_one_that_keys_have(exponent: int, taken: bool) -> None:
    """A stranger's own key with a larger one makes each check of a signature five times as dear."""
    data = string("ssh-rsa") + mpint(exponent) + mpint((1 << 2047) | 1)
    if taken:
        assert read_public(data).kind == "ssh-rsa"
    else:
        with pytest.raises(BadKey, match="exponent"):
            read_public(data)
