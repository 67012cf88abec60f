"""Host certificates that an authority made for the gateway: shown while they are good, found wanting by the check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hoopproxy.protocols.ssh import hostcerts
from hoopproxy.protocols.ssh.certs import HOST, USER
from hoopproxy.protocols.ssh.hostcerts import certificate_problems, certified, option_problems
from hoopproxy.protocols.ssh.keyring import present
from hoopproxy.protocols.ssh.plugin import SSHProtocol
from hoopproxy.protocols.ssh.transport import HostKey

from .made import NOW, blob, certificate, key, line

KEYS = (HostKey(key("ed25519")), HostKey(key("rsa")))


def written(tmp_path: Path, name: str, data: bytes | None = None, **more: Any) -> str:
    """A ``-cert.pub`` file for one of ours, or this blob."""
    path = tmp_path / f"{name}-cert.pub"
    fields = {"kind": HOST, "principals": ("gateway.example",), **more}
    path.write_text(line(data if data is not None else certificate(**fields)) + " comment\n")
    return str(path)


def shown(options: dict[str, object], now: float = NOW) -> list[bool]:
    return [each.certificate is not None for each in certified(KEYS, options, now)]


def test_each_key_shows_its_own_certificate(tmp_path: Path) -> None:
    """And the plain key beside it, for who knows that."""
    one, two = written(tmp_path, "one"), written(tmp_path, "two", subject=blob("rsa"))
    assert shown({}) == [False, False]
    assert shown({"host_certificate": one}) == [True, False]
    assert shown({"host_certificate": [two, one]}) == [True, True]
    (first, _) = certified(KEYS, {"host_certificate": one}, NOW)
    assert first.algorithms == ("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519")
    assert first.blob("ssh-ed25519") == blob()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"subject": blob("ed25519", 1)}, "none of host_keys"),
        ({"after": NOW + 1}, "not valid yet"),
        ({"before": NOW}, "has expired"),
    ],
)
def test_one_that_is_no_good_is_not_shown_and_the_check_says_why(
    tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    """A client would refuse it; the key alone may still be known to it."""
    path = written(tmp_path, "one", **fields)
    options: dict[str, object] = {"host_certificate": path}
    assert option_problems(options) == []
    (problem,) = certificate_problems(options, KEYS, NOW)
    assert problem.startswith(f"host_certificate names {path}, which")
    assert words in problem
    assert shown(options) == [False, False]


def test_a_renewed_one_is_shown_to_the_next_client_and_a_broken_one_to_nobody(tmp_path: Path) -> None:
    """Without a restart: they live for weeks."""
    path = written(tmp_path, "one", before=NOW)
    options: dict[str, object] = {"host_certificate": path}
    assert shown(options) == [False, False]
    written(tmp_path, "one", before=NOW + 3600)
    assert shown(options) == [True, False]
    Path(path).write_text("ssh-ed25519-cert-v01@openssh.com AAAA\n")
    assert shown(options) == [False, False]
    os.unlink(path)
    assert shown(options) == [False, False]


def test_what_is_no_host_certificate_is_no_configuration(tmp_path: Path) -> None:
    """A user's certificate, a key, nothing, a relative path, a number."""
    for value, words in (
        (written(tmp_path, "user", kind=USER), "no certificate of a host"),
        (written(tmp_path, "key", blob()), "host_certificate can't be used"),
        (str(tmp_path / "gone"), "can't be read"),
        ("one-cert.pub", "an absolute path"),
        ([], "an absolute path"),
        (7, "an absolute path"),
    ):
        (problem,) = option_problems({"host_certificate": value})
        assert words in problem
        assert SSHProtocol().problems({"host_certificate": value}, None) == [problem]
        assert certificate_problems({"host_certificate": value}, KEYS, NOW) == []


def test_the_key_that_was_made_at_the_first_start_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names no host_keys can have a certificate, too: of the key in the state directory, once it is there."""
    monkeypatch.setattr("time.time", lambda: float(NOW))
    options: dict[str, object] = {"host_certificate": written(tmp_path, "one")}
    (problem,) = SSHProtocol().listener_problems(options, {}, tmp_path / "ssh")
    assert "none of host_keys" in problem
    (tmp_path / "ssh").mkdir()
    private = key("ed25519").private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (tmp_path / "ssh" / "host_ed25519_key").write_bytes(private)
    assert SSHProtocol().listener_problems(options, {}, tmp_path / "ssh") == []
    assert len(present(tmp_path / "ssh", {})) == 1
    assert SSHProtocol().listener_problems(options, {"host_keys": (private,)}, tmp_path / "gone") == []


def test_the_log_says_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with each connection."""
    said: list[str] = []
    monkeypatch.setattr(hostcerts._log, "error", lambda text, **fields: said.append(fields["sentence"]))
    options: dict[str, object] = {"host_certificate": written(tmp_path, "old", before=NOW)}
    for _ in range(3):
        shown(options)
    (sentence,) = said
    assert sentence.endswith("has expired")
