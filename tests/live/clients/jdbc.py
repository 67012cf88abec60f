"""pgjdbc from Debian (``Battery.java``), compiled once and kept in the cache folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

from ..dsn import Dsn
from ..need import alone, apt, cache_folder, command, require

__all__ = ["run"]

JAR = Path("/usr/share/java/postgresql.jar")
SOURCE = Path(__file__).with_name("Battery.java")


def run(dsn: Dsn) -> list[tuple[str, Any]]:
    java = command("java", name="JDBC", package="default-jdk-headless")
    classes = _compiled()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
        **{name: value for name, value in dsn.environment.items() if name in _NAMES},
        "HP_SSLMODE": dsn.sslmode,
        "HP_CA": str(dsn.sslrootcert or ""),
        "TZ": "UTC",
    }
    arguments = [java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC", "-Dfile.encoding=UTF-8"]
    done = subprocess.run(
        [*arguments, "-cp", f"{classes}:{JAR}", "Battery"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"java exit {done.returncode}: {done.stderr[-2000:]}"
    return [(line.partition("\t")[0], line.partition("\t")[2]) for line in done.stdout.splitlines()]


_NAMES = frozenset({"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"})


@alone()
def _compiled() -> Path:
    if not JAR.exists() and (trouble := apt("libpostgresql-jdbc-java")) is not None:
        require("JDBC", trouble)
    folder = cache_folder() / "jdbc" / hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    if not (folder / "Battery.class").exists():
        compiler = command("javac", name="JDBC", package="default-jdk-headless")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [compiler, "-encoding", "UTF-8", "-cp", str(JAR), "-d", str(folder), str(SOURCE)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"javac: {done.stderr[-2000:]}"
    return folder
