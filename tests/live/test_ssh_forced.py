"""A target that does what its own configuration says: SFTP in the place of a command, and no terminals."""

from __future__ import annotations

import base64
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoopproxy.protocols.ssh.keys import fingerprint

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .people import PEOPLE
from .processes import work_folder
from .ssh_gateway import SSHGateway, over
from .sshd import Sshd

pytestmark = pytest.mark.live

SERVER = Path("/usr/lib/openssh/sftp-server")

CLIENT = """
import struct, sys, paramiko
transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
transport.connect(username="writer", password=sys.argv[2])
channel = transport.open_session()
{"exec": lambda: channel.exec_command("uptime"), "shell": channel.invoke_shell,
 "netconf": lambda: channel.invoke_subsystem("netconf")}[sys.argv[3]]()
string = lambda data: struct.pack(">I", len(data)) + data
remove = lambda id, path: string(struct.pack(">BI", 13, id) + string(path.encode()))
channel.sendall(string(struct.pack(">BI", 1, 3)) + remove(7, sys.argv[4]) + remove(8, sys.argv[4] + ".not"))
answer = b""
while answer.count(b"e\\0\\0\\0\\7") + answer.count(b"e\\0\\0\\0\\10") < 2:
    data = channel.recv(1000)
    if not data:
        break
    answer += data
print(answer)
"""


def no_removing(settings: Configuration) -> None:
    """But a role that permits everything else that is asked for here."""
    settings["role"][0]["deny"] = ["SFTP REMOVE"]
    settings["role"][0]["options"] = {"ssh": {"allow": ["exec", "shell", "sftp", "subsystem:netconf"]}}


@pytest.fixture
def forced(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[SSHGateway]:
    if not SERVER.exists():
        need.command("sftp-server", name="OpenSSH's SFTP server", package="openssh-sftp-server")
    sshd = Sshd("forced", more=[f"ForceCommand {request.param}", "Subsystem netconf /bin/cat"])
    through = SSHGateway.make(certificates, sshd, change=no_removing)
    yield through
    through.gateway.end()
    sshd.end()


@pytest.mark.parametrize(
    ("forced", "asked"),
    [("internal-sftp", "netconf"), (SERVER, "exec"), (SERVER, "shell"), (SERVER, "netconf")],
    indirect=["forced"],
)
def test_sftp_in_the_place_of_what_was_asked_for_is_decided(forced: SSHGateway, asked: str) -> None:
    """The file that the role lets nobody remove was removed, and nobody could tell from the trail. (sshd lets its own
    ``internal-sftp`` take the place of a subsystem alone.)"""
    need.python_module("paramiko")
    kept = work_folder() / f"kept-{forced.ssh.port}-{asked}"
    kept.write_text("x")
    shutil.chown(kept, forced.sshd.user)
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(forced.ssh.port), PEOPLE["writer"].password, asked, str(kept)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert kept.exists()
    assert "the role writer denies SFTP REMOVE" in done.stdout, done.stderr
    events = over(forced)
    denied = [each["event"]["text"] for each in events if each["kind"] == "command.denied"]
    assert denied == [f"remove {kept}", f"remove {kept}.not"]


def commands_only(settings: Configuration) -> None:
    """A role with commands and without files."""
    settings["role"][0]["options"] = {"ssh": {"allow": ["exec"]}}


def test_a_role_without_files_has_none_by_their_servers_name(certificates: Certificates) -> None:
    """By its path, by sshd's own name for it (which no shell knows), and by a line that doesn't say it plainly."""
    if not SERVER.exists():
        need.command("sftp-server", name="OpenSSH's SFTP server", package="openssh-sftp-server")
    sshd = Sshd("commands")
    through = SSHGateway.make(certificates, sshd, change=commands_only)
    hello = struct.pack(">IBI", 5, 1, 3)
    try:
        assert through.ssh.run("writer", "echo", "fine").stdout == b"fine\n"
        plainly = through.ssh.run("writer", str(SERVER), input=hello)
        own = through.ssh.run("writer", "internal-sftp", input=b"")
        hidden = through.ssh.run("writer", f"server={SERVER}; $server", input=hello)
        events = over(through)
    finally:
        through.gateway.end()
        sshd.end()
    assert (plainly.returncode, plainly.stdout) == (126, b"")
    assert b"does not permit the subsystem sftp" in plainly.stderr
    assert own.returncode == 127
    assert (hidden.returncode, hidden.stdout) == (255, b"")
    denied = [each["event"]["verb"] for each in events if each["kind"] == "command.denied"]
    assert denied == ["EXEC", "SUBSYSTEM"]


def test_files_are_seen_where_the_target_gives_no_terminal(certificates: Certificates) -> None:
    """PuTTY's plink asks for a terminal and for its command at once, and goes on without: what it sends isn't typed."""
    tool = need.command("plink", name="PuTTY", package="putty-tools")
    sshd = Sshd("no-tty", more=["PermitTTY no"])
    through = SSHGateway.make(certificates, sshd)
    try:
        there = work_folder() / f"there-{sshd.port}"
        there.mkdir()
        there.chmod(0o777)
        known = through.ssh.folder / "known_hosts"
        through.ssh.run("writer", "true")  # has the gateway's key in it then
        key = known.read_text().split()[2]
        secret = through.ssh.folder / "password-writer"
        done = subprocess.run(
            [
                *(tool, "-batch", "-t", "-P", str(through.ssh.port), "-pwfile", str(secret)),
                *("-hostkey", fingerprint(base64.b64decode(key)), "writer@127.0.0.1", f"scp -t {there}"),
            ],
            input=b"C0644 5 file\nhello\0",
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, "HOME": str(through.ssh.folder)},
        )
        assert (there / "file").read_bytes() == b"hello", done.stderr
        events = over(through)
    finally:
        through.gateway.end()
        sshd.end()
    (told,) = [each for each in events if each["kind"] == "transfer.completed"]
    assert (told["event"]["path"], told["event"]["written"]) == ("file", 5)
    notes = [each for each in events if each["kind"] == "session.note" and each["event"]["what"] == "pty"]
    assert [each["event"]["detail"].get("refused") for each in notes] == [None, True]
