"""Every key of a role's options for SSH, by real programs: what is permitted happens, what isn't doesn't and is on
record, and no trick with the text of a command gets around it."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hoopproxy.protocols.ssh.parting import EXIT_STATUS

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .people import PEOPLE
from .processes import Spawned, free_port, until, work_folder
from .ssh_gateway import Held, SSHGateway
from .sshd import Sshd
from .trail import assert_balanced, assert_whole, recordings

pytestmark = pytest.mark.live

PERMITTED = {
    "allow": ["shell", "exec", "sftp", "subsystem:greet"],
    "exec_allow": ["id *", "tty", "printf *", "printenv *", "rm *", "wc -c | cat"],
    "env": ["GOOD_*"],
    "agent": True,
    "x11": True,
}
DRAWS = """\
#!/usr/bin/env python3
import os, socket, subprocess
display = os.environ["DISPLAY"]
told = subprocess.run(["xauth", "list", display], capture_output=True, text=True, check=True).stdout
cookie, name = bytes.fromhex(told.split()[-1]), b"MIT-MAGIC-COOKIE-1"
head = b"l\\0" + b"".join(each.to_bytes(2, "little") for each in (11, 0, len(name), len(cookie), 0))
with socket.create_connection(("127.0.0.1", 6000 + int(display.rpartition(":")[2].split(".")[0]))) as screen:
    screen.sendall(head + name + bytes(-len(name) % 4) + cookie + b"a line")
    print(cookie.hex(), screen.recv(100)[:8])
"""
NOTHING = {
    "allow": ["exec"],
    "exec_allow": ["id *", "tty", "printenv *"],
    "exec_deny": ["id root*"],
    "env": ["GOOD_A"],
    "pty": False,
    "targets": False,
}


class House:
    """One gateway for all: ``writer`` may do much, ``alice`` next to nothing."""

    def __init__(self, certificates: Certificates, sshd: Sshd) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="policy-", dir=work_folder()))
        self.folder.chmod(0o777)
        self.proof = self.folder / "proof"
        self.port, self.socket = free_port(), self.folder / "app" / "s"
        self.through = SSHGateway.make(certificates, sshd, change=self._change)
        self.ssh = self.through.ssh

    def _change(self, settings: Configuration) -> None:
        writer, reader = settings["role"]
        places = {"forwards": [f"127.0.0.1:{self.port}"], "streamlocal": [f"{self.folder}/app/*"]}
        draws = self.folder / "draws"
        draws.write_text(DRAWS)
        draws.chmod(0o755)
        allowed = {"exec_allow": [*PERMITTED["exec_allow"], str(draws)]}
        writer["options"] = {"ssh": {**PERMITTED, **places, **allowed}}
        writer["deny"] = ["EXEC rm"]
        reader["options"] = {"ssh": NOTHING}

    def run(self, user: str, *arguments: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return self.ssh.run(user, *arguments, input=input)

    def told(self, kind: str, of: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """What is on record, once there is something: a refusal is told before its record is on the disk."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [each for each in self.through.gateway.events(kind) if of(each["event"])]
            return bool(found)

        until(look, seconds=10, what=f"{kind} is on record", step=0.1)
        return found

    def denied(self, **event: object) -> list[dict[str, Any]]:
        """Refusals with these fields."""
        return self.told(
            "command.denied", lambda told: all(told.get(key) == value for key, value in event.items())
        )


@pytest.fixture(scope="module")
def house(certificates: Certificates) -> Iterator[House]:
    sshd = Sshd("policy", more=["AcceptEnv *", "X11Forwarding yes", "Subsystem greet /bin/echo hello"])
    made = House(certificates, sshd)
    yield made
    made.through.gateway.end()
    sshd.end()


TRICKS = [
    "touch {}",
    "id x; touch {}",
    "id x\ntouch {}",
    "id $(touch {})",
    "id `touch {}`",
    "id -u && touch {}",
    "id -u > {}",
    "id -u | tee {}",
    "id & touch {}",
    "'touch' {}",
    "t\\ouch {}",
    "''touch {} # id -u",
    "wc -c | cat; touch {}",
    "sh -c 'touch {}'",
    "id\t;touch {}",
    "rm {}",
    "id \\\n;touch {}",
]


def test_no_trick_of_quoting_runs_something_else(house: House) -> None:
    """All of them are refused, on record as they were written, and touch nothing."""
    for trick in TRICKS:
        text = trick.format(house.proof)
        done = house.run("writer", text)
        assert (done.returncode, done.stdout) == (EXIT_STATUS, b""), text
        (denied,) = house.denied(text=text)
        assert denied["id"].encode() in done.stderr
        assert denied["identity"]["id"] == "writer"
    assert not house.proof.exists()
    (ruled,) = house.denied(verbs=["EXEC", "EXEC rm"])
    assert "EXEC rm" in str(ruled["reason"]) + str(ruled["decision"])


def test_what_is_meant_runs(house: House) -> None:
    """Quotes and blanks are everybody's; a pipe where the pattern has one."""
    assert house.run("writer", "printf '%s %s' \"a;b\" 'c'").returncode == EXIT_STATUS, (
        "a ; is one in quotes, too"
    )
    done = house.run("writer", "printf '%s|' \"a b\" 'c' \\d")
    assert (done.returncode, done.stdout) == (EXIT_STATUS, b"")
    done = house.run("writer", "printf '%s.' \"a b\" 'c' \\d")
    assert (done.returncode, done.stdout) == (0, b"a b.c.d.")
    done = house.run("writer", "wc -c | cat", input=b"12345")
    assert (done.returncode, done.stdout.strip()) == (0, b"5")
    assert house.run("alice", "id root").returncode == EXIT_STATUS
    (denied,) = house.denied(text="id root")
    assert denied["reason"] == "the role denies this command"


def test_bytes_that_are_no_text(house: House) -> None:
    """They run as they are, and are on record as they are."""
    odd = b"printf %s \xff\xfe"
    done = house.run("writer", os.fsdecode(odd))
    assert (done.returncode, done.stdout) == (0, b"\xff\xfe")
    text = {"b64": base64.b64encode(odd).decode()}
    assert len(house.told("command.requested", lambda told: told.get("text") == text)) == 1
    odd = b"touch \xff" + os.fsencode(house.proof)
    assert house.run("writer", os.fsdecode(odd)).returncode == EXIT_STATUS
    assert len(house.denied(text={"b64": base64.b64encode(odd).decode()})) == 1


PARAMIKO = """
import sys, paramiko
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", int(sys.argv[1]), "writer", sys.argv[2], look_for_keys=False, allow_agent=False)
for command in (b"id -u\\0", b"id\\0; x", b"printf %s " + b"x" * 120_000, b"touch " + b"y" * 250_000):
    _, out, err = client.exec_command(command)
    print(len(out.read()), out.channel.recv_exit_status(), b"hoopproxy:" in err.read())
client.close()
"""


def test_null_bytes_and_very_long_commands(house: House) -> None:
    """A server that reads C's strings would run another text than the one that was decided; a long one is decided and
    on record whole."""
    need.python_module("paramiko")
    done = subprocess.run(
        [sys.executable, "-c", PARAMIKO, str(house.ssh.port), PEOPLE["writer"].password],
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert done.stdout.decode().splitlines() == [
        f"0 {EXIT_STATUS} True",
        f"0 {EXIT_STATUS} True",
        "120000 0 False",
        f"0 {EXIT_STATUS} True",
    ], done.stderr
    assert len(house.denied(text="id -u\0")) == 1
    assert len(house.denied(text="touch " + "y" * 250_000)) == 1
    (asked,) = house.told("command.requested", lambda told: len(told.get("text") or "") > 100_000)
    assert asked["event"]["text"] == "printf %s " + "x" * 120_000


def test_shells_subsystems_and_terminals(house: House) -> None:
    """Who may, and who may not."""
    done = house.run("writer", "-T", input=b"echo in a shell\n")
    assert (done.returncode, done.stdout) == (0, b"in a shell\n")
    assert house.run("alice", "-T", input=b"echo in a shell\n").returncode == EXIT_STATUS
    assert len(house.denied(verb="SHELL")) == 1
    done = house.run("writer", "-s", "greet")
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    done = house.run("alice", "-s", "greet")
    assert (done.returncode, done.stdout) == (EXIT_STATUS, b"")
    assert len(house.denied(verb="SUBSYSTEM", text="greet")) == 1
    assert house.run("writer", "-tt", "tty").stdout.startswith(b"/dev/pts/")
    done = house.run("alice", "-tt", "tty")
    assert b"PTY allocation request failed" in done.stderr
    assert len(house.denied(verb="PTY")) == 1


def test_variables_by_name(house: House) -> None:
    """One that isn't permitted is not set, and the command runs without it."""
    setting = ("-o", "SetEnv=GOOD_A=1 GOOD_B=2 EVIL=3")
    for user, seen in (("writer", {"GOOD_A", "GOOD_B"}), ("alice", {"GOOD_A"})):
        found = {
            name
            for name in ("GOOD_A", "GOOD_B", "EVIL")
            if house.run(user, *setting, f"printenv {name}").returncode == 0
        }
        assert found == seen, user

    def denied() -> set[tuple[str, str]]:
        return {
            (each["identity"]["id"], each["event"]["detail"]["name"]) for each in house.denied(verb="ENV")
        }

    wanted = {("writer", "EVIL"), ("alice", "EVIL"), ("alice", "GOOD_B")}
    until(lambda: denied() >= wanted, seconds=10, what="all three are on record")
    assert {each for each in denied() if each[1] in ("GOOD_A", "GOOD_B", "EVIL")} == wanted


def test_the_agent(house: House) -> None:
    """Forwarded for whom the role says."""
    need.command("ssh-agent", name="OpenSSH client", package="openssh-client")
    place = house.folder / "agent"
    agent = Spawned(
        ["ssh-agent", "-D", "-a", str(place)], log=house.folder / "agent.log", as_plain_user=False
    )
    try:
        until(place.exists, seconds=10, what="the agent is there")
        os.environ["SSH_AUTH_SOCK"] = str(place)
        assert house.run("writer", "-A", "printenv SSH_AUTH_SOCK").returncode == 0
        assert house.run("alice", "-A", "printenv SSH_AUTH_SOCK").returncode == 1
    finally:
        os.environ.pop("SSH_AUTH_SOCK", None)
        agent.end()
    assert [each["identity"]["id"] for each in house.denied(verb="AGENT")] == ["alice"]


def test_a_screen(house: House) -> None:
    """X11 for whom the role says; what is drawn is recorded, and the cookie that lets one draw is not."""
    need.command("xauth", name="xauth", package="xauth")
    port, ssh = free_port(), house.ssh
    screen = Answers(port)

    def draw(user: str, command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["ssh", *ssh.options, "-Y", "-p", str(ssh.port), f"{user}@127.0.0.1", command],
            env={**ssh.environment(user), "DISPLAY": f"127.0.0.1:{port - 6000}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )

    refused = draw("alice", "printenv DISPLAY")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"X11 forwarding request failed" in refused.stderr
    assert [each["identity"]["id"] for each in house.denied(verb="X11")] == ["alice"]
    done = draw("writer", str(house.folder / "draws"))
    screen.server.close()
    assert done.returncode == 0, done.stderr
    cookie, said = done.stdout.split(b" ", 1)
    assert said == rb"b'got l\x00\x0b\x00'" + b"\n"
    (opened,) = house.told("forward.opened", lambda told: told.get("type") == "x11")
    (closed,) = house.told("forward.closed", lambda told: told["sent"] > 0)
    assert opened["identity"]["id"] == "writer"
    assert opened["op"] == closed["op"]
    house.told("session.end", lambda told: told["balanced"])
    recorded = b"".join(recordings(house.through.gateway.state))
    assert b"a line" in recorded
    assert bytes.fromhex(cookie.decode()) not in recorded


class Answers(threading.Thread):
    """Somebody who answers what is said, at a port or a path."""

    def __init__(self, place: int | Path) -> None:
        super().__init__(daemon=True)
        if isinstance(place, int):
            self.server = socket.create_server(("127.0.0.1", place))
        else:
            self.server = socket.socket(socket.AF_UNIX)
            self.server.bind(str(place))
            place.chmod(0o777)
            self.server.listen()
        self.start()

    def run(self) -> None:
        while True:
            try:
                peer, _ = self.server.accept()
            except OSError:
                return
            with peer:
                peer.sendall(b"got " + peer.recv(100))


def test_connections_by_place(house: House) -> None:
    """A port, a socket: the one that is named and none beside it, whatever the way to it looks like."""
    there = Answers(house.port)
    assert house.run("writer", "-W", f"127.0.0.1:{house.port}", input=b"x").stdout == b"got x"
    other = free_port()
    for user, where in (
        ("writer", f"127.0.0.1:{other}"),
        ("alice", f"127.0.0.1:{house.port}"),
        ("alice", "box:22"),
    ):
        done = house.run(user, "-v", "-W", where, input=b"x")
        assert done.returncode == 255, where
        host, port = where.split(":")
        place = {"host": host, "port": int(port)}

        def there_too(told: dict[str, Any], place: dict[str, object] = place) -> bool:
            destination = told.get("detail", {}).get("destination", {})
            return bool({**destination, **place} == destination)

        (denied,) = house.told("command.denied", there_too)
        assert denied["identity"]["id"] == user
        assert denied["event"]["verb"] == "FORWARD direct-tcpip"
        assert b"administratively prohibited" in done.stderr
        assert denied["id"].encode() in done.stderr
    there.server.close()


def test_sockets_by_path(house: House) -> None:
    """A path that climbs out of what is permitted is not followed."""
    house.socket.parent.mkdir()
    house.socket.parent.chmod(0o755)
    inside, outside = Answers(house.socket), Answers(house.folder / "secret")
    ports = free_port(), free_port()
    ways = str(house.socket), f"{house.folder}/app/../secret"
    forwards = [
        part for port, path in zip(ports, ways, strict=True) for part in ("-L", f"127.0.0.1:{port}:{path}")
    ]
    try:
        with Held(house.ssh, "writer", *forwards):
            until(lambda: asked(ports[0]) == b"got x", seconds=30, what="the tunnel is there")
            assert asked(ports[1]) == b""
    finally:
        inside.server.close()
        outside.server.close()
    (denied,) = house.denied(verb="FORWARD direct-streamlocal@openssh.com")
    assert denied["event"]["detail"]["destination"] == {"path": ways[1]}


def asked(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
            peer.sendall(b"x")
            return peer.recv(100)
    except OSError:
        return b""


def test_accounts_by_role(house: House) -> None:
    """The one that the role has, named or not; another is nobody's."""
    assert house.run("writer+ops", "id -u").returncode == 0
    done = house.run("writer+root", "id -u")
    assert done.returncode == 255
    assert b"no role gives writer the account root on box" in done.stderr


def test_all_of_it_is_on_record_and_every_byte_has_its_place(house: House) -> None:
    """The last test of this module."""
    assert house.through.gateway.terminate() == 0
    events = house.through.gateway.events()
    assert_whole(events)
    assert_balanced(events)
    assert not [each for each in events if each["kind"] == "session.violation"]
