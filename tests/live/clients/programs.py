"""Running a client program with its credentials in the environment, never on its command line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs

from ..dsn import Dsn
from ..need import command
from ..postgres import DEBIAN_15

__all__ = ["Finished", "postgres_program", "run"]

SECONDS = 120


@attrs.frozen(kw_only=True)
class Finished:
    """How a program ended and what it said."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode(errors="backslashreplace")

    def checked(self) -> Finished:
        """Itself, or an :class:`AssertionError` with what it said."""
        assert self.status == 0, f"exit {self.status}: {self.err[-2000:]}"
        return self


def postgres_program(name: str) -> str:
    """The path of ``psql``, ``pgbench``, ``pg_dump`` ... 15."""
    package = "postgresql-15" if name == "pgbench" else "postgresql-client-15"
    return command(name, name=name, package=package, also=(str(DEBIAN_15),))


def run(
    program: str,
    arguments: Sequence[str],
    dsn: Dsn | None = None,
    *,
    text: str | bytes = b"",
    seconds: float = SECONDS,
    folder: Path | None = None,
) -> Finished:
    """Run to the end, with ``text`` on its standard input.

    :raises subprocess.TimeoutExpired: after ``seconds``; the program was killed then.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"LC_ALL": "C.UTF-8", "TZ": "UTC", **(dsn.environment if dsn else {})}
    done = subprocess.run(
        [program, *arguments],
        input=text.encode() if isinstance(text, str) else text,
        capture_output=True,
        env=environment,
        timeout=seconds,
        cwd=folder,
        check=False,
    )
    return Finished(
        status=done.returncode, out=done.stdout, err=done.stderr.decode(errors="backslashreplace")
    )
