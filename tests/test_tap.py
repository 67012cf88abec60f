"""``twistd hoopproxy`` as a process of its own: reactors, options, mistakes, signals. Unix sockets only."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hoopproxy.cli.asking import ask
from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.folder import journals
from hoopproxy.journal.format import Kind
from hoopproxy.journal.reader import JournalReader

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
TOML = """
[gateway]
state = "state"
allow_volatile_state = true
drain_seconds = 1
[[listener]]
name = "pg"
protocol = "postgres"
listen = "unix:{folder}/pg.sock"
targets = ["app"]
insecure_cleartext = true
[[target]]
name = "app"
protocol = "postgres"
connect = "unix:{folder}/nobody.sock"
[target.tls]
mode = "off"
[target.accounts.ro]
user = "ro"
password = "env:HOOP_TEST_PASSWORD"
[[checker]]
type = "file"
path = "users"
[[role]]
name = "staff"
groups = ["staff"]
targets = ["app"]
account = "ro"
"""

SEALING = {"audit.epoch", "audit.checkpoint"}
"""What the ledger says, of which something may come when the gateway has stopped."""


class Process:
    """One twistd in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        users = folder / "users"
        users.touch(mode=0o600)
        users.write_text("# hoopproxy users 1\n")
        self.write(TOML)

    def write(self, text: str) -> None:
        (self.folder / "gateway.toml").write_text(text.format(folder=self.folder))

    def command(self, *options: str) -> list[str]:
        return [*TWISTD, *options, "hoopproxy", "--config", "gateway.toml"]

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """To its own end."""
        return subprocess.run(
            self.command("-n", "--pidfile=", *options),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def up(self, *options: str) -> Process:
        with (self.folder / "output").open("w") as output:
            self.process = subprocess.Popen(
                self.command("-n", "--pidfile=", *options),
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.until_ready()
        return self

    def until_ready(self) -> dict[str, Any]:
        return until(lambda: self._status())

    def _status(self) -> dict[str, Any] | None:
        assert self.process is None or self.process.poll() is None, self.output
        try:
            found = ask(self.folder / "state" / "control.sock", {"do": "status"})
        except HoopproxyError:
            return None
        return found if found["ready"] else None

    def down(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    def events(self) -> list[dict[str, Any]]:
        found = []
        for folder in journals(self.folder / "state"):
            with JournalReader(folder) as reader:
                found += [json.loads(record.body) for record in reader if record.kind == Kind.EVENT]
        return found


def until(true: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return found


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_the_plugin_module_imports_nothing_of_ours() -> None:
    """Every run of twistd on the machine imports it, whatever it is for."""
    code = (
        "import sys, runpy; sys.path.insert(0, '.');"
        "runpy.run_path('twisted/plugins/hoopproxy_plugin.py');"
        "print([name for name in sys.modules if name.startswith('hoopproxy') or name.endswith('reactor')])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not (root / "twisted" / "__init__.py").exists()
    assert not (root / "twisted" / "plugins" / "__init__.py").exists()


def test_it_starts_on_the_slim_reactor_and_stops_in_order(process: Process) -> None:
    """The whole life of a gateway that nobody uses."""
    process.up()
    # twistd dies of the signal that stopped it.
    assert process.down() == -signal.SIGTERM
    assert "hoopproxy.gateway.slim.SlimEPollReactor" in process.output
    assert "Traceback" not in process.output
    kinds = [event["kind"] for event in process.events()]
    assert kinds[:3] == ["gateway.clock", "gateway.started", "gateway.stopped"]
    assert set(kinds[3:]) <= SEALING, "after its end only what seals the end"
    assert not (process.folder / "state" / "control.sock").exists()


def test_twistds_own_choice_of_reactor_wins(process: Process) -> None:
    """``--reactor`` is the operator's word."""
    process.up("--reactor", "select")
    process.down()
    assert "twisted.internet.selectreactor.SelectReactor" in process.output


def test_the_stock_reactor_can_be_asked_for(process: Process) -> None:
    """To find out whether ours is to blame."""
    process.write(TOML.replace('state = "state"', 'state = "state"\nreactor = "stock"'))
    process.up()
    process.down()
    assert "twisted.internet.epollreactor.EPollReactor" in process.output


def test_every_problem_of_a_configuration_is_told_at_once_without_a_traceback(process: Process) -> None:
    """Exit status 1, and everything on standard error."""
    process.write(
        TOML.replace('account = "ro"', 'account = "nobody"')
        .replace("drain_seconds = 1", 'drain_seconds = "long"')
        .replace('type = "file"', 'type = "flie"')
    )
    done = process.run()
    assert done.returncode == 1
    for words in ("drain_seconds", "nobody", "flie"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) >= 3


def test_a_configuration_that_is_not_there_is_one_sentence(process: Process) -> None:
    """The most common mistake of all."""
    (process.folder / "gateway.toml").unlink()
    done = process.run()
    assert done.returncode == 1
    assert "gateway.toml" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_key_that_does_not_fit_is_found_before_anything_starts(process: Process) -> None:
    """A TLS listener without a usable key would fail each client instead."""
    (process.folder / "cert.pem").write_text("no certificate")
    (process.folder / "key.pem").touch(mode=0o600)
    (process.folder / "key.pem").write_text("no key")
    process.write(
        TOML.replace(
            "[[target]]", '[listener.tls]\ncertificate = "cert.pem"\nkey = "file:key.pem"\n[[target]]'
        )
    )
    done = process.run()
    assert done.returncode == 1
    assert "listener[pg].tls" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (process.folder / "state").exists()


def test_a_port_that_is_taken_is_a_sentence(process: Process) -> None:
    """No traceback for two gateways on one machine."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process.write(TOML.replace("unix:{folder}/pg.sock", f"tcp:{port}:interface=127.0.0.1"))
        done = process.run()
    assert done.returncode == 1
    assert f"can't listen on port {port} of 127.0.0.1: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_strict_state_directory_on_memory_is_refused_unless_named(process: Process) -> None:
    """It promises what a power cut would break."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        pytest.skip("no tmpfs to try")
    place = shm / f"hoopproxy-test-{os.getpid()}"
    text = TOML.replace('state = "state"', f'state = "{place}"')
    process.write(text.replace("allow_volatile_state = true", ""))
    try:
        done = process.run()
    finally:
        for path in place.iterdir():
            path.unlink()
        place.rmdir()
    assert done.returncode == 1
    assert "tmpfs" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_sighup_reloads_and_a_bad_file_changes_nothing(process: Process) -> None:
    """The process goes on in both cases, and says what it did."""
    process.up()
    assert process.process is not None
    process.write(TOML + "[limits]\nidle_seconds = 60\n")
    process.process.send_signal(signal.SIGHUP)
    until(lambda: "reloaded: 1 changes" in process.output)
    process.write(TOML + "[limits]\nidle_minutes = 60\n")
    process.process.send_signal(signal.SIGHUP)
    until(lambda: "not reloaded: " in process.output and "idle_minutes" in process.output)
    process.until_ready()
    process.down()
    changed = [event for event in process.events() if event["kind"] == "gateway.config_changed"]
    assert [event["outcome"] for event in changed] == ["success", "failure"]
    assert changed[0]["event"]["changes"] == [{"key": "limits.idle_seconds", "new": 60, "old": 0}] or (
        changed[0]["event"]["changes"][0]["key"] == "limits.idle_seconds"
    )


def test_the_service_manager_is_told(process: Process) -> None:
    """``Type=notify-reload`` waits for these words."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(process.folder / "notify.sock"))
    manager.settimeout(20)
    process.environment["NOTIFY_SOCKET"] = str(process.folder / "notify.sock")
    process.up()
    assert process.process is not None
    first = manager.recv(4096)
    assert first.startswith(b"READY=1\n")
    assert f"MAINPID={process.process.pid}".encode() in first
    process.process.send_signal(signal.SIGHUP)
    reloading = manager.recv(4096)
    assert reloading.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert manager.recv(4096).startswith(b"READY=1\n")
    process.down()
    assert manager.recv(4096).startswith(b"STOPPING=1\n")
    manager.close()


def test_a_log_of_json_lines(process: Process) -> None:
    """Every line of it, twistd's own included."""
    process.write(TOML + '[log]\nformat = "json"\n')
    process.up()
    process.down()
    lines = [json.loads(line) for line in process.output.splitlines()]
    assert any(line["message"].startswith("hoopproxy ") for line in lines)
    assert all({"time", "level", "source", "message"} == line.keys() for line in lines)


def test_the_log_goes_where_twistd_is_told(process: Process) -> None:
    """``--logfile`` with our format."""
    process.up("--logfile", "gateway.log")
    process.down()
    assert "hoopproxy 0" in (process.folder / "gateway.log").read_text()
    assert process.output == ""


def test_it_runs_as_a_daemon(process: Process) -> None:
    """twistd forks between the making and the starting: threads and locks from before would be dead."""
    done = subprocess.run(
        process.command("--pidfile", "gateway.pid", "--logfile", "gateway.log"),
        cwd=process.folder,
        env=process.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    status = process.until_ready()
    pid = int((process.folder / "gateway.pid").read_text())
    assert status["pid"] == pid
    until(lambda: status["journal"]["durable"] or process.until_ready()["journal"]["durable"])
    os.kill(pid, signal.SIGTERM)
    until(lambda: "gateway.stopped" in [event["kind"] for event in process.events()])
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_daemon_that_cannot_start_fails_its_parent(process: Process) -> None:
    """The service manager sees the exit status only."""
    (process.folder / "state").write_text("not a directory")
    done = subprocess.run(
        process.command("--pidfile", "gateway.pid", "--logfile", "gateway.log"),
        cwd=process.folder,
        env=process.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "can't be made" in (process.folder / "gateway.log").read_text()


def test_a_broken_plugin_is_named_and_stops_nobody(process: Process) -> None:
    """In the log and in the trail, by its place; its words, which could hold anything, in neither."""
    plugins = process.folder / "other" / "hoopproxy" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "broken.py").write_text("raise RuntimeError('hunter2-secret')\n")
    process.environment["PYTHONPATH"] = str(process.folder / "other")
    process.up("--logfile", "gateway.log")
    process.down()
    failed = [event for event in process.events() if event["kind"] == "gateway.plugin_failed"]
    assert [event["event"]["plugin"] for event in failed] == ["hoopproxy.plugins.broken"]
    assert "broken.py:1" in failed[0]["event"]["error"]
    assert "hoopproxy.plugins.broken can't be used" in (process.folder / "gateway.log").read_text()
    assert "hunter2" not in json.dumps(process.events())
    # Twisted shows the traceback of an import on standard error, before there is a log.
    assert "hunter2" not in (process.folder / "gateway.log").read_text()


def test_a_gateway_that_was_killed_starts_again(process: Process) -> None:
    """Its socket and its journal are taken over."""
    process.up()
    until(lambda: process.until_ready()["journal"]["durable"] >= 2)
    assert process.down(signal.SIGKILL) == -signal.SIGKILL
    process.up()
    process.down()
    kinds = [event["kind"] for event in process.events()]
    assert kinds.count("gateway.started") == 2
    assert [kind for kind in kinds if kind not in SEALING][-1] == "gateway.stopped"


def test_no_secret_is_asked_for_on_the_command_line() -> None:
    """Everybody on the machine can read it."""
    from hoopproxy.tap import Options

    assert [parameter[0] for parameter in Options.optParameters] == ["config"]
