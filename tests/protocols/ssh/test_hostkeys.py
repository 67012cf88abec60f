"""Whether a target is the one that is meant."""

from __future__ import annotations

import base64
import contextlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh.certs import HOST, USER
from hoopproxy.protocols.ssh.hostkeys import (
    Untrusted,
    algorithms,
    parse_known_hosts,
    problems,
    trust_of,
    verifier,
)
from hoopproxy.protocols.ssh.keys import BadKey, fingerprint
from hoopproxy.protocols.ssh.patterns import address_allowed, address_problem, matches

from .made import KINDS, NOW, blob, certificate, key, line

ED = "ssh-ed25519"
CERT = "ssh-ed25519-cert-v01@openssh.com"


def trusted(options: dict[str, object], algorithm: str = ED, data: bytes | None = None) -> bool:
    """Whether a host key is taken."""
    try:
        verifier("web1", options, lambda: float(NOW))(algorithm, blob() if data is None else data)
    except Untrusted:
        return False
    return True


def hosts(tmp_path: Path, *lines: str, name: str = "web1.example") -> dict[str, object]:
    """Options with a known_hosts file of these lines."""
    path = tmp_path / "known_hosts"
    path.write_text("\n".join(lines) + "\n")
    return {"known_hosts": str(path), "host_name": name}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pinned_key_or_fingerprint_is_trusted_and_no_other(kind: str) -> None:
    """Nothing is trusted at first sight."""
    algorithm = {"rsa": "rsa-sha2-512", "ed25519": ED}.get(kind, f"ecdsa-sha2-{kind}")
    for pin in (line(blob(kind)), line(blob(kind)) + " comment", fingerprint(blob(kind))):
        assert trusted({"host_keys": [pin]}, algorithm, blob(kind))
        assert not trusted({"host_keys": [pin]}, algorithm, blob(kind, 1))
    assert not trusted({}, algorithm, blob(kind))
    assert not trusted({"host_keys": [line(blob(kind))]}, "ssh-dss", blob(kind))


def test_names_of_known_hosts_are_patterns_hashes_and_ports(tmp_path: Path) -> None:
    """sshd(8): commas, stars, negation, [host]:port, hashed names."""
    mine = line(blob())
    salt = b"s" * 20
    digest = hmac.digest(salt, b"web1.example", "sha1")
    hashed = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
    for names in ("web1.example", "WEB1.example", "other,web1.example", "*.example", "web?.example", hashed):
        assert trusted(hosts(tmp_path, f"{names} {mine} comment"))
    for names in ("web1", "web1.example.org", "[web1.example]:22", "*.example,!web1.*", "!other", "other"):
        assert not trusted(hosts(tmp_path, f"{names} {mine}"))
    port = hosts(tmp_path, f"[web1.example]:2222 {mine}", name="[web1.example]:2222")
    assert trusted(port)
    assert not trusted(hosts(tmp_path, f"web1.example {mine}", name="[web1.example]:2222"))


def test_a_revoked_key_is_not_trusted_whatever_vouches_for_it(tmp_path: Path) -> None:
    """Also as the authority of a certificate, and by a line for all hosts."""
    mine, authority = line(blob()), line(blob("ed25519", 99))
    assert not trusted(hosts(tmp_path, f"web1.example {mine}", f"@revoked * {mine}"))
    made = certificate(kind=HOST, principals=("web1.example",))
    vouched = f"@cert-authority *.example {authority}"
    assert trusted(hosts(tmp_path, vouched), CERT, made)
    assert not trusted(hosts(tmp_path, vouched, f"@revoked * {mine}"), CERT, made)
    assert not trusted(hosts(tmp_path, vouched, f"@revoked * {authority}"), CERT, made)


def test_a_host_certificate_names_the_host_in_its_time(tmp_path: Path) -> None:
    """Another host's, a user's, an old one, one of a stranger: none is this host's."""
    options: dict[str, object] = {"host_ca": [line(blob("ed25519", 99))], "host_name": "[web1.example]:2222"}

    def cert(**fields: object) -> bytes:
        return certificate(**{"kind": HOST, "principals": ("web1.example",), **fields})  # type: ignore[arg-type]

    assert trusted(options, CERT, cert())
    assert trusted(options, CERT, cert(principals=("*.example",)))
    for wrong in (
        cert(principals=("web2.example",)),
        cert(principals=()),
        cert(kind=USER),
        cert(before=NOW),
        cert(after=NOW + 1),
        cert(critical={"force-command": "x"}),
        cert(authority=key("ed25519", 98)),
    ):
        assert not trusted(options, CERT, wrong)
    assert not trusted(options), "the plain key of it is nobody's"
    path = tmp_path / "ca.pub"
    path.write_text(line(blob("ed25519", 99)) + "\n")
    assert trusted({**options, "host_ca": str(path)}, CERT, cert())


def test_a_pinned_key_in_a_strangers_certificate_is_still_pinned() -> None:
    """A server that has begun to show certificates is the same server."""
    made = certificate(kind=HOST, authority=key("ed25519", 98))
    assert trusted({"host_keys": [line(blob())]}, CERT, made)
    assert not trusted({"host_keys": [line(blob("ed25519", 1))]}, CERT, made)


def test_a_file_that_is_gone_or_broken_trusts_nobody(tmp_path: Path) -> None:
    """The rest of it could be the line that revokes."""
    options = hosts(tmp_path, f"web1.example {line(blob())}")
    assert trusted(options)
    (tmp_path / "known_hosts").write_text(f"web1.example {line(blob())}\n@revoked * nonsense\n")
    assert not trusted(options)
    (tmp_path / "known_hosts").unlink()
    assert not trusted(options)


def test_a_changed_file_counts_at_once(tmp_path: Path) -> None:
    """Each connection reads it as it is."""
    options = hosts(tmp_path, f"web1.example {line(blob())}")
    assert trusted(options)
    hosts(tmp_path, f"web1.example {line(blob('ed25519', 1))}")
    assert not trusted(options)


def test_no_setting_is_refused_with_the_way_to_one(tmp_path: Path) -> None:
    """``hoopproxy check`` says how to get the key, not only that it is missing."""
    (missing,) = problems({})
    assert "ssh-keyscan" in missing
    assert problems({"host_keys": [line(blob())]}) == []
    assert problems(hosts(tmp_path, f"web1.example {line(blob())}")) == []
    for wrong in (
        {"host_keys": []},
        {"host_keys": ["nonsense"]},
        {"host_keys": ["SHA256:short"]},
        {"host_keys": [7]},
        {"host_ca": [line(blob())]},
        {"known_hosts": "relative", "host_name": "x"},
        {"known_hosts": str(tmp_path / "none"), "host_name": "x"},
        hosts(tmp_path, f"web2.example {line(blob())}"),
        {"host_keys": [line(blob())], "host_name": 7},
    ):
        assert problems(wrong), wrong


def test_the_algorithms_of_known_keys_are_asked_for_first() -> None:
    """A server with several keys is to show the one that is known."""
    names = ("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", "rsa-sha2-512")
    assert trust_of({"host_keys": [line(blob("rsa"))]}).ordered(names)[0] == "rsa-sha2-512"
    with_ca = trust_of({"host_ca": [line(blob("ed25519", 99))], "host_name": "x"})
    assert with_ca.ordered(names)[0] == "ssh-ed25519-cert-v01@openssh.com"
    assert algorithms({"host_keys": [line(blob("nistp384"))]})[0] == "ecdsa-sha2-nistp384"
    assert set(algorithms({"host_keys": ["nonsense"]})) == set(algorithms({"host_keys": [line(blob())]}))


@given(st.text(max_size=100))
def test_garbage_is_no_known_hosts_file(text: str) -> None:
    """It is an error, or vouches for nobody."""
    with contextlib.suppress(BadKey):
        assert not list(parse_known_hosts(text).of("web1"))


def test_patterns_end_and_match_what_they_say() -> None:
    """A pattern of stars must not cost a minute."""
    assert matches("a.b.c", "a*c")
    assert matches("", "*")
    assert not matches("ab", "a")
    assert not matches("ab", "?")
    assert not matches("a" * 5_000, "*a" * 30 + "b")


def test_addresses_are_networks_addresses_and_patterns() -> None:
    """``from=`` of a key: what can't be honoured is said, not passed over."""
    fine = "10.0.0.0/8,192.0.2.*,!10.6.6.6,2001:db8::/32,::1"
    assert address_problem(fine) is None
    allowed = ("10.1.2.3", "192.0.2.7", "2001:db8::9", "::1", "::ffff:10.1.2.3")
    assert all(address_allowed(fine, each) for each in allowed)
    assert not any(
        address_allowed(fine, each) for each in ("10.6.6.6", "11.0.0.1", "", "unix", "2001:db9::1")
    )
    for wrong in ("", "laptop.example.org", "10.0.0.1/8", "10.0.0.0/99", "1.2.3.4,,5.6.7.8"):
        assert address_problem(wrong)
