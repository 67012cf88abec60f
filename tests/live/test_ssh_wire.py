"""SSH's transport against the programs that people have: OpenSSH on both sides, dropbear, PuTTY, paramiko, asyncssh.

Two layers with nothing between them (``ssh_relay``) let everybody in and go on to an sshd: what is tried here is the
transport alone.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from hoopproxy.protocols.ssh.transport.algorithms import CLIENT_KEX, SERVER_KEX
from hoopproxy.protocols.ssh.transport.ciphers import CIPHERS, MACS

from . import need
from .gateway import clean_environment
from .processes import Spawned, free_port, listening, until, work_folder
from .sshd import Sshd, keygen

SECONDS = 60


class Relay:
    """The two layers, in a process of their own, before an sshd."""

    def __init__(self, house: House, *options: str) -> None:
        self.port = free_port()
        folder = house.folder
        keys = [f"--host-key={folder / name}" for name in ("host_ed25519", "host_rsa")]
        arguments = ["--listen", str(self.port), "--connect", f"127.0.0.1:{house.port}", *keys]
        arguments += ["--user", house.user, "--user-key", str(folder / "user"), *options]
        self.process = Spawned(
            [sys.executable, "-m", "tests.live.ssh_relay", *arguments],
            log=work_folder() / f"ssh-relay-{self.port}.log",
            as_plain_user=False,
            environment=clean_environment() | {"PYTHONPATH": str(need.REPOSITORY)},
        )
        until(
            lambda: listening("127.0.0.1", self.port) or not self.process.running,
            seconds=20,
            what="it listens",
        )
        assert self.process.running, self.process.output

    def secured(self, leg: str) -> list[str]:
        """What was agreed on: key exchange, cipher, MAC, host key algorithm; of the last connection."""
        found = re.findall(rf"^secured {leg} (.*)$", self.process.output, re.MULTILINE)
        assert found, self.process.output
        return str(found[-1]).split()


class House:
    """An sshd, the relay before it, and a known_hosts file."""

    def __init__(self) -> None:
        self.ssh = need.command("ssh", name="OpenSSH client", package="openssh-client")
        self.sshd = Sshd(more=["KexAlgorithms +diffie-hellman-group-exchange-sha256"])
        self.user, self.folder, self.port = self.sshd.user, self.sshd.folder, self.sshd.port
        for kind in ("ed25519", "rsa"):
            keygen(self.folder, "-q", "-t", kind, "-N", "", "-f", f"host_{kind}")
        keygen(self.folder, "-q", "-s", "ca", "-h", "-I", "gateway", "-n", "127.0.0.1", "host_ed25519.pub")
        self.relay = Relay(self, f"--certificate={self.folder / 'host_ed25519-cert.pub'}")
        self.known = self.folder / "known_hosts"
        key = " ".join((self.folder / "host_ed25519.pub").read_text().split()[:2])
        self.known.write_text(f"* {key}\n")

    def run(
        self, command: str, *options: str, stdin: bytes = b"", port: int | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """OpenSSH's client through the relay."""
        arguments = [self.ssh, "-F", "none", "-p", str(port or self.relay.port), "-o", "UpdateHostKeys=no"]
        arguments += ["-o", f"UserKnownHostsFile={self.known}", "-o", "GlobalKnownHostsFile=/dev/null"]
        arguments += [*options, f"{self.user}@127.0.0.1", command]
        return subprocess.run(arguments, input=stdin, capture_output=True, timeout=SECONDS, check=False)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    made = House()
    yield made
    made.relay.process.end()
    made.sshd.end()


def supported(house: House, what: str) -> set[str]:
    done = subprocess.run([house.ssh, "-Q", what], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_openssh_runs_a_command_and_keeps_its_exit_code(house: House) -> None:
    """The simplest thing that anybody does; with a host certificate where the client knows the CA."""
    done = house.run("cat; echo err >&2; exit 3", stdin=b"hello")
    assert (done.returncode, done.stdout) == (3, b"hello"), done.stderr
    assert b"err\n" in done.stderr
    ca = " ".join((house.folder / "ca.pub").read_text().split()[:2])
    authority = house.folder / "authority"
    authority.write_text(f"@cert-authority * {ca}\n")
    done = house.run("true", "-o", f"UserKnownHostsFile={authority}")
    assert done.returncode == 0, done.stderr
    assert house.relay.secured("client")[3] == "ssh-ed25519-cert-v01@openssh.com"
    assert house.relay.secured("target")[3].endswith("-cert-v01@openssh.com")


def test_every_cipher_mac_and_key_exchange_of_openssh(house: House) -> None:
    """Those that both have; the others are refused in the client's own words."""
    for cipher in sorted(CIPHERS):
        assert house.run("true", "-c", cipher).returncode == 0, cipher
        assert house.relay.secured("client")[1] == cipher
    for mac in MACS:
        assert house.run("true", "-c", "aes128-ctr", "-m", mac).returncode == 0, mac
        assert house.relay.secured("client")[2] == mac
    for kex in sorted(set(SERVER_KEX) & supported(house, "kex")):
        assert house.run("true", "-o", f"KexAlgorithms={kex}").returncode == 0, kex
        assert house.relay.secured("client")[0] == kex
    for option, said in (
        ("Ciphers=aes128-cbc", b"no matching cipher found"),
        ("KexAlgorithms=diffie-hellman-group14-sha1", b"no matching key exchange method found"),
    ):
        done = house.run("true", "-o", option)
        assert done.returncode == 255
        assert said in done.stderr


@pytest.mark.parametrize("what", ["kex", "cipher", "mac", "host-algorithm"])
def test_our_client_side_takes_every_algorithm_of_a_real_server(house: House, what: str) -> None:
    """The target's side by itself: each of ours that sshd has."""
    names: dict[str, set[str]] = {
        "kex": set(CLIENT_KEX) & supported(house, "kex"),
        "cipher": set(CIPHERS),
        "mac": set(MACS),
        "host-algorithm": {
            "ssh-ed25519",
            "ecdsa-sha2-nistp256",
            "rsa-sha2-256",
            "rsa-sha2-512",
            "rsa-sha2-512-cert-v01@openssh.com",
        },
    }
    for name in sorted(names[what]):
        options = [f"--{what}={name}"] + (["--cipher=aes256-ctr"] if what == "mac" else [])
        relay = Relay(house, *options)
        done = house.run("echo yes", port=relay.port)
        assert done.stdout == b"yes\n", (name, done.stderr, relay.process.output)
        assert name in relay.secured("target")
        relay.process.end()


@pytest.mark.parametrize("side", ["ours", "the client's"])
def test_rekeying_in_a_long_transfer_both_ways(house: House, side: str) -> None:
    """Keys are replaced dozens of times while data goes both ways: every byte arrives, in order."""
    data = os.urandom(1_000_000) * 24
    relay = Relay(house, "--rekey=500000") if side == "ours" else house.relay
    options = [] if side == "ours" else ["-o", "RekeyLimit=512K"]
    done = house.run("cat", *options, stdin=data, port=relay.port)
    assert done.returncode == 0, done.stderr[-500:]
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    if side == "ours":
        relay.process.end()


def test_over_twisteds_own_transports(house: House) -> None:
    """Another reactor, an endpoint plugin: slower below, the same above."""
    relay, data = Relay(house, "--stock", "--rekey=3000000"), os.urandom(1_000_000) * 16
    done = house.run("cat; exit 5", stdin=data, port=relay.port)
    assert done.returncode == 5, done.stderr[-500:]
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    relay.process.end()


def test_ssh_audit_finds_nothing_red(house: House) -> None:
    """What an auditor's own tool says of the gateway."""
    need.python_module("ssh_audit", name="ssh-audit")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ssh_audit.ssh_audit",
            "--skip-rate-test",
            "-l",
            "fail",
            "-p",
            str(house.relay.port),
            "127.0.0.1",
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "[fail]" not in done.stdout
    assert done.returncode in (0, 2), done.stdout  # 2: warnings, 3: failures
    whole = subprocess.run(
        [
            sys.executable,
            "-m",
            "ssh_audit.ssh_audit",
            "--skip-rate-test",
            "-p",
            str(house.relay.port),
            "127.0.0.1",
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "aes256-gcm@openssh.com" in whole.stdout, "it must have looked at something"


def dropbear(house: House) -> tuple[bytes, int]:
    program = need.command("dbclient", name="dropbear", package="dropbear-bin")
    arguments = [program, "-y", "-y", "-p", str(house.relay.port), f"{house.user}@127.0.0.1", "cat; exit 4"]
    return ran(arguments)


def plink(house: House) -> tuple[bytes, int]:
    program = need.command("plink", name="PuTTY", package="putty-tools")
    key = (house.folder / "host_ed25519.pub").read_text().split()[1]
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode().rstrip("=")
    arguments = [program, "-batch", "-P", str(house.relay.port), "-hostkey", f"SHA256:{digest}"]
    return ran([*arguments, f"{house.user}@127.0.0.1", "cat; exit 4"])


def ran(arguments: list[str]) -> tuple[bytes, int]:
    done = subprocess.run(
        arguments, input=b"data" * 100_000, capture_output=True, timeout=SECONDS, check=False
    )
    return done.stdout, done.returncode


PARAMIKO = """
import sys, paramiko
transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
transport.connect()
transport.auth_none(sys.argv[2])
channel = transport.open_session()
channel.exec_command("cat; exit 4")
channel.sendall(b"data" * 100_000)
channel.shutdown_write()
sys.stdout.buffer.write(channel.makefile("rb").read())
sys.stdout.flush()
status = channel.recv_exit_status()
transport.close()
sys.exit(status)
"""
ASYNCSSH = """
import asyncio, sys, asyncssh
async def main():
    options = dict(username=sys.argv[2], known_hosts=None, client_keys=None, config=None)
    async with asyncssh.connect("127.0.0.1", int(sys.argv[1]), **options) as connection:
        done = await connection.run("cat; exit 4", input=b"data" * 100_000, encoding=None)
        sys.stdout.buffer.write(done.stdout)
        return done.exit_status
sys.exit(asyncio.run(main()))
"""


def paramiko(house: House) -> tuple[bytes, int]:
    need.python_module("paramiko")
    return ran([sys.executable, "-c", PARAMIKO, str(house.relay.port), house.user])


def asyncssh(house: House) -> tuple[bytes, int]:
    need.python_module("asyncssh")
    return ran([sys.executable, "-c", ASYNCSSH, str(house.relay.port), house.user])


@pytest.mark.parametrize("client", [dropbear, plink, paramiko, asyncssh])
def test_other_clients_work_unmodified(house: House, client: Callable[[House], tuple[bytes, int]]) -> None:
    """Each has its own idea of the order of things; one that is shut out is somebody's only tool."""
    assert client(house) == (b"data" * 100_000, 4), house.relay.process.output[-500:]


def test_nothing_was_reported_broken(house: House) -> None:
    """The relay says why a connection ended: only because somebody closed it."""
    ends = set(re.findall(r"^lost \w+ (.*)$", house.relay.process.output, re.MULTILINE))
    assert all("cleanly" in end or "no common" in end or "non-clean" in end for end in ends), ends
