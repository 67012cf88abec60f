"""What the gateway and the process that reads its trail have open: the same after many sessions as after a few."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from hoopproxy.cli.asking import ask
from hoopproxy.cli.audit.source import Gateway as Asked
from hoopproxy.reading.answers import EventLine, Question

from .clients.programs import postgres_program, run
from .gateway import Gateway
from .processes import command_line, processes_of, until
from .ssh_gateway import SSHGateway
from .ssh_servers import Make

STATEMENTS = """
SELECT :client_id, repeat('a row of somebody', 40);
CREATE TEMPORARY TABLE kept AS SELECT generate_series(1, 20) AS number;
SELECT * FROM kept;
"""
SETTLED_SECONDS = 20
AT_WORK = 1
"""Of each kind so many may be open that were not before: the index's part, or the segment, that is read or written."""
QUESTIONS = (
    Question(action="sessions", limit=20),
    Question(action="tail", limit=20),
    Question(action="search", query="somebody", limit=5),
    Question(action="show", session="last"),
    Question(action="replay", session="last"),
    Question(action="timeline", limit=20),
    Question(action="show", session="ffffffff"),
)


@attrs.frozen
class Amount:
    """How much is done between two looks."""

    sessions: int
    reads: int
    reloads: int


FEW = Amount(12, len(QUESTIONS), 1)
amounts = pytest.mark.parametrize(
    "amount", [Amount(60, 14, 3), pytest.param(Amount(400, 105, 20), marks=pytest.mark.soak)], ids=str
)


def _open_in(pid: int) -> Counter[str]:
    """What a process has open, by kind: one segment is as good as another."""
    found: Counter[str] = Counter()
    for number in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found[re.sub(r"[0-9a-f-]*\d[0-9a-f-]*", "N", os.readlink(number))] += 1
    return found


def _follower(gateway: Gateway) -> int:
    """The process that follows the journals."""
    (pid,) = (each for each in processes_of(gateway.pid) if "--follow" in command_line(each).split("\0"))
    return pid


def _reads(gateway: Gateway, count: int) -> None:
    """By the control socket; and of each that is followed, one whose asker goes away."""
    asked = Asked(gateway.state / "control.sock")
    answered = 0
    for number in range(count):
        answers = list(asked.ask(QUESTIONS[number % len(QUESTIONS)]))
        answered += any(isinstance(each, EventLine) for each in answers)
        followed = asked.ask(Question(action="tail", follow=True, limit=1))
        next(followed)
        followed.close()  # type: ignore[attr-defined]  # it is a generator
    assert answered


def _reloads(gateway: Gateway, count: int) -> None:
    for _ in range(count):
        assert ask(gateway.state / "control.sock", {"do": "reload"})["ok"]


def _same_again(gateway: Gateway, amount: Amount, work: Callable[[int], None]) -> None:
    """Do a little; then much; and nothing more is open than after the little, in neither process."""

    def all_of(amount: Amount) -> None:
        work(amount.sessions)
        _reads(gateway, amount.reads)
        _reloads(gateway, amount.reloads)

    all_of(FEW)
    pids = {"gateway": gateway.pid, "follower": _follower(gateway)}
    segments = len(list(gateway.state.rglob("*.segment")))
    until(lambda: _is_idle(gateway), seconds=SETTLED_SECONDS, what="nobody reads or is logged in")
    before = {name: _open_in(pid) for name, pid in pids.items()}
    all_of(amount)
    assert len(list(gateway.state.rglob("*.segment"))) > segments, "no segment was finished meanwhile"
    assert _follower(gateway) == pids["follower"], "another process has taken its place"
    more: dict[str, Counter[str]] = {}

    def settled() -> bool:
        for name, pid in pids.items():
            now = _open_in(pid) - before[name]
            more[name] = Counter({what: count for what, count in now.items() if count > AT_WORK})
        return not any(more.values())

    with contextlib.suppress(TimeoutError):
        until(settled, seconds=SETTLED_SECONDS, what="as before", step=0.2)
    assert not any(more.values()), more


def _is_idle(gateway: Gateway) -> bool:
    children = set(processes_of(gateway.pid)) - {gateway.pid, _follower(gateway)}
    _, figures = gateway.ops("/metrics")
    open_now = re.findall(r"^hoopproxy_sessions(?:\{[^}]*\})? (\S+)$", figures, re.M)
    return not children and not any(map(float, open_now))


def _everything(settings: dict[str, Any]) -> None:
    """Small segments, and everybody who reads the trail."""
    settings["journal"] = {"segment_bytes": 1 << 16}
    folder = Path(settings["gateway"]["state"]).parent
    settings["sink"] = [{"name": "file", "type": "file", "path": folder / "sink.jsonl", "format": "native"}]
    settings["archive"] = {"to": folder / "archive"}
    settings["target"][0]["index_rows"] = True


@amounts
def test_postgresql_sessions_and_their_readers_leave_nothing_open(
    gateway: Any, amount: Amount, tmp_path: Path
) -> None:
    """Whoever runs it for a year would find out: log-ins, wrong passwords, connections that are cut, reads, reloads."""
    through: Gateway = gateway(change=_everything)
    script = tmp_path / "statements.sql"
    script.write_text(STATEMENTS)
    pgbench = postgres_program("pgbench")

    def sessions(count: int) -> None:
        each = ["-n", "-C", "-c", "4", "-t", str(count // 4), "-f", str(script)]
        run(pgbench, each, through.dsn("writer"), seconds=900).checked()
        for _ in range(count // 4):
            run(postgres_program("psql"), ["-X", "-c", "SELECT 1"], through.dsn("writer", password="wrong"))
            with socket.create_connection(("127.0.0.1", through.port()), timeout=5) as cut:
                cut.sendall(b"\0\0\0\x40\0\3\0\0user")

    _same_again(through, amount, sessions)


@amounts
def test_ssh_sessions_and_their_readers_leave_nothing_open(make: Make, amount: Amount) -> None:
    """The same of channels, files and keys."""
    through: SSHGateway = make(change=_everything)

    def sessions(count: int) -> None:
        for number in range(max(count // 8, 2)):
            assert through.ssh.run("writer", f"seq 1 3000; echo somebody {number}").returncode == 0
            with socket.create_connection(("127.0.0.1", through.ssh.port), timeout=5) as cut:
                cut.sendall(b"SSH-2.0-cut\r\n")

    _same_again(through.gateway, amount, sessions)
