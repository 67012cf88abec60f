"""Real shells on real pseudo-terminals, driven key by key, and both directions shown to a View."""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from hoopproxy.protocols.ssh.terminal.view import View

__all__ = ["Driven", "Rate", "rate"]

QUIET = 0.012  # seconds without output after a key
FIRST = 1.0  # seconds for the first of it, after a line: an echo that is late is no silence
PATIENCE = 60.0  # seconds for a prompt, or whatever has to come


class Driven:
    """A program on a pty. What passes is kept (``talk``), so that it can be gone through again in other pieces."""

    def __init__(
        self,
        argv: Sequence[str],
        folder: Path,
        env: dict[str, str],
        prompt: str,
        size: tuple[int, int] = (80, 24),
    ) -> None:
        self.prompt = re.compile(prompt.encode())
        self.talk: list[tuple[int, bytes]] = []
        self.tail = b""
        surroundings = {
            "TERM": "xterm-256color",
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            **env,
        }
        self.pid, self.handle = pty.fork()
        if not self.pid:
            os.chdir(folder)
            os.execvpe(argv[0], list(argv), surroundings)
        self._poll = select.poll()  # not select(), which takes no handle of 1,024 or above
        self._poll.register(self.handle, select.POLLIN)
        self.resize(*size)
        self.wait()

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.talk.append((2, b"%dx%d" % (columns, lines)))

    def read(self, timeout: float) -> bool:
        """Whether something came."""
        if not self._poll.poll(timeout * 1000):
            return False
        try:
            data = os.read(self.handle, 65536)
        except OSError:
            return False
        if data:
            self.talk.append((1, data))
            self.tail = (self.tail + data)[-2000:]
        return bool(data)

    def write(self, data: bytes) -> None:
        self.talk.append((0, data))
        os.write(self.handle, data)

    def wait(self, quiet: float = 0.03) -> None:
        """Until the prompt is there and nothing more comes."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if not self.read(quiet) and self.prompt.search(self.tail):
                return

    def keys(self, data: bytes, fast: bool) -> None:
        """Type: at once, or each key after the echo of the one before."""
        if fast or data.startswith(b"\x1b[200~"):
            self.write(data)
            if self.read(FIRST):
                self.settle(QUIET)
            return
        for key in re.findall(
            rb"\x1b\[[0-9;]*[~A-Za-z]|\x1b.|[\xc0-\xff][\x80-\xbf]+|[\x00-\xff]", data, re.S
        ):
            self.write(key)
            while self.read(QUIET):
                pass

    def settle(self, seconds: float = 0.1) -> None:
        while self.read(seconds):
            pass

    def full_screen(self) -> None:
        """Until a program has taken the whole screen and filled it."""
        self._until(lambda: (shown := self.shown).rfind(b"\x1b[?1049h") > shown.rfind(b"\x1b[?1049l"))
        self.settle(0.3)

    def ends_with(self, text: bytes) -> None:
        """Until that is the last that was shown."""
        self._until(lambda: self.tail.endswith(text))

    def ended(self) -> None:
        """Until the program has ended by itself."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        self._until(lambda: os.waitid(os.P_PID, self.pid, options) is not None)

    @property
    def shown(self) -> bytes:
        """All that was, so far."""
        return b"".join(data for side, data in self.talk if side == 1)

    def _until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, f"not after {PATIENCE} s: {self.tail!r}"
            if not self.read(0.05):
                time.sleep(0.01)  # who has ended keeps nobody waiting

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGHUP)
        os.close(self.handle)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def view(self, cut: Callable[[bytes], list[bytes]] = lambda data: [data]) -> View:
        """A view that saw it all, in pieces that ``cut`` makes; what was found is on ``seen`` and ``echoed``."""
        view, at = View(80, 24), [0, 0]
        for side, data in self.talk:
            if side == 2:
                columns, lines = data.split(b"x")
                view.resize(int(columns), int(lines))
                continue
            for piece in cut(data):
                (view.typed if side == 0 else view.shown)(piece, at[side])
                at[side] += len(piece)
        view.closed()
        return view


@attrs.frozen
class Rate:
    """How many of the commands that were run were seen, and how many of those seen were run."""

    run: int
    seen: int
    right: int

    @property
    def recall(self) -> float:
        return self.right / max(self.run, 1)

    @property
    def precision(self) -> float:
        return self.right / max(self.seen, 1)


def rate(run: Sequence[str], seen: Sequence[str]) -> Rate:
    """Compare in order."""
    matcher = difflib.SequenceMatcher(None, list(run), list(seen), autojunk=False)
    return Rate(len(run), len(seen), sum(block.size for block in matcher.get_matching_blocks()))
