"""Terminals that people have around a shell: ``script`` and tmux, on either side of the gateway."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from . import need
from .gateway import Configuration
from .processes import until
from .ssh_gateway import SSHGateway, over
from .ssh_servers import Make
from .ssh_shell import driven_bash
from .trail import assert_no_secret, recordings

SHELL = "env PS1='me@box:\\w\\$ ' bash --norc -i"
PROMPT = "me@box:"


def ssh_line(through: SSHGateway) -> str:
    """A shell on a terminal, as one line for another shell."""
    program = need.command("ssh", name="OpenSSH client", package="openssh-client")
    ssh = through.ssh
    return shlex.join([program, "-tt", *ssh.options, "-p", str(ssh.port), "writer@127.0.0.1", SHELL])


def cast(through: SSHGateway, form: str) -> tuple[dict[str, Any], list[tuple[float, str, str]]]:
    """The last session as asciicast: its header, and its events with times from the start."""
    state = str(through.gateway.state)
    done = through.gateway.hoopproxy("audit", "export", "last", "--format", form, "--state", state)
    header, *lines = [json.loads(line) for line in str(done.stdout).splitlines()]
    now, found = 0.0, []
    for time_or_wait, what, data in lines:
        now = now + time_or_wait if form == "asciicast-v3" else time_or_wait
        found.append((now, what, data))
    return header, found


def at_prompts(
    words: Sequence[str], environment: Mapping[str, str], typed: Sequence[bytes]
) -> tuple[int, bytes]:
    """Run a shell and give it a line at each of its prompts (what is typed ahead is shown twice, or not); its exit
    status, and what it showed."""
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as shell:
        late = threading.Timer(60, shell.kill)
        late.start()
        assert shell.stdin is not None
        assert shell.stdout is not None
        shown, waiting = b"", list(typed)
        while data := os.read(shell.stdout.fileno(), 65536):
            shown += data
            if waiting and shown.count(PROMPT.encode()) > len(typed) - len(waiting):
                shell.stdin.write(waiting.pop(0))
                shell.stdin.flush()
        late.cancel()
    return shell.returncode, shown


def test_what_script_wrote_is_what_is_on_record(make: Make, tmp_path: Path) -> None:
    """``script`` keeps its own recording of a shell: ours has the same bytes, and the exit status is the shell's."""
    program = need.command("script", name="script", package="bsdutils")
    through, kept = make(), tmp_path / "typescript"
    typed = (b"echo seen-$((40+2))\n", b"printf '\\033[31mred\\033[0m\\n'\n", b"exit 5\n")
    status, shown = at_prompts(
        [program, "-qefc", ssh_line(through), str(kept)],
        {**through.ssh.environment("writer"), "TERM": "xterm"},
        typed,
    )
    assert status == 5, shown
    events = over(through)
    (ended,) = [each["event"] for each in events if each["kind"] == "command.completed"]
    assert ended["detail"]["exit_status"] == 5
    texts = [each["event"]["text"] for each in events if each["kind"] == "command.observed"]
    assert texts[0] == "echo seen-$((40+2))"
    assert "exit 5" in texts
    script = kept.read_bytes()
    shown = script[script.index(b"\n") + 1 : script.rindex(b"\n\nScript done")]
    shown = shown[shown.index(PROMPT.encode()) :]
    _, played = cast(through, "asciicast")
    output = "".join(data for _, what, data in played if what == "o").encode()
    output = output[output.index(PROMPT.encode()) :]
    assert b"\x1b[31mred\x1b[0m" in output
    # Modes that programs report by (bracketed paste) are not played; all else is byte by byte the same.
    assert output.rstrip() == re.sub(rb"\x1b\[\?2004[hl]", b"", shown).rstrip()


class Tmux:
    """A server of tmux's of its own; ``run`` says what it said."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._tool = need.command("tmux", name="tmux", package="tmux")
        self._socket, self._environment = folder / "socket", environment

    def run(self, *words: str) -> str:
        return subprocess.run(
            [self._tool, "-S", str(self._socket), "-f", "/dev/null", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout

    def shows(self, text: str) -> None:
        """Wait until it is on the screen."""
        until(
            lambda: text in self.run("capture-pane", "-p", "-t", "one"), seconds=20, what=f"{text!r} is shown"
        )

    def types(self, line: str) -> None:
        self.run("send-keys", "-t", "one", line, "Enter")

    def resize(self, columns: int, rows: int) -> None:
        self.run("resize-window", "-t", "one", "-x", str(columns), "-y", str(rows))

    def end(self) -> None:
        subprocess.run([self._tool, "-S", str(self._socket), "kill-server"], capture_output=True, check=False)


@pytest.fixture
def outside(make: Make, tmp_path: Path) -> Iterator[tuple[SSHGateway, Tmux]]:
    """A gateway, and a tmux in a window of 100x30 in which a shell through it runs."""
    through = make()
    environment = {**through.ssh.environment("writer"), "LANG": "C.UTF-8"}
    environment.pop("TMUX", None)
    tmux = Tmux(tmp_path, environment)
    tmux.run("new-session", "-d", "-s", "one", "-x", "100", "-y", "30", ssh_line(through))
    try:
        tmux.run("set", "-g", "status", "off")
        tmux.shows(PROMPT)
        yield through, tmux
    finally:
        tmux.end()


def test_each_size_stands_between_what_was_shown_before_and_after(outside: tuple[SSHGateway, Tmux]) -> None:
    """A player that changes its size too early or too late shows nonsense: the size that a program sees and the one
    in the recording are the same, at every line, in both versions of asciicast."""
    through, tmux = outside
    sizes = [(100, 30), (61, 17), (132, 43), (80, 24)]
    for number, size in enumerate(sizes):
        if number:
            tmux.resize(*size)
        # The window change is on its way to the other end.
        there = f"until [ \"$(stty size)\" = '{size[1]} {size[0]}' ]; do sleep 0.05; done"
        tmux.types(f"{there}; echo at-{number}-$(stty size | tr ' ' x)")
        tmux.shows(f"at-{number}-{size[1]}x{size[0]}")
    tmux.types("exit")
    through.gateway.wait_for_events("session.end")
    over(through)
    for form in ("asciicast", "asciicast-v3"):
        header, played = cast(through, form)
        first = header["term"] if "term" in header else {"cols": header["width"], "rows": header["height"]}
        # tmux may have laid out its window anew before the shell asked for a terminal.
        assert (first["cols"], first["rows"]) in ((100, 30), (100, 31))
        size, seen, tail = "", [], ""
        for _, what, data in played:
            if what == "r":
                size = data
            elif what == "o":
                tail += data
                for number, rows, columns in re.findall(r"at-(\d)-(\d+)x(\d+)", tail):
                    seen.append((int(number), f"{columns}x{rows}", size))
                    tail = ""
        assert [(number, told) for number, told, _ in seen] == [
            (number, f"{columns}x{rows}") for number, (columns, rows) in enumerate(sizes)
        ]
        assert all(told == shown for _, told, shown in seen), seen
        times = [when for when, _, _ in played]
        assert times == sorted(times)


def test_tmux_at_the_target_is_a_full_screen_whose_input_is_kept(make: Make) -> None:
    """What is typed there is in the recording, nothing of it is taken for a command, and behind it the shell's own
    commands are seen again."""
    need.command("tmux", name="tmux", package="tmux")
    through = make()
    driven = driven_bash(through.ssh)
    driven.keys(b"echo before\r", True)
    driven.wait()
    driven.keys(b"tmux -L $$ -f /dev/null new 'bash --norc'\r", True)
    driven.settle(1.5)
    driven.keys(b"echo inner-$((40+2))\r", False)
    driven.settle(1.0)
    driven.keys(b"exit\r", True)
    driven.settle(1.0)
    driven.wait()
    driven.keys(b"echo after\r", True)
    driven.wait()
    driven.keys(b"exit 0\r", True)
    driven.settle(0.5)
    driven.close()
    events = over(through)
    texts = [each["event"]["text"] for each in events if each["kind"] == "command.observed"]
    assert texts[0] == "echo before"
    assert "echo after" in texts
    assert not [text for text in texts if "inner" in text], texts
    state = str(through.gateway.state)
    shown = str(through.gateway.hoopproxy("audit", "replay", "last", "--no-wait", "--state", state).stdout)
    assert "[full screen]" in shown
    assert "\x1b" not in shown
    (end,) = [each for each in events if each["kind"] == "session.end"]
    assert end["event"]["balanced"]
    assert any(b"inner-42" in each for each in recordings(through.gateway.state))


def test_input_that_is_not_to_be_recorded_is_nowhere(make: Make) -> None:
    """``record_stdin = false``: on a terminal, on its full screens, and without one; output stays, and the balance."""

    def change(settings: Configuration) -> None:
        settings["target"][0]["options"]["record_stdin"] = False

    through, secret = make(change=change), "n3verKept"
    driven = driven_bash(through.ssh)
    driven.keys(b"stty -echo\r", True)
    driven.wait()
    driven.keys(f": {secret}\r".encode(), True)
    driven.wait()
    driven.keys(b"printf '\\033[?1049h'\r", True)
    driven.wait()
    driven.keys(f": {secret}\r".encode(), True)
    driven.wait()
    driven.keys(b"echo shown-$((40+2))\r", True)
    driven.wait()
    driven.keys(b"exit 0\r", True)
    driven.settle(0.5)
    driven.close()
    fed = secret.encode() * 5_000
    done = through.ssh.run("writer", "wc -c", input=fed)
    assert int(done.stdout) == len(fed), done.stderr
    events = over(through)
    assert not [each for each in events if each["kind"] == "session.input"]
    found = recordings(through.gateway.state)
    assert_no_secret([secret], events, *found)
    assert any(b"shown-42" in each for each in found)
    _, second = [each["event"] for each in events if each["kind"] == "session.end"]
    assert second["client"]["redacted"] >= len(fed)
