"""What was sent and not answered yet, in order: the queue by which each reply finds its command.

One :class:`Sent` a message that the target answers. Flush, Terminate and the COPY messages are answered by
nothing. Protocol chapter, "Extended Query", "COPY Operations".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

from hoopproxy.wire.commands import Refusal

__all__ = [
    "BIND",
    "CLOSE",
    "DESCRIBE",
    "EXECUTE",
    "FUNCTION",
    "PARSE",
    "QUERY",
    "REFUSED",
    "SYNC",
    "Pipeline",
    "Sent",
]

QUERY, PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, FUNCTION, SYNC = b"QPBDECFS"
REFUSED = ord("r")
"""Ours, in place of a message that was refused: its error is replaced by the reason of the refusal."""

NAMES = {
    QUERY: "Query",
    PARSE: "Parse",
    BIND: "Bind",
    DESCRIBE: "Describe",
    EXECUTE: "Execute",
    CLOSE: "Close",
    FUNCTION: "FunctionCall",
    SYNC: "Sync",
    REFUSED: "Parse",
}


@attrs.define(eq=False)
class Sent:
    """A message that was sent on and waits for its replies.

    ``op`` and ``began`` are set for what is an operation. ``start`` is where, in the target's stream, the
    present result begins (-1: not yet); ``rows`` counts its rows. ``copies`` is the number of CopyDone and
    CopyFail that the client had sent before this message.
    """

    kind: int
    op: str = ""
    began: int = 0
    copies: int = 0
    start: int = -1
    rows: int = 0
    results: int = 0
    all_rows: int = 0
    all_bytes: int = 0
    failed: dict[str, object] | None = None
    copy: dict[str, object] | None = None
    undo: Callable[[], None] | None = None
    refusal: Refusal | None = None
    about: Any = None
    echo: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    """Credentials that it carried, to be found again in what the target says of it."""


@attrs.define(eq=False)
class Pipeline:
    """The state that both directions share.

    ``status`` is that of the last ReadyForQuery. ``fresh``: nothing was sent since it, so nothing is open in
    the target. ``discarding``: the target discards what it gets until a Sync. ``answering``: the gateway
    itself does, after a refusal that it answered. ``batch``: extended messages were sent and no Sync yet.
    ``copying``: the command that the target reads CopyData for. ``copies``: CopyDone and CopyFail sent.
    ``swallowed``: Syncs that a target in COPY may have taken without an answer.
    """

    queue: deque[Sent] = attrs.field(factory=deque)
    status: int = ord("I")
    fresh: bool = True
    discarding: bool = False
    answering: bool = False
    batch: bool = False
    copying: Sent | None = None
    copies: int = 0
    copied_messages: int = 0
    copied_bytes: int = 0
    copied_from: int = -1
    copied_to: int = -1
    swallowed: int = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is outstanding since a ReadyForQuery outside a transaction."""
        return self.fresh and not self.queue and self.status == _IDLE

    def sent(self, message: Sent) -> None:
        """A message that the target answers was sent."""
        message.copies = self.copies
        self.queue.append(message)
        self.fresh = False

    def copy_began(self, command: Sent) -> None:
        """The target reads CopyData now. Syncs that it got before CopyDone are never answered."""
        self.copying = command if command.copies == self.copies else None
        queue = self.queue
        while len(queue) > 1 and queue[1].kind == SYNC and queue[1].copies == command.copies:
            del queue[1]
            self.swallowed += 1

    def copy_sent(self) -> dict[str, object]:
        """What the client sent of CopyData since the last time; for the record."""
        told: dict[str, object] = {"messages": self.copied_messages, "bytes": self.copied_bytes}
        if self.copied_from >= 0:
            told["range"] = (self.copied_from, self.copied_to)
        self.copied_messages = self.copied_bytes = 0
        self.copied_from = self.copied_to = -1
        return told

    def discard(self) -> list[Sent]:
        """The target discards to the next Sync: take back what it will not do, and return it in order."""
        queue = self.queue
        skipped: list[Sent] = []
        while queue and queue[0].kind != SYNC:
            skipped.append(queue.popleft())
        self.discarding = not queue
        for message in reversed(skipped):
            if message.undo is not None:
                message.undo()
        return skipped


_IDLE = ord("I")
