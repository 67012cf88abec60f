"""What costs CPU at a log-in, and the bounded pool that it runs in."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from attrs import field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from hoopproxy.errors import LoginFailed

__all__ = ["QUEUE", "HashPool", "Hashes", "ScryptHash"]

QUEUE = 256
"""Log-ins that may wait for a worker: at 0.13 s each on two workers, 17 s, inside the log-in deadline."""

_COST = (1 << 15, 8, 1)
"""N, r, p of new hashes: 32 MiB and about 0.13 s of one CPU."""

_T = TypeVar("_T")


@frozen(kw_only=True)
class ScryptHash:
    """A password as the users file keeps it (RFC 7914)."""

    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @classmethod
    def make(cls, password: bytes, cost: tuple[int, int, int] = _COST) -> ScryptHash:
        """Hash a new password. Takes about 0.13 s of CPU."""
        n, r, p = cost
        salt = secrets.token_bytes(16)
        return cls(n=n, r=r, p=p, salt=salt, digest=_scrypt(password, salt, n, r, p))

    def matches(self, password: bytes) -> bool:
        """Is it this password? Equal work whatever the answer."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.n, self.r, self.p), self.digest)

    def render(self) -> str:
        """``N$r$p$salt$hash``."""
        salt, digest = (base64.b64encode(part).decode("ascii") for part in (self.salt, self.digest))
        return f"{self.n}${self.r}${self.p}${salt}${digest}"


def _scrypt(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    memory = 128 * r * (n + p + 2) + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=32)


class Hashes(Protocol):
    """Where costly functions run. The gateway gives a :class:`HashPool`; tests one that counts."""

    def run(self, function: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        """Call it off the reactor's thread. Fails with ``LoginFailed("throttled")`` when too much waits."""


class HashPool:
    """A few threads of low priority with a queue that ends.

    hashlib gives up the interpreter's lock while it hashes, and on Linux the threads are ten steps nicer than
    the data path, so that a flood of log-ins leaves the running sessions their CPU.

    :param reactor: its thread receives the answers.
    :param workers: threads at most; each may use 32 MiB while it works.
    :param queue: calls that may wait.

    :ivar checks: a thread of its own for what takes a millisecond, a signature: somebody with a key doesn't wait behind
        a flood of passwords.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        workers: int = 2,
        queue: int = QUEUE,
        *,
        checks: HashPool | None = None,
        thread: Callable[..., threading.Thread] = threading.Thread,
    ) -> None:
        self._reactor = reactor
        self.checks = checks
        self._limit = workers + queue
        self._pending = 0
        self._pool = ThreadPool(0, workers, "hoopproxy-hash")
        self._pool.threadFactory = thread  # type: ignore[assignment]  # called, nothing else
        self._stopped = False

    @property
    def pending(self) -> int:
        """Calls that wait or run."""
        return self._pending

    def run(self, function: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        """See :class:`Hashes`. The threads start with the first call, so it works after a daemon's fork."""
        if self._stopped or self._pending >= self._limit:
            return fail(LoginFailed("throttled"))
        if not self._pool.started:
            self._pool.start()
        self._pending += 1
        answer: Deferred[_T] = deferToThreadPool(self._reactor, self._pool, _nicely, function, *arguments)
        return answer.addBoth(self._done)

    def stop(self) -> None:
        """End the threads once what they are doing is done. Blocks for that long, a fraction of a second."""
        self._stopped = True
        if self._pool.started:
            self._pool.stop()
        if self.checks is not None:
            self.checks.stop()

    def _done(self, result: _T) -> _T:
        self._pending -= 1
        return result


_thread = threading.local()


def _nicely(function: Callable[..., _T], *arguments: Any) -> _T:
    if not getattr(_thread, "nice", False):
        _thread.nice = True
        with contextlib.suppress(OSError, AttributeError):
            # Linux keeps the priority per thread; elsewhere this would lower the whole process.
            if os.uname().sysname == "Linux":
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    return function(*arguments)
