"""A whole gateway in the test's process: real files, Unix sockets in a folder, the reactor turned by hand."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hoopproxy.config import Config, load
from hoopproxy.discovery import Installed
from hoopproxy.gateway.control import Control
from hoopproxy.gateway.ops import OpsSite
from hoopproxy.gateway.service import GatewayService
from hoopproxy.journal.folder import journals
from hoopproxy.journal.format import Kind
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.writer import Journal
from tests.ending import at_end

from .house import Client, Everyone
from .lines import LineProtocol
from .turns import Turned

__all__ = ["TOML", "Running"]

TOML = """
[gateway]
node = "here"
state = "state"
allow_volatile_state = true
drain_seconds = 5
[ops]
listen = "unix:ops.sock"
[[listener]]
name = "front"
protocol = "lines"
listen = "unix:front.sock"
targets = ["app"]
insecure_cleartext = true
[[target]]
name = "app"
protocol = "lines"
connect = "unix:target.sock"
mode = "bounded"
[target.tls]
mode = "off"
[target.accounts.ro]
user = "ro"
password = "env:HOOP_TEST_PASSWORD"
[[checker]]
type = "everyone"
[[role]]
name = "staff"
groups = ["staff"]
targets = ["app"]
account = "ro"
read = "own"
"""


def _closed_at_end(sock: socket.socket) -> socket.socket:
    at_end(sock.close)
    return sock


class EveryoneChecker:
    name = "everyone"

    def make(self, options: Mapping[str, object], base: Path, secret: bytes) -> Everyone:
        return Everyone()

    def problems(self, options: Mapping[str, object], base: Path) -> list[str]:
        return []


class Running:
    """One gateway over the folder; a second one may go on with the same folder."""

    def __init__(
        self, reactor: Turned, folder: Path, text: str = TOML, broken: dict[str, str] | None = None
    ) -> None:
        self.reactor, self.folder = reactor, folder
        self.write(text)
        self.plugin = LineProtocol()
        self.plugins = Installed({"lines": self.plugin}, {"everyone": EveryoneChecker()}, {})
        self.gateway = GatewayService(
            self.load(),
            self.plugins,
            broken=broken or {},
            load=self.load,
            reactor=lambda: reactor,
            parts=self._parts,
        )
        at_end(self._forget)
        self.control: Control | None = None
        self._target: socket.socket | None = None

    def _parts(self, gateway: GatewayService) -> list[Any]:
        self.control = Control(gateway)
        return [self.control, OpsSite(gateway)]

    def write(self, text: str) -> None:
        for name in ("ops.sock", "front.sock", "moved.sock", "target.sock"):
            text = text.replace(f"unix:{name}", f"unix:{self.folder / name}")
        (self.folder / "gateway.toml").write_text(text)

    def load(self) -> Config:
        return load(
            self.folder / "gateway.toml",
            protocols=self.plugins.protocols,
            checkers=self.plugins.checkers,
        )

    def up(self) -> Running:
        self.gateway.startService()
        self.reactor.turn(5)
        return self

    def down(self) -> None:
        """Stop in order; sessions may need time."""
        over: list[Any] = []
        self.gateway.stopService().addBoth(over.append)
        for _ in range(30):
            self.reactor.pass_time(0.5)
        self.until(lambda: bool(over))
        assert over == [None], over

    def until(self, true: Callable[[], Any]) -> None:
        """Turn the reactor until it is so; the journal's thread needs real time, but little."""
        deadline = time.monotonic() + 10
        while not true():
            assert time.monotonic() < deadline, "it never happened"
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0.005)

    def crash(self) -> None:
        """Be gone as after kill -9, but for the lock, which the kernel would release."""
        self.gateway.journal.folder.release()
        self.gateway.ports.close()
        assert self.control is not None
        for part in self.gateway._parts:
            part.stop()
        self.reactor.turn(5)

    def _forget(self) -> None:
        """Give back what one holds that crashed or never came up; its reactor is gone."""
        journal: Journal | None = getattr(self.gateway, "journal", None)
        if journal is not None:
            journal._batch_timer, journal._call_from_thread = None, lambda function: function()
            journal.stop()
            if journal._thread is not None:
                journal._thread.join()
            self.gateway._doorbell.close()

    # -- talking to it

    def connect(self, name: str) -> Client:
        sock = _closed_at_end(socket.socket(socket.AF_UNIX))
        sock.setblocking(False)
        sock.connect(str(self.folder / name))
        self.reactor.turn(3)
        return Client(self, sock)  # type: ignore[arg-type]  # it needs the reactor only

    def target(self) -> socket.socket:
        if self._target is None:
            self._target = _closed_at_end(socket.socket(socket.AF_UNIX))
            (self.folder / "target.sock").unlink(missing_ok=True)
            self._target.bind(str(self.folder / "target.sock"))
            self._target.listen()
            self._target.setblocking(False)
        return self._target

    def session(self, who: str = "alice", at: str = "front.sock") -> tuple[Client, Client]:
        target = self.target()
        client = self.connect(at)
        client.say(f"LOGIN {who} pw\nTARGET\n")
        found: list[socket.socket] = []

        def accepted() -> bool:
            try:
                found.append(_closed_at_end(target.accept()[0]))
            except BlockingIOError:
                return False
            return True

        self.reactor.until(accepted)
        found[0].setblocking(False)
        end = Client(self, found[0])  # type: ignore[arg-type]
        end.until(b"USER")
        end.say("OK\n")
        client.until(b"GO AHEAD")
        client.heard.clear()
        end.heard.clear()
        return client, end

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One control request, one answer."""
        return self.ask_lines(request)[0]

    def ask_lines(self, request: Mapping[str, Any], count: int = 1) -> list[dict[str, Any]]:
        client = self.connect("state/control.sock")
        client.say(json.dumps(request) + "\n")
        self.until(lambda: client.read().count(b"\n") >= count)
        lines = [json.loads(line) for line in client.read().splitlines()]
        client.close()
        return lines

    def http(self, path: str) -> tuple[int, str]:
        client = self.connect("ops.sock")
        client.say(f"GET {path} HTTP/1.0\r\n\r\n")
        answer = client.until_end().decode()
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split()[1]), body

    def events(self) -> list[dict[str, Any]]:
        """Everything that is durable, in order, in all journals."""
        found = []
        for folder in journals(self.folder / "state"):
            with JournalReader(folder) as reader:
                found += [json.loads(record.body) for record in reader if record.kind == Kind.EVENT]
        return found

    def durable(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind, after everything so far is durable."""
        there: list[bool] = []
        journal = self.gateway.journal
        journal.when_durable(journal.next_jseq - 1, lambda: there.append(True))
        journal.commit_now()
        self.until(lambda: bool(there))
        return [event for event in self.events() if event["kind"] == kind]

    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.events()]
