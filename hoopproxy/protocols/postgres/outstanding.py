"""What was sent and not answered yet, in order: the queue by which each reply finds its command.

One :class:`Sent` a message that the target answers. Flush, Terminate and the COPY messages are answered by
nothing. Protocol chapter, "Extended Query", "COPY Operations".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from hoopproxy.protocols.postgres.prepared import Prepared
from hoopproxy.wire.commands import Completed, Refusal

if TYPE_CHECKING:
    from hoopproxy.protocols.postgres.doubt import Doubt

__all__ = [
    "AGAIN",
    "BIND",
    "CLOSE",
    "DESCRIBE",
    "EXECUTE",
    "FUNCTION",
    "MAX_UNANSWERED",
    "MAYBE",
    "NAMES",
    "NO",
    "PARSE",
    "PROBE",
    "QUERY",
    "READ_ON_AT",
    "REFUSED",
    "REFUSED_QUERY",
    "SYNC",
    "YES",
    "Pipeline",
    "Sent",
    "skipped",
]

QUERY, PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, FUNCTION, SYNC = b"QPBDECFS"
REFUSED, REFUSED_QUERY = b"rq"
"""Ours, in place of a message that was refused: its error is replaced by the reason of the refusal. After that of a
Parse the target discards to Sync; after that of a Query it is ready."""
PROBE, AGAIN = b"sp"
"""Ours, both of :mod:`~hoopproxy.protocols.postgres.doubt`: Sync and Close, and a Parse that fails."""

MAX_UNANSWERED = 16_384
"""Messages of one session that the target has not answered; then the client is not read until it has answered half.
One costs about 1.5 KB of memory with its record (an open command is kept for the state after a crash), and a Sync
costs the client 5 bytes. What one read brings still comes on top."""

READ_ON_AT = 8_192
"""Far more than a target keeps to itself: PostgreSQL sends answers on at each 8 KiB, which are 1,638 of the smallest,
so that a batch of any length without a Sync goes through."""

NO, YES, MAYBE = 0, 1, 2
"""Whether the target discards what it gets. Maybe: it failed a COPY in whose midst a Sync was sent, which it read
either as a part of the COPY or as the end of discarding."""

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
    REFUSED_QUERY: "Query",
    PROBE: "Sync and Close",
    AGAIN: "Parse",
}


@attrs.define(eq=False)
class Sent:
    """A message that was sent on and waits for its replies.

    ``op`` and ``began`` are set for what is an operation. ``start`` is where, in the target's stream, the
    present result begins (-1: not yet); ``rows`` counts its rows. ``copies`` is the number of CopyDone and
    CopyFail that the client had sent before this message, and those that the COPYs of its own have read since.
    ``about`` is what its replies need to be understood: of a Query or Execute the statements that prepare or
    forget names, of a Close the statement's name or the portal. ``statement`` is what a Parse prepares, an Execute
    runs, and a Describe or Close is about.
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
    statement: Prepared | None = None
    refusal: Refusal | None = None
    about: Any = None
    echo: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    """Credentials that it carried, to be found again in what the target says of it."""


@attrs.define(eq=False)
class Pipeline:
    """The state that both directions share.

    ``status`` is that of the last ReadyForQuery. ``fresh``: nothing was sent since it, so nothing is open in
    the target. ``discarding``: whether the target discards what it gets until a Sync. ``answering``: the
    gateway itself does, after a refusal that it answered; ``unsent`` counts what it discarded. ``batch``:
    extended messages were sent and no Sync yet: a Query ends no batch if the target discards. ``copying``: the
    command that the target reads CopyData for. ``copies``: CopyDone and CopyFail sent. ``swallowed``: Syncs sent
    into the present COPY, which doesn't answer them. ``owed``: ReadyForQuery that may still come for those,
    because the COPY failed. ``doubt``: the extended COPY into which a Sync was sent, until it is known whether that
    was read by it. ``undone``: what was not prepared after all; until the next Sync, what follows by name
    is about it, and not carried out. ``paused``: the client isn't read, because too much is unanswered.
    """

    queue: list[Sent] = attrs.field(
        factory=list
    )  # a deque would cost an idle session 0.7 KiB; this is bounded
    status: int = ord("I")
    fresh: bool = True
    discarding: int = NO
    answering: bool = False
    paused: bool = False
    unsent: int = 0
    batch: bool = False
    copying: Sent | None = None
    copies: int = 0
    copied_messages: int = 0
    copied_bytes: int = 0
    copied_from: int = -1
    copied_to: int = -1
    swallowed: int = 0
    owed: int = 0
    doubt: Doubt | None = None
    undone: list[Prepared] = attrs.field(factory=list)

    @property
    def idle(self) -> bool:
        """Whether nothing is outstanding since a ReadyForQuery outside a transaction."""
        return self.fresh and not self.queue and self.status == _IDLE and not self.owed

    def sent(self, message: Sent) -> None:
        """A message that the target answers was sent."""
        message.copies = self.copies
        self.queue.append(message)
        self.fresh = False

    def synced(self) -> Sent | None:
        """The client sent a Sync that goes on. Returns the extended COPY that may have read it."""
        queue, copying = self.queue, self.copying
        if copying is not None and queue[-1] is copying:
            self.swallowed += 1
            return copying if copying.kind == EXECUTE else None
        # Behind a command inside the COPY it is answered: that command ends the COPY, if nothing has before.
        self.batch, self.discarding = False, NO
        last = queue[-1] if queue else None
        self.sent(Sent(SYNC))
        if last is not None and last.kind == SYNC and self.doubt is not None:
            last = self.doubt.copy
        may_read = last is not None and last.kind == EXECUTE and last.copies == self.copies
        return last if may_read and _copies_in(last) else None

    def copy_began(self, command: Sent) -> None:
        """The target reads CopyData now. Syncs that it got before CopyDone are never answered."""
        self.copying = command if command.copies == self.copies else None
        self.swallowed = 0
        queue = self.queue
        while len(queue) > 1 and queue[1].kind == SYNC and queue[1].copies == command.copies:
            del queue[1]
            self.swallowed += 1

    def copy_ended(self, command: Sent) -> None:
        """The COPY is complete: it has read one CopyDone, and the Syncs before that."""
        command.copies += 1
        self.copying = None
        self.swallowed = 0

    def copy_failed(self) -> None:
        """The COPY failed: how many of the Syncs sent into it were read by it is unknown. A probe tells."""
        self.copying = None
        if not any(each.kind == PROBE for each in self.queue):
            self.owed += self.swallowed
        self.swallowed = 0

    def probed(self) -> None:
        """The target was asked which of the Syncs sent into a COPY it will answer."""
        self.owed = 0
        self.discarding = NO
        self.sent(Sent(PROBE))

    def copy_sent(self) -> dict[str, object]:
        """What the client sent of CopyData since the last time; for the record."""
        told: dict[str, object] = {"messages": self.copied_messages, "bytes": self.copied_bytes}
        if self.copied_from >= 0:
            told["range"] = (self.copied_from, self.copied_to)
        self.copied_messages = self.copied_bytes = 0
        self.copied_from = self.copied_to = -1
        return told

    def discard(self) -> list[Sent]:
        """The target discards to the next Sync: take back what it will not do, and return it in order.

        The first of the list is what failed.
        """
        queue = self.queue
        end = next((index for index, each in enumerate(queue) if each.kind in (SYNC, PROBE)), len(queue))
        skipped = queue[:end]
        del queue[:end]
        self.discarding = NO if queue else MAYBE if self.owed else YES
        self.undone += [
            each.statement for each in skipped if each.kind == PARSE and each.statement is not None
        ]
        return skipped


def _copies_in(execute: Sent | None) -> bool:
    statement = execute.statement if execute is not None else None
    return statement is not None and "COPY FROM STDIN" in statement.verbs


_IDLE = ord("I")


def skipped(sent: Sent) -> Completed:
    """The end of an operation that the target discarded."""
    return Completed(
        sent.op,
        sent.began,
        {"because": "the target discards until Sync after an error"},
        "skipped",
        "skipped",
    )
