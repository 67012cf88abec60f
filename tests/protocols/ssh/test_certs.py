"""OpenSSH certificates: read, judged, made; ssh-keygen's view of them is in tests/live."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh.certs import (
    EXTENSIONS,
    FOREVER,
    HOST,
    REMEMBERED,
    USER,
    read_certificate,
    source_problem,
    subject_of,
    trouble,
)
from hoopproxy.protocols.ssh.keys import BadKey, PublicKey
from hoopproxy.protocols.ssh.packets import Reader, string

from .made import KINDS, NOW, blob, certificate, key


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("authority", KINDS)
def test_a_certificate_comes_back_as_it_was_made(kind: str, authority: str) -> None:
    """Every kind of key, signed by every kind of authority."""
    made = certificate(blob(kind), authority=key(authority, 98), critical={"force-command": "uptime"})
    read = read_certificate(made)
    assert read.key.blob == blob(kind) == subject_of(made)
    assert read.authority.blob == blob(authority, 98)
    assert (read.serial, read.key_id, read.principals) == (7, "ann@laptop", ("ann",))
    assert read.option("force-command") == "uptime"
    assert read.option("source-address") is None
    assert tuple(read.extensions) == EXTENSIONS


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_no_byte_of_a_certificate_can_be_changed_or_cut(kind: str) -> None:
    """Everything before the signature is signed, and nothing follows it."""
    made = certificate(blob(kind))
    for at in range(len(made)):
        with pytest.raises(BadKey):
            read_certificate(made[:at])
        wrong = bytearray(made)
        wrong[at] ^= 1
        with pytest.raises(BadKey):
            read_certificate(bytes(wrong))
    with pytest.raises(BadKey):
        read_certificate(made + b"\0")
    with pytest.raises(BadKey):
        read_certificate(blob(kind))


def test_a_certificate_is_good_for_its_principals_in_its_time_only() -> None:
    """Each reason to refuse has its word in the trail."""

    def judged(wanted: str = "ann", now: int = NOW, **fields: object) -> str | None:
        return trouble(read_certificate(certificate(**fields)), USER, (wanted,), now)  # type: ignore[arg-type]

    assert judged() is None
    assert judged("bob") == "principal"
    assert judged("an") == judged("ANN") == judged("*") == "principal"
    assert judged(principals=()) == "principal"
    assert judged(principals=("*",)) == "principal"
    assert judged(now=NOW - 61) == "not yet valid"
    assert judged(now=NOW - 60) is None
    assert judged(now=NOW + 59) is None
    assert judged(now=NOW + 60) == "expired"
    assert judged(before=FOREVER, now=2**40) is None
    assert judged(after=NOW, before=NOW) == "expired"
    assert judged(kind=HOST) == "type"
    assert judged(critical={"something-new": ""}) == "critical option"
    assert judged(critical={"force-command": "x", "source-address": "::1"}) is None


def test_a_source_address_is_one_of_the_networks() -> None:
    """IPv4, IPv6, IPv4 in IPv6's clothes; what is no list of networks allows nobody."""
    fine = [
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.0.0/8,192.0.2.1", "10.9.8.7"),
        ("10.0.0.0/8,192.0.2.1", "192.0.2.1"),
        ("192.0.2.0/24", "::ffff:192.0.2.9"),
        ("2001:db8::/32", "2001:db8::1"),
        ("fe80::/10", "fe80::1%eth0"),
    ]
    wrong = [
        ("10.0.0.0/8", "11.0.0.1"),
        ("::/0", "127.0.0.1"),
        ("0.0.0.0/0", "2001:db8::1"),
        ("", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("10.0.0.0/99,0.0.0.0/0", "127.0.0.1"),
        ("0.0.0.0/0", "unix"),
        ("0.0.0.0/0", ""),
    ]
    assert [source_problem(*each) for each in fine] == [None] * len(fine)
    assert all(source_problem(*each) for each in wrong)


def test_an_option_that_is_no_text_is_malformed() -> None:
    """A length that lies inside an option must not be passed over."""
    read = read_certificate(certificate(critical={"force-command": "uptime"}))
    for value in (b"", b"\0\0\0\7uptime", string("uptime") + b"x", string(b"\xff")):
        read.critical["force-command"] = value  # type: ignore[index]  # the test's own
        with pytest.raises(BadKey):
            read.option("force-command")


def test_options_come_once_and_in_order() -> None:
    """One that is there twice could be read either way."""
    good = certificate(extensions=("a", "b"))
    assert tuple(read_certificate(good).extensions) == ("a", "b")
    twice = certificate(extensions=("a", "a"))
    with pytest.raises(BadKey, match="twice"):
        read_certificate(twice)


@given(st.binary(max_size=400))
def test_garbage_is_no_certificate(data: bytes) -> None:
    """Also behind a certificate's name."""
    for start in (b"", string("ssh-ed25519-cert-v01@openssh.com"), certificate()[:100]):
        with pytest.raises(BadKey):
            read_certificate(start + data)


@given(st.binary(max_size=40), st.integers(0, 300))
def test_lengths_anywhere_in_a_certificate_are_checked(data: bytes, at: int) -> None:
    """Nothing but our own error leaves the reader."""
    made = certificate()
    with pytest.raises(BadKey):
        read_certificate(made[:at] + data + b"\xff" + made[at + len(data) + 1 :] + b"!")
    assert Reader(made).name().endswith("cert-v01@openssh.com")


def test_a_certificate_is_checked_once_and_a_bad_one_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody that has a say in a log-in reads it; but nothing that failed is remembered as anything."""
    read_certificate.cache_clear()
    checked: list[bytes] = []
    check = PublicKey.check

    def counted(self: PublicKey, signature: bytes, data: bytes, *more: Any) -> Any:
        checked.append(data)
        return check(self, signature, data, *more)

    monkeypatch.setattr(PublicKey, "check", counted)
    good = certificate()
    assert read_certificate(good) is read_certificate(bytes(bytearray(good)))
    assert len(checked) == 1
    bad = good[:-1] + bytes((good[-1] ^ 1,))
    for _ in range(2):
        with pytest.raises(BadKey):
            read_certificate(bad)
    assert len(checked) == 3
    for number in range(2 * REMEMBERED):
        read_certificate(certificate(serial=number))
    assert read_certificate.cache_info().currsize == REMEMBERED
