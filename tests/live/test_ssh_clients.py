"""Other people's SSH programs through the whole gateway: dropbear, PuTTY, paramiko, asyncssh, curl, rclone, ansible.
Each moves bytes both ways, keeps exit codes, and is on record like OpenSSH."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .people import PEOPLE
from .processes import until, work_folder
from .ssh_gateway import SSHGateway, over
from .sshd import Sshd, keygen

SECONDS = 60
FED = b"data" * 100_000
ASKED = "cat; echo err >&2; exit 4"
"""What every client runs."""


class House:
    """A gateway before an sshd that is two targets, ``box`` and ``other``."""

    def __init__(self, through: SSHGateway, folder: Path) -> None:
        self.through, self.folder = through, folder
        self.key = folder / "me"
        self.password = PEOPLE["writer"].password
        self.port = through.ssh.port
        self.content = random.Random(5).randbytes(1_500_000)
        self.file = folder / "file"
        self.file.write_bytes(self.content)

    @property
    def host_key(self) -> str:
        """The gateway's own, as a fingerprint."""
        program = need.command("ssh-keyscan", name="OpenSSH client", package="openssh-client")
        said = subprocess.run(
            [program, "-t", "ed25519", "-p", str(self.port), "127.0.0.1"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        ).stdout
        digest = hashlib.sha256(base64.b64decode(said.split()[2])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def place(self, name: str) -> Path:
        """A path at the target that no other test has, in a folder where its account may write."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=work_folder()))
        folder.chmod(0o777)
        return folder / "file"

    def run(
        self, arguments: list[str], stdin: bytes = b"", **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        """A client program, in a home of its own."""
        return subprocess.run(
            arguments,
            input=stdin,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder), **more},
        )

    def asked(self, text: str) -> dict[str, Any]:
        """The last command of this text, its request and its end."""
        events = self.through.gateway.events()
        asked = [
            each
            for each in events
            if each["kind"] == "command.requested" and each["event"].get("text") == text
        ]
        (ended,) = [
            each
            for each in self.through.gateway.wait_for_events("command.completed", op=asked[-1]["op"])
            if each["jseq"] > asked[-1]["jseq"]
        ]
        assert asked[-1]["identity"]["id"] == "writer"
        return {"asked": asked[-1], "ended": ended, **ended["event"]["detail"]}

    def transfers(self, place: Path) -> list[dict[str, Any]]:
        """What is on record of a file, in order."""
        return [
            each["event"]
            for each in self.through.gateway.events("transfer.completed")
            if each["event"]["path"] == str(place)
        ]

    def same_both_ways(self, place: Path, back: Path) -> None:
        """The file was written and read back, byte for byte, and the trail has both digests."""
        assert place.read_bytes() == self.content
        assert back.read_bytes() == self.content
        digest = hashlib.sha256(self.content).hexdigest()
        # A client may be gone before what it did is in the journal's files.
        until(lambda: len(self.transfers(place)) == 2, seconds=10, what=f"{place} is on record twice")
        told = self.transfers(place)
        assert [each.get("sha256_written") for each in told] == [digest, None]
        assert [each.get("sha256_read") for each in told] == [None, digest]


@pytest.fixture(scope="module")
def house(
    sshd: Sshd, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("clients")
    keygen(folder, "-q", "-t", "ed25519", "-N", "", "-f", "me")

    def change(settings: Configuration) -> None:
        state = Path(settings["gateway"]["state"]).parent
        (state / "keys").write_text(f"writer {(folder / 'me.pub').read_text().strip()}\n")
        settings["checker"].insert(0, {"type": "ssh-keys", "path": state / "keys", "users": state / "users"})
        (box,) = settings["target"]
        settings["target"] = [box, {**box, "name": "other"}]
        for each in (*settings["listener"], *settings["role"]):
            each["targets"] = ["box", "other"]

    through = SSHGateway.make(certificates, sshd, change=change)
    try:
        yield House(through, folder)
        over(through)
    finally:
        through.gateway.end()


# --- one command by each ---------------------------------------------------------------------------------


def dbclient(house: House) -> list[str]:
    program = need.command("dbclient", name="dropbear", package="dropbear-bin")
    return [program, "-y", "-y", "-p", str(house.port), "writer=box@127.0.0.1", ASKED]


def dbclient_with_key(house: House) -> list[str]:
    program, *rest = dbclient(house)
    convert = need.command("dropbearconvert", name="dropbear", package="dropbear-bin")
    key = house.folder / "dropbear_me"
    subprocess.run(
        [convert, "openssh", "dropbear", str(house.key), str(key)], check=True, capture_output=True
    )
    return [program, "-i", str(key), *rest]


def putty(house: House, program: str) -> list[str]:
    """One of PuTTY's, with a password from a file."""
    tool = need.command(program, name="PuTTY", package="putty-tools")
    secret = house.folder / "putty_password"
    secret.write_text(house.password + "\n")
    known = ["-batch", "-P", str(house.port), "-hostkey", house.host_key]
    return [tool, *known, "-pwfile", str(secret)]


def plink(house: House) -> list[str]:
    return [*putty(house, "plink"), "writer=box@127.0.0.1", ASKED]


def plink_with_key(house: House) -> list[str]:
    tool = need.command("puttygen", name="PuTTY", package="putty-tools")
    key = house.folder / "me.ppk"
    done = house.run([tool, str(house.key), "-O", "private", "-o", str(key)])
    assert done.returncode == 0, done.stderr
    program, *rest = plink(house)
    at = rest.index("-pwfile")
    return [program, *rest[:at], "-i", str(key), *rest[at + 2 :]]


PARAMIKO = """
import sys, paramiko
transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
transport.connect()
how, secret = sys.argv[2], sys.argv[3]
if how == "key":
    transport.auth_publickey("writer=box", paramiko.Ed25519Key.from_private_key_file(secret))
elif how == "keyboard":
    transport.auth_interactive("writer=box", lambda title, instruction, prompts: [secret for _ in prompts])
else:
    transport.auth_password("writer=box", secret)
channel = transport.open_session()
channel.exec_command(sys.argv[4])
channel.sendall(sys.stdin.buffer.read())
channel.shutdown_write()
sys.stdout.buffer.write(channel.makefile("rb").read())
sys.stderr.buffer.write(channel.makefile_stderr("rb").read())
sys.stdout.flush()
status = channel.recv_exit_status()
transport.close()
sys.exit(status)
"""
ASYNCSSH = """
import asyncio, sys, asyncssh
async def main():
    how, secret = sys.argv[2], sys.argv[3]
    options = {"client_keys": [secret]} if how == "key" else {"client_keys": None, "password": secret}
    options |= {"username": "writer=box", "known_hosts": None, "config": None, "agent_path": None}
    async with asyncssh.connect("127.0.0.1", int(sys.argv[1]), **options) as connection:
        done = await connection.run(sys.argv[4], input=sys.stdin.buffer.read(), encoding=None)
        sys.stdout.buffer.write(done.stdout)
        sys.stderr.buffer.write(done.stderr)
        if done.exit_signal:
            print("signal", done.exit_signal[0])
        return done.exit_status
sys.exit(asyncio.run(main()))
"""


def python(house: House, module: str, script: str, how: str, text: str = ASKED) -> list[str]:
    need.python_module(module)
    secret = str(house.key) if how == "key" else house.password
    return [sys.executable, "-c", script, str(house.port), how, secret, text]


CLIENTS: dict[str, Callable[[House], list[str]]] = {
    "dbclient, password": dbclient,
    "dbclient, key": dbclient_with_key,
    "plink, password": plink,
    "plink, key": plink_with_key,
    "paramiko, password": lambda house: python(house, "paramiko", PARAMIKO, "password"),
    "paramiko, keyboard": lambda house: python(house, "paramiko", PARAMIKO, "keyboard"),
    "paramiko, key": lambda house: python(house, "paramiko", PARAMIKO, "key"),
    "asyncssh, password": lambda house: python(house, "asyncssh", ASYNCSSH, "password"),
    "asyncssh, key": lambda house: python(house, "asyncssh", ASYNCSSH, "key"),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_command_by_each_client(house: House, name: str) -> None:
    """Log-in, both streams and the end of input, exit code; and the trail has them."""
    arguments = CLIENTS[name](house)
    done = house.run(arguments, FED, DROPBEAR_PASSWORD=house.password)
    assert (done.stdout == FED, done.returncode) == (True, 4), done.stderr
    assert done.stderr.splitlines()[-1] == b"err"
    told = house.asked(ASKED)
    assert (told["stdin"], told["stdout"], told["stderr"], told["exit_status"]) == (len(FED), len(FED), 4, 4)
    (login,) = house.through.gateway.events("login.succeeded", session=told["asked"]["session"])
    assert login["event"]["method"] == ("publickey" if name.endswith("key") else "password")


def test_a_signal_is_told_as_one(house: House) -> None:
    """``exit-signal``: which client shows it as what it is."""
    text = "kill -TERM $$"
    done = house.run(python(house, "asyncssh", ASYNCSSH, "key", text))
    assert done.stdout == b"signal TERM\n", done.stderr
    assert house.asked(text)["exit_signal"] == "TERM"


# --- files -----------------------------------------------------------------------------------------------


def test_puttys_file_programs(house: House) -> None:
    """``pscp`` by SFTP and by scp's old protocol, ``psftp`` by a batch."""
    for options in (["-sftp"], ["-scp"]):
        place, back = house.place("pscp"), house.folder / f"back{options[0]}"
        pscp = [*putty(house, "pscp"), "-q", *options]
        for source, sink in (
            (str(house.file), f"writer=box@127.0.0.1:{place}"),
            (f"writer=box@127.0.0.1:{place}", str(back)),
        ):
            done = house.run([*pscp, source, sink])
            assert done.returncode == 0, done.stderr
        house.same_both_ways(place, back) if options == ["-sftp"] else None
        assert back.read_bytes() == house.content
    place, back = house.place("psftp"), house.folder / "back-psftp"
    batch = house.folder / "batch"
    batch.write_text(f"put {house.file} {place}\nget {place} {back}\nquit\n")
    done = house.run([*putty(house, "psftp"), "-b", str(batch), "writer=box@127.0.0.1"])
    assert done.returncode == 0, done.stdout + done.stderr
    house.same_both_ways(place, back)


SFTP_OF_ASYNCSSH = """
import asyncio, sys, asyncssh
async def main():
    port, key, file, place, back = sys.argv[1:]
    options = {"client_keys": [key], "username": "writer=box", "known_hosts": None, "config": None, "agent_path": None}
    async with asyncssh.connect("127.0.0.1", int(port), **options) as connection:
        async with connection.start_sftp_client() as sftp:
            await sftp.put(file, place)
            await sftp.get(place, back)
asyncio.run(main())
"""


def test_files_by_asyncssh(house: House) -> None:
    """Its requests overtake one another."""
    need.python_module("asyncssh")
    place, back = house.place("asyncssh"), house.folder / "back-asyncssh"
    arguments = [str(house.port), str(house.key), str(house.file), str(place), str(back)]
    done = house.run([sys.executable, "-c", SFTP_OF_ASYNCSSH, *arguments])
    assert done.returncode == 0, done.stderr
    house.same_both_ways(place, back)


def test_files_by_curl(house: House) -> None:
    """libssh2: SFTP and scp's old protocol, by password and by key, whole and from the middle."""
    program = need.command("curl", name="curl", package="curl")
    base = [program, "-sS", "--insecure", "--user"]
    by_password = [*base, f"writer=box:{house.password}"]
    by_key = [*base, "writer=box:", "--key", str(house.key), "--pubkey", f"{house.key}.pub"]
    for scheme, login in (("sftp", by_password), ("sftp", by_key), ("scp", by_key)):
        place, back = house.place("curl"), house.folder / "back-curl"
        url = f"{scheme}://127.0.0.1:{house.port}{place}"
        for arguments in (["-T", str(house.file), url], ["-o", str(back), url]):
            done = house.run([*login, *arguments])
            assert done.returncode == 0, done.stderr
        if scheme == "sftp":
            house.same_both_ways(place, back)
        assert place.read_bytes() == back.read_bytes() == house.content
    rest = house.run([*by_key, "-C", "1000000", f"sftp://127.0.0.1:{house.port}{place}"])
    assert rest.stdout == house.content[1_000_000:], rest.stderr


def test_files_by_rclone(house: House) -> None:
    """Go's x/crypto/ssh and pkg/sftp; the latter sends more in a WRITE than its data, and means nothing by it."""
    program = need.command("rclone", name="rclone", package="rclone")
    where = ["--sftp-host", "127.0.0.1", "--sftp-port", str(house.port), "--sftp-user", "writer=box"]
    rclone = [program, "--config", "/dev/null", "--retries", "1", *where, "--sftp-key-file", str(house.key)]
    place, back = house.place("rclone"), house.folder / "back-rclone"
    for source, sink in ((str(house.file), f":sftp:{place}"), (f":sftp:{place}", str(back))):
        done = house.run([*rclone, "copyto", source, sink])
        assert done.returncode == 0, done.stderr
    house.same_both_ways(place, back)


def openssh(house: House) -> list[str]:
    """OpenSSH by the key, knowing nobody."""
    known = house.folder / "known_hosts"
    return [
        *("-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=accept-new"),
        *("-o", "IdentitiesOnly=yes", "-i", str(house.key), "-o", "LogLevel=ERROR"),
    ]


def test_a_copy_between_two_targets(house: House) -> None:
    """``scp -3``: by the client's machine, two sessions, each file read at one and written at the other."""
    program = need.command("scp", name="OpenSSH client", package="openssh-client")
    source, sink = house.place("from"), house.place("to")
    source.write_bytes(house.content)
    source.chmod(0o644)
    done = house.run(
        [
            *(program, "-3", *openssh(house), "-P", str(house.port)),
            *(
                f"scp://writer=box@127.0.0.1:{house.port}/{source}",
                f"scp://writer=other@127.0.0.1:{house.port}/{sink}",
            ),
        ]
    )
    assert done.returncode == 0, done.stderr
    assert sink.read_bytes() == house.content
    digest = hashlib.sha256(house.content).hexdigest()
    until(lambda: house.transfers(source) and house.transfers(sink), seconds=10, what="both are on record")
    (read,), (written,) = house.transfers(source), house.transfers(sink)
    assert (read["sha256_read"], written["sha256_written"]) == (digest, digest)
    targets = {
        each["event"]["path"]: each["target"]["name"]
        for each in house.through.gateway.events("transfer.completed")
    }
    assert (targets[str(source)], targets[str(sink)]) == ("box", "other")


# --- ansible ---------------------------------------------------------------------------------------------


def ansible(house: House, *words: str) -> subprocess.CompletedProcess[bytes]:
    """``ansible box ...`` as it comes, but for where its files are."""
    program = need.command("ansible", name="ansible", package="ansible-core")
    inventory = house.folder / "inventory"
    inventory.write_text(
        f"box ansible_host=127.0.0.1 ansible_port={house.port} ansible_user=writer=box "
        f"ansible_ssh_private_key_file={house.key} ansible_python_interpreter=/usr/bin/python3 "
        f"ansible_ssh_common_args='-F none -o UserKnownHostsFile={house.folder}/known_hosts"
        " -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes'\n"
    )
    control = tempfile.mkdtemp(prefix="cp-", dir=work_folder())
    settings = house.folder / "ansible.cfg"
    settings.touch()
    environment = {
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_HOME": str(house.folder / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": control,
        "ANSIBLE_REMOTE_TEMP": tempfile.gettempdir() + "/.ansible-${USER}",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    return house.run([program, "box", "-i", str(inventory), *words], **environment)


def test_ansible_pings_and_copies(house: House) -> None:
    """Over one shared connection, with files by SFTP and Python at the target."""
    done = ansible(house, "-m", "ping")
    assert b'"ping": "pong"' in done.stdout, done.stdout + done.stderr
    place = house.place("ansible")
    copy = ("-m", "copy", "-a", f"src={house.file} dest={place} mode=0644")
    first = ansible(house, *copy)
    assert b"CHANGED" in first.stdout, first.stdout + first.stderr
    assert place.read_bytes() == house.content
    digest = hashlib.sha256(house.content).hexdigest()
    written = house.through.gateway.events("transfer.completed")
    assert digest in [each["event"].get("sha256_written") for each in written]
    said = json.loads(first.stdout.split(b"=>", 1)[1])
    assert said["checksum"] == hashlib.sha1(house.content, usedforsecurity=False).hexdigest()
    texts = [each["event"].get("text", "") for each in house.through.gateway.events("command.requested")]
    assert any("AnsiballZ_copy.py" in text for text in texts)
