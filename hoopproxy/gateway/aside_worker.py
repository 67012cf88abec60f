"""One process that reads what is long, as the gateway sees it: a question goes there, and its answer comes back."""

# Twisted's processes are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IPullProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.gateway.children import Child
from hoopproxy.wire.aside import SIZE, asked, decoded
from hoopproxy.wire.commands import Compute

__all__ = ["Worker"]

PIECE: Final = 262_144
"""Bytes that are handed to the system at a time: what is long is not copied whole to be sent."""
MOST: Final = 64 << 20
"""Bytes of an answer. It has what an event is to hold: of a text a megabyte, of 65,535 parameters about eight."""


@implementer(IPullProducer)
class Worker(Child):
    """:param ended: called once with itself, and how it ended."""

    def __init__(self, ended: Callable[[Worker, str], None]) -> None:
        self._ended = ended
        self._told: Callable[[object], None] | None = None
        self._left = memoryview(b"")
        self._pieces: list[bytes] = []
        self._size = 0
        self.killed = False

    def do(self, question: Compute, told: Callable[[object], None]) -> None:
        """Have it done; ``told`` is called with the answer."""
        self._told, self._left = told, memoryview(question.data)
        transport: Any = self.transport
        transport.write(asked(question))
        transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """The pipe has room."""
        transport: Any = self.transport
        piece, self._left = self._left[:PIECE], self._left[PIECE:]
        if piece:
            transport.write(bytes(piece))
        else:
            transport.unregisterProducer()

    def stopProducing(self) -> None:
        """It doesn't read any more: it is about to end."""
        self._left = memoryview(b"")

    def outReceived(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size < SIZE.size:
            return
        if len(self._pieces[0]) < SIZE.size:
            self._pieces = [b"".join(self._pieces)]
        (size,) = SIZE.unpack_from(self._pieces[0])
        told = self._told
        if told is None or size > MOST or self._size > SIZE.size + size:
            self.kill()  # it says what nobody asked for
        elif self._size == SIZE.size + size:
            answer = b"".join(self._pieces)[SIZE.size :]
            self._pieces, self._size, self._told = [], 0, None
            told(decoded(answer))

    def dismiss(self) -> None:
        """There is nothing more to do: it ends when its input does."""
        self.killed = True
        transport: Any = self.transport
        if transport is not None:
            transport.closeStdin()

    def kill(self) -> None:
        self.killed = True
        self._told = None
        super().kill()

    def processEnded(self, reason: Failure) -> None:
        self._told = None
        self._ended(self, self.how(reason))
