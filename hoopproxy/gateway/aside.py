"""Where what is long is read: in processes beside the data path, so that nobody else waits for it.

Measured while a thread of this process read 32 MiB, a turn of the reactor took up to 0.4 s, for the interpreter's lock;
while another process did, nothing more than ever. A process is started when there is something to read, and ends when
there was nothing for a while. What can't be read in time ends with its process: then the statement is refused.

Each identity has one at a time, in the order in which they were served last, so that none of them keeps others waiting.
"""

# Twisted's processes are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hoopproxy.gateway.aside_worker import Worker
from hoopproxy.gateway.children import environment
from hoopproxy.wire.aside import performed
from hoopproxy.wire.commands import Compute, Refusal

__all__ = ["Aside", "Here", "IAside", "memory_for"]

WORKERS: Final = 2
"""Processes at a time, and so many identities whose long messages are in memory to be read."""

SECONDS: Final = 60.0
"""How long one may take: the most costly 64 MiB that are known take ten on a slow machine."""

IDLE_SECONDS: Final = 60.0
"""A process without work for that long ends."""

_LATE: Final = Refusal("too_large", f"this statement could not be read within {SECONDS:.0f} s")
_FAILED: Final = Refusal("internal", "this statement could not be read")
_STOPPED: Final = Refusal("shutdown", "the gateway is shutting down")


class IAside(Protocol):
    """Who reads what is long. ``who`` is an identity's id, ``owner`` whoever :meth:`forget` is told of."""

    def compute(self, question: Compute, who: str, owner: object) -> Deferred[Any]:
        """What the question's function returns, or a :class:`Refusal`. Never fails."""

    def turn(self, callback: Callable[[], None], who: str, owner: object) -> bool:
        """Whether what ``who`` asks for now begins at once. If not, ``callback`` is called when it would: what is
        asked for in the call then does."""

    def forget(self, owner: object) -> None:
        """Whatever was asked for isn't wanted any more."""

    def stop(self) -> None:
        """The end."""


class Here:
    """Reads at once, and everybody waits: for a gateway without processes."""

    def compute(self, question: Compute, who: str, owner: object) -> Deferred[Any]:
        return succeed(performed(question))

    def turn(self, callback: Callable[[], None], who: str, owner: object) -> bool:
        return True

    def forget(self, owner: object) -> None:
        """Nothing waits."""

    def stop(self) -> None:
        """Nothing runs."""


@attrs.define(eq=False)
class _Job:
    """Something to be read, or (without a question) a turn to be given."""

    owner: object
    question: Compute | None = None
    answer: Deferred[Any] | None = None
    callback: Callable[[], None] | None = None


class Aside:
    """:param spawn: as ``reactor.spawnProcess``. :param longest: the bytes of the longest message there can be, now."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        spawn: Callable[..., Any],
        longest: Callable[[], int],
        workers: int = WORKERS,
    ) -> None:
        self._clock, self._spawn, self._longest, self._most = clock, spawn, longest, workers
        self._waiting: dict[str, deque[_Job]] = {}  # by identity, who was served last at the end
        self._running: dict[str, tuple[_Job, Worker, Any]] = {}  # with the deadline's timer
        self._idle: dict[Worker, Any] = {}  # with the timer of their end
        self._turn: str | None = None  # whose turn was given just now
        self._going = self._stopped = False

    # -- what the sessions ask

    def compute(self, question: Compute, who: str, owner: object) -> Deferred[Any]:
        job = _Job(owner, question, Deferred())
        assert job.answer is not None
        if self._stopped:
            return succeed(_STOPPED)
        if self._turn == who and self._is_free(who):
            self._turn = None
            self._begin(who, job)
        else:
            self._waiting.setdefault(who, deque()).append(job)
            self._go_on()
        return job.answer

    def turn(self, callback: Callable[[], None], who: str, owner: object) -> bool:
        if self._stopped or self._turn == who or (who not in self._waiting and self._is_free(who)):
            return True
        self._waiting.setdefault(who, deque()).append(_Job(owner, callback=callback))
        return False

    def forget(self, owner: object) -> None:
        for who, jobs in list(self._waiting.items()):
            left = deque(job for job in jobs if job.owner is not owner)
            if left:
                self._waiting[who] = left
            else:
                del self._waiting[who]
        for job, worker, _ in list(self._running.values()):
            if job.owner is owner:
                worker.kill()

    def stop(self) -> None:
        self._stopped = True
        jobs = [job for waiting in self._waiting.values() for job in waiting]
        self._waiting.clear()
        for _, worker, _ in list(self._running.values()):
            worker.kill()
        for worker in list(self._idle):
            self._dismiss(worker)
        for job in jobs:
            _give(job, _STOPPED)

    # -- who is next

    def _is_free(self, who: str) -> bool:
        return who not in self._running and len(self._running) < self._most

    def _go_on(self) -> None:
        """Begin what can be begun, and give turns. A loop: who is given a turn may come back here."""
        if self._going:
            return
        self._going = True
        try:
            while (who := next(filter(self._is_free, self._waiting), None)) is not None:
                self._next_of(who)
        finally:
            self._going = False

    def _next_of(self, who: str) -> None:
        jobs = self._waiting.pop(who)
        job = jobs.popleft()
        if jobs:
            self._waiting[who] = jobs
        if job.callback is None:
            self._begin(who, job)
            return
        self._turn = who
        try:
            job.callback()
        finally:
            self._turn = None

    # -- the processes

    def _begin(self, who: str, job: _Job) -> None:
        assert job.question is not None
        try:
            worker = self._worker()
        except OSError as problem:
            self.log.error("no process to read a long statement with: {why}", why=problem.strerror)
            _give(job, _FAILED)
            return
        late = self._clock.callLater(SECONDS, self._late, who, worker)
        self._running[who] = job, worker, late
        worker.do(job.question, lambda answer: self._done(who, worker, answer))

    def _worker(self) -> Worker:
        if self._idle:
            worker, timer = self._idle.popitem()
            timer.cancel()
            return worker
        worker = Worker(self._ended)
        # -P: no module out of whatever folder the gateway was started in.
        arguments = [sys.executable, "-P", "-m", "hoopproxy.aside", str(memory_for(self._longest()))]
        self._spawn(worker, sys.executable, arguments, env=environment())
        return worker

    def _late(self, who: str, worker: Worker) -> None:
        """It takes too long."""
        self.log.error("a statement could not be read in {seconds:.0f} s", seconds=SECONDS)
        self._over(who, _LATE)
        worker.kill()
        self._go_on()

    def _done(self, who: str, worker: Worker, answer: object) -> None:
        self._idle[worker] = self._clock.callLater(IDLE_SECONDS, self._dismiss, worker)
        self._over(who, answer)
        self._go_on()

    def _over(self, who: str, answer: object) -> None:
        job, _, late = self._running.pop(who)
        if who in self._waiting:  # behind those who were not served since
            self._waiting[who] = self._waiting.pop(who)
        if late.active():
            late.cancel()
        _give(job, answer)

    def _dismiss(self, worker: Worker) -> None:
        timer = self._idle.pop(worker)
        if timer.active():
            timer.cancel()
        worker.dismiss()

    def _ended(self, worker: Worker, why: str) -> None:
        """A process is gone: by itself, or because it was ended."""
        timer = self._idle.pop(worker, None)
        if timer is not None:
            timer.cancel()
        for who, (_, each, _) in list(self._running.items()):
            if each is worker:
                self._over(who, _FAILED)
                if not (self._stopped or worker.killed):
                    self.log.error("the process that reads a long statement ended ({why})", why=why)
        self._go_on()


def memory_for(longest: int) -> int:
    """Bytes of addresses that a process needs to read so much: measured, four times that and 160 MiB."""
    return (512 << 20) + 8 * longest


def _give(job: _Job, answer: object) -> None:
    if job.answer is not None:
        job.answer.callback(answer)
