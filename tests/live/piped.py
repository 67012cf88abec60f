"""Two real programs that speak to each other through a watcher: pipes, no SSH."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable
from typing import BinaryIO

from hoopproxy.protocols.ssh.watch import Answer, Ask, Gate, Pass, Watcher
from hoopproxy.wire.commands import Command, Decide, Verdict

_LONGEST = 60
"""Seconds that a conversation may take."""


class Piped:
    """What came of a conversation.

    :param allowed: for a gated watcher.
    """

    def __init__(self, watcher: Watcher, allowed: Callable[[Decide], bool] = lambda decide: True) -> None:
        self.watcher, self.allowed = watcher, allowed
        self.said: list[Command] = []
        self.decided: list[Decide] = []
        self.read = {"client": 0, "server": 0}

    def join(
        self,
        client_says: BinaryIO,
        client_hears: BinaryIO,
        program: subprocess.Popen[bytes],
        size: int = 32768,
    ) -> None:
        """Pass on until the program has said everything. :param size: of one read, as a channel's packets cut it."""
        assert program.stdin is not None
        assert program.stdout is not None
        for pipe in (client_hears, program.stdin):
            os.set_blocking(pipe.fileno(), True)  # rsync gives its child pipes that are not
        self.to = {"client": program.stdin, "server": client_hears}
        began = time.monotonic()
        with selectors.DefaultSelector() as waiting:
            waiting.register(client_says, selectors.EVENT_READ, "client")
            waiting.register(program.stdout, selectors.EVENT_READ, "server")
            while program.stdout in {key.fileobj for key in waiting.get_map().values()}:
                assert time.monotonic() - began < _LONGEST
                for key, _ in waiting.select(1):
                    if data := os.read(key.fd, size):
                        self.pass_on(key.data, data)
                        continue
                    waiting.unregister(key.fileobj)
                    with contextlib.suppress(BrokenPipeError):
                        self.to[key.data].close()

    def pass_on(self, side: str, data: bytes) -> None:
        """Bytes of one side, through the watcher, to the other."""
        at, self.read[side] = self.read[side], self.read[side] + len(data)
        watcher = self.watcher
        client = side == "client"
        if not isinstance(watcher, Gate):
            said = watcher.client_data(data, at, 0) if client else watcher.server_data(data, at, 0, False)
            self.said += said or ()
            self._write(side, data)
            return
        steps = watcher.client_steps(data, at, 0) if client else watcher.server_steps(data, at, 0, False)
        for step in steps:
            if isinstance(step, Ask):
                self.decided.append(step.decide)
                op = f"op-{len(self.decided)}"
                watcher.decided(Verdict(self.allowed(step.decide), (), None, op, 0))
            elif isinstance(step, Pass):
                self._write(side, step.data)
            elif isinstance(step, Answer):
                self._write("server", step.data)
            else:
                self.said.append(step.command)

    def _write(self, side: str, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self.to[side].fileno(), data) :]
