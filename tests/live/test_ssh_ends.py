"""How a connection begins and how it is cut short, through the whole gateway: its algorithms as an auditor sees them,
signals, and a client or a target that is killed while bytes flow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import need
from .gateway import Configuration
from .people import PEOPLE
from .processes import Spawned, until
from .ssh_gateway import over
from .ssh_servers import Make
from .sshd import Sshd, keygen


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    server = Sshd("ends", more=["LogLevel DEBUG3"])
    yield server
    server.end()


def test_ssh_audit_finds_nothing_red_at_a_listener(make: Make) -> None:
    """With the host key that the gateway makes for itself, and everything else as it is without configuration."""
    need.python_module("ssh_audit", name="ssh-audit")
    through = make()
    audit = [sys.executable, "-m", "ssh_audit.ssh_audit", "--skip-rate-test", "-p", str(through.ssh.port)]
    done = subprocess.run([*audit, "127.0.0.1"], capture_output=True, text=True, timeout=60, check=False)
    assert "[fail]" not in done.stdout
    assert done.returncode in (0, 2), done.stdout  # 2: warnings, 3: failures
    for name in (
        "ssh-ed25519",
        "aes256-gcm@openssh.com",
        "hmac-sha2-256-etm@openssh.com",
        "kex-strict-s-v00",
    ):
        assert name in done.stdout
    for weak in ("-cbc", "3des", "md5", "sha1", "ssh-dss", "arcfour"):
        lines = [
            line for line in done.stdout.splitlines() if line.startswith("(") and weak in line.split("--")[0]
        ]
        assert not lines, lines


def test_both_legs_exchange_keys_strictly(make: Make) -> None:
    """Against terrapin both sides must want it: OpenSSH says that it does, on either side of the gateway."""
    through = make()
    ssh, tool = through.ssh, need.command("ssh", name="OpenSSH client", package="openssh-client")
    done = subprocess.run(
        [tool, "-o", "LogLevel=DEBUG3", *ssh.options, "-p", str(ssh.port), "writer@127.0.0.1", "true"],
        capture_output=True,
        env=ssh.environment("writer"),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert b"will use strict KEX ordering" in done.stderr
    assert "will use strict KEX ordering" in through.sshd.process.output


SIGNALS = """
import asyncio, sys, asyncssh
async def main():
    options = dict(username="writer", password=sys.argv[2], known_hosts=None, client_keys=None, config=None)
    async with asyncssh.connect("127.0.0.1", int(sys.argv[1]), **options) as connection:
        process = await connection.create_process(sys.argv[3])
        print(await process.stdout.readline(), end="")
        process.send_signal("USR1")
        print(await process.stdout.readline(), end="")
        await process.wait()
        print(process.exit_status)
asyncio.run(main())
"""
CATCHES = "trap 'echo caught; exit 6' USR1; echo ready; while :; do sleep 0.05; done"


def test_a_signal_reaches_the_program_and_is_on_record(make: Make) -> None:
    """Whoever interrupted something did something."""
    need.python_module("asyncssh")
    through = make()
    done = subprocess.run(
        [sys.executable, "-c", SIGNALS, str(through.ssh.port), PEOPLE["writer"].password, CATCHES],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["ready", "caught", "6"], done.stderr
    events = over(through)
    (note,) = [
        each for each in events if each["kind"] == "session.note" and "USR1" in str(each["event"]["detail"])
    ]
    (asked,) = [each for each in events if each["kind"] == "command.requested"]
    assert note["event"]["detail"]["channel"] == 0
    assert note["jseq"] > asked["jseq"]


@pytest.mark.parametrize("who", ["client", "target"])
def test_one_of_them_is_killed_while_bytes_flow(make: Make, who: str) -> None:
    """The command has its end on record as one that nobody saw, every byte has its place, the other side is told."""
    through = make()
    client = through.ssh.begin(
        "writer", "echo $PPID; exec cat /dev/zero", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert client.stdout is not None
        there = int(client.stdout.readline())
        assert len(client.stdout.read(5 << 20)) == 5 << 20
        if who == "client":
            client.kill()
        else:
            os.kill(there, signal.SIGKILL)
        rest, words = client.communicate(timeout=60)
        assert rest.strip(b"\0") == b""
        assert client.returncode == (-9 if who == "client" else 255), words
    finally:
        client.kill()
        client.wait(10)
    (end,) = through.gateway.wait_for_events("session.end")
    assert end["event"]["target"]["received"] > 5 << 20
    events = over(through)
    (unfinished,) = [each for each in events if each["kind"] == "command.unfinished"]
    assert unfinished["event"]["because"]
    assert unfinished["event"]["bytes"] >= 5 << 20
    assert through.sshd.process.running


def test_an_agent_that_is_forwarded_answers_and_is_on_record(make: Make, tmp_path: Path) -> None:
    """A program at the target asks the agent at the client, twice: each connection has its ends and bytes on record."""
    adds = need.command("ssh-add", name="OpenSSH client", package="openssh-client")
    keygen(tmp_path, "-q", "-t", "ed25519", "-N", "", "-C", "of the agent", "-f", "key")
    place = tmp_path / "agent"
    agent = Spawned(["ssh-agent", "-D", "-a", str(place)], log=tmp_path / "log", as_plain_user=False)

    def change(settings: Configuration) -> None:
        settings["role"][0]["options"] = {"ssh": {"agent": True}}

    through = make(change=change)
    ssh = through.ssh
    environment = {**ssh.environment("writer"), "SSH_AUTH_SOCK": str(place)}
    try:
        until(place.exists, seconds=10, what="the agent is there")
        subprocess.run([adds, "-q", str(tmp_path / "key")], check=True, timeout=20, env=environment)
        done = subprocess.run(
            ["ssh", "-A", *ssh.options, "-p", str(ssh.port), "writer@127.0.0.1", "ssh-add -l; ssh-add -L"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
            env=environment,
        )
    finally:
        agent.end()
    assert done.returncode == 0, done.stderr
    listed, public = done.stdout.decode().splitlines()
    assert "of the agent" in listed
    assert public == (tmp_path / "key.pub").read_text().strip()
    events = over(through)
    opened = [
        each
        for each in events
        if each["kind"] == "forward.opened" and each["event"]["type"] == "auth-agent@openssh.com"
    ]
    closed = {each["op"]: each["event"] for each in events if each["kind"] == "forward.closed"}
    assert len(opened) == 2
    assert {each["identity"]["id"] for each in opened} == {"writer"}
    assert all(closed[each["op"]]["sent"] > 0 and closed[each["op"]]["received"] > 0 for each in opened)


KINDS = {
    "ed25519": ("ed25519",),
    "ecdsa256": ("ecdsa", "-b", "256"),
    "ecdsa384": ("ecdsa", "-b", "384"),
    "ecdsa521": ("ecdsa", "-b", "521"),
    "rsa": ("rsa", "-b", "3072"),
}


def test_an_account_may_have_a_key_of_every_kind(make: Make, sshd: Sshd, tmp_path: Path) -> None:
    """Signed by the gateway, and judged by a real server; which key it was is on record at the server."""

    def change(settings: Configuration) -> None:
        (box,) = settings["target"]
        settings["target"] = []
        for kind, how in KINDS.items():
            keygen(tmp_path, "-q", "-t", *how, "-N", "", "-f", kind)
            account = {"ops": {"user": sshd.user, "key": f"file:{tmp_path / kind}"}}
            settings["target"].append({**box, "name": kind, "accounts": account})
        settings["listener"][0]["targets"] = list(KINDS)
        for role in settings["role"]:
            role["targets"] = list(KINDS)

    through = make(change=change)
    with (sshd.folder / "authorized").open("ab") as authorized:
        for kind in KINDS:
            authorized.write((tmp_path / f"{kind}.pub").read_bytes())
    for kind in KINDS:
        done = through.ssh.run(f"writer={kind}", "echo in")
        assert (done.stdout, done.returncode) == (b"in\n", 0), (kind, done.stderr)
        said = subprocess.run(
            ["ssh-keygen", "-l", "-f", str(tmp_path / f"{kind}.pub")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.split()[1] in sshd.process.output
    starts = [each["event"]["upstream"] for each in over(through) if each["kind"] == "session.start"]
    assert [each["method"] for each in starts] == ["publickey"] * len(KINDS)
