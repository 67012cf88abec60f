"""Processes, ports and folders of the live tests. Nothing here outlives the run.

Each process gets a parent-death signal from the kernel, is ended by its own pid, and is waited for. As root,
servers run as a plain user (PostgreSQL refuses to run otherwise).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.interrupts import INTERRUPTS

from .need import alone

__all__ = [
    "Spawned",
    "file_system",
    "free_port",
    "on_real_disk",
    "plain_user",
    "processor_seconds",
    "until",
    "work_folder",
]

PLAIN_USER = "hoopproxy-test"
PORTS = range(15000, 32000)  # below 32768, where outgoing connections take theirs
TAKEN = Path("/tmp/hoopproxy-test-ports")
"""One file for all runs on this machine, whatever their ``TMPDIR``: a run locks the byte of each port that it gives."""
VOLATILE = frozenset({"tmpfs", "ramfs", "overlay", "nfs", "nfs4", "9p", "fuse.sshfs"})

PATIENCE = 3
STANDSTILL = 5.0
"""Seconds between two looks that count at most: nobody looks more seldom, but who was stopped."""

_PR_SET_PDEATHSIG = 1
_given: set[int] = set()
_running: dict[int, Spawned] = {}


@functools.cache
@alone()
def plain_user() -> pwd.struct_passwd | None:
    """The account that servers run as; ``None`` when we are a plain user already. Made when missing."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam(PLAIN_USER)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", PLAIN_USER],
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(PLAIN_USER)


def free_port(*, family: socket.AddressFamily = socket.AF_INET) -> int:
    """A loopback TCP port below the ephemeral range that nobody listens on.

    Given once a run, and to no other run that goes on on this machine: between the look and the server that will
    listen there is time for another to look.
    """
    order = random.Random(os.getpid() ^ time.monotonic_ns()).sample(PORTS, min(len(PORTS), 400))
    for port in order:
        if port not in _given and _claimed(port) and _unused(port, family):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port found between {PORTS.start} and {PORTS.stop}")


def _unused(port: int, family: socket.AddressFamily) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        try:
            trial.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
        except OSError:
            return False
    return True


def _claimed(port: int) -> bool:
    """Whether the port is ours from now on, until this process ends; then the kernel takes the lock back."""
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@functools.cache
def _claims() -> int:
    # Opened once and never closed: closing any descriptor of a file gives up all of a process's locks on it.
    with contextlib.suppress(FileExistsError):
        made = os.open(TAKEN, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        os.fchmod(made, 0o666)  # whatever the umask: the next run may be another user's
        return made
    return os.open(TAKEN, os.O_RDWR | os.O_NOFOLLOW)


def file_system(path: Path) -> str:
    """The type of the file system that holds ``path``: ``"ext4"``, ``"tmpfs"``, ..."""
    path = path.resolve()
    best, kind = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount = left.split()[4].encode().decode("unicode_escape")
        inside = path == Path(mount) or Path(mount) in path.parents
        if inside and len(mount) >= len(best):
            best, kind = mount, right.split()[0]
    return kind


def on_real_disk(path: Path) -> bool:
    """Whether a ``strict`` state directory may lie here (not tmpfs, overlay or a network)."""
    return file_system(path) not in VOLATILE


def _base() -> Path:
    named = os.environ.get("HOOPPROXY_TEST_DIR")
    if named:
        return Path(named)
    places = [Path(tempfile.gettempdir()), Path("/var/tmp")]
    return next((place for place in places if on_real_disk(place)), places[0])


@functools.cache
def work_folder() -> Path:
    """The run's own temporary folder, on a real disk where there is one; removed at exit.

    The plain user may enter it but not list it; each server has a folder of its own inside.
    ``HOOPPROXY_TEST_KEEP=1`` keeps it.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupted)  # so that what follows is removed then, too
    folder = Path(tempfile.mkdtemp(prefix="hoopproxy-live-", dir=_base()))
    folder.chmod(0o711)
    return folder


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def server_folder(name: str) -> Path:
    """A fresh folder inside :func:`work_folder` that belongs to the plain user, mode 0700."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=work_folder()))
    give(folder)
    return folder


def give(path: Path) -> Path:
    """Make ``path`` the plain user's own."""
    owner = plain_user()
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return path


def until(done: Callable[[], object], *, seconds: float, what: str, step: float = 0.02) -> None:
    """Poll ``done`` until it is true; else a :class:`TimeoutError` that names ``what``.

    :param seconds: that it may take where nobody else works; elsewhere it is given three times that. While the whole
        machine, and whatever is waited for, stands still, no time goes by.
    """
    left, before = PATIENCE * seconds, time.monotonic()
    while not done():
        if left < 0:
            raise TimeoutError(f"{what}: not after {PATIENCE} times {seconds} s")
        time.sleep(step)
        now = time.monotonic()
        left, before = left - min(now - before, STANDSTILL), now


def listening(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def taken(port: int) -> bool:
    """Whether somebody listens there, told without a connection, which would be one more channel."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def _begin() -> None:
    """In the child: it goes when we go, and hears what we may not hear (a measurement in the background)."""
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Spawned:
    """A process that we started, with its output in a file.

    :param as_plain_user: give up root first (has no effect when we are no root).
    :param log: where standard output and error go.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        as_plain_user: bool = True,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        owner = plain_user() if as_plain_user else None
        self.arguments, self.log = list(arguments), log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder or "/",
                env=None if environment is None else dict(environment),
                user=None if owner is None else owner.pw_uid,
                group=None if owner is None else owner.pw_gid,
                extra_groups=None if owner is None else [],
                preexec_fn=_begin,
                start_new_session=True,  # a Ctrl-C at the terminal is ours, not the server's
            )
        self.pid = self._process.pid
        _running[self.pid] = self

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Its exit status; :class:`subprocess.TimeoutExpired` when it is still there after ``seconds``."""
        status = self._process.wait(timeout=seconds)
        _running.pop(self.pid, None)
        return status

    def end(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 20) -> int:
        """Signal it, wait, and SIGKILL it when it doesn't go. Never raises for a process that is gone."""
        self.send(number)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            return self.wait(seconds)


def processes_of(parent: int) -> Iterator[int]:
    """The pids of ``parent`` and of its descendants, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    waiting = [parent]
    while waiting:
        each = waiting.pop()
        yield each
        waiting.extend(children.get(each, ()))


def command_line(pid: int) -> str:
    """Its words, each with a NUL behind it; none of a process that is gone meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def processor_seconds(pid: int) -> float:
    """What the process and its descendants, with those that are gone, have taken of processors so far."""
    while True:
        gone = _times(pid)[2:]
        taken = sum(sum(_times(each)) for each in processes_of(pid))
        if _times(pid)[2:] == gone:  # none went in between, and was counted twice or not at all
            return taken / os.sysconf("SC_CLK_TCK")


def _times(pid: int) -> list[int]:
    """In user and system mode, and of its children that are gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return [0, 0, 0, 0]
    return [int(each) for each in fields[11:15]]


def resident(pid: int) -> int:
    """Resident memory of one process now, in bytes."""
    return _status(pid, "VmRSS")


def resident_peak(pid: int) -> int:
    """The most resident memory that the process ever had, in bytes (reset by :func:`forget_peak`)."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def _clean_up() -> None:
    for each in list(_running.values()):
        each.end(signal.SIGKILL)
    if work_folder.cache_info().currsize and not os.environ.get("HOOPPROXY_TEST_KEEP"):
        shutil.rmtree(work_folder(), ignore_errors=True)


atexit.register(_clean_up)
