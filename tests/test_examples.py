"""The examples work as they stand: a protocol and a sink from packages of their own, and configurations that run.

What they import is what a third party needs to know; if they needed more, the interfaces would be wrong.
"""

from __future__ import annotations

import ast
import base64
import hmac
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import ClassVar

import attrs
import pytest

from .example_modules import EXAMPLES, KEY, REPOSITORY, SECRET, SOURCES

PUBLIC = (
    "hoopproxy.interfaces",
    "hoopproxy.errors",
    "hoopproxy.wire",
    "hoopproxy.events",
    "hoopproxy.testing",
)

SECONDS = 60


@pytest.mark.parametrize("source", SOURCES)
def test_an_example_imports_only_what_is_public(source: str) -> None:
    """An author who had to look further would depend on what may change tomorrow."""
    tree = ast.parse((EXAMPLES / source).read_text())
    names = [each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
    names += [alias.name for each in ast.walk(tree) if isinstance(each, ast.Import) for alias in each.names]
    ours = [name for name in names if name.split(".")[0] == "hoopproxy"]
    assert ours, "nothing was found to judge"
    types = {"hoopproxy.sinks"}  # what a sink is given; the modules in it are for sinks of ours
    assert [name for name in ours if not name.startswith(PUBLIC) and name not in types] == []
    others = (
        {name.split(".")[0] for name in names} - {"hoopproxy", "twisted", "zope"} - sys.stdlib_module_names
    )
    assert others <= {"treq"}


@pytest.mark.parametrize("source", SOURCES)
def test_an_example_is_one_file_of_a_size_that_is_read_in_one_go(source: str) -> None:
    """The promise is one file of about 60 lines; docstrings and blank lines apart, this is it."""
    text = (EXAMPLES / source).read_text()
    body = text.split('"""', 2)[2]
    code = [line for line in body.splitlines() if line.strip() and not line.strip().startswith(("#", '"""'))]
    assert 20 < len(code) < (60 if source == SOURCES[0] else 90)


def commands_in(path: Path) -> list[str]:
    """The lines of a comment that begin with ``$``: what its reader is told to type."""
    return re.findall(r"^#     \$ (.*)$", path.read_text(), re.MULTILINE)


def test_the_full_configuration_is_fine_once_its_own_commands_were_typed(tmp_path: Path) -> None:
    """An example that doesn't pass the check costs its reader the first hour."""
    if shutil.which("openssl") is None:
        pytest.skip("missing openssl: the commands of examples/gateway.toml need it")
    shutil.copy(EXAMPLES / "gateway.toml", tmp_path)
    commands = commands_in(tmp_path / "gateway.toml")
    assert len(commands) >= 4
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    script = "\n".join(commands).replace("hoopproxy ", f"{sys.executable} -c '{HOOPPROXY}' ")
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        ["bash", "-e"],
        input=script,
        text=True,
        capture_output=True,
        cwd=tmp_path,
        env=environment,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    done = hoopproxy([sys.executable], "check", str(tmp_path / "gateway.toml"))
    assert done.returncode == 0, done.stderr
    assert "is fine" in done.stdout


def test_the_full_configuration_names_every_key_that_there_is() -> None:
    """A key that is in no example is found by nobody."""
    from hoopproxy import config

    text = (EXAMPLES / "gateway.toml").read_text()
    sections = (
        config.Gateway,
        config.Log,
        config.JournalOptions,
        config.Ops,
        config.Limits,
        config.Listener,
        config.ListenerTLS,
        config.Target,
        config.TargetTLS,
        config.Role,
        config.Sink,
    )
    for section in sections:
        for key in (name.rstrip("_") for name in attrs.fields_dict(section)):
            if section is config.Sink and key in ("options", "base"):
                continue
            assert re.search(rf"^(# )?(\[+\w+\.)?{key}( =|[.\]])", text, re.MULTILINE), (
                f"{section.__name__}.{key}"
            )


def test_the_quickstart_is_what_the_demonstration_runs() -> None:
    """The README would show one configuration and `hoopproxy demo` run another."""
    packaged = resources.files("hoopproxy.demo").joinpath("quickstart.toml").read_text()
    assert (EXAMPLES / "quickstart.toml").read_text() == packaged


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """A directive that systemd doesn't know is ignored with a warning: no protection, and nobody notices."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("missing systemd-analyze: it judges examples/hoopproxy.service")
    unit = tmp_path / "hoopproxy.service"
    text = (EXAMPLES / "hoopproxy.service").read_text()
    unit.write_text(text.replace("/opt/hoopproxy/bin/twistd", "/bin/true"))
    done = subprocess.run([tool, "verify", unit], capture_output=True, text=True, timeout=SECONDS)
    complaints = [line for line in done.stderr.splitlines() if "hoopproxy.service" in line]
    assert complaints == []


HOOPPROXY = "from hoopproxy.cli import main; main()"

TWISTD = "from twisted.scripts.twistd import run; run()"

CONFIGURATION = """
[gateway]
state = "state"
drain_seconds = 1
allow_volatile_state = true
[journal]
compression = "none"
[[listener]]
name = "lines"
protocol = "lines"
listen = "tcp:{port}:interface=127.0.0.1"
targets = ["store"]
insecure_cleartext = true
[[target]]
name = "store"
protocol = "lines"
connect = "tcp:127.0.0.1:{target}"
tls = {{ mode = "off" }}
[target.accounts.writer]
user = "gateway"
password = "env:STORE_PASSWORD"
[[checker]]
type = "file"
path = "users"
[[role]]
name = "staff"
groups = ["staff"]
targets = ["store"]
account = "writer"
deny = ["DROP"]
[[sink]]
name = "hooks"
type = "webhook"
url = "http://127.0.0.1:{hooks}/"
secret = "env:WEBHOOK_SECRET"
kinds = ["command"]
batch_events = 20
"""


class Hooks(http.server.BaseHTTPRequestHandler):
    """What posts are answered by; each message's type is kept in ``heard``."""

    heard: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        signed = b"%s.%s.%s" % (
            self.headers["webhook-id"].encode(), self.headers["webhook-timestamp"].encode(), body,
        )  # fmt: skip
        good = "v1," + base64.b64encode(hmac.new(KEY, signed, "sha256").digest()).decode()
        fine = hmac.compare_digest(good, self.headers["webhook-signature"])
        if fine:
            self.heard.append(json.loads(body)["type"])
        self.send_response(204 if fine else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not on standard error."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An interpreter that has this checkout, our libraries, and both examples installed by pip."""
    folder = tmp_path_factory.mktemp("plugins")
    run = subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder / "venv"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert run.returncode == 0, run.stderr
    interpreter = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(f"{REPOSITORY}\n{sysconfig.get_paths()['purelib']}\n")
    for name in ("line_protocol", "sink_plugin"):
        copy = folder / name  # pip builds where the source is, and leaves things there
        shutil.copytree(
            EXAMPLES / name, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        )
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            interpreter,
            "--disable-pip-version-check",
            "install",
            "-q",
        ]
        done = subprocess.run([*pip, "--no-deps", copy], capture_output=True, text=True, timeout=300)
        if done.returncode != 0 and "Could not find a version" in done.stderr:
            pytest.skip(f"missing the build backend: no package index here ({done.stderr.strip()[-200:]})")
        assert done.returncode == 0, done.stderr[-3000:]
    return [str(interpreter)]


def hoopproxy(python: list[str], *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*python, "-P", "-c", HOOPPROXY, *arguments],
        input=said,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")},
        timeout=SECONDS,
    )


@pytest.mark.live
def test_installed_packages_are_found_and_listed(python: list[str]) -> None:
    """A plugin in a package of its own is the promise; one in our folder proves nothing."""
    done = hoopproxy(python, "plugins", "--json")
    assert done.returncode == 0, done.stderr
    found = {(each["kind"], each["name"]): each["module"] for each in json.loads(done.stdout)["plugins"]}
    assert found["protocol", "lines"] == "hoopproxy_lines"
    assert found["sink", "webhook"] == "hoopproxy_webhook"
    assert found["protocol", "postgres"].startswith("hoopproxy.")


class Store:
    """A tiny line server: what the gateway's target is. ``heard`` is all that reached it."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                self.heard.append(line)
                first, _, rest = line.rstrip(b"\n").partition(b" ")
                stream.write(b"* ok\n" if first == b"login" else b"did %b %b\n" % (first, rest))
                stream.flush()


@pytest.mark.live
def test_twistd_runs_a_third_partys_protocol_end_to_end(python: list[str], tmp_path: Path) -> None:
    """Listener, log-in, roles, journal and audit have to work for a protocol that we have never seen."""
    store = Store()
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    config = tmp_path / "gateway.toml"
    hooks = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hooks)
    threading.Thread(target=hooks.serve_forever, daemon=True).start()
    config.write_text(CONFIGURATION.format(port=port, target=store.port, hooks=hooks.server_address[1]))
    added = hoopproxy(
        python, "passwd", str(tmp_path / "users"), "alice", "--group", "staff", "--stdin", said="s3cret\n"
    )
    assert added.returncode == 0, added.stderr
    checked = hoopproxy(python, "check", str(config))
    assert checked.returncode == 0, checked.stderr
    arguments = [*python, "-P", "-c", TWISTD, "-n", "--pidfile=", "hoopproxy", "--config", str(config)]
    log = tmp_path / "log"
    with log.open("wb") as output:
        gateway = subprocess.Popen(
            arguments,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            env={**os.environ, "STORE_PASSWORD": "upstream-secret", "WEBHOOK_SECRET": SECRET.decode()},
        )
    try:
        until(lambda: connects(port) or gateway.poll() is not None, "the gateway listens")
        assert gateway.poll() is None, log.read_text()
        assert talked(port, b"login alice wrong\n").startswith(b"* bye ")
        answer = talked(port, b"login alice s3cret\n", b"get colour\ndrop everything\n")
        assert answer.startswith(b"* ok\n")
        assert b"did get colour\n* denied: the role staff denies DROP" in answer
        shown = hoopproxy(python, "audit", "show", "last", "--config", str(config), "--json")
        assert shown.returncode == 0, shown.stderr
        until(lambda: "command.denied" in Hooks.heard, "the sink delivers")
    finally:
        gateway.terminate()
        try:
            gateway.wait(20)
        finally:
            gateway.kill()
            store.listening.close()
            hooks.shutdown()
    assert store.heard == [b"login gateway upstream-secret\n", b"get colour\n"]
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {each["protocol"] for each in events} == {"lines"}
    assert {each["identity"]["id"] for each in events} == {"alice"}
    kinds = [each["kind"] for each in events]
    for kind in (
        "login.succeeded",
        "session.start",
        "command.requested",
        "command.denied",
        "command.completed",
    ):
        assert kind in kinds
    (end,) = [each["event"] for each in events if each["kind"] == "session.end"]
    assert end["balanced"], end
    told = shown.stdout + log.read_text()
    assert "s3cret" not in told
    assert "upstream-secret" not in told
    kept = [path.read_bytes() for path in (tmp_path / "state" / "journals").rglob("*") if path.is_file()]
    assert not [each for each in kept if b"upstream-secret" in each or b"s3cret" in each]


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def talked(port: int, login: bytes, said: bytes = b"") -> bytes:
    """Log in, hear what comes of it, say the rest, close that side, and hear everything."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(login)
        heard = connection.recv(65536)
        if said:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65536):
            heard += piece
        return heard


def until(done: Callable[[], bool], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not after {seconds} s: {what}"
        time.sleep(0.05)
