"""What a live test needs from the machine: found, installed, or said to be missing.

A missing thing is a *visible* skip that names it and says how to get it. Under ``CI=true`` a missing member
of ``REQUIRED`` (the set that the README lists) fails instead, so that a green run can't hide a lost client.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

__all__ = [
    "REQUIRED",
    "alone",
    "apt",
    "cache_folder",
    "command",
    "in_ci",
    "npm",
    "pip",
    "python_module",
    "require",
]

REPOSITORY = Path(__file__).resolve().parents[2]

#: The README's required set: what `.ci/run` must really have run.
REQUIRED = frozenset(
    {
        "PostgreSQL 15",
        "psql",
        "pgbench",
        "pg_dump",
        "psycopg",
        "asyncpg",
        "pg8000",
        "PostgreSQL 18",
        "node-postgres",
        "JDBC",
        "pgbouncer",
        "trustme",
        "rsyslog",
        "confluent-kafka",
        "moto",
        "OpenSSH client",
        "OpenSSH server",
        "dropbear",
        "PuTTY",
        "ansible",
        "curl",
        "rclone",
        "paramiko",
        "asyncssh",
        "ssh-audit",
        "git",
        "rsync",
        "gateway",
    }
)

INSTALL_SECONDS = 600  # a cold apt or npm cache on a slow line


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def require(name: str, reason: str) -> NoReturn:
    """Say that ``name`` is missing, and why: fails under ``CI=true`` for the required set, else skips."""
    sentence = f"missing {name}: {reason}"
    if in_ci() and name in REQUIRED:
        pytest.fail(f"{sentence} ({name} is in the required set, and CI=true)", pytrace=False)
    pytest.skip(sentence)


@functools.cache
def cache_folder() -> Path:
    """A folder for downloads that outlives the run and that the plain user can read too.

    ``HOOPPROXY_TEST_CACHE`` wins; then ``.live/`` of the checkout; then ``~/.cache``; then ``/var/tmp``.
    """
    named = os.environ.get("HOOPPROXY_TEST_CACHE")
    candidates = [Path(named)] if named else [REPOSITORY / ".live", Path.home() / ".cache" / "hoopproxy-test"]
    candidates.append(Path(tempfile.gettempdir()) / f"hoopproxy-test-cache-{os.getuid()}")
    for candidate in candidates:
        try:
            candidate.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        mine = candidate.stat().st_uid == os.getuid() and os.access(candidate, os.W_OK)
        if mine and (os.getuid() != 0 or named or _others_may_enter(candidate)):
            return candidate
    raise RuntimeError("no folder for the cache: set HOOPPROXY_TEST_CACHE to a writable one")


def _others_may_enter(folder: Path) -> bool:
    return all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


_is_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Around what looks for, installs or builds something that all processes of a run share, and what edits the
    machine's accounts: one process at a time, so that none finds half of it. May be nested."""
    global _is_alone
    if _is_alone:
        yield
        return
    with (cache_folder() / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _is_alone = True
        try:
            yield
        finally:
            _is_alone = False


@alone()
def command(program: str, *, name: str, package: str, also: tuple[str, ...] = ()) -> str:
    """The path of ``program``; installs the Debian ``package`` when it is absent.

    :param name: what the README calls it, for :func:`require`.
    :param also: folders to look in before ``PATH`` (``/usr/lib/postgresql/15/bin``).
    """
    path = os.pathsep.join([*also, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(program, path=path)
    if found is None:
        trouble = apt(package)
        found = shutil.which(program, path=path)
        if found is None:
            require(name, trouble or f"{program} is not there although {package} is installed")
    return found


@functools.cache
@alone()
def apt(*packages: str) -> str | None:
    """Install Debian packages; ``None`` when done, else a sentence that says what to do.

    Asked once a run for the same packages. ``apt-get update`` runs once, when a package is unknown.
    """
    wanted = " ".join(packages)
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        return f"as root on Debian, `apt-get install {wanted}`"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    for attempt in (install, ["apt-get", "update", "-q"], install):
        try:
            done = subprocess.run(
                attempt, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"`{' '.join(attempt)}` took over {INSTALL_SECONDS} s"
        if attempt is install and done.returncode == 0:
            return None
    return f"`apt-get install {wanted}` failed: {done.stderr.strip()[-300:]}"


@functools.cache
@alone()
def npm(name: str, *packages: str) -> Path:
    """Install npm packages (once) under the cache folder; the folder that holds ``node_modules``."""
    folder = cache_folder() / "npm" / "+".join(each.replace("/", "_") for each in packages)
    stamp = folder / "installed"
    if stamp.exists():
        return folder
    tool = command("npm", name=name, package="npm")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n')
    done = subprocess.run(
        [tool, "install", "--no-audit", "--no-fund", "--loglevel=error", *packages],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        require(name, f"`npm install {' '.join(packages)}` failed: {done.stderr.strip()[-300:]}")
    stamp.write_text("\n".join(packages) + "\n")
    return folder


@alone()
def pip(name: str, *pins: str) -> Path:
    """A folder with these distributions, for ``PYTHONPATH``: exact versions without looking for what they need.

    A group of their own: beside ours, resolving them takes minutes.
    """
    inexact = [pin for pin in pins if "==" not in pin]
    assert not inexact, f"{inexact}: what has no exact version is another one tomorrow"
    wanted = hashlib.sha256("\n".join((sys.version, *pins)).encode()).hexdigest()[:16]
    folder = cache_folder() / "pip" / f"{name.replace(' ', '-')}-{wanted}"
    stamp = folder / "installed"
    if stamp.exists():
        return folder
    arguments = ["--disable-pip-version-check", "-q", "--no-deps", "--upgrade", "--target", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *arguments, *pins],
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        require(name, f"`pip install {' '.join(pins)}` failed: {done.stderr.strip()[-300:]}")
    stamp.touch()
    return folder


def python_module(module: str, *, name: str | None = None) -> ModuleType:
    """Import a client library, or say that it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        require(name or module, f"`pip install hoopproxy[test]` ({error})")
