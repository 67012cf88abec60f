"""A shell through the gateway, on a real terminal: commands, secrets, full screens, sizes; then replay and export."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from . import need
from .certificates import Certificates
from .ssh_gateway import SSHGateway
from .ssh_shell import SECRET, driven_bash, page, resize, type_a_secret
from .sshd import Sshd
from .trail import assert_balanced, assert_whole

pytestmark = pytest.mark.live


@attrs.define
class Session:
    through: SSHGateway
    events: list[dict[str, Any]]

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["kind"] == kind]

    def audit(self, *words: str) -> str:
        state = str(self.through.gateway.state)
        done = self.through.gateway.hoopproxy("audit", *words, "--state", state)
        return str(done.stdout)


@pytest.fixture(scope="module")
def session(certificates: Certificates) -> Iterator[Session]:
    """One session of some minutes' work, in seconds."""
    need.command("vim", name="vim", package="vim")
    sshd = Sshd("target")
    through = SSHGateway.make(certificates, sshd)
    driven = driven_bash(through.ssh)
    try:
        driven.keys(b"echo seen-$((40+2))\r", False)
        driven.wait()
        driven.keys(b"cd /\r", True)
        driven.wait()
        type_a_secret(driven)
        resize(driven)
        driven.keys(b"vim -u NONE\r", True)
        driven.full_screen()
        driven.keys(b"ivisible in vim\x1b:q!\r", True)
        driven.wait()
        page(driven)
        driven.keys(b"printf '\\033]52;c;aGk=\\007\\033[6nend\\n'\r", True)
        driven.settle(0.3)
        driven.keys(b"\x03", True)
        driven.wait()
        driven.keys(b"exit 3\r", True)
        driven.ended()
        driven.close()
        assert through.gateway.terminate() == 0
        yield Session(through, through.gateway.events())
    finally:
        through.gateway.end()
        sshd.end()


def test_the_commands_are_on_record_as_inferred(session: Session) -> None:
    """Each under the operation of its shell."""
    assert_whole(session.events)
    (asked,) = session.told("command.requested")
    seen = session.told("command.observed")
    texts = [each["event"]["text"] for each in seen]
    assert texts[:2] == ["echo seen-$((40+2))", "cd /"]
    assert {"vim -u NONE", "less /etc/passwd"} <= set(texts)
    assert "exit 3" in texts
    assert not [text for text in texts if "visible in vim" in text]
    assert {each["event"]["source"] for each in seen} == {"inferred"}
    assert {each["parent"] for each in seen} == {asked["op"]}
    assert_balanced(session.told("session.end"))


def test_a_password_is_nowhere_in_the_state_directory(session: Session) -> None:
    """And what was echoed is told."""
    typed = [each["event"]["text"] for each in session.told("session.input")]
    assert "cd /" in typed
    assert SECRET.decode() not in typed
    looked = 0
    for folder, _, files in os.walk(session.through.gateway.state):
        for name in files:
            path = Path(folder) / name
            if path.is_file():
                looked += 1
                assert SECRET not in path.read_bytes(), path
    assert looked > 3
    assert SECRET.decode() not in session.audit("replay", "last", "--json")
    shown = session.audit("replay", "last", "--no-wait")
    assert SECRET.decode() not in shown
    assert f"{len(SECRET)} characters" in shown


def test_the_replay_is_inert_and_whole(session: Session) -> None:
    """Nothing of the recording may act on the auditor's terminal."""
    shown = session.audit("replay", "last", "--no-wait")
    assert "seen-42" in shown
    assert "[full screen]" in shown
    assert "[the terminal is 100x30 now]" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.mark.parametrize("form", ["asciicast", "asciicast-v3"])
def test_the_asciicast_has_the_sizes_and_no_sequence_that_acts(session: Session, form: str) -> None:
    """asciinema plays it; nothing in it writes to a clipboard or asks."""
    header, *lines = [
        json.loads(line) for line in session.audit("export", "last", "--format", form).splitlines()
    ]
    assert header["version"] == (3 if form.endswith("v3") else 2)
    assert "100x30" in [data for _, what, data in lines if what == "r"]
    output = "".join(data for _, what, data in lines if what == "o")
    assert "seen-42" in output
    assert "\x1b]52" not in output.replace("\\033", "")
    assert "\x1b[6n" not in output
    assert SECRET.decode() not in output
    assert "i" not in {what for _, what, _ in lines}
