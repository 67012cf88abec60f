"""What of TLS is wrong before anybody is asked, in sentences; the rest is a live test's."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError
from hoopproxy.sinks.syslog_options import TLSOptions
from hoopproxy.sinks.syslog_tls import client_tls, explained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in ("one", "two"):
        issued = authority.issue_cert(f"{name}.example")
        (tmp_path / f"{name}.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        (tmp_path / f"{name}.key").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "nonsense.pem").write_bytes(b"no certificate")
    return tmp_path


def options(folder: Path, *, ca: str = "ca.pem", certificate: str = "one.pem") -> TLSOptions:
    return TLSOptions(ca=folder / ca, certificate=folder / certificate, key="file:one.key")


def test_a_pair_and_authorities_make_a_context(folder: Path) -> None:
    assert client_tls(options(folder), "logs.example", (folder / "one.key").read_bytes()) is not None
    assert client_tls(TLSOptions(), "logs.example", None) is not None


@pytest.mark.parametrize(
    ("ca", "certificate", "key", "said"),
    [
        ("none.pem", "one.pem", "one.key", "none.pem: No such file"),
        ("nonsense.pem", "one.pem", "one.key", "nonsense.pem: holds no certificate"),
        ("ca.pem", "nonsense.pem", "one.key", "nonsense.pem: holds no certificate"),
        ("ca.pem", "one.pem", "nonsense.pem", "file:one.key: is no private key"),
        ("ca.pem", "one.pem", "two.key", "is not the certificate of the key file:one.key"),
    ],
)
def test_what_can_not_be_used_is_named(folder: Path, ca: str, certificate: str, key: str, said: str) -> None:
    """And nothing of what is in it."""
    secret = (folder / key).read_bytes()
    with pytest.raises(HoopproxyError, match=said) as told:
        client_tls(options(folder, ca=ca, certificate=certificate), "logs.example", secret)
    assert "BEGIN" not in str(told.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(), "the connection was refused"),
        (ConnectionLost(), "the connection was lost"),
        (HoopproxyError("ours"), "ours"),
        (
            SSL.Error([("SSL routines", "", "certificate verify failed")]),
            "TLS failed: certificate verify failed",
        ),
        (SSL.Error(), "TLS failed: no reason given"),
        (OSError(113, "No route to host"), "No route to host"),
        (KeyError("x"), "KeyError"),
    ],
)
def test_why_there_is_no_connection_is_a_phrase(error: Exception, said: str) -> None:
    assert explained(Failure(error)) == said
