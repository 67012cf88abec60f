"""Where a client connects, and as whom: one value that every client library's own form is made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

__all__ = ["Dsn"]


@attrs.frozen(kw_only=True)
class Dsn:
    """A PostgreSQL address with credentials. Secrets go to clients by environment or argument object,
    never on a command line.

    ``sslmode`` is always explicit: libpq's default ``prefer`` uses TLS through some proxies only.
    """

    host: str = "127.0.0.1"
    port: int
    user: str
    password: str | None = attrs.field(default=None, repr=False)
    dbname: str
    sslmode: str = "disable"
    sslrootcert: Path | None = None
    sslcert: Path | None = None
    sslkey: Path | None = None
    options: Mapping[str, str] = attrs.field(factory=dict)
    """Further libpq parameters (``application_name``, ``sslnegotiation``, ``max_protocol_version``)."""

    def but(self, **changes: object) -> Dsn:
        """The same with other values; unknown names become libpq ``options``."""
        names = {each.name for each in attrs.fields(Dsn)}
        known = {name: value for name, value in changes.items() if name in names}
        extra = {name: str(value) for name, value in changes.items() if name not in names}
        return attrs.evolve(self, options={**self.options, **extra}, **known)  # type: ignore[arg-type]

    @property
    def parameters(self) -> dict[str, str]:
        """libpq keywords and values."""
        values = {
            "host": self.host,
            "port": str(self.port),
            "user": self.user,
            "password": self.password,
            "dbname": self.dbname,
            "sslmode": self.sslmode,
            "sslrootcert": _text(self.sslrootcert),
            "sslcert": _text(self.sslcert),
            "sslkey": _text(self.sslkey),
            "gssencmode": "disable",
            "connect_timeout": "60",
            **self.options,
        }
        return {name: value for name, value in values.items() if value is not None}

    @property
    def conninfo(self) -> str:
        """The libpq connection string, with the password: for libraries, not for command lines."""
        return " ".join(f"{name}={_quoted(value)}" for name, value in self.parameters.items())

    @property
    def environment(self) -> dict[str, str]:
        """``PG...`` variables for psql, pgbench and pg_dump."""
        special = {
            "dbname": "PGDATABASE",
            "application_name": "PGAPPNAME",
            "client_encoding": "PGCLIENTENCODING",
            "connect_timeout": "PGCONNECT_TIMEOUT",
        }
        return {
            special.get(name, "PG" + name.replace("_", "").upper()): value
            for name, value in self.parameters.items()
        }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
