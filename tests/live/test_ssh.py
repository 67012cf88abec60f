"""SSH through the gateway: OpenSSH's client, OpenSSH's server, and what the trail says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .certificates import Certificates
from .ssh_gateway import SSHGateway
from .sshd import Sshd
from .trail import assert_balanced, assert_whole

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    server = Sshd("target")
    yield server
    server.end()


@pytest.fixture
def make(sshd: Sshd, certificates: Certificates) -> Iterator[Callable[..., SSHGateway]]:
    made: list[SSHGateway] = []

    def one(**options: Any) -> SSHGateway:
        made.append(SSHGateway.make(certificates, sshd, **options))
        return made[-1]

    yield one
    for each in made:
        each.gateway.end()


def test_a_command_runs_and_is_on_record(make: Callable[..., SSHGateway]) -> None:
    """Its text before it ran, its exit status and the bytes of each stream after."""
    through = make()
    done = through.ssh.run("writer", "cat; echo out; echo err >&2; exit 7", input=b"typed\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"typed\nout\n", b"err\n", 7), done.stderr
    assert through.gateway.terminate() == 0
    events = through.gateway.events()
    assert_whole(events)
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
    assert_balanced([each for each in events if each["kind"] == "session.end"])
