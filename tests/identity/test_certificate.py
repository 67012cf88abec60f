"""Client certificates: the identity is in them, or nobody comes in."""

from __future__ import annotations

import datetime
import hashlib
from functools import cache
from pathlib import Path

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from hoopproxy.config import load
from hoopproxy.errors import ConfigError, LoginFailed
from hoopproxy.identity.certificate import CertificateChecker, names_of, read_certificate
from hoopproxy.identity.plugins import CertificateCheckerPlugin, FileCheckerPlugin
from hoopproxy.identity.users import User
from hoopproxy.interfaces import ICheckerPlugin
from hoopproxy.wire.login import Admitted, Certificate

from .doubles import SECRET, file_portal, outcome, password_user, portal, users_file

EXPIRES = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
BEGINS = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@cache
def der(cns: tuple[str, ...] = ("alice",), *sans: x509.GeneralName) -> bytes:
    """A self-signed certificate: who signed it was TLS's question."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn) for cn in cns])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(BEGINS)
        .not_valid_after(EXPIRES)
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


MANY = (
    x509.RFC822Name("alice@example.org"),
    x509.RFC822Name("al@example.org"),
    x509.DNSName("alice.example.org"),
    x509.UniformResourceIdentifier("spiffe://x/alice"),
)


def test_a_certificate_is_read_for_the_trail() -> None:
    """Subject and names as text, the fingerprint as everybody computes it."""
    data = der(("alice",), *MANY)
    assert read_certificate(data, "alice") == Certificate(
        user="alice",
        der=data,
        subject="CN=alice",
        sans=(
            "email:alice@example.org",
            "email:al@example.org",
            "dns:alice.example.org",
            "uri:spiffe://x/alice",
        ),
        fingerprint=hashlib.sha256(data).hexdigest(),
    )
    with pytest.raises(LoginFailed):
        read_certificate(b"\x30\x03\x02\x01\x01")


@pytest.mark.parametrize(
    ("where", "user"),
    [
        ("cn", "alice"),
        ("san:email", "al@example.org"),
        ("san:dns", "alice.example.org"),
        ("san:uri", "spiffe://x/alice"),
    ],
)
def test_the_identity_is_where_the_rule_says(where: str, user: str) -> None:
    """And only there: the same name elsewhere in the certificate is nobody."""
    found = portal(CertificateChecker(where, ("staff",)))
    data = der(("alice",), *MANY)
    answer = outcome(found.attempt(), read_certificate(data, user))
    assert isinstance(answer, Admitted)
    identity = answer.identity
    assert (identity.id, identity.groups, identity.method) == (user, ("staff",), "certificate")
    assert identity.expires == int(EXPIRES.timestamp())
    for other in {"alice", "al@example.org", "alice.example.org", "spiffe://x/alice", "root", ""} - {user}:
        assert outcome(found.attempt(), read_certificate(data, other)) == "mismatch"


@pytest.mark.parametrize("cns", [("alice", "root"), (), ("CN=alice",), ("alice,CN=root",), ("Alice",)])
def test_ambiguous_or_look_alike_subjects_are_nobody(cns: tuple[str, ...]) -> None:
    """A rendered subject can hold what looks like another name; the decision reads the certificate."""
    found = portal(CertificateChecker("cn"))
    for user in ("alice", "root"):
        assert outcome(found.attempt(), read_certificate(der(cns), user)) == "mismatch"


def test_what_the_value_claims_is_not_believed() -> None:
    """Subject and sans are for the trail; only ``der`` decides."""
    lying = attrs.evolve(read_certificate(der(("bob",)), "alice"), subject="CN=alice", sans=("email:alice",))
    assert outcome(portal(CertificateChecker("cn")).attempt(), lying) == "mismatch"
    broken = attrs.evolve(lying, der=b"junk")
    assert outcome(portal(CertificateChecker("cn")).attempt(), broken) == "malformed"
    assert names_of(der(("bob",)), "san:email") == ()


def test_a_users_file_can_be_required_and_gives_groups(tmp_path: Path) -> None:
    """The authority says who it is; the file says that they are still one of us."""
    file = users_file(tmp_path, password_user("alice", b"x", groups=("dba",)))
    found = portal(CertificateChecker("cn", ("staff",), file))
    answer = outcome(found.attempt(), read_certificate(der(), "alice"))
    assert isinstance(answer, Admitted)
    assert answer.identity.groups == ("dba", "staff")
    assert outcome(found.attempt(), read_certificate(der(("bob",)), "bob")) == "unknown"


def test_the_users_file_lists_certificates_by_name_or_fingerprint(tmp_path: Path) -> None:
    """Explicit lines, without a rule for all."""
    data = der(("machine 1",), *MANY)
    print_of = hashlib.sha256(data).hexdigest()
    rules = ("cn:machine 1", "san:email:al@example.org", "san:uri:spiffe://x/alice", f"sha256:{print_of}")
    for number, rule in enumerate(rules):
        user = User(name=f"u{number}", groups=("robots",), certificates=("cn:other", rule))
        found = file_portal(tmp_path, user, User(name="v", certificates=("cn:x",)), User(name="w"))
        answer = outcome(found.attempt(), read_certificate(data, user.name))
        assert isinstance(answer, Admitted)
        assert (answer.identity.groups, answer.identity.expires) == (("robots",), int(EXPIRES.timestamp()))
        assert outcome(found.attempt(), read_certificate(data, "v")) == "mismatch"
        assert outcome(found.attempt(), read_certificate(data, "w")) == "unknown"


# -- the plugins ---------------------------------------------------------------------------------


def test_the_plugins_make_working_checkers(tmp_path: Path) -> None:
    """As the configuration would."""
    users_file(tmp_path, password_user("alice", b"x", groups=("dba",)))
    options = {"map": "cn", "groups": ("staff",), "path": "users", "issuer": "pki"}
    plugin = CertificateCheckerPlugin()
    assert ICheckerPlugin.providedBy(plugin)
    assert plugin.problems(options, tmp_path) == []
    answer = outcome(
        portal(plugin.make(options, tmp_path, SECRET)).attempt(), read_certificate(der(), "alice")
    )
    assert isinstance(answer, Admitted)
    assert (answer.identity.issuer, answer.identity.groups) == ("pki", ("dba", "staff"))
    assert FileCheckerPlugin().problems({"path": "users"}, tmp_path) == []
    FileCheckerPlugin().make({"path": "users"}, tmp_path, SECRET)


def test_wrong_options_are_sentences_that_begin_with_the_key(tmp_path: Path) -> None:
    """The configuration puts file and table before them."""
    (tmp_path / "users").touch(mode=0o600)
    (tmp_path / "users").write_text("alice oops\n")
    for plugin, options, keys in (
        (FileCheckerPlugin(), {}, ["path"]),
        (FileCheckerPlugin(), {"path": 1, "colour": 2, "issuer": 3}, ["colour", "issuer", "path"]),
        (FileCheckerPlugin(), {"path": "gone"}, ["path"]),
        (FileCheckerPlugin(), {"path": "users"}, ["path"]),
        (CertificateCheckerPlugin(), {}, ["map"]),
        (CertificateCheckerPlugin(), {"map": "dn", "groups": "staff", "x": 1}, ["x", "map", "groups"]),
        (CertificateCheckerPlugin(), {"map": 1, "path": "gone"}, ["map", "path"]),
    ):
        assert [sentence.split(" ")[0] for sentence in plugin.problems(options, tmp_path)] == keys


def test_a_users_file_problem_shows_in_the_configuration(tmp_path: Path) -> None:
    """``check`` finds what would keep the gateway from starting."""
    (tmp_path / "gateway.toml").write_text(
        '[[listener]]\nname="a"\nprotocol="x"\nlisten="tcp:0"\ntargets=["t"]\n'
        '[[target]]\nname="t"\nprotocol="x"\nconnect="unix:/x"\n[[checker]]\ntype="file"\npath="users"\n'
    )
    with pytest.raises(ConfigError) as failure:
        load(tmp_path / "gateway.toml", checkers={"file": FileCheckerPlugin()})
    assert failure.value.problems == (
        f"{tmp_path}/gateway.toml: checker[file].path can't be used: {tmp_path}/users: can't be read: "
        "No such file or directory",
    )
