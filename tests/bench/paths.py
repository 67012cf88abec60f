"""The ways to the server that are compared: direct, PgBouncer, a plain relay, the gateway in its modes.

A path has an address for clients and the pid of the process that carries the data. Servers and proxies come
from ``tests.live`` and end with the run.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.live import need
from tests.live.certificates import Certificates, issue_all
from tests.live.dsn import Dsn
from tests.live.gateway import Gateway, clean_environment
from tests.live.people import PEOPLE, QUICK, write_users
from tests.live.postgres import Postgres, debian_binaries
from tests.live.processes import Spawned, free_port, give, listening, server_folder, until, work_folder

__all__ = ["GATEWAYS", "PATHS", "QUICK", "Bench", "Path_", "alone", "bench", "cheap_user", "for_bench"]

GATEWAYS = ("bounded", "strict")
PATHS = ("direct", "pgbouncer", "relay", *GATEWAYS)

#: A server that does nothing but answer: no log, no TLS, room for 1,000 idle sessions.
SETTINGS = {
    "ssl": "off",
    "logging_collector": "off",
    "log_destination": "'stderr'",
    "log_statement": "'none'",
    "log_connections": "off",
    "max_connections": "3500",
    "shared_buffers": "256MB",
    "jit": "off",
    "autovacuum": "off",
    "max_parallel_workers_per_gather": "0",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
}


@attrs.frozen(kw_only=True)
class Path_:
    """One way to the server. ``pid`` is the data-path process; ``None`` for the direct way."""

    name: str
    dsn: Dsn
    pid: int | None = None
    gateway: Gateway | None = None


class Bench:
    """The server, and each path to it, started when first asked for."""

    def __init__(self, *, python: str = sys.executable, **settings: str) -> None:
        self.certificates: Certificates = issue_all(work_folder())
        self.server = Postgres.start("pgbench", debian_binaries(), self.certificates, SETTINGS | settings)
        self.python = python
        self._paths: dict[str, Path_] = {}
        self._ends: list[Callable[[], object]] = [self.server.down]

    def close(self) -> None:
        for end in reversed(self._ends):
            end()

    def path(self, name: str) -> Path_:
        if name not in self._paths:
            self._paths[name] = getattr(self, f"_{name.replace('-', '_')}")()
        return self._paths[name]

    def available(self, names: tuple[str, ...]) -> list[Path_]:
        """Those of ``names`` that can be had here; what is missing is printed with its reason."""
        found = []
        for name in names:
            try:
                found.append(self.path(name))
            except (pytest.skip.Exception, pytest.fail.Exception, RuntimeError, TimeoutError) as error:
                print(f"not measured: {name}: {str(error)[-1500:]}", file=sys.stderr)
        return found

    def _direct(self) -> Path_:
        return Path_(name="direct", dsn=self.server.dsn("app_rw"))

    def _pgbouncer(self) -> Path_:
        program = need.command("pgbouncer", name="pgbouncer", package="pgbouncer")
        folder, port = server_folder("pgbouncer"), free_port()
        users = folder / "users"
        users.touch(mode=0o600)
        users.write_text(f'"app_rw" "{self.server.passwords["app_rw"]}"\n')
        give(users)
        config = folder / "pgbouncer.ini"
        config.write_text(PGBOUNCER.format(port=port, server=self.server.port, users=users))
        give(config)
        process = Spawned([program, str(config)], log=work_folder() / "pgbouncer.log", folder=folder)
        self._ends.append(process.end)
        until(lambda: listening("127.0.0.1", port), seconds=10, what="pgbouncer listens")
        return Path_(name="pgbouncer", dsn=self.server.dsn("app_rw", port=port), pid=process.pid)

    def _relay(self) -> Path_:
        script = Path(__file__).with_name("plain_relay.py")
        if not script.exists():
            need.require("plain relay", f"{script.name} is not there")
        port = free_port()
        process = Spawned(
            [self.python, str(script), "--listen", str(port), "--connect", f"127.0.0.1:{self.server.port}"],
            log=work_folder() / "relay.log",
            as_plain_user=False,
            environment=clean_environment(),
        )
        self._ends.append(process.end)
        until(
            lambda: listening("127.0.0.1", port) or not process.running, seconds=15, what="the relay listens"
        )
        if not process.running:
            raise RuntimeError(f"the plain relay ended: {process.output[-1000:]}")
        return Path_(name="relay", dsn=self.server.dsn("app_rw", port=port), pid=process.pid)

    def _bounded(self) -> Path_:
        return self.gateway("bounded")

    def _strict(self) -> Path_:
        return self.gateway("strict")

    def gateway(
        self,
        mode: str,
        *,
        name: str | None = None,
        upstream_tls: bool = False,
        more: Callable[[dict[str, Any]], object] = lambda settings: None,
        **options: Any,
    ) -> Path_:
        """A gateway with a plain leg to the server, full record and a listener that takes cleartext passwords.

        :param more: changes its configuration further.
        """

        def change(settings: dict[str, Any]) -> None:
            for_bench(settings)
            more(settings)

        made = Gateway.make(
            self.certificates,
            {"app": self.server},
            mode=mode,
            record="full",
            upstream_tls=upstream_tls,
            change=change,
            **options,
        )
        made.python = self.python
        cheap_user(made.folder / "users")
        made.up()
        self._ends.append(made.end)
        dsn = made.dsn("writer")
        return Path_(
            name=name or mode,
            dsn=dsn.but(user=QUICK.name, password=QUICK.password),
            pid=made.pid,
            gateway=made,
        )


def for_bench(settings: dict[str, Any]) -> None:
    """The data path by itself: no reader of the trail takes its share of the machine.

    Each gateway stays where it would if it were alone; they are driven one after the other. (By ``auto`` the second
    one finds that place taken, and is measured on a processor that may be further from the disk.)
    """
    settings["gateway"].setdefault("cpu_affinity", alone())
    settings["ledger"] = {"enabled": False}
    settings["index"] = {"enabled": False}
    for each in settings["listener"]:
        if each["protocol"] == "postgres":
            each["insecure_cleartext"] = True
    settings.setdefault("log", {})["level"] = "warn"


def alone() -> int | str:
    """``[gateway] cpu_affinity`` that is what ``auto`` comes to where no other gateway runs."""
    given = os.sched_getaffinity(0)
    return max(given) if len(given) > 1 else "none"


def cheap_user(path: Path) -> None:
    """Everybody, and QUICK."""
    write_users(path, [*PEOPLE.values(), QUICK])


PGBOUNCER = """\
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = session
max_client_conn = 2000
default_pool_size = 1100
server_reset_query =
ignore_startup_parameters = extra_float_digits
server_idle_timeout = 10
log_connections = 0
log_disconnections = 0
log_stats = 0
"""


@contextlib.contextmanager
def bench(*, python: str = sys.executable, **settings: str) -> Iterator[Bench]:
    """A :class:`Bench` that ends its servers when the block does.

    :param settings: of the server, beside ``SETTINGS``.
    """
    os.environ.setdefault("PGSSLMODE", "disable")
    made = Bench(python=python, **settings)
    try:
        yield made
    finally:
        made.close()
