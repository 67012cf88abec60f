"""A throw-away certificate authority for a run (trustme), and what hangs from it."""

from __future__ import annotations

from pathlib import Path

import attrs

from .need import python_module
from .processes import give, plain_user

__all__ = ["Certificates", "Leaf", "issue_all"]

SERVER_NAMES = ("localhost", "127.0.0.1", "::1")


@attrs.frozen(kw_only=True)
class Leaf:
    """A certificate chain and its key, each as a PEM file."""

    certificate: Path
    key: Path


@attrs.frozen(kw_only=True)
class Certificates:
    """What a run trusts and shows."""

    ca: Path
    """The authority that signed all of these."""
    other_ca: Path
    """An authority that signed none of these."""
    server: Leaf
    """For ``localhost``, 127.0.0.1 and ::1; the key is readable for whoever runs the tests."""
    postgres: Leaf
    """The same names; the key belongs to the plain user, as PostgreSQL insists."""
    wrong_name: Leaf
    """Signed by ``ca``, for ``elsewhere.example`` only."""
    alice: Leaf
    """A client certificate, subject common name and SAN ``alice@example``."""
    stranger: Leaf
    """A client certificate for the same name, signed by ``other_ca``."""


def issue_all(folder: Path) -> Certificates:
    """Issue everything into ``folder`` (some 50 ms)."""
    trustme = python_module("trustme")
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.cert_pem.write_to_path(str(folder / "other-ca.pem"))
    for public in ("ca.pem", "other-ca.pem"):
        (folder / public).chmod(0o644)

    def leaf(name: str, issued: object, *, owned: bool = False) -> Leaf:
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))  # type: ignore[attr-defined]
        key.touch(mode=0o600)
        key.write_bytes(issued.private_key_pem.bytes())  # type: ignore[attr-defined]
        chain.chmod(0o644)
        if owned and plain_user() is not None:
            give(key)
        return Leaf(certificate=chain, key=key)

    person = "alice@example"
    return Certificates(
        ca=folder / "ca.pem",
        other_ca=folder / "other-ca.pem",
        server=leaf("server", authority.issue_cert(*SERVER_NAMES)),
        postgres=leaf("postgres", authority.issue_cert(*SERVER_NAMES), owned=True),
        wrong_name=leaf("wrong-name", authority.issue_cert("elsewhere.example")),
        alice=leaf("alice", authority.issue_cert(person, common_name=person)),
        stranger=leaf("stranger", other.issue_cert(person, common_name=person)),
    )
