"""SSH through the gateway: OpenSSH's client, OpenSSH's server, and what the trail says."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

from .gateway import Configuration
from .processes import free_port, until
from .ssh_gateway import Held, over
from .ssh_servers import Make

pytestmark = pytest.mark.live


def test_a_command_runs_and_is_on_record(make: Make) -> None:
    """Its text before it ran, its exit status and the bytes of each stream after."""
    through = make()
    done = through.ssh.run("writer", "cat; echo out; echo err >&2; exit 7", input=b"typed\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"typed\nout\n", b"err\n", 7), done.stderr
    events = over(through)
    (asked,) = [each for each in events if each["kind"] == "command.requested"]
    (ended,) = [each for each in events if each["kind"] == "command.completed"]
    assert asked["event"]["text"] == "cat; echo out; echo err >&2; exit 7"
    assert asked["event"]["verb"] == "EXEC"
    assert asked["identity"]["id"] == "writer"
    assert asked["op"] == ended["op"]
    detail = ended["event"]["detail"]
    assert {name: detail[name] for name in ("stdin", "stdout", "stderr", "exit_status")} == {
        "stdin": 6,
        "stdout": 10,
        "stderr": 4,
        "exit_status": 7,
    }
    assert ended["outcome"] == "failure"


def test_a_refused_command_says_why_and_does_not_run(make: Make, tmp_path: Path) -> None:
    """As a program of the gateway's own would, and the target never heard of it."""
    through = make()
    proof = tmp_path / "proof"
    done = through.ssh.run("alice", f"touch {proof}")
    assert done.returncode == 126, done
    assert b"hoopproxy: the role permits other commands only" in done.stderr
    assert through.ssh.run("alice", "id -u").returncode == 0
    assert not proof.exists()
    (denied,) = [each for each in over(through) if each["kind"] == "command.denied"]
    assert denied["event"]["text"] == f"touch {proof}"
    assert denied["reason"] == "the role permits other commands only"
    assert denied["id"].encode() in done.stderr


def test_much_passes_both_ways_and_the_end_of_input_arrives(make: Make) -> None:
    """Byte by byte the same, with the client's end of file in the middle: what is read last is written last."""
    through = make()
    sent = os.urandom(1 << 20) * (100 if os.environ.get("HOOPPROXY_SOAK") else 20)
    done = through.ssh.run("writer", "cat; printf end", input=sent, timeout=120)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(sent + b"end").digest()
    (ended,) = [each for each in over(through) if each["kind"] == "command.completed"]
    assert (ended["event"]["detail"]["stdin"], ended["event"]["detail"]["stdout"]) == (
        len(sent),
        len(sent) + 3,
    )


def test_forwards_go_where_the_role_says(make: Make) -> None:
    """-L to what is permitted, -L to what is not, and -R, with both ends and the bytes on record."""
    there = free_port()

    def change(settings: Configuration) -> None:
        settings["role"][0]["options"] = {
            "ssh": {"forwards": [f"127.0.0.1:{there}"], "remote_forwards": [f"*:{back}"]}
        }

    here, elsewhere, back = free_port(), free_port(), free_port()
    through = make(change=change)
    listener = subprocess.Popen(
        ["python3", "-c", _ECHO, str(there)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert listener.stdout is not None
    listener.stdout.readline()
    ways = ("-L", f"{here}:127.0.0.1:{there}", "-L", f"{elsewhere}:127.0.0.1:{through.sshd.port}")
    try:
        with Held(through.ssh, "writer", *ways, "-R", f"{back}:127.0.0.1:{there}"):
            until(lambda: _asked(here, b"ping") == b"ping", seconds=30, what="the tunnel is there")
            assert _asked(elsewhere, b"ping") == b""
            until(lambda: _asked(back, b"pong") == b"pong", seconds=30, what="the way back is there")
    finally:
        listener.kill()
        listener.communicate()
    events = over(through)
    opened = {each["op"]: each["event"] for each in events if each["kind"] == "forward.opened"}
    closed = {each["op"]: each["event"] for each in events if each["kind"] == "forward.closed"}
    assert opened.keys() == closed.keys()
    assert {each["type"] for each in opened.values()} == {"direct-tcpip", "tcpip-forward", "forwarded-tcpip"}
    carried = [closed[op] for op, each in opened.items() if each["type"] == "direct-tcpip"]
    assert {"sent": 4, "received": 4}.items() <= carried[-1].items()
    (denied,) = [each for each in events if each["kind"] == "command.denied"]
    assert denied["event"]["detail"]["destination"] == {"host": "127.0.0.1", "port": through.sshd.port}


def test_a_killed_gateway_leaves_the_command_unfinished(make: Make) -> None:
    """The record was there before the command ran; the next start says that nobody saw its end."""
    through = make()
    client = through.ssh.begin(
        "writer", "echo begun; sleep 30", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert client.stdout is not None
    assert client.stdout.readline() == b"begun\n"
    through.gateway.kill9()
    client.communicate(timeout=30)
    through.gateway.up()
    assert through.gateway.terminate() == 0
    (asked,) = through.gateway.events("command.requested")
    (unfinished,) = through.gateway.events("command.unfinished")
    assert unfinished["op"] == asked["op"]
    assert through.gateway.events("session.interrupted")


_ECHO = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
while True:
    peer, _ = server.accept()
    peer.sendall(peer.recv(100))
    peer.close()
"""


def _asked(port: int, question: bytes) -> bytes:
    """What somebody answers there; nothing if nobody does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
            peer.sendall(question)
            answer = b""
            while more := peer.recv(100):
                answer += more
            return answer
    except OSError:
        return b""
