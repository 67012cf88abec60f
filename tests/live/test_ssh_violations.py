"""What is no SSH at all, at an SSH listener: strangers leave a trace, and packets that were tampered with aren't an
ordinary end."""

from __future__ import annotations

import socket
import subprocess
import threading
from typing import Any

import pytest

from .ssh_servers import Make


@pytest.mark.parametrize(
    "first", [b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nSSH-2.0-x\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_a_stranger_who_speaks_something_else_is_on_record(make: Make, first: bytes) -> None:
    """A scanner, or a PROXY header from outside the list: a violation, as at any other listener."""

    def change(settings: dict[str, Any]) -> None:
        settings["listener"][0]["proxy_protocol"] = ["192.0.2.0/24"]

    through = make(change=change)
    with socket.create_connection(("127.0.0.1", through.ssh.port), timeout=20) as raw:
        raw.sendall(first)
        said = b""
        while data := raw.recv(4096):
            said += data
    assert b"what it sent first is no SSH version line" in said
    (event,) = through.gateway.wait_for_events("session.violation")
    assert event["reason"] == "what it sent first is no SSH version line"
    assert event["client"]["addr"] == "127.0.0.1"
    assert event["outcome"] == "failure"


class Flipping:
    """Passes one connection on, and flips a bit of what the client sends once it is told to."""

    def __init__(self, to: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.flip = False
        self._to = to
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        client, _ = self._listening.accept()
        gateway = socket.create_connection(("127.0.0.1", self._to))
        threading.Thread(target=self._pass, args=(gateway, client, False), daemon=True).start()
        self._pass(client, gateway, True)

    def _pass(self, one: socket.socket, other: socket.socket, may_flip: bool) -> None:
        try:
            while data := one.recv(65536):
                if may_flip and self.flip:
                    data = data[:-1] + bytes((data[-1] ^ 1,))
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            other.close()


def test_a_packet_that_was_tampered_with_is_a_violation_of_a_session(make: Make) -> None:
    """Somebody between client and gateway, or a broken client: not the same as somebody who left."""
    through = make()
    between = Flipping(through.ssh.port)
    client = through.ssh.begin(
        "writer", "cat", port=between.port, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"before\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"before\n"
        between.flip = True
        client.stdin.write(b"after\n")
        client.stdin.flush()
        assert client.wait(20) == 255
        assert client.stdout.read() == b"", "nothing of a packet without its MAC goes on"
    finally:
        client.kill()
        client.wait()
    (event,) = through.gateway.wait_for_events("session.violation")
    assert (event["identity"]["id"], event["event"]["peer"]) == ("writer", "client")
    assert "MAC" in event["reason"] or "authentic" in event["reason"]
    (end,) = through.gateway.wait_for_events("session.end")
    assert end["event"]["cause"] == "violation by the client"
    assert end["event"]["balanced"]
    assert len(through.gateway.events("command.unfinished")) == 1


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("sessions_per_identity", b"too many sessions of writer (sessions_per_identity = 1)"),
        ("idle_seconds", b"nothing happened for idle_seconds (1 s)"),
    ],
)
def test_a_limit_is_told_to_the_client(make: Make, limit: str, said: bytes) -> None:
    """OpenSSH's client shows what a DISCONNECT says."""
    through = make(change=lambda settings: settings["limits"].update({limit: 1}))
    first = through.ssh.begin("writer", "sleep 30", stderr=subprocess.PIPE)
    try:
        through.gateway.wait_for_events("command.requested")
        if limit == "idle_seconds":
            assert said in first.communicate(timeout=30)[1]
        else:
            done = through.ssh.run("writer", "id")
            assert done.returncode == 255
            assert said in done.stderr
    finally:
        first.kill()
        first.communicate()
