"""node-postgres, with its cursor, query-stream and COPY packages (``battery.js``)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ..dsn import Dsn
from ..need import command, npm

__all__ = ["run"]

PACKAGES = ("pg", "pg-cursor", "pg-query-stream", "pg-copy-streams")
SCRIPT = Path(__file__).with_name("battery.js")


def run(dsn: Dsn) -> list[tuple[str, Any]]:
    node = command("node", name="node-postgres", package="nodejs")
    folder = npm("node-postgres", *PACKAGES)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
        "NODE_PATH": str(folder / "node_modules"),
        "TZ": "UTC",
        **{
            name: dsn.environment[name] for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE")
        },
        "HP_SSLMODE": dsn.sslmode,
        "HP_CA": str(dsn.sslrootcert or ""),
    }
    done = subprocess.run(
        [node, str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"node exit {done.returncode}: {done.stderr[-2000:]}"
    return [(step, value) for step, value in map(json.loads, done.stdout.splitlines())]
