"""The emulation that auditors see is held against a terminal that others wrote: tmux shows the same, cell by cell."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hoopproxy.protocols.ssh.terminal.picture import Stage

from . import need
from .processes import until

pytestmark = pytest.mark.live

COLUMNS, LINES = 20, 4
USUAL = (
    *(b"word", b" ", b"\r\n", b"\n", b"\r", b"\b", b"\t", b"x" * 25, b"abc", b"e\xcc\x81"),
    *("\u4e2d\u6587".encode(), "\u00e9".encode(), b"\x1b[31m", b"\x1b[0m", b"\x1b[7m", b"\x1b[44m"),
    *(b"\x1b[2J", b"\x1b[J", b"\x1b[K", b"\x1b[1K", b"\x1b[2P", b"\x1b[2@", b"\x1b[3X", b"\x1b7", b"\x1b8"),
    *(b"\x1b[3;5H", b"\x1b[1;1H", b"\x1b[A", b"\x1b[B", b"\x1b[4C", b"\x1b[3D", b"\x1b[5G", b"\x1b[2d"),
    *(b"\x1b[S", b"\x1bM", b"\x1bD", b"\x1bE", b"\x1b[4h", b"\x1b[4l", b"\x1b[?7l", b"\x1b[?7h"),
    *(b"\x1b[?1049h", b"\x1b[?1049l"),
)
REGION, ROWS = (b"\x1b[2;3r", b"\x1b[r"), (b"\x1b[L", b"\x1b[M")
"""Not both: what rows do outside of a region, tmux and xterm disagree about."""

TITLE = "all of it is shown"
SHOWN = f"\x1b]2;{TITLE}\a".encode()
"""Behind what is to be shown: tmux reads a pty at its own pace, and in order."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bytes], list[str]]]:
    """What tmux shows of some output."""
    folder = tmp_path_factory.mktemp("tmux")
    tool = need.command("tmux", name="tmux", package="tmux")
    base = [tool, "-S", str(folder / "socket"), "-f", "/dev/null"]
    environment = {**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}

    def tmux(*words: str) -> str:
        done = subprocess.run([*base, *words], env=environment, capture_output=True, check=True, timeout=20)
        return done.stdout.decode("utf-8", "replace")

    size = ("-x", str(COLUMNS), "-y", str(LINES))
    tmux("new-session", "-d", "-s", "base", *size, "sleep 600")
    tmux("set", "-g", "status", "off")

    def show(data: bytes) -> list[str]:
        output = folder / "output"
        output.write_bytes(data + SHOWN)
        tmux("new-session", "-d", "-s", "one", *size, f"stty raw; cat {output}; sleep 60")

        def done() -> bool:
            return tmux("display-message", "-p", "-t", "one", "#{pane_title}").strip() == TITLE

        until(done, seconds=60, what="tmux has shown it")
        rows = tmux("capture-pane", "-p", "-t", "one").split("\n")
        tmux("kill-session", "-t", "one")
        return [row.rstrip() for row in (*rows, *[""] * LINES)][:LINES]

    yield show
    tmux("kill-server")


@pytest.mark.parametrize("seed", range(24))
def test_it_shows_what_tmux_shows(shown: Callable[[bytes], list[str]], seed: int) -> None:
    """Random output of what shells, editors and line editors use."""
    source = random.Random(seed)
    pieces = (*USUAL, *(REGION if seed % 2 else ROWS))
    data = b"".join(source.choice(pieces) for _ in range(source.randint(5, 30)))
    stage = Stage(COLUMNS, LINES)
    stage.feed(data, 0)
    assert ["".join(text for text, _ in row).rstrip() for row in stage.grid.rows] == shown(data), data


def test_the_oracle_is_not_blind(shown: Callable[[bytes], list[str]], tmp_path: Path) -> None:
    """A guard: an empty screen would agree with anything that is empty."""
    assert shown(b"one\r\n\x1b[3;5Htwo") == ["one", "", "    two", ""]
