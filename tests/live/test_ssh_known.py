"""What ``hoopproxy ssh`` prints is what OpenSSH needs: a client that trusts those lines and nothing else, an sshd that
trusts that authority and no key; host certificates among them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .processes import free_port
from .ssh_gateway import SSHGateway
from .sshd import Sshd, keygen
from .trail import assert_balanced

NAME = "127.0.0.1"


@attrs.frozen
class House:
    through: SSHGateway
    folder: Path

    def printed(self, *words: str) -> str:
        """``hoopproxy ssh ...``"""
        return str(self.through.gateway.hoopproxy("ssh", *words).stdout)

    def log_in(self, known: str, listener: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        """A client that knows these lines, and asks nobody."""
        ssh = need.command("ssh", name="OpenSSH client", package="openssh-client")
        (self.folder / "known_hosts").write_text(known)
        return subprocess.run(
            [
                *(ssh, "-F", "none", "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}"),
                *("-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes"),
                *("-o", "LogLevel=DEBUG1"),
                *("-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1", *options),
                *("-p", str(self.through.gateway.port(listener)), f"writer@{NAME}", "echo in"),
            ],
            input=b"",
            capture_output=True,
            env=self.through.ssh.environment("writer"),
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def house(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("known")
    keygen(folder, "-q", "-t", "ed25519", "-N", "", "-f", "ca")
    for kind, more in (("ed25519", ()), ("rsa", ("-b", "2048"))):
        keygen(folder, "-q", "-t", kind, *more, "-N", "", "-f", f"host_{kind}")
        keygen(folder, "-q", "-s", "ca", "-h", "-I", "gateway", "-n", NAME, f"host_{kind}.pub")
    authority = Path(folder / "user_ca")
    sshd = Sshd("known", more=[f"TrustedUserCAKeys {folder / 'trusted'}", "AuthorizedKeysFile none"])

    def change(settings: Configuration) -> None:
        (listener,) = settings["listener"]
        keys = [f"file:{folder / 'host_ed25519'}", f"file:{folder / 'host_rsa'}"]
        shown = [str(folder / f"host_{kind}-cert.pub") for kind in ("ed25519", "rsa")]
        certified = {
            "name": "certified",
            "listen": f"tcp:{free_port()}:interface=127.0.0.1",
            "secrets": {"host_keys": keys},
            "options": {"host_certificate": shown},
        }
        settings["listener"].append({**listener, **certified})
        (box,) = settings["target"]
        box["accounts"] = {"ops": {"user": sshd.user}}
        box["secrets"] = {"user_ca": f"file:{authority}"}

    command = [sys.executable, "-m", "hoopproxy.cli", "ssh", "ca", "--make", str(authority)]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    assert made.stdout == (folder / "user_ca.pub").read_text()
    through = SSHGateway.make(certificates, sshd, change=change)
    try:
        house = House(through, folder)
        (folder / "trusted").write_text(house.printed("ca", str(through.gateway.config), "box"))
        yield house
        assert through.gateway.terminate() == 0
        assert_balanced(through.gateway.events("session.end"))
    finally:
        through.gateway.end()
        sshd.end()


def test_a_client_knows_the_gateway_by_its_key(house: House) -> None:
    """The one that was made at the first start; another gateway's line is no use."""
    config = str(house.through.gateway.config)
    known = house.printed("known-line", config, "ssh", "--host", NAME)
    assert known.startswith(f"[{NAME}]:{house.through.gateway.port('ssh')} ssh-ed25519 ")
    done = house.log_in(known, "ssh")
    assert (done.stdout, done.returncode) == (b"in\n", 0), done.stderr
    assert "ID hoopproxy:writer:" in house.through.sshd.process.output
    other = (house.through.sshd.folder / "target_ed25519.pub").read_text()
    assert house.log_in(f"{known.split()[0]} {other}", "ssh").returncode == 255


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "rsa-sha2-512"])
def test_a_client_knows_the_gateway_by_who_signed_its_keys(house: House, algorithm: str) -> None:
    """One line for both keys; a client that knows the key alone is shown that."""
    gateway = house.through.gateway
    known = house.printed("known-line", str(gateway.config), "certified", "--host", NAME)
    port, authority = gateway.port("certified"), (house.folder / "ca.pub").read_text().split()
    assert known == f"@cert-authority [{NAME}]:{port} {' '.join(authority[:2])} hoopproxy certified\n"
    done = house.log_in(known, "certified", "-o", f"HostKeyAlgorithms={algorithm}-cert-v01@openssh.com")
    assert (done.stdout, done.returncode) == (b"in\n", 0), done.stderr
    assert b"Server host certificate" in done.stderr
    kind = "rsa" if algorithm.startswith("rsa") else "ed25519"
    plain = (house.folder / f"host_{kind}.pub").read_text()
    done = house.log_in(f"[{NAME}]:{port} {plain}", "certified", "-o", f"HostKeyAlgorithms={algorithm}")
    assert (done.stdout, done.returncode) == (b"in\n", 0), done.stderr
    stranger = (house.through.sshd.folder / "ca.pub").read_text()
    assert house.log_in(f"@cert-authority [{NAME}]:{port} {stranger}", "certified").returncode == 255


def test_a_renewed_certificate_is_shown_and_an_old_one_is_found_by_the_check(house: House) -> None:
    """By file: no restart. The client is not shown what it would refuse, so it says that it knows no such key."""
    gateway = house.through.gateway
    known = house.printed("known-line", str(gateway.config), "certified", "--host", NAME)
    assert gateway.hoopproxy("check", str(gateway.config)).returncode == 0

    def sign(*options: str) -> None:
        (house.folder / "host_ed25519-cert.pub").unlink()
        keygen(
            house.folder,
            "-q",
            "-s",
            "ca",
            "-h",
            "-I",
            "new",
            "-n",
            NAME,
            "-z",
            "77",
            *options,
            "host_ed25519.pub",
        )

    only = ("-o", "HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com,ssh-ed25519")
    sign()
    done = house.log_in(known, "certified", *only)
    assert (done.stdout, b"serial 77" in done.stderr) == (b"in\n", True), done.stderr
    sign("-V", "20200101:20200102")
    assert house.log_in(known, "certified", *only).returncode == 255
    assert "has expired" in gateway.stderr
    checked = gateway.hoopproxy("check", str(gateway.config), "--json", check=False)
    assert checked.returncode == 1
    (problem,) = json.loads(checked.stdout)["problems"]
    assert "listener[certified].options.host_certificate names" in problem
    assert problem.endswith("which has expired")
    sign()
    assert house.log_in(known, "certified", *only).returncode == 0
