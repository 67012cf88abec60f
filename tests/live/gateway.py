"""``twistd hoopproxy`` as a subprocess: its configuration, its life, and what its trail says."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from . import need, toml
from .certificates import Certificates
from .dsn import Dsn
from .people import PEOPLE, write_users
from .postgres import Postgres
from .processes import Spawned, free_port, listening, on_real_disk, until, work_folder

__all__ = ["PLAIN", "TLS", "Gateway", "configuration"]

READY_SECONDS = 30
PLAIN, TLS = "plain", "tls"  # the names of the listeners that every configuration has

Configuration = dict[str, Any]


def configuration(
    folder: Path,
    certificates: Certificates,
    targets: Mapping[str, Postgres],
    *,
    mode: str = "strict",
    record: str = "full",
    upstream_tls: bool = True,
) -> Configuration:
    """A configuration with a plain and a TLS listener, the people of ``PEOPLE`` and the given targets.

    Writers get ``app_rw``, readers ``app_ro``. Each test changes what it is about before the start.
    """
    # A strict state directory on an overlay is refused; a container has nothing else.
    volatile = None if on_real_disk(folder) else True
    names = list(targets)
    return {
        "config": {"version": 1},
        "gateway": {
            "node": "live",
            "state": folder / "state",
            "drain_seconds": 5,
            "allow_volatile_state": volatile,
        },
        "log": {"format": "text", "level": "info"},
        "journal": {},
        "ops": {"listen": _endpoint(free_port())},
        "limits": {
            "login_seconds": 120,  # who else works on the machine may take their time
            "failure_delay_ms": 20,
            "sessions_per_identity": 2000,
            "sessions_per_address": 2000,
            "sessions_per_listener": 2000,
            "pre_login_connections": 500,
            "failures_per_minute_address": 100_000,
            "failures_per_minute_user": 100_000,
        },
        "listener": [
            {"name": PLAIN, "protocol": "postgres", "listen": _endpoint(free_port()), "targets": names},
            {
                "name": TLS,
                "protocol": "postgres",
                "listen": _endpoint(free_port()),
                "targets": names,
                "tls": {
                    "certificate": certificates.server.certificate,
                    "key": f"file:{certificates.server.key}",
                    "client_ca": certificates.ca,
                    "required": True,
                },
            },
        ],
        "target": [_target(name, server, mode, record, upstream_tls) for name, server in targets.items()],
        "checker": [{"type": "file", "path": folder / "users"}],
        "role": [
            {"name": "writer", "groups": ["writers"], "targets": names, "account": "app_rw"},
            {"name": "reader", "groups": ["readers"], "targets": names, "account": "app_ro", "read": "own"},
        ],
    }


def _endpoint(port: int, interface: str = "127.0.0.1") -> str:
    return f"tcp:{port}:interface={interface}"


def _target(name: str, server: Postgres, mode: str, record: str, tls: bool) -> dict[str, Any]:
    verified = {"mode": "verify", "ca": server.certificates.ca, "name": "localhost"}
    return {
        "name": name,
        "protocol": "postgres",
        "connect": f"tcp:127.0.0.1:{server.port}",
        "mode": mode,
        "record": record,
        "tls": verified if tls else {"mode": "off"},
        "accounts": {
            account: {"user": account, "password": f"env:{secret_name(name, account)}"}
            for account in ("app_rw", "app_ro")
        },
    }


def secret_name(target: str, account: str) -> str:
    """The environment variable that holds an upstream account's password."""
    return f"HP_{target}_{account}".upper().replace("-", "_")


@attrs.define(kw_only=True, eq=False)
class Gateway:
    """One gateway process, and the folder that outlives it (a new process goes on with the same state)."""

    folder: Path
    settings: Configuration
    certificates: Certificates
    environment: dict[str, str] = attrs.field(factory=dict, repr=False)
    python: str = sys.executable
    _process: Spawned | None = None

    @classmethod
    def make(
        cls,
        certificates: Certificates,
        targets: Mapping[str, Postgres],
        *,
        change: Callable[[Configuration], object] | None = None,
        folder: Path | None = None,
        **options: Any,
    ) -> Gateway:
        """Write the configuration and users of a gateway; :meth:`up` starts it.

        :param change: called with the configuration before it is written.
        :param options: of :func:`configuration`.
        """
        folder = folder or Path(tempfile.mkdtemp(prefix="gateway-", dir=work_folder()))
        settings = configuration(folder, certificates, targets, **options)
        if change is not None:
            change(settings)
        environment = {
            secret_name(name, account): server.passwords[account]
            for name, server in targets.items()
            for account in server.passwords
        }
        gateway = cls(folder=folder, settings=settings, certificates=certificates, environment=environment)
        write_users(folder / "users")
        gateway.write()
        return gateway

    # -- where

    @property
    def config(self) -> Path:
        return self.folder / "gateway.toml"

    @property
    def state(self) -> Path:
        return Path(self.settings["gateway"]["state"])

    @property
    def journal_dir(self) -> Path:
        return self.state / "journals"

    @property
    def log(self) -> Path:
        """What the process wrote to standard output and error."""
        return self.folder / "gateway.log"

    @property
    def stderr(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def port(self, listener: str = PLAIN) -> int:
        for each in self.settings["listener"]:
            if each["name"] == listener:
                return _port_of(each["listen"])
        raise KeyError(listener)

    def dsn(self, user: str = "writer", dbname: str = "app", *, tls: bool = False, **changes: Any) -> Dsn:
        """An address through the gateway. ``tls``: by the TLS listener, verified."""
        person = PEOPLE.get(user.split("+")[0].split("=")[0])
        base = Dsn(
            port=self.port(TLS if tls else PLAIN),
            user=user,
            password=None if person is None else person.password,
            dbname=dbname,
        )
        if tls:
            base = base.but(sslmode="verify-full", sslrootcert=self.certificates.ca)
        return base.but(**changes)

    # -- its life

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def write(self) -> None:
        """Write the configuration as ``settings`` say now (then :meth:`reload` or :meth:`up`)."""
        self.config.write_text(toml.render(self.settings))
        self.config.chmod(0o600)

    def reload(self) -> None:
        """SIGHUP."""
        assert self._process is not None
        self._process.send(signal.SIGHUP)

    def up(self, *, seconds: float = READY_SECONDS) -> Gateway:
        """Start the process and wait until ``/readyz`` says so.

        :raises RuntimeError: it ended instead; the text has the end of its log.
        """
        self._process = Spawned(
            self._command(),
            log=self.log,
            as_plain_user=False,
            environment=self._environment(),
            folder=self.folder,
        )
        until(self._ready, seconds=seconds, what=f"the gateway in {self.folder} is ready")
        return self

    def refuse_to_start(self, *, seconds: float = READY_SECONDS) -> tuple[int, str]:
        """Start a process that is expected to end by itself: its exit status and all that it said."""
        before = len(self.stderr)
        process = Spawned(
            self._command(),
            log=self.log,
            as_plain_user=False,
            environment=self._environment(),
            folder=self.folder,
        )
        try:
            return process.wait(seconds), self.stderr[before:]
        finally:
            process.end(signal.SIGKILL)

    def kill9(self) -> None:
        assert self._process is not None
        self._process.end(signal.SIGKILL)

    def terminate(self, *, seconds: float = 100) -> int:
        """SIGTERM, then wait: the exit status, as :meth:`wait` says it."""
        assert self._process is not None
        return self._in_order(self._process.end(signal.SIGTERM, seconds=seconds))

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send(number)

    def wait(self, seconds: float) -> int:
        """Its exit status. twistd ends an orderly shutdown with the signal that asked for it: that is 0."""
        assert self._process is not None
        return self._in_order(self._process.wait(seconds))

    def _in_order(self, status: int) -> int:
        orderly = status == -signal.SIGTERM and "Server Shut Down." in self.stderr[-1000:]
        return 0 if orderly else status

    def end(self) -> None:
        """End it if it runs; never raises."""
        if self.running:
            self.terminate()

    def _command(self) -> list[str]:
        return [*twistd(self.python), "-n", "--pidfile=", "hoopproxy", "--config", str(self.config)]

    def _environment(self) -> dict[str, str]:
        return {**clean_environment(), **self.environment}

    def _ready(self) -> bool:
        if not self.running:
            raise RuntimeError(f"the gateway ended at its start:\n{self.stderr[-3000:]}")
        if "ops" in self.settings:
            return self.ops("/readyz")[0] == 200
        return all(listening("127.0.0.1", self.port(each["name"])) for each in self.settings["listener"])

    def ops(self, path: str) -> tuple[int, str]:
        """GET ``/livez``, ``/readyz`` or ``/metrics``: status and body; ``(0, why)`` when nobody answers."""
        port = _port_of(self.settings["ops"]["listen"])
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)

    def figure(self, name: str) -> float:
        """One of ``/metrics``, by its name and labels as they are written there; 0 while there is none."""
        for line in self.ops("/metrics")[1].splitlines():
            before, _, value = line.rpartition(" ")
            if before == name:
                return float(value)
        return 0.0

    # -- its trail

    def hoopproxy(
        self, *arguments: str, text: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the ``hoopproxy`` command of the same installation."""
        done = subprocess.run(
            [self.python, "-m", "hoopproxy.cli", *arguments],
            input=text,
            capture_output=True,
            text=True,
            env=self._environment(),
            cwd=self.folder,
            timeout=120,
            check=False,
        )
        if check and done.returncode != 0:
            said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
            raise AssertionError(f"hoopproxy {' '.join(arguments)}: exit {done.returncode}: {said}")
        return done

    def events(self, *kinds: str, **fields: Any) -> list[dict[str, Any]]:
        """Every event in the journals, in order: read at rest, as an auditor with the files would.

        :param kinds: only these, when any are named.
        :param fields: only events whose envelope has these values (``session=...``).
        """
        found = []
        for each in read_events(self.state):
            if (not kinds or each["kind"] in kinds) and all(each.get(n) == v for n, v in fields.items()):
                found.append(each)
        return found

    def wait_for_events(
        self, *kinds: str, count: int = 1, seconds: float = 30, **fields: Any
    ) -> list[dict[str, Any]]:
        """Wait until at least ``count`` such events are in the journal."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found[:] = self.events(*kinds, **fields)
            return len(found) >= count

        with contextlib.suppress(TimeoutError):
            until(enough, seconds=seconds, what="events", step=0.1)
        assert len(found) >= count, f"{len(found)} of {count} events {kinds} {fields} after {seconds} s"
        return found

    def session_of(self, application_name: str, *, seconds: float = 30) -> str:
        """The session whose client called itself that at start-up."""
        match: list[str] = []

        def there() -> bool:
            for each in self.events("session.start"):
                said = each["event"].get("client_parameters", {})
                if said.get("application_name") == application_name:
                    match.append(each["session"])
            return bool(match)

        until(there, seconds=seconds, what=f"a session.start of {application_name!r}", step=0.1)
        return match[-1]


def read_events(state: Path) -> list[dict[str, Any]]:
    """All events of all journals of a state directory, by the product's own reader: what is durable there."""
    try:
        from hoopproxy.journal.folder import journals
        from hoopproxy.journal.format import Kind
        from hoopproxy.journal.reader import JournalReader
    except ImportError as error:
        need.require("gateway", f"the journal's reader is not there: {error}")
    found = []
    for folder in journals(state):
        with JournalReader(folder) as reader:
            found += [json.loads(record.body) for record in reader if record.kind == Kind.EVENT]
    return found


def twistd(python: str) -> list[str]:
    """The ``twistd`` of an interpreter's installation."""
    beside = Path(python).with_name("twistd")
    if beside.exists():
        return [python, str(beside)]
    found = shutil.which("twistd")
    if found is None:
        need.require("gateway", "twistd is not there: `pip install -e .[test]`")
    return [found]


def clean_environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONUNBUFFERED": "1"}


def _port_of(endpoint: str) -> int:
    return int(endpoint.split(":")[1])


def changed(settings: Configuration, path: str, value: object) -> Configuration:
    """A deep copy of a configuration with one dotted key (``target.0.mode``) set."""
    made = copy.deepcopy(settings)
    *parents, last = path.split(".")
    place: Any = made
    for each in parents:
        place = place[int(each)] if isinstance(place, list) else place.setdefault(each, {})
    place[int(last) if isinstance(place, list) else last] = value
    return made


def refused(dsn: Dsn) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as trial:
        return trial.connect_ex((dsn.host, dsn.port)) != 0
