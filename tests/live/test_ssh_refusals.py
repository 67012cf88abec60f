"""A refusal is always shown: by OpenSSH's programs, PuTTY's and paramiko, whatever else the machine does."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hoopproxy.protocols.ssh.parting import EXIT_STATUS

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .people import PEOPLE
from .processes import until
from .ssh_gateway import SSH, Held, SSHGateway, over
from .sshd import Sshd, keygen

pytestmark = pytest.mark.live

SAID = re.compile(rb"hoopproxy: the role permits other commands only \(event ([0-9a-f-]{36})\)\r?\n")
NO_SFTP = re.compile(rb"hoopproxy: the role does not permit the subsystem sftp \(event [0-9a-f-]{36}\)\r?\n")
REFUSED_RUNS = 100 if os.environ.get("HOOPPROXY_SOAK") else 40

Make = Callable[..., SSHGateway]


@pytest.fixture
def through(sshd: Sshd, certificates: Certificates) -> Iterator[SSHGateway]:
    """Readers may run ``id`` and ``uptime`` and have terminals, but no files."""

    def change(settings: Configuration) -> None:
        folder = Path(settings["gateway"]["state"]).parent
        keygen(folder, "-q", "-t", "ed25519", "-N", "", "-f", "host_key")
        (folder / "host_key").chmod(0o600)
        settings["listener"][0]["secrets"] = {"host_keys": [f"file:{folder / 'host_key'}"]}
        settings["role"][1]["options"]["ssh"]["pty"] = True

    made = SSHGateway.make(certificates, sshd, change=change)
    yield made
    made.gateway.end()


@pytest.fixture
def busy() -> Iterator[None]:
    """As many programs as there are processors do nothing but compute."""
    burners = [
        subprocess.Popen(
            [sys.executable, "-c", "import time; e = time.time() + 300\nwhile time.time() < e: pass"]
        )
        for _ in range(os.cpu_count() or 2)
    ]
    yield
    for each in burners:
        each.kill()
        each.wait()


def ended(through: SSHGateway) -> None:
    """The trail is whole, every byte has its place, and nobody said what was not legal."""
    assert not [each for each in over(through) if each["kind"] == "session.violation"]


def test_every_refused_command_is_shown_on_a_busy_machine(through: SSHGateway, busy: None) -> None:
    """OpenSSH's client exits as soon as a request fails, before it has written what it was told: it must not fail."""

    def one(number: int) -> subprocess.CompletedProcess[bytes]:
        for _ in range(4):
            done = through.ssh.run("alice", f"touch {number}", input=b"x" * 1_000, timeout=120)
            # Where a system call is restarted, the sandbox of OpenSSH 9.2's sshd kills its process before the log-in
            # (SIGSYS in the kernel's log, about one of 200 here): then no command was asked for.
            if b"the target box did not accept the gateway's log-in" not in done.stderr:
                break
        return done

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, range(REFUSED_RUNS)))
    silent = [each for each in results if not SAID.fullmatch(each.stderr)]
    assert not silent, (len(silent), silent[:3])
    assert {each.returncode for each in results} == {EXIT_STATUS}
    ended(through)
    told = {found[1].decode() for each in results if (found := SAID.fullmatch(each.stderr))}
    assert told == {each["id"] for each in through.gateway.events("command.denied")}
    assert len(told) == REFUSED_RUNS


def test_a_terminal_that_was_asked_for_shows_it_too(through: SSHGateway) -> None:
    """``ssh -tt``, with nobody's terminal and at a real one."""
    done = through.ssh.run("alice", "-tt", "touch x")
    assert done.returncode == EXIT_STATUS
    assert SAID.search(done.stderr + done.stdout)
    done = through.ssh.run("alice", "-tt")
    assert done.returncode == EXIT_STATUS
    assert b"hoopproxy: the role permits no shells" in done.stderr
    mine, theirs = pty.openpty()
    client = through.ssh.begin(
        "alice", "-t", "touch x", stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while more := os.read(mine, 4096):
            shown += more
    os.close(mine)
    assert client.wait(30) == EXIT_STATUS
    assert SAID.search(shown), shown
    assert through.ssh.run("alice", "id -u").returncode == 0
    ended(through)


def test_a_shared_connection_lives_on(through: SSHGateway) -> None:
    """ControlMaster: refused and permitted commands one after the other, in channels that have the same number."""
    with tempfile.TemporaryDirectory(prefix="cm-") as folder:
        control, ssh = ["-o", f"ControlPath={folder}/s"], through.ssh
        with Held(ssh, "alice", *control, "-M"):
            until(Path(folder, "s").exists, seconds=30, what="the master is there")

            def one(number: int) -> subprocess.CompletedProcess[bytes]:
                return ssh.run("alice", *control, "id -u" if number % 3 == 0 else f"rm {number}")

            with ThreadPoolExecutor(4) as pool:
                results = list(pool.map(one, range(60)))
    for number, done in enumerate(results):
        if number % 3 == 0:
            assert (done.returncode, done.stderr) == (0, b""), number
            assert done.stdout.strip().isdigit()
        else:
            assert done.returncode == EXIT_STATUS, number
            assert SAID.fullmatch(done.stderr), (number, done.stderr)
    ended(through)
    assert len({each["session"] for each in through.gateway.events("command.denied")}) == 1


@pytest.mark.parametrize("program", ["sftp", "scp", "scp -O"])
def test_programs_for_files_show_it(through: SSHGateway, program: str, tmp_path: Path) -> None:
    """They run ssh, which shows it; what they say themselves comes behind."""
    name, *options = program.split()
    tool = need.command(name, name="OpenSSH client", package="openssh-client")
    ssh, file = through.ssh, tmp_path / "file"
    file.write_text("x")
    there = ["alice@127.0.0.1"] if name == "sftp" else [str(file), "alice@127.0.0.1:/tmp/never"]
    done = subprocess.run(
        [tool, *ssh.options, "-P", str(ssh.port), *options, *there],
        input=b"",
        capture_output=True,
        env=ssh.environment("alice"),
        timeout=60,
        check=False,
    )
    assert (SAID if options else NO_SFTP).search(done.stderr), done.stderr
    assert done.returncode != 0
    assert not Path("/tmp/never").exists()
    ended(through)


PARAMIKO = """
import sys, paramiko
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", int(sys.argv[1]), "alice", sys.stdin.readline().rstrip("\\n"),
               look_for_keys=False, allow_agent=False)
_, out, err = client.exec_command("touch x")
assert out.read() == b""
sys.stdout.buffer.write(err.read())
status = out.channel.recv_exit_status()
_, out, _ = client.exec_command("id -u")
assert out.read().strip().isdigit()
assert out.channel.recv_exit_status() == 0
client.close()
sys.exit(status)
"""


def test_paramiko_reads_it_and_goes_on(through: SSHGateway) -> None:
    """A program that shares a connection gets an exit status and can run the next command."""
    need.python_module("paramiko")
    done = subprocess.run(
        [sys.executable, "-c", PARAMIKO, str(through.ssh.port)],
        input=PEOPLE["alice"].password.encode() + b"\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert SAID.fullmatch(done.stdout), done.stderr
    assert done.returncode == EXIT_STATUS
    ended(through)


def test_plink_shows_it(through: SSHGateway, tmp_path: Path) -> None:
    """PuTTY's client, with and without a terminal."""
    tool = need.command("plink", name="plink", package="putty-tools")
    key = (through.ssh.folder / "host_key.pub").read_text().split()[1]
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode().rstrip("=")
    secret = tmp_path / "password"
    secret.write_text(PEOPLE["alice"].password + "\n")
    for more in ([], ["-t"]):
        done = subprocess.run(
            [
                *(tool, "-batch", "-P", str(through.ssh.port), "-hostkey", f"SHA256:{digest}", *more),
                *("-pwfile", str(secret), "alice@127.0.0.1", "touch x"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert SAID.search(done.stderr + done.stdout), (done, through.gateway.port(SSH))
        assert done.returncode == EXIT_STATUS
    ended(through)
