"""A database behind a gateway of SSH."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from . import need
from .gateway import Configuration
from .postgres import Postgres

__all__ = ["psql", "with_database"]


def with_database(server: Postgres, folder: Path) -> Callable[[Configuration], None]:
    """A second target, ``app``: writers get its ``app_rw``, readers nothing."""

    def change(settings: Configuration) -> None:
        secret = folder / "app_rw"
        secret.touch(mode=0o600)
        secret.write_text(server.passwords["app_rw"])
        settings["target"].append(
            {
                "name": "app",
                "protocol": "postgres",
                "connect": f"tcp:127.0.0.1:{server.port}",
                "tls": {"mode": "verify", "ca": server.certificates.ca, "name": "localhost"},
                "accounts": {"app_rw": {"user": "app_rw", "password": f"file:{secret}"}},
            }
        )
        settings["role"].append(
            {"name": "data", "groups": ["writers"], "targets": ["app"], "account": "app_rw", "deny": ["DROP"]}
        )

    return change


def psql(port: int, user: str, *statements: str) -> subprocess.CompletedProcess[str]:
    """psql by its own program, without a password to give."""
    tool = need.command("psql", name="PostgreSQL client", package="postgresql-client")
    asked = [part for each in statements for part in ("-c", each)]
    return subprocess.run(
        [tool, "-XAtw", f"host=127.0.0.1 port={port} user={user} dbname=app sslmode=prefer", *asked],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
