"""``hoopproxy audit sinks``: from the files, and from a gateway."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.delivery.cursors import Cursor, CursorFile
from hoopproxy.events import canonical
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.writer import Journal


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", "sinks", *map(str, arguments)])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Ten records; one sink has four of them, one all."""
    journal = Journal(
        Folder.acquire(tmp_path / "state"), options=JournalOptions(reserve_bytes=0), threaded=False
    )
    journal.start()
    for number in range(1, 11):
        journal.append_event(canonical({"event": {}, "jseq": number, "kind": "session.note", "v": 1}))
    journal.commit_now()
    journal.stop()
    cursors = tmp_path / "state" / "trail" / "cursors"
    cursors.mkdir(parents=True)
    CursorFile(cursors / "sink-siem").write(Cursor({journal.folder.id: 5}))
    CursorFile(cursors / "sink-here").write(Cursor({journal.folder.id: 11}))
    return tmp_path / "state"


def test_the_files_tell_how_far_each_is(state: Path) -> None:
    """After a crash of everything, too."""
    done = run("--state", state)
    assert done.exit_code == 0, done.output
    here, siem = done.stdout.splitlines()[1:]
    assert here.split()[:4] == ["sink-here", "-", "ok", "0"]
    assert siem.split()[:4] == ["sink-siem", "-", "ok", "6"]
    told = json.loads(run("--state", state, "--json").stdout)
    assert [(each["name"], each["records"]) for each in told["consumers"]] == [
        ("sink-here", 0),
        ("sink-siem", 6),
    ]
    assert told["consumers"][1]["bytes"] > 0


def test_a_damaged_cursor_is_seen(state: Path) -> None:
    """And is an exit code, for who watches by a script."""
    (state / "trail" / "cursors" / "sink-siem.cursor").write_bytes(b"junk")
    done = run("--state", state)
    assert done.exit_code == 1
    assert "damaged" in done.stdout
    assert "can't be used" in done.stdout


def test_nobody_reads_an_empty_state(tmp_path: Path) -> None:
    """It is said, not shown as an empty table."""
    assert "nobody reads the trail" in run("--state", tmp_path).output


@pytest.mark.parametrize("arguments", [(), ("--state", "a", "--config", "b")])
def test_where_to_look_is_said_once(arguments: tuple[str, ...]) -> None:
    """Otherwise it is not clear whose sinks these are."""
    assert run(*arguments).exit_code == 2


class Answering:
    """A control socket that gives one answer."""

    def __init__(self, path: Path, answer: dict[str, Any]) -> None:
        self.path, self._answer = path, answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self.asked: list[Any] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with self._socket:
            connection, _ = self._socket.accept()
        with connection, connection.makefile("rb") as lines:
            self.asked.append(json.loads(lines.readline()))
            connection.sendall(json.dumps(self._answer).encode() + b"\n")


@pytest.mark.parametrize(
    ("state_word", "refuse", "code"), [("ok", "", 0), ("failing", "", 1), ("ok", "no", 1)]
)
def test_a_gateway_tells_state_lag_error_and_cursor(
    tmp_path: Path, state_word: str, refuse: str, code: int
) -> None:
    """Terminal escapes in what a receiver said are shown, not obeyed."""
    consumer = {
        "name": "sink-siem", "type": "syslog", "required": True, "state": state_word, "records": 1234, "bytes": 99_000,
        "since": 1, "error": "Refused\x1b[2J", "positions": {"01a21587-96f5-7d17-a6fd-d55825cbc035": 7},
    }  # fmt: skip
    answer = {
        "ok": True,
        "up": True,
        "starts": 1,
        "state": "running",
        "refuse": refuse,
        "consumers": [consumer],
    }
    there = Answering(tmp_path / "control.sock", answer)
    done = run("--control", there.path)
    assert done.exit_code == code
    assert there.asked == [{"do": "sinks"}]
    row = done.stdout.splitlines()[1]
    assert row.startswith("sink-siem  syslog required")
    for word in (state_word, "1234", "96.7 KiB", "25cbc035:7", "Refused"):
        assert word in row
    assert "\x1b" not in done.output
    assert ("new commands are refused" in done.output) == bool(refuse)


@pytest.mark.parametrize(
    ("trail", "words"),
    [
        ({"up": True, "state": "running", "failing": []}, "its readers: running"),
        (
            {"up": True, "state": "running", "failing": ["sink-siem"]},
            "its readers: running; failing: sink-siem",
        ),
        ({"up": False, "state": "down", "failing": []}, "its readers: down"),
    ],
)
def test_status_says_whether_the_trail_is_read(tmp_path: Path, trail: dict[str, Any], words: str) -> None:
    """Whoever looks at the gateway should see that its trail goes nowhere."""
    answer = {"ok": True, "ready": True, "node": "gw1", "trail": trail}
    there = Answering(tmp_path / "control.sock", answer)
    done = CliRunner().invoke(main, ["status", "--control", str(there.path)])
    assert done.exit_code == 0, done.output
    assert f"trail:     {words}" in done.stdout.splitlines()
