"""A gateway over ``quickstart.toml`` as a process of its own, on a port that is free."""

from __future__ import annotations

import ctypes
import importlib.resources
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from hoopproxy.errors import HoopproxyError

__all__ = ["DemoFailed", "DemoGateway", "quickstart"]

START_SECONDS: Final = 90
STOP_SECONDS: Final = 30
_TRIES: Final = 3
_SOCKET_PATH: Final = 107  # bytes, unix(7)
_WRONG: Final = re.compile(r"#(?:warn|error|critical)\] ")
_READY: Final = "embedded PostgreSQL: ready"
_TWISTD: Final = "from twisted.scripts.twistd import run; run()"


class DemoFailed(HoopproxyError):
    """The demonstration can't go on; one sentence that says what to do."""


def quickstart(port: int = 6432) -> str:
    """The text of quickstart.toml, listening on ``port``."""
    text = importlib.resources.files(__package__).joinpath("quickstart.toml").read_text("utf-8")
    return text.replace("tcp:6432:", f"tcp:{port}:").replace("port=6432", f"port={port}")


@attrs.define
class DemoGateway:
    """One gateway in ``folder``: ``gateway.toml``, ``gateway.log`` and the state directory."""

    folder: Path
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.folder / "gateway.toml"

    @property
    def log(self) -> Path:
        return self.folder / "gateway.log"

    @property
    def pgpass(self) -> Path:
        """The demo users' passwords of this run, for libpq."""
        return self.folder / "quickstart-state" / "pgpass"

    def conninfo(self, user: str, database: str = "app") -> str:
        """What to tell psql; it holds no secret."""
        return f"host=127.0.0.1 port={self.port} user={user} dbname={database}"

    def start(self, waiting: Callable[[], object] = lambda: None) -> None:
        """Start it and wait until its PostgreSQL is ready, too. :raises DemoFailed: says why it is not.

        :param waiting: called ten times a second meanwhile.
        """
        control = self.folder / "quickstart-state" / "control.sock"
        if len(os.fsencode(control)) > _SOCKET_PATH:
            raise DemoFailed(
                f"{self.folder} is too long a path for a socket; set TMPDIR or --keep to a shorter one"
            )
        for left in range(_TRIES, 0, -1):
            self.port = _free_port()
            self.config.write_text(quickstart(self.port), "utf-8")
            self._spawn()
            if self._wait(waiting):
                return
            self.stop()
            said = self._said()
            if "can't listen on port" not in said or left == 1:  # else somebody was faster
                raise DemoFailed(
                    f"the gateway did not start; its log (--keep DIR keeps it) says:\n{_why(said)}"
                )

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter, no shell
                [
                    sys.executable,
                    "-P",
                    "-c",
                    _TWISTD,
                    "-n",
                    "--pidfile=",
                    "hoopproxy",
                    "--config",
                    self.config,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is ours; the gateway is then told to stop in order
                preexec_fn=_ends_with_parent,
            )

    def _wait(self, waiting: Callable[[], object]) -> bool:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            said = self._said()
            if _READY in said:
                return True
            if "embedded PostgreSQL: not started" in said or not self.running:
                return False
            waiting()
            time.sleep(0.1)
        return False

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self) -> None:
        """Until the process ends."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not enough. Its PostgreSQL ends with it. Never raises."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _said(self) -> str:
        try:
            return self.log.read_text("utf-8", "replace")
        except OSError:
            return ""


def _why(log: str) -> str:
    """What went wrong, or else the end: a gateway that stops in order says much after the error."""
    lines = log.strip().splitlines()
    return "\n".join(([line for line in lines if _WRONG.search(line)] or lines)[-5:]) or "(it is empty)"


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


_prctl = ctypes.CDLL(None, use_errno=True).prctl  # found before any fork


def _ends_with_parent() -> None:
    _prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
