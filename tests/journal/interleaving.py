"""A journal whose two threads take turns as a random source says, between any two instructions.

More often than the interpreter would part them: what holds here holds under any of its schedulers.
"""

from __future__ import annotations

import errno
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty
from random import Random
from types import FrameType
from typing import Any

from hoopproxy.journal import appending, committer, crowd, inbox, pace, waiters, writer
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.keyring import READER_KEY
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.vault import Sealing
from hoopproxy.journal.writer import Journal

from .support import STATE, Timer, Timers
from .turns import ask, session

__all__ = ["Interleaved"]

_WATCHED = frozenset(
    module.__file__ for module in (appending, committer, crowd, inbox, pace, waiters, writer)
)
_REACTOR, _WRITER = "reactor", "writer"
_SECONDS = 30.0


class _Baton:
    """Who has it runs; at each instruction it may be handed to the other."""

    def __init__(self, random: Random, often: float) -> None:
        self._random, self._often = random, often
        self._condition = threading.Condition()
        self._holder = _REACTOR
        self.is_asleep = True
        """The writer waits for a token, or isn't there."""

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in _WATCHED:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode" and self._random.random() < self._often:
            self.hand_over()
        return self._step

    def hand_over(self) -> None:
        """Let the other go on, if it can, until it hands back."""
        mine = _WRITER if threading.current_thread().name == "journal" else _REACTOR
        if mine == _REACTOR and self.is_asleep:
            return
        with self._condition:
            self._holder = _REACTOR if mine == _WRITER else _WRITER
            self._condition.notify_all()
            if not (mine == _WRITER and self.is_asleep):
                self._take(mine)

    def take(self, mine: str) -> None:
        with self._condition:
            self._take(mine)

    def _take(self, mine: str) -> None:
        assert self._condition.wait_for(lambda: self._holder == mine, _SECONDS), f"the {mine} is stuck"


class _Tokens:
    """What the writer sleeps on. A time limit is over when the random source says so, or when nothing else goes on."""

    def __init__(self, baton: _Baton, random: Random) -> None:
        self._baton, self._random = baton, random
        self._tokens: deque[None] = deque()
        self.has_limit = False

    def put(self, token: None) -> None:
        self._tokens.append(token)
        self._baton.is_asleep = False

    def get(self, timeout: float | None) -> None:
        baton = self._baton
        while not self._tokens:
            if timeout is not None and self._random.random() < 0.3:
                raise Empty
            baton.is_asleep = timeout is None
            baton.hand_over()
            if timeout is None:
                baton.take(_WRITER)
        baton.is_asleep = False
        self._tokens.popleft()


class _Traced(Journal):
    baton: _Baton

    def _run(self) -> None:
        self.baton.is_asleep = False
        self.baton.take(_WRITER)
        sys.settrace(self.baton.trace)
        try:
            super()._run()
        finally:
            sys.settrace(None)
            self.baton.is_asleep = True
            self.baton.hand_over()


class Interleaved:
    """The journal, and a reactor that does one thing after the other.

    :ivar heard: the numbers of the records that were waited for and came.
    :ivar carried: the same, on the writer's thread.
    """

    def __init__(
        self,
        seed: int,
        *,
        often: float = 0.05,
        options: JournalOptions,
        at_rest: bool = True,
        sealing: Sealing | None = None,
        is_asked: bool = False,
    ) -> None:
        """:param is_asked: all is asked for at once, and the timer of ``sync_ms`` mends nothing."""
        self._breaks, self._is_asked, self._soon = 0, is_asked, options.sync_ms / 1000
        self.random = Random(seed)
        self.baton = _Baton(self.random, often)
        self.timers, self.calls = Timers(), deque[Callable[[], None]]()
        self.rests: deque[Callable[[], None]] = deque()
        self.files = MemoryFiles()
        if sealing is not None:
            self.files.replace(STATE / READER_KEY, sealing.secret)
        self.journal = _Traced(
            Folder.acquire(STATE, self.files),
            options=options,
            call_from_thread=self.calls.append,
            call_later=self.timers,
            at_rest=self.rests.append if at_rest else None,
            wall=self._wall,
            on_batch=lambda _: self._break_off(),
            sealing=sealing,
        )
        self.journal.baton = self.baton
        self.journal._pace._tokens = _Tokens(self.baton, self.random)  # type: ignore[assignment]
        self.journal.start()
        while self.baton.is_asleep:  # until the thread is there
            pass
        self.keys = [self.journal.open_key(session(number)) for number in range(9)]
        self.seqs = [0] * len(self.keys)
        self.waited: list[int] = []
        self.heard: list[int] = []
        self.carried: list[int] = []
        self.asked: dict[int, bytes] = {}
        """What each of these records asks for."""

    def run(self, steps: int) -> None:
        """So many things at random, and then all that is still due."""
        sys.settrace(self.baton.trace)
        try:
            for _ in range(steps):
                self.random.choices(
                    (
                        self.ask,
                        self.ask_soon,
                        self.rest,
                        self.learn,
                        self.fire,
                        self.baton.hand_over,
                        self.fail,
                        self.break_off,
                        self.journal.roll,
                    ),
                    (8, 2, 4, 4, 1, 4, 0.3, 0.2, 0.1),
                )[0]()
            self.files.fail = lambda operation, name: None
            self._breaks = 0
            self.drain()
        finally:
            sys.settrace(None)

    def stop(self) -> list[object]:
        """The end; what it gave."""
        stopped: list[object] = []
        sys.settrace(self.baton.trace)
        try:
            self.journal.stop(stopped.append)
            while not stopped and (self.calls or not self.baton.is_asleep):
                self.baton.hand_over()
                while self.calls and (self.baton.is_asleep or self.calls[0] != self.journal._finish):
                    self.calls.popleft()()
        finally:
            sys.settrace(None)
        return stopped

    def drain(self) -> None:
        """Until nothing is due on either side. What no timer, no call and no token will ever move is left."""
        while True:
            self.rest()
            while self.calls:
                self.learn()
            if not self.baton.is_asleep:
                self.baton.hand_over()
                if self.calls or self.rests:
                    continue
            if self.journal.durable + 1 == self.journal.next_jseq and self.baton.is_asleep:
                return
            if self._due():
                self.fire()
            elif self.baton.is_asleep and not self.calls and not self.rests:
                return

    def _wait(self, jseq: int, seq: int) -> None:
        self.asked[jseq] = b"SELECT %d" % (20 * seq)
        self.waited.append(jseq)
        self.journal.carry(jseq, lambda: self._carry(jseq))
        self.journal.when_durable(jseq, lambda: self.heard.append(jseq))

    def _carry(self, jseq: int) -> None:
        assert threading.current_thread().name == "journal"
        self.carried.append(jseq)

    def ask(self) -> None:
        if self._ask_one():
            self.journal.commit_now()

    def ask_soon(self) -> None:
        if not self._is_asked:
            self._ask_one()

    def _ask_one(self) -> bool:
        """Some session asks and waits for its record; whether the journal took it."""
        number = self.random.randrange(len(self.keys))
        self.seqs[number] += 1
        seq = self.seqs[number]
        jseq = ask(self.journal, self.keys[number], number, 20 * seq, seq)
        if jseq:
            self._wait(jseq + 1, seq)
        return bool(jseq)

    def rest(self) -> None:
        for _ in range(len(self.rests)):
            self.rests.popleft()()

    def learn(self) -> None:
        if self.calls:
            self.calls.popleft()()

    def fire(self) -> None:
        if due := self._due():
            timer = self.random.choice(due)
            timer.cancel()
            timer.function()

    def _due(self) -> list[Timer]:
        return [timer for timer in self.timers.waiting if not self._is_asked or timer.seconds != self._soon]

    def break_off(self) -> None:
        """The writer has no memory a while."""
        self._breaks = self.random.choice((1, 2, 4))

    def _break_off(self) -> None:
        if self._breaks:
            self._breaks -= 1
            raise MemoryError

    def _wall(self) -> int:
        if threading.current_thread().name == "journal":
            self._break_off()
        return 1_700_000_000_000_000_000

    def fail(self) -> None:
        """The disk refuses a while, or no longer."""
        left = self.random.choice((0, 0, 1, 2, 5, 20))
        code = self.random.choice((errno.EIO, errno.ENOSPC))

        def fail(operation: str, name: str) -> int | None:
            nonlocal left
            if left and operation in ("pwrite", "fdatasync"):
                left -= 1
                return code
            return None

        self.files.fail = fail
