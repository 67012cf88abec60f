"""What an authority says of somebody's certificate holds through the whole gateway: where from, what, and no longer."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .processes import until
from .ssh_gateway import SSHGateway
from .sshd import Sshd, keygen
from .trail import assert_balanced, assert_whole

pytestmark = pytest.mark.live


class House:
    """A gateway that knows people by the certificates of one authority, and has a revocation list."""

    def __init__(self, certificates: Certificates, sshd: Sshd, keys: Path) -> None:
        self.keys, self.list = keys, keys / "revoked"
        keygen(keys, "-q", "-t", "ed25519", "-N", "", "-f", "ca")
        keygen(keys, "-q", "-k", "-f", "revoked")

        def change(settings: Configuration) -> None:
            users = Path(settings["gateway"]["state"]).parent / "users"
            settings["checker"] = [
                {"type": "ssh-ca", "ca": keys / "ca.pub", "users": users, "revoked": self.list}
            ]
            (role, _) = settings["role"]
            role["options"] = {"ssh": {"forwards": ["*:*"]}}

        self.through = SSHGateway.make(certificates, sshd, change=change)

    def signed(self, *options: str, principals: str = "writer") -> Path:
        """A new key with a certificate."""
        key = self.keys / f"key-{time.monotonic_ns()}"
        keygen(self.keys, "-q", "-t", "ed25519", "-N", "", "-f", key.name)
        keygen(self.keys, "-q", "-s", "ca", "-I", key.name, "-n", principals, *options, f"{key.name}.pub")
        return key

    def client(
        self, key: Path, *command: str, user: str = "writer", more: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        program = need.command("ssh", name="OpenSSH client", package="openssh-client")
        known = self.through.ssh.folder / "known_hosts"
        return subprocess.run(
            [
                *(program, "-F", "none", "-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
                *("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=accept-new"),
                *("-o", "PreferredAuthentications=publickey", *more, "-p", str(self.through.ssh.port)),
                *("-l", user, "127.0.0.1", *command),
            ],
            input="",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    server = Sshd("restricted")
    yield server
    server.end()


def _running(certificates: Certificates, sshd: Sshd, folder: Path) -> Iterator[House]:
    made = House(certificates, sshd, folder)
    yield made
    status = made.through.gateway.terminate()
    made.through.gateway.end()
    assert status == 0
    assert_whole(made.through.gateway.events())
    assert_balanced(made.through.gateway.events())


@pytest.fixture(scope="module")
def house(
    certificates: Certificates, sshd: Sshd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    yield from _running(certificates, sshd, tmp_path_factory.mktemp("authority"))


@pytest.fixture
def fresh(certificates: Certificates, sshd: Sshd, tmp_path: Path) -> Iterator[House]:
    """One that has turned nobody down yet: of one address the first failure is an event, the others are counted."""
    yield from _running(certificates, sshd, tmp_path)


@pytest.mark.parametrize(
    ("networks", "fine"),
    [
        ("127.0.0.0/8", True),
        ("192.0.2.0/24,127.0.0.1/32", True),
        ("192.0.2.0/24,2001:db8::/32", False),
    ],
)
def test_a_source_address_is_where_the_client_is(house: House, networks: str, fine: bool) -> None:
    """Any of them will do, and none that isn't there."""
    done = house.client(house.signed("-O", f"source-address={networks}"), "echo in")
    assert (done.stdout, done.returncode) == (("in\n", 0) if fine else ("", 255)), done.stderr
    if not fine:
        (failed,) = house.through.gateway.wait_for_events("login.failed")
        assert (failed["event"]["cause"], failed["event"]["name"]) == ("address", "writer")


def test_a_certificates_force_command_is_the_only_one(house: House) -> None:
    """Not another, not a shell, not a file transfer, not a connection."""
    key = house.signed("-O", "force-command=echo forced")
    done = house.client(key, "echo forced")
    assert (done.stdout, done.returncode) == ("forced\n", 0), done.stderr
    for command, more in (
        (("uptime",), ()),
        (("echo forced; id",), ()),
        ((), ()),
        (("sftp",), ("-s",)),
    ):
        done = house.client(key, *command, more=more)
        assert (done.stdout, done.returncode != 0) == ("", True), (command, done.stderr)


def test_what_a_certificate_does_not_permit_is_not_had(house: House) -> None:
    """``clear`` takes terminals and forwards away; commands stay."""
    key = house.signed("-O", "clear")
    assert house.client(key, "echo in").stdout == "in\n"
    refused = house.client(key, "-tt", "tty", more=())
    assert "/dev/" not in refused.stdout
    direct = house.client(key, more=("-W", f"127.0.0.1:{house.through.sshd.port}"))
    assert (direct.stdout, direct.returncode) == ("", 255)
    free = house.client(house.signed(), more=("-W", f"127.0.0.1:{house.through.sshd.port}"))
    assert free.stdout.startswith("SSH-2.0-"), free.stderr


def test_a_certificate_is_good_until_the_list_has_it(fresh: House) -> None:
    """A list that is replaced counts for the next log-in, without a restart; a broken one revokes nobody anew and
    lets nobody back in. Who tried is on record, though a client that is told of the offered key proves nothing."""
    house = fresh
    key, other = house.signed("-z", "4711"), house.signed("-z", "4712")
    for each in (key, other):
        assert house.client(each, "echo in").stdout == "in\n"
    specification, new = house.keys / "spec", house.keys / "revoked.new"
    specification.write_text("serial: 4711\n")
    shutil.copy(house.list, new)
    keygen(house.keys, "-q", "-k", "-u", "-f", new.name, "-s", "ca.pub", specification.name)
    os.replace(new, house.list)

    def gone() -> bool:
        return house.client(key, "echo in").returncode == 255

    until(gone, seconds=20, what="the certificate is revoked", step=0.5)
    (failed,) = house.through.gateway.wait_for_events("login.failed")
    told = failed["event"]
    assert (told["cause"], told["name"], told["method"]) == ("revoked", "writer", "publickey")
    assert told["certificate"]["serial"] == "4711"
    assert told["key"].startswith("SHA256:")
    assert house.client(other, "echo in").stdout == "in\n"
    house.list.write_bytes(house.list.read_bytes()[:-3])
    time.sleep(1.5)
    assert gone()


def test_a_certificate_ends_the_session_when_it_ends(house: House) -> None:
    """A log-in is no longer good than what proved it."""
    key = house.signed("-V", f"-1m:{time.strftime('%Y%m%d%H%M%S', time.localtime(time.time() + 8))}")
    began = time.monotonic()
    done = house.client(key, "echo in; sleep 120")
    assert time.monotonic() - began < 60
    assert (done.stdout, done.returncode) == ("in\n", 255)
    assert "the identity has expired" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "writer=box=box",
        "=box",
        "writer+ops+ops",
        "writer+root",
        "writer=elsewhere",
        "reader",
        "reader+writer",
        "Writer",
        "writer ",
        "writer\u200b",
        "writer\nreader",
        "writer@box",
        "wr\u0456ter",  # Cyrillic
    ],
)
def test_a_name_is_the_one_that_was_proven(house: House, name: str) -> None:
    """A certificate of ``writer``'s, and names that are nearly that: nobody but ``writer`` comes in, with no account
    and no target but what the role gives."""
    key = house.signed()
    done = house.client(key, "echo in", user=name)
    assert (done.stdout, done.returncode) == ("", 255), done.stderr
    assert house.client(key, "echo in").stdout == "in\n", "it was the name"
